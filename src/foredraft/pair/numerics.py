"""Which numerics a load uses, chosen by measurement.

*fast* is what llama.cpp does by default: texts have the same law with and without a draft up to rounding, and may part
at near-ties. *exact* keeps to passes whose every bit is that of single steps, so a text is the same with any draft, any
look-ahead, any cached prefix and whatever else runs. *auto* takes exact where it costs next to nothing here.

The choice rests on the probe (`engines/probe.py`) and on times of both modes, measured in turns at the first load of a
file on a machine. It is kept in the user's cache folder under everything it depends on, so nothing is measured twice.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foredraft.core import json_cache
from foredraft.core.errors import ModelError, ParameterError
from foredraft.core.reasons import Reason
from foredraft.engines.base import BLOCK, GRAIN, LARGEST, Chunk, Numerics, OtherMode
from foredraft.engines.llamacpp import exactness
from foredraft.engines.llamacpp.exactness import Costs
from foredraft.pair.speculation import file_identity, identity, library_version, machine

if TYPE_CHECKING:
    from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions

DEAR = 1.03
"""With auto, exact numerics may take so many times the time of fast ones: in writing, reading and guessing."""
FORMAT = 3
"""Of what is stored: another probe finds other things."""
_KIND = "numerics"
_CLOSE = 1.15
"""Times this close together are measured a second time, in turns: machines are shared, and their speed wanders."""
_STEPS = 600
"""What choosing costs in single steps, about."""
_PATIENCE_S = 240.0
"""With auto, choosing may take so much processor time; a model that would take longer runs in fast numerics, and that
is said."""

Open = Callable[["LoadOptions"], "LlamaCppEngine"]
"""Load the main model with these options."""


def load(
    open_engine: Open, options: LoadOptions, asked: str, folder: Path | None, notes: list[Reason], *, keep: bool = True
) -> LlamaCppEngine:
    """The main model, loaded in the numerics that were asked for: `auto`, `exact` or `fast`.

    What is not known from an earlier start is measured, which takes some seconds of a model of a few gigabytes;
    `folder` has the result (None: nowhere), and is written to unless `keep` is false. What was decided is in
    `engine.numerics`, and what could not be done in `notes`. Raises what a load raises, and `NonFiniteLogitsError` when
    the model computes NaN.
    """
    choice = _Choice(open_engine, options, open_engine(exactness.fast(options)))
    try:
        if not choice.engine.rewind_limit.free:
            if asked == "exact":
                notes.append(Reason("not_exact_recurrent", {"architecture": choice.engine.info.architecture}))
            choice.engine.probe()
            return choice.engine
        key = _key(choice.engine)
        stored = json_cache.read(folder, _KIND, key, notes)
        if stored is not None:
            choice.remember(stored, notes)
        before = choice.as_dict()
        mode = choice.mode(asked, notes)
        engine = choice.settle(mode)
        if choice.as_dict() != before:
            if keep:
                json_cache.write(folder, _KIND, key, choice.as_dict(), notes)
            if engine.numerics is not None:
                notes.append(Reason("numerics_measured", {"numerics": engine.numerics.described}))
        return engine
    except BaseException:
        choice.engine.close()
        raise


class _Choice:
    """What is known of both modes, measured where it is needed: times of both to choose by, and the probe of the one
    that is used."""

    def __init__(self, open_engine: Open, options: LoadOptions, engine: LlamaCppEngine) -> None:
        self.engine = engine
        self._open = open_engine
        self._options = options
        self._n_ctx = engine.info.n_ctx
        self._ways: dict[str, Any] = {}  # by which the options of exact numerics differ from those of fast ones
        self._costs: dict[str, Costs] = {}
        self._found: dict[str, Numerics] = {}

    def mode(self, asked: str, notes: list[Reason]) -> str:
        """The mode to use. Afterwards its numerics are known."""
        mode = "fast" if asked == "fast" else self._worth(asked, notes)
        if mode == "exact":
            self._know_exact()
            exact = self._found["exact"]
            if (exact.beside or 0.0) > 0.0:
                if asked == "exact":
                    notes.append(Reason("not_exact_beside", {"d": exact.beside}))
                mode = "fast"
            elif asked == "auto" and (exact.exact_rows == 1 or self._dear()):  # 1: nothing could be guessed
                mode = "fast"
        if mode == "fast" and "fast" not in self._found:
            self._use(exactness.trial(exactness.fast(self._options), self._n_ctx))
            self._found["fast"] = self.engine.probe(whole=True)
        return mode

    def settle(self, mode: str) -> LlamaCppEngine:
        """The engine, loaded as the mode wants it."""
        self._use(self._wanted(mode))
        engine = self.engine
        engine.numerics = dataclasses.replace(
            self._found[mode], mode=mode, other=self._other(mode), ordered=engine.keeps_order
        )
        engine.exact_rows = engine.numerics.exact_rows if mode == "exact" else None
        if engine.options.n_ubatch >= LARGEST:  # else llama.cpp would cut large passes anew
            engine.exact_grain = engine.numerics.grain
        return engine

    # ---- measuring ----

    def _worth(self, asked: str, notes: list[Reason]) -> str:
        """exact where that was asked for or looks cheap, by the times of both modes."""
        if not self._costs:
            seconds = _STEPS * _step_seconds(self.engine)
            if asked == "auto" and seconds > _PATIENCE_S:
                notes.append(Reason("numerics_unmeasured", {"n": round(seconds / 60.0)}))
                return "fast"
            self._time()
        return "exact" if asked == "exact" or not self._dear() else "fast"

    def _dear(self) -> bool:
        return _dearer(self._costs["exact"], self._costs["fast"])

    def _time(self) -> None:
        """Time the fast way and all exact ways to attend, for the same weights."""
        quick = exactness.trial(exactness.fast(self._options), self._n_ctx)
        ways = [exactness.trial(way, self._n_ctx) for way in exactness.attentions(self._options)]
        times: dict[LoadOptions, Costs] = {}
        for turn in range(2):
            for way in [quick, *ways]:
                if turn and not _close(times[way], times[quick]):
                    continue
                try:
                    self._use(way)
                except ModelError:  # this model's attention does not take these types
                    ways.remove(way)
                    continue
                took = exactness.measure_costs(self.engine, None)
                times[way] = times[way].least(took) if way in times else took
            if not any(_close(times[way], times[quick]) for way in ways):
                break
        best = min(ways or [quick], key=lambda way: times[way].step_s + times[way].read_s)
        self._costs = {"fast": times[quick], "exact": times[best]}
        self._keep(best)

    def _know_exact(self) -> None:
        """Probe the exact way. Where its kernels limit the passes, see whether weights as they lie in the file are
        better: they have other kernels."""
        if "exact" in self._found:
            return
        best = exactness.trial(self._wanted("exact"), self._n_ctx)
        self._use(best)
        found = self.engine.probe(exact=True)
        if found.exact_rows is not None:
            costs = exactness.measure_costs(self.engine, found.exact_rows, found.grain)
            plain = dataclasses.replace(best, repack=False)
            self._use(plain)
            other = self.engine.probe(exact=True)
            other_costs = exactness.measure_costs(self.engine, other.exact_rows, other.grain)
            if other_costs.best_s < costs.best_s:
                best, found, costs = plain, other, other_costs
            self._costs["exact"] = costs
        self._found["exact"] = found
        self._keep(best)

    def _keep(self, way: LoadOptions) -> None:
        self._ways = {name: getattr(way, name) for name in ("key_type", "value_type", "repack")}

    def _wanted(self, mode: str) -> LoadOptions:
        wanted = exactness.fast(self._options)
        return dataclasses.replace(wanted, ordered=True, **self._ways) if mode == "exact" else wanted

    def _use(self, options: LoadOptions) -> None:
        """Let the engine run with these options. Weights that lie in another layout are loaded again."""
        if options.repack != self.engine.options.repack:
            self.engine.close()
            self.engine = self._open(options)
        elif options != self.engine.options:
            self.engine.reopen(options)

    # ---- telling and keeping ----

    def _other(self, mode: str) -> OtherMode | None:
        """What the mode that is not used would bring."""
        if not self._costs:
            return None
        name = "fast" if mode == "exact" else "exact"
        mine, costs, found = self._costs[mode], self._costs[name], self._found.get(name)
        writing, reading = mine.step_s / costs.step_s, mine.read_s / costs.read_s
        rows = found.exact_rows if found is not None and name == "exact" else None
        return OtherMode(name, round(writing, 3), round(reading, 3), rows)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ways": self._ways,
            "costs": {mode: dataclasses.asdict(costs) for mode, costs in self._costs.items()},
            "found": {mode: _numerics_to_json(found) for mode, found in self._found.items()},
        }

    def remember(self, stored: dict[str, Any], notes: list[Reason]) -> None:
        """What `as_dict` gave at an earlier start; nothing, with a note, where that is damaged."""
        try:
            costs = {mode: exactness.Costs(**times) for mode, times in stored["costs"].items()}
            if any(not _finite(seconds) > 0.0 for times in costs.values() for seconds in dataclasses.astuple(times)):
                raise ValueError(costs)
            ways = dict(stored["ways"])
            dataclasses.replace(self._options, **ways)
            found = {mode: _numerics_from_json(of) for mode, of in stored["found"].items()}
            if set(costs) not in (set(), {"fast", "exact"}) or not set(found) <= {"fast", "exact"}:
                raise ValueError(stored)
        except (KeyError, TypeError, ValueError, AttributeError, ParameterError):
            notes.append(Reason("stored_damaged", {"what": Reason("stored_numerics")}))
            return
        self._ways, self._costs, self._found = ways, costs, found


def known(path: Path, folder: Path) -> dict[str, Any] | None:
    """What earlier loads of a file have measured here, the newest first: {"mode": what auto takes, "writing" and
    "reading": the speed of exact numerics as a multiple of fast ones}. None where nothing is stored."""
    name = file_identity(path)
    found = []
    for file in folder.glob(f"{_KIND}-*.json"):
        try:
            stored = json.loads(file.read_bytes())
            if stored["key"]["main"] == name and stored["key"]["probe"] == FORMAT and stored["content"]["costs"]:
                costs = {mode: exactness.Costs(**stored["content"]["costs"][mode]) for mode in ("fast", "exact")}
                found.append((file.stat().st_mtime, costs["fast"], costs["exact"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # said where it is used
    if not found:
        return None
    _, fast, exact = max(found, key=lambda entry: entry[0])
    return {
        "mode": "fast" if _dearer(exact, fast) else "exact",
        "writing": round(fast.step_s / exact.step_s, 3),
        "reading": round(fast.read_s / exact.read_s, 3),
    }


def _dearer(exact: Costs, fast: Costs) -> bool:
    pairs = zip(dataclasses.astuple(exact), dataclasses.astuple(fast), strict=True)
    return any(a > DEAR * b for a, b in pairs)


def _close(costs: Costs, others: Costs) -> bool:
    """Whether the two could change places."""
    return all(
        a < _CLOSE * b and b < _CLOSE * a
        for a, b in zip(dataclasses.astuple(costs)[:2], dataclasses.astuple(others)[:2], strict=True)
    )


def _step_seconds(engine: LlamaCppEngine) -> float:
    """Seconds of a single step, the lesser of two."""
    times, clock = [], exactness.clock_of(engine)
    for _ in range(2):
        began = clock()
        engine.forward([Chunk(0, 0, [engine.tokenizer.bos or 0], want=1)])
        times.append(clock() - began)
        engine.rewind(0, 0)
    return min(times)


def _key(engine: LlamaCppEngine) -> json_cache.Key:
    """Everything that chooses llama.cpp's kernels."""
    from foredraft.engines.processor import cores

    options = engine.options
    return {
        "main": identity(engine),
        "machine": machine(),
        "library": library_version(),
        "probe": FORMAT,
        "batch": options.n_batch,
        "ubatch": options.n_ubatch,
        "threads": options.n_threads or cores(),
        "threads_batch": options.n_threads_batch,
        "gpu_layers": options.gpu_layers,
        "device": options.device,
        "kv_type": options.kv_type,
        "flash_attention": options.flash_attention,
        "long": min(engine.info.n_ctx, 2048),
    }


def _numerics_to_json(found: Numerics) -> dict[str, Any]:
    return {
        "by_batch": {str(size): difference for size, difference in found.by_batch.items()},
        "argmax_flips": found.argmax_flips,
        "positions": found.positions,
        "context": found.context,
        "large": found.large,
        "beside": found.beside,
        "threads": found.threads,
        "grain": found.grain,
    }


def _numerics_from_json(stored: dict[str, Any]) -> Numerics:
    by_batch = {int(size): _finite(value) for size, value in stored["by_batch"].items()}
    large, beside, threads = (
        None if stored[name] is None else _finite(stored[name]) for name in ("large", "beside", "threads")
    )
    flips, positions, context = (int(stored[name]) for name in ("argmax_flips", "positions", "context"))
    grain = int(stored["grain"])
    if grain not in (GRAIN, BLOCK):
        raise ValueError(grain)
    return Numerics(by_batch, flips, positions, context, large=large, beside=beside, threads=threads, grain=grain)


def _finite(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number >= 0.0):
        raise ValueError(value)
    return number
