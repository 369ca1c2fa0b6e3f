"""The command line: one file a command, one line each in `COMMANDS`.

A command's module is imported when the command is asked for, and imports what is heavy (the engine, the server, the
user interface) inside its functions, so that `foredraft ls` starts fast. Every error is worded here, in one place.

Exit codes: 0 done, 1 it could not be done (the reason is on stderr), 2 a parameter was wrong, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from foredraft.cli import first, streams
from foredraft.core.errors import DownloadError, ForedraftError, ModelNotFoundError, ParameterError, SettingsError
from foredraft.core.reasons import Reason, as_reason, one_of
from foredraft.words import Words, words

COMMANDS: dict[str, str] = {
    "app": "foredraft.cli.app:app",
    "demo": "foredraft.cli.demo:demo",
    "run": "foredraft.cli.run:run",
    "chat": "foredraft.cli.chat:chat",
    "chats": "foredraft.cli.chats:chats",
    "verify": "foredraft.cli.verify:verify",
    "ls": "foredraft.cli.ls:ls",
    "show": "foredraft.cli.show:show",
    "pair": "foredraft.cli.pair:pair",
    "search": "foredraft.cli.search:search",
    "get": "foredraft.cli.get:get",
    "rm": "foredraft.cli.rm:rm",
    "import": "foredraft.cli.import_model:import_model",
    "serve": "foredraft.cli.serve:serve",
    "ps": "foredraft.cli.ps:ps",
    "load": "foredraft.cli.load:load",
    "unload": "foredraft.cli.unload:unload",
    "log": "foredraft.cli.log:log",
    "config": "foredraft.cli.config:config",
    "bench": "foredraft.cli.bench:bench",
    "tune": "foredraft.cli.tune:tune",
}
"""Command name to "module:attribute". The attribute is a function with Typer's annotations, or a `typer.Typer` with
commands of its own. The order is the order of `--help`."""

GROUPS: dict[str, tuple[str, ...]] = {
    "Answers": ("app", "demo", "run", "chat", "chats", "verify"),
    "Models": ("ls", "show", "pair", "search", "get", "rm", "import"),
    "Server": ("serve", "ps", "load", "unload", "log"),
    "Settings and measurements": ("config", "bench", "tune"),
}
"""How `--help` groups them."""

ALIASES: dict[str, str] = {"pull": "get", "list": "ls", "stop": "unload"}
"""Other names of commands; they work but are not listed."""

OWN_OPTIONS = ("--version", "-V", "--debug", "-h", "--help", "--install-completion", "--show-completion")
"""Options of the program itself. Any other before a command belongs to the app, which is what runs without one."""

PLAIN_ERROR, PARAMETER_ERROR = 1, 2
_USAGE: Any = typer.BadParameter.__mro__[1]
"""What a wrong command line raises; Typer has it, and gives it no name of its own."""


class LazyGroup(TyperGroup):
    """Imports a command's module only when that command (or the list of all) is wanted, and words every error."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        target = getattr(importlib.import_module(module), attribute)
        command: Any
        if isinstance(target, typer.Typer):
            command = typer.main.get_command(target)
        else:
            single = typer.Typer(add_completion=False)
            single.command(name)(target)
            command = typer.main.get_command(single)
        command.name = name
        command.rich_help_panel = next((group for group, names in GROUPS.items() if name in names), None)
        _unwrap(command)
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing and first.someone_is_there():
            args = first.choose()
        if args[:1] == ["version"]:
            args = ["--version", *args[1:]]
        elif args[:1] == ["help"]:  # `foredraft help run`
            args = [*args[1:2], "--help"]
        elif args[:1] == ["chat"]:
            args = _resume_last(args)
        # Without a command the app is meant: `foredraft`, `foredraft --no-browser`. Not while a shell completes.
        if ctx.resilient_parsing:
            pass
        elif not args or (args[0].startswith("-") and args[0] not in OWN_OPTIONS):
            args = ["app", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in ALIASES:
            args = [ALIASES[args[0]], *args[1:]]
        if args and not ctx.resilient_parsing and args[0] not in COMMANDS:
            raise UnknownCommandError(args[0])
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        # of bench it is a file that takes the figures, not the form of what is said
        as_json = "--json" in given and given[0] != "bench"
        streams.prepare()
        try:
            if as_json:
                return _in_json(super().main(args, *more, **{**extra, "standalone_mode": False}))
            return super().main(args, *more, **extra)
        except Exception as error:  # noqa: BLE001 - the last line of defence: one line instead of a traceback
            sys.exit(report_error(error, as_json=as_json, debug="--debug" in given))


def _unwrap(command: Any) -> None:
    """Help texts are docstrings: their lines are the source's, and a terminal has its own. The list of commands shows
    the first sentence."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    command.short_help = re.split(r"(?<=[.:])\s", command.help, maxsplit=1)[0].rstrip(".:")
    for inner in getattr(command, "commands", {}).values():
        _unwrap(inner)


def _resume_last(args: list[str]) -> list[str]:
    """`chat --resume` alone is the last chat: the only option whose value may be left out."""
    ends = (following.startswith("-") for following in [*args[1:], "-"])
    return ["--resume=last" if arg == "--resume" and end else arg for arg, end in zip(args, ends, strict=True)]


class UnknownCommandError(ParameterError):
    """There is no such command. `near` are those that look like it."""

    code = "command"

    def __init__(self, name: str) -> None:
        super().__init__("command", name, one_of(COMMANDS))
        known = (*COMMANDS, *ALIASES, "version", "help")
        self.near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        self.why = Reason("no_command", {"command": name})
        self.hint_why = Reason("did_you_mean", {"names": tuple(self.near)}) if self.near else Reason("hint_commands")
        self.message, self.hint = str(self.why), str(self.hint_why)

    def renamed(self, name: str) -> Reason:
        """It is named as it was typed."""
        assert self.why is not None
        return self.why


def _in_json(code: Any) -> None:
    """The end of a command whose errors are said as JSON; its exit code is what Typer returned."""
    sys.exit(code if isinstance(code, int) else 0)


def report_error(error: Exception, *, as_json: bool = False, debug: bool = False) -> int:
    """Say on stderr what went wrong (with `as_json`: on stdout, as `{"error": {...}}`) and return the exit code.

    Ctrl-C and a closed pipe do not come here: Typer ends them with 130 and 1.
    """
    if debug:
        traceback.print_exception(error)
    wrong = isinstance(error, (ParameterError, _USAGE)) or getattr(error, "code", "") == "grammar"
    wrong = wrong or (isinstance(error, SettingsError) and error.source == "flag")
    code, message, hint = _said(error, words("en") if as_json else _words())
    try:
        if as_json:
            said = {"code": code, "message": message, "hint": hint}
            if isinstance(error, DownloadError):
                said["reason"] = error.reason
            print(json.dumps({"error": said}, ensure_ascii=False), flush=True)
            return PARAMETER_ERROR if wrong else PLAIN_ERROR
    except OSError:  # nothing more goes to stdout (a full disk, say): it is said on stderr instead
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - outlives this function
    print(_words()("cli.error", message=message), file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
    return PARAMETER_ERROR if wrong else PLAIN_ERROR


def _words() -> Words:
    """The user's language, even where it is the settings that are wrong."""
    from foredraft.cli.words import of_system, t

    try:
        return t()
    except ForedraftError:
        return words(of_system())


def _said(error: Exception, t: Words) -> tuple[str, str, str]:
    """Code, message and hint of an error, in a language."""
    if isinstance(error, SettingsError) and error.source == "flag":
        what = error.what
        if isinstance(what, Reason) and what.code == "parameter":
            what = Reason(what.code, {**what.numbers, "name": _option(error.key)})
        return "parameter", t(as_reason(what)), error.worded(t)[1]
    if isinstance(error, ParameterError):
        return error.code, t(error.renamed(_option(error.name))), error.worded(t)[1]
    if isinstance(error, ForedraftError):
        message, hint = error.worded(t)
        return error.code, message, hint or _next_step(error, t)
    if isinstance(error, _USAGE):
        return "usage", error.format_message(), ""
    if isinstance(error, typer.Abort):
        return "aborted", t("cli.aborted"), ""
    if isinstance(error, OSError):
        return "system", str(error), ""
    return "unexpected", f"{type(error).__name__}: {error}", t("cli.debug_shows")


def _next_step(error: ForedraftError, t: Words) -> str:
    """What to do about an error that does not say so itself, in terms of commands."""
    if not isinstance(error, ModelNotFoundError):
        return ""
    if os.path.isdir(error.name):  # noqa: PTH112 - what was typed may be no path at all
        return t("cli.next_folder")
    return t("cli.next_models")


_OPTIONS = {"n_ctx": "context", "n_threads": "threads", "n_batch": "batch", "device": "draft-device"}
"""Parameters that the command line knows by other names."""


def _option(name: str) -> str:
    """The option for a parameter, where there is one."""
    from foredraft.cli.options import GenerateOptions, declared_options

    own = name.rpartition(".")[2]
    known = {field.name for field in dataclasses.fields(GenerateOptions)} | {"host", "port", "isolation", "token"}
    if own in declared_options():
        return declared_options()[own].options[0].partition("/")[0]
    if own in _OPTIONS:
        return f"--{_OPTIONS[own]}"
    return f"--{own.replace('_', '-')}" if own in known else name


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"foredraft {version('foredraft')} (llama-cpp-python {version('llama-cpp-python')})")
        except PackageNotFoundError:
            print("foredraft (not installed: run from its source)")
        raise typer.Exit


app = typer.Typer(
    name="foredraft",
    cls=LazyGroup,
    help="Lossless speculative decoding for language models on your own machine: same text, less time.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def foredraft(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error happened.")] = False,
) -> None:
    """Options of the program itself; without a command it shows the first steps."""
    del version, debug
    from foredraft.config.folders import mend

    for problem in mend():
        print(f"Warning: {problem}", file=sys.stderr)
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
        from foredraft.cli.ls import print_first_steps
        from foredraft.cli.models import shelf

        if not any(model.usable and model.source != "embedded" for model in shelf().models()):
            print_first_steps()
