"""What pages fetch beside NiceGUI's connection: running answers, sending, files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from foredraft.chats import NOT_A_CHAT, ChatStoreError
from foredraft.chats.transfer import from_json, to_json, to_markdown
from foredraft.core.errors import ForedraftError
from foredraft.server.bodies import read_json
from foredraft.server.errors import http_error
from foredraft.ui.attaching import Refused, accept, admit
from foredraft.ui.choices import Choices
from foredraft.ui.pages.chat import send
from foredraft.ui.state import DEVELOPER, AppState, language_of
from foredraft.ui.structure import fault_of
from foredraft.words import Words

LONGEST_UNSENT = 200_000


def add_routes(app: FastAPI, state: AppState) -> None:
    """Everything below /_foredraft; none of it is in the API's description."""
    static = Path(str(files("foredraft.ui").joinpath("static")))
    app.mount("/_foredraft/static", StaticFiles(directory=static), name="foredraft-static")

    @app.exception_handler(ChatStoreError)
    async def not_kept(request: Request, error: ChatStoreError) -> JSONResponse:
        return JSONResponse({"error": _words(state, request)("errors.no_chats", reason=str(error))}, 507)

    @app.get("/_foredraft/answers/{message_id}", include_in_schema=False)
    async def follow(
        message_id: Annotated[int, PathParameter(ge=0, le=2**63 - 1)], request: Request
    ) -> StreamingResponse:
        last = request.headers.get("last-event-id") or request.query_params.get("from", "0")
        events = _events(state, message_id, int(last) if last.isdecimal() and len(last) < 10 else 0)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.post("/_foredraft/send", include_in_schema=False)
    async def send_message(request: Request) -> JSONResponse:
        words = _words(state, request)
        try:
            body = await _body(request, state)
        except ForedraftError as error:
            return _too_much(words, error)
        text = str(body.get("text", "")).strip()
        loaded = state.loaded()
        if not text and not body.get("attachments"):
            return JSONResponse({"error": words("errors.empty")}, 400)
        if loaded is None or loaded.info is None:
            return JSONResponse({"error": words("errors.no_model")}, 409)
        chat_id = str(body.get("chat") or "")
        try:
            files = await state.services.pools.prompts.run(accept, state, words, chat_id, text, body.get("attachments"))
            await state.services.pools.grammars.run(_check_schema, state, words, chat_id)
            inspect = state.chats.preference("mode") == DEVELOPER
            chat = send(state, chat_id or None, text, files, inspect=inspect)
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except ChatStoreError as error:
            return JSONResponse({"error": _not_kept(words, error)}, 507)
        except ForedraftError as error:
            return _too_much(words, error)
        return JSONResponse({"chat": chat})

    @app.post("/_foredraft/attach", include_in_schema=False)
    async def attach(request: Request) -> JSONResponse:
        words, asked = _words(state, request), request.query_params
        pending = asked.get("pending", "0")
        content = await request.body()
        try:
            one = await state.services.pools.prompts.run(
                admit,
                state,
                words,
                asked.get("chat", ""),
                asked.get("name", ""),
                content,
                int(pending) if pending.isdecimal() and len(pending) < 10 else 0,
            )
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except ChatStoreError as error:
            return JSONResponse({"error": _not_kept(words, error)}, 507)
        except ForedraftError as error:
            return _too_much(words, error)
        return JSONResponse(one.stored())

    @app.post("/_foredraft/unsent", include_in_schema=False)
    async def unsent(request: Request) -> Response:
        body = await _body(request, state)
        text, chat = str(body.get("text", ""))[:LONGEST_UNSENT], str(body.get("chat") or "")
        try:
            if chat:
                state.chats.change(chat, unsent=text)
            else:
                state.chats.set_preference("unsent", text)
        except ChatStoreError:
            return Response(status_code=507)  # the page keeps the text
        return Response(status_code=204)

    @app.post("/_foredraft/import", include_in_schema=False)
    async def import_chat(request: Request) -> JSONResponse:
        words = _words(state, request)
        try:
            data = await read_json(await request.body(), state.services.pools)
            chat = await asyncio.to_thread(from_json, state.chats, data)
        except ForedraftError as error:
            return _too_much(words, error)
        except ChatStoreError as error:
            if error.code != NOT_A_CHAT:
                raise
            return JSONResponse({"error": words("errors.not_a_chat")}, 400)
        except ValueError:
            return JSONResponse({"error": words("errors.not_a_chat")}, 400)
        state.hub.publish("chats")
        return JSONResponse({"chat": chat.id})

    @app.get("/_foredraft/export/{name}", include_in_schema=False)
    async def export(name: str) -> Response:
        chat_id, _, kind = name.partition(".")
        chat = state.chats.get(chat_id)
        if chat is None or kind not in ("md", "json"):
            return Response(status_code=404)
        text = to_json(state.chats, chat) if kind == "json" else to_markdown(state.chats, chat)
        media = "application/json" if kind == "json" else "text/markdown"
        disposition = f'attachment; filename="chat-{chat_id}.{kind}"'
        return Response(text, media_type=f"{media}; charset=utf-8", headers={"Content-Disposition": disposition})


async def _events(state: AppState, message_id: int, start: int) -> AsyncIterator[str]:
    """Server-sent events; the id is the number of tokens so far, where a reader that comes back goes on."""
    yield "retry: 500\n\n"
    async for event, data, at in state.generations.stream(message_id, start):
        yield f"event: {event}\nid: {at}\ndata: {data}\n\n"


async def _body(request: Request, state: AppState) -> dict[str, Any]:
    try:
        body = await read_json(await request.body(), state.services.pools)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _too_much(words: Words, error: ForedraftError) -> JSONResponse:
    """More than a request may ask for, or more than can wait: in the page's language, with the numbers."""
    said = http_error(error)
    key = f"errors.{error.code}"
    message, hint = error.worded(words)
    text = f"{words(key)} ({message})" if key in words else f"{message} {hint}".rstrip()
    return JSONResponse({"error": text}, said.status, dict(said.headers))


def _not_kept(words: Words, error: ChatStoreError) -> str:
    """A message that cannot be written down is not sent: its text stays where it is."""
    key = f"errors.not_kept_{error.code}"
    return words(key if key in words else "errors.not_kept", reason=str(error))


def _check_schema(state: AppState, words: Words, chat_id: str) -> None:
    """A message is not sent with a schema that no answer could follow: its text stays where it can be sent again."""
    chat = state.chats.get(chat_id) if chat_id else None
    choices = Choices.of(chat.settings if chat else state.chats.preference("choices", {}))
    fault = fault_of(choices.schema) if choices.structured else None
    if fault is not None:
        raise Refused(words("structured.refused", reason=fault.reason))


def _words(state: AppState, request: Request) -> Words:
    return Words(language_of(state.chats, request.headers.get("accept-language", "")))
