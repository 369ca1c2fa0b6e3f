"""The quick measurement of a pair: a figure that grows more certain, cancelled at any time."""

from __future__ import annotations

from itertools import count

import pytest

from foredraft.bench.categories import CATEGORIES
from foredraft.bench.pair import measure_pair
from foredraft.core.errors import ForedraftError
from tests.bench.toys import pair


def test_it_ends_with_a_result_and_the_pair_as_it_was() -> None:
    with pair() as llm:
        controller = llm.scheduler.controller
        seen = list(measure_pair(llm, seconds=1.0))
        shares = [now.share for now in seen]
        assert shares == sorted(shares)
        last = seen[-1]
        assert last.share == 1.0
        assert last.speedup is not None
        assert last.low is not None
        assert last.high is not None
        assert last.low <= last.speedup <= last.high
        assert last.as_dict() == {"speedup": last.speedup, "low": last.low, "high": last.high}
        assert last.plain_speed > 0
        assert last.draft_speed > 0
        assert last.costs is not None
        assert last.texts > 0
        assert last.unlike == 0
        assert llm.scheduler.controller is controller


def test_cancelling_gives_the_pair_back() -> None:
    with pair() as llm:
        drafter = llm.scheduler.drafter
        steps = measure_pair(llm, seconds=30.0)
        for now in steps:
            if now.speedup is not None:
                assert now.share < 1.0
                break
        steps.close()
        assert llm.scheduler.drafter is drafter
        assert not llm.scheduler.busy
        assert llm.generate("ab", max_tokens=5, ignore_eos=True).tokens


def test_without_a_draft_there_is_nothing_to_measure() -> None:
    with pair(draft=None) as llm, pytest.raises(ForedraftError, match="no draft is loaded"):
        next(measure_pair(llm))


def test_all_categories_take_part() -> None:
    ticks = count()
    seen: set[str] = set()
    with pair() as llm:
        for now in measure_pair(llm, seconds=1000.0, clock=lambda: next(ticks) * 0.05):
            if "temperature" in now.what:
                seen.add(now.what.split(" ")[0])
            if len(seen) == len(CATEGORIES):
                break
    assert seen == set(CATEGORIES)
