"""What pages share, and what one page knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from foredraft.chats import Chat, ChatStore
from foredraft.scheduling.hosted import ModelState
from foredraft.server.services import Services
from foredraft.ui.choices import Choices
from foredraft.ui.downloads import Downloads
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from foredraft.ui.i18n import LANGUAGES, Words
from foredraft.ui.laboratory import Laboratory
from foredraft.ui.measuring import Measuring
from foredraft.ui.shelf import ShelfView

USER, POWER, DEVELOPER = "user", "power", "developer"
MODES = (USER, POWER, DEVELOPER)
THEMES = ("auto", "light", "dark")


@dataclass(slots=True)
class AppState:
    """Everything the app shares between its pages. One for a mounted app."""

    services: Services
    chats: ChatStore
    hub: Hub
    generations: Generations
    shelf: ShelfView
    measuring: Measuring
    laboratory: Laboratory
    downloads: Downloads
    load_error: str = ""
    """Why the last load failed, in words; shown until the next one."""
    draft_error: str = ""
    """Why the last choice of a draft failed, in words."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    """What goes on behind the pages (loads); kept so that it is not collected."""

    def loaded(self) -> ModelState | None:
        """The model that answers: the first that is ready, or that is being loaded."""
        states = [state for state in self.services.runtime.models() if state.kind == "text"]
        ready = [state for state in states if state.status in ("ready", "changing")]
        return (ready or states or [None])[0]  # type: ignore[list-item]


@dataclass(eq=False, slots=True)
class Page:
    """One open page (a browser tab). Panels are built from it and refreshed through it."""

    app: AppState
    words: Words
    chat_id: str | None = None
    refreshers: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """By panel name; `refresh` calls them."""
    actions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """What a panel offers to others: "open_load", "show_chat" …"""

    @property
    def mode(self) -> str:
        mode = self.app.chats.preference("mode", USER)
        return mode if mode in MODES else USER

    @property
    def power(self) -> bool:
        return self.mode != USER

    @property
    def developer(self) -> bool:
        return self.mode == DEVELOPER

    @property
    def chat(self) -> Chat | None:
        return self.app.chats.get(self.chat_id) if self.chat_id else None

    @property
    def choices(self) -> Choices:
        """The settings of the shown chat; those of the next one where there is none yet."""
        chat = self.chat
        stored = chat.settings if chat else self.app.chats.preference("choices", {})
        return Choices.of(stored if isinstance(stored, dict) else {})

    def choose(self, **values: Any) -> Choices:
        """Change settings: they hold from the next answer on, and for new chats."""
        choices = self.choices.with_(**values)
        if self.chat_id:
            self.app.chats.change(self.chat_id, settings=choices.stored())
        self.app.chats.set_preference("choices", choices.stored())
        return choices

    def refresh(self, *panels: str) -> None:
        for name in panels:
            refresher = self.refreshers.get(name)
            if refresher is not None:
                refresher()

    def error_words(self, code: str, message: str) -> str:
        """An error in the page's language where there are words for it, else as it came."""
        key = f"errors.{code}"
        return self.words(key) if key in self.words else message


def language_of(chats: ChatStore, accept_language: str) -> str:
    """The language chosen in the settings, else the browser's."""
    from foredraft.ui.i18n import negotiate

    chosen = chats.preference("language", "auto")
    return chosen if chosen in LANGUAGES else negotiate(accept_language)
