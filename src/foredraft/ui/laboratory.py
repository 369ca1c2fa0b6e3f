"""The lab's runs: the bench's prompts with and without the draft, kind by kind, on the loaded pair."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from foredraft.bench.categories import prompts
from foredraft.chats import ChatStore
from foredraft.core.errors import ForedraftError
from foredraft.runtime.managed_model import ModelState
from foredraft.scheduling.request import Generation
from foredraft.ui.hub import Hub
from foredraft.ui.measuring import Measuring, speed
from foredraft.ui.names import display_name, draft_name

TOKENS = 96
KEPT = 20
PREFERENCE = "lab_runs"


@dataclass(slots=True)
class Row:
    """One kind of prompt. Speeds in tokens a second."""

    category: str
    plain: float
    drafted: float
    accepted: int
    tested: int
    same: bool

    @property
    def gain(self) -> float:
        return self.drafted / self.plain if self.plain else 0.0


@dataclass(slots=True)
class LabRun:
    """One run, as it is kept and exported."""

    model: str
    draft: str
    began: float
    rows: list[Row] = field(default_factory=list)
    share: float = 0.0
    state: str = "running"
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LabRun:
        return cls(**{**data, "rows": [Row(**row) for row in data["rows"]]})


@dataclass(slots=True)
class Laboratory:
    """At most one run at a time; the last ones are kept."""

    measuring: Measuring
    chats: ChatStore
    hub: Hub
    current: LabRun | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self.current is not None and self.current.state == "running"

    def history(self) -> list[LabRun]:
        return [LabRun.from_dict(data) for data in self.chats.preference(PREFERENCE, [])]

    def start(self, state: ModelState) -> None:
        if not self.busy:
            self.current = LabRun(display_name(state), draft_name(state), time.time())
            self._task = asyncio.get_running_loop().create_task(self._run(self.current, state.id))

    def stop(self) -> None:
        if self.current is not None and self.busy:
            self.current.state = "stopped"

    async def _row(self, model_id: str, category: str, prompt: str) -> Row:
        """One kind of text, twice each way, there and back: what slows the machine meanwhile meets both alike."""
        done: dict[bool, list[Generation]] = {False: [], True: []}
        for enabled in (False, True, True, False):
            done[enabled].append(await self.measuring.once(model_id, prompt, enabled=enabled, tokens=TOKENS))
        stats = [generation.stats for generation in done[True]]
        return Row(
            category,
            round(speed(done[False]), 2),
            round(speed(done[True]), 2),
            sum(one.accepted for one in stats),
            sum(one.accepted + one.rejected for one in stats),
            len({tuple(generation.tokens) for one in done.values() for generation in one}) == 1,
        )

    async def _run(self, run: LabRun, model_id: str) -> None:
        chosen = {name: texts[0] for name, texts in prompts(count=1).items() if texts}
        try:
            for number, (category, prompt) in enumerate(chosen.items()):
                if run.state != "running":
                    break
                run.rows.append(await self._row(model_id, category, prompt.text))
                run.share = (number + 1) / len(chosen)
                self.hub.publish("lab")
            if run.state == "running":
                run.state = "done"
        except ForedraftError as error:
            run.state, run.error = "failed", str(error)
        if run.rows:
            kept = [run.as_dict(), *self.chats.preference(PREFERENCE, [])][:KEPT]
            self.chats.set_preference(PREFERENCE, kept)
        self.hub.publish("lab")
