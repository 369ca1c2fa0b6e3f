"""The options that `run`, `chat` and `verify` share: those declared here, and one for each declared parameter."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin, get_type_hints

from typer import Option

from foredraft.cli.models import complete_draft, complete_model
from foredraft.config.load_settings import LoadSettings
from foredraft.core.declared import Declared, declared
from foredraft.core.errors import ModelError
from foredraft.core.params import SamplingParams, SpeculationParams

if TYPE_CHECKING:
    from foredraft.requests.generation_request import GenerationRequest


def _said(value: int | None) -> int | None:
    """-1 is "no limit" and "a fresh seed" wherever models are run."""
    return None if value == -1 else value


SCOPES = (SamplingParams, SpeculationParams, LoadSettings)
"""What declares parameters that are options here (`core/declared.py`)."""


def declared_options() -> dict[str, Declared]:
    """The declared parameters that have an option, by name. (One answer needs one slot.)"""
    return {one.name: one for of in SCOPES for one in declared(of).values() if one.options and one.name != "slots"}


if TYPE_CHECKING:

    class _Declared:
        """A field for each of them; None is "not said"."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _Declared = dataclasses.make_dataclass(
        "_Declared", [(name, Any, None) for name in declared_options()], frozen=True, slots=True
    )


@dataclass(frozen=True, slots=True)
class GenerateOptions(_Declared):
    """What was asked for on the command line: by the options here, and by those of declared parameters."""

    model: Annotated[
        str | None,
        Option(
            "--model",
            "-m",
            help="A GGUF file, or a name on the shelf. Default: the embedded model.",
            autocompletion=complete_model,
        ),
    ] = None
    draft: Annotated[
        str | None,
        Option(
            "--draft",
            "-d",
            help="A file or a name; builtin: inside the model; auto: the best that fits; off: none.",
            autocompletion=complete_draft,
        ),
    ] = None
    max_tokens: Annotated[
        int | None, Option("--max-tokens", "-n", help="Most tokens of the answer; -1: no limit.", callback=_said)
    ] = None
    stop: Annotated[list[str] | None, Option("--stop", help="End before this text (may be given again).")] = None
    draft_required: Annotated[bool, Option("--draft-required", help="Refuse to start when the draft does not fit.")] = (
        False
    )
    force: Annotated[bool, Option("--force", help="Take a draft whose vocabulary only looks different.")] = False
    system: Annotated[str | None, Option("--system", "-s", help="System prompt.")] = None
    stats: Annotated[bool, Option("--stats", help="Print what was accepted, and what it cost.")] = False
    as_json: Annotated[bool, Option("--json", help="Print JSON: one object an answer.")] = False
    raw: Annotated[bool, Option("--raw", help="Continue the text itself; no chat template.")] = False
    json_schema: Annotated[
        str | None,
        Option("--json-schema", metavar="FILE|JSON", help="The answer is JSON of this schema: a file, or the schema."),
    ] = None
    grammar: Annotated[
        Path | None, Option("--grammar", metavar="FILE", help="The answer is a text of this grammar, in GBNF or Lark.")
    ] = None

    def check(self) -> None:
        """Refuse values out of range, and a draft that nobody knows, before anything is loaded. Raises `ParameterError`
        or a `ModelError`."""
        from foredraft.cli.structured import structure_of
        from foredraft.config.shelf import open_shelf
        from foredraft.core.params import BUILTIN, Request

        structure_of(self)
        if self.draft not in (None, "", "auto", "off", BUILTIN) and not Path(self.draft or "").expanduser().is_file():
            open_shelf().find(self.draft or "")

        Request((), SamplingParams(**self.said(SamplingParams)), self.speculation(), max_tokens=self.max_tokens)
        self.settings()

    def said(self, of: Any) -> dict[str, Any]:
        """What was said of the parameters that `of` declares, here or in the settings."""
        values = {name: getattr(self, name) for name in declared(of) if name in declared_options()}
        return {name: value for name, value in values.items() if value is not None}

    def with_settings(self) -> GenerateOptions:
        """The same with what was not given taken from the settings: those of the model, then the general ones."""
        from foredraft.config.settings import load_settings
        from foredraft.config.shelf import open_shelf
        from foredraft.demo import main_path

        settings, name = load_settings(), ""
        if settings.model:
            with contextlib.suppress(ModelError):  # a file that the shelf does not know: whoever loads it says more
                name = open_shelf().find(self.model or main_path()).name
        chat = settings.chat
        stored: dict[str, Any] = {
            "draft": settings.for_model(name).draft,
            "system": chat.system_prompt or None,
            "max_tokens": chat.max_tokens,
        }
        for of in SCOPES:
            stored |= settings.defaults(of, name)
        return dataclasses.replace(
            self, **{key: value for key, value in stored.items() if getattr(self, key, "") is None}
        )

    def settings(self) -> LoadSettings:
        """How to load the pair."""
        return LoadSettings(**self.said(LoadSettings))

    def wish(self, what: str | Sequence[Mapping[str, Any]]) -> GenerationRequest:
        """The request to answer a conversation, or to go on with a text."""
        from foredraft.cli.structured import structure_of
        from foredraft.core.errors import EmptyPromptError
        from foredraft.requests.generation_request import GenerationRequest

        if not what:
            raise EmptyPromptError
        structure = structure_of(self)
        return GenerationRequest(
            messages=None if isinstance(what, str) else what,
            prompt=what if isinstance(what, str) else None,
            schema=structure.schema if structure is not None else None,
            grammar=structure.grammar if structure is not None else "",
            sampling=SamplingParams(**self.said(SamplingParams)),
            speculation=self.speculation(),
            stop=tuple(self.stop or ()),
            max_tokens=self.max_tokens,
        )

    def speculation(self) -> SpeculationParams:
        """How the draft is used."""
        return SpeculationParams(**self.said(SpeculationParams))


ANSWER, SAMPLING, GUESSING, LOADING = "The answer", "Sampling", "Guessing", "Loading"
_PANELS = {
    **dict.fromkeys(("system", "temperature", "seed", "max_tokens", "stop", "raw", "json_schema", "grammar"), ANSWER),
    **dict.fromkeys(("draft_required", "force"), GUESSING),
    **dict.fromkeys(("controller", "promise", "fixed_look_ahead", "remember_answers"), GUESSING),
}
"""Groups of `--help`, where they are not those of the scope; what is in none of them stands first."""
_SCOPE_PANELS = dict(zip(SCOPES, (SAMPLING, GUESSING, LOADING), strict=True))


def option_of(one: Declared, default: Any = None, panel: str | None = None) -> inspect.Parameter:
    """A declared parameter as an option of a command. It is None where nothing was said, unless it has a `default`."""
    usual = one.default if default is None else default
    words = [one.param.help]
    if one.param.choices is not None and not all(word in one.param.help for word in one.words()):
        words.append(f"One of {', '.join(one.words())}.")
    if usual not in (None, ""):
        words.append(f"Default: {('no', 'yes')[usual] if isinstance(usual, bool) else usual}.")
    made = Option(
        *one.options,
        help=" ".join(words),
        show_default=False,
        rich_help_panel=panel,
        callback=_meant(one) if one.param.same else None,
        autocompletion=_completion(one) if one.param.choices is not None else None,
    )
    kind = str if one.param.choices is not None else one.kind
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind | None, made]
    )


def _meant(one: Declared) -> Callable[[Any], Any]:
    def meant(value: Any) -> Any:
        return one.param.same.get(value, value)

    return meant


def _completion(one: Declared) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in one.words() if word.startswith(incomplete)]

    return complete


def system_message(asked: GenerateOptions) -> list[dict[str, str]]:
    """What a conversation begins with."""
    return [{"role": "system", "content": asked.system}] if asked.system else []


def generate_options(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each field of `GenerateOptions`: its last parameter, `asked`, receives them
    together.

    `defaults` replace the defaults of single fields.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "asked"]
        shared = [
            option_of(one, defaults.get(name), _PANELS.get(name, _SCOPE_PANELS[of]))
            for of in SCOPES
            for name, one in declared(of).items()
            if name in declared_options()
        ]
        hints = get_type_hints(GenerateOptions, include_extras=True)
        for field in dataclasses.fields(GenerateOptions):
            if get_origin(hints[field.name]) is Annotated:
                annotation = hints[field.name]
                annotation.__metadata__[0].rich_help_panel = _PANELS.get(field.name)
                default = defaults.get(field.name, field.default)
                shared.append(
                    inspect.Parameter(
                        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                    )
                )

        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            asked = GenerateOptions(**{p.name: given.pop(p.name) for p in shared}).with_settings()
            asked.check()
            command(**given, asked=asked)

        wrapper.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
        return wrapper

    return decorate


def load_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each setting of a load: its last parameter, `given`, receives what was said."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    shared = [option_of(one, panel=LOADING) for one in declared(LoadSettings).values() if one.options]

    @functools.wraps(command)
    def wrapper(**words: Any) -> None:
        said = {p.name: words.pop(p.name) for p in shared}
        given = {name: value for name, value in said.items() if value is not None}
        LoadSettings(**given)  # raises what is wrong with them
        command(**words, given=given)

    wrapper.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
    return wrapper
