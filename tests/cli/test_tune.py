"""Costs that a busy machine has written down do not stay, measured or learned in use: a doctored file is noticed at the
next load, also one that says that nothing can pay."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foredraft.config.folders import cache_folder
from tests.cli.terminals import COMMAND

Content = dict[str, Any]


def foredraft(*args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *args], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done


def costs() -> tuple[Path, dict[str, Any]]:
    (file,) = (cache_folder() / "tuning").glob("costs-*.json")
    return file, json.loads(file.read_text(encoding="utf-8"))


def row() -> dict[str, Any]:
    kept = json.loads(foredraft("tune", "--json").stdout)["kept"]
    found: dict[str, Any] = next(entry for entry in kept if entry["kind"] == "costs")
    return found


def dear_draft(content: Content) -> None:
    for kind in ("draft", "first"):
        content[kind] = {at: 300 * seconds for at, seconds in content[kind].items()}


def dear_from_the_start(content: Content) -> None:
    dear_draft(content)
    content["bare_s"][1] *= 300


def slow_machine(content: Content) -> None:
    content["bins"] = {
        at: {tokens: 40 * seconds for tokens, seconds in passes.items()} for at, passes in content["bins"].items()
    }


def slow_from_the_start(content: Content) -> None:
    slow_machine(content)
    dear_draft(content)
    content["bare_s"] = [40 * content["bare_s"][0], 300 * content["bare_s"][1]]


def old(content: Content) -> None:
    content["measured_at"] -= 30 * 86_400


@pytest.mark.parametrize(
    ("doctor", "says"),
    [
        (dear_draft, "a draft step seemed to take"),
        (dear_from_the_start, "a draft step takes"),
        (slow_machine, "a plain step seemed to take"),
        (slow_from_the_start, "a plain step takes"),
        (old, "they were measured 30 days ago"),
    ],
)
def test_costs_that_do_not_hold_are_measured_anew_and_that_is_said(
    doctor: Callable[[Content], None], says: str
) -> None:
    foredraft("run", "What is 2 + 3?", "-t", "0")
    before = row()
    file, stored = costs()
    doctor(stored["content"])
    file.write_text(json.dumps(stored), encoding="utf-8")
    poisoned = row()
    if doctor in (dear_draft, dear_from_the_start, slow_from_the_start):
        assert poisoned["at_most"] <= 1.0, "it says that nothing can pay"
    done = foredraft("run", "What is 2 + 3?", "-t", "0")
    assert "no longer hold and are measured again" in done.stderr
    assert says in done.stderr
    after = row()
    assert after["measured"] >= before["measured"]
    assert after["draft_step"] < 30 * before["draft_step"]
    assert after["plain_step_s"] < 20 * before["plain_step_s"]


def test_what_was_learned_can_be_forgotten() -> None:
    foredraft("run", "What is 2 + 3?", "-t", "0", "-n", "2")
    assert costs()
    assert "Forgotten" in foredraft("tune", "foredraft-demo", "--forget").stdout
    assert list((cache_folder() / "tuning").glob("*.json")) == []
    assert "Nothing is kept yet" in foredraft("tune").stdout
