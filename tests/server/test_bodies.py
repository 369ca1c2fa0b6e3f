"""Bodies of every size are read alike; large ones in a child, which may die, and is given up when nobody waits."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foredraft.server import pieces
from foredraft.server.bodies import AT_ONCE, LARGE, read_json
from foredraft.server.context import Services
from foredraft.server.pools import Pools
from tests.server import toy

ASK = {"model": "toy", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "seed": 3}
CHAT = "/v1/chat/completions"
SIZES = {"small": 0, "in a thread": AT_ONCE, "in a child": LARGE}
TYPE = {"content-type": "application/json"}


@pytest.fixture
def own() -> Iterator[httpx.Client]:
    """A server of its own, with children of its own."""
    with toy.serving(toy.services()) as address, httpx.Client(base_url=address, timeout=60) as one:
        yield one


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


def readers() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "foredraft.server.pieces:work" in one.cmdline():
                found.append(one)
    return found


def until(condition: Callable[[], Any]) -> Any:
    while not (found := condition()):
        time.sleep(0.01)
    return found


def busy(one: psutil.Process) -> bool:
    """It reads: it uses a processor."""
    before = sum(one.cpu_times()[:2])
    until(lambda: sum(one.cpu_times()[:2]) > before + 0.02)
    return True


# ---- the same, however large ----

BODIES: dict[str, bytes] = {
    "right": json.dumps(ASK).encode(),
    "not known": json.dumps({**ASK, "nonsense": 1}).encode(),
    "wrong": json.dumps({**ASK, "temperature": "hot"}).encode(),
    "of the wrong kind": b"[1, 2]",
    "no JSON": b'{"model": "toy", x}',
    "cut": b'{"model": "toy", "messages": [{"role": "user", "con',
    "no text": b'{"model": "\xff"}',
    "half of a pair": json.dumps({**ASK, "messages": [{"role": "user", "content": "a\ud83d"}]}).encode(),
    "too deep": json.dumps({**ASK, "x": json.loads("[" * 101 + "]" * 101)}).encode(),
    "too many stops": json.dumps({**ASK, "stop": ["a"] * 129}).encode(),
    "no number": json.dumps({**ASK, "temperature": float("nan")}).encode(),
    "large numbers": json.dumps({**ASK, "max_tokens": 10**30}).encode(),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_read_alike_however_large_it_is(http: httpx.Client, name: str) -> None:
    said = set()
    for size in SIZES.values():  # spaces at its end change nothing
        answer = http.post(CHAT, content=BODIES[name] + b" " * size, headers=TYPE)
        told = answer.json()
        shown = told.get("error") or (told["choices"], told.get("warnings"))
        said.add(json.dumps([answer.status_code, shown, answer.headers.get("x-foredraft-warnings")], sort_keys=True))
    assert len(said) == 1
    assert '"An unexpected' not in next(iter(said))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=60,
)


@given(JSON)
def test_what_is_cut_up_is_put_together_again(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for values, characters in ((4, 6), (1, 1), (pieces.VALUES, pieces.CHARACTERS)):
            patch.setattr(pieces, "VALUES", values)
            patch.setattr(pieces, "CHARACTERS", characters)
            again = pieces.put_together(list(pieces.pieces(value)))
            assert again == value
            assert repr(again) == repr(value)  # 1 is not 1.0 nor true, and keys keep their order


def test_no_piece_of_a_body_holds_up_the_others_for_long() -> None:
    """What is done in one go is bounded: this many values, this many characters, and the last one's."""
    for value in (
        [1] * 300_000,
        ["ab"] * 300_000,
        [[1]] * 100_000,
        [[1] * 500] * 300,
        {f"key {n}": n for n in range(90_000)},
        "é" * 5_000_000,
        {"a": [{"b": ["c" * 100_000] * 50}] * 3},
    ):
        for piece in pieces.pieces(value):
            assert piece.count(b",") <= pieces.VALUES
            assert len(piece) <= 2 * pieces.CHARACTERS + 100


# ---- the child ----


def test_small_bodies_need_no_child(own: httpx.Client) -> None:
    before = {one.pid for one in readers()}
    assert own.post(CHAT, content=json.dumps(ASK) + " " * (LARGE // 2), headers=TYPE).status_code == 200
    assert {one.pid for one in readers()} == before
    assert own.post(CHAT, content=json.dumps(ASK) + " " * LARGE, headers=TYPE).status_code == 200
    assert {one.pid for one in readers()} > before


SLOW = json.dumps({**ASK, "nonsense": ["ab"] * 900_000}).encode()
"""Takes its time to be read."""


def test_a_child_that_dies_is_an_error_and_the_next_body_is_read(own: httpx.Client) -> None:
    before = {one.pid for one in readers()}
    with ThreadPoolExecutor(1) as pool:
        waited = pool.submit(own.post, CHAT, content=SLOW, headers=TYPE)
        child = until(lambda: [one for one in readers() if one.pid not in before])[0]
        assert busy(child)
        child.kill()
        answer = waited.result()
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "body")
    assert "ended the process" in error["message"]
    assert error["hint"] == "Send it again."
    assert own.post(CHAT, content=json.dumps(ASK) + " " * LARGE, headers=TYPE).status_code == 200


def test_what_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    of = toy.services()
    of.pools.readers.seconds = 0.2
    with toy.serving(of) as address, httpx.Client(base_url=address, timeout=60) as one:
        answer = one.post(CHAT, content=SLOW, headers=TYPE)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body")
        assert "longer than 0.2 seconds" in answer.json()["error"]["message"]
        assert one.post(CHAT, json=ASK).status_code == 200


def test_where_no_process_can_be_started_the_body_is_an_error(
    own: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("foredraft.child.subprocess.Popen", none)
    answer = own.post(CHAT, content=json.dumps(ASK) + " " * LARGE, headers=TYPE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "body")
    assert "Resource temporarily unavailable" in answer.json()["error"]["message"]
    assert own.post(CHAT, json=ASK).status_code == 200


def test_a_child_whose_client_has_left_is_ended() -> None:
    of = toy.services()
    with toy.serving(of) as address:
        before = {one.pid for one in readers()}
        with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), timeout=30) as connection:
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(SLOW)}\r\n\r\n".encode() + SLOW)
            child = until(lambda: [one for one in readers() if one.pid not in before])[0]
            assert busy(child)
            child.suspend()  # it would go on for ever
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
        with httpx.Client(base_url=address, timeout=60) as one:
            assert one.post(CHAT, content=json.dumps(ASK) + " " * LARGE, headers=TYPE).status_code == 200


def test_no_child_outlives_the_server() -> None:
    before = {one.pid for one in readers()}
    with toy.serving(toy.services()) as address, httpx.Client(base_url=address, timeout=60) as one:
        assert one.post(CHAT, content=json.dumps(ASK) + " " * LARGE, headers=TYPE).status_code == 200
        (child,) = [one for one in readers() if one.pid not in before]
    until(lambda: not child.is_running())


async def test_reading_is_no_work_for_the_garbage_collector() -> None:
    """It would look at everything again and again, and hold up the event loop; afterwards it is there as before."""
    pools, seen = Pools(), []

    def collected(phase: str, info: dict[str, int]) -> None:
        where = sys._getframe(1).f_code.co_filename
        if where.endswith(("pieces.py", "jsontext.py")):
            seen.append((where, info["generation"]))

    gc.callbacks.append(collected)
    try:
        for count in (20_000, 150_000):
            await read_json(json.dumps({"input": [[1]] * count}).encode(), pools)
    finally:
        gc.callbacks.remove(collected)
        pools.close()
    assert seen == []
    assert gc.isenabled()


def test_a_chat_is_answered_as_it_is_when_it_is_small(http: httpx.Client, services: Services) -> None:
    """Not one of the many checks is left out on the way through the child."""
    long = {**ASK, "nonsense": "x" * LARGE, "logit_bias": {"1": 5, "x": 1}}
    small = {**long, "nonsense": "x"}
    first, second = (http.post(CHAT, json=body) for body in (long, small))
    assert first.status_code == second.status_code == 400
    assert first.json() == second.json()
