"""A server with toy models for attacks, whose event loop is watched: how long it did nothing else, and on what it spent
the time.

    python -m tests.harden.server          # prints its address; ends when stdin does, and then prints what it saw
    python -m tests.harden.server --from 0.003      # gaps of so many seconds and more
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import FastAPI

from foredraft.server import run
from foredraft.server.app import create_app
from foredraft.server.context import Services
from tests.server import toy

BEAT_S = 0.005
REPORTED_S = 0.03
"""Shorter gaps are of no interest."""


class Beats:
    """Looks at the clock on the event loop, all the time."""

    def __init__(self, reported_s: float = REPORTED_S) -> None:
        self.reported_s = reported_s
        self.gaps: list[tuple[float, float, float, float]] = []
        """(Unix time of the end, seconds beyond a beat, processor seconds of the loop's thread, and of the process) of
        each long gap."""

    async def go_on(self) -> None:
        before = _clocks()
        while True:
            await asyncio.sleep(BEAT_S)
            now = _clocks()
            wall, thread, process = (b - a for a, b in zip(before, now, strict=True))
            if wall - BEAT_S > self.reported_s:
                self.gaps.append((time.time(), wall - BEAT_S, thread, process))
            before = now


def _clocks() -> tuple[float, float, float]:
    return time.monotonic(), time.thread_time(), time.process_time()


def watched(app: FastAPI, beats: Beats) -> FastAPI:
    """The application, with beats for as long as it lives."""
    living = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def also(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(beats.go_on())
        async with living(app):
            yield
        task.cancel()

    app.router.lifespan_context = also
    return app


def left_behind(services: Services) -> list[str]:
    """Slots of loaded models that nobody has and that are not free."""
    found = []
    for state in services.runtime.models():
        if state.kind == "text":
            with services.runtime.use(state.id) as model:
                slots = model.scheduler.slots
                if slots.free != len(slots):
                    found.append(f"{state.id}: {slots.free} of {len(slots)} slots are free")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", dest="least", type=float, default=REPORTED_S)
    toy.ORDER = 1  # else the engine's memory of its rows grows for an hour
    beats, services, left = Beats(parser.parse_args().least), toy.services(queue_limit=1000), []
    services.settings = replace(services.settings, port=0)

    def ready() -> None:
        print(f"http://127.0.0.1:{services.settings.port}", flush=True)
        beats.gaps.clear()  # what it took to start
        threading.Thread(target=until_told, daemon=True).start()

    def until_told() -> None:
        sys.stdin.read()
        left.extend(left_behind(services))
        os.kill(os.getpid(), signal.SIGINT)

    with contextlib.suppress(KeyboardInterrupt):
        run.serve(watched(create_app(services), beats), services, ready)
    print(json.dumps({"gaps": beats.gaps, "left": left}), flush=True)


if __name__ == "__main__":
    main()
