"""Downloads that were asked for through the API: begun at once, followed by their job's id."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from foredraft.core.cancellation import still_wanted
from foredraft.core.errors import DownloadError, ForedraftError
from foredraft.models.store import ModelStore
from foredraft.server.errors import RequestError
from foredraft.server.pools import Pool

FOLLOW_S = 0.2
"""How often those who follow a download are told how far it is."""


class Report(Protocol):
    """Called with bytes that are there and bytes in all; `digest` is the SHA-256 of the (first) file, where known."""

    def __call__(self, arrived: int, total: int, digest: str = "") -> None: ...


Fetch = Callable[[str, str, Report], bool]
"""(name or repository, quantisation, report) -> whether anything had to be fetched. Blocks; runs on a thread of its
own."""
KEPT = 100


@dataclass(slots=True)
class Job:
    """One download. Times in Unix seconds, sizes in bytes."""

    id: str
    model: str
    status: str = "downloading"
    """downloading, completed, already_downloaded or failed."""
    began: float = field(default_factory=time.time)
    ended: float | None = None
    took: float | None = None
    """Seconds, once it has ended; by a clock that does not jump, as `_clock` is."""
    _clock: float = field(default_factory=time.monotonic)
    arrived: int = 0
    total: int = 0
    digest: str = ""
    error: str = ""

    def end(self) -> None:
        self.ended, self.took = time.time(), time.monotonic() - self._clock

    def as_dict(self) -> dict[str, Any]:
        """LM Studio's object."""
        took = self.took if self.took is not None else time.monotonic() - self._clock
        speed = self.arrived / took if took > 0 else 0.0
        result: dict[str, Any] = {
            "job_id": self.id,
            "model": self.model,
            "status": self.status,
            "total_size_bytes": self.total,
            "downloaded_bytes": self.arrived,
            "bytes_per_second": round(speed),
            "started_at": _iso(self.began),
        }
        if self.ended is not None:
            result["completed_at"] = _iso(self.ended)
        elif speed and self.total:
            result["estimated_completion"] = _iso(time.time() + (self.total - self.arrived) / speed)
        if self.error:
            result["error"] = self.error
        return result


class Downloads:
    """The downloads of this process."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fetching: dict[str, asyncio.Future[bool]] = {}

    async def begin(self, model: str, quantisation: str, pool: Pool) -> dict[str, Any]:
        """Start a download, or let it wait for its turn in the pool; the job as it is after what can be known at once.
        Raises `BusyError` where too many wait."""
        if self._fetch is None:
            raise RequestError("This server has no shelf to download to.", param="model")
        if not model.strip():
            raise RequestError("The model is missing.", param="model")
        job = Job(f"job_{secrets.token_hex(8)}", model)

        def report(arrived: int, total: int, digest: str = "") -> None:
            still_wanted()
            job.arrived, job.total, job.digest = arrived, total, digest or job.digest

        fetching = pool.begin(self._fetch, model, quantisation, report)
        while len(self._jobs) >= KEPT:
            del self._jobs[next(iter(self._jobs))]
        self._jobs[job.id] = job
        self._fetching[job.id] = fetching
        self._tasks[job.id] = asyncio.create_task(self._run(job, fetching))
        return job.as_dict()

    async def follow(self, job_id: str) -> AsyncGenerator[Job, None]:
        """A job, again and again until it has ended."""
        job, task = self.job(job_id), self._tasks.get(job_id)
        while job.ended is None and task is not None:
            yield job
            await asyncio.wait({task}, timeout=FOLLOW_S)
        yield job

    def status(self, job_id: str) -> dict[str, Any]:
        """How far a job is."""
        return self.job(job_id).as_dict()

    def job(self, job_id: str) -> Job:
        """The job itself. Raises `RequestError` for one that is not known (any more)."""
        job = self._jobs.get(job_id)
        if job is None:
            raise RequestError(f"There is no download {job_id!r}.", param="job_id", status=404)
        return job

    def cancel(self, job_id: str) -> None:
        """Give a download up; does nothing to one that has ended. What has arrived is kept for the next try."""
        fetching = self._fetching.get(job_id)
        if fetching is not None:  # not its task: one that is cancelled before it begins would never end the job
            fetching.cancel()

    async def _run(self, job: Job, fetching: asyncio.Future[bool]) -> None:
        try:
            job.status = "completed" if await fetching else "already_downloaded"
        except asyncio.CancelledError:
            job.status, job.error = "failed", "It was cancelled."
        except ForedraftError as error:
            job.status, job.error = "failed", str(error)
        except Exception as error:  # noqa: BLE001 - said in the job
            job.status, job.error = "failed", f"{type(error).__name__}: {error}"
        finally:
            job.end()
            self._tasks.pop(job.id, None)
            self._fetching.pop(job.id, None)


def from_hub(store: ModelStore) -> Fetch:
    """Downloads into the shelf's own folder."""

    def fetch(wish: str, quantisation: str, report: Report) -> bool:
        from foredraft.models import hub

        name, asked = hub.parse_wish(wish)
        repository = hub.look(name)
        choice = hub.choose(repository, quantisation or asked)
        done: dict[str, int] = {}

        def progress(file: str, arrived: int, total: int) -> None:
            done[file] = arrived
            report(sum(done.values()), choice.size)

        report(0, choice.size, choice.files[0].sha256)
        path = hub.download(repository, choice, store.own, progress)
        store.scan()
        if not path.is_file():
            raise DownloadError("interrupted", f"{path.name} did not arrive.")
        report(choice.size, choice.size)
        return bool(done)

    return fetch


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
