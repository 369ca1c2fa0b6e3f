"""Answers of a given form: `--json-schema` and `--grammar`, read from files, checked before anything is loaded."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from foredraft.core.errors import ParameterError

Schema = Mapping[str, Any] | bool
LARGEST = 1 << 20
"""Bytes of a file with a schema or a grammar. What may be compiled is less (`grammars/limits.py`)."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What the answer must be: JSON of a schema, or a text of a grammar (llguidance's Lark)."""

    schema: Schema | None
    grammar: str = ""

    @property
    def response_format(self) -> dict[str, Any]:
        """The same as OpenAI's dialect has it."""
        if self.schema is None:
            return {"type": "grammar", "grammar": self.grammar}
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": self.schema}}

    @property
    def left_out(self) -> list[str]:
        """What of the schema answers are not held to, a sentence each."""
        from foredraft.grammars.schema_support import left_out

        return [] if self.schema is None else list(left_out(self.schema))


class StructureOptions(Protocol):
    """The options that say it."""

    @property
    def json_schema(self) -> str | None: ...
    @property
    def grammar(self) -> Path | None: ...


def structure_of(asked: StructureOptions) -> Structure | None:
    """The form that was asked for, checked; None where the answer is free. Raises `ParameterError` for what is no
    schema or grammar, and `GrammarError` for a schema that cannot be used."""
    if asked.json_schema is None and asked.grammar is None:
        return None
    if asked.json_schema is not None and asked.grammar is not None:
        raise ParameterError("grammar", str(asked.grammar), "left out beside --json-schema")
    return _structure(asked.json_schema, asked.grammar)


@functools.lru_cache(maxsize=1)
def _structure(schema: str | None, grammar: Path | None) -> Structure:
    from foredraft.grammars.constraints import GrammarError, json_grammar, lark_grammar

    if grammar is not None:
        text = _lark(grammar, _text("grammar", grammar))
        try:
            lark_grammar(text)
        except GrammarError as error:
            raise ParameterError("grammar", str(grammar), f"a grammar that can be used: {error.reason}") from None
        return Structure(None, text)
    wanted = _schema(schema or "")
    json_grammar(wanted)
    return Structure(wanted)


def _schema(given: str) -> Schema:
    """A schema that was typed, or the content of a file."""
    begins = given.lstrip()
    text = given if begins.startswith("{") or begins in ("true", "false") else _text("json_schema", Path(given))
    try:
        wanted = json.loads(text)
    except ValueError as error:
        raise ParameterError("json_schema", _short(given), f"a JSON schema, or a file with one: {error}") from None
    if not isinstance(wanted, (dict, bool)):
        raise ParameterError("json_schema", _short(given), "a JSON schema, which is an object")
    return wanted


def _lark(path: Path, text: str) -> str:
    """A grammar as llguidance reads it; llama.cpp's GBNF is translated."""
    from llguidance.gbnf_to_lark import GbnfToLarkError, gbnf_to_lark, is_lark_syntax

    if is_lark_syntax(text) or "::=" not in text:
        return text
    try:
        return str(gbnf_to_lark(text))
    except (GbnfToLarkError, RecursionError, ValueError) as error:
        raise ParameterError("grammar", str(path), f"a grammar in GBNF or Lark: {error}") from None


def _text(name: str, path: Path) -> str:
    """A small text file. Raises `ParameterError`."""
    try:
        content = path.expanduser().read_bytes()
    except OSError as error:
        raise ParameterError(name, _short(str(path)), f"a file that can be read ({error.strerror or error})") from None
    if len(content) > LARGEST:
        raise ParameterError(name, str(path), f"a file of at most {LARGEST >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ParameterError(name, str(path), "a text file in UTF-8") from None


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
