"""No schema and no grammar ends the process or takes long: it works, or it is refused with a typed error.

The deadly ones run in a process of their own, so that a fall shows as a failed test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from foredraft.grammars import limits as grammar_limits
from foredraft.grammars.constraints import (
    GrammarConstraint,
    GrammarError,
    GrammarVocabulary,
    json_grammar,
    lark_grammar,
)
from tests.conftest import ROOT
from tests.harden.chains import CHAINS

SIZES = (500, 3_000, 100_000)


class Bytes:
    """A tokenizer of single bytes."""

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        return list(text.encode())


def vocabulary() -> GrammarVocabulary:
    return GrammarVocabulary([bytes([byte]) for byte in range(256)] + [b""], [256], Bytes())


def outcome(kind: str, length: int, words: GrammarVocabulary) -> str:
    """ "works", or what the typed error says."""
    form, content = CHAINS[kind](length)
    try:
        grammar = json_grammar(content) if form == "schema" else lark_grammar(content)
        constraint = GrammarConstraint(words, grammar)
        assert constraint.allowed(()).any()
        constraint.forced()
    except GrammarError as error:
        return error.reason
    return "works"


def main(kind: str) -> None:
    """For the process of its own: one kind at every size, and the time each took."""
    words = vocabulary()
    outcome(kind, 1, words)  # starts the child
    said = {}
    for size in SIZES:
        began = time.process_time()
        said[size] = outcome(kind, size, words), time.process_time() - began
    print(json.dumps(said))


@pytest.mark.parametrize("kind", CHAINS)
def test_a_chain_of_any_length_works_or_is_refused(kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.grammars.test_limits", kind],
        capture_output=True,
        timeout=120,
        check=False,
        encoding="utf-8",
        cwd=ROOT,
    )
    assert ran.returncode == 0, f"ended with {ran.returncode}: {ran.stderr[-2000:]}"
    said = json.loads(ran.stdout)
    assert list(said) == [str(size) for size in SIZES]
    assert said["100000"][0] != "works"
    for reason, seconds in said.values():
        assert seconds < 10, "this process's own time: most of the work is the child's"
        assert reason == "works" or len(reason) < 400


@pytest.mark.parametrize("kind", ["object $ref", "plain $ref", "rules", "optional rules"])
def test_a_long_chain_within_the_limits_works(kind: str) -> None:
    assert outcome(kind, grammar_limits.MAX_CHAIN - 2, vocabulary()) == "works"


def many(count: int) -> dict[str, Any]:
    return {"$defs": {f"d{i}": {"type": "string"} for i in range(count)}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        (many(2_001), r"2,001 definitions \(\$defs\); at most 2,000"),
        (CHAINS["plain $ref"](502)[1], r"chain of 501 definitions or more, .* at most 500"),
        (CHAINS["nested items"](101)[1], "nested 101 deep or more; at most 100"),
        ({"const": "x" * 300_000}, r"more than 300,0\d\d bytes; at most 262,144"),
        ("start: " + "x" * 300_000, r"300,0\d\d bytes; at most 262,144"),
        ("".join(f'r{i}: "x"\n' for i in range(2_001)), "2,001 rules; at most 2,000"),
        (CHAINS["rules"](500)[1], r"chain of 501 definitions or more, .* at most 500"),
    ],
    ids=["definitions", "chain", "nesting", "bytes", "grammar's bytes", "rules", "chain of rules"],
)  # fmt: skip
def test_a_limit_is_named_with_both_numbers(grammar: Any, reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        lark_grammar(grammar) if isinstance(grammar, str) else json_grammar(grammar)


def test_rules_may_lead_in_circles() -> None:
    circle = 'start: a\na: "x" b | "y"\nb: "z" a\n'
    assert outcome_of(lark_grammar(circle)).allowed(()).any()
    tree = {"$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "$ref": "#/$defs/tree"}
    assert outcome_of(json_grammar(tree)).allowed(()).any()


def outcome_of(grammar: str) -> GrammarConstraint:
    return GrammarConstraint(vocabulary(), grammar)


def test_names_in_strings_and_comments_of_a_grammar_are_no_rules() -> None:
    text = "".join(f"// r{i}: r{i + 1}\n" for i in range(3_000))
    assert lark_grammar(f'start: "r1: r2" /r3: x/\n{text}')


def test_a_schema_that_is_no_json_is_refused() -> None:
    with pytest.raises(GrammarError, match="not JSON"):
        json_grammar({"const": {1, 2}})


def test_a_compilation_that_takes_too_long_is_given_up() -> None:
    """5,000 optional properties take llguidance some ten seconds, 200,000 alternatives minutes."""
    with pytest.raises(GrammarError, match="longer than 3 seconds"):
        json_grammar(CHAINS["optional properties"](7_000)[1])


if __name__ == "__main__":
    main(sys.argv[1])
