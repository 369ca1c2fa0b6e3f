"""`foredraft config`: what is set, and where each value comes from."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli.models import Json
from foredraft.cli.tables import print_table
from foredraft.cli.words import t
from foredraft.core.reasons import Reason

if TYPE_CHECKING:
    from foredraft.config.settings import Sourced

config = typer.Typer(help="Show and change the settings.", no_args_is_help=True)


@config.command("list")
@config.command("show")
def show(json_output: Json = False) -> None:
    """Show every setting, its value, and where it was set."""
    from foredraft.config.settings import resolve

    resolved = resolve()
    if json_output:
        values = {
            key: {"value": _plain(entry.value), "source": entry.source} for key, entry in resolved.origins.items()
        }
        print(json.dumps({"file": str(resolved.file), "settings": values}, ensure_ascii=False, indent=2))
        return
    rows = [(key, _words(entry.value), entry.source) for key, entry in resolved.origins.items()]
    print_table([t()(f"cli.config.{name}") for name in ("setting", "value", "from")], rows)


def complete_key(incomplete: str) -> list[str]:
    """Settings that begin with what was typed."""
    from foredraft.config.settings import Settings, resolve

    try:
        keys = list(resolve().origins)
    except Exception:  # noqa: BLE001 - a completion must never print an error into the user's prompt
        keys = list(Settings.model_fields)
    return [key for key in keys if key.startswith(incomplete)]


Key = Annotated[str, typer.Argument(help="A setting, such as load.context.", autocompletion=complete_key)]


@config.command("get")
def get(key: Key, json_output: Json = False) -> None:
    """Print the value of one setting that is in force."""
    entry = _entry(key)
    print(json.dumps(_plain(entry.value), ensure_ascii=False) if json_output else _words(entry.value))


@config.command("set", context_settings={"ignore_unknown_options": True})  # a value may be -1
def set_(key: Key, value: Annotated[list[str], typer.Argument(help="Its value; several words make a list.")]) -> None:
    """Set a value in the settings file; whatever else is in it stays as it is."""
    from foredraft.config.settings import config_file
    from foredraft.config.settings_file import set_value

    written = set_value(key, value)
    secret = key.endswith("api_key")
    file = str(config_file())
    if secret:
        print(t()("cli.config.set_secret", key=key, file=file))
    else:
        print(t()("cli.config.set", key=key, value=_words(written), file=file))
    if not key.startswith("model."):
        entry = _entry(key)
        if entry.source.startswith("FOREDRAFT_"):
            print(t()("cli.config.stronger", name=entry.source, value=_words(entry.value)), file=sys.stderr)


@config.command("unset")
def unset(key: Key) -> None:
    """Take a value out of the settings file."""
    from foredraft.config.settings_file import unset as take_out

    print(t()("cli.config.unset" if take_out(key) else "cli.config.not_in_file", key=key))


@config.command("edit")
def edit() -> None:
    """Open the settings file in your editor ($VISUAL, $EDITOR), and check it afterwards."""
    from foredraft.config.settings import config_file, load_settings

    file = config_file()
    if not file.exists():
        init()
    _edit(file)
    load_settings()


@config.command("path")
def path() -> None:
    """Print the path of the settings file."""
    from foredraft.config.settings import config_file

    print(config_file())


@config.command("init")
def init() -> None:
    """Write a settings file with every setting in it, commented out, unless there is one."""
    from foredraft.config.settings import config_file, template
    from foredraft.core.errors import ForedraftError

    file = config_file()
    if file.exists():
        raise ForedraftError(Reason("there_already", {"path": str(file)}), hint=Reason("hint_edit_it"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(template(), encoding="utf-8")
    print(file)


def _entry(key: str) -> Sourced:
    """The setting in force. Raises `SettingsError` with the nearest names."""
    from foredraft.config.settings import resolve
    from foredraft.core.errors import SettingsError

    known = resolve().origins
    if key not in known:
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        hint = Reason("did_you_mean", {"names": tuple(near)}) if near else Reason("hint_config_list")
        raise SettingsError(key, "flag", 0, Reason("no_setting", {"name": key}), hint=hint)
    return known[key]


def _edit(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    subprocess.run([*shlex.split(editor, posix=os.name != "nt"), str(file)], check=False)  # noqa: S603 - the user's own


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) or hasattr(value, "get_secret_value") else value


def _words(value: Any) -> str:
    if value is None:
        return t()("cli.config.not_set")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or t()("reason.none")
    return str(value)
