"""A loaded pair set to each way of answering, and given back as it was."""

from __future__ import annotations

import time

import pytest

from foredraft.bench.modes import parse, stage
from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.tables import methods
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import NoDrafter
from tests.bench.toys import pair


def test_names_become_modes() -> None:
    assert parse("fixed:0").gamma == 0
    assert parse("fixed:16").gamma == 16
    for name in methods():
        assert parse(name).gamma is None
        assert parse(name).speculation.method == name
    assert not parse("plain").speculation.enabled


@pytest.mark.parametrize("name", ["fixed", "fixed:", "fixed:17", "fixed:-1", "fixed:x", "fixed:３", "often", ""])
def test_other_names_are_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(ParameterError, match="one of auto, model, grammar, prediction, suffix, ngram, off, or fixed:γ"):
        parse(name)


def test_plain_decoding_is_measured_without_drafter_and_controller() -> None:
    with pair() as llm:
        drafter, controller = llm.scheduler.drafter, llm.scheduler.controller
        with stage(llm) as of:
            of.set(parse("plain"))
            assert isinstance(llm.scheduler.drafter, NoDrafter)
            of.set(parse("fixed:7"))
            assert isinstance(llm.scheduler.controller, Fixed)
            assert llm.scheduler.controller.gamma == 7
            of.set(parse("auto"))
            assert llm.scheduler.controller is controller
            of.set(parse("plain"))
        assert llm.scheduler.drafter is drafter
        assert llm.scheduler.controller is controller


def test_another_clock_is_for_the_time_of_the_measurement() -> None:
    with pair() as llm:
        scheduler = llm.scheduler
        with stage(llm, time.thread_time) as of:
            assert llm.scheduler is not scheduler
            assert of.draft_model is not None
            assert of.draft_model.clock is time.thread_time
            assert llm.generate("ab", max_tokens=20, ignore_eos=True, temperature=0.0).stats.accepted
        assert llm.scheduler is scheduler
        assert llm.generate("ab", max_tokens=20, ignore_eos=True, temperature=0.0).stats.accepted


def test_a_source_that_is_not_loaded_is_named() -> None:
    with pair(draft=None) as llm, stage(llm) as of:
        of.check(parse("off"))
        for name in ("fixed:3", "model", "suffix", "auto"):
            with pytest.raises(ForedraftError, match="what is loaded has: none"):
                of.check(parse(name))
    with pair(suffix=True) as llm, stage(llm) as of:
        for name in ("fixed:3", "model", "suffix", "auto"):
            of.check(parse(name))
        with pytest.raises(ForedraftError, match="suffix, model"):
            of.check(parse("ngram"))
