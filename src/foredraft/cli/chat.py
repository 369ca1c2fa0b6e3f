"""`foredraft chat`: a conversation on the terminal."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import typer

from foredraft.cli import terminal
from foredraft.cli.loading import loaded
from foredraft.cli.options import Asked, asks, system_message
from foredraft.cli.remote import Served, served
from foredraft.cli.streams import line_of_input
from foredraft.core.errors import ForedraftError

if TYPE_CHECKING:
    from foredraft.llm import LLM, AnswerStream
    from foredraft.scheduling.answer import Generation
    from foredraft.server.client import RemoteAnswer

HELP = """Type a message and press Enter. \"\"\" begins and ends a message of several lines.
/new       begin a new conversation
/stats     statistics of the last answer
/draft D   change the draft: a file, a name, auto or off
/help      this list
/exit      leave (also Ctrl-D); Ctrl-C ends an answer, or clears the line"""


@asks()
def chat(asked: Asked) -> None:
    """Chat, with the running server's model where there is one. The conversation is remembered until /new; only what is
    new of it is read again."""
    server = served(asked)
    if server is not None:
        with server.ready():
            Conversation(AtServer(server, asked), asked).loop()
        return
    with loaded(asked) as (llm, _):
        Conversation(Here(llm, asked), asked).loop()


class Partner(Protocol):
    """Who answers."""

    def answer(self, turn: list[dict[str, str]], text: str) -> AnswerStream | RemoteAnswer:
        """Begin to answer a conversation; with --raw, to continue the text."""

    def set_draft(self, draft: str) -> str:
        """Change the draft; what it does then, in words. Raises `ForedraftError` for one that does not fit."""


class Here:
    """A pair that this program has loaded."""

    def __init__(self, llm: LLM, asked: Asked) -> None:
        self._llm = llm
        self._asked = asked

    def answer(self, turn: list[dict[str, str]], text: str) -> AnswerStream | RemoteAnswer:
        return self._llm.stream(self._asked.request(self._llm, text if self._asked.raw else self._llm.render(turn)))

    def set_draft(self, draft: str) -> str:
        self._llm.set_draft(draft, required=True)
        return f"speculation {self._llm.speculation.status}: {self._llm.speculation.reason}"


class AtServer:
    """The model of the running server. It is shared: a change of draft is one for everybody, but for "off"."""

    def __init__(self, server: Served, asked: Asked) -> None:
        self._server = server
        self._asked = asked

    def answer(self, turn: list[dict[str, str]], text: str) -> AnswerStream | RemoteAnswer:
        if self._asked.raw:
            return self._server.go_on(text, self._asked)
        return self._server.answer(turn, self._asked)

    def set_draft(self, draft: str) -> str:
        if draft == "off":
            self._asked = replace(self._asked, draft=draft)
            return "speculation off: Switched off for this conversation."
        state = self._server.client.set_draft(self._server.model, draft)
        self._asked = replace(self._asked, draft=draft)
        return f"speculation {state['speculation']['status']}: {state['speculation']['reason']}"


class Conversation:
    """The turns so far, and the loop that adds to them."""

    def __init__(self, partner: Partner, asked: Asked) -> None:
        self.partner = partner
        self.asked = asked
        self.messages: list[dict[str, str]] = []
        self.text = ""
        self.last: Generation | None = None
        self._begin()

    def loop(self) -> None:
        """Until /exit or the end of the input. Ctrl-C ends an answer, or gives up the line that is being typed; where
        nobody types, it ends the program (exit code 130)."""
        interactive = sys.stdin.isatty()
        if interactive:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - line editing and history, where the system has it
            terminal.errors().print("Chat. /help lists the commands.", style="dim")
        while True:
            try:
                said = self._read(interactive)
            except EOFError:
                return
            except KeyboardInterrupt:
                if not interactive:
                    raise typer.Exit(130) from None
                # As in every shell: the line is given up, the conversation is not.
                terminal.errors().print("\n[dim]/exit or Ctrl-D leaves.[/dim]")
                continue
            if not said.strip():
                continue
            if said.startswith("/") and interactive:
                if self._command(said.strip()):
                    return
                continue
            if self._answer(said) and not interactive:
                raise typer.Exit(130)

    def _begin(self) -> None:
        self.messages = system_message(self.asked)
        self.text = ""

    def _read(self, interactive: bool) -> str:
        prompt = "\n> " if interactive else ""
        line = line_of_input(prompt)
        if not line.startswith('"""'):
            return line
        lines = [line[3:]]
        while not lines[-1].endswith('"""'):
            lines.append(line_of_input("… " if interactive else ""))
        lines[-1] = lines[-1][:-3]
        return "\n".join(lines)

    def _command(self, said: str) -> bool:
        """Carry out a /command; True to leave."""
        name, _, argument = said.partition(" ")
        console = terminal.errors()
        if name in ("/exit", "/bye", "/quit"):
            return True
        if name == "/new":
            self._begin()
            console.print("A new conversation.", style="dim")
        elif name == "/stats" and self.last is not None:
            terminal.print_stats(self.last)
        elif name == "/draft" and argument:
            try:
                console.print(self.partner.set_draft(argument.strip()), markup=False)
            except ForedraftError as error:  # the draft is as it was
                console.print(str(error), style="yellow", markup=False)
        else:
            console.print(HELP, markup=False)
        return False

    def _answer(self, said: str) -> bool:
        """Write one answer and remember it; True when it was interrupted."""
        writer = terminal.AnswerWriter()
        interrupted = False
        try:
            turn = [*self.messages, {"role": "user", "content": said}]
            stream = self.partner.answer(turn, self.text + said)
            try:
                for piece in stream:
                    if not self.asked.as_json:
                        writer.write(piece)
            except KeyboardInterrupt:
                interrupted = True
            generation = stream.result
        except ForedraftError as error:
            # The conversation is kept as it was before this message.
            terminal.errors().print(f"Error: {error}", style="red", markup=False)
            return False
        self.last = generation
        self.messages = [*turn, {"role": "assistant", "content": generation.text}]
        self.text += said + generation.text
        if self.asked.as_json:
            print(json.dumps(generation.as_dict(), ensure_ascii=False), flush=True)
        else:
            writer.end()
            terminal.report(generation, writer, full=self.asked.stats or interrupted)
        return interrupted
