"""What the server, the app and the commands receive: everything that is alive in the process, in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from foredraft.chats.store import ChatStore
from foredraft.engines.base import ModelInfo
from foredraft.models.store import ModelStore
from foredraft.requests.preparing import Preparation
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server import limits
from foredraft.server.aliases import Aliases
from foredraft.server.downloads import Downloads
from foredraft.server.event_log import EventLog
from foredraft.server.kept import Responses
from foredraft.server.origins import ALWAYS
from foredraft.server.pools import Pools
from foredraft.server.uploads import Uploads
from foredraft.server.vocabularies import Vocabularies


class Shelf(Protocol):
    """Names to model files. The shelf of GGUF files (`foredraft.models`) is one; tests bring a smaller one."""

    def names(self) -> Sequence[str]:
        """Every model that can be asked for, those that make embeddings too."""

    def embedding_names(self) -> Sequence[str]:
        """Those that make embeddings."""

    def describe(self, name: str) -> dict[str, Any]:
        """Facts about one of them (architecture, kind, quantisation, size_bytes, n_ctx_train, publisher, path …)."""

    def name_of(self, path: str) -> str:
        """The name of a file; empty where it is not on the shelf."""

    def draft(self, name: str) -> str:
        """A draft as `LoadSpec` names it: its path, or `BUILTIN`. Raises a `ModelError`."""

    def drafts(self) -> Sequence[dict[str, Any]]:
        """Facts like those of `describe` of the files that are drafts of other models and nothing else, with their
        `name`, what they are `made_for` in words, and the models here that they `fit`."""

    def spec(self, name: str, draft: str | None = "auto") -> LoadSpec:
        """How to load it. Raises `ModelNotFoundError` with the nearest names."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the server serves. Sizes in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 3673
    api_key: str = ""
    """Empty: no key is asked for (allowed on the loopback only)."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that clients may call the server by, beside the loopback's. Empty: any, where other machines may call."""
    app_secret: bytes = b""
    """The app opens for those alone who got its address from a program that knows this (`proof.py`). Empty: for all."""
    cors_origins: tuple[str, ...] = ALWAYS
    """Pages of these origins may call the API (`origins.py` has the words); by default windows of desktop programs."""
    max_body: int = limits.BODY.most
    max_answers: int = 8
    """Most choices (`n`) of one request."""
    load_on_demand: bool = True
    """Load a model when a request names it."""
    ttl_s: float | None = 3600.0
    """Idle time after which a model that was loaded on demand is unloaded."""
    log_prompts: bool = False
    remember_answers: bool = False
    """Answers are kept on this machine as guesses for later ones. (The shelf loads models so; `/health` says it.)"""
    ollama_version: str = "0.13.0"
    """The version of Ollama that its clients are told: that whose API is served."""
    ping_s: float = 15.0
    """A comment is sent on a silent stream this often, so that nobody on the way closes it."""
    grace_s: float = 10.0
    """Running answers may end for this long when the server is stopped."""


@dataclass(slots=True)
class Services:
    """The living parts. `chats` and `store` are None where there is no app, no shelf."""

    runtime: Runtime
    shelf: Shelf | None = None
    """Names to files, for loading on request."""
    settings: ServerSettings = field(default_factory=ServerSettings)
    default_model: str = ""
    """Loaded and used when a request names no model."""
    store: ModelStore | None = None
    """The shelf's own store, for the app."""
    chats: ChatStore | None = None
    """The chat history, for the app."""
    load_failure: Exception | None = None
    """Why the model of the start could not be loaded, for the app."""
    aliases: Aliases = field(default_factory=Aliases)
    """Other names for models."""
    downloads: Downloads = field(default_factory=Downloads)
    """Downloads that were asked for through the API."""
    event_log: EventLog = field(default_factory=EventLog)
    """What happened: the server's log, for `foredraft log` and the app."""
    responses: Responses = field(default_factory=Responses)
    """What is kept for `previous_response_id`."""
    pools: Pools = field(default_factory=Pools)
    """Threads for what would hold up the event loop."""
    preparation: Preparation = field(default_factory=Preparation)
    """Requests to tokens, for the loaded models."""
    uploads: Uploads = field(default_factory=Uploads)
    """Text files that clients have sent, for questions that come later."""
    vocabularies: Vocabularies = field(init=False)
    """Each loaded model's vocabulary, for grammars."""

    def __post_init__(self) -> None:
        self.vocabularies = Vocabularies(self.runtime, self.pools.grammars)

    def name_of(self, info: ModelInfo | None) -> str | None:
        """A loaded model's name as it is asked for; files often call themselves something else."""
        if info is None:
            return None
        return (self.shelf.name_of(info.path) if self.shelf is not None and info.path else "") or info.name

    def stopping(self) -> None:
        """The server is about to end: nothing new is taken, and followers of the log are let go."""
        self.runtime.refuse()
        self.event_log.close()

    async def finish(self) -> None:
        """Let what has begun end within the grace time, and end the rest with a typed error."""
        await self.runtime.finish(self.settings.grace_s)
        self.pools.close()
