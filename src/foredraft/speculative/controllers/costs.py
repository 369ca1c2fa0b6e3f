"""What things cost on this machine: t(n), the seconds of a pass with n rows, and the seconds of a draft step.

Nothing about t(n) is assumed: the curves jump at kernel borders and are not even monotone (engine.md §3). Each n has
its own figure, measured at load or at its first use; between measured points the prior never interpolates across
4k|4k+1 or 8|9 (a new block is taken to cost what its far end costs). Every round corrects two things: the figure of
its own n, and the `pace` of the whole machine (heat, other programs), which all n and the draft share. Single times far
off their figure are disturbances and teach nothing; when most of the last few are off the same way, that is the truth.

Passes at different context lengths are kept apart in bins of powers of two; a new bin begins as a copy of its nearest.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foredraft.speculative.controllers import disk

ROWS = 17
"""Largest n with a figure of its own: the last token and `MAX_DRAFT` guesses. Beyond it t(n) goes on in a line."""
SPIKE = 2.0
"""A time beyond this factor of its figure (or below its inverse) is a disturbance, until most times are."""
JUMP = 100.0
"""A time beyond this factor of what was expected is a clock that jumped, or a machine that slept: nobody's pass."""
_SLOWEST_RATE = 0.05
_LAST = 5
"""Times of one n by which disturbances are told from change."""
_PACE_LAST = 9
"""Passes by which disturbances are told from a change of pace."""
_PLAIN_RATE, _OTHER_RATE = 0.1, 0.03
"""How fast the pace follows plain passes, and others of a well-known n."""
_MOVED = 0.03
"""Relative change of a figure from which on decisions are made anew."""
_WINDOWS = (16, 512)
"""Least and most tokens a draft reads to catch up."""
_FIRST_BIN = 8
"""Contexts up to 2^8 tokens share the first bin: KV caches grow in steps of 256 cells."""


def bin_of(context: int) -> int:
    """The bin of a context length in tokens."""
    return max(_FIRST_BIN, (context - 1).bit_length())


class Figure:
    """One running estimate in seconds at pace 1: an average that takes no notice of single disturbances."""

    __slots__ = ("count", "last", "marked", "seconds")

    def __init__(self, seconds: float, count: int = 0) -> None:
        self.seconds = self.marked = seconds
        self.count = count
        """Times it stands on."""
        self.last = (1.0,) * min(count, _LAST)
        """The last few times, as ratios to the figure."""

    def note(self, seconds: float) -> float:
        """Take in one time; returns what of it may be laid to a guess. Of a well-known figure that is at most SPIKE
        times the figure, of another one everything: what was not known is no disturbance."""
        ratio = seconds / self.seconds
        charged = min(seconds, SPIKE * self.seconds) if self.count >= _LAST else seconds
        self.last = (*self.last[1 - _LAST :], ratio)
        self.count += 1
        if ordinary(ratio):
            self.seconds *= 1.0 + max(_SLOWEST_RATE, 1.0 / self.count) * (ratio - 1.0)
        else:
            middle = median(self.last, low=ratio > 1.0)
            if self.count > 1 and not ordinary(middle):
                self.seconds *= min(middle, SPIKE)
                self.last, self.count = (1.0,), _LAST
        return charged


def ordinary(ratio: float) -> bool:
    """Whether a time is near enough its figure to teach something."""
    return 1.0 / SPIKE <= ratio <= SPIKE


def median(values: Sequence[float], *, low: bool = True) -> float:
    """The middle value; of an even number the lower or the higher middle."""
    return sorted(values)[(len(values) - 1) // 2 if low else len(values) // 2]


class Curve:
    """t(n) for one range of context lengths: figures for the n that were measured, a prior for the others.

    The figure of n = 1 never moves: what plain steps take now is that figure times `pace`, and all others with it.
    """

    def __init__(self, figures: Mapping[int, Figure], pace: float = 1.0) -> None:
        self.figures = dict(figures)
        self.pace = pace
        """How slow the machine is just now, as a factor on every figure."""
        self.last: deque[float] = deque(maxlen=_PACE_LAST)
        """The last passes, as ratios to their figures."""
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
        return self.seconds[ROWS] + (n - ROWS) * max(0.0, self.seconds[ROWS] - self.seconds[1]) / (ROWS - 1)

    def copy(self) -> Curve:
        return Curve({n: Figure(f.seconds, min(f.count, 2)) for n, f in self.figures.items()}, self.pace)

    def follow(self, ratio: float, rate: float) -> None:
        """Let the pace follow a pass that took `ratio` times its figure; disturbed ones move it once they are most."""
        self.last.append(ratio)
        if ordinary(ratio / self.pace):
            self.pace += rate * (ratio - self.pace)
        elif len(self.last) > _PACE_LAST // 2 and not ordinary(median(self.last) / self.pace):
            self.pace = median(self.last)

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

    def __init__(self, passes: Mapping[int, float], draft_s: float | None = None, first_s: float | None = None) -> None:
        """`passes`: measured seconds by n (n = 1 is needed); `draft_s`: seconds of a draft step, None without one;
        `first_s`: of the first one of a round, in which the draft reads what has been written since."""
        figures = {n: Figure(s, 2) for n, s in passes.items() if 1 <= n <= ROWS and s > 0.0 and math.isfinite(s)}
        if 1 not in figures:
            raise ValueError("the time of a plain step is needed")
        self.notes: list[str] = []
        self.version = 0
        self.passes = 0
        """Passes seen since the load."""
        self.spread = 0.02
        """Running mean of |log(time / figure)| of plain steps: how far this machine's clock wanders."""
        self.catch_up_share = 0.25
        """Cost of reading one token more in a draft step, as a share of the step."""
        self.forked = False
        """Whether the main model reads again what stood of a rejected guess (`engines/rewind.py`)."""
        self._bins = {_FIRST_BIN: Curve(figures)}
        self._now = self._bins[_FIRST_BIN]
        self._draft = {1: Figure(draft_s, 2)} if draft_s is not None else {}
        self._first = {1: Figure(first_s or draft_s, 2)} if draft_s is not None else {}
        self.measured_at = 0.0
        """When the figures were measured, in Unix seconds."""
        self.bare_s: tuple[float, float | None] = (passes[1], draft_s)
        """A plain step and a draft step as they were measured, without the work around them: what a look at the next
        load compares with (`measure.drift`)."""
        self.switch_s = 0.0
        """What a plain pass behind another one costs more: for another number of rows the graph is built anew."""
        self._shape = 1  # rows of the last pass

    # ---- asking ----

    @property
    def pace(self) -> float:
        """How slow the machine is just now, as a factor on every figure."""
        return self._now.pace

    def pass_s(self, n: int, context: int = 0) -> float:
        """Seconds of a round with n rows, drafting apart."""
        curve = self.curve(context)
        return curve.at(n) * curve.pace

    def curve(self, context: int = 0) -> Curve:
        """The curve of a context length; its seconds are those of pace 1."""
        index = bin_of(context)
        curve = self._bins.get(index)
        if curve is None:
            nearest = min(self._bins, key=lambda known: (abs(known - index), known))
            curve = self._bins[index] = self._bins[nearest].copy()
        return curve

    def draft_s(self, sequences: int = 1) -> float:
        """Seconds of one draft step behind the first, for so many sequences at once; infinite without a draft."""
        return self._drafting(self._draft, sequences)

    def first_s(self, sequences: int = 1) -> float:
        """Seconds of the first draft step of a round that follows a round with guesses; infinite without a draft."""
        return self._drafting(self._first, sequences)

    def _drafting(self, figures: dict[int, Figure], sequences: int) -> float:
        figure = figures.get(sequences)
        if figure is not None:
            return figure.seconds * self.pace
        if not figures:
            return math.inf
        nearest = min(figures, key=lambda known: (abs(known - sequences), known))
        growth = 1.0 + self.catch_up_share * max(0, sequences - nearest)
        return figures[nearest].seconds * growth * self.pace

    @property
    def drafts(self) -> bool:
        """Whether there is a draft model among them."""
        return bool(self._draft)

    def beside(self, draft: CostModel | None) -> CostModel:
        """This main model's costs with the draft of another pair on this machine, or with none."""
        costs = CostModel({1: 1.0})
        costs._bins = {index: curve.copy() for index, curve in self._bins.items()}
        costs._now = costs._bins[_FIRST_BIN]
        costs.measured_at, costs.bare_s = self.measured_at, (self.bare_s[0], None)
        costs.forked = self.forked
        if draft is not None:
            costs._draft = {n: Figure(f.seconds * draft.pace, 2) for n, f in draft._draft.items()}
            costs._first = {n: Figure(f.seconds * draft.pace, 2) for n, f in draft._first.items()}
            costs.catch_up_share, costs.bare_s = draft.catch_up_share, (self.bare_s[0], draft.bare_s[1])
        return costs

    @property
    def draft_known(self) -> bool:
        """Whether draft steps have been timed in use: a load may have timed them at a bad moment."""
        return any(figure.count > 3 for figure in self._first.values()) or not self._first

    def catch_up_s(self, behind: int) -> float:
        """Seconds the first draft step takes longer because the draft is `behind` tokens behind (1 or 2 is the ordinary
        case). A draft further behind than `window` reads only that many."""
        if behind <= 2 or not self._draft:
            return 0.0
        return min(behind - 2, self.window) * self.catch_up_share * self.draft_s()

    @property
    def window(self) -> int:
        """Tokens a draft should read at most to catch up after a rest: half a plain step's worth. It then guesses with
        a hole in its context, which costs acceptance at worst (algorithms.md §7.3)."""
        if not self._draft:
            return _WINDOWS[1]
        tokens = 0.5 * self._now.at(1) * self.pace / (self.catch_up_share * self.draft_s())
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

    def note_pass(self, n: int, context: int, seconds: float, *, plain: bool = False) -> float:
        """A round with n rows took so long, drafting apart; a `plain` one had no guess among them. Returns the seconds
        that may be laid to it (see `Figure`); a clock that jumped counts as the expected time."""
        curve = self._now = self.curve(context)
        expected = curve.at(n) * curve.pace
        same, self._shape = n == self._shape, n
        if not 0.0 < seconds < JUMP * expected:
            return expected
        self.passes += 1
        if n > ROWS:
            return min(seconds, SPIKE * expected)
        if not same and (n == 1 or plain):  # a graph was built for it: that says nothing about the pace
            more = min(max(0.0, seconds - expected), expected)
            self.switch_s += 0.1 * (more - self.switch_s)
            return min(seconds, SPIKE * expected)
        if n == 1:
            ratio = seconds / curve.seconds[1]
            if ordinary(ratio / curve.pace):
                self.spread += 0.02 * (abs(math.log(ratio / curve.pace)) - self.spread)
            curve.follow(ratio, _PLAIN_RATE)
            return min(seconds, SPIKE * expected)
        figure = curve.figures.get(n)
        if figure is None:
            figure = curve.figures[n] = Figure(curve.seconds[n])
        charged = figure.note(seconds / curve.pace) * curve.pace
        if figure.count > _LAST:
            curve.follow(seconds / figure.seconds, _OTHER_RATE)
        curve.seconds[n] = figure.seconds
        if self._moved(figure):
            curve.refresh()
        return charged

    def note_draft(self, sequences: int, steps: int, behind: int, first_s: float, rest_s: float) -> float:
        """So many draft steps for so many sequences took so long, the first one and the rest of them; the draft was
        `behind` tokens behind. Returns the seconds that may be laid to them."""
        if steps < 1:
            return 0.0
        charged = 0.0
        if steps > 1:
            charged = self._note_step(self._draft, sequences, rest_s / (steps - 1)) * (steps - 1)
        catch_up = self.catch_up_s(behind)
        if not catch_up:
            return charged + self._note_step(self._first, sequences, first_s)
        # a long catch-up says what reading costs, and little of a step
        expected = self.first_s(sequences) + catch_up
        if not 0.0 < first_s < JUMP * expected:
            return charged + (expected if expected < math.inf else 0.0)
        read = min(behind - 2, self.window)
        share = (first_s - self.first_s(sequences)) / self.draft_s(sequences) / read
        self.catch_up_share += 0.2 * min(1.0, read / 16) * (min(max(share, 0.002), 1.5) - self.catch_up_share)
        return charged + min(first_s, SPIKE * expected)

    def _note_step(self, figures: dict[int, Figure], sequences: int, seconds: float) -> float:
        expected = self._drafting(figures, sequences)
        if not 0.0 < seconds < JUMP * expected:
            return expected if expected < math.inf else 0.0
        figure = figures.get(sequences)
        if figure is None:
            figure = figures[sequences] = Figure((expected if expected < math.inf else seconds) / self.pace)
        charged = figure.note(seconds / self.pace) * self.pace
        self._moved(figure)
        return charged

    @property
    def plain_error(self) -> float:
        """Relative standard error of the plain step's time: its spread over the passes that inform it."""
        return 0.003 + 1.25 * self.spread / math.sqrt(min(max(self.passes, 1), 20))

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
                str(index): {str(n): f.seconds * curve.pace for n, f in curve.figures.items()}
                for index, curve in self._bins.items()
            },
            "draft": {str(n): f.seconds * self.pace for n, f in self._draft.items()},
            "first": {str(n): f.seconds * self.pace for n, f in self._first.items()},
            "catch_up_share": self.catch_up_share,
            "forked": self.forked,
            "measured_at": self.measured_at,
            "bare_s": self.bare_s,
        }
        return disk.write(folder, "costs", key, content, self.notes)

    @classmethod
    def load(cls, folder: Path | None, key: disk.Key, notes: list[str]) -> CostModel | None:
        """The stored costs of a key; None, with the reason in `notes`, when they must be measured."""
        content = disk.read(folder, "costs", key, notes)
        return None if content is None else cls.restored(content, notes)

    @classmethod
    def restored(cls, content: Mapping[str, Any], notes: list[str]) -> CostModel | None:
        """The costs of a file's content; None, with the reason in `notes`, where it is damaged or has no date."""
        if "measured_at" not in content:
            notes.append("The stored costs bear no date and are measured anew.")
            return None
        try:
            bins = {int(i): {int(n): _seconds(s) for n, s in c.items()} for i, c in content["bins"].items()}
            draft = {int(n): _seconds(s) for n, s in content["draft"].items()}
            first = {int(n): _seconds(s) for n, s in content["first"].items()}
            if bool(draft) != bool(first):
                raise ValueError("half a draft")
            share = _seconds(content["catch_up_share"])
            measured_at, (plain, step) = float(content["measured_at"]), content["bare_s"]
            bare = _seconds(plain), None if step is None else _seconds(step)
            costs = cls(bins[_FIRST_BIN] if _FIRST_BIN in bins else bins[min(bins)])
            costs._bins = {i: Curve({n: Figure(s, 2) for n, s in curve.items()}) for i, curve in bins.items()}
            if any(1 not in curve.figures for curve in costs._bins.values()):
                raise ValueError("no plain step")
            costs._now = costs._bins.setdefault(_FIRST_BIN, costs._bins[min(costs._bins)].copy())
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            notes.append("The stored costs are damaged and are measured anew.")
            return None
        costs._draft = {n: Figure(s, 2) for n, s in draft.items()}
        costs._first = {n: Figure(s, 2) for n, s in first.items()}
        costs.catch_up_share = min(share, 1.0)
        costs.measured_at, costs.bare_s = measured_at, bare
        costs.forked = bool(content.get("forked"))
        costs.notes = notes
        return costs


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0.0 < seconds < 3600.0:
        raise ValueError("not a time")
    return seconds
