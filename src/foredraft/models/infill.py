"""Fill in the middle: a prompt that lets a model write what stands between two texts.

Models trained for it know control tokens for "before", "after" and "write here". A GGUF file names them in its metadata
(`tokenizer.ggml.fim_pre_token_id` …), or its vocabulary has them by one of a few names. Most were trained on the order
prefix, suffix, middle (PSM; Bavarian et al. 2022), some on suffix, prefix, middle (SPM).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.reasons import Reason
from foredraft.engines.base import ModelInfo, Tokenizer

_NAMES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen Coder, CodeGemma, Granite 4
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite, StableCode, Refact, Mellum
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek Coder and V3
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
    ("<PRE>", "<SUF>", "<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM, CodeGeeX
    ("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"),  # Seed-Coder
    ("[PREFIX]", "[SUFFIX]", ""),  # Codestral, which writes on where the prefix ends
)
_SUFFIX_FIRST = frozenset({"<[fim-prefix]>", "[PREFIX]"})
"""Names of families that were trained on SPM."""
_SUFFIX_FIRST_MODELS = ("mellum",)
"""Models that were, though their tokens are those of a family that was not."""
_KEYS = (("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle"))
"""In the metadata; the second are those of files from before October 2024."""


class NoInfillError(ForedraftError):
    """A model that has no tokens for filling in."""

    code = "no_infill"

    def __init__(self, model: str) -> None:
        super().__init__(
            Reason("no_infill", {"model": model}),
            hint=Reason("hint_no_infill"),
        )


@dataclass(frozen=True, slots=True)
class Infill:
    """The control tokens of one model, and the order it was trained on."""

    prefix: int
    suffix: int
    middle: int | None
    """None where the model writes on without one."""
    suffix_first: bool

    def prompt(self, before: Sequence[int], after: Sequence[int]) -> list[int]:
        """What the model reads to write what stands between, without a token that begins a text."""
        first, second = [self.prefix, *before], [self.suffix, *after]
        if self.suffix_first:
            first, second = second, first
        return [*first, *second, *([] if self.middle is None else [self.middle])]


def infill_of(info: ModelInfo, tokenizer: Tokenizer) -> Infill:
    """How a loaded model fills in. Raises `NoInfillError`."""
    tokens = _by_metadata(info.metadata, tokenizer.n_vocab) or _by_name(tokenizer)
    if tokens is None:
        raise NoInfillError(info.name)
    prefix, suffix, middle = tokens
    named = tokenizer.text(prefix)
    known = f"{info.name} {info.metadata.get('general.name', '')} {info.metadata.get('general.basename', '')}".lower()
    suffix_first = named in _SUFFIX_FIRST or any(name in known for name in _SUFFIX_FIRST_MODELS)
    return Infill(prefix, suffix, None if named == "[PREFIX]" else middle, suffix_first)


def _by_metadata(metadata: Mapping[str, str], n_vocab: int) -> tuple[int, int, int | None] | None:
    for names in _KEYS:
        values = [metadata.get(f"tokenizer.ggml.{name}_token_id", "") for name in names]
        prefix, suffix, middle = (int(value) if value.isdecimal() else n_vocab for value in values)
        if max(prefix, suffix) < n_vocab:
            return prefix, suffix, middle if middle < n_vocab else None
    return None


def _by_name(tokenizer: Tokenizer) -> tuple[int, int, int | None] | None:
    for names in _NAMES:
        found = [_control(tokenizer, name) for name in names if name]
        if None not in found:
            prefix, suffix, *middle = found
            assert prefix is not None
            assert suffix is not None
            return prefix, suffix, middle[0] if middle else None
    return None


def _control(tokenizer: Tokenizer, name: str) -> int | None:
    """The token of a name, where the vocabulary has it as one."""
    try:
        tokens = tokenizer.encode(name, add_special=False, parse_special=True)
    except ParameterError:  # a vocabulary without these letters
        return None
    return tokens[0] if len(tokens) == 1 and tokenizer.text(tokens[0]) == name else None
