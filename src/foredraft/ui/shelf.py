"""The models on disk as pages show them: slow looks are taken off the event loop, and done once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foredraft.config.folders import cache_folder
from foredraft.core.errors import ForedraftError
from foredraft.models.pairing import Pairing
from foredraft.models.recommend import Gain, gain
from foredraft.models.store import ModelFile, ModelStore
from foredraft.pair.what_pays import Verdict, verdict
from foredraft.runtime.managed_model import ModelState
from foredraft.ui.hub import Hub


@dataclass(frozen=True, slots=True)
class Draft:
    """A model that may guess for the main model, with the verdict."""

    model: ModelFile
    pairing: Pairing
    gain: Gain | None = None
    """How much faster the pair is here: measured, else estimated; None where neither is known."""


@dataclass(slots=True)
class Drafts:
    """The drafts for one main model: not looked yet, looking, or known."""

    checking: bool = False
    found: list[Draft] | None = None
    error: str = ""

    def level(self, level: str) -> list[Draft]:
        return [draft for draft in self.found or () if draft.pairing.level == level]

    @property
    def usable(self) -> list[Draft]:
        return [draft for draft in self.found or () if draft.pairing.usable]


@dataclass(slots=True)
class ShelfView:
    """Questions to the shelf. `store` is None where there is none (a server that was given one file)."""

    store: ModelStore | None
    hub: Hub
    seen: list[ModelFile] = field(default_factory=list)
    _drafts: dict[str, Drafts] = field(default_factory=dict)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def models(self) -> list[ModelFile]:
        """All models. The first look reads files: not for the event loop."""
        self.seen = [] if self.store is None else self.store.models()
        return self.seen

    def known(self) -> list[ModelFile]:
        """What the last look at the shelf found, without looking."""
        return self.seen

    def count(self) -> int:
        return len(self.seen)

    def file_of(self, state: ModelState | None) -> ModelFile | None:
        """The shelf's entry of a loaded model."""
        path = state.info.path if state is not None and state.info is not None else ""
        return self.find(path) if path else None

    def find(self, path: str) -> ModelFile | None:
        if self.store is None:
            return None
        try:
            return self.store.find(Path(path))
        except (ForedraftError, OSError):
            return None

    def drafts(self, state: ModelState | None) -> Drafts:
        """The drafts for a loaded model: what is known now. A first look is begun here and announced when done."""
        main = self.file_of(state)
        if main is None or self.store is None:
            return Drafts(found=[])
        known = self._drafts.get(str(main.path))
        if known is None:
            known = self._drafts[str(main.path)] = Drafts(checking=True)
            self._begin(self._check(main, known))
        return known

    def verdict(self, state: ModelState) -> Verdict:
        """Whether the loaded pair (with no draft: what `auto` would take) is known not to pay, and what would: what is
        known now. A first look is begun here and announced when done."""
        main = self.file_of(state)
        draft = self.find(state.draft_info.path) if state.draft_info is not None else None
        if main is None or (draft is None and (state.draft_info is not None or state.spec.draft != "auto")):
            return Verdict()
        key = f"{main.path}|{draft.path if draft is not None else ''}"
        if key not in self._verdicts:
            self._verdicts[key] = Verdict()
            self._begin(self._judge(key, main, draft))
        return self._verdicts[key]

    async def _judge(self, key: str, main: ModelFile, draft: ModelFile | None) -> None:
        assert self.store is not None
        with contextlib.suppress(ForedraftError, OSError):
            self._verdicts[key] = await asyncio.to_thread(verdict, main, draft, self.store, cache_folder() / "tuning")
            self.hub.publish("drafts", str(main.path))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self) -> None:
        """Files came or went, or a pair was measured: look again at the next question."""
        self._drafts.clear()
        self._verdicts.clear()

    async def _check(self, main: ModelFile, drafts: Drafts) -> None:
        store = self.store
        assert store is not None

        def look() -> list[Draft]:
            found = []
            for model, pairing in store.drafts(main):
                known = gain(main, model, store.measured(main, model)) if pairing.usable else None
                found.append(Draft(model, pairing, known))
            return found

        try:
            drafts.found = await asyncio.to_thread(look)
        except (ForedraftError, OSError) as error:
            drafts.found, drafts.error = [], str(error)
        drafts.checking = False
        self.hub.publish("drafts", str(main.path))
