"""A grammar is compiled once for all answers that ask for it, and each of them begins at its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import llguidance
import numpy as np
import pytest
from hypothesis import given, settings

from foredraft.grammars import constraints
from foredraft.grammars.constraints import GrammarConstraint, json_grammar, lark_grammar
from tests.grammars.test_limits import vocabulary

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "ages": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name", "ages"],
}
GRAMMARS = {
    "schema": lambda: json_grammar(PERSON),
    "any object": lambda: json_grammar(),
    "lark": lambda: lark_grammar('start: ("ab" | "ac" | /x+y/)+\n'),
    "lazy": lambda: lark_grammar('start: thought "end"\nthought[lazy]: /(.|\\n)*<\\/think>/\n'),
}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The grammars that are compiled in this process from now on."""
    seen: list[str] = []
    real = llguidance.LLMatcher

    class Counted:
        def __new__(cls, tokenizer: Any, grammar: str, **more: Any) -> Any:
            seen.append(grammar)
            return real(tokenizer, grammar, **more)

    monkeypatch.setattr("llguidance.LLMatcher", Counted)
    return seen


@given(name=st.sampled_from(sorted(GRAMMARS)), choices=st.lists(st.integers(0, 2**32), min_size=1, max_size=25))
@settings(deadline=None, max_examples=60)
def test_a_copy_goes_the_way_of_a_grammar_that_was_compiled_for_it(name: str, choices: list[int]) -> None:
    grammar = GRAMMARS[name]()
    alone = GrammarConstraint(vocabulary(), grammar)
    first = GrammarConstraint(vocabulary(), grammar)
    walked, others = [alone], [first]
    for choice in choices:
        mask = alone.allowed(())
        assert mask is not None
        ways = np.flatnonzero(mask)
        token = int(ways[choice % len(ways)])
        others.append(others[-1].again())  # made while those before have moved on
        for one in (*walked, first):
            assert np.array_equal(one.allowed(()), mask)
            assert one.forced() == alone.forced()
            assert one.finished == alone.finished
        for one in (*walked, first):
            one.commit([token])
    fresh = GrammarConstraint(vocabulary(), grammar)
    for other in others[1:]:
        assert np.array_equal(other.allowed(()), fresh.allowed(()))
        assert other.forced() == fresh.forced()


def test_a_grammar_is_compiled_once(compiled: list[str]) -> None:
    words = vocabulary()
    first = GrammarConstraint(words, json_grammar(PERSON))
    GrammarConstraint(words, json_grammar(PERSON)).commit(list(b'{"name'))
    first.again().commit(list(b'{"'))
    assert len(compiled) == 1
    GrammarConstraint(vocabulary(), json_grammar(PERSON))  # another model's
    GrammarConstraint(words, json_grammar())
    assert len(compiled) == 3


def test_what_is_kept_has_an_end(compiled: list[str]) -> None:
    words = vocabulary()
    for number in range(constraints.KEPT + 1):
        GrammarConstraint(words, json_grammar({"const": number}))
    GrammarConstraint(words, json_grammar({"const": constraints.KEPT}))
    assert len(compiled) == constraints.KEPT + 1
    GrammarConstraint(words, json_grammar({"const": 0}))
    assert len(compiled) == constraints.KEPT + 2


def test_what_took_long_is_compiled_again_but_once_for_all_answers_of_a_request(
    compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraints, "KEPT_SECONDS", -1.0)
    words = vocabulary()
    GrammarConstraint(words, json_grammar(PERSON)).again().again()
    GrammarConstraint(words, json_grammar(PERSON))
    assert len(compiled) == 2
