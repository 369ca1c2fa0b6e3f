"""Answers with their parts: thinking apart from text, calls of tools, JSON as values, grammars, log probabilities."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest
from typing_extensions import TypedDict

from foredraft import LLM, AsyncLLM, BatchError, StructureError
from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.params import SpeculationParams
from foredraft.grammars.limits import GrammarError
from foredraft.requests.grammar import ConstraintError
from foredraft.runtime.managed_model import LoadSpec
from foredraft.scheduling.stream import Piece
from tests.server import test_families, thinkers, toy
from tests.server.thinkers import SAID, THOUGHT
from tests.test_llm_shown import Page

GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 300}
SEEDED: dict[str, Any] = {"temperature": 1.0, "seed": 5, "max_tokens": 300}
OFF = SpeculationParams(enabled=False)


class Visit(pydantic.BaseModel):
    place: Literal["ab", "cd"]
    days: int = pydantic.Field(ge=1, le=9)
    sure: bool


@dataclasses.dataclass
class Point:
    x: bool
    y: bool


class Named(TypedDict):
    name: Literal["a", "b"]


SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


@pytest.fixture
def llm() -> Iterator[LLM]:
    with toy.load(LoadSpec("toy", id="toy"), lambda *_: None) as made:  # type: ignore[union-attr]
        yield made


def thinker(family: str) -> LLM:
    return thinkers.load(LoadSpec(family, id=family), None)


# ---- thinking ----


@pytest.mark.parametrize("family", thinkers.FAMILIES)
def test_thinking_stands_apart_from_the_text(family: str) -> None:
    late = family == "closed alone"  # what was given out is not taken back
    with thinker(family) as llm:
        stream = llm.chat("?", **GREEDY)
        pieces = list(stream)
        answer = stream.result
        assert (answer.text, str(answer), stream.text, str(stream)) == (SAID,) * 4
        assert answer.reasoning.strip() == THOUGHT
        assert THOUGHT in answer.written
        assert answer.written != SAID
        assert answer.message == {"role": "assistant", "content": SAID, "reasoning_content": answer.reasoning}
        assert "".join(piece.text for piece in answer.pieces).endswith(SAID)
        if not late:
            assert "".join(piece.text for piece in pieces) == SAID
            assert "".join(piece.reasoning for piece in pieces) == answer.reasoning
            assert answer.pieces == pieces
        assert llm.chat("?", **GREEDY).text == SAID, "also of an answer that nobody iterates over"
        assert [one.text for one in llm.chat(["?", "?"], **GREEDY)] == [SAID, SAID]
        assert answer.as_dict()["reasoning"] == answer.reasoning
        assert late or THOUGHT in Page(answer._repr_html_()).text
        raw = llm.generate(llm.render("?"), **GREEDY)
        assert raw.text == raw.written, "without a template all is text"
        assert (raw.reasoning, raw.as_dict().keys() & {"reasoning", "written"}) == ("", set())

        async def asked() -> tuple[list[Piece], str, str]:
            async with AsyncLLM.of(thinker(family)) as loop:
                stream = loop.chat("?", **GREEDY)
                read = [piece async for piece in stream]
                result = await stream
                assert stream.text == result.text
                return read, result.text, result.reasoning

        assert asyncio.run(asked()) == (pieces, SAID, answer.reasoning)


def test_an_answer_that_is_left_in_its_thinking_has_no_text() -> None:
    with thinker("mistral") as llm:
        answer = llm.chat("?", **{**GREEDY, "max_tokens": 6}).result
        assert answer.text == ""
        assert THOUGHT.startswith(answer.reasoning)
        assert answer.reasoning
        stream = llm.chat("?", **GREEDY)
        for piece in stream:
            if piece.text:
                break
        assert SAID.startswith(stream.text)
        assert stream.text
        cut = stream.result
        assert cut.text.startswith(stream.text)
        assert "".join(piece.text for piece in cut.pieces) == cut.text
        assert (cut.stop_reason, cut.reasoning) == ("cancelled", THOUGHT)
        assert SAID.startswith(cut.text)


def test_what_could_have_begun_a_mark_is_text_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    template, names, script = thinkers.FAMILIES["tags"]
    monkeypatch.setitem(thinkers.FAMILIES, "half", (template, names, f"{script} <tool_c"))
    with thinker("half") as llm:
        stream = llm.chat("?", tools=[weather], **GREEDY)
        assert "".join(piece.text for piece in stream) == stream.text == stream.result.text == f"{SAID} <tool_c"

    async def asked() -> tuple[str, str]:
        async with AsyncLLM.of(thinker("half")) as loop:
            stream = loop.chat("?", tools=[weather], **GREEDY)
            return "".join([piece.text async for piece in stream]), stream.text

    assert asyncio.run(asked()) == (f"{SAID} <tool_c",) * 2


# ---- tools ----


def weather(unit: Literal["c", "f"], days: Literal[1, 2, 3], sure: bool) -> str:
    """The weather of a place."""
    return f"{days} days in {unit}, {sure}"


@pytest.mark.parametrize("family", test_families.FAMILIES)
def test_calls_are_parsed_as_the_family_writes_them(family: str) -> None:
    how: dict[str, Any] = {"tools": [weather], "tool_choice": "required", **SEEDED}
    spec = LoadSpec(family, id=family)
    with test_families.load(spec, lambda *_: None) as llm:
        answer = llm.chat("Which?", **how).result
        (call,) = answer.tool_calls[:1]
        assert call.name == "weather"
        assert set(call.arguments) == {"unit", "days", "sure"}
        assert weather(**call.arguments)
        assert answer.text.strip() == ""
        assert call.text in answer.as_dict()["tool_calls"][0]["arguments"]
        assert answer.message["tool_calls"][0]["function"] == {"name": "weather", "arguments": call.text}
        plain = llm.chat("Which?", speculation=OFF, **how).result
        assert [(one.name, one.text) for one in plain.tool_calls] == [(one.name, one.text) for one in answer.tool_calls]
        conversation = [{"role": "user", "content": "Which?"}, answer.message]
        conversation.append({"role": "tool", "tool_call_id": call.id, "content": weather(**call.arguments)})
        assert llm.count(conversation, tools=[weather]) > llm.count(conversation[:1], tools=[weather])
        assert isinstance(llm.chat(conversation, tools=[weather], **SEEDED).text, str)

    async def asked() -> list[tuple[str, str]]:
        async with AsyncLLM.of(test_families.load(spec, lambda *_: None)) as loop:
            return [(one.name, one.text) for one in (await loop.chat("Which?", **how)).tool_calls]

    assert asyncio.run(asked()) == [(one.name, one.text) for one in answer.tool_calls]


def test_tools_are_functions_or_openais_form_and_may_be_chosen(llm: LLM) -> None:
    clock = {"type": "function", "function": {"name": "clock"}}
    answer = llm.chat("?", tools=[weather, clock], tool_choice="clock", **SEEDED).result
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("clock", {})]
    assert "The weather of a place." in llm.render("?", tools=[weather])
    assert '"title"' not in llm.render("?", tools=[weather])
    for wrong in ({"name": "clock"}, 5, lambda *a: a, _unspeakable):
        with pytest.raises(ParameterError, match="tools"):
            llm.chat("?", tools=[wrong])  # type: ignore[list-item]
    with pytest.raises(ConstraintError, match="no tool 'clocks'"):
        llm.chat("?", tools=[clock], tool_choice="clocks")
    with pytest.raises(ConstraintError, match="forced tool call"):
        llm.chat("?", tools=[clock], tool_choice="required", schema=SCHEMA)
    cut = llm.chat("?", tools=[weather], tool_choice="required", **{**SEEDED, "max_tokens": 60}).result
    if cut.tool_calls and cut.stop_reason == "length":
        with pytest.raises(StructureError, match="no whole JSON"):
            _ = cut.tool_calls[0].arguments


class _Foreign: ...


def _unspeakable(thing: _Foreign) -> None: ...


# ---- JSON and grammars ----


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (SCHEMA, dict),
        (json.dumps(SCHEMA), dict),
        (Visit, Visit),
        (Point, Point),
        (Named, dict),
        (list[Literal["x"]], list),
        (Literal["left", "right"], str),
        (bool, bool),
    ],
    ids=["dict", "text", "model", "dataclass", "typed dict", "list", "literal", "bool"],
)
def test_a_schema_gives_a_value_of_its_type(llm: LLM, schema: Any, kind: type) -> None:
    answer = llm.chat("?", schema=schema, **SEEDED).result
    assert isinstance(answer.parsed, kind)
    assert answer.stop_reason == "eos"
    plain = llm.chat("?", schema=schema, speculation=OFF, **SEEDED).result
    assert plain.tokens == answer.tokens
    assert plain.parsed == answer.parsed
    assert isinstance(llm.generate("?", schema=schema, **SEEDED).parsed, kind)
    batch = llm.chat(["a", "b", "c"], schema=schema, n=2, **SEEDED)
    assert all(isinstance(one.parsed, kind) for some in batch for one in some)
    assert batch[1][1].parsed == llm.chat("b", schema=schema, **{**SEEDED, "seed": 6}).result.parsed

    async def asked() -> Any:
        async with AsyncLLM.of(toy.load(LoadSpec("toy", id="toy"), lambda *_: None)) as loop:  # type: ignore[arg-type]
            one, (other,) = await asyncio.gather(
                loop.chat("?", schema=schema, **SEEDED), loop.generate(["?"], schema=schema, **SEEDED)
            )
            assert isinstance(other.parsed, kind)
            return one.parsed

    assert asyncio.run(asked()) == answer.parsed


def test_an_answer_that_is_not_whole_says_so_instead_of_a_value(llm: LLM) -> None:
    cut = llm.chat("?", schema=Visit, **{**SEEDED, "max_tokens": 3}).result
    with pytest.raises(StructureError, match=r"ended \(length\) before its JSON was whole.*max_tokens") as raised:
        _ = cut.parsed
    assert raised.value.text == cut.text
    assert llm.chat("?", **{**SEEDED, "max_tokens": 3}).result.parsed is None

    class Never(pydantic.BaseModel):
        ok: bool

        @pydantic.field_validator("ok")
        @classmethod
        def refuse(cls, value: bool) -> bool:
            raise ValueError("not this one")

    with pytest.raises(StructureError, match="not this one"):
        _ = llm.chat("?", schema=Never, **SEEDED).result.parsed


def test_thinking_comes_before_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grammar begins behind the thinking that the prompt has opened."""
    template, names, _ = thinkers.FAMILIES["opened by the prompt"]
    script = f'{THOUGHT}\n</think>\n\n{{"ok": true}}'
    monkeypatch.setitem(thinkers.FAMILIES, "json", (template, names, script))
    with thinker("json") as llm:
        answer = llm.chat("?", schema=SCHEMA, speculation=OFF, **GREEDY).result
        assert answer.reasoning.strip() == THOUGHT
        assert answer.parsed == {"ok": True}


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"schema": "{"}, ParameterError, "no JSON"),
        ({"schema": 5}, ParameterError, "schema"),
        ({"schema": _Foreign}, ParameterError, "schema"),
        ({"schema": {"type": "nonsense"}}, GrammarError, None),
        ({"grammar": "start: ("}, GrammarError, None),
        ({"logprobs": -1}, ParameterError, "logprobs"),
        ({"logprobs": True}, ParameterError, "logprobs"),
    ],
)
def test_what_is_no_schema_or_grammar_is_refused(
    llm: LLM, wrong: dict[str, Any], error: type[ForedraftError], said: str | None
) -> None:
    for door in (llm.chat, llm.generate):
        with pytest.raises(error, match=said):
            door("?", **wrong)
    with pytest.raises((error, BatchError), match=said):
        llm.chat(["?", "!"], **wrong)
    assert not llm.scheduler.busy


def test_a_grammar_is_kept(llm: LLM) -> None:
    grammar = 'start: "a" ("b" | "c")~3 "d"'
    texts = [one.text for one in llm.generate("?", grammar=grammar, n=4, **SEEDED)]
    assert all(len(text) == 5 and set(text[1:4]) <= set("bc") for text in texts)
    assert texts == [one.text for one in llm.generate("?", grammar=grammar, n=4, speculation=OFF, **SEEDED)]
    assert llm.chat("?", grammar=grammar, **SEEDED).text[0] == "a"


# ---- log probabilities, prefills, templates ----


def test_log_probabilities_come_with_the_tokens_and_are_the_same_with_a_draft(llm: LLM) -> None:
    ask = {**SEEDED, "max_tokens": 20, "ignore_eos": True}
    answer = llm.generate("ab", logprobs=3, **ask)
    assert [one.chosen.token for one in answer.logprobs] == answer.tokens
    assert all(len(one.top) == 3 and one.chosen.logprob <= 0 for one in answer.logprobs)
    assert answer.logprobs == llm.generate("ab", logprobs=3, speculation=OFF, **ask).logprobs
    assert answer.stats.accepted > 0
    assert all(one.top == () for one in llm.generate("ab", logprobs=0, **ask).logprobs)
    assert llm.generate("ab", **ask).logprobs == []
    said = llm.chat("ab", logprobs=1, **ask)
    assert all(piece.logprob is not None for piece in said)
    assert said.result.logprobs == llm.chat(["ab"], logprobs=1, **ask)[0].logprobs


def test_a_prefill_begins_the_answer_which_goes_on_behind_it(llm: LLM) -> None:
    question = {"role": "user", "content": "ab"}
    begun = llm.chat("ab", prefill="cd ef", **SEEDED).result
    same = llm.chat([question, {"role": "assistant", "content": "cd ef"}], **SEEDED).result
    assert begun.tokens == same.tokens
    assert begun.stats.prompt_tokens > llm.count([question])
    assert llm.chat("ab", prefill="", **SEEDED).text == llm.chat("ab", **SEEDED).text
    assert llm.chat(["ab"], prefill="cd ef", **SEEDED)[0].tokens == begun.tokens


def test_the_template_is_given_variables_and_long_conversations_lose_their_beginning(llm: LLM) -> None:
    assert llm.render("ab", template_variables={"enable_thinking": True}).endswith("<think>\n")
    thinks = llm.chat("ab", template_variables={"enable_thinking": True}, **{**SEEDED, "max_tokens": 5}).result
    assert thinks.reasoning.strip()
    turns = [{"role": role, "content": "word " * 300} for _ in range(12) for role in ("user", "assistant")]
    long = [*turns, {"role": "user", "content": "ab"}]
    with pytest.raises(ForedraftError, match="context"):
        llm.chat(long, **SEEDED)
    fits = llm.chat(long, truncate=True, **{**SEEDED, "max_tokens": 5}).result
    assert fits.tokens
    assert any("oldest messages" in warning for warning in fits.warnings)
