"""The prompts: enough of each kind, in both languages, none twice."""

from __future__ import annotations

import pytest

from foredraft.bench.categories import CATEGORIES, prompts
from foredraft.core.errors import ParameterError


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_has_ten_prompts_and_both_languages_in_turns(category: str) -> None:
    found = prompts([category])[category]
    assert len(found) >= 10
    assert [p.language for p in found] == ["en" if i % 2 == 0 else "ja" for i in range(len(found))]
    assert [p.number for p in found] == list(range(len(found)))
    for prompt in found:
        assert prompt.text == prompt.text.strip()


def test_no_prompt_is_there_twice() -> None:
    texts = [p.text for group in prompts().values() for p in group]
    assert len(set(texts)) == len(texts)


def test_the_first_few_can_be_taken() -> None:
    found = prompts(count=3)
    assert list(found) == list(CATEGORIES)
    assert {len(group) for group in found.values()} == {3}


def test_an_unknown_category_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ParameterError, match="maths, facts, code"):
        prompts(["poems"])
    with pytest.raises(ParameterError, match="at least 1"):
        prompts(count=0)
