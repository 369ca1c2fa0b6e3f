"""Every campaign of `make harden` runs, and finds nothing in its first cases."""

from __future__ import annotations

import importlib
import random
import time

import pytest

from foredraft.models import hub
from tests.harden.__main__ import CAMPAIGNS
from tests.harden.loads import known_deadly
from tests.harden.tally import Tally

CASES = {"headers": 300, "loads": 6 + len(known_deadly()), "asked": 8, "templates": 4, "schemas": 12, "hosts": 12}


@pytest.mark.parametrize("name", CASES)
def test_a_campaign_finds_nothing_at_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "RETRY_SECONDS", hub.RETRY_SECONDS)  # `hosts` takes the pauses away
    monkeypatch.setenv("HF_ENDPOINT", "")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    tally = Tally(time.monotonic() + 200, most=CASES[name])
    importlib.import_module(CAMPAIGNS[name]).run(tally, random.Random(3))
    assert tally.bad == []
    assert tally.counts.total() == CASES[name]


def test_what_is_found_is_told() -> None:
    tally = Tally(time.monotonic() + 200)
    assert tally.begin("first")
    tally.end("refused")
    assert tally.begin("second")
    tally.fail("fell")
    assert tally.begin("third")
    tally.end("refused", seconds=-1)
    assert tally.bad == ["second: fell", "third: took 0.0 s"]
    assert "1 refused; 2 bad" in str(tally)
    assert not Tally(time.monotonic() - 1).begin("too late")
