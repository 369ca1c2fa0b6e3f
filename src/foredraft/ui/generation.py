"""Answers being written: owned by the server, followed by any number of pages, written down as they grow.

A page can be reloaded or closed at any moment; the answer goes on. It is saved every `SAVE_EVERY_S`, so that a crash
loses no more than that of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from foredraft.chats import ChatStore, ChatStoreError
from foredraft.chats.attachments import attachments_of, with_attachments
from foredraft.chats.records import DONE, FAILED, INTERRUPTED, RUNNING, Message
from foredraft.core.errors import ForedraftError
from foredraft.formats.token_parser import TokenParser
from foredraft.requests.generation_request import GenerationRequest
from foredraft.runtime.errors import RuntimeClosedError
from foredraft.runtime.events import Failed, Finished, NewPieces, PromptProgress
from foredraft.runtime.handle import RequestHandle
from foredraft.scheduling.request import Generation
from foredraft.server.context import Services
from foredraft.server.naming import answering
from foredraft.server.pipeline import start
from foredraft.ui.choices import Choices
from foredraft.ui.hub import Hub
from foredraft.ui.names import draft_name
from foredraft.ui.problems import Problem
from foredraft.ui.structure import schema_of
from foredraft.ui.tokens import content_of, pieces_of, prompt_of, thought_of
from foredraft.ui.writing import Writing

SAVE_EVERY_S = 0.5
SEND_EVERY_S = 0.04
"""25 messages a second at most: more would cost the page without being seen."""
SAMPLE_EVERY_S = 0.25
KEPT_FINISHED_S = 30.0
"""A finished answer can be followed for this long, by a page that was loading when it ended."""


class Generations:
    """All answers that are being written for the app."""

    def __init__(self, services: Services, chats: ChatStore, hub: Hub) -> None:
        self._services = services
        self._runtime = services.runtime
        self._pools = services.pools
        self._chats = chats
        self._hub = hub
        self._writing: dict[int, Writing] = {}
        self.problem = ""
        """Why chats cannot be written down (a code of `ChatStoreError`); empty if they can."""

    def of(self, message_id: int) -> Writing | None:
        return self._writing.get(message_id)

    def in_chat(self, chat_id: str) -> Writing | None:
        """The answer that is being written in a chat, if any."""
        return next((w for w in self._writing.values() if w.chat_id == chat_id and not w.done), None)

    def model_id(self, wanted: str = "") -> str | None:
        """The loaded model that answers: the wanted one, where it is ready."""
        state = answering(self._services, wanted)
        return state.id if state is not None else None

    # ---- starting ----

    def answer(self, chat_id: str, below: int, *, model: str = "", inspect: bool = False) -> int | None:
        """Answer the user's message `below`. Returns the new message, or None without a loaded model."""
        model_id = self.model_id(model)
        if model_id is None:
            return None
        message_id = self._chats.add(chat_id, "assistant", "", parent=below, status=RUNNING, model=model_id)
        chat = self._chats.get(chat_id)
        choices = Choices.of(chat.settings if chat else {})
        writing = Writing(message_id, chat_id, schema=choices.schema if choices.structured else None)
        self._begin(writing, model_id, inspect)
        return message_id

    def go_on(self, message: Message, *, inspect: bool = False) -> bool:
        """Continue an answer where it ended."""
        model_id = self.model_id(message.model)
        if model_id is None or self.in_chat(message.chat_id) is not None:
            return False
        tokens = message.tokens or [[message.text, "m", 0]]
        schema = message.meta.get("schema")
        writing = Writing(message.id, message.chat_id, tokens=list(tokens), kept=len(tokens), schema=schema)
        self._chats.save_answer(message.id, message.text, tokens, status=RUNNING, meta=message.meta)
        self._begin(writing, model_id, inspect)
        return True

    def stop(self, chat_id: str) -> None:
        writing = self.in_chat(chat_id)
        if writing is not None:
            writing.stopped = True
            if writing.running is not None:
                writing.running.cancel()

    def _begin(self, writing: Writing, model_id: str, inspect: bool) -> None:
        self._writing[writing.message_id] = writing
        writing.task = asyncio.get_running_loop().create_task(self._write(writing, model_id, inspect))
        self._hub.publish("messages", writing.chat_id)

    # ---- writing ----

    async def _write(self, writing: Writing, model_id: str, inspect: bool) -> None:
        status = FAILED
        meta: dict[str, Any] = {}
        try:
            request = await self._pools.prompts.run(self._request, writing, model_id, inspect)
            submitted = await start(self._services, request)
            writing.running = submitted.choices[0].running
            if writing.stopped:
                writing.running.cancel()
            parser = submitted.tokenized.parser(TokenParser)
            writing.begin(parser, parser.place(pieces_of(writing.tokens)))
            status, meta = await self._follow(writing, writing.running, model_id)
            writing.take((), last=True)
        except ForedraftError as error:
            meta = {"error": Problem.of(error).as_dict()}
        except asyncio.CancelledError:
            status, meta = INTERRUPTED, _kind(writing)
            raise
        except Exception as error:  # a fault of ours ends this answer, not the app  # noqa: BLE001
            meta = {"error": {"code": "unexpected", "message": f"{type(error).__name__}: {error}"}}
        finally:
            self._save(writing, status, meta)
            writing.done = True
            writing.condition.notify()
            self._hub.publish("answer", writing.chat_id)
            asyncio.get_running_loop().call_later(KEPT_FINISHED_S, self._forget, writing)

    def _forget(self, writing: Writing) -> None:
        if self._writing.get(writing.message_id) is writing:  # it may have been continued since
            del self._writing[writing.message_id]

    def request_of(self, answer: Message, model_id: str) -> GenerationRequest:
        """What an answer of a chat was asked with: the conversation before it, and the chat's settings."""
        schema = answer.meta.get("schema")
        return self._request(Writing(answer.id, answer.chat_id, schema=schema), model_id, inspect=False)

    def _request(self, writing: Writing, model_id: str, inspect: bool) -> GenerationRequest:
        """What the chat asks for: its conversation up to the answer, and what there is of that already."""
        chat = self._chats.get(writing.chat_id)
        assert chat is not None
        choices = Choices.of(chat.settings)
        messages: list[dict[str, Any]] = []
        if chat.system_prompt:
            messages.append({"role": "system", "content": chat.system_prompt})
        for message in self._chats.messages(writing.chat_id):
            if message.id == writing.message_id:
                break
            said = with_attachments(message.text, attachments_of(message.meta))
            thought = thought_of(message.tokens)
            more = {"reasoning_content": thought} if thought else {}
            messages.append({"role": message.role, "content": said, **more})
        return dataclasses.replace(
            choices.request(messages),
            model=model_id,
            continue_last=False,
            continuation=prompt_of(writing.tokens),
            schema=None if writing.schema is None else schema_of(writing.schema),
            top_logprobs=0 if inspect else None,
        )

    async def _follow(self, writing: Writing, running: RequestHandle, model_id: str) -> tuple[str, dict[str, Any]]:
        began = saved = sampled = time.monotonic()
        state = self._runtime.state(model_id)
        speculation = state.speculation if state else None
        async for event in running.events():
            now = time.monotonic()
            if isinstance(event, PromptProgress):
                writing.prompt = (event.read, event.total)
            elif isinstance(event, NewPieces):
                if not writing.read:
                    began = sampled = now
                    writing.timeline.append((0.0, 0))
                writing.take(event.pieces)
                if now - sampled >= SAMPLE_EVERY_S:
                    writing.timeline.append((round(now - began, 3), writing.read))
                    sampled = now
                    state = self._runtime.state(model_id)
                    if state and speculation and state.speculation != speculation:
                        speculation = state.speculation
                        reason = speculation.reason
                        said = reason.as_dict() if reason is not None else None
                        writing.events.append((round(now - began, 2), speculation.status, said))
                if now - saved >= SAVE_EVERY_S:
                    self._save(writing, RUNNING, _kind(writing))
                    saved = now
            elif isinstance(event, Finished):
                writing.timeline.append((round(now - began, 3), writing.read))
                return DONE, self._meta(writing, event.generation, model_id)
            elif isinstance(event, Failed):
                if isinstance(event.error, RuntimeClosedError):  # the program ends; the answer can be continued
                    return INTERRUPTED, _kind(writing)
                return FAILED, {"error": Problem.of(event.error).as_dict()}
            writing.condition.notify()
        return FAILED, {}

    def _meta(self, writing: Writing, generation: Generation, model_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = {
            **_kind(writing),
            "stop_reason": generation.stop_reason,
            "draft": generation.draft,
            "seed": generation.seed,
            "speculation": generation.speculation.as_dict(),
            "exact": generation.numerics.batches_exact if generation.numerics else None,
            "stats": generation.stats.as_dict(),
            "timeline": writing.timeline,
            "events": writing.events,
        }
        state = self._runtime.state(model_id)
        if state is not None and state.info is not None:
            meta["draft"] = draft_name(state)
            meta["quantisation"] = state.info.quantisation
            meta["context"] = state.info.n_ctx
        return meta

    def _save(self, writing: Writing, status: str, meta: dict[str, Any]) -> None:
        try:
            self._chats.save_answer(
                writing.message_id,
                content_of(writing.tokens),
                writing.tokens,
                status=status,
                meta=meta,
                draft=str(meta.get("draft") or ""),
            )
            problem = ""
        except ChatStoreError as error:
            # The disk is full, say: the answer goes on in memory, and the page says that it is not kept.
            problem = error.code
        if problem != self.problem:
            self.problem = problem
            self._hub.publish("problem", problem)

    # ---- following ----

    async def stream(self, message_id: int, start: int = 0) -> AsyncIterator[tuple[str, str, int]]:
        """(event, JSON, tokens so far) for the page, from token `start` on; ends when the answer does."""
        writing = self._writing.get(message_id)
        if writing is None:
            # It ended while the reader was away: the rest is in the chat history.
            message = self._chats.message(message_id)
            writing = Writing(message_id, "", tokens=message.tokens if message else [], done=True)
        if start > len(writing.tokens):
            start = 0
            yield "reset", "{}", 0
        at, prompt, again = start, (0, 0), 0
        while True:
            if writing.again != again:
                at, again = 0, writing.again
                yield "reset", "{}", 0
            if writing.prompt != prompt:
                prompt = writing.prompt
                if len(writing.tokens) == writing.kept:  # what was read matters until the first token only
                    yield "prompt", json.dumps(prompt), at
            if len(writing.tokens) > at:
                fresh = writing.tokens[at:]
                at += len(fresh)
                yield "tokens", json.dumps(fresh, ensure_ascii=False, separators=(",", ":")), at
                await asyncio.sleep(SEND_EVERY_S)
                continue
            if writing.done:
                yield "end", "{}", at
                return
            await writing.condition.wait_for(_something_new(writing, at, prompt, again))

    async def close(self) -> None:
        """End every answer with what it has."""
        tasks = [w.task for w in self._writing.values() if w.task is not None and not w.task.done()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _something_new(writing: Writing, seen: int, prompt: tuple[int, int], again: int) -> Callable[[], bool]:
    return lambda: writing.done or len(writing.tokens) > seen or writing.prompt != prompt or writing.again != again


def _kind(writing: Writing) -> dict[str, Any]:
    """What is known about an answer before it has ended."""
    return {} if writing.schema is None else {"schema": writing.schema}
