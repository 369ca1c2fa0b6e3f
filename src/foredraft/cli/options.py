"""The options that `run`, `chat` and `verify` share: declared once, as the fields of `GenerateOptions`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from typer import Option

from foredraft.cli.models import complete_draft, complete_model

if TYPE_CHECKING:
    from foredraft.config.load_settings import LoadSettings
    from foredraft.requests.generation_request import GenerationRequest


def _said(value: int | None) -> int | None:
    """-1 is "no limit" and "a fresh seed" wherever models are run."""
    return None if value == -1 else value


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """What was asked for on the command line."""

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
    temperature: Annotated[float, Option("--temperature", "-t", help="0 is greedy.")] = 0.8
    seed: Annotated[
        int | None,
        Option("--seed", help="Same seed, same text, with any draft; -1: a fresh one.", callback=_said),
    ] = None
    max_tokens: Annotated[
        int | None, Option("--max-tokens", "-n", help="Most tokens of the answer; -1: no limit.", callback=_said)
    ] = None
    top_k: Annotated[
        int,
        Option(
            "--top-k", help="Keep the k most likely tokens; 0 and -1 keep all.", callback=lambda k: 0 if k == -1 else k
        ),
    ] = 40
    top_p: Annotated[float, Option("--top-p", help="Keep the likeliest tokens up to this probability.")] = 0.95
    min_p: Annotated[float, Option("--min-p", help="Keep tokens this share as likely as the likeliest.")] = 0.05
    repeat_penalty: Annotated[float, Option("--repeat-penalty", help="Against repetition; 1 is off.")] = 1.0
    presence_penalty: Annotated[float, Option("--presence-penalty", help="Against tokens seen; 0 is off.")] = 0.0
    frequency_penalty: Annotated[float, Option("--frequency-penalty", help="For each time seen; 0 is off.")] = 0.0
    stop: Annotated[list[str] | None, Option("--stop", help="End before this text (may be given again).")] = None
    max_draft: Annotated[
        int | None, Option("--max-draft", help="Most tokens guessed in a round, 0 to 16; 0 is plain decoding.")
    ] = None
    controller: Annotated[
        str, Option("--controller", help="adaptive guesses as far as it pays; fixed always guesses --max-draft tokens.")
    ] = "adaptive"
    acceptance: Annotated[
        str | None, Option("--acceptance", help="match (same seed, same text), rejection or block (same law).")
    ] = None
    method: Annotated[str, Option("--method", help="Who guesses: auto, model, suffix, ngram or off.")] = "auto"
    context: Annotated[int | None, Option("--context", "-c", help="Context in tokens. Default: the file's.")] = None
    threads: Annotated[int | None, Option("--threads", help="Threads of the main model.")] = None
    draft_threads: Annotated[int | None, Option("--draft-threads", help="Threads of the draft model.")] = None
    draft_device: Annotated[
        str, Option("--draft-device", help="Where the draft runs: cpu, gpu0 …; default: as the main model.")
    ] = ""
    gpu_layers: Annotated[int | None, Option("--gpu-layers", help="Layers on the GPU; -1 is all.")] = None
    kv_type: Annotated[str | None, Option("--kv-type", help="Number type of the KV cache: f16, q8_0, f32 …")] = None
    flash_attention: Annotated[
        str | None, Option("--flash-attention", help="auto, on or off (attention as a matrix product).")
    ] = None
    numerics: Annotated[
        str | None,
        Option("--numerics", help="exact (the same text to the last bit), fast (as llama.cpp), auto (exact if cheap)."),
    ] = None
    mmap: Annotated[bool | None, Option("--mmap/--no-mmap", help="Map the model file instead of reading it.")] = None
    min_draft: Annotated[int | None, Option("--min-draft", help="Fewest tokens guessed once a round guesses.")] = None
    p_min: Annotated[float | None, Option("--p-min", help="Stop guessing when the draft is less sure than this.")] = (
        None
    )
    guardrail: Annotated[
        str | None, Option("--guardrail", help="Loads that may not fit: off, relaxed (refuse) or strict.")
    ] = None
    remember_answers: Annotated[
        bool | None,
        Option(
            "--remember-answers/--no-remember-answers",
            help="Keep answers on this machine to guess from them later. Default: no.",
        ),
    ] = None
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
        from foredraft.core.params import BUILTIN, Request, SamplingParams

        structure_of(self)
        if self.draft not in (None, "", "auto", "off", BUILTIN):
            open_shelf().find(self.draft or "")

        Request((), SamplingParams.of(self), self._speculation(), max_tokens=self.max_tokens)
        self.settings()

    def with_settings(self) -> GenerateOptions:
        """The same with what was not given taken from the settings: those of the model, then the general ones."""
        from foredraft.config.settings import load_settings
        from foredraft.config.shelf import open_shelf
        from foredraft.demo import main_path

        settings, name = load_settings(), ""
        if settings.model:
            name = open_shelf().find(self.model or main_path()).name
        own, load = settings.for_model(name), settings.load
        stored: dict[str, Any] = {
            "draft": own.draft,
            "context": own.context,
            "kv_type": own.kv_type,
            "gpu_layers": own.gpu_layers,
            "threads": load.threads,
            "flash_attention": load.flash_attention,
            "numerics": own.numerics,
            "mmap": load.mmap,
            "guardrail": settings.memory.guardrail,
            "acceptance": settings.draft.acceptance,
            "max_draft": settings.draft.max_draft,
            "min_draft": settings.draft.min_draft,
            "p_min": settings.draft.p_min,
            "remember_answers": settings.draft.remember_answers,
        }
        return dataclasses.replace(self, **{key: value for key, value in stored.items() if getattr(self, key) is None})

    def settings(self) -> LoadSettings:
        """How to load the pair."""
        from foredraft.config.load_settings import LoadSettings

        return LoadSettings(
            context=self.context,
            threads=self.threads,
            draft_threads=self.draft_threads,
            draft_device=self.draft_device,
            gpu_layers=-1 if self.gpu_layers is None else self.gpu_layers,
            kv_type=self.kv_type or "f16",
            flash_attention=self.flash_attention or "auto",
            numerics=self.numerics or "auto",
            mmap=self.mmap is not False,
            controller=self.controller,
            guardrail=self.guardrail or "relaxed",
            max_draft=self.max_draft,
            remember_answers=bool(self.remember_answers),
        )

    def wish(self, what: str | Sequence[Mapping[str, Any]]) -> GenerationRequest:
        """The request to answer a conversation, or to go on with a text."""
        from foredraft.cli.structured import structure_of
        from foredraft.core.errors import EmptyPromptError
        from foredraft.core.params import SamplingParams
        from foredraft.requests.generation_request import GenerationRequest

        if not what:
            raise EmptyPromptError
        structure = structure_of(self)
        return GenerationRequest(
            messages=None if isinstance(what, str) else what,
            prompt=what if isinstance(what, str) else None,
            schema=structure.schema if structure is not None else None,
            grammar=structure.grammar if structure is not None else "",
            sampling=SamplingParams.of(self),
            speculation=self._speculation(),
            stop=tuple(self.stop or ()),
            max_tokens=self.max_tokens,
        )

    def _speculation(self) -> Any:
        from foredraft.core.params import SpeculationParams

        return SpeculationParams(
            method=self.method,
            max_draft=self.max_draft,
            min_draft=self.min_draft or 0,
            p_min=self.p_min or 0.0,
            acceptance=self.acceptance or "match",
        )


_PANELS = {
    "The answer": ("system", "temperature", "seed", "max_tokens", "stop", "raw", "json_schema", "grammar"),
    "Sampling": ("top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty"),
    "Guessing": (
        *("method", "max_draft", "min_draft", "p_min", "controller", "acceptance"),
        *("draft_required", "force", "remember_answers"),
    ),
    "Loading": (
        *("context", "threads", "draft_threads", "gpu_layers", "draft_device", "kv_type", "flash_attention"),
        *("numerics", "mmap", "guardrail"),
    ),
}
"""Groups of `--help`; what is in none of them stands first."""


def _grouped() -> dict[str, Any]:
    """The annotations of `GenerateOptions`, each option in its group."""
    hints = get_type_hints(GenerateOptions, include_extras=True)
    for panel, names in _PANELS.items():
        for name in names:
            hints[name].__metadata__[0].rich_help_panel = panel
    return hints


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
        hints = _grouped()
        shared = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(field.name, field.default),
                annotation=hints[field.name],
            )
            for field in dataclasses.fields(GenerateOptions)
        ]

        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            asked = GenerateOptions(**{p.name: given.pop(p.name) for p in shared}).with_settings()
            asked.check()
            command(**given, asked=asked)

        wrapper.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
        return wrapper

    return decorate
