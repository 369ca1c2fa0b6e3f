"""An answer's tokens to fragments: each of drafted tokens alone, or of others alone, so that what is marked as drafted
is exactly that.

The parser (`response_parser.py`) takes an answer apart into thinking, content and calls, and may hold text back until
it knows what it is. What it gives out are pieces of the answer's own text, in order; so every piece is found again
among the tokens that were read, and with it who guessed them.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from foredraft.formats.response_parser import CallArguments, CallStarted, Content, Delta, ResponseParser
from foredraft.scheduling.logprobs import Alternative
from foredraft.scheduling.stream import Piece
from foredraft.server.lmstudio.sdk import shapes
from foredraft.server.lmstudio.sdk.problems import SdkError, problem
from foredraft.server.lmstudio.sdk.wire import Said

_TAG = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,30}\]")
"""What stands around thinking and calls."""
Kind = Literal["none", "reasoning", "reasoningStartTag", "reasoningEndTag"]


@dataclass(slots=True)
class _Token:
    """A token whose text has not all been given out."""

    piece: Piece
    text: str

    @property
    def drafted(self) -> bool:
        return self.piece.origin == "accepted"


@dataclass(slots=True)
class _Run:
    """Text of neighbouring tokens of one kind, and the tokens that end in it."""

    kind: Kind
    drafted: bool
    text: str = ""
    tokens: list[Piece] = field(default_factory=list)


class Fragments:
    """Makes the messages of one answer. `reader` None: the text goes out as it is."""

    def __init__(self, reader: ResponseParser | None, *, logprobs: bool = False) -> None:
        self._reader = reader
        self._logprobs = logprobs
        self._waiting: deque[_Token] = deque()
        self._runs: list[_Run] = []
        self._messages: list[Said] = []
        self._kind: Kind = "none"
        self._call: tuple[str, str] | None = None
        """(id, name) of the call that is being written."""
        self._arguments = ""
        self._after_call = False
        self.called = False
        """A tool has been called."""

    def read(self, pieces: Iterable[Piece]) -> list[Said]:
        """The messages that some more tokens are good for."""
        for piece in pieces:
            self._waiting.append(_Token(piece, piece.text))
            if self._reader is None:
                self._give(piece.text, "none")
            else:
                self._take(self._reader.read([piece]))
        return self._ready()

    def end(self) -> list[Said]:
        """What was still waiting, at the end of the answer."""
        if self._reader is not None:
            self._take(self._reader.end())
        self._end_call()
        self._rest()
        return self._ready()

    # ---- what the reader says ----

    def _take(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            if isinstance(delta, CallStarted):
                self._end_call()
                self.called, self._call, self._arguments = True, (delta.id, delta.name), ""
                self._flush()
                self._waiting.clear()
                self._messages += [shapes.CallStart(tool_call_id=delta.id), shapes.CallName(name=delta.name)]
            elif isinstance(delta, CallArguments):
                self._arguments += delta.text
                self._waiting.clear()
                self._messages.append(shapes.CallArgument(content=delta.text))
            else:
                self._end_call()
                self._give(delta.text, "none" if isinstance(delta, Content) else "reasoning")

    def _end_call(self) -> None:
        if self._call is None:
            return
        (call_id, name), self._call, self._after_call = self._call, None, True
        try:
            arguments = json.loads(self._arguments or "{}")
        except ValueError:
            arguments = None
        if isinstance(arguments, dict):
            request = shapes.CallRequest(id=call_id, name=name, arguments=arguments)
            self._messages.append(shapes.CallEnd(tool_call_request=request))
        else:
            error = SdkError(f"The call of {name} ends before its arguments do.", hint="Allow the answer more tokens.")
            self._messages.append(shapes.CallFailed(error=problem(error), raw_content=self._arguments))

    # ---- text, and whose it is ----

    def _give(self, text: str, kind: Kind) -> None:
        """Give out some text of the answer. What stands before it was left out by the reader: white space, or the tags
        around thinking, which have fragments of their own."""
        raw = "".join(token.text for token in self._waiting)
        turned = kind != self._kind or self._after_call
        at = _place(raw, text, behind_tag=turned)
        if at < 0:  # the reader has put together what does not stand together
            drafted = any(token.drafted for token in self._waiting)
            self._runs.append(_Run(kind, drafted, text, [token.piece for token in self._waiting]))
            self._waiting.clear()
        else:
            if raw[:at].strip() and kind != self._kind:
                self._cut(at, "reasoningStartTag" if kind == "reasoning" else "reasoningEndTag")
            elif at:
                self._cut(at, kind, silent=True)
            self._cut(len(text), kind)
        self._kind, self._after_call = kind, False

    def _cut(self, length: int, kind: Kind, *, silent: bool = False) -> None:
        """Take so much text of the waiting tokens, and the tokens that end in it."""
        while self._waiting and (length > 0 or not self._waiting[0].text):
            token = self._waiting[0]
            text, token.text = token.text[:length], token.text[length:]
            length -= len(text)
            last = self._runs[-1] if self._runs else None
            if last is None or (last.kind, last.drafted) != (kind, token.drafted):
                last = _Run(kind, token.drafted)
                self._runs.append(last)
            last.text += "" if silent else text
            if not token.text:
                last.tokens.append(token.piece)
                self._waiting.popleft()

    def _rest(self) -> None:
        """At the end: a tag behind which nothing came, and tokens without text."""
        rest = "".join(token.text for token in self._waiting)
        closing = self._kind == "reasoning" and bool(rest.strip())
        if self.called:
            self._waiting.clear()
        elif closing:
            self._cut(len(rest), "reasoningEndTag")
        else:
            self._cut(len(rest), self._kind, silent=True)

    def _flush(self) -> None:
        for run in self._runs:
            if run.text or run.tokens:
                self._messages.append(shapes.NewFragment(fragment=self._fragment(run)))
        self._runs.clear()

    def _fragment(self, run: _Run) -> shapes.Fragment:
        return shapes.Fragment(
            content=run.text,
            tokens_count=len(run.tokens),
            contains_drafted=run.drafted,
            reasoning_type=run.kind,
            is_structural=run.kind in ("reasoningStartTag", "reasoningEndTag"),
            tokens=[_token(piece) for piece in run.tokens] if self._logprobs else None,
        )

    def _ready(self) -> list[Said]:
        self._flush()
        messages, self._messages = self._messages, []
        return messages


def _place(raw: str, text: str, *, behind_tag: bool) -> int:
    """Where a text begins among the waiting tokens' text; -1 where it does not stand there in one piece."""
    tag = _TAG.search(raw) if behind_tag else None
    at = raw.find(text, tag.end()) if tag is not None else -1
    return at if at >= 0 else raw.find(text)


def _token(piece: Piece) -> shapes.Token:
    extra = piece.logprob
    if extra is None:
        return shapes.Token(text=piece.text, id=piece.token)
    return shapes.Token(
        text=_text(extra.chosen),
        id=piece.token,
        log_prob=extra.chosen.logprob,
        candidates=[shapes.Candidate(text=_text(one), id=one.token, log_prob=one.logprob) for one in extra.top],
    )


def _text(token: Alternative) -> str:
    return token.bytes.decode("utf-8", "replace")
