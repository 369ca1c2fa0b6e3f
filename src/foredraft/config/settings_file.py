"""Changing `config.toml`: one value at a time, with everything else in it (comments, order) as it was.

What would not be a right file is never written: the new text is checked as a whole first.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from foredraft.config.settings import check_text, config_file, split_key
from foredraft.core import files
from foredraft.core.errors import SettingsError
from foredraft.core.reasons import Reason


def set_value(key: str, words: Sequence[str]) -> Any:
    """Set a dotted key (`load.context`, `model."its name".draft`) to what was typed: a TOML value where it reads as one
    (4096, true, ["a"]), else a text; several words are a list. Returns the value. Raises `SettingsError`."""
    value = _value(words[0]) if len(words) == 1 else [_value(word) for word in words]
    file, document = _document()
    *parents, last = _parts(key)
    table: Any = document
    for parent in parents:
        if parent not in table:
            table[parent] = tomlkit.table(is_super_table=parent == "model" and table is document)
        table = table[parent]
        if not isinstance(table, (Table, dict)):
            raise SettingsError(key, str(file), 0, Reason("no_table", {"name": parent}))
    table[last] = value
    try:
        _write(file, document.as_string())
    except SettingsError:
        if isinstance(value, str) or len(words) > 1:
            raise
        table[last] = words[0]  # a text that looks like something else: a key of digits, say
        try:
            _write(file, document.as_string())
        except SettingsError:
            table[last] = value
            _write(file, document.as_string())  # raises with the value as it was meant
        value = words[0]
    return value


def unset(key: str) -> bool:
    """Take a key out of the file; whether it was in it."""
    file, document = _document()
    *parents, last = _parts(key)
    table: Any = document
    for parent in parents:
        table = table.get(parent) if isinstance(table, dict) else None
    if not isinstance(table, dict) or last not in table:
        return False
    del table[last]
    _write(file, document.as_string())
    return True


def _document() -> tuple[Path, tomlkit.TOMLDocument]:
    file = config_file()
    try:
        return file, tomlkit.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return file, tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise SettingsError("", str(file), 0, Reason("unreadable_file", {"error": str(error)})) from error


def _parts(key: str) -> list[str]:
    parts = split_key(key)
    if len(parts) < 2:
        raise SettingsError(key, "flag", 0, Reason("no_setting", {"name": key}), hint=Reason("hint_config_list"))
    return parts


def _value(word: str) -> Any:
    try:
        return tomllib.loads(f"value = {word}")["value"]
    except tomllib.TOMLDecodeError:
        return word


def _write(file: Path, text: str) -> None:
    """Under its name only when it is right, and whole: a crash leaves the old file or the new one."""
    check_text(file, text)
    file = file.resolve()  # a link stays one: people keep such files elsewhere
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=file.parent, prefix=".config-", suffix=".toml")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(OSError):
            Path(partial).chmod(file.stat().st_mode & 0o777)
        files.replace(Path(partial), file)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
