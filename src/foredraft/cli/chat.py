"""`foredraft chat`: a conversation on the terminal."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import typer

from foredraft.cli import terminal
from foredraft.cli.conversations import load, names, remembered_lines, save
from foredraft.cli.loading import loaded
from foredraft.cli.options import Asked, asks, system_message
from foredraft.cli.remote import Served, served
from foredraft.cli.streams import line_of_input
from foredraft.core.errors import ForedraftError, ParameterError

if TYPE_CHECKING:
    from foredraft.cli.told import Told
    from foredraft.pair.llm import LLM
    from foredraft.scheduling.request import Generation

HELP = """Type a message and press Enter. \"\"\" begins and ends a message of several lines.
/new            begin a new conversation
/system TEXT    change what the conversation begins with; without a text: show it
/set NAME VALUE change temperature, seed, top_k, top_p, min_p, repeat_penalty, max_tokens, max_draft …; alone: show them
/draft D        change the draft: a file, a name, auto or off
/regen          answer the last message once more
/save NAME      keep this conversation; /load NAME goes on with a kept one; /chats lists them
/stats          statistics of the last answer
/help           this list
/exit           leave (also Ctrl-D); Ctrl-C ends an answer, or clears the line"""

SETTABLE: dict[str, Callable[[str], float | int]] = {
    **dict.fromkeys(
        ("temperature", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty"), float
    ),
    **dict.fromkeys(("seed", "top_k", "max_tokens", "max_draft"), int),
}
"""What /set changes."""
MAY_BE_NONE = ("seed", "max_tokens", "max_draft")


@asks()
def chat(asked: Asked) -> None:
    """Chat, with the running server's model where there is one. The conversation is remembered until /new; only what is
    new of it is read again."""
    from foredraft.cli.told import say_what_is_left_out

    say_what_is_left_out(asked)
    server = served(asked)
    if server is not None:
        with server.ready():
            Conversation(AtServer(server, asked), asked).loop()
        return
    with loaded(asked) as (llm, _):
        Conversation(Here(llm, asked), asked).loop()


class Partner(Protocol):
    """Who answers."""

    def answer(self, turn: list[dict[str, str]], text: str) -> Told:
        """Begin to answer a conversation; with --raw, to continue the text."""

    def set_draft(self, draft: str) -> str:
        """Change the draft; what it does then, in words. Raises `ForedraftError` for one that does not fit."""

    def set_asked(self, asked: Asked) -> None:
        """Answer with other settings from now on."""


class Here:
    """A pair that this program has loaded."""

    def __init__(self, llm: LLM, asked: Asked) -> None:
        self._llm = llm
        self._asked = asked

    def answer(self, turn: list[dict[str, str]], text: str) -> Told:
        from foredraft.cli.told import begin_here

        return begin_here(self._llm, text if self._asked.raw else turn, self._asked)

    def set_asked(self, asked: Asked) -> None:
        self._asked = asked

    def set_draft(self, draft: str) -> str:
        self._llm.set_draft(draft, required=True)
        return f"speculation {self._llm.speculation.status}: {self._llm.speculation.reason}"


class AtServer:
    """The model of the running server. It is shared: a change of draft is one for everybody, but for "off"."""

    def __init__(self, server: Served, asked: Asked) -> None:
        self._server = server
        self._asked = asked

    def answer(self, turn: list[dict[str, str]], text: str) -> Told:
        from foredraft.cli.told import ToldByServer

        if self._asked.raw:
            return ToldByServer(self._server.go_on(text, self._asked))
        return ToldByServer(self._server.answer(turn, self._asked))

    def set_asked(self, asked: Asked) -> None:
        self._asked = replace(asked, draft=self._asked.draft)

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
        if not interactive:
            self._turns(interactive)
            return
        with remembered_lines():
            terminal.errors().print("Chat. /help lists the commands.", style="dim")
            self._turns(interactive)

    def _turns(self, interactive: bool) -> None:
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
        argument, console = argument.strip(), terminal.errors()
        if name in ("/exit", "/bye", "/quit"):
            return True
        commands: dict[str, Callable[[str], None]] = {
            "/new": self._new,
            "/system": self._system,
            "/set": self._set,
            "/draft": self._draft,
            "/regen": self._regenerate,
            "/save": self._save,
            "/load": self._load,
            "/chats": self._chats,
            "/stats": self._stats,
            "/help": lambda _: console.print(HELP, markup=False),
        }
        carry_out = commands.get(name)
        if carry_out is None:
            near = difflib.get_close_matches(name, commands, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            console.print(f"There is no command {name}.{meant} /help lists them.", style="yellow", markup=False)
            return False
        try:
            carry_out(argument)
        except ForedraftError as error:  # everything is as it was
            console.print(str(error), style="yellow", markup=False)
        return False

    def _say(self, words: str) -> None:
        terminal.errors().print(words, style="dim", markup=False)

    def _new(self, _: str) -> None:
        self._begin()
        self._say("A new conversation.")

    def _system(self, text: str) -> None:
        if not text:
            self._say(self.asked.system or "No system prompt.")
            return
        self._change(replace(self.asked, system=text))
        turns = [message for message in self.messages if message["role"] != "system"]
        self.messages = [*system_message(self.asked), *turns]
        self._say("Said. The next answer follows it.")

    def _set(self, argument: str) -> None:
        name, _, value = argument.partition(" ")
        if not name:
            self._say(", ".join(f"{known} {getattr(self.asked, known)}" for known in SETTABLE))
            return
        known = name.replace("-", "_")
        if known not in SETTABLE:
            raise ParameterError("name", name, f"one of {', '.join(SETTABLE)}")
        try:
            given: Any = None if value in ("", "none", "auto") and known in MAY_BE_NONE else SETTABLE[known](value)
        except ValueError:
            raise ParameterError(known, value, "a number") from None
        changed = replace(self.asked, **{known: given})
        changed.check()
        self._change(changed)
        self._say(f"{known} is {given} from now on.")

    def _draft(self, draft: str) -> None:
        if not draft:
            raise ParameterError("draft", draft, "a file, a name, auto or off")
        self._say(self.partner.set_draft(draft))

    def _regenerate(self, _: str) -> None:
        if len(self.messages) < 2 or self.messages[-1]["role"] != "assistant":
            raise ForedraftError("There is no answer yet.")
        if self.asked.raw:
            raise ForedraftError("With --raw the text goes on: there is no message to answer once more.")
        kept = self.messages
        *before, asked, _answer = kept
        self.messages = before
        if self.asked.seed is not None:
            self._say(f"The seed is {self.asked.seed}: the same text comes again. /set seed none takes a fresh one.")
        self._answer(asked["content"])
        if self.messages is before:  # it failed, and that was said
            self.messages = kept

    def _save(self, name: str) -> None:
        self._say(f"Kept: {save(name, self.messages)}")

    def _load(self, name: str) -> None:
        self.messages = load(name)
        system = next((message["content"] for message in self.messages if message["role"] == "system"), None)
        self._change(replace(self.asked, system=system))
        self._say(f"{name}: {len(self.messages)} messages. Go on.")

    def _chats(self, _: str) -> None:
        self._say("\n".join(names()) or "None is kept. /save NAME keeps this one.")

    def _stats(self, _: str) -> None:
        if self.last is None:
            raise ForedraftError("There is no answer yet.")
        terminal.print_stats(self.last)

    def _change(self, asked: Asked) -> None:
        self.asked = asked
        self.partner.set_asked(asked)

    def _answer(self, said: str) -> bool:
        """Write one answer and remember it; True when it was interrupted."""
        from foredraft.cli.told import as_dict, as_message

        writer = terminal.AnswerWriter()
        interrupted = False
        try:
            turn = [*self.messages, {"role": "user", "content": said}]
            told = self.partner.answer(turn, self.text + said)
            try:
                for placed in told:
                    if not self.asked.as_json:
                        writer.write(placed)
            except KeyboardInterrupt:
                interrupted = True
            generation = told.result
        except ForedraftError as error:
            # The conversation is kept as it was before this message.
            terminal.errors().print(f"Error: {error}", style="red", markup=False)
            return False
        before, self.last = self.last, generation
        self.messages = [*turn, as_message(told)]
        self.text += said + generation.text
        if self.asked.as_json:
            print(json.dumps(as_dict(told, generation), ensure_ascii=False), flush=True)
        else:
            writer.end()
            known = before.speculation if before is not None else None
            terminal.report(generation, writer, full=self.asked.stats or interrupted, before=known)
        return interrupted
