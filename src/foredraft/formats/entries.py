"""What an entry of the table of formats says.

A format's texts are patterns: literal text with fields in braces. White space in them is written as it stands and read
leniently. In texts a control token is written by its name; `Form.bound` turns those that a vocabulary really has into
codes that only the token itself can match.

| field | what stands there |
|---|---|
| `{name}` | the function's name |
| `{id}` | the call's id; with `name_in_id` the name is taken out of it |
| `{json}` | the arguments, as a JSON object |
| `{object}` | the whole call, as a JSON object with the keys that the entry names |
| `{keyed}` | the whole call, as a JSON object whose one key is the name |
| `{parameters}` | parameters one after another, each as `parameter` says |
| `{python}` | `key=value, …` |
| `{braces}` | an object with bare keys, and strings in the marks that `quote` names |
| `{nested}` | elements inside elements, in front of every tag what `quote` names |
| `{key}`, `{value}` | in `parameter`: a parameter's name and value |
| `{type}`, `{index}` | attributes: a word about the value's type, a number |
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from foredraft.formats.source import CODES

_FIELD = re.compile(
    r"\{(name|id|json|object|keyed|parameters|python|braces|nested|key|value|type|index)\}",
)


@functools.lru_cache(maxsize=512)
def parts(pattern: str) -> tuple[tuple[str, str], ...]:
    """A pattern as (kind, text): ("text", literal) or (field, "")."""
    made: list[tuple[str, str]] = []
    place = 0
    for field in _FIELD.finditer(pattern):
        if field.start() > place:
            made.append(("text", pattern[place : field.start()]))
        made.append((field[1], ""))
        place = field.end()
    if place < len(pattern):
        made.append(("text", pattern[place:]))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class Thinking:
    """How thinking is marked."""

    open: str
    close: str


@dataclass(frozen=True, slots=True)
class Header:
    """An answer of several messages, each with a header that says whom it is for."""

    start: str
    """Begins a header."""
    message: str
    """Ends a header."""
    ends: tuple[str, ...] = ()
    """End a message."""
    begins: tuple[str, ...] = ()
    """How a header's text may begin where the prompt has written its start."""
    thinking: str = ""
    """Headers in which this regular expression is found are of thoughts."""
    call: str = ""
    """Headers in which this is found are of calls; its group is the name."""
    named: str = ""
    """A header is a name and nothing else; this one is that of text."""
    thought: tuple[str, str] = ("", "")
    """What stands around thoughts where an answer begins with them."""
    forced: str = ""
    """Stands in front of a call that is forced; with the field `{name}`."""


@dataclass(frozen=True, slots=True)
class Calls:
    """How calls are written: `open begin call between call end`, read in a loop."""

    name: str
    call: str
    open: str = ""
    """Where it stands, a call comes. Empty: calls stand at the beginning of an answer, and must be of known tools."""
    begin: str = ""
    between: str | None = None
    """Stands between two calls of a row; None: each call has its own `open` and `end`."""
    end: str = ""
    joint: str = "\n"
    """Stands between two rows, where each call has its own."""
    name_key: str = "name"
    arguments_key: str = "arguments"
    id_key: str = ""
    """The keys of `{object}`."""
    parameter: str = ""
    quote: str = ""
    single: bool = False
    """An answer holds one call."""
    name_in_id: bool = False
    ids: str = "call"
    """How ids are made: call (`call_` and 24 digits), nine (letters and digits) or functions (functions.NAME:0)."""

    @property
    def lead(self) -> str:
        """The mark that a call begins with, where it has one of its own."""
        kind, text = parts(self.call)[0]
        mark = text.strip()
        own = kind == "text" and self.open and (ord(mark[:1] or " ") >= CODES or (mark[:1] in "<]" and len(mark) > 5))
        return mark if own else ""

    @property
    def alone(self) -> bool:
        """A row holds one call."""
        return self.between is None

    def texts(self) -> tuple[str, ...]:
        """Every literal, for finding the control tokens among them."""
        return (self.open, self.begin, self.call, self.between or "", self.end, self.parameter, self.quote)


@dataclass(frozen=True, slots=True)
class Form:
    """How one family writes its answers."""

    name: str
    calls: tuple[Calls, ...] = ()
    """The first is how calls are forced and written; the others are read too."""
    loose: tuple[Calls, ...] = ()
    """Calls without a mark, as some models write them in spite of their template: read at the beginning of an answer,
    and only of tools that are known."""
    thinking: tuple[Thinking, ...] = ()
    header: Header | None = None
    silent: tuple[str, ...] = ()
    """Marks that say nothing."""
    lead: str = ""
    """Stands in front of content, and is no part of it."""
    ends: tuple[str, ...] = ()
    """Control tokens that end an answer, beside those that the model's file names."""
    late: bool = True
    """The end of thinking may come without its beginning: then all before it was thought."""
    thinking_key: str = "reasoning_content"
    """Where in a message the template looks for thinking; empty: among the parts of the content."""
    codes: tuple[tuple[str, str, int], ...] = ()
    """(control token, its code, its id) of a bound form."""

    @property
    def ids(self) -> str:
        return self.calls[0].ids if self.calls else "call"

    def without_calls(self) -> Form:
        """The same for an answer that was given no tools: nothing is taken for a call."""
        return dataclasses.replace(self, calls=(), loose=())

    def texts(self) -> list[str]:
        """Every text that may hold a control token."""
        header = self.header
        made = [text for calls in self.calls for text in calls.texts()]
        made += [text for thinking in self.thinking for text in (thinking.open, thinking.close)]
        made += [*self.silent, *self.ends]
        if header is not None:
            made += [header.start, header.message, *header.ends, *header.begins, *header.thought, header.forced]
        return [text for text in made if text]

    @property
    def end_tokens(self) -> frozenset[int]:
        """The ids of the tokens in `ends`, of a bound form."""
        return frozenset(token for name, _, token in self.codes if name in self.ends)

    def unbound(self) -> Form:
        """The form with the names of its control tokens, as prompts have them."""
        if not self.codes:
            return self
        names = str.maketrans({code: name for name, code, _ in self.codes})
        return dataclasses.replace(_changed(self, lambda text: text.translate(names)), codes=())

    def bound(self, tokens: Mapping[str, int]) -> Form:
        """The form for a vocabulary in which these of its texts are control tokens, with their ids."""
        if not tokens:
            return self
        codes = {name: chr(CODES + number) for number, name in enumerate(tokens)}
        names = re.compile("|".join(map(re.escape, sorted(codes, key=len, reverse=True))))

        def code(text: str) -> str:
            return names.sub(lambda found: codes[found[0]], text)

        made = _changed(self, code)
        return dataclasses.replace(made, codes=tuple((name, codes[name], token) for name, token in tokens.items()))


def _changed(form: Form, change: Callable[[str], str]) -> Form:
    def all_of(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(change, texts))

    header = form.header
    if header is not None:
        header = dataclasses.replace(
            header,
            start=change(header.start),
            message=change(header.message),
            ends=all_of(header.ends),
            begins=all_of(header.begins),
            thought=(change(header.thought[0]), change(header.thought[1])),
            forced=change(header.forced),
        )
    calls = tuple(
        dataclasses.replace(
            entry,
            open=change(entry.open),
            begin=change(entry.begin),
            call=change(entry.call),
            between=None if entry.between is None else change(entry.between),
            end=change(entry.end),
            parameter=change(entry.parameter),
            quote=change(entry.quote),
        )
        for entry in form.calls
    )
    thinking = tuple(Thinking(change(entry.open), change(entry.close)) for entry in form.thinking)
    return dataclasses.replace(form, calls=calls, thinking=thinking, header=header, silent=all_of(form.silent))
