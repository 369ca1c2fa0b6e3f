"""One WebSocket of an SDK: who is there, then frames until it closes. What it has begun ends with it.

Calls and channels have numbers of their own (one library counts both from 0 together, another each from 1). Every one
of them is a task; when the socket closes, all are cancelled, and so are the answers that they were waiting for.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from foredraft.core.errors import EngineError, ForedraftError, LimitError
from foredraft.server.bodies import read_json
from foredraft.server.context import Services
from foredraft.server.limits import SDK_CALLS, SDK_CHANNELS, Limit
from foredraft.server.lmstudio.sdk import wire
from foredraft.server.lmstudio.sdk.endpoints import Channel, Namespace, on_one_line, parameter
from foredraft.server.lmstudio.sdk.problems import SdkError, not_served, problem
from foredraft.server.pools import BusyError

AUTH_S = 20.0
"""Seconds for the first frame."""
AUTH = Limit("bytes of the first frame", 4096, 413)
AT_ONCE = 16
"""Calls of one socket that are worked on together; the others wait their turn."""
AHEAD = 2
"""No more is read while the frames whose work has not ended are larger than so many bodies."""
WARNINGS_KEPT = 20
"""Complaints of a client that are written down, for each socket."""
NEEDS_KEY = (
    "This server asks for a key. Start it with a key of the form sk-lm-ID:SECRET (8 and 20 letters or digits) and give "
    "it as apiToken, LM_API_TOKEN or LMSTUDIO_API_TOKEN; give any other as clientPasskey (JavaScript), or as part of "
    "the host, any:KEY@HOST:PORT (Python)."
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
logger = logging.getLogger(__name__)


class Socket:
    """Serves one connection."""

    def __init__(self, websocket: WebSocket, services: Services, namespace: Namespace, *, known: bool) -> None:
        """`known`: no key is asked for, or the request for this socket has shown it."""
        self._websocket = websocket
        self._services = services
        self._namespace = namespace
        self._known = known
        self._admitted = False
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._channels: dict[int, tuple[Channel, asyncio.Task[None]]] = {}
        self._writing = asyncio.Lock()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._warned = 0
        self._held = 0
        """Bytes of the frames whose work has not ended."""
        self._freed = asyncio.Event()

    async def serve(self) -> None:
        """Until one side closes it."""
        await self._websocket.accept()
        try:
            async with asyncio.timeout(AUTH_S):
                allowed = await self._admit()
            if not allowed:
                await self._websocket.close(1008)
                return
            while True:
                while self._held > AHEAD * self._services.settings.max_body:
                    self._freed.clear()
                    await self._freed.wait()
                await self._hear(*await self._receive())
        except TimeoutError:
            await self._close(1008, "The first frame did not come.")
        except WebSocketDisconnect:
            pass
        except ForedraftError as error:  # whoever waits for an answer to this frame must not wait for ever
            await self._close(1009 if isinstance(error, LimitError) else 1013, error.message)
        finally:
            tasks = [*self._calls.values(), *(task for _, task in self._channels.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self, code: int, why: str) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._say(wire.CommunicationWarning(warning=why))
            await self._websocket.close(code, why[:100])

    # ---- frames in ----

    async def _receive(self) -> tuple[Any, int]:
        """The next frame's JSON (None for what is none), and its bytes."""
        message = await self._websocket.receive()
        if message["type"] != "websocket.receive":
            raise WebSocketDisconnect(message.get("code", 1000))
        data = message.get("bytes") or (message.get("text") or "").encode("utf-8", "surrogatepass")
        if not self._admitted:
            AUTH.check(len(data))
        while True:
            try:
                return await read_json(data, self._services.pools), len(data)
            except BusyError as error:  # frames keep their order: this one waits, and with it those behind it
                await asyncio.sleep(error.retry_after)
            except ValueError:
                return None, len(data)

    async def _admit(self) -> bool:
        """Read and answer the first frame."""
        frame, _ = await self._receive()
        self._admitted = True
        try:
            auth = wire.Auth.model_validate(frame)
        except ValidationError:
            await self._say(wire.AuthResult(success=False, error="The first frame must have the client's name."))
            return False
        if self._known or is_key(auth, self._services.settings.api_key):
            await self._say(wire.AuthResult(success=True))
            return True
        # The Python library, which calls itself by a UUID, wants an object here; the other one a text.
        said = problem(SdkError(NEEDS_KEY)) if _UUID.fullmatch(auth.client_identifier) else NEEDS_KEY
        await self._say(wire.AuthResult(success=False, error=said))
        return False

    async def _hear(self, frame: Any, size: int) -> None:
        kind = frame.get("type") if isinstance(frame, dict) else None
        try:
            if kind == "rpcCall":
                await self._begin_call(wire.RpcCall.model_validate(frame), size)
            elif kind == "channelCreate":
                await self._open(wire.ChannelCreate.model_validate(frame), size)
            elif kind == "channelSend":
                await self._pass_on(wire.ToChannel.model_validate(frame))
            elif kind == "keepAlive":
                await self._say(wire.KeepAliveAck())
            elif kind in ("signalSubscribe", "writableSignalSubscribe"):
                await self._no_signal(wire.Subscribe.model_validate(frame), writable=kind != "signalSubscribe")
            elif kind == "communicationWarning":
                self._write_down(str(frame.get("warning")))
            elif kind not in ("channelAck", "signalUnsubscribe", "writableSignalUnsubscribe", "writableSignalUpdate"):
                await self._say(wire.CommunicationWarning(warning="A frame has no type that is known here."))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            await self._say(wire.CommunicationWarning(warning=f"{kind}: {where}: {first['msg']}"))

    def _write_down(self, warning: str) -> None:
        """The client did not understand something: that is a fault of ours."""
        self._warned += 1
        if self._warned <= WARNINGS_KEPT:
            self._services.event_log.write("lmstudio", f"A client did not understand: {on_one_line(warning)}")

    # ---- calls ----

    def _begin(self, work: Coroutine[Any, Any, None], size: int, ended: Callable[[], object]) -> asyncio.Task[None]:
        """A task for what a frame of so many bytes asks for."""

        def over(_: object) -> None:
            self._held -= size
            self._freed.set()
            ended()

        self._held += size
        task = asyncio.create_task(work)
        task.add_done_callback(over)
        return task

    async def _begin_call(self, frame: wire.RpcCall, size: int) -> None:
        try:
            SDK_CALLS.check(len(self._calls) + 1, frame.endpoint[:100])
            if frame.call_id in self._calls:
                raise SdkError(f"The call {frame.call_id} is still running.")
        except ForedraftError as error:
            await self._say(wire.RpcError(call_id=frame.call_id, error=problem(error)))
            return
        ended = partial(self._calls.pop, frame.call_id, None)
        self._calls[frame.call_id] = self._begin(self._call(frame), size, ended)

    async def _call(self, frame: wire.RpcCall) -> None:
        async def work() -> None:
            form, act = self._namespace.calls.get(frame.endpoint, (None, None))
            if act is None:
                raise not_served(frame.endpoint)
            async with self._turn:
                result = await act(self._services, parameter(form, frame.parameter))
            await self._say(wire.RpcResult(call_id=frame.call_id, result=result))

        error = await self._error_of(work())
        if error is not None:
            await self._say(wire.RpcError(call_id=frame.call_id, error=error))

    # ---- channels ----

    async def _open(self, frame: wire.ChannelCreate, size: int) -> None:
        try:
            SDK_CHANNELS.check(len(self._channels) + 1, frame.endpoint[:100])
            if frame.channel_id in self._channels:
                raise SdkError(f"The channel {frame.channel_id} is still open.")
        except ForedraftError as error:
            await self._say(wire.ChannelError(channel_id=frame.channel_id, error=problem(error)))
            return

        async def send(message: wire.Said) -> None:
            await self._say(wire.ChannelSend(channel_id=frame.channel_id, message=message))

        channel = Channel(send)
        ended = partial(self._channels.pop, frame.channel_id, None)
        self._channels[frame.channel_id] = channel, self._begin(self._follow(frame, channel), size, ended)

    async def _follow(self, frame: wire.ChannelCreate, channel: Channel) -> None:
        async def work() -> None:
            form, act = self._namespace.channels.get(frame.endpoint, (None, None))
            if act is None:
                raise not_served(frame.endpoint)
            await act(self._services, parameter(form, frame.creation_parameter), channel)
            await self._say(wire.ChannelClose(channel_id=frame.channel_id))

        error = await self._error_of(work())
        if error is not None:
            await self._say(wire.ChannelError(channel_id=frame.channel_id, error=error))

    async def _pass_on(self, frame: wire.ToChannel) -> None:
        found = self._channels.get(frame.channel_id)  # one that has just closed is no fault of the client's
        if found is not None:
            found[0].hear(frame.message)
            if frame.ack_id is not None:
                await self._say(wire.ChannelAck(channel_id=frame.channel_id, ack_id=frame.ack_id))

    async def _no_signal(self, frame: wire.Subscribe, *, writable: bool) -> None:
        error = problem(SdkError("There are no signals here."))
        said = wire.SignalError(
            type="writableSignalError" if writable else "signalError", subscribe_id=frame.subscribe_id, error=error
        )
        await self._say(said)

    # ---- frames out ----

    async def _error_of(self, work: Coroutine[Any, Any, None]) -> wire.Problem | None:
        """Do some work; what went wrong, or None. Where the client has gone, nobody is told."""
        try:
            await work
        except WebSocketDisconnect:
            return None
        except ForedraftError as error:
            return problem(error)
        except Exception:
            logger.exception("An endpoint of LM Studio's protocol failed.")
            return problem(EngineError("Something unexpected went wrong in the server; its log says what."))
        return None

    async def _say(self, frame: wire.Said) -> None:
        text = frame.model_dump_json(by_alias=True)
        async with self._writing:
            try:
                await self._websocket.send_text(text)
            except (RuntimeError, OSError):  # closed a moment ago
                raise WebSocketDisconnect(1006) from None


def is_key(auth: wire.Auth, key: str) -> bool:
    """Whether a first frame shows the key: as the passkey, or cut in two as the libraries do with LM Studio's own."""
    whole = f"sk-lm-{auth.client_identifier}:{auth.client_passkey}"
    wanted = _digest(key)
    shown = [hmac.compare_digest(_digest(text), wanted) for text in (auth.client_passkey, whole)]
    return any(shown)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
