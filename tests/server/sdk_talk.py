"""Frames of LM Studio's protocol, one by one: what no library would send can be sent too."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

from websockets.sync.client import ClientConnection, connect

ANY = {"type": "query", "query": {}}
TOY = {"type": "query", "query": {"identifier": "toy"}}


class Talk:
    """One socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._numbers = itertools.count()

    def send(self, **frame: Any) -> None:
        self.socket.send(json.dumps(frame))

    def hear(self) -> dict[str, Any]:
        return json.loads(self.socket.recv(timeout=60))

    def admit(self, name: str = "a", passkey: str = "b") -> dict[str, Any]:
        self.send(authVersion=1, clientIdentifier=name, clientPasskey=passkey)
        return self.hear()

    def call(self, endpoint: str, parameter: Any = None) -> dict[str, Any]:
        """The whole frame that answers a call."""
        number = next(self._numbers)
        self.send(type="rpcCall", endpoint=endpoint, callId=number, parameter=parameter)
        answer = self.hear()
        assert answer["callId"] == number
        return answer

    def open(self, endpoint: str, parameter: Any = None) -> int:
        number = next(self._numbers)
        self.send(type="channelCreate", endpoint=endpoint, channelId=number, creationParameter=parameter)
        return number

    def messages(self, endpoint: str, parameter: Any = None) -> list[dict[str, Any]]:
        """Everything on a channel, to its end; the last is the frame that ends it."""
        number = self.open(endpoint, parameter)
        said = []
        while True:
            frame = self.hear()
            assert frame["channelId"] == number
            if frame["type"] != "channelSend":
                return [*said, frame]
            said.append(frame["message"])

    def predict(self, text: str, *, specifier: Any = TOY, tools: Any = None, **settings: Any) -> list[dict[str, Any]]:
        """The messages of an answer."""
        history = {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
        return self.messages("predict", question(history, specifier, **settings))


def question(history: Any, specifier: Any = TOY, **settings: Any) -> dict[str, Any]:
    fields = [{"key": f"llm.prediction.{key}", "value": value} for key, value in settings.items()]
    stack = {"layers": [{"layerName": "apiOverride", "config": {"fields": fields}}]}
    return {"modelSpecifier": specifier, "history": history, "predictionConfigStack": stack}


def load(talk: Talk, name: str = "toy") -> dict[str, Any]:
    """What `getOrLoad` ends with."""
    return talk.messages("getOrLoad", {"identifier": name, "loadConfigStack": {"layers": []}})[-2]["info"]


@contextlib.contextmanager
def talking(address: str, path: str = "/llm", **more: Any) -> Iterator[Talk]:
    with connect(address.replace("http", "ws", 1) + path, **more) as socket:
        talk = Talk(socket)
        assert talk.admit() == {"success": True}
        yield talk


def text_of(messages: list[dict[str, Any]], kind: str = "") -> str:
    fragments = [one["fragment"] for one in messages if one.get("type") == "fragment"]
    return "".join(one["content"] for one in fragments if not kind or one["reasoningType"] == kind)
