"""Downloads from the Hugging Face hub: finding a repository, what it offers, which file to take, getting it safely.

Files come over plain HTTP, because that can be taken up again where it stopped: what has arrived lies in a `.partial`
file beside the target, and the next try asks for the rest only. A file gets its name when its checksum is right, so
nothing half or damaged ever stands on the shelf. `HF_ENDPOINT` and `HF_TOKEN` are honoured; the token is never shown.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from foredraft.core import files
from foredraft.core.errors import DownloadError, FileInUseError
from foredraft.core.reasons import Reason, sentences
from foredraft.models.facts import PART_NAME
from foredraft.models.names import nearest, same_family, split_quantisation
from foredraft.models.recommend import catalogue, catalogue_entry, recommended_drafts

DEFAULT_ENDPOINT = "https://huggingface.co"
PREFERRED = ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q4_0", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0", "F16", "BF16")
PREFERRED_SMALL = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "F16", "BF16")
"""What is taken when no quantisation is asked for. Small models lose more by coarse weights and gain less."""
SMALL_BYTES = 2_500_000_000
"""A repository whose Q8_0 (or largest file) is under this size holds a small model."""
SPARE_BYTES = 256 << 20
"""Disk space that a download leaves free."""
RETRIES = 5
"""Connections in a row that may bring nothing."""
RETRY_SECONDS = 1.0
"""The pause after a connection that brought nothing; it doubles with each further one."""
LONGEST_PAUSE = 30.0
LEAST_GAIN = 1 << 16
"""Bytes that a connection must bring to count as one that brought something."""
SEARCH_SECONDS = 20.0
"""How long a search may take."""
_CHUNK = 1 << 20
_NOT_A_MODEL = re.compile(r"mmproj|imatrix|\.lora|-lora\b", re.IGNORECASE)

Progress = Callable[[str, int, int], None]
"""Called with the file's name, bytes that are there, and bytes in all."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository. `sha256` is empty where the hub does not tell it."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class HubChoice:
    """One model of a repository: a file, or all parts of a split one."""

    quantisation: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class HubRepository:
    """What a repository offers, smallest first. `revision` is the commit that was looked at."""

    name: str
    revision: str
    choices: tuple[HubChoice, ...]


@dataclass(frozen=True, slots=True)
class HubFound:
    """A repository that a search found. `params` (in ones) and `downloads` are 0 where the hub does not tell them."""

    name: str
    downloads: int
    params: int
    gated: bool


def endpoint() -> str:
    """The hub's address; read at each call, so that a change in the environment counts."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def parse_wish(wish: str) -> tuple[str, str]:
    """(repository, quantisation) of "OWNER/NAME", "OWNER/NAME@q4_k_m", "…:Q4_K_M", an address of the hub, or a name of
    the catalogue. The quantisation is "" where none was given. Raises `DownloadError` for anything else."""
    text = wish.strip()
    address = re.match(r"https?://[^/]+/([^/]+/[^/?#]+)", text)
    if address is not None:
        return address[1], ""
    text, _, quantisation = text.removeprefix("hf.co/").replace("@", ":", 1).partition(":")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        return text, quantisation
    names = [entry.name for entry in catalogue()]
    entry = next((entry for entry in catalogue() if entry.name == text.lower()), None) or catalogue_entry(text)
    if entry is None:
        near = same_family(wish, names) or same_family(text, names) or nearest(text, names)
        meant = Reason("did_you_mean", {"names": tuple(near)}) if near else None
        unknown = Reason("hub_unknown", {"wish": wish})
        raise DownloadError("not_found", unknown, hint=sentences(meant, Reason("hint_catalogue")))
    return entry.repository, quantisation


def search(words: str, *, limit: int = 30) -> list[HubFound]:
    """Repositories with GGUF files whose names have these words, the most downloaded first. Raises `DownloadError`.

    One request and no second try: the client's own listing would wait half a minute before it says that there is no
    network.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    query: dict[str, Any] = {
        "search": " ".join(words.split()),
        "filter": "gguf",
        "sort": "downloads",
        "limit": limit,
        "expand": ["downloads", "gated", "gguf"],
    }
    with _explained(words):
        answer = get_session().get(
            f"{endpoint()}/api/models", params=query, headers=build_hf_headers(), timeout=SEARCH_SECONDS
        )
        hf_raise_for_status(answer)
        found = answer.json()
        named = [one for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)]
    return [_found(one) for one in named if one["id"].isprintable()]


def _found(one: dict[str, Any]) -> HubFound:
    facts = one.get("gguf")
    params = _count(facts.get("total")) if isinstance(facts, dict) else 0
    return HubFound(one["id"], _count(one.get("downloads")), params, bool(one.get("gated")))


def family(repository: str) -> str:
    """What to search for to find other sizes of a repository's model: its name without size and format."""
    name = re.sub(r"[-_.](gguf|imatrix|i1)\b", "", repository.split("/")[-1], flags=re.IGNORECASE)
    words = [word for word in re.split(r"[-_\s]+", split_quantisation(name)[0]) if word]
    size = next((i for i, word in enumerate(words) if re.fullmatch(r"\d+(\.\d+)?[bm]", word.lower())), len(words))
    return " ".join(words[:size] or words)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def look(repository: str) -> HubRepository:
    """What a repository offers. Raises `DownloadError`."""
    from huggingface_hub import HfApi

    with _explained(repository):
        info = HfApi(endpoint=endpoint()).model_info(repository, files_metadata=True)
    groups: dict[tuple[str, str], list[HubFile]] = {}
    for sibling in info.siblings or ():
        path = PurePosixPath(sibling.rfilename)
        if path.suffix.lower() != ".gguf" or _NOT_A_MODEL.search(path.name) or not _harmless(path):
            continue
        match = PART_NAME.match(path.name)
        stem = match["stem"] if match is not None else path.stem
        sha256 = str(getattr(sibling.lfs, "sha256", "") or "")
        file = HubFile(sibling.rfilename, sibling.size or 0, sha256)
        groups.setdefault((str(path.parent), stem), []).append(file)
    choices = [
        HubChoice(split_quantisation(stem)[1].upper() or stem, tuple(sorted(parts, key=lambda file: file.path)))
        for (_, stem), parts in groups.items()
    ]
    if not choices:
        raise DownloadError(
            "no_gguf",
            Reason("hub_no_gguf", {"repository": repository}),
            hint=Reason("hint_no_gguf"),
        )
    return HubRepository(repository, info.sha or "main", tuple(sorted(choices, key=lambda choice: choice.size)))


def _harmless(path: PurePosixPath) -> bool:
    """Whether a name that a hub tells stays in its folder, and moves no terminal's cursor when it is printed."""
    return ".." not in path.parts and not path.is_absolute() and str(path).isprintable()


def choose(repository: HubRepository, quantisation: str = "", *, room: int | None = None) -> HubChoice:
    """The choice of that quantisation; without one, the usual one, and of those that fit in `room` bytes if any does.

    Raises `DownloadError` with what there is.
    """
    if quantisation:
        found = [choice for choice in repository.choices if choice.quantisation.lower() == quantisation.lower()]
        if not found:
            offered = ", ".join(choice.quantisation for choice in repository.choices)
            lacks = Reason("hub_no_choice", {"repository": repository.name, "quantisation": quantisation.upper()})
            raise DownloadError("choice", lacks, hint=Reason("hint_it_has", {"names": offered}))
        return found[0]
    by_name = {choice.quantisation: choice for choice in reversed(repository.choices)}
    largest = by_name.get("Q8_0", repository.choices[-1])
    preferred = PREFERRED_SMALL if largest.size < SMALL_BYTES else PREFERRED
    usual = [by_name[name] for name in preferred if name in by_name] or list(repository.choices)
    fitting = [choice for choice in usual if room is None or choice.size <= room]
    return fitting[0] if fitting else usual[0]


def download(repository: HubRepository, choice: HubChoice, own: Path, progress: Progress | None = None) -> Path:
    """Get all files of a choice into the own folder; the path of the first. Takes up where an earlier try stopped.

    Two processes that want the same file take turns: the second finds it done. Raises `DownloadError`.
    """
    folder = own / repository.name
    targets = [folder / PurePosixPath(file.path).name for file in choice.files]
    missing = [(file, target) for file, target in zip(choice.files, targets, strict=True) if not _done(file, target)]
    with _explained(repository.name):
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(folder, sum(file.size - _arrived(_partial(target, file)) for file, target in missing))
        for file, target in missing:
            _fetch(repository, file, target, progress)
    return targets[0]


def _fetch(repository: HubRepository, file: HubFile, target: Path, progress: Progress | None) -> None:
    from filelock import FileLock

    lock = target.with_name(target.name + ".lock")
    with FileLock(lock):
        if _done(file, target):
            return
        partial = _partial(target, file)
        try:
            _transfer(repository, file, partial, target.name, progress)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _disk_full(target.parent, file.size - _arrived(partial)) from error
            raise
        if file.sha256 and _hash(partial) != file.sha256:
            partial.unlink()
            raise DownloadError(
                "checksum",
                Reason("hub_checksum", {"file": target.name}),
                hint=Reason("hint_checksum"),
            )
        files.replace(partial, target)
        with contextlib.suppress(OSError):  # Windows: it is open, and removed when it is closed
            lock.unlink()  # whoever waits for it, or makes it anew, finds the file done


def _transfer(repository: HubRepository, file: HubFile, partial: Path, name: str, progress: Progress | None) -> None:
    """Append what is missing to the partial file, over as many connections as it takes while each brings something.

    `RETRIES` connections in a row that bring next to nothing, whatever they answer, are the end.
    """
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

    url = hf_hub_url(repository.name, file.path, revision=repository.revision, endpoint=endpoint())
    metadata = get_hf_file_metadata(url, endpoint=endpoint())
    size = file.size or metadata.size or 0
    if not size:
        raise DownloadError("incomplete", Reason("hub_no_size", {"file": name}))
    if _arrived(partial) > size:
        partial.unlink()
    # The hub sends large files from another host, which must not get the user's token.
    token = get_token() if metadata.location.split("/")[:3] == url.split("/")[:3] else None
    headers = {"authorization": f"Bearer {token}"} if token else {}
    failures, most = 0, _arrived(partial)
    while _arrived(partial) < size:
        problem: Exception
        try:
            _stream(metadata.location, headers, partial, size, lambda there: progress and progress(name, there, size))
            problem = DownloadError(
                "incomplete",
                Reason("hub_short", {"file": name, "n": _arrived(partial), "size": size}),
                hint=Reason("hint_again_later"),
            )
        except Exception as error:
            if not isinstance(error, DownloadError) and not _of_the_network(error):
                raise
            problem = error
        there = _arrived(partial)
        failures = 0 if there >= min(most + LEAST_GAIN, size) else failures + 1
        most = max(most, there)
        if failures > RETRIES:
            raise problem
        if failures:
            time.sleep(min(RETRY_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE))


def _stream(location: str, headers: dict[str, str], partial: Path, size: int, arrived: Callable[[int], object]) -> None:
    """One connection: ask for the rest of the file and append it as it comes, and no byte more than `size` in all.

    Raises `DownloadError` for an answer that is another file than what was asked for; what is there is then kept.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    there = _arrived(partial)
    headers = {**headers, "accept-encoding": "identity", "range": f"bytes={there}-"}
    with get_session().stream("GET", location, headers=headers, follow_redirects=True, timeout=30) as response:
        hf_raise_for_status(response)
        _check_answer(response.status_code, response.headers, there, size)
        with partial.open("ab") as out:
            if response.status_code != 206:  # the whole file after all
                out.truncate(0)
            arrived(out.tell())
            for block in response.iter_raw():
                if out.tell() + len(block) > size:
                    raise _another_file("more", size=size)
                out.write(block)
                arrived(out.tell())


def _check_answer(status: int, headers: Mapping[str, str], there: int, size: int) -> None:
    """Is this the file, or the rest of it? Pages of proxies and hotel networks answer 200 to everything."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _another_file("compressed", encoding=headers["content-encoding"][:40])
    length = headers.get("content-length", "")
    if status == 206:
        span = headers.get("content-range", "").lower().replace(" ", "")
        wanted = f"bytes{there}-{size - 1}/"
        if not span.startswith(wanted) or span.removeprefix(wanted) not in (str(size), "*"):
            raise _another_file("part", sent=span[:60], first=there, last=size - 1, size=size)
    elif status != 200:
        raise _another_file("status", n=status)
    elif length.isdigit() and int(length) != size:
        raise _another_file("size", n=int(length), size=size)
    elif not length and (there or "html" in headers.get("content-type", "")):
        raise _another_file("unknown")


def _another_file(code: str, **numbers: int | str) -> DownloadError:
    sent = Reason("hub_other_file", {"what": Reason(f"sent_{code}", numbers)})
    return DownloadError("incomplete", sent, hint=Reason("hint_proxy_kept"))


def _partial(target: Path, file: HubFile) -> Path:
    """Named after the checksum: a file that changed on the hub is not mixed with an older half of it."""
    return target.with_name(f"{target.name}.{(file.sha256 or str(file.size))[:12]}.partial")


def _arrived(partial: Path) -> int:
    try:
        return partial.stat().st_size
    except OSError:
        return 0


def _done(file: HubFile, target: Path) -> bool:
    """Files get their names only when they are complete and right, so the size tells."""
    return target.is_file() and target.stat().st_size == file.size


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed and needed + SPARE_BYTES > free:
        raise _disk_full(folder, needed, free)


def _disk_full(folder: Path, needed: int, free: int | None = None) -> DownloadError:
    if free is None:
        free = shutil.disk_usage(folder).free
    return DownloadError(
        "disk_full",
        Reason("hub_disk_full", {"needed": needed, "free": free, "folder": str(folder)}),
        hint=Reason("hint_disk_full"),
    )


@contextlib.contextmanager
def _explained(repository: str) -> Iterator[None]:
    """The client's errors in words. Its own messages are not passed on: they hold addresses and request headers."""
    from huggingface_hub import errors

    try:
        yield
    except (DownloadError, FileInUseError):
        raise
    except errors.GatedRepoError as error:
        raise DownloadError(
            "gated",
            Reason("hub_gated", {"repository": repository}),
            hint=Reason("hint_gated", {"url": f"{endpoint()}/{repository}"}),
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise DownloadError(
            "not_found",
            Reason("hub_no_repository", {"repository": repository}),
            hint=Reason("hint_no_repository"),
        ) from error
    except errors.HFValidationError as error:
        raise DownloadError("not_found", Reason("hub_bad_name", {"repository": repository})) from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError("no_network", Reason("hub_offline"), hint=Reason("hint_hub_offline")) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise DownloadError(
            "no_network", Reason("hub_status", {"n": status}), hint=Reason("hint_later_kept")
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the network's
        if isinstance(error, (ValueError, LookupError, TypeError, AttributeError)):  # the client read nonsense
            raise DownloadError(
                "no_network",
                Reason("hub_no_hub", {"url": endpoint()}),
                hint=Reason("hint_proxy"),
            ) from error
        if not _of_the_network(error):
            raise
        raise DownloadError(
            "no_network",
            Reason("hub_connection", {"url": endpoint()}),
            hint=Reason("hint_network"),
        ) from error


def _of_the_network(error: Exception) -> bool:
    """Whether trying again may help: the HTTP library's errors (the hub's client does not export its classes), but not
    an answer that says no."""
    response = getattr(error, "response", None)
    if response is not None and response.status_code < 500:
        return False
    modules = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return bool(modules & {"httpx", "httpx2", "httpcore", "httpcore2"})


def recommended_repositories(repository: str) -> Sequence[str]:
    """The repositories of the drafts that suit the main model of a repository."""
    entry = next((entry for entry in catalogue() if entry.repository == repository), None)
    entry = entry or catalogue_entry(repository.split("/")[-1])
    return [draft.repository for draft in recommended_drafts(entry)] if entry is not None else []
