"""Downloads in the background: progress for every page, pause and resume."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foredraft.core.cancellation import still_wanted
from foredraft.core.errors import ForedraftError
from foredraft.models import hub as models_hub
from foredraft.models.store import ModelStore
from foredraft.server.pools import Pool
from foredraft.ui.hub import Hub
from foredraft.ui.problems import Problem
from foredraft.ui.shelf import ShelfView

RUNNING, PAUSED, DONE, FAILED = "running", "paused", "done", "failed"


class _Paused(BaseException):
    """Raised inside a download to end it; what has arrived is kept by the hub's partial file."""


@dataclass(eq=False, slots=True)
class Download:
    """One model on its way."""

    repository: models_hub.HubRepository
    choice: models_hub.HubChoice
    state: str = RUNNING
    arrived: int = 0
    error: Problem | None = None
    """The word of a `DownloadError`."""
    path: Path | None = None
    """Where it lies once it is done."""
    told: float = 0.0
    file: str = ""
    """The file that is arriving; a split model has several."""
    before: int = 0
    """Bytes of the files that are done."""

    @property
    def name(self) -> str:
        return f"{self.repository.name} · {self.choice.quantisation}"

    @property
    def share(self) -> float:
        return self.arrived / self.choice.size if self.choice.size else 0.0


@dataclass(slots=True)
class Downloads:
    """All downloads since the program began."""

    shelf: ShelfView
    hub: Hub
    pool: Pool
    """Where they run, two at a time; the API's are among them."""
    all: list[Download] = field(default_factory=list)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def start(self, repository: models_hub.HubRepository, choice: models_hub.HubChoice) -> None:
        """Begin, or do nothing where the same is on its way."""
        for one in self.all:
            if one.repository.name == repository.name and one.choice.quantisation == choice.quantisation:
                if one.state in (PAUSED, FAILED):
                    self.resume(one)
                return
        download = Download(repository, choice)
        self.all.append(download)
        self._begin(download)

    def pause(self, download: Download) -> None:
        if download.state == RUNNING:
            download.state = PAUSED
            self.hub.publish("downloads")

    def resume(self, download: Download) -> None:
        if download.state in (PAUSED, FAILED):
            download.state, download.error, download.before, download.file = RUNNING, None, 0, ""
            self._begin(download)

    def _begin(self, download: Download) -> None:
        task = asyncio.get_running_loop().create_task(self._run(download))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, download: Download) -> None:
        store = self.shelf.store
        loop = asyncio.get_running_loop()
        if store is None:
            return

        def progress(file: str, arrived: int, total: int) -> None:
            still_wanted()
            if download.state == PAUSED:
                raise _Paused
            if file != download.file:
                download.before += download.arrived - download.before if download.file else 0
                download.file = file
            download.arrived = download.before + arrived
            now = loop.time()
            if now - download.told > 0.5 or arrived == total:
                download.told = now
                loop.call_soon_threadsafe(self.hub.publish, "downloads")

        self.hub.publish("downloads")
        try:
            download.path = await self.pool.run(_fetch, store, download, progress)
            download.state, download.arrived = DONE, download.choice.size
        except _Paused:
            download.state = PAUSED
        except (ForedraftError, OSError) as error:
            reason = getattr(error, "reason", "")
            download.state, download.error = FAILED, Problem.of(error, f"download_{reason}" if reason else "")
        self.shelf.forget()
        self.hub.publish("downloads")
        self.hub.publish("shelf")


def _fetch(store: ModelStore, download: Download, progress: models_hub.Progress) -> Path:
    path = models_hub.download(download.repository, download.choice, store.own, progress)
    store.scan()
    return path
