"""`foredraft chat`: a conversation on the terminal."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

import typer

from foredraft.cli import terminal
from foredraft.cli.loading import loaded
from foredraft.cli.options import Asked, asks
from foredraft.core.errors import ForedraftError

if TYPE_CHECKING:
    from foredraft.llm import LLM
    from foredraft.scheduling.answer import Generation

HELP = """Type a message and press Enter. \"\"\" begins and ends a message of several lines.
/new       begin a new conversation
/stats     statistics of the last answer
/draft D   change the draft: a file, a name, auto or off
/help      this list
/exit      leave (also Ctrl-D); Ctrl-C ends an answer"""


@asks()
def chat(asked: Asked) -> None:
    """Chat. The conversation is remembered until /new; only what is new of it is read again."""
    with loaded(asked) as (llm, _):
        Conversation(llm, asked).loop()


class Conversation:
    """The turns so far, and the loop that adds to them."""

    def __init__(self, llm: LLM, asked: Asked) -> None:
        self.llm = llm
        self.asked = asked
        self.messages: list[dict[str, str]] = []
        self.text = ""
        self.last: Generation | None = None
        self._begin()

    def loop(self) -> None:
        """Until /exit, the end of the input, or Ctrl-C while nothing is being written (exit code 130)."""
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
                raise typer.Exit(130) from None
            if not said.strip():
                continue
            if said.startswith("/") and interactive:
                if self._command(said.strip()):
                    return
                continue
            if self._answer(said) and not interactive:
                raise typer.Exit(130)

    def _begin(self) -> None:
        self.messages = [{"role": "system", "content": self.asked.system}] if self.asked.system else []
        self.text = ""

    def _read(self, interactive: bool) -> str:
        prompt = "\n> " if interactive else ""
        line = input(prompt)
        if not line.startswith('"""'):
            return line
        lines = [line[3:]]
        while not lines[-1].endswith('"""'):
            lines.append(input("… " if interactive else ""))
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
                self.llm.set_draft(argument.strip(), required=True)
            except ForedraftError as error:
                console.print(str(error), style="yellow", markup=False)
            console.print(f"speculation {self.llm.speculation.status}: {self.llm.speculation.reason}", markup=False)
        else:
            console.print(HELP, markup=False)
        return False

    def _answer(self, said: str) -> bool:
        """Write one answer and remember it; True when it was interrupted."""
        writer = terminal.AnswerWriter()
        interrupted = False
        try:
            turn = [*self.messages, {"role": "user", "content": said}]
            prompt = self.text + said if self.asked.raw else self.llm.render(turn)
            stream = self.llm.stream(self.asked.request(self.llm, prompt))
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
        self.text = prompt + generation.text
        if self.asked.as_json:
            print(json.dumps(generation.as_dict(), ensure_ascii=False), flush=True)
        else:
            writer.end()
            terminal.report(generation, writer, full=self.asked.stats or interrupted)
        return interrupted
