"""The bar of "never slower" as `foredraft bench` measures it with drafts that cannot pay, on a clock without noise."""

from __future__ import annotations

import pytest

from foredraft.bench.categories import Prompt
from foredraft.bench.costs import measure_costs
from foredraft.bench.modes import parse, stage
from foredraft.bench.report import Report
from foredraft.bench.runner import Plan, Run
from foredraft.bench.tables import PLAIN_BAR, tables
from foredraft.engines.toy import ToyEngine
from foredraft.engines.toy.engine import ToyClock
from foredraft.pair.llm import LLM
from foredraft.speculative.controllers import Adaptive
from foredraft.speculative.controllers.adaptive.measure import measure
from foredraft.speculative.drafters import Arbiter, ModelDrafter, SuffixDrafter

STEP = 0.01
"""Seconds of a plain step."""
PROMPTS = {
    category: [Prompt(category, i, "en", text) for i, text in enumerate(texts)]
    for category, texts in {"maths": ("ab", "the cat", "a dog"), "chat": ("hello", "so long", "in the end")}.items()
}


def pass_s(n: int) -> float:
    """A pass of n tokens, as on a processor: every token more costs a quarter of a step."""
    return STEP * (0.75 + 0.25 * n)


@pytest.mark.parametrize(("kind", "blur", "share"), [("random", 1.0, 0.2), ("self", 0.0, 1.0)])
def test_auto_keeps_its_bar_with_a_draft_that_can_bring_nothing(kind: str, blur: float, share: float) -> None:
    """Always wrong and cheap, or always right and as slow as the main model."""
    clock = ToyClock()
    main = ToyEngine.random(seed=1, n_vocab=320, sharpness=3.0, n_ctx=512, cost=pass_s, clock=clock)
    draft = main.blurred(blur, seed=2, cost=lambda n: share * pass_s(n))
    drafter = ModelDrafter(draft, main.info.n_vocab, clock=clock)
    controller = Adaptive(measure(main, draft, clock=clock))
    llm = LLM(main, Arbiter([SuffixDrafter(clock=clock), drafter], on_park=controller.park), controller)
    with llm, stage(llm, clock) as of:
        costs = measure_costs(llm, drafter, seconds=0.0, clock=clock)
        run = Run(of, Plan(PROMPTS, (parse("fixed:3"), parse("auto")), repeats=1, max_tokens=150), STEP, clock=clock)
        list(run)
        report = Report.of(llm, costs, run, [])
    assert costs.draft == pytest.approx(share, rel=0.01)
    for temperature in (0.0, 0.8):
        for category, speedup in report.by_category("auto", temperature).items():
            assert speedup.value >= PLAIN_BAR, (kind, category, temperature, str(speedup))
        fixed = report.overall("fixed:3", temperature)
        assert fixed is not None
        assert fixed.value < 0.9  # it is as useless as it should be
    (bars,) = (table for table in tables(report) if table.title == "auto against its bars")
    assert all(row[3].startswith("met") for row in bars.rows)
