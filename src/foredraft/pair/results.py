"""What the library gives back: an answer with its parts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from foredraft.formats.response_parser import ResponseParser
from foredraft.pair.structure import Structure, StructureError
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import Generation


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that the model asks for."""

    id: str
    name: str
    text: str
    """The arguments as JSON."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name. Raises `StructureError` where the answer ended before they were whole."""
        try:
            given = json.loads(self.text or "{}")
        except ValueError as error:
            raise StructureError(f"The arguments of {self.name} are no whole JSON.", self.text) from error
        if not isinstance(given, dict):
            raise StructureError(f"The arguments of {self.name} are no object.", self.text)
        return given


@dataclass(frozen=True, slots=True, repr=False)
class Answer(Generation):
    """A finished answer. `text` is what it says; thinking (`reasoning`) and calls of tools stand apart from it."""

    reasoning: str = ""
    """What the model thought before it answered."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls it asks for, in order."""
    written: str = ""
    """All that was written, as it was: the text, thinking, calls, and the marks around them."""
    warnings: tuple[str, ...] = ()
    """What of the request was left out or understood otherwise, a sentence each."""
    structure: Structure | None = dataclasses.field(default=None, compare=False)
    """What `schema` asked for."""

    @classmethod
    def of(
        cls,
        generation: Generation,
        parser: ResponseParser | None = None,
        *,
        structure: Structure | None = None,
        warnings: Sequence[str] = (),
    ) -> Self:
        """With its parts, as a parser that has read the whole answer knows them (None: it is text alone)."""
        given = {field.name: getattr(generation, field.name) for field in dataclasses.fields(Generation)}
        parts: dict[str, Any] = {"written": generation.text}
        if parser is not None:
            given["text"] = parser.content
            calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in parser.calls)
            parts |= {"reasoning": parser.reasoning, "tool_calls": calls}
        return cls(**given, **parts, structure=structure, warnings=tuple(warnings))

    @property
    def parsed(self) -> Any:
        """The value that `schema` asked for: of its type, or what the JSON says; None where there was no schema. Raises
        `StructureError` for an answer that ended too soon."""
        return self.structure.parse(self.text, self.stop_reason) if self.structure is not None else None

    @property
    def logprobs(self) -> list[TokenLogprob]:
        """One for each token of the answer, where they were asked for."""
        return [piece.logprob for piece in self.pieces if piece.logprob is not None]

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message, to go on with the conversation."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.text}}
                for call in self.tool_calls
            ]
        return message

    def as_dict(self) -> dict[str, Any]:
        """For programs: what `Generation.as_dict` has, with thinking and calls where there are any."""
        given = Generation.as_dict(
            self
        )  # by name: a class with slots is made anew, which a bare `super()` does not see
        if self.reasoning:
            given["reasoning"] = self.reasoning
        if self.tool_calls:
            given["tool_calls"] = [
                {"id": call.id, "name": call.name, "arguments": call.text} for call in self.tool_calls
            ]
        if self.written != self.text:
            given["written"] = self.written
        return given
