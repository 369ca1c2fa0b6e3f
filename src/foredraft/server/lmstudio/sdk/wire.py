"""Frames: one JSON object each, both ways."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel


class Said(BaseModel):
    """What the server sends. Checked when it is made, and written in camelCase.

    Fields that need not be there are left out when they are None: to the libraries that is another thing than `null`
    (a void result with `"result": null` makes one of them wait for ever). Required fields are always written.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, protected_namespaces=()
    )

    @model_serializer(mode="wrap")
    def _lean(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        said: dict[str, Any] = written(self)
        for name, alias in _optional(type(self)):
            if getattr(self, name) is None:
                said.pop(alias, None)
        return said


@cache
def _optional(kind: type[Said]) -> tuple[tuple[str, str], ...]:
    fields = kind.model_fields.items()
    return tuple((name, to_camel(name)) for name, field in fields if not field.is_required())


class Heard(BaseModel):
    """What a client sends. Fields that are not known are left alone: newer libraries have more of them."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True, protected_namespaces=())


# ---- from the client ----


class Auth(Heard):
    """The first frame."""

    client_identifier: str = Field(max_length=1000)
    client_passkey: str = Field(max_length=1000)


class RpcCall(Heard):
    endpoint: str
    call_id: int
    parameter: Any = None


class ChannelCreate(Heard):
    endpoint: str
    channel_id: int
    creation_parameter: Any = None


class ToChannel(Heard):
    channel_id: int
    message: dict[str, Any] = {}
    ack_id: int | None = None


class Subscribe(Heard):
    """A signal: none of the namespaces has one."""

    subscribe_id: int


# ---- to the client ----


class Problem(Said):
    """An error as the libraries read it. `display_data` has a code, and what belongs to it, for typed errors."""

    title: str
    root_title: str
    cause: str | None = None
    suggestion: str | None = None
    display_data: dict[str, Any] | None = None


class AuthResult(Said):
    success: bool
    error: str | Problem | None = None


class RpcResult(Said):
    type: Literal["rpcResult"] = "rpcResult"
    call_id: int
    result: Any = None


class RpcError(Said):
    type: Literal["rpcError"] = "rpcError"
    call_id: int
    error: Problem


class ChannelSend(Said):
    type: Literal["channelSend"] = "channelSend"
    channel_id: int
    message: Any


class ChannelClose(Said):
    type: Literal["channelClose"] = "channelClose"
    channel_id: int


class ChannelError(Said):
    """Ends the channel."""

    type: Literal["channelError"] = "channelError"
    channel_id: int
    error: Problem


class ChannelAck(Said):
    type: Literal["channelAck"] = "channelAck"
    channel_id: int
    ack_id: int


class KeepAliveAck(Said):
    type: Literal["keepAliveAck"] = "keepAliveAck"


class SignalError(Said):
    type: Literal["signalError", "writableSignalError"]
    subscribe_id: int
    error: Problem


class CommunicationWarning(Said):
    type: Literal["communicationWarning"] = "communicationWarning"
    warning: str
