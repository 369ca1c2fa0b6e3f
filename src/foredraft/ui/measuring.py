"""How much a draft gains here: the same answers with and without it, in turns, timed."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from dataclasses import dataclass, field

from foredraft.core.errors import ForedraftError
from foredraft.runtime.managed_model import ModelState
from foredraft.scheduling.request import Generation
from foredraft.server.context import Services
from foredraft.server.pipeline import start
from foredraft.ui.choices import Choices
from foredraft.ui.hub import Hub
from foredraft.ui.problems import Problem
from foredraft.ui.shelf import ShelfView

LONGEST_S = 20.0
TOKENS = 64
PROMPTS = (
    "What is the quadratic equation formula?",
    "Write a Python function that reverses a list.",
    "Tell me a story about a lighthouse.",
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Speeds in tokens a second, without and with the draft."""

    plain: float
    drafted: float

    @property
    def gain(self) -> float:
        return self.drafted / self.plain if self.plain else 0.0


@dataclass(slots=True)
class Measuring:
    """Measurements of loaded pairs, kept for as long as the program runs; the shelf keeps them longer."""

    services: Services
    shelf: ShelfView
    hub: Hub
    running: str = ""
    """The pair that is being measured."""
    progress: float = 0.0
    error: Problem | None = None
    _known: dict[str, Measurement] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Two measurements at once would slow each other down."""
        return bool(self.running)

    @staticmethod
    def pair(state: ModelState) -> str:
        draft = state.draft_info.path if state.draft_info else state.spec.draft or ""
        return f"{state.info.path if state.info else state.id}|{draft}"

    def of(self, state: ModelState | None) -> Measurement | None:
        """What was measured for a loaded pair, now or on another day."""
        if state is None or state.draft_info is None:
            return None
        known = self._known.get(self.pair(state))
        if known is None:
            store, main = self.shelf.store, self.shelf.file_of(state)
            draft = self.shelf.find(state.draft_info.path)
            kept = store.measured(main, draft) if store and main and draft else None
            if kept is not None:
                known = self._known[self.pair(state)] = Measurement(kept.plain_speed, kept.draft_speed)
        return known

    def start(self, state: ModelState) -> None:
        if not self.running:
            self.running, self.progress, self.error = self.pair(state), 0.0, None
            self._task = asyncio.get_running_loop().create_task(self._measure(state))

    async def _measure(self, state: ModelState) -> None:
        pair = self.running
        loop = asyncio.get_running_loop()
        ends = loop.time() + LONGEST_S
        times: dict[bool, list[Generation]] = {True: [], False: []}
        try:
            for number, prompt in enumerate(PROMPTS):
                for enabled in (False, True):
                    generation = await self.once(state.id, prompt, enabled=enabled, tokens=TOKENS)
                    times[enabled].append(generation)
                    self.progress = (2 * number + enabled + 1) / (2 * len(PROMPTS))
                    self.hub.publish("measure")
                if loop.time() > ends:
                    break
            measurement = Measurement(speed(times[False]), speed(times[True]))
            self._known[pair] = measurement
            await asyncio.to_thread(self._remember, state, measurement)
            self.shelf.forget()
        except ForedraftError as error:
            self.error = Problem.of(error)
        finally:
            self.running = ""
            self.hub.publish("measure")

    async def once(
        self, model_id: str, prompt: str, *, enabled: bool, tokens: int, temperature: float = 0.0, seed: int = 1
    ) -> Generation:
        """One answer with or without the draft, everything else the same."""
        choices = Choices(enabled=enabled, temperature=temperature, seed=seed, max_tokens=tokens)

        request = dataclasses.replace(choices.request([{"role": "user", "content": prompt}]), model=model_id)
        submitted = await start(self.services, request)
        return await submitted.choices[0].running.result()

    def _remember(self, state: ModelState, measurement: Measurement) -> None:
        from foredraft.models.cache import Measured

        store, main = self.shelf.store, self.shelf.file_of(state)
        draft = self.shelf.find(state.draft_info.path) if state.draft_info else None
        if store and main and draft and measurement.gain:
            gain, today = round(measurement.gain, 3), dt.datetime.now(tz=dt.UTC).date().isoformat()
            kept = Measured(gain, gain, gain, round(measurement.plain, 2), round(measurement.drafted, 2), today)
            store.remember_measured(main, draft, kept)


def speed(generations: list[Generation]) -> float:
    """Tokens a second of several answers together."""
    tokens = sum(generation.stats.tokens for generation in generations)
    seconds = sum(generation.stats.generation_s for generation in generations)
    return tokens / seconds if seconds else 0.0
