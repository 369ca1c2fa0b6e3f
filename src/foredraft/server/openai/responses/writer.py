"""One response as it is sent: whole, or as events, and kept on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from foredraft.chats.responses import Kept
from foredraft.core.errors import ForedraftError
from foredraft.core.params import SamplingParams
from foredraft.formats.response_parser import ResponseParser
from foredraft.runtime.events import Finished, NewPieces
from foredraft.scheduling.request import Generation
from foredraft.server import statistics
from foredraft.server.answers import as_message
from foredraft.server.errors import error_body, http_error
from foredraft.server.fields import given
from foredraft.server.kept import Responses
from foredraft.server.lenient import as_field
from foredraft.server.openai.responses.convert import Turn, with_ids
from foredraft.server.openai.responses.output import Output
from foredraft.server.openai.responses.types import ResponsesRequest
from foredraft.server.pipeline import Submitted
from foredraft.server.sse import event


class Writer:
    """Writes the response to one request."""

    def __init__(self, body: ResponsesRequest, turn: Turn, asked: Submitted, kept: Responses) -> None:
        self._body, self._turn, self._asked, self._kept = body, turn, asked, kept
        self._output = Output(turn.tools, turn.encrypted)
        self._created = int(time.time())
        self._number = 0

    async def whole(self, answer: Generation) -> dict[str, Any]:
        """The response to a finished answer, kept where it shall be."""
        for delta in (*self._reader.read(answer.pieces), *self._reader.end()):
            for _ in self._output.take(delta):
                pass
        for _ in self._output.end(_status(answer)):
            pass
        return await self._finished(answer)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The response as it is written."""
        try:
            yield self._event("response.created", response=self._head("in_progress"))
            yield self._event("response.in_progress", response=self._head("in_progress"))
            async for happened in self._asked.choices[0].events():
                if isinstance(happened, NewPieces):
                    for delta in self._reader.read(happened.pieces):
                        for kind, fields in self._output.take(delta):
                            yield self._event(kind, **fields)
                elif isinstance(happened, Finished):
                    for delta in self._reader.end():
                        for kind, fields in self._output.take(delta):
                            yield self._event(kind, **fields)
                    answer = happened.generation
                    for kind, fields in self._output.end(_status(answer)):
                        yield self._event(kind, **fields)
                    response = await self._finished(answer)  # kept before the client hears its end
                    yield self._event(f"response.{response['status']}", response=response)
        except ForedraftError as error:
            said = error_body(error)["error"]
            kind = (
                "server_error" if http_error(error).status >= 500 else "invalid_prompt"
            )  # OpenAI's types know no others
            failed = {**self._head("failed"), "error": {"code": kind, "message": said["message"]}}
            yield self._event("response.failed", response=failed)
            again = {"retry_after": said["retry_after"]} if "retry_after" in said else {}
            yield self._event("error", message=said["message"], code=said["code"], param=said["param"], **again)
        finally:
            self._asked.cancel()

    def still(self) -> bytes:
        """It is still being written: the same event again. Codex gives up after five minutes without one, and a long
        prompt on a slow machine takes longer; comments do not count."""
        return self._event("response.in_progress", response=self._head("in_progress"))

    @property
    def _reader(self) -> ResponseParser:
        return self._asked.choices[0].parser

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    async def _finished(self, answer: Generation) -> dict[str, Any]:
        status = _status(answer)
        response = self._head(status)
        response["completed_at"] = int(time.time()) if status == "completed" else None
        response["incomplete_details"] = {"reason": "max_output_tokens"} if status == "incomplete" else None
        response["usage"] = _usage(answer, self._reader.reasoning_tokens)
        response["stats"], response["timings"] = statistics.stats(answer), statistics.timings(answer)
        if self._turn.store:
            messages = [*self._turn.messages, as_message(self._reader)]
            given = await asyncio.to_thread(with_ids, self._turn.input)
            kept = Kept(self._turn.id, self._body.previous_response_id, messages, response, given)
            response["store"], problem = await self._kept.keep(kept, [item["id"] for item in self._output.items])
            if problem:
                response["warnings"] = [*response.get("warnings", ()), problem]
        if self._body.speculative.explain:
            response["explain"] = {**statistics.explanation(answer), "origins": statistics.origins(answer.pieces)}
        return response

    def _head(self, status: str) -> dict[str, Any]:
        body, chosen = self._body, given(self._body, SamplingParams)
        said: dict[str, Any] = {
            "id": self._turn.id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "background": False,
            "model": self._asked.model_id,
            "output": self._output.items,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "max_tool_calls": body.max_tool_calls,
            "metadata": body.metadata or {},
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "prompt_cache_key": body.prompt_cache_key,
            "reasoning": {"effort": body.reasoning.effort if body.reasoning is not None else None, "summary": None},
            "safety_identifier": body.safety_identifier,
            "service_tier": "default",
            "store": self._turn.store,
            "temperature": chosen.get("temperature"),
            "text": _text(body),
            "tool_choice": body.tool_choice or "auto",
            "tools": [tool.model_dump(exclude_none=True) for tool in body.tools or ()],
            "top_p": chosen.get("top_p"),
            "truncation": body.truncation or "disabled",
            "usage": None,
            "user": body.user,
        }
        return said | as_field(self._asked.warnings)


def _status(answer: Generation) -> str:
    return "incomplete" if answer.stop_reason in ("length", "context") else "completed"


def _text(body: ResponsesRequest) -> dict[str, Any]:
    form = body.text.format if body.text is not None else None
    return {"format": {"type": "text"} if form is None else form.model_dump(by_alias=True, exclude_none=True)}


def _usage(answer: Generation, reasoning_tokens: int) -> dict[str, Any]:
    spent = statistics.usage([answer], reasoning_tokens=reasoning_tokens)
    cached = spent["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": spent["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": spent["prompt_tokens"] - cached},
        "output_tokens": spent["completion_tokens"],
        "output_tokens_details": spent["completion_tokens_details"],
        "total_tokens": spent["total_tokens"],
    }
