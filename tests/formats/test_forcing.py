"""Forced calls: whatever the grammar of a form lets a model write is read back as calls of the tools."""

from __future__ import annotations

import codecs
import contextlib
import json

import numpy as np
import pytest

from foredraft.formats.answer_grammar import schema_grammar, tools_grammar
from foredraft.formats.entries import Form, parts
from foredraft.formats.response_parser import ResponseParser
from foredraft.formats.table import BARE
from foredraft.formats.values import types_of
from foredraft.grammars.constraints import GrammarConstraint, GrammarVocabulary
from foredraft.grammars.limits import MAX_BYTES, GrammarError
from foredraft.scheduling.stream import Piece
from tests.formats.samples import TOOLS, all_forms, bound

FORMS = [*all_forms(), BARE]
LONGEST = 3000


class Bytes:
    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        return list(text.encode())


def answer_by(form: Form, grammar: str, names: list[str], seed: int) -> list[Piece] | None:
    """A random answer of a grammar, by a vocabulary of bytes and control tokens; None where it does not end soon. Now
    and then it spells one of the form's own marks, so that texts are closed."""
    rng = np.random.default_rng(seed)
    end = 256 + len(names)
    vocabulary = GrammarVocabulary([bytes([byte]) for byte in range(256)] + [b""] * (len(names) + 1), [end], Bytes())
    constraint = GrammarConstraint(vocabulary, grammar)
    marks = [text.strip() for whole in form.texts() for kind, text in parts(whole) if kind == "text" and text.strip()]
    marks += [kind.close for kind in form.thinking]
    decoder, plan, made = codecs.getincrementaldecoder("utf-8")("replace"), b"", []
    for _ in range(LONGEST):
        allowed = np.flatnonzero(constraint.allowed(()))
        if end in allowed and rng.random() < 0.5:
            return made
        if not plan and rng.random() < 0.2:
            plan = str(rng.choice(marks)).encode()
        if plan and plan[0] in allowed:
            token, plan = plan[0], plan[1:]
        else:
            plan = b""
            closing = [token for token in allowed if token >= 256 or chr(token) in "}],\")'>\n</|"]
            plain = [token for token in allowed if token < 128 and chr(token).isalnum()]
            usual = closing if closing and rng.random() < 0.5 else plain or closing or list(allowed)
            token = int(rng.choice(usual))
        if token == end:
            return made
        constraint.commit([token])
        control = names[token - 256] if token >= 256 else ""
        made.append(Piece(token, "" if control else decoder.decode(bytes([token])), control=control))
    return None


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("tokens", [False, True], ids=["spelled", "tokens"])
def test_what_a_grammar_allows_is_read_as_calls(form: Form, tokens: bool) -> None:
    if form.header is not None and not form.header.named and not tokens:
        pytest.skip("spelled, the marks of its messages could stand in any text")
    names: list[str] = []
    plain = form
    if tokens:
        names = list(bound(form)[1])
        form = form.bound({name: 256 + number for number, name in enumerate(names)})
    grammar = tools_grammar(TOOLS, form, several=True, thinking=False)
    ended = 0
    for seed in range(6):
        said = answer_by(plain, grammar, names, seed)
        if said is None:
            continue
        ended += 1
        reader = ResponseParser(False, form, tools=TOOLS)
        reader.read(said)
        reader.end()
        assert reader.calls
        assert not reader.content.strip()
        for call in reader.calls:
            arguments = json.loads(call.arguments)
            assert call.name in ("get_weather", "now")
            if call.name == "get_weather":
                assert isinstance(arguments["city"], str)
                assert isinstance(arguments.get("days", 1), int)
                assert isinstance(arguments.get("metric", True), bool)
                assert isinstance(arguments.get("options", {"exact": True})["exact"], bool)
            else:
                assert arguments == {}
    assert ended, "no answer ended"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_thinking_that_the_prompt_opened_comes_first(form: Form) -> None:
    for ready in (form, bound(form)[0]):
        tools_grammar(TOOLS, ready, several=False, thinking=True)
        schema_grammar({"type": "object"}, thinking=True, form=ready)


TREE = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {side: {"$ref": "#/$defs/Node"} for side in ("left", "right")},
            "required": ["left", "right"],
        }
    },
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_schema_that_leads_to_itself_twice_ends(form: Form) -> None:
    """It doubles with each level: refused by its size, or written by a rule that leads to itself."""
    tree = {"type": "function", "function": {"name": "grow", "parameters": TREE}}
    with contextlib.suppress(GrammarError):
        assert len(tools_grammar([tree], form, several=False, thinking=False)) < 2 * MAX_BYTES


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_an_enumeration_behind_a_reference_is_kept_to(form: Form) -> None:
    parameters = {
        "type": "object",
        "properties": {"colour": {"$ref": "#/$defs/Colour"}},
        "required": ["colour"],
        "$defs": {"Colour": {"type": "string", "enum": ["crimson", "teal"]}},
    }
    tool = {"type": "function", "function": {"name": "paint", "parameters": parameters}}
    assert "crimson" in tools_grammar([tool], form, several=False, thinking=False)


def test_types_of_a_union_that_leads_to_itself_are_found_at_once() -> None:
    ways = [{"$ref": "#/$defs/A"}] * 50
    root = {"$defs": {"A": {"anyOf": [*ways, {"type": "string"}]}}}
    assert types_of({"$ref": "#/$defs/A"}, root) == {"string"}
