"""A running server as a command sees it: is there one, what is loaded, an answer of it.

`RemoteAnswer` has the shape of `LLM.stream`'s result: pieces with their origins, then a `Generation`. So `run` and
`chat` print a server's answer with the same code as their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Self

import httpx

from foredraft.core.errors import ForedraftError
from foredraft.core.stats import GenerationStats, SourceStats
from foredraft.engines.base import Numerics
from foredraft.scheduling.answer import Generation, SpeculationStatus
from foredraft.scheduling.stream import Piece
from foredraft.server.statistics import STOP_REASONS

PORT = 3673
_LOOK_S = 0.3
"""How long a command looks for a server before it goes on without one."""


class ServerError(ForedraftError):
    """The server refused or failed; `code` is the server's word for it."""

    def __init__(self, message: str, *, code: str = "server", hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status


class NoServerError(ServerError):
    """Nobody listens there."""

    def __init__(self, address: str) -> None:
        message = f"No Foredraft server is running at {address}."
        super().__init__(message, code="no_server", hint="Start one: foredraft serve")


class Client:
    """One server. Use as a context manager."""

    def __init__(self, address: str, api_key: str = "") -> None:
        self.address = address.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=self.address, headers=headers, timeout=httpx.Timeout(None, connect=5.0))

    @classmethod
    def find(cls, host: str = "127.0.0.1", port: int = PORT, api_key: str = "") -> Client | None:
        """The server that runs on this machine, or None."""
        client = cls(f"http://{host}:{port}", api_key)
        try:
            answer = client._http.get("/health", timeout=_LOOK_S)
            if answer.json().get("name") == "foredraft":
                return client
        except (httpx.HTTPError, ValueError, AttributeError):
            pass
        client.close()
        return None

    @classmethod
    def connect(cls, host: str = "127.0.0.1", port: int = PORT, api_key: str = "") -> Client:
        """The server that runs on this machine. Raises `NoServerError`."""
        client = cls.find(host, port, api_key)
        if client is None:
            raise NoServerError(f"http://{host}:{port}")
        return client

    def models(self) -> list[dict[str, Any]]:
        """What is loaded (`server/states.py`)."""
        found: list[dict[str, Any]] = self._ask("GET", "/api/foredraft/models")["models"]
        return found

    def load(self, model: str, **how: Any) -> dict[str, Any]:
        """Load a model; `how` are the fields of `server/control.py: LoadRequest`."""
        return self._ask("POST", "/api/foredraft/load", {"model": model, **how})

    def unload(self, model: str) -> str:
        """Unload a model; the id it had."""
        unloaded: str = self._ask("POST", "/api/foredraft/unload", {"model": model})["model"]
        return unloaded

    def log(self, count: int = 100, *, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Entries of the server's log; with `follow` for ever."""
        if not follow:
            yield from self._ask("GET", f"/api/foredraft/log?count={count}")["entries"]
            return
        with self._http.stream("GET", f"/api/foredraft/log?count={count}&follow=true") as answer:
            self._check(answer)
            yield from _events(answer)

    def chat(self, messages: Sequence[Mapping[str, Any]], *, model: str = "", **body: Any) -> RemoteAnswer:
        """Answer a conversation. `body` are further fields of OpenAI's chat completion and ours."""
        speculative = {**body.pop("speculative", {}), "explain": True}
        asked = {"model": model, "messages": list(messages), "stream": True, "speculative": speculative, **body}
        return RemoteAnswer(self._http, "/v1/chat/completions", asked, self._check)

    def complete(self, prompt: str, *, model: str = "", **body: Any) -> RemoteAnswer:
        """Continue a text, without the chat template."""
        speculative = {**body.pop("speculative", {}), "explain": True}
        asked = {"model": model, "prompt": prompt, "stream": True, "speculative": speculative, **body}
        return RemoteAnswer(self._http, "/v1/completions", asked, self._check)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.ConnectError:
            raise NoServerError(self.address) from None
        self._check(answer)
        result: dict[str, Any] = answer.json()
        return result

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        answer.read()
        try:
            said = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            said = {"message": f"The server answered {answer.status_code}."}
        hint = said.get("hint") or ""
        message = str(said.get("message", "")).removesuffix(hint).strip()
        raise ServerError(message, code=str(said.get("code") or "server"), hint=hint, status=answer.status_code)


class RemoteAnswer:
    """An answer that a server is writing: iterate for its pieces, then read `result`."""

    def __init__(self, http: httpx.Client, path: str, body: dict[str, Any], check: Any) -> None:
        self._http, self._path, self._body, self._check = http, path, body, check
        self._pieces: list[Piece] = []
        self._last: dict[str, Any] = {}

    def __iter__(self) -> Iterator[Piece]:
        """The pieces as they come. Leaving early cancels the answer: the connection is closed."""
        with self._http.stream("POST", self._path, json=self._body) as answer:
            self._check(answer)
            for chunk in _events(answer):
                if "error" in chunk:
                    said = chunk["error"]
                    raise ServerError(str(said.get("message")), code=str(said.get("code") or "server"))
                for origin in (chunk.get("explain") or {}).get("origins", ()):
                    piece = Piece(
                        origin["token"], origin["text"], origin["origin"], origin["draft_position"], origin["source"]
                    )
                    self._pieces.append(piece)
                    yield piece
                if "stats" in chunk:
                    self._last = chunk

    @property
    def text(self) -> str:
        """What has been written so far."""
        return "".join(piece.text for piece in self._pieces)

    @property
    def result(self) -> Generation:
        """The answer with its statistics; one that was left early has none."""
        explain, stats = self._last.get("explain", {}), self._last.get("stats", {})
        speculation = stats.get("speculation", {})
        numerics = explain.get("numerics")
        return Generation(
            text=self.text,
            tokens=[piece.token for piece in self._pieces],
            stop_reason=_stop_reason(stats.get("stop_reason", "userStopped")),
            model=self._last.get("model", ""),
            draft=explain.get("draft_model"),
            seed=stats.get("seed", 0),
            speculation=SpeculationStatus(speculation.get("status", "off"), speculation.get("reason", "")),
            numerics=None if numerics is None else Numerics.from_dict(numerics),
            stats=_statistics(explain),
            pieces=self._pieces,
        )


def _stop_reason(theirs: str) -> str:
    return next((ours for ours, said in STOP_REASONS.items() if said == theirs), theirs)


def _statistics(explained: Mapping[str, Any]) -> GenerationStats:
    """The statistics that `GenerationStats.as_dict` wrote down."""
    known = {field.name for field in fields(GenerationStats)}
    given = {name: value for name, value in explained.items() if name in known}
    given["depth_histogram"] = {int(n): count for n, count in given.get("depth_histogram", {}).items()}
    given["by_source"] = {name: SourceStats(**counts) for name, counts in given.get("by_source", {}).items()}
    return GenerationStats(**given)


def _events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """The JSON of each event of a stream."""
    for line in answer.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))
