"""The few settings that the shelf needs, read without loading the typed model of all settings.

`foredraft ls` and the completion of names must be quick, and the typed model takes a fifth of a second to import.
Whatever is not plainly right here is left to `settings.py`, which knows the words for it; a test holds both to the same
answers.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foredraft.config.folders import config_folder, data_folder
from foredraft.words import AUTO, languages

_SWITCHES = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

_PROGRAMS = ("huggingface", "lmstudio", "ollama", "llama_cpp")
"""Other programs, whose models are read in place."""


@dataclass(frozen=True, slots=True)
class ShelfSettings:
    """Where models lie, and the language of the words about them."""

    directory: Path
    folders: tuple[Path, ...] = ()
    huggingface: bool = True
    lmstudio: bool = True
    ollama: bool = True
    llama_cpp: bool = True
    language: str = AUTO


def shelf_settings() -> ShelfSettings:
    """The settings of the shelf. Raises `SettingsError` for a wrong one of them; other settings are not looked at."""
    quick = _quick()
    if quick is not None:
        return quick
    from foredraft.config.settings import load_settings

    settings = load_settings()
    return ShelfSettings(
        settings.models.directory,
        tuple(settings.models.folders),
        settings.models.huggingface,
        settings.models.lmstudio,
        settings.models.ollama,
        settings.models.llama_cpp,
        settings.interface.language,
    )


def _quick() -> ShelfSettings | None:
    """The settings, or None where anything needs a closer look."""
    named = os.environ.get("FOREDRAFT_CONFIG", "")
    file = Path(named).expanduser() if named else config_folder() / "config.toml"
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            return None
        written = {}
    except (OSError, ValueError):
        return None
    models, interface = written.get("models", {}), written.get("interface", {})
    if not isinstance(models, dict) or not isinstance(interface, dict):
        return None
    if models.keys() - {"directory", "folders", *_PROGRAMS} or interface.keys() - {"language"}:
        return None
    values: dict[str, Any] = {**models, **interface}
    for name, value in os.environ.items():
        upper = name.upper()
        if upper.startswith("FOREDRAFT_MODELS__"):
            key = upper.removeprefix("FOREDRAFT_MODELS__").lower()
        elif upper == "FOREDRAFT_INTERFACE__LANGUAGE":
            key = "language"
        elif upper in ("FOREDRAFT_MODELS", "FOREDRAFT_INTERFACE"):
            return None
        else:
            continue
        values[key] = _SWITCHES.get(value.lower()) if key in _PROGRAMS else value
        if key == "folders":
            values[key] = [folder for folder in value.split(os.pathsep) if folder]
    directory, folders = values.get("directory"), values.get("folders", [])
    switches = [values.get(program, True) for program in _PROGRAMS]
    language = values.get("language", AUTO)
    if not isinstance(directory, str | None) or not isinstance(folders, list) or language not in (AUTO, *languages()):
        return None
    if not all(isinstance(folder, str) for folder in folders) or not all(isinstance(on, bool) for on in switches):
        return None
    own = Path(directory).expanduser() if directory is not None else data_folder() / "models"
    programs = dict(zip(_PROGRAMS, switches, strict=True))
    return ShelfSettings(own, tuple(Path(folder).expanduser() for folder in folders), language=language, **programs)
