"""Our own server in a process of its own, with the settings of a bench: `python -m foredraft.bench.served JSON`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from foredraft.bench.server_process import ServerProcess, free_port
from foredraft.config.load_settings import LoadSettings

MODEL = "bench"


def start(model: Path, draft: Path | None, settings: LoadSettings, *, force: bool = False) -> ServerProcess:
    """The process; it may still be loading. Raises `BenchServerError`."""
    port = free_port()
    asked = {
        "model": str(model),
        "draft": None if draft is None else str(draft),
        "settings": dataclasses.asdict(settings),
        "force": force,
        "port": port,
    }
    return ServerProcess("Foredraft's server", [sys.executable, "-m", __name__, json.dumps(asked)], port)


def main() -> None:
    """Load what the one argument says, then serve until told to end."""
    from foredraft.runtime.managed_model import LoadSpec
    from foredraft.runtime.runtime import Runtime
    from foredraft.server.app import create_app
    from foredraft.server.context import ServerSettings, Services
    from foredraft.server.loading import load_pair
    from foredraft.server.run import serve

    asked = json.loads(sys.argv[1])
    spec = LoadSpec(
        asked["model"], asked["draft"], id=MODEL, settings=asked["settings"], force=asked["force"], ttl_s=None
    )
    runtime = Runtime(load_pair)
    try:
        asyncio.run(runtime.load(spec))
        services = Services(runtime, settings=ServerSettings(port=asked["port"], grace_s=0.0), default_model=MODEL)
        serve(create_app(services), services)
    finally:
        runtime.close_now()


if __name__ == "__main__":
    main()
