"""What things cost on this machine: t(n), the seconds of a pass with n rows, and the seconds of a draft step.

Nothing about t(n) is assumed: the curves jump at kernel borders and are not even monotone (engine.md §3). Each n has
its own figure, measured at load or at its first use; between measured points the prior never interpolates across
4k|4k+1 or 8|9 (a new block is taken to cost what its far end costs). Every round corrects the figures: its own n, and
once that is well known the `pace` of the whole machine (heat, other programs), which moves all n together. A single
time far off the figure is a disturbance and teaches nothing; two in a row on the same side are the new truth.

Passes at different context lengths are kept apart in bins of powers of two; a new bin begins as a copy of its nearest.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from foredraft.engines.base import Chunk, Engine
from foredraft.speculative.controllers import disk

ROWS = 17
"""Largest n with a figure of its own: the last token and `MAX_DRAFT` guesses. Beyond it t(n) goes on in a line."""
SPIKE = 2.0
"""A time beyond this factor of its figure (or below its inverse) is a disturbance until it happens twice."""
MEASURE_STEPS = 25.0
"""Most time that measuring at load may take, in plain steps."""
_ROUND_S, _ROW_S = 60e-6, 30e-6
"""Prior for the work around a pass, before rounds have been seen: a part per round and a part per row."""
_CATCH_UP = 16
"""Tokens by which the cost of catching up is measured."""
_KNOWN = 8
"""Observations after which a figure counts as known, so that a deviation is laid to the machine's pace."""
_SLOWEST_RATE = 0.05
_MOVED = 0.03
"""Relative change of a figure from which on decisions are made anew."""
_WINDOWS = (16, 512)
"""Least and most tokens a draft reads to catch up."""
_FIRST_BIN = 9
"""Contexts up to 2^9 tokens share the first bin."""


def bin_of(context: int) -> int:
    """The bin of a context length in tokens."""
    return max(_FIRST_BIN, (context - 1).bit_length())


class Figure:
    """One running estimate in seconds: an average that takes no notice of a single disturbance."""

    __slots__ = ("count", "marked", "odd", "seconds")

    def __init__(self, seconds: float, count: int = 0) -> None:
        self.seconds = self.marked = seconds
        self.count = count
        self.odd = 0.0
        """The last disturbance as a ratio to the figure; 0 when the last time was ordinary."""

    def note(self, seconds: float) -> float:
        """Take in one time; returns what of it may be laid to the guess: at most SPIKE times the figure."""
        ratio = seconds / self.seconds
        if 1.0 / SPIKE <= ratio <= SPIKE:
            self.odd = 0.0
            self.seconds *= 1.0 + max(_SLOWEST_RATE, 1.0 / (self.count + 1)) * (ratio - 1.0)
        elif self.odd and (self.odd > 1.0) == (ratio > 1.0):
            nearer = min(self.odd, ratio) if ratio > 1.0 else max(self.odd, ratio)
            self.seconds *= nearer
            self.odd, self.count = 0.0, 1
        else:
            self.odd = ratio
            return min(seconds, SPIKE * self.seconds)
        self.count += 1
        return seconds


class Curve:
    """t(n) for one range of context lengths: figures for the n that were measured, a prior for the others."""

    def __init__(self, figures: Mapping[int, Figure]) -> None:
        self.figures = dict(figures)
        self.seconds: list[float] = []
        """By n; index 0 is unused. Without the machine's pace."""
        self.refresh()

    def refresh(self) -> None:
        """Fill the prior between and beyond the measured n."""
        known = sorted(self.figures)
        t = [0.0] * (ROWS + 1)
        for n in range(1, ROWS + 1):
            t[n] = self.figures[n].seconds if n in self.figures else self._prior(n, known)
        self.seconds = t

    def at(self, n: int) -> float:
        if n <= ROWS:
            return self.seconds[n]
        return self.seconds[ROWS] + (n - ROWS) * (self.seconds[ROWS] - self.seconds[1]) / (ROWS - 1)

    def copy(self) -> Curve:
        return Curve({n: Figure(f.seconds, min(f.count, 2)) for n, f in self.figures.items()})

    def _prior(self, n: int, known: Sequence[int]) -> float:
        below = max((k for k in known if k < n), default=0)
        above = min((k for k in known if k > n), default=0)
        figure = self.figures
        if not below:
            return figure[above].seconds
        if above:
            if (below - 1) // 4 != (n - 1) // 4:
                return max(figure[above].seconds, figure[below].seconds)
            share = (n - below) / (above - below)
            return figure[below].seconds + share * (figure[above].seconds - figure[below].seconds)
        # beyond everything measured: the steeper of the whole curve's slope and its last stretch, in whole blocks
        end = (n + 3) // 4 * 4
        first = known[0]
        if below == first:
            return figure[below].seconds * (1.0 + 0.25 * (end - below))
        before = known[-2]
        slope = max(
            (figure[below].seconds - figure[first].seconds) / (below - first),
            (figure[below].seconds - figure[before].seconds) / (below - before),
            0.0,
        )
        return figure[below].seconds + (end - below) * slope


class CostModel:
    """The costs of one pair on this machine. Seconds everywhere; `version` moves when the figures have moved."""

    def __init__(self, passes: Mapping[int, float], draft_s: float | None = None) -> None:
        """`passes`: measured seconds by n (n = 1 is needed); `draft_s`: seconds of a draft step, None without one."""
        figures = {n: Figure(s, 2) for n, s in passes.items() if 1 <= n <= ROWS and s > 0.0 and math.isfinite(s)}
        if 1 not in figures:
            raise ValueError("the time of a plain step is needed")
        self.notes: list[str] = []
        self.pace = 1.0
        self.version = 0
        self.passes = 0
        """Passes seen since the load."""
        self.spread = 0.02
        """Running mean of |log(time / figure)| of plain steps: how far this machine's clock wanders."""
        self.catch_up_share = 0.25
        """Cost of reading one token more in a draft step, as a share of the step."""
        self._bins = {_FIRST_BIN: Curve(figures)}
        self._draft = {1: Figure(draft_s, 2)} if draft_s is not None else {}

    # ---- asking ----

    def pass_s(self, n: int, context: int = 0) -> float:
        """Seconds of a round with n rows, drafting apart."""
        return self.curve(context).at(n) * self.pace

    def curve(self, context: int = 0) -> Curve:
        """The curve of a context length; without `pace`, which all n share."""
        index = bin_of(context)
        curve = self._bins.get(index)
        if curve is None:
            nearest = min(self._bins, key=lambda known: (abs(known - index), known))
            curve = self._bins[index] = self._bins[nearest].copy()
        return curve

    def draft_s(self, sequences: int = 1) -> float:
        """Seconds of one draft step for so many sequences at once; infinite without a draft."""
        figure = self._draft.get(sequences)
        if figure is not None:
            return figure.seconds
        if not self._draft:
            return math.inf
        nearest = min(self._draft, key=lambda known: (abs(known - sequences), known))
        growth = 1.0 + self.catch_up_share * max(0, sequences - nearest)
        return self._draft[nearest].seconds * growth

    @property
    def draft_known(self) -> bool:
        """Whether draft steps have been timed in use: a load may have timed them at a bad moment."""
        return any(figure.count > 3 for figure in self._draft.values()) or not self._draft

    def catch_up_s(self, behind: int) -> float:
        """Seconds the first draft step takes longer because the draft is `behind` tokens behind (1 is the ordinary
        case). A draft further behind than `window` reads only that many."""
        if behind < 2 or not self._draft:
            return 0.0
        return min(behind - 1, self.window) * self.catch_up_share * self.draft_s()

    @property
    def window(self) -> int:
        """Tokens a draft should read at most to catch up after a rest: half a plain step's worth. It then guesses with
        a hole in its context, which costs acceptance at worst (algorithms.md §7.3)."""
        if not self._draft:
            return _WINDOWS[1]
        tokens = 0.5 * self.curve().at(1) * self.pace / (self.catch_up_share * self.draft_s())
        return int(min(max(tokens, _WINDOWS[0]), _WINDOWS[1]))

    def ratios(self, context: int = 0) -> dict[int, float]:
        """v(n) = t(n) / t(1) of the measured n: what a bench prints beside its speed-ups."""
        curve = self.curve(context)
        return {n: curve.seconds[n] / curve.seconds[1] for n in sorted(curve.figures)}

    @property
    def bound(self) -> float:
        """max n / v(n): no speculation can be faster than this on this machine."""
        return max(n / v for n, v in self.ratios().items())

    # ---- learning ----

    def note_pass(self, n: int, context: int, seconds: float) -> float:
        """A round with n rows took so long, drafting apart. Returns the seconds that may be laid to it (see `Figure`);
        a clock that went backwards counts as the expected time."""
        curve = self.curve(context)
        expected = curve.at(n) * self.pace
        if not 0.0 < seconds < math.inf:
            return expected
        self.passes += 1
        if n > ROWS:
            return min(seconds, SPIKE * expected)
        figure = curve.figures.get(n)
        if figure is None:
            figure = curve.figures[n] = Figure(curve.seconds[n])
            if seconds > SPIKE * expected:  # the first pass of a shape may build graphs and choose kernels
                curve.refresh()
                figure.odd = seconds / expected
                return SPIKE * expected
        ratio = seconds / expected
        if n == 1 and 1.0 / SPIKE < ratio < SPIKE:
            self.spread += 0.02 * (abs(math.log(ratio)) - self.spread)
        if figure.count >= _KNOWN and 1.0 / SPIKE < ratio < SPIKE:
            step = math.exp(0.03 * math.log(ratio))
            self.pace *= step
            figure.odd = 0.0
            figure.seconds *= step
            charged = seconds
        else:
            charged = figure.note(seconds / self.pace) * self.pace
        curve.seconds[n] = figure.seconds
        if self._moved(figure):
            curve.refresh()
        return charged

    def note_draft(self, sequences: int, steps: int, behind: int, seconds: float) -> float:
        """So many draft steps for so many sequences took so long, the draft `behind` tokens behind at first. Returns
        the seconds that may be laid to them."""
        step = self.draft_s(sequences)
        effort = steps + self.catch_up_share * min(max(0, behind - 1), self.window)
        expected = effort * step if step < math.inf else seconds
        if not 0.0 < seconds < math.inf or steps < 1:
            return expected
        figure = self._draft.get(sequences)
        if figure is None:
            figure = self._draft[sequences] = Figure(step if step < math.inf else seconds / steps)
        if behind > 16:
            # a long catch-up says what reading costs, and little of a step
            share = (seconds / figure.seconds - steps) / min(behind - 1, self.window)
            self.catch_up_share += 0.2 * (min(max(share, 0.002), 1.0) - self.catch_up_share)
            return min(seconds, SPIKE * expected)
        charged = figure.note(seconds / effort) * effort
        self._moved(figure)
        return charged

    @property
    def plain_error(self) -> float:
        """Relative standard error of the plain step's time: its spread over the passes that inform it."""
        count = min(self.curve().figures[1].count, 20)
        return 0.003 + 1.25 * self.spread / math.sqrt(max(count, 1))

    def _moved(self, figure: Figure) -> bool:
        """Whether a figure has moved enough for decisions to be made anew."""
        if abs(figure.seconds - figure.marked) < _MOVED * figure.marked:
            return False
        figure.marked = figure.seconds
        self.version += 1
        return True

    # ---- keeping ----

    def save(self, folder: Path | None, key: disk.Key) -> bool:
        content = {
            "bins": {
                str(index): {str(n): f.seconds * self.pace for n, f in curve.figures.items()}
                for index, curve in self._bins.items()
            },
            "draft": {str(n): f.seconds for n, f in self._draft.items()},
            "catch_up_share": self.catch_up_share,
        }
        return disk.write(folder, "costs", key, content, self.notes)

    @classmethod
    def load(cls, folder: Path | None, key: disk.Key, notes: list[str]) -> CostModel | None:
        """The stored costs of a key; None, with the reason in `notes`, when they must be measured."""
        content = disk.read(folder, "costs", key, notes)
        if content is None:
            return None
        try:
            bins = {int(i): {int(n): _seconds(s) for n, s in c.items()} for i, c in content["bins"].items()}
            draft = {int(n): _seconds(s) for n, s in content["draft"].items()}
            share = _seconds(content["catch_up_share"])
            costs = cls(bins[_FIRST_BIN] if _FIRST_BIN in bins else bins[min(bins)])
            costs._bins = {i: Curve({n: Figure(s, 2) for n, s in curve.items()}) for i, curve in bins.items()}
            if any(1 not in curve.figures for curve in costs._bins.values()):
                raise ValueError("no plain step")
            costs._bins.setdefault(_FIRST_BIN, costs._bins[min(costs._bins)].copy())
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            notes.append("The stored costs are damaged and are measured anew.")
            return None
        costs._draft = {n: Figure(s, 2) for n, s in draft.items()}
        costs.catch_up_share = min(share, 1.0)
        costs.notes = notes
        return costs


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0.0 < seconds < 3600.0:
        raise ValueError("not a time")
    return seconds


@runtime_checkable
class ThreadChoice(Protocol):
    """An engine whose thread count can be changed after the load."""

    n_threads: int

    def set_threads(self, n_threads: int) -> None: ...


def measure(
    target: Engine,
    draft: Engine | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> CostModel:
    """Time passes of n in {1, 2, 4, 8} and a draft step, warmed up, in at most `MEASURE_STEPS` plain steps.

    Reads arbitrary tokens behind whatever the emptiest slot of each engine holds, and takes them back. For a draft that
    offers a choice of threads the fastest of one, half and all of them is kept: a tiny draft is fastest with one.
    """
    notes: list[str] = []
    passes = _measure_passes(_Watch(target, clock), notes)
    draft_s = share = None
    if draft is not None:
        draft_s, share = _measure_draft(_Watch(draft, clock), passes[1] * 5.0)
    costs = CostModel({n: s + _ROUND_S + _ROW_S * n for n, s in passes.items()}, draft_s)
    if share is not None:
        costs.catch_up_share = share
    costs.notes = notes
    return costs


class _Watch:
    """Times passes of an engine at its emptiest slot."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self.engine = engine
        self._clock = clock
        self._began = clock()
        self._slot = min(range(engine.info.n_slots), key=engine.length)
        self._start = self._at = engine.length(self._slot)
        self.most = max(1, min(engine.info.n_batch, engine.info.n_ctx - self._start))
        """Most tokens of one timed pass."""
        self._end = self._start + max(self.most, 64)
        self._tokens = _some_tokens(engine, 64)

    @property
    def spent(self) -> float:
        return self._clock() - self._began

    def time(self, n: int, want: int | None = None) -> float:
        """Seconds of one pass of n tokens."""
        if self._at + n > min(self._end, self.engine.info.n_ctx):
            self.rewind()
        began = self._clock()
        self.engine.forward([Chunk(self._slot, self._at, self._tokens[:n], want=n if want is None else want)])
        self._at += n
        return max(self._clock() - began, 1e-7)

    def rewind(self) -> None:
        self.engine.rewind(self._slot, self._start)
        self._at = self._start


def _measure_passes(watch: _Watch, notes: list[str]) -> dict[int, float]:
    watch.time(1)  # the first pass builds graphs and chooses kernels
    passes = {1: min(watch.time(1), watch.time(1))}
    for n in (2, 4, 8):
        if n > watch.most:
            break
        first = watch.time(n)
        if watch.spent + first > MEASURE_STEPS * passes[1]:
            notes.append(f"Passes of {n} and more tokens are slow here; what they cost is learned in use.")
            break
        passes[n] = min(first, watch.time(n))
    if watch.spent + 2 * passes[1] < MEASURE_STEPS * passes[1]:
        passes[1] = min(passes[1], watch.time(1), watch.time(1))  # disturbances only ever add time
    watch.rewind()
    return passes


def _measure_draft(watch: _Watch, budget_s: float) -> tuple[float, float]:
    """(seconds of a step, what each token more in it costs as a share of a step)."""

    def step() -> float:
        watch.time(1)
        return min(watch.time(1), watch.time(1), watch.time(1))

    best_s = step()
    engine = watch.engine
    if isinstance(engine, ThreadChoice):
        best = most = engine.n_threads
        for n in sorted({1, max(1, most // 2)} - {most}):
            if watch.spent > budget_s:
                break
            engine.set_threads(n)
            seconds = step()
            if seconds < 0.97 * best_s:
                best, best_s = n, seconds
        engine.set_threads(best)
    n = min(_CATCH_UP, watch.most)
    share = (min(watch.time(n, want=1), watch.time(n, want=1)) / best_s - 1.0) / max(1, n - 1)
    watch.rewind()
    return best_s, min(max(share, 0.002), 1.0)


def _some_tokens(engine: Engine, count: int) -> list[int]:
    """Arbitrary tokens: what a pass costs does not depend on which."""
    draw = random.Random(7)  # noqa: S311 - not a secret
    return [draw.randrange(engine.info.n_vocab) for _ in range(count)]
