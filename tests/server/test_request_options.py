"""What a request may say never makes a command leave the running server aside, and it arrives there.

Mutants that were made by hand and the test that kills each:
- a parameter of a request among the settings of a load (`max_draft`, as it was): test_every_knob_of_a_request_arrives
- a parameter left out of the client's body: test_every_knob_of_a_request_arrives
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from foredraft.cli.main import app
from foredraft.core.declared import Declared, declared
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.scheduling.scheduler import Scheduler

KNOBS = [
    (scope, one)
    for scope, of in (("sampling", SamplingParams), ("speculation", SpeculationParams))
    for one in declared(of).values()
    if one.options
]


def another(one: Declared) -> Any:
    """A value that is not the default."""
    if one.param.choices is not None:
        return next(word for word in reversed(one.words()) if word not in (one.default, "off"))
    return {bool: not one.default, int: 5, float: 0.5}[one.kind]


def words(one: Declared, value: Any) -> list[str]:
    if one.kind is bool:
        yes, _, no = one.options[0].partition("/")
        return [yes if value else no]
    return [one.options[0], str(value)]


@pytest.fixture
def run(address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FOREDRAFT_SERVER__PORT", address.rsplit(":", 1)[1])
    got: list[Request] = []
    submit = Scheduler.submit

    def recorded(self: Scheduler, request: Request, *args: Any, **more: Any) -> Any:
        got.append(request)
        return submit(self, request, *args, **more)

    monkeypatch.setattr(Scheduler, "submit", recorded)

    def command(*said: str) -> tuple[str, Request | None]:
        got.clear()
        with contextlib.suppress(SystemExit):
            app(["run", "ab", "-n", "3", *said], standalone_mode=False)
        return capsys.readouterr().err, got[-1] if got else None

    app(["load", "toy"], standalone_mode=False)
    capsys.readouterr()
    return command


@pytest.mark.parametrize(("scope", "one"), KNOBS, ids=[one.name for _, one in KNOBS])
def test_every_knob_of_a_request_arrives(scope: str, one: Declared, run) -> None:
    value = another(one)
    said, request = run("--model", "toy", *words(one, value))
    assert "Answered by toy of the server" in said
    assert request is not None
    assert getattr(getattr(request, scope), one.name) == value


def test_a_setting_of_the_load_does(run) -> None:
    said, _ = run("--model", "toy", "--batch", "64")
    assert "Answered by" not in said
