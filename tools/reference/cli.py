"""docs/reference/cli.md: every command and option, by Typer's own generator of such pages."""

from __future__ import annotations

from typing import Any

import typer.cli
from typer.main import get_command

from foredraft.cli.main import app

INTRODUCTION = """# Command line

Every command and option, as `--help` says them. What they are for is in the [guides](../index.md). Exit codes: 0 done,
1 it could not be done (the reason is on stderr), 2 a parameter was wrong, 130 interrupted.

"""


def page() -> str:
    command = get_command(app)
    context: Any = command.make_context("foredraft", [], resilient_parsing=True)
    made = typer.cli.get_docs_for_click(obj=command, ctx=context, name="foredraft")
    _, _, body = made.partition("\n")  # its title is ours
    return INTRODUCTION + body.strip() + "\n"
