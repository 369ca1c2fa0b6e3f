"""Settings: defaults < `config.toml` < environment (`FOREDRAFT_LOAD__CONTEXT=8192`) < flags.

One typed model for all of them, so that a wrong key or value is found where it was written and answered with what is
allowed there. `resolve` also tells of each value where it comes from.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import EnvSettingsSource

from foredraft.config.folders import config_folder, data_folder
from foredraft.config.sections import fields_of, key_of
from foredraft.core.declared import declared
from foredraft.core.errors import SettingsError
from foredraft.core.reasons import Numbers, Reason, as_reason, one_of, sentences
from foredraft.words import AUTO, languages

PREFIX, DELIMITER = "FOREDRAFT_", "__"
_SECRET = frozenset({"api_key"})


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelsSection(_Section):
    """Where models lie."""

    directory: Path = Field(default_factory=lambda: data_folder() / "models", description="Own folder, for downloads.")
    folders: Annotated[list[Path], NoDecode] = Field(default=[], description="Further folders, read in place.")
    huggingface: bool = Field(default=True, description="Look into the Hugging Face cache.")
    lmstudio: bool = Field(default=True, description="Look into LM Studio's folder.")
    ollama: bool = Field(default=True, description="Look into Ollama's folder.")
    llama_cpp: bool = Field(default=True, description="Look into llama.cpp's cache.")

    @field_validator("folders", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """In the environment: one text, folders between the system's path separators (":" or ";")."""
        return [folder for folder in value.split(os.pathsep) if folder] if isinstance(value, str) else value

    @field_validator("directory", "folders", mode="after")
    @classmethod
    def _home(cls, value: Path | list[Path]) -> Path | list[Path]:
        return [folder.expanduser() for folder in value] if isinstance(value, list) else value.expanduser()


if TYPE_CHECKING:

    class _Made(_Section):
        """A section whose settings are parameters that are declared elsewhere."""

        def __getattr__(self, name: str) -> Any: ...

    class _Draft(_Made): ...

    class _Sampling(_Made): ...

    class _Load(_Made): ...

    class _Memory(_Made): ...

    class _Model(_Made): ...

else:

    def _made(section: str, **more: bool) -> type[_Section]:
        return create_model(f"_{section.title()}", __base__=_Section, **fields_of(section, **more))

    _Draft, _Sampling, _Load, _Memory = map(_made, ("draft", "sampling", "load", "memory"))
    _Model = _made("load", optional=True)


class DraftSection(_Draft):
    """How guesses are made."""

    model: str = Field(default="auto", description='A model\'s name, "auto" (the best on the shelf) or "off".')


class SamplingSection(_Sampling):
    """How the commands run and chat choose tokens, where nothing is said."""


class LoadSection(_Load):
    """How models are loaded."""


class MemorySection(_Memory):
    """What to do about loads that may not fit."""


class ServerSection(_Section):
    """The server of `foredraft serve`."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=3673, ge=1, le=65535, description="Port of interface and API.")
    api_key: SecretStr | None = Field(default=None, description="Key that clients must send.")
    token: bool = Field(default=True, description="Open the app with an address that only you get (without a key).")
    isolation: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="A process for each model, which alone ends in a crash; auto: for large ones.",
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default=[], description="Names that the server may be called by, beside this machine's own."
    )
    ollama_version: str = Field(
        default="0.13.0", pattern=r"^\d+\.\d+\.\d+$", description="The version that clients of Ollama are told."
    )
    aliases: dict[str, str] = Field(
        default={}, description="Other names for models, as { 'claude-*' = 'a model of the shelf' }."
    )

    keep_responses: bool = Field(
        default=True, description="Keep responses on this machine, so that a request can go on from an earlier one."
    )

    queue: int = Field(default=512, ge=0, description="Requests that may wait for a model.")
    ttl: int = Field(default=3600, ge=-1, description="Idle seconds until a model leaves memory; -1 is never.")
    on_demand: bool = Field(default=True, description="Load models that requests name.")
    log_prompts: bool = Field(default=False, description="Write prompts into the log.")

    cors: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="Origins of pages that may call the API; loopback: any of this machine's; none: no other.",
    )

    @field_validator("allowed_hosts", "cors", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """In the environment: one text, names between commas."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _known_language(code: str) -> str:
    known = (AUTO, *languages())
    if code not in known:
        raise PydanticCustomError("literal_error", "unknown language", {"expected": ", ".join(known)})
    return code


class ChatSection(_Section):
    """What `run`, `chat` and `verify` begin with."""

    system_prompt: str = Field(default="", description="What a conversation begins with.")
    max_tokens: int | None = Field(default=None, ge=1, description="Most tokens of an answer; unset: to its end.")


class InterfaceSection(_Section):
    """Words on the screen."""

    language: Annotated[str, AfterValidator(_known_language)] = Field(
        default=AUTO, description="Language of the command line and the app; auto is the system's or the browser's."
    )


class ModelSection(_Model):
    """Defaults of one model, under `[model."its name"]`; unset ones are those of `[load]` and `[draft]`."""

    draft: str | None = Field(default=None, description="Draft of this model.")


class Settings(BaseSettings):
    """All settings, checked. `Settings()` alone reads the environment only; use `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    models: ModelsSection = Field(default_factory=ModelsSection)
    draft: DraftSection = Field(default_factory=DraftSection)
    sampling: SamplingSection = Field(default_factory=SamplingSection)
    load: LoadSection = Field(default_factory=LoadSection)
    memory: MemorySection = Field(default_factory=MemorySection)
    server: ServerSection = Field(default_factory=ServerSection)
    chat: ChatSection = Field(default_factory=ChatSection)
    interface: InterfaceSection = Field(default_factory=InterfaceSection)
    model: dict[str, ModelSection] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `resolve` merges the sources itself, because it must know which one each value came from.
        return (init_settings,)

    def for_model(self, name: str) -> ModelSection:
        """The defaults of one model: its own, the general ones where it has none."""
        own = self.model.get(name) or self.model.get(name.split("@")[0]) or ModelSection()
        usual = {**self.load.model_dump(), "draft": self.draft.model}
        return ModelSection(**{**usual, **own.model_dump(exclude_none=True)})

    def defaults(self, of: Any, name: str = "") -> dict[str, Any]:
        """The defaults of the parameters that `of` declares, for a model; None where the program decides."""
        own, found = self.for_model(name), {}
        for one in declared(of).values():
            key = key_of(of, one)
            if key is not None:
                section, entry = key
                found[one.name] = getattr(own if section == "load" else getattr(self, section), entry)
        return found


@dataclass(frozen=True, slots=True)
class Sourced:
    """One value and where it comes from: "default", a file with its line, "FOREDRAFT_…" or "flag"."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings and, by dotted key, the origin of each value."""

    settings: Settings
    origins: Mapping[str, Sourced]
    file: Path


def config_file() -> Path:
    """The file that is read, whether or not it is there. `FOREDRAFT_CONFIG` names another."""
    named = os.environ.get("FOREDRAFT_CONFIG", "")
    return Path(named).expanduser() if named else config_folder() / "config.toml"


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force. `flags` by dotted key ("load.context"); None values are not given ones."""
    return resolve(flags).settings


def resolve(flags: Mapping[str, Any] | None = None) -> Resolved:
    """The settings with the origin of each value. Raises `SettingsError` for a wrong key or value."""
    file = config_file()
    text = _read(file)
    layers: list[tuple[str, dict[str, Any]]] = [
        ("file", _parsed(file, text)),
        ("environment", _environment()),
        ("flag", {key: value for key, value in (flags or {}).items() if value is not None}),
    ]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer, values in layers:
        for key, value in _flat(values) if layer != "flag" else values.items():
            if layer == "file":
                origins[key] = f"{file}, line {_line_of(text, key)}"
            else:
                origins[key] = PREFIX + key.upper().replace(".", DELIMITER) if layer == "environment" else "flag"
            _put(merged, key, value)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise _friendly(error, origins, file, text) from error
    shown = {
        key: Sourced(value, origins.get(key, "default"))
        for key, value in _flat(settings.model_dump())
        if key != "model"
    }
    return Resolved(settings, shown, file)


def check_text(file: Path, text: str) -> Settings:
    """What a settings file of this text says by itself. Raises `SettingsError` for a wrong key or value in it."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, value in _flat(_parsed(file, text)):
        origins[key] = f"{file}, line {_line_of(text, key)}"
        _put(values, key, value)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _friendly(error, origins, file, text) from error


def template() -> str:
    """A `config.toml` with every setting commented out, its default and what it is for."""
    lines = [
        "# Settings of Foredraft. Take away the '#' of what you change; `foredraft config show` tells what is in force."
    ]
    for name, field in Settings.model_fields.items():
        section = ModelSection if name == "model" else field.annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        heading = '# [model."its name"]' if name == "model" else f"[{name}]"
        lines += ["", f"# {(section.__doc__ or '').strip().splitlines()[0]}", heading]
        for key, entry in section.model_fields.items():
            default = entry.get_default(call_default_factory=True, validated_data={})
            lines.append(f"# {key} = {_toml(default)}  # {entry.description}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if value is None:
        return "…"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{key}' = {_toml(item)}" for key, item in value.items()) + "}"
    return str(value) if isinstance(value, (int, float)) else f"'{value}'"


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if os.environ.get("FOREDRAFT_CONFIG"):  # somebody meant it
            raise SettingsError("", str(file), 0, Reason("config_not_there")) from None
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("", str(file), 0, Reason("unreadable_file", {"error": str(error)})) from error


def _parsed(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise SettingsError(
            "", str(file), int(line[1]) if line else text.count("\n") + 1, Reason("not_toml", {"error": str(error)})
        ) from error


def _environment() -> dict[str, Any]:
    return dict(EnvSettingsSource(Settings)())


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{_quoted(key)}.")
        else:
            yield prefix + _quoted(key), value


def _quoted(key: str) -> str:
    """Model names hold dots; in a dotted key they are put in quotes, as in TOML."""
    return f'"{key}"' if "." in key else key


def split_key(key: str) -> list[str]:
    """The parts of a dotted key, in which a part with dots stands in quotes."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^."]+)', key)]


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = split_key(key)
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):  # `load = 3`: let validation complain about it
            return
        values = inner
    values[last] = value


def _line_of(text: str, key: str) -> int:
    """The line of `config.toml` that sets a key; 0 where it is not found (inline tables)."""
    wanted, table = split_key(key), []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        header = re.match(r"\[+([^\]]+)\]", stripped)
        if header is not None:
            table = split_key(header[1].strip())
        name = re.match(r'("[^"]*"|[^=#\s]+)\s*=', stripped)
        if name is not None and table + split_key(name[1]) == wanted[: len(table) + len(split_key(name[1]))]:
            return number
        if header is not None and table == wanted:
            return number
    return 0


def _friendly(error: ValidationError, origins: Mapping[str, str], file: Path, text: str) -> SettingsError:
    """The first fault in words: where it was written, what was wrong, what is allowed."""
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"]]
    section = path[:2] if path[0] == "model" else path[:1]
    key = ".".join(_quoted(part) for part in path)
    origin = next((origins[known] for known in origins if known == key or known.startswith(key + ".")), "")
    if not origin:
        key = ".".join(_quoted(part) for part in path[: len(section) + 1])
        origin = next((origins[known] for known in origins if known.startswith(key)), "flag")
    source, line = origin, 0
    if origin.startswith(str(file)):
        source, line = str(file), _line_of(text, key)
    value = fault.get("input")
    if fault["type"] == "extra_forbidden":
        allowed = _keys(path[:-1])
        near = difflib.get_close_matches(path[-1], allowed, n=1)
        meant = Reason("did_you_mean", {"names": tuple(near)}) if near else None
        said: Numbers = {"names": tuple(allowed), "table": ".".join(path[:-1])}
        there = Reason("settings_in" if path[:-1] else "settings_there", said)
        return SettingsError(key, source, line, Reason("no_setting", {"name": path[-1]}), hint=sentences(meant, there))
    if path[-1] in _SECRET:
        value = "…"
    wrong = Reason("parameter", {"name": key, "value": repr(value), "allowed": _allowed(fault)})
    return SettingsError(key, source, line, wrong)


def _keys(path: list[str]) -> list[str]:
    if not path:
        return list(Settings.model_fields)
    if path[0] == "model":
        return list(ModelSection.model_fields)
    section = Settings.model_fields[path[0]].annotation
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def _allowed(fault: Any) -> Reason:
    """What a value must be, from pydantic's fault."""
    context, kind = fault.get("ctx") or {}, str(fault["type"])
    if kind == "parameter":
        return as_reason(context["allowed"])
    if kind == "literal_error":
        return one_of(context["expected"].replace(" or ", ", ").replace("'", "").split(", "))
    if kind in ("greater_than_equal", "less_than_equal"):
        most = kind == "less_than_equal"
        return Reason("at_most" if most else "at_least", {"n": context.get("le" if most else "ge")})
    codes = {
        "int_parsing": "allowed_whole_any",
        "int_type": "allowed_whole_any",
        "int_from_float": "allowed_whole_any",
        "float_parsing": "allowed_number_any",
        "bool_parsing": "allowed_bool",
        "bool_type": "allowed_bool",
        "string_type": "allowed_text_any",
        "list_type": "allowed_list",
        "model_type": "allowed_table",
        "path_type": "allowed_path",
    }
    return Reason(codes[kind]) if kind in codes else as_reason(str(fault["msg"]).lower())
