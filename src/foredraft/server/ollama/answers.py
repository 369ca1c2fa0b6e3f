"""Answers as lines of JSON: text and thinking as they come, calls whole, the counts in the last."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from foredraft.core.errors import ForedraftError
from foredraft.formats.response_parser import Content, Delta, Reasoning, ToolCall
from foredraft.runtime.events import Finished, NewPieces
from foredraft.scheduling.request import Generation
from foredraft.scheduling.stream import Piece
from foredraft.server import statistics
from foredraft.server.answers import read_whole
from foredraft.server.calls import arguments_object
from foredraft.server.errors import ollama_body
from foredraft.server.openai.convert import chat_logprobs
from foredraft.server.pipeline import Completion, Submitted
from foredraft.server.sse import line

DONE_REASONS = {"length": "length", "context": "length"}


def now() -> str:
    """A time as Ollama writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one answer. `chat` says which of the two forms they have."""

    model: str
    """The name that was asked for."""
    chat: bool
    began: int
    """When the request came, in nanoseconds (`time.perf_counter_ns`)."""
    logprobs: bool = False
    explain: bool = False
    context: bool = False
    """Give the answer's tokens with those of its prompt, to go on from."""

    async def stream(self, asked: Submitted) -> AsyncGenerator[bytes, None]:
        choice, sent = asked.choices[0], 0
        reader = choice.parser
        try:
            async for happened in choice.events():
                if isinstance(happened, NewPieces):
                    deltas = reader.read(happened.pieces)
                    if self.logprobs or any(isinstance(delta, (Content, Reasoning)) for delta in deltas):
                        yield self._part(deltas, happened.pieces)
                    whole = reader.calls[sent:-1]  # the last one may go on
                elif isinstance(happened, Finished):
                    deltas = reader.end()
                    if deltas and any(isinstance(delta, (Content, Reasoning)) for delta in deltas):
                        yield self._part(deltas, ())
                    whole = reader.calls[sent:]
                else:
                    continue
                for call in whole:
                    sent += 1
                    yield line(self._head() | self._said("", "", [call]) | {"done": False})
                if isinstance(happened, Finished):
                    yield line(self._head() | self._said("", "", ()) | self._end(asked, choice, happened.generation))
        except ForedraftError as error:
            yield line(ollama_body(error))
        finally:
            asked.cancel()

    def whole(self, asked: Submitted, answer: Generation) -> dict[str, Any]:
        """The answer as one object."""
        choice = asked.choices[0]
        read_whole(choice, answer)
        reader = choice.parser
        result = self._head() | self._said(reader.content, reader.reasoning, reader.calls)
        result |= self._end(asked, choice, answer)
        return result | ({"logprobs": chat_logprobs(answer.pieces)["content"]} if self.logprobs else {})

    def _part(self, deltas: Sequence[Delta], pieces: Sequence[Piece]) -> bytes:
        content = "".join(delta.text for delta in deltas if isinstance(delta, Content))
        thinking = "".join(delta.text for delta in deltas if isinstance(delta, Reasoning))
        more = {"logprobs": chat_logprobs(pieces)["content"]} if self.logprobs and pieces else {}
        return line(self._head() | self._said(content, thinking, ()) | {"done": False} | more)

    def _head(self) -> dict[str, Any]:
        return {"model": self.model, "created_at": now()}

    def _said(self, content: str, thinking: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
        more: dict[str, Any] = {"thinking": thinking} if thinking else {}
        if not self.chat:
            return {"response": content, **more}
        if calls:
            more["tool_calls"] = [
                {"id": call.id, "function": {"name": call.name, "arguments": arguments_object(call.arguments)}}
                for call in calls
            ]
        return {"message": {"role": "assistant", "content": content, **more}}

    def _end(self, asked: Submitted, choice: Completion, answer: Generation) -> dict[str, Any]:
        """How it ended, in nanoseconds and tokens; and what the draft did."""
        stats = answer.stats
        result: dict[str, Any] = {
            "done": True,
            "done_reason": DONE_REASONS.get(answer.stop_reason, "stop"),
            "total_duration": time.perf_counter_ns() - self.began,
            "load_duration": _ns(asked.load_s or 0.0),
            "prompt_eval_count": stats.prompt_tokens,
            "prompt_eval_duration": _ns(stats.prefill_s),
            "eval_count": stats.tokens,
            "eval_duration": _ns(stats.generation_s),
        }
        if self.context:
            result["context"] = [*choice.running.request.prompt, *answer.tokens]
        result |= {"stats": statistics.stats(answer), "timings": statistics.timings(answer)}
        if self.explain:
            result["explain"] = statistics.explanation(answer)
        return result | ({"warnings": list(asked.warnings)} if asked.warnings else {})

    def empty(self, reason: str) -> dict[str, Any]:
        """The answer to a request that only loads or unloads the model."""
        took = time.perf_counter_ns() - self.began
        return self._head() | self._said("", "", ()) | {"done": True, "done_reason": reason, "total_duration": took}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
