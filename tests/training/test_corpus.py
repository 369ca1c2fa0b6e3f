"""The corpus is the same each time, and what evaluation asks is in no training document."""

from __future__ import annotations

import ast
import json
import re
from itertools import islice

import pytest

from training import corpus
from training.corpus.source import Wordings, held_combination, held_wording


def test_the_same_seed_gives_the_same_documents() -> None:
    one, two = (list(islice(corpus.documents(5), 300)) for _ in range(2))
    assert one == two
    assert one != list(islice(corpus.documents(6), 300))


def test_no_evaluation_prompt_is_in_the_training_corpus() -> None:
    seen = {d.turns[:-1] for d in islice(corpus.documents(2), 40_000)}
    asked = [d for name in corpus.BUILDERS for d in corpus.prompts(20, name, 60)]
    assert len(asked) > 500
    assert [d for d in asked if d.turns[:-1] in seen] == []


def test_held_wordings_and_combinations_are_rare_but_there() -> None:
    wordings = Wordings("[a|b|c|d] [e|f|g|h] {x} [i|j|k|l]\n~ quite another {x}")
    import random

    rng = random.Random(1)
    training = {wordings.draw(rng, test=False) for _ in range(500)}
    held = {wordings.draw(rng, test=True) for _ in range(500)}
    assert not training & held
    assert "quite another {x}" in held
    assert not any(held_wording(w) for w in training)
    share = sum(held_combination("+", a, b) for a in range(100) for b in range(100)) / 10_000
    assert 0.08 < share < 0.12


@pytest.mark.parametrize("name", sorted(corpus.BUILDERS))
def test_every_builder_asks_in_both_languages_and_answers(name: str) -> None:
    for language in ("en", "ja"):
        documents = corpus.prompts(1, name, 30, language)
        assert len(documents) == 30
        for d in documents:
            assert d.turns[-1].role == "assistant"
            assert d.turns[-2].role == "user"
            assert all(t.text.strip() for t in d.turns)
            # What is left of a pattern would be learnt as text.
            assert not re.search(r"\[[^\]]*\|[^\]]*\]|\{[a-z_]+\}|\\n|@@", d.turns[-2].text.replace("{o}", "")), d


def test_code_answers_pass_their_own_checks() -> None:
    for d in corpus.prompts(2, "code", 60):
        if d.check is None:
            continue
        block = re.search(r"```python\n(.*?)```", d.answer, re.DOTALL)
        assert block
        ast.parse(block.group(1))
        names: dict[str, object] = {}
        exec(block.group(1), names)
        assert eval(d.check[1], names), d.answer


def test_json_answers_parse() -> None:
    found = [d for d in corpus.prompts(2, "structure", 80) if d.check]
    assert found
    for d in found:
        assert json.loads(d.answer)


def test_sums_are_right() -> None:
    for d in corpus.prompts(2, "sums", 200):
        for side in re.findall(r"(\d+ [-+×] \d+) = (?:\d+ [-+] \d+ = )?(\d+)$", d.answer):
            assert eval(side[0].replace("×", "*")) == int(side[1])


def test_there_are_enough_wordings() -> None:
    """Twenty and more for each intent, counted by drawing."""
    import random

    from training.corpus import arithmetic, copying, facts, structure

    rng = random.Random(1)
    for wordings in (arithmetic.SUM, arithmetic.DIFFERENCE, facts.FORMULA, copying.REPLACE, structure.TABLE):
        for language in ("en", "ja"):
            assert len({wordings[language].draw(rng, test=False) for _ in range(400)}) >= 20  # type: ignore[index]
