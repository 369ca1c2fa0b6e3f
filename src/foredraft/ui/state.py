"""What pages share, and what one page knows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from foredraft.chats import Chat, ChatStore, ChatStoreError
from foredraft.runtime.managed_model import ModelState
from foredraft.server.context import Services
from foredraft.server.naming import answering
from foredraft.ui.choices import Choices
from foredraft.ui.downloads import Downloads
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from foredraft.ui.laboratory import Laboratory
from foredraft.ui.machine import Machine
from foredraft.ui.measuring import Measuring
from foredraft.ui.problems import Problem
from foredraft.ui.shelf import ShelfView
from foredraft.words import AUTO, Words, languages, negotiate

USER, POWER, DEVELOPER = "user", "power", "developer"
MODES = (USER, POWER, DEVELOPER)
DRAFT_DEVICE = "draft_device"
"""The preference of where drafts run."""
PRESET_SPECULATION = "preset_speculation"
"""The preference of whether presets hold the settings of speculation."""
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
    machine: Machine = field(default_factory=Machine)
    draft_error: str = ""
    """Why the last choice of a draft failed, in words."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    """What goes on behind the pages (loads); kept so that it is not collected."""

    @property
    def load_error(self) -> Problem | None:
        """Why the last load failed; shown until the next one."""
        failure = self.services.load_failure
        return Problem.of(failure) if failure is not None else None

    @property
    def draft_device(self) -> str:
        """Where drafts that are loaded from now on run; empty: as the main model."""
        return str(self.chats.preference(DRAFT_DEVICE, ""))

    def write(self, change: Callable[[], Any]) -> None:
        """Change the chat history; where it cannot be written (a full disk, say) every page tells why."""
        try:
            change()
        except ChatStoreError as error:
            self.generations.problem = error.code
            self.hub.publish("problem", error.code)

    def loaded(self) -> ModelState | None:
        """The model that answers, or that is being loaded."""
        states = (state for state in self.services.runtime.models() if state.kind == "text")
        return answering(self.services) or next(states, None)


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

        def keep() -> None:
            if self.chat_id:
                self.app.chats.change(self.chat_id, settings=choices.stored())
            self.app.chats.set_preference("choices", choices.stored())

        self.app.write(keep)
        return choices

    @property
    def system_prompt(self) -> str:
        """That of the shown chat; that of the next one where there is none yet."""
        chat = self.chat
        return chat.system_prompt if chat else str(self.app.chats.preference("system_prompt", ""))

    def set_system_prompt(self, text: str) -> None:
        def keep() -> None:
            if self.chat_id:
                self.app.chats.change(self.chat_id, system_prompt=text)
            else:
                self.app.chats.set_preference("system_prompt", text)

        self.app.write(keep)

    def refresh(self, *panels: str) -> None:
        for name in panels:
            refresher = self.refreshers.get(name)
            if refresher is not None:
                refresher()

    def error_words(self, error: Exception | Problem, code: str = "") -> str:
        """An error in the page's language. `code` instead of its own, where pages have other words for it."""
        return (error if isinstance(error, Problem) else Problem.of(error, code)).worded(self.words)


def language_of(chats: ChatStore, accept_language: str) -> str:
    """The language chosen in the settings, else the browser's (also where the settings cannot be read)."""
    chosen = AUTO
    with contextlib.suppress(ChatStoreError):  # it is worded in this very language
        chosen = chats.preference("language", AUTO)
    return chosen if chosen in languages() else negotiate(accept_language)
