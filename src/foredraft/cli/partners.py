"""Who answers in `foredraft chat`: a pair that this program has loaded, or the running server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from foredraft.cli import terminal
from foredraft.cli.loading import loaded
from foredraft.cli.options import GenerateOptions
from foredraft.cli.remote import Served, served, switched
from foredraft.cli.words import t
from foredraft.config.shelf import locate, open_shelf
from foredraft.core.errors import MemoryLimitError, ModelError
from foredraft.core.reasons import Reason
from foredraft.scheduling.request import SpeculationStatus

if TYPE_CHECKING:
    from foredraft.cli.told import Told
    from foredraft.pair.llm import LLM

Message = dict[str, str]


class Partner(Protocol):
    """Who answers."""

    @property
    def names(self) -> tuple[str, str]:
        """The model and its draft as the model list calls them; "" where there is no draft."""

    def answer(self, turn: list[Message], text: str) -> Told:
        """Begin to answer a conversation; with --raw, to continue the text."""

    def set_model(self, name: str) -> str:
        """Let another model answer; what it does then, in words. Raises `ForedraftError`; then all is as it was."""

    def set_draft(self, draft: str) -> str:
        """Change the draft; what it does then, in words. Raises `ForedraftError` for one that does not fit."""

    def set_asked(self, asked: GenerateOptions) -> None:
        """Answer with other settings from now on."""


@contextlib.contextmanager
def partner(asked: GenerateOptions) -> Iterator[Partner]:
    """The running server where it has the model that was asked for, else a pair that is loaded here."""
    server = served(asked)
    if server is not None:
        with server.ready():
            yield AtServer(server, asked)
        return
    with Here(asked) as here:
        yield here


class Here:
    """A pair that this program loads, or that is loaded already (then it stays its owner's). Use as a context
    manager."""

    def __init__(self, asked: GenerateOptions, llm: LLM | None = None) -> None:
        self._asked = asked
        self._open = contextlib.ExitStack()
        if llm is not None:
            self._take(llm, asked)

    def __enter__(self) -> Here:
        self._load(self._asked)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _load(self, asked: GenerateOptions) -> None:
        """Load beside what there is, and take its place."""
        opened = contextlib.ExitStack()
        llm, _ = opened.enter_context(loaded(asked))
        self._open.close()
        self._open = opened
        self._take(llm, asked)

    def _take(self, llm: LLM, asked: GenerateOptions) -> None:
        self._llm, self._asked = llm, asked

    @property
    def names(self) -> tuple[str, str]:
        shelf, main, draft = open_shelf(), self._llm.info, self._llm.draft_info
        names = []
        for info in (main, draft):
            try:
                names.append("" if info is None else shelf.find(Path(info.path)).name)
            except ModelError:  # it is deleted meanwhile, or lies inside the main model
                names.append(info.name if info is not None else "")
        return names[0], names[1]

    def answer(self, turn: list[Message], text: str) -> Told:
        from foredraft.cli.told import begin_here

        return begin_here(self._llm, text if self._asked.raw else turn, self._asked)

    def set_model(self, name: str) -> str:
        locate(name)
        before, wanted = self._asked, replace(self._asked, model=name, draft="auto")
        try:
            self._load(wanted)
        except MemoryLimitError:  # not both at once
            self._open.close()
            try:
                self._load(wanted)
            except BaseException:
                self._load(before)
                raise
        return _answers(self.names)

    def set_asked(self, asked: GenerateOptions) -> None:
        self._asked = replace(asked, model=self._asked.model, draft=self._asked.draft)

    def set_draft(self, draft: str) -> str:
        self._llm.set_draft(draft, required=True)
        self._asked = replace(self._asked, draft=draft)
        return _speculation(self._llm.speculation)


class AtServer:
    """The model of the running server. It is shared: a change of draft is one for everybody, but for "off"."""

    def __init__(self, server: Served, asked: GenerateOptions) -> None:
        self._server = server
        self._asked = asked

    @property
    def names(self) -> tuple[str, str]:
        return self._server.model, self._server.draft or ""

    def answer(self, turn: list[Message], text: str) -> Told:
        from foredraft.cli.told import ToldByServer

        if self._asked.raw:
            return ToldByServer(self._server.go_on(text, self._asked))
        return ToldByServer(self._server.answer(turn, self._asked))

    def set_model(self, name: str) -> str:
        self._server = switched(self._server, name)
        self._asked = replace(self._asked, model=name, draft="auto")
        return _answers(self.names)

    def set_asked(self, asked: GenerateOptions) -> None:
        self._asked = replace(asked, model=self._asked.model, draft=self._asked.draft)

    def set_draft(self, draft: str) -> str:
        if draft == "off":
            self._asked = replace(self._asked, draft=draft)
            return _speculation(SpeculationStatus("off", Reason("off_for_conversation")))
        state: dict[str, Any] = self._server.client.set_draft(self._server.model, draft)
        self._asked = replace(self._asked, draft=draft)
        return _speculation(SpeculationStatus.from_dict(state["speculation"]))


def _answers(names: tuple[str, str]) -> str:
    return t()("cli.chat.answers", model=names[0], draft=names[1] or Reason("none"))


def _speculation(status: SpeculationStatus) -> str:
    return terminal.speculation_words(status)


def usable_models() -> list[str]:
    """What /model takes."""
    return [model.name for model in open_shelf().models() if model.usable]
