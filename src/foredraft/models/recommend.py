"""Which draft to take: what a pair should gain, the best draft on the shelf, and the one to download.

The gain is what was measured on this machine, where it was; else an estimate by the usual model of speculation
(Leviathan et al. 2023): with acceptance α, cost c of one guess and cost v(n) of a pass over n tokens, γ guesses give
(1 - α^(γ+1)) / (1 - α) tokens for γ·c + v(γ+1). The look-ahead is the best one; γ = 0 gives 1, so no estimate is below.
"""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from foredraft.core.params import MAX_DRAFT
from foredraft.core.reasons import Numbers, Reason, sentences
from foredraft.models.cache import Measured
from foredraft.models.facts import ModelFacts
from foredraft.models.pairing import MemoryCheck, Pairing, guide_size
from foredraft.models.store import ModelFile, ModelStore

DEFAULT_ACCEPTANCE = 0.6
"""Where nothing was measured or reported for a family: between the 0.4 and 0.9 that users report."""

GUESS_OVERHEAD = 0.02
"""Cost of one guess beside the draft's own pass, in passes of the main model."""
WORTH_IT = 1.02
"""Gain from which on a draft is taken without being asked for."""

_WEIGHT = 0.6
"""Gigabytes of a billion parameters as Q4_K_M."""
_QUICK, _QUICK_LEAST = 0.65, 1.5
"""Gigabytes of weights that a processor reads in about a tenth of a second: for each core, and at least."""

Costs = Callable[[int], float]
"""v(n): the time of one pass over n tokens, in passes over one."""


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One entry of `families.toml`."""

    name: str
    repository: str
    match: tuple[str, ...]
    params: float
    drafts: tuple[str, ...] = ()
    acceptance: float | None = None
    source: str = ""
    own_draft: bool = False
    """Whether the files of the repository have a draft inside."""


@dataclass(frozen=True, slots=True)
class Gain:
    """How many times faster a pair should be, and how that is known."""

    speedup: float
    measured: bool
    look_ahead: int = 0
    acceptance: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What `--draft auto` took, and why; `draft` is None for none."""

    draft: ModelFile | None
    why: Reason
    pairing: Pairing | None = None
    gain: Gain | None = None


@functools.cache
def catalogue() -> tuple[CatalogueModel, ...]:
    """All entries of `families.toml`."""
    text = files("foredraft.models").joinpath("families.toml").read_text(encoding="utf-8")
    return tuple(
        CatalogueModel(
            entry["name"],
            entry["repository"],
            tuple(entry["match"]),
            entry["params"],
            tuple(entry.get("drafts", ())),
            entry.get("acceptance"),
            entry.get("source", ""),
            entry.get("own_draft", False),
        )
        for entry in tomllib.loads(text)["model"]
    )


def catalogue_entry(name: str) -> CatalogueModel | None:
    """The entry of a model's name, of whatever spelling ("Qwen2.5 14B Instruct", "qwen2.5-14b-instruct@q4_k_m")."""
    words = set(re.split(r"[^a-z0-9.]+", name.lower()))
    for entry in catalogue():
        if set(entry.match) <= words:
            return entry
    return None


def recommended_drafts(main: CatalogueModel) -> list[CatalogueModel]:
    """The catalogue's drafts of a main model, the usual one first."""
    by_name = {entry.name: entry for entry in catalogue()}
    return [by_name[name] for name in main.drafts]


def estimated_costs(main: ModelFacts, *, on_gpu: bool = False) -> Costs:
    """v(n) where it was not measured: nearly flat on a GPU, steep on a processor and steeper for coarse weights.

    Straight lines through the curves of docs/concepts/pairing.md; any machine differs, so measure to be sure.
    """
    slope = 0.03 if on_gpu else 0.12 if main.quantisation in ("F16", "BF16", "F32") else 0.30
    return lambda tokens: 1 + slope * (tokens - 1)


def expected_gain(acceptance: float, cost: float, costs: Costs) -> Gain:
    """The best look-ahead and its gain for acceptance α, a guess of `cost` main passes, and v(n)."""
    best = Gain(1.0, False, 0, acceptance)
    for guesses in range(1, MAX_DRAFT + 1):
        tokens = guesses + 1 if acceptance >= 1 else (1 - acceptance ** (guesses + 1)) / (1 - acceptance)
        speedup = tokens / (guesses * cost + costs(guesses + 1))
        if speedup > best.speedup:
            best = Gain(speedup, False, guesses, acceptance)
    return best


def gain(
    main: ModelFile, draft: ModelFile, measured: Measured | None = None, *, costs: Costs | None = None
) -> Gain | None:
    """What a pair should gain: measured, else estimated; None where a file cannot be read."""
    if measured is not None:
        return Gain(measured.speedup, True)
    if main.facts is None or draft.facts is None or not main.facts.weights.total:
        return None
    entry = _entry(main)
    acceptance = entry.acceptance if entry is not None and entry.acceptance else DEFAULT_ACCEPTANCE
    cost = _bytes_per_token(draft.facts) / _bytes_per_token(main.facts) + GUESS_OVERHEAD
    return expected_gain(acceptance, cost, costs or estimated_costs(main.facts))


def choose_draft(
    main: ModelFile,
    store: ModelStore,
    *,
    memory: MemoryCheck | None = None,
    costs: Costs | None = None,
    skip: Collection[Path] = (),
) -> Choice:
    """The draft that `--draft auto` takes: of those that fit, in vocabulary and memory, and are not to be skipped, the
    one with the most gain.

    A pair that was measured to be slower is never taken, an unmeasured one only where a gain is expected.
    """
    if main.source == "embedded":
        for draft, pairing in store.drafts(main):
            if draft.source == "embedded" and pairing.usable:
                return Choice(draft, _because(draft, pairing, None), pairing)
    best: tuple[float, ModelFile, Pairing, Gain] | None = None
    slower, unfit = 0, 0
    tried: tuple[float, str] | None = None
    for draft, pairing in store.drafts(main, memory=memory):
        if not pairing.usable:
            unfit += draft.usable
            continue
        if draft.path in skip:
            slower += 1
            continue
        expected = gain(main, draft, store.measured(main, draft), costs=costs)
        if expected is None or expected.speedup < WORTH_IT:
            slower += 1
            if expected is not None and expected.measured:
                tried = max(tried or (0.0, ""), (expected.speedup, draft.name))
        elif best is None or expected.speedup > best[0]:
            best = (expected.speedup, draft, pairing, expected)
    if best is not None:
        _, draft, pairing, expected = best
        return Choice(draft, _because(draft, pairing, expected), pairing, expected)
    if tried is not None:
        return Choice(None, Reason("no_draft_measured", {"draft": tried[1], "x": tried[0]}))
    return Choice(None, _why_none(main, slower, unfit))


def missing_draft(main: ModelFile) -> CatalogueModel | None:
    """The catalogue's first draft for a main model, to download where the shelf has none."""
    entry = _entry(main)
    drafts = recommended_drafts(entry) if entry is not None else []
    return drafts[0] if drafts else None


def first_run_hint(free_bytes: int, *, cores: int | None = None) -> list[Reason]:
    """Three lines for someone without models: what runs now, what would suit this machine, and how to get it. `cores`
    as in `suiting`."""
    entry = suiting(free_bytes, cores=cores)
    numbers: Numbers = {
        "free": free_bytes,
        "model": entry.name,
        "params": entry.params,
        "draft": recommended_drafts(entry)[0].name,
    }
    suits = Reason("first_suits_cores", {**numbers, "n": cores}) if cores else Reason("first_suits", numbers)
    return [Reason("first_embedded"), suits, Reason("first_get", {"model": entry.name})]


def suiting(free_bytes: int, *, cores: int | None = None) -> CatalogueModel:
    """The largest main model of the catalogue that fits, with its draft and a context, in this many bytes as Q4_K_M.

    `cores` of a machine without a GPU: there what fits is not yet quick enough to talk to, so the weights are also
    bounded by what is read in about a tenth of a second. Where not even the smallest fits it is named all the same: it
    runs, slowly, from disk.
    """
    mains = sorted((entry for entry in catalogue() if entry.drafts), key=lambda entry: entry.params)
    quick = math.inf if cores is None else max(_QUICK_LEAST, _QUICK * cores)
    fitting = [entry for entry in mains if room(entry) <= free_bytes and _WEIGHT * entry.params <= quick]
    return fitting[-1] if fitting else mains[0]


def room(entry: CatalogueModel) -> float:
    """Bytes for an entry as Q4_K_M (0.6 bytes a parameter), its draft as Q8_0, and 15 % for context and scratch."""
    draft = recommended_drafts(entry)[0]
    return 1.15 * (_WEIGHT * entry.params + 1.07 * draft.params) * 1e9


def _entry(main: ModelFile) -> CatalogueModel | None:
    names = [main.name] + ([main.facts.name] if main.facts is not None and main.facts.name else [])
    found: Sequence[CatalogueModel | None] = [catalogue_entry(name) for name in names]
    return next((entry for entry in found if entry is not None), None)


def _bytes_per_token(facts: ModelFacts) -> float:
    """Weights read for one token, in bytes: the speed of a single token is that of the memory."""
    active = facts.n_active / facts.n_params if facts.n_params else 1.0
    return max(1.0, (facts.weights.total - facts.weights.embedding * bool(facts.weights.output)) * active)


def _because(draft: ModelFile, pairing: Pairing, expected: Gain | None) -> Reason:
    notes = pairing.notes
    if expected is not None:
        code = "gain_measured" if expected.measured else "gain_estimated"
        notes = (*notes, Reason(code, {"x": round(expected.speedup, 3)}))
    return Reason("draft_chosen", {"draft": draft.name, "why": Reason("noted", {"parts": (pairing.reason, *notes)})})


def _why_none(main: ModelFile, slower: int, unfit: int) -> Reason:
    if slower:
        small = main.facts is not None and guide_size(main.facts.n_active) == 0
        return Reason("no_draft_small" if small else "no_draft_gain", {"n": slower})
    none = Reason("no_draft_fits", {"n": unfit, "main": main.name}) if unfit else Reason("no_draft_there")
    wanted, entry = missing_draft(main), _entry(main)
    if entry is not None and entry.own_draft and main.facts is not None and not main.facts.heads.here:
        return sentences(none, Reason("get_with_draft", {"model": entry.name}))
    return sentences(none, Reason("get_draft", {"model": wanted.name})) if wanted is not None else none
