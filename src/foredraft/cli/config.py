"""`foredraft config`: what is set, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from foredraft.cli.models import Json
from foredraft.cli.tables import print_table

config = typer.Typer(help="Show the settings and where each value comes from.", no_args_is_help=True)


@config.command("show")
def show(json_output: Json = False) -> None:
    """Show every setting, its value, and where it was set."""
    from foredraft.settings import resolve

    resolved = resolve()
    if json_output:
        values = {
            key: {"value": _plain(entry.value), "source": entry.source} for key, entry in resolved.origins.items()
        }
        print(json.dumps({"file": str(resolved.file), "settings": values}, ensure_ascii=False, indent=2))
        return
    rows = [(key, _words(entry.value), entry.source) for key, entry in resolved.origins.items()]
    print_table(("SETTING", "VALUE", "FROM"), rows)


@config.command("path")
def path() -> None:
    """Print the path of the settings file."""
    from foredraft.settings import config_file

    print(config_file())


@config.command("init")
def init() -> None:
    """Write a settings file with every setting in it, commented out, unless there is one."""
    from foredraft.core.errors import ForedraftError
    from foredraft.settings import config_file, template

    file = config_file()
    if file.exists():
        raise ForedraftError(f"{file} is there already.", hint="Edit it, or move it away first.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(template(), encoding="utf-8")
    print(file)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) or hasattr(value, "get_secret_value") else value


def _words(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)
