"""The grammar that a request's answer must follow: of a schema, of forced calls, or the request's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foredraft.core.errors import ForedraftError
from foredraft.formats.answer_grammar import left_out_of, schema_grammar, tools_grammar
from foredraft.formats.table import BARE
from foredraft.grammars.constraints import GrammarConstraint, GrammarVocabulary, lark_grammar
from foredraft.requests.generation_request import GenerationRequest, TokenizedRequest
from foredraft.requests.warnings import note


class ConstraintError(ForedraftError):
    """A request asks for forms of the answer that exclude each other, or for a tool that it does not bring. `param` is
    the field."""

    code = "invalid_request"

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def is_constrained(request: GenerationRequest) -> bool:
    """Whether the answer must follow a grammar."""
    return request.forces_call or request.schema is not None or bool(request.grammar)


def constrained_field(request: GenerationRequest) -> str:
    """The field that says so, as OpenAI's API names it."""
    if request.forces_call:
        return "tools"
    return "response_format.json_schema.schema" if request.schema is not None else "grammar"


def answer_grammar(request: GenerationRequest, tokenized: TokenizedRequest) -> str:
    """The grammar of a constrained request (`is_constrained`). Compiles it in a child process: not for the event loop.
    What of a schema it does not keep to is noted in the request's warnings. Raises `GrammarError` for one that cannot
    be used, and `ConstraintError`."""
    if request.forces_call:
        return _calls(request, tokenized)
    if request.schema is not None:
        grammar = schema_grammar(request.schema, thinking=tokenized.thinking, form=tokenized.tool_format)
        _note_left_out(request, {"": request.schema})
        return grammar
    return lark_grammar(request.grammar)


def constraints(
    vocabulary: GrammarVocabulary, grammar: str, tokenized: TokenizedRequest, n: int
) -> Sequence[GrammarConstraint]:
    """A constraint for each of `n` answers, behind what there is of them already."""
    first = GrammarConstraint(vocabulary, grammar)
    made = [first, *(first.again() for _ in range(n - 1))]
    for one in made:
        if tokenized.continuation:
            one.commit(tokenized.continuation)
    return made


def _calls(request: GenerationRequest, tokenized: TokenizedRequest) -> str:
    named = [tool for tool in request.tools if request.tool_choice in ("required", tool["function"]["name"])]
    if not named:
        raise ConstraintError(f"There is no tool {request.tool_choice!r}.", "tool_choice")
    if request.schema is not None or request.grammar:
        raise ConstraintError("A forced tool call has the form of the tool.", "response_format")
    several = request.several_calls and request.tool_choice == "required"
    form = tokenized.tool_format or BARE
    grammar = tools_grammar(named, form, several=several, thinking=tokenized.thinking)
    _note_left_out(request, {tool["function"]["name"]: tool["function"].get("parameters") for tool in named})
    return grammar


def _note_left_out(request: GenerationRequest, schemas: Mapping[str, Any]) -> None:
    for sentence in left_out_of(schemas):
        note(f"{constrained_field(request)}: {sentence}", request.warnings)
