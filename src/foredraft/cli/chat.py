"""`foredraft chat`: a conversation on the terminal."""

from __future__ import annotations

import contextlib
import difflib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli import terminal
from foredraft.cli.conversations import load, names, remembered_lines, save
from foredraft.cli.history import HistoryError, Kept, chat_named, history, messages_of
from foredraft.cli.options import GenerateOptions, generate_options, system_message
from foredraft.cli.partners import Message, Partner, partner, usable_models
from foredraft.cli.streams import line_of_input
from foredraft.cli.words import t
from foredraft.core.declared import declared
from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.params import SamplingParams, SpeculationParams
from foredraft.core.reasons import Reason, as_reason, one_of, sentences

if TYPE_CHECKING:
    from foredraft.cli.told import Told
    from foredraft.formats.token_parser import Placed
    from foredraft.scheduling.request import Generation

_NUMBERS = [
    one for of in (SamplingParams, SpeculationParams) for one in declared(of).values() if one.kind in (int, float)
]
SETTABLE: dict[str, Callable[[str], float | int]] = {**{one.name: one.kind for one in _NUMBERS}, "max_tokens": int}
"""What /set changes."""
MAY_BE_NONE = ("max_tokens", *(one.name for one in _NUMBERS if one.optional))


@generate_options()
def chat(
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="[ID]", help="Go on with a chat of `foredraft chats`; alone: the last one."),
    ] = None,
    save_it: Annotated[
        bool, typer.Option("--save/--no-save", help="Keep the chat, where the app shows it too (not with --raw).")
    ] = True,
    *,
    asked: GenerateOptions,
) -> None:
    """Chat, with the running server's model where there is one. The conversation is remembered until /new; only what is
    new of it is read again."""
    from foredraft.cli.told import say_what_is_left_out

    say_what_is_left_out(asked)
    with contextlib.ExitStack() as open_:
        kept, messages = None, []
        if resume is not None:
            if asked.raw or not save_it:
                raise ParameterError("resume", resume, "left out with --raw and --no-save")
            store = open_.enter_context(history())
            found = chat_named(store, resume)
            kept, messages = Kept(store, found), messages_of(store, found)
            asked = replace(asked, system=found.system_prompt or None)
        elif save_it and not asked.raw:
            kept = _kept(open_)
        talk = Conversation(open_.enter_context(partner(asked)), asked, kept)
        if messages:
            talk.go_on_with(messages)
        talk.loop()


def _kept(open_: contextlib.ExitStack) -> Kept | None:
    """The chat history; without one the conversation goes on, and that is said."""
    try:
        return Kept(open_.enter_context(history()))
    except HistoryError as error:
        terminal.errors().print(t()("cli.chat.unkept", why=_why(error)), style="yellow", markup=False)
        return None


def _why(error: Exception) -> Reason:
    """An error with its hint."""
    if isinstance(error, ForedraftError):
        return sentences(error.reason_or_words, error.hint_why)
    return as_reason(str(error))


class Conversation:
    """The turns so far, and the loop that adds to them."""

    def __init__(self, partner: Partner, asked: GenerateOptions, kept: Kept | None = None) -> None:
        self.partner = partner
        self.asked = asked
        self.kept = kept
        self.messages: list[Message] = []
        self.text = ""
        self.last: Generation | None = None
        self._begin()

    def go_on_with(self, messages: Sequence[Message]) -> None:
        """Messages of an earlier chat, as if they had been said here."""
        self.messages = list(messages)
        said = [message for message in messages if message["role"] == "user"]
        words, n = t(), len(self.messages)
        last = said[-1]["content"][:200] if said else ""
        self._say(words("cli.chat.messages_last", n=n, text=last) if said else words("cli.chat.messages", n=n))

    def loop(self) -> None:
        """Until /exit or the end of the input. Ctrl-C ends an answer, or gives up the line that is being typed; where
        nobody types, it ends the program (exit code 130)."""
        interactive = sys.stdin.isatty()
        if not interactive:
            self._turns(interactive)
            return
        with remembered_lines():
            terminal.errors().print(t()("cli.chat.begin"), style="dim")
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
                terminal.errors().print("\n" + t()("cli.chat.leave"), style="dim", markup=False)
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
            "/model": self._model,
            "/draft": self._draft,
            "/regen": self._regenerate,
            "/save": self._save,
            "/load": self._load,
            "/chats": self._chats,
            "/stats": self._stats,
            "/help": lambda _: console.print(t()("cli.chat.help"), markup=False),
        }
        carry_out = commands.get(name)
        if carry_out is None:
            near = difflib.get_close_matches(name, commands, n=1)
            meant = Reason("did_you_mean", {"names": tuple(near)}) if near else None
            unknown = sentences(Reason("no_command", {"command": name}), meant, Reason("hint_chat_commands"))
            console.print(t()(unknown), style="yellow", markup=False)
            return False
        try:
            carry_out(argument)
        except ForedraftError as error:  # everything is as it was
            console.print(t()(_why(error)), style="yellow", markup=False)
        return False

    def _say(self, words: str) -> None:
        terminal.errors().print(words, style="dim", markup=False)

    def _new(self, _: str) -> None:
        self._begin()
        if self.kept is not None:
            self.kept.begin()
        self._say(t()("cli.chat.new"))

    def _system(self, text: str) -> None:
        if not text:
            self._say(self.asked.system or t()("cli.chat.no_system"))
            return
        self._change(replace(self.asked, system=text))
        turns = [message for message in self.messages if message["role"] != "system"]
        self.messages = [*system_message(self.asked), *turns]
        if self.kept is not None:
            self.kept.set_system(text)
        self._say(t()("cli.chat.system_set"))

    def _set(self, argument: str) -> None:
        name, _, value = argument.partition(" ")
        if not name:
            self._say(", ".join(f"{known} {getattr(self.asked, known)}" for known in SETTABLE))
            return
        known = name.replace("-", "_")
        if known not in SETTABLE:
            raise ParameterError("name", name, one_of(SETTABLE))
        try:
            given: Any = None if value in ("", "none", "auto") and known in MAY_BE_NONE else SETTABLE[known](value)
        except ValueError:
            raise ParameterError(known, value, Reason("allowed_number_any")) from None
        changed = replace(self.asked, **{known: given})
        changed.check()
        self._change(changed)
        self._say(t()("cli.chat.set", name=known, value=str(given)))

    def _model(self, name: str) -> None:
        if not name:
            self._say(t()("cli.chat.models", model=self.partner.names[0], names=tuple(usable_models())))
            return
        self._say(self.partner.set_model(name))

    def _draft(self, draft: str) -> None:
        if not draft:
            raise ParameterError("draft", draft, Reason("allowed_draft"))
        self._say(self.partner.set_draft(draft))

    def _regenerate(self, _: str) -> None:
        if len(self.messages) < 2 or self.messages[-1]["role"] != "assistant":
            raise ForedraftError(Reason("no_answer_yet"))
        if self.asked.raw:
            raise ForedraftError(Reason("raw_goes_on"))
        kept = self.messages
        *before, asked, _answer = kept
        self.messages = before
        if self.asked.seed is not None:
            self._say(t()("cli.chat.same_seed", seed=self.asked.seed))
        self._answer(asked["content"], again=True)
        if self.messages is before:  # it failed, and that was said
            self.messages = kept

    def _save(self, name: str) -> None:
        self._say(t()("cli.chat.kept", path=str(save(name, self.messages))))

    def _load(self, name: str) -> None:
        self.messages = load(name)
        system = next((message["content"] for message in self.messages if message["role"] == "system"), None)
        self._change(replace(self.asked, system=system))
        if self.kept is not None:
            self.kept.begin(self.messages)
        self._say(t()("cli.chat.loaded", name=name, n=len(self.messages)))

    def _chats(self, _: str) -> None:
        self._say("\n".join(names()) or t()("cli.chat.none_saved"))
        if self.kept is not None:
            self._say(t()("cli.chat.all_kept"))

    def _stats(self, _: str) -> None:
        if self.last is None:
            raise ForedraftError(Reason("no_answer_yet"))
        terminal.print_stats(self.last)

    def _change(self, asked: GenerateOptions) -> None:
        self.asked = asked
        self.partner.set_asked(asked)

    def _answer(self, said: str, *, again: bool = False) -> bool:
        """Write one answer and remember it; True when it was interrupted."""
        from foredraft.cli.told import as_dict, as_message

        writer = terminal.AnswerWriter()
        interrupted = False
        seen: list[Placed] = []
        try:
            turn = [*self.messages, {"role": "user", "content": said}]
            told = self.partner.answer(turn, self.text + said)
            try:
                for placed in told:
                    seen.append(placed)
                    if not self.asked.as_json:
                        writer.write(placed)
            except KeyboardInterrupt:
                interrupted = True
            generation = told.result
        except ForedraftError as error:
            # The conversation is kept as it was before this message.
            terminal.errors().print(t()("cli.error", message=t()(_why(error))), style="red", markup=False)
            return False
        before, self.last = self.last, generation
        self.messages = [*turn, as_message(told)]
        self.text += said + generation.text
        self._keep(said, told, generation, seen, again=again)
        if self.asked.as_json:
            print(json.dumps(as_dict(told, generation), ensure_ascii=False), flush=True)
        else:
            writer.end()
            known = before.speculation if before is not None else None
            terminal.report(generation, writer, full=self.asked.stats or interrupted, before=known)
        return interrupted

    def _keep(self, said: str, told: Told, generation: Generation, seen: Sequence[Placed], *, again: bool) -> None:
        """Write the turn down. A history that cannot be written is said once, and the conversation goes on."""
        if self.kept is None:
            return
        try:
            if again:
                self.kept.again(told, generation, seen, self.partner.names)
            else:
                self.kept.turn(said, told, generation, seen, self.partner.names, self.asked)
        except HistoryError as error:
            self.kept = None
            terminal.errors().print(t()("cli.chat.unkept", why=_why(error)), style="yellow", markup=False)
