"""A running server as a command sees it: is there one, what is loaded, an answer of it.

`RemoteAnswer` has the shape of `LLM.stream`'s result: pieces with their origins, then a `Generation`. So `run` and
`chat` print a server's answer with the same code as their own.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Self

import httpx

from foredraft.core.errors import ForedraftError
from foredraft.core.reasons import Reason, as_reason
from foredraft.core.stats import GenerationStats, SourceStats
from foredraft.engines.base import Numerics
from foredraft.scheduling.request import Generation, SpeculationStatus
from foredraft.scheduling.stream import Piece
from foredraft.server.address import url
from foredraft.server.proof import proven
from foredraft.server.statistics import STOP_REASONS
from foredraft.words import DEFAULT, words

PORT = 3673
_LOOK_S = 0.3
"""How long a command looks for a server before it goes on without one."""
_ANSWER_S = 2.0
"""How long one that has taken the connection may take to say who it is: its machine may be busy."""
_WAIT_S = 5.0
"""How long one waits for it that cannot go on without."""


class ServerError(ForedraftError):
    """The server refused or failed; `code` is the server's word for it."""

    def __init__(
        self, message: Reason | str, *, code: str = "server", hint: Reason | str = "", status: int = 0
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status


class NoServerError(ServerError):
    """Nobody listens there."""

    def __init__(self, address: str) -> None:
        super().__init__(Reason("no_server", {"url": address}), code="no_server", hint=Reason("hint_no_server"))


class UnprovenServerError(ServerError):
    """Somebody listens there, who calls himself Foredraft and cannot prove it."""

    def __init__(self, address: str) -> None:
        super().__init__(Reason("unproven", {"url": address}), code="unproven", hint=Reason("hint_unproven"))


class Client:
    """One server. Use as a context manager. Nothing secret is sent before the server has proven what it is."""

    def __init__(self, address: str, api_key: str = "") -> None:
        self.address = address.rstrip("/")
        self.proven = False
        """It knows the key, or the secret of this user's data folder."""
        self._api_key = api_key
        self._headers: dict[str, str] = {}
        self._http = self._connections()

    def _connections(self) -> httpx.Client:
        timeout = httpx.Timeout(None, connect=5.0)
        # Never by a proxy of the environment: it is this machine's own server.
        return httpx.Client(base_url=self.address, headers=self._headers, timeout=timeout, trust_env=False)

    @classmethod
    def find(cls, host: str = "127.0.0.1", port: int = PORT, api_key: str = "") -> Client | None:
        """The server that runs on this machine and has proven to be this user's, or None."""
        client = cls._look(host, port, api_key, _LOOK_S)
        if client is not None and not client.proven:
            client.close()
            return None
        return client

    @classmethod
    def connect(cls, host: str = "127.0.0.1", port: int = PORT, api_key: str = "") -> Client:
        """The server that runs on this machine. Without a key, also one that has proven nothing. Raises `NoServerError`
        or `UnprovenServerError`."""
        client = cls._look(host, port, api_key, _WAIT_S)
        if client is None:
            raise NoServerError(url(host, port))
        if api_key and not client.proven:
            client.close()
            raise UnprovenServerError(client.address)
        return client

    @classmethod
    def _look(cls, host: str, port: int, api_key: str, timeout_s: float) -> Client | None:
        client = cls(url(host, port), api_key)
        try:
            if client._ask_who(port, timeout_s):
                return client
        except (httpx.HTTPError, ValueError, AttributeError):
            pass
        client.close()
        return None

    def _ask_who(self, port: int, timeout_s: float) -> bool:
        """Whether it calls itself Foredraft. Once it has proven itself, it gets the key."""
        challenge = secrets.token_hex(16)
        patience = httpx.Timeout(max(timeout_s, _ANSWER_S), connect=timeout_s)
        said = self._http.get("/health", params={"challenge": challenge}, timeout=patience).json()
        self.proven = proven(said.get("proofs") or {}, challenge, port, self._api_key)
        if self.proven and self._api_key:
            self._headers = {"Authorization": f"Bearer {self._api_key}"}
            self._http.headers.update(self._headers)
        return bool(said.get("name") == "foredraft")

    def models(self) -> list[dict[str, Any]]:
        """What is loaded (`server/status.py`)."""
        found: list[dict[str, Any]] = self._ask("GET", "/api/foredraft/models")["models"]
        return found

    def load(self, model: str, **how: Any) -> dict[str, Any]:
        """Load a model; `how` are the fields of `server/control.py: LoadRequest`."""
        return self._ask("POST", "/api/foredraft/load", {"model": model, **how})

    def unload(self, model: str) -> str:
        """Unload a model; the id it had."""
        unloaded: str = self._ask("POST", "/api/foredraft/unload", {"model": model})["model"]
        return unloaded

    def set_draft(self, model: str, draft: str) -> dict[str, Any]:
        """Change a loaded model's draft (a name, auto or off); the model as it is then. Raises `ServerError` for one
        that does not fit."""
        return self._ask("POST", "/api/foredraft/draft", {"model": model, "draft": draft, "required": True})

    def log(self, count: int = 100, *, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Entries of the server's log; with `follow` for ever."""
        if not follow:
            yield from self._ask("GET", f"/api/foredraft/log?count={count}")["entries"]
            return
        yield from self.events(f"/api/foredraft/log?count={count}&follow=true")

    def chat(self, messages: Sequence[Mapping[str, Any]], *, model: str = "", **body: Any) -> RemoteAnswer:
        """Answer a conversation. `body` are further fields of OpenAI's chat completion and ours."""
        speculative = {**body.pop("speculative", {}), "explain": True}
        asked = {"model": model, "messages": list(messages), "stream": True, "speculative": speculative, **body}
        return RemoteAnswer(self, "/v1/chat/completions", asked)

    def complete(self, prompt: str, *, model: str = "", **body: Any) -> RemoteAnswer:
        """Continue a text, without the chat template."""
        speculative = {**body.pop("speculative", {}), "explain": True}
        asked = {"model": model, "prompt": prompt, "stream": True, "speculative": speculative, **body}
        return RemoteAnswer(self, "/v1/completions", asked)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def events(self, path: str, body: Any = None) -> Iterator[dict[str, Any]]:
        """The JSON of each event that the server answers with. Leaving early closes the connection."""
        method, ended = "GET" if body is None else "POST", False
        try:
            with self._reached(), self._http.stream(method, path, json=body) as answer:
                self._check(answer)
                for line in answer.iter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        yield json.loads(line.removeprefix("data: "))
            ended = True
        finally:
            if not ended:  # perhaps by Ctrl-C, in the middle of anything: no connection may be left open
                self._http.close()
                self._http = self._connections()

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        with self._reached():
            answer = self._http.request(method, path, json=body)
        self._check(answer)
        result: dict[str, Any] = answer.json()
        return result

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError:
            raise NoServerError(self.address) from None
        except httpx.TransportError as error:
            broke = Reason("connection_broke", {"url": self.address, "error": str(error) or type(error).__name__})
            raise ServerError(broke, code="connection", hint=Reason("hint_connection_broke")) from None

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        answer.read()
        try:
            said = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            said = {"message": f"The server answered {answer.status_code}."}
        raise _error(said, status=answer.status_code)


class RemoteAnswer:
    """An answer that a server is writing: iterate for its pieces, then read `result`."""

    def __init__(self, client: Client, path: str, body: dict[str, Any]) -> None:
        self._client, self._path, self._body = client, path, body
        self._pieces: list[Piece] = []
        self._last: dict[str, Any] = {}
        self._began = self._first = 0.0

    def __iter__(self) -> Iterator[Piece]:
        """The pieces as they come. Leaving early cancels the answer: the connection is closed."""
        for pieces, _ in self.parts():
            yield from pieces

    def parts(self) -> Iterator[tuple[list[Piece], dict[str, Any]]]:
        """The answer chunk by chunk: its pieces, and the choice of OpenAI's dialect, with what is sure of the text."""
        self._began = time.perf_counter()
        for chunk in self._client.events(self._path, self._body):
            if "error" in chunk:
                raise _error(chunk["error"])
            pieces = [
                Piece(origin["token"], origin["text"], origin["origin"], origin["draft_position"], origin["source"])
                for origin in (chunk.get("explain") or {}).get("origins", ())
            ]
            if pieces:
                self._first = self._first or time.perf_counter()
                self._pieces += pieces
            if "stats" in chunk:
                self._last = chunk
            if chunk.get("choices"):
                yield pieces, chunk["choices"][0]

    @property
    def text(self) -> str:
        """What has been written so far."""
        return "".join(piece.text for piece in self._pieces)

    @property
    def result(self) -> Generation:
        """The answer with its statistics; of one that was left early, what could be seen from here."""
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
            speculation=SpeculationStatus.from_dict(speculation),
            numerics=None if numerics is None else Numerics.from_dict(numerics),
            stats=_statistics(explain) if explain else self._seen(),
            pieces=self._pieces,
        )

    def _seen(self) -> GenerationStats:
        """Counted from the pieces that arrived. Guesses that were never tested leave no trace in them."""
        origins = [piece.origin for piece in self._pieces]
        stats = GenerationStats(tokens=len(origins), accepted=origins.count("accepted"))
        stats.rejected, stats.rounds = origins.count("corrected"), len(origins) - stats.accepted
        stats.drafted = stats.accepted + stats.rejected
        if self._first:
            stats.time_to_first_token_s = self._first - self._began
            stats.generation_s = time.perf_counter() - self._first
        return stats


def _stop_reason(theirs: str) -> str:
    return next((ours for ours, said in STOP_REASONS.items() if said == theirs), theirs)


def _statistics(explained: Mapping[str, Any]) -> GenerationStats:
    """The statistics that `GenerationStats.as_dict` wrote down."""
    known = {field.name for field in fields(GenerationStats)}
    given = {name: value for name, value in explained.items() if name in known}
    given["depth_histogram"] = {int(n): count for n, count in given.get("depth_histogram", {}).items()}
    given["by_source"] = {name: SourceStats(**counts) for name, counts in given.get("by_source", {}).items()}
    return GenerationStats(**given)


def _error(said: dict[str, Any], *, status: int = 0) -> ServerError:
    """What a server said, as an error that can be worded in other languages; in its own words where it gives no
    reasons."""
    advice = str(said.get("hint") or "")
    hint: Reason | str = as_reason(advice) if advice else ""
    message = as_reason(str(said.get("message") or "").removesuffix(advice).strip())
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):  # an older server, or none of ours
        reasons = {part: Reason.from_dict(reason) for part, reason in said["reasons"].items()}
        if all(f"reason.{reason.code}" in words(DEFAULT) for reason in reasons.values()):
            message, hint = reasons["message"], reasons.get("hint", "")
    return ServerError(message, code=str(said.get("code") or "server"), hint=hint, status=status)
