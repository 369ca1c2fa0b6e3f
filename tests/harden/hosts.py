"""Hubs that lie, on loopback: the right file, or a typed error, after a bounded number of requests."""

from __future__ import annotations

import itertools
import os
import random
import tempfile
from pathlib import Path

from foredraft.core.errors import ForedraftError
from foredraft.models import hub as hub_module
from foredraft.models.hub import choose, download, look
from tests.harden.tally import Tally
from tests.models.hub_server import Hub, serve

_CONTENT = bytes(range(256)) * 2048
_REPOSITORY = "owner/Test-GGUF"
_MOST_REQUESTS = 60
_NONSENSE = (
    b"",
    b"{}",
    b"[]",
    b"<html>",
    b"null",
    b'{"id": 3, "siblings": 5}',
    b'{"id": "x", "siblings": [{}]}',
    b"\xff",
)


def run(tally: Tally, draw: random.Random) -> None:
    hub_module.RETRY_SECONDS = 0.0
    for number in itertools.count():
        hub = _hub(draw)
        if not tally.begin(f"{number}: {_words(hub)}"):
            return
        server = serve(hub)
        os.environ["HF_ENDPOINT"] = hub.url
        try:
            with tempfile.TemporaryDirectory() as folder:
                _one(tally, hub, Path(folder))
        finally:
            server.shutdown()
            server.server_close()


def _one(tally: Tally, hub: Hub, folder: Path) -> None:
    outcome = "arrived"
    try:
        repository = look(_REPOSITORY)
        download(repository, choose(repository), folder)
    except ForedraftError:
        outcome = "refused"
    except Exception as error:  # noqa: BLE001 - what is looked for
        return tally.fail(repr(error))
    wrong = [file.name for file in folder.rglob("*.gguf") if file.read_bytes() != _CONTENT]
    longest = max((file.stat().st_size for file in folder.rglob("*") if file.is_file()), default=0)
    if wrong or longest > len(_CONTENT):
        return tally.fail(f"wrong files {wrong}, longest {longest}")
    if len(hub.requests) > _MOST_REQUESTS:
        return tally.fail(f"{len(hub.requests)} requests")
    return tally.end(outcome, seconds=60)


def _hub(draw: random.Random) -> Hub:
    made = Hub({_REPOSITORY: {"Test-Q4_K_M.gguf": _CONTENT}})
    if draw.random() < 0.5:
        made.cut_after = [draw.randrange(draw.choice((10, len(_CONTENT)))) for _ in range(draw.choice((1, 5, 500)))]
    if draw.random() < 0.2:
        made.damaged = {"Test-Q4_K_M.gguf"}
    made.ignore_ranges = draw.random() < 0.3
    made.without_length = draw.random() < 0.3
    made.more = draw.choice((b"", b"", b"", b"x", b"x" * 3_000_000))
    made.instead = draw.choice((None, None, None, b"", b"<html>", _CONTENT[:-1], _CONTENT * 2))
    made.headers = draw.choice(({}, {}, {"Content-Encoding": "gzip"}, {"Content-Range": "bytes 7-9/10"}))
    made.nonsense = draw.choice((None,) * 6 + _NONSENSE)
    made.fail_with = draw.choice((0,) * 12 + (500, 404, 403, 302, 429))
    return made


def _words(hub: Hub) -> str:
    """What is odd about it."""
    plain = Hub()
    odd = {name: value for name, value in vars(hub).items() if name != "files" and value != getattr(plain, name)}
    return ", ".join(f"{name}={str(value)[:40]}" for name, value in odd.items() if name not in ("sending", "requests"))
