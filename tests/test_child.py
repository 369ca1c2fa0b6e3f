"""Work in a child ends with a result or with a typed error, whatever it does."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from foredraft import child as child_module
from foredraft.child import ChildError, Children

MEBIBYTE = 2**20


def _children(**wanted: object) -> Children:
    # `eval` of a text is any work one may think of
    return Children("builtins:eval", **{"seconds": 20.0, "n_bytes": 64 * MEBIBYTE, "count": 1, **wanted})  # type: ignore[arg-type]


@pytest.fixture(params=[False, True], ids=["limited", "watched"])
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """With the system's limit of memory where it has one, and with somebody looking."""
    made = _children(watch=request.param or sys.platform != "linux")
    yield made
    made.close()


def test_one_process_serves_many_calls(children: Children) -> None:
    first = children.call("__import__('os').getpid()")
    assert first != os.getpid()
    assert children.call("__import__('os').getpid()") == first
    assert children.call("['é', '\\ud800', None, 1.5, {'a': [True]}]") == ["é", "\ud800", None, 1.5, {"a": [True]}]


def test_what_it_raises_is_told_and_it_lives_on(children: Children) -> None:
    before = children.call("__import__('os').getpid()")
    with pytest.raises(ChildError, match="ZeroDivisionError") as told:
        children.call("1 / 0")
    assert told.value.reason == "fault"
    with pytest.raises(ChildError, match="cannot be sent") as told:
        children.call(object())
    assert told.value.reason == "arguments"
    assert children.call("__import__('os').getpid()") == before


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("len('x' * 2**29)", "memory"),
        ("len([f'{i:99}' for i in range(10**7)])", "memory"),
        ("__import__('os').abort()", "died"),
        ("__import__('os')._exit(0)", "died"),
    ],
)
def test_what_breaks_a_limit_is_told_and_the_next_call_has_a_new_process(
    children: Children, work: str, reason: str
) -> None:
    before = children.call("__import__('os').getpid()")
    with pytest.raises(ChildError) as told:
        children.call(work)
    assert told.value.reason == reason
    assert children.call("__import__('os').getpid()") != before
    assert not psutil.pid_exists(before)


def test_what_takes_too_long_is_ended() -> None:
    children = _children(seconds=0.3)
    with pytest.raises(ChildError, match=r"longer than 0\.3 seconds") as told:
        children.call("sum(range(10**12))")  # one call of a C function: nothing inside the process could stop it
    assert told.value.reason == "time"
    children.close()


def test_memory_that_was_used_once_is_given_back() -> None:
    children = _children(n_bytes=512 * MEBIBYTE)
    before = children.call("__import__('os').getpid()")
    assert children.call("len([f'{i:99}' for i in range(10**6)])") == 10**6
    assert children.call("__import__('os').getpid()") != before
    children.close()


def test_a_process_that_was_ended_while_idle_is_replaced(children: Children) -> None:
    pid = children.call("__import__('os').getpid()")
    process = psutil.Process(pid)
    process.kill()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert children.call("1 + 1") == 2


def test_an_answer_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "MAX_ANSWER", 1000)
    children = _children()
    with pytest.raises(ChildError):
        children.call("'x' * 1000")
    children.close()


def test_what_the_work_prints_is_no_answer(children: Children) -> None:
    assert children.call("print('hello') or __import__('os').write(1, b'hello')") == 5


def test_those_that_come_together_take_turns() -> None:
    children = _children(count=2)
    said: list[int] = []
    threads = [
        threading.Thread(target=lambda: said.append(children.call("__import__('os').getpid()"))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 12
    assert len(set(said)) <= 2
    children.close()


def test_nothing_of_the_current_folder_is_imported(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(7)", encoding="utf-8")
    (tmp_path / "foredraft").mkdir()
    monkeypatch.chdir(tmp_path)
    children = _children()
    assert children.call("1 + 1") == 2
    children.close()


def test_no_process_outlives_its_children(children: Children) -> None:
    pid = children.call("__import__('os').getpid()")
    children.close()
    assert not psutil.pid_exists(pid)
