"""The command line: one file a command, one line each in `COMMANDS`.

A command's module is imported when the command is asked for, and imports what is heavy (the engine, the server, the
user interface) inside its functions, so that `foredraft ls` starts fast. Every error is worded here, in one place.

Exit codes: 0 done, 1 it could not be done (the reason is on stderr), 2 a parameter was wrong, 130 interrupted.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from foredraft.core.errors import ForedraftError, ParameterError

COMMANDS: dict[str, str] = {
    "app": "foredraft.cli.app:app",
    "run": "foredraft.cli.run:run",
    "chat": "foredraft.cli.chat:chat",
    "verify": "foredraft.cli.verify:verify",
    "ls": "foredraft.cli.ls:ls",
    "show": "foredraft.cli.show:show",
    "pair": "foredraft.cli.pair:pair",
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

ALIASES: dict[str, str] = {"pull": "get"}
"""Other names of commands; they work but are not listed."""

OWN_OPTIONS = ("--version", "--debug", "-h", "--help", "--install-completion", "--show-completion")
"""Options of the program itself. Any other before a command belongs to the app, which is what runs without one."""

PLAIN_ERROR, PARAMETER_ERROR = 1, 2


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
        if isinstance(target, typer.Typer):
            command = typer.main.get_command(target)
        else:
            single = typer.Typer(add_completion=False)
            single.command(name)(target)
            command = typer.main.get_command(single)
        command.name = name
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Without a command the app is meant: `foredraft`, `foredraft --no-browser`.
        if not args or (args[0].startswith("-") and args[0] not in OWN_OPTIONS):
            args = ["app", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in ALIASES:
            args = [ALIASES[args[0]], *args[1:]]
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        try:
            return super().main(args, *more, **extra)
        except Exception as error:  # noqa: BLE001 - the last line of defence: one line instead of a traceback
            # of bench it is a file that takes the figures, not the form of what is said
            as_json = "--json" in words and "bench" not in words[: words.index("--json")]
            sys.exit(report_error(error, as_json=as_json, debug="--debug" in words))


def report_error(error: Exception, *, as_json: bool = False, debug: bool = False) -> int:
    """Say on stderr what went wrong (with `as_json`: on stdout, as `{"error": {...}}`) and return the exit code.

    Ctrl-C and a closed pipe do not come here: Typer ends them with 130 and 1.
    """
    if debug:
        traceback.print_exception(error)
    code, message, hint = "unexpected", f"{type(error).__name__}: {error}", "`foredraft --debug …` shows where."
    if isinstance(error, ForedraftError):
        code, message, hint = error.code, error.message, error.hint
    elif isinstance(error, OSError):
        code, message, hint = "system", str(error), ""
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message, "hint": hint}}, ensure_ascii=False))
    else:
        print(f"Error: {message}", file=sys.stderr)
        if hint:
            print(hint, file=sys.stderr)
    return PARAMETER_ERROR if isinstance(error, ParameterError) else PLAIN_ERROR


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"foredraft {version('foredraft')}")
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
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error happened.")] = False,
) -> None:
    """Options of the program itself; without a command it shows the first steps."""
    del version, debug
    from foredraft.folders import mend

    for problem in mend():
        print(f"Warning: {problem}", file=sys.stderr)
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
        from foredraft.cli.ls import print_first_steps
        from foredraft.cli.models import shelf

        if not any(model.usable and model.source != "embedded" for model in shelf().models()):
            print_first_steps()
