"""What is said after an answer: nothing that the figures do not bear."""

from __future__ import annotations

from typing import Any

import pytest

from foredraft.cli import terminal
from foredraft.core.reasons import Reason
from foredraft.core.stats import GenerationStats
from foredraft.scheduling.request import Generation, SpeculationStatus

PAUSED = SpeculationStatus("paused", Reason("draft_cannot_pay", {"cost": 213.0}))


def answer(status: SpeculationStatus | None = None, **stats: Any) -> Generation:
    counted = GenerationStats(**{"tokens": 35, "rounds": 9, "drafted": 40, "accepted": 26, "rejected": 2, **stats})
    status = status or SpeculationStatus("active")
    return Generation("x", [1] * 35, "eos", "m", "d", 0, status, None, counted, [])


def test_a_short_answer_tells_passes_and_no_times() -> None:
    said = terminal.one_line(answer(generation_s=0.04, saved_s=-0.012, saved_error_s=0.001))
    assert said == "35 tokens in 9 passes · accepted 26 of 28 tested draft tokens"


@pytest.mark.parametrize(
    ("saved", "error", "says"),
    [
        (-0.002, 0.000, ""),
        (0.0, 0.0, ""),
        (0.3, 0.4, ""),
        (None, None, ""),
        (1.234, 0.1, "saved 1.23 ± 0.10 s"),
        (-0.021, 0.0, "lost 0.021 ± 0.001 s"),
    ],
)
def test_what_was_won_is_said_where_it_is_certain(saved: float | None, error: float | None, says: str) -> None:
    made = answer(generation_s=3.5, saved_s=saved, saved_error_s=error)
    said = terminal.one_line(made)
    assert said.startswith("10.0 tok/s · 35 tokens in 9 passes · first token")
    assert (says in said) if says else ("saved" not in said and "lost" not in said)
    rows = dict(terminal._rows(made, made.stats))
    assert "0.00 ± 0.00" not in said + str(rows)


def test_a_reason_is_said_once() -> None:
    first = terminal.one_line(answer(PAUSED))
    again = terminal.one_line(answer(PAUSED), before=PAUSED)
    assert "speculation: Paused: Drafting cannot pay here" in first
    assert again.endswith("speculation: Paused")
