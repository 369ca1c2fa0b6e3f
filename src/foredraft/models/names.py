"""Names of models: `qwen2.5-14b-instruct@q4_k_m` from a file's name, and the model from a name that someone typed."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

from foredraft.core.errors import AmbiguousModelError, ModelNotFoundError
from foredraft.models.brought import Origin, last_rules, rules

_QUANTISATION = re.compile(
    r"(?:^|[-._])(?:ud[-_])?((?:i?q\d[a-z0-9_]*|bf16|f16|f32|fp16|fp32|tq\d_0|mxfp4(?:_moe)?|nvfp4))$", re.IGNORECASE
)
_GENERIC = frozenset({"model", "ggml-model", "gguf", "main", "weights", ""})
MAX_CANDIDATES = 8


def model_name(stem: str, quantisation: str, folder: str = "") -> str:
    """The name of a file, given without ending and part number, lower case, quantisation behind "@"."""
    base, said = split_quantisation(stem)
    if base.lower() in _GENERIC:
        base = re.sub(r"[-_]gguf$", "", folder, flags=re.IGNORECASE) or base or "model"
    base = re.sub(r"[\s/\\@:]+", "-", unicodedata.normalize("NFC", base)).strip("-.").lower() or "model"
    quantisation = (quantisation or said).lower()
    return f"{base}@{quantisation}" if quantisation else base


def split_quantisation(stem: str) -> tuple[str, str]:
    """("qwen2.5-7b-instruct", "q4_k_m") of "qwen2.5-7b-instruct-q4_k_m"; the second is empty where there is none."""
    match = _QUANTISATION.search(stem)
    return (stem[: match.start()], match[1]) if match else (stem, "")


def find_name(
    wanted: str, names: Sequence[str], origins: Mapping[str, Origin] | None = None, *, whole: bool = False
) -> str:
    """The one name that `wanted` stands for; `origins` say where models lie, by name. With `whole` it must be all of it
    but for publisher or quantisation.

    Tried in this order, the first that fits anything decides: the full name; the name without its publisher; without
    its quantisation; a name that other programs have for it (`brought.py`); the beginning of a name; a part of a name.
    Upper case, ":" for "@" do not matter.
    Raises `AmbiguousModelError` with the candidates, or `ModelNotFoundError` with the nearest names.
    """
    text = unicodedata.normalize("NFC", wanted).strip().lower()
    if "@" not in text and ":" in text:
        text = "@".join(text.rsplit(":", 1))
    if not text.strip("@"):
        raise ModelNotFoundError(wanted, nearest=tuple(names[:MAX_CANDIDATES]))
    base, _, quantisation = text.partition("@")
    known = origins or {}

    def of_others(rule: Callable[[str, Origin], bool]) -> Callable[[str], bool]:
        return lambda name: rule(name, known.get(name, Origin()))

    in_order: tuple[Callable[[str], bool], ...] = (
        lambda name: name == text,
        lambda name: name.rsplit("/", 1)[-1] == text,
        lambda name: name.split("@")[0] == text,
        lambda name: name.rsplit("/", 1)[-1].split("@")[0] == text,
        *map(of_others, rules(wanted)),
        lambda name: name.rsplit("/", 1)[-1].startswith(base) and _quantisation_fits(name, quantisation),
        lambda name: base in name.split("@")[0] and _quantisation_fits(name, quantisation),
        *map(of_others, last_rules(wanted)),
    )
    for fits in in_order[: 4 if whole else None]:
        found = [name for name in names if fits(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousModelError(wanted, tuple(found[:MAX_CANDIDATES]))
    raise ModelNotFoundError(wanted, nearest=nearest(text.removesuffix(".gguf").rsplit("/", 1)[-1], names))


def nearest(wanted: str, names: Iterable[str]) -> tuple[str, ...]:
    """Up to three names that look like what was typed."""
    by_short: dict[str, str] = {}
    for name in names:
        base = name.rsplit("/", 1)[-1].split("@")[0]
        words = base.split("-")
        tails = ["-".join(words[start:]) for start in range(len(words))]  # "qwen2" of "ggml-vocab-qwen2"
        for short in (name, name.split("@")[0], name.rsplit("/", 1)[-1], *tails):
            by_short.setdefault(short, name)
    close = difflib.get_close_matches(wanted.lower(), by_short, n=6, cutoff=0.6)
    return tuple(dict.fromkeys(by_short[short] for short in close))[:3]


def same_family(wanted: str, names: Iterable[str]) -> tuple[str, ...]:
    """Up to six names that begin as what was typed does, however it is spelled: "llama3.2:1b", as Ollama says, is
    meant for "llama-3.2-1b-instruct"."""
    plain = _letters(wanted)
    return tuple(name for name in names if plain and _letters(name).startswith(plain))[:6]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def unique_names(names: Sequence[tuple[str, str]]) -> list[str]:
    """Full names from (name, publisher): the publisher is put before a name that occurs twice, then a number behind."""
    count: dict[str, int] = {}
    for name, _ in names:
        count[name] = count.get(name, 0) + 1
    given: dict[str, int] = {}
    full = []
    for name, publisher in names:
        chosen = f"{publisher.lower()}/{name}" if count[name] > 1 and publisher else name
        given[chosen] = given.get(chosen, 0) + 1
        if given[chosen] > 1:
            base, mark, quantisation = chosen.partition("@")
            chosen = f"{base}~{given[chosen]}{mark}{quantisation}"
        full.append(chosen)
    return full


def _quantisation_fits(name: str, quantisation: str) -> bool:
    return not quantisation or name.partition("@")[2].startswith(quantisation)
