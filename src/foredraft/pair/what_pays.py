"""What would pay here: where a draft cannot, what can, by what was measured on this machine.

Three ways: the main model in another quantisation (on processors a pass over coarse weights grows steeply with its
rows: a Q4_K_M may be bound to 1.9 times plain where the F16 of the same model reaches 5.0), a smaller draft, and
guesses that are found in the text. A way that was not measured is named with the command that measures it, never with a
figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foredraft.core.errors import ForedraftError
from foredraft.core.json_cache import Key, entries
from foredraft.core.reasons import Reason
from foredraft.models.facts import ModelFacts
from foredraft.models.recommend import choose_draft
from foredraft.models.store import ModelFile, ModelStore
from foredraft.pair.speculation import cannot_pay, file_identity, library_version, machine
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.adaptive.prices import Prices

WORTH = 1.05
"""Times plain from which on something is said to pay if every guess stood."""
_MOST = 2
"""Most ways of one kind that are named."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The stored costs of one pair, or of a main model alone."""

    key: Key
    costs: CostModel

    @property
    def ceiling(self) -> float:
        """Times plain if every guess of the draft stood."""
        return ceiling(self.costs)

    @property
    def speed(self) -> float:
        """Tokens a second without guesses."""
        return 1.0 / self.costs.pass_s(1)


@dataclass(frozen=True, slots=True)
class Way:
    """One thing that pays here, or may."""

    kind: str
    """quantisation, draft or found."""
    model: str
    """Its name on the shelf; "" for found guesses."""
    at_most: float | None
    """Times plain if every guess stood; None where it was not measured."""
    command: str
    """What measures it; "" where it was measured."""
    why: Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured of a pair that does not pay."""

    hopeless: str = ""
    """The name of its draft, where it could not pay even if every guess stood."""
    ways: tuple[Way, ...] = ()
    """What would pay; none for a pair that pays, or of which nothing is known."""


def curves(folder: Path | None) -> list[Curve]:
    """What is stored of this machine with this library, the newest first."""
    found = []
    for entry in entries(folder):
        here = entry.key.get("machine") == machine() and entry.key.get("library") == library_version()
        costs = entry.load(CostModel.from_dict) if entry.kind == "costs" and here else None
        if costs is not None:
            found.append(Curve(entry.key, costs))
    return sorted(found, key=lambda curve: -curve.costs.measured_at)


def ceiling(costs: CostModel) -> float:
    """How many times plain the draft's guesses are at most, all of them standing, in passes of the sizes that were
    measured; 1 where they cannot pay, or there is no draft."""
    worst = Prices(costs, 0, 1, 1).worst[: max(costs.ratios())]
    return max((k + 1) / (1.0 + more) for k, more in enumerate(worst))


def verdict(main: ModelFile, draft: ModelFile | None, store: ModelStore, folder: Path | None) -> Verdict:
    """Whether a pair is known not to pay, and what would; `draft` None is the one that `--draft auto` would take."""
    draft = draft or choose_draft(main, store).draft
    if draft is None:
        return Verdict()
    curve, figure = _curve(curves(folder), main, draft), store.measured(main, draft)
    hopeless = draft.name if curve is not None and cannot_pay(curve.costs) else ""
    if not hopeless and (figure is None or figure.speedup >= 1.0):
        return Verdict()
    return Verdict(hopeless, tuple(ways(main, draft, store, folder)))


def ways(main: ModelFile, draft: ModelFile | None, store: ModelStore, folder: Path | None) -> list[Way]:
    """What pays for this main model, or may, when `draft` (None: any) does not; the surest first.

    `folder`: where costs are kept. Looks at the shelf: not for an event loop.
    """
    known = curves(folder)
    own = _curve(known, main)
    found = [*_quantisations(main, draft, store, known, own), *_drafts(main, draft, store, known)]
    if own is not None and own.costs.bound >= WORTH:
        found.append(_found(own.costs.bound))
    return sorted(found, key=lambda way: way.at_most is None)


def sentence(found: Sequence[Way]) -> Reason | None:
    """All ways in one line; None without any."""
    return Reason("would_pay", {"ways": tuple(way.why for way in found)}) if found else None


def _curve(known: Iterable[Curve], main: ModelFile, draft: ModelFile | None = None) -> Curve | None:
    """The newest curve of a main model; with `draft`, of that pair."""
    try:
        ours, theirs = file_identity(main.path), None if draft is None else file_identity(draft.path)
    except OSError:
        return None
    return next((c for c in known if c.key.get("main") == ours and theirs in (None, c.key.get("draft"))), None)


def _quantisations(
    main: ModelFile, draft: ModelFile | None, store: ModelStore, known: Sequence[Curve], own: Curve | None
) -> list[Way]:
    """The main model in other quantisations on the shelf."""
    measured, unmeasured = [], []
    pair = None if draft is None else _curve(known, main, draft)
    for other in store.models():
        if other.path == main.path or not other.usable or not _same_model(main, other):
            continue
        curve = _curve(known, other)
        if curve is not None and own is not None:
            drawn = None if pair is None else ceiling(curve.costs.beside(pair.costs))
            if (drawn if drawn is not None else curve.costs.bound / own.costs.bound) >= WORTH:
                measured.append(_other_main(other.name, curve, own, drawn))
        elif curve is None and main.facts and other.facts and other.facts.weights.total > main.facts.weights.total:
            command = " ".join(["foredraft pair", other.name, *([] if draft is None else [draft.name]), "--measure"])
            unmeasured.append(_unmeasured("quantisation", other.name, command))
    return [*sorted(measured, key=lambda way: -(way.at_most or 0.0))[:_MOST], *unmeasured[:_MOST]]


def _drafts(main: ModelFile, draft: ModelFile | None, store: ModelStore, known: Sequence[Curve]) -> list[Way]:
    """Smaller drafts on the shelf."""
    measured, unmeasured = [], []
    for other, pairing in store.drafts(main):
        if not pairing.usable or (draft is not None and not _smaller(other, draft)):
            continue
        curve, figure = _curve(known, main, other), store.measured(main, other)
        if figure is not None and figure.speedup < 1.0:
            continue
        if curve is None and figure is None:
            unmeasured.append(_unmeasured("draft", other.name, f"foredraft pair {main.name} {other.name} --measure"))
        elif curve is None or curve.ceiling >= WORTH:
            measured.append(_other_draft(other.name, curve, None if figure is None else figure.speedup))
    return [*measured[:_MOST], *unmeasured[:_MOST]]


def _same_model(main: ModelFile, other: ModelFile) -> bool:
    """Whether two files are one model in two quantisations: the same shape and words, and the same name."""
    ours, theirs = main.facts, other.facts
    if ours is None or theirs is None or _form(ours) != _form(theirs):
        return False
    names = [model.name.rsplit("/", 1)[-1].split("@")[0] for model in (main, other)]
    return names[0] == names[1] or bool(ours.name and ours.name == theirs.name)


def _form(facts: ModelFacts) -> tuple[object, ...]:
    shape = facts.shape
    sizes = shape.n_layers, shape.n_embd, shape.n_ff, shape.n_heads, shape.n_experts
    return facts.architecture, *sizes, facts.vocabulary.tokens_hash


def _smaller(draft: ModelFile, than: ModelFile) -> bool:
    return draft.path != than.path and bool(draft.facts and than.facts) and _bytes(draft) < _bytes(than)


def _bytes(model: ModelFile) -> int:
    return model.facts.weights.total if model.facts is not None else 0


# ---- the reasons ----


def _found(bound: float) -> Way:
    return Way("found", "", bound, "", Reason("way_found", {"x": bound}))


def _other_main(name: str, curve: Curve, own: Curve, drawn: float | None) -> Way:
    bound = curve.costs.bound
    most = drawn if drawn is not None else bound
    best = most * curve.speed
    facts = [Reason("pays_bound", {"x": bound})]
    if drawn is not None:
        facts.append(Reason("pays_with_draft", {"x": drawn}))
    facts += [Reason("pays_here", {"x": own.costs.bound}), Reason("pays_speed", {"best": best, "plain": own.speed})]
    if best <= own.speed:
        facts.append(Reason("pays_slower"))
    return Way("quantisation", name, most, "", Reason("way_main", {"model": name, "facts": tuple(facts)}))


def _other_draft(name: str, curve: Curve | None, speedup: float | None) -> Way:
    facts = [Reason("pays_measured", {"x": speedup})] if speedup is not None else []
    if curve is not None:
        facts.append(Reason("pays_at_most", {"x": curve.ceiling}))
    most = curve.ceiling if curve is not None else speedup
    return Way("draft", name, most, "", Reason("way_draft", {"model": name, "facts": tuple(facts)}))


def _unmeasured(kind: str, name: str, command: str) -> Way:
    code = "way_main_unmeasured" if kind == "quantisation" else "way_draft_unmeasured"
    return Way(kind, name, None, command, Reason(code, {"model": name, "command": command}))


def advice(main: Path, draft: Path | None, store: ModelStore, folder: Path | None) -> Reason | None:
    """`ways` for two files in one line; None where there is none, or the shelf cannot be read."""
    try:
        drafted = None if draft is None else store.find(draft)
        return sentence(ways(store.find(main), drafted, store, folder))
    except (ForedraftError, OSError):
        return None
