"""Cost model of a pair on this machine: the cost curves of the main model, and the seconds of a draft step.

Every round corrects two things: the mean of its own n, and the slowdown of the whole machine (heat, other programs),
which all n and the draft share. Passes at different context lengths are kept apart in bins of powers of two; a new bin
begins as a copy of its nearest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from foredraft.core.params import MAX_DRAFT
from foredraft.core.reasons import Reason
from foredraft.speculative.controllers.adaptive.curve import ROWS, CostCurve, RobustMean, ordinary
from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters


class CostModel:
    """The costs of one pair on this machine, in seconds."""

    def __init__(
        self,
        passes: Mapping[int, float],
        draft_s: float | None = None,
        first_s: float | None = None,
        hyper: Hyperparameters = DEFAULT,
    ) -> None:
        """`passes`: measured seconds by n (n = 1 is needed); `draft_s`: seconds of a draft step, None without one;
        `first_s`: of the first one of a round, in which the draft reads what has been written since."""
        means = {n: s for n, s in passes.items() if 1 <= n <= ROWS and s > 0.0 and math.isfinite(s)}
        if 1 not in means:
            raise ValueError("the time of a plain step is needed")
        self.hyper = hyper
        self.notes: list[Reason] = []
        """What was noticed while measuring, in words."""
        self.passes = 0
        """Passes seen since the load."""
        self.spread = hyper.spread
        """Running mean of |log(time / mean)| of plain steps: how far this machine's clock wanders."""
        self.catch_up_share = hyper.catch_up_share
        """Cost of reading one token more in a draft step, as a share of the step."""
        self.switch_s = 0.0
        """What a plain pass behind another one costs more: for another number of rows the graph is built anew."""
        self.forked = False
        """Whether the main model reads again what stood of a rejected guess (`engines/rewind.py`)."""
        self.measured_at = 0.0
        """When the times were measured, in Unix seconds."""
        self.bare_s: tuple[float, float | None] = (means[1], draft_s)
        """A plain step and a draft step as they were measured, without the work around them: what a look at the next
        load compares with (`measure.drift`)."""
        self._bins = {hyper.first_bin: CostCurve(self._means(means), 1.0, hyper)}
        self._now = self._bins[hyper.first_bin]
        self._draft = self._means({} if draft_s is None else {1: draft_s})
        self._first = self._means({} if draft_s is None else {1: first_s or draft_s})
        self._shape = 1  # rows of the last pass

    @classmethod
    def unknown(cls, hyper: Hyperparameters = DEFAULT) -> CostModel:
        """A guess at the costs of a pair that was never measured, until rounds have been seen."""
        plain_s, eight_s, draft_s = hyper.unknown
        return cls({1: plain_s, MAX_DRAFT // 2: eight_s}, draft_s, hyper=hyper)

    def _means(self, seconds: Mapping[int, float]) -> dict[int, RobustMean]:
        return {n: RobustMean(s, 2, self.hyper) for n, s in seconds.items()}

    # ---- asking ----

    @property
    def slowdown(self) -> float:
        """How slow the machine is just now, as a factor on every mean."""
        return self._now.slowdown

    def bin_of(self, context: int) -> int:
        """The bin of a context length in tokens."""
        return max(self.hyper.first_bin, (context - 1).bit_length())

    def curve(self, context: int = 0) -> CostCurve:
        """The curve of a context length; its seconds are those of slowdown 1."""
        index = self.bin_of(context)
        curve = self._bins.get(index)
        if curve is None:
            nearest = min(self._bins, key=lambda known: (abs(known - index), known))
            curve = self._bins[index] = self._bins[nearest].copy()
        return curve

    def pass_s(self, n: int, context: int = 0) -> float:
        """Seconds of a round with n rows, drafting apart."""
        curve = self.curve(context)
        return curve.at(n) * curve.slowdown

    def draft_s(self, sequences: int = 1) -> float:
        """Seconds of one draft step behind the first, for so many sequences at once; infinite without a draft."""
        return self._drafting(self._draft, sequences)

    def first_s(self, sequences: int = 1) -> float:
        """Seconds of the first draft step of a round that follows a round with guesses; infinite without a draft."""
        return self._drafting(self._first, sequences)

    def _drafting(self, means: Mapping[int, RobustMean], sequences: int) -> float:
        if not means:
            return math.inf
        nearest = min(means, key=lambda known: (abs(known - sequences), known))
        growth = 1.0 + self.catch_up_share * max(0, sequences - nearest)
        return means[nearest].seconds * growth * self.slowdown

    @property
    def drafts(self) -> bool:
        """Whether there is a draft model among them."""
        return bool(self._draft)

    @property
    def draft_known(self) -> bool:
        """Whether draft steps have been timed in use: a load may have timed them at a bad moment."""
        return not self._first or any(mean.count > self.hyper.known for mean in self._first.values())

    def catch_up_s(self, behind: int) -> float:
        """Seconds the first draft step takes longer because the draft is `behind` tokens behind (1 or 2 is the ordinary
        case). A draft further behind than `window` reads only that many."""
        if behind <= 2 or not self._draft:
            return 0.0
        return min(behind - 2, self.window) * self.catch_up_share * self.draft_s()

    @property
    def window(self) -> int:
        """Tokens a draft should read at most to catch up after a rest: half a plain step's worth. It then guesses with
        a hole in its context, which costs acceptance at worst (docs/concepts/algorithms.md §5.1)."""
        least, most = self.hyper.windows
        if not self._draft:
            return most
        tokens = self.hyper.catch_up_steps * self._now.at(1) * self.slowdown / (self.catch_up_share * self.draft_s())
        return int(min(max(tokens, least), most))

    def ratios(self, context: int = 0) -> dict[int, float]:
        """v(n) = t(n) / t(1) of the measured n: what a bench prints beside its speed-ups."""
        curve = self.curve(context)
        return {n: curve.at(n) / curve.at(1) for n in sorted(curve.means)}

    @property
    def bound(self) -> float:
        """max n / v(n): no speculation can be faster than this on this machine."""
        return max(n / v for n, v in self.ratios().items())

    @property
    def plain_error(self) -> float:
        """Relative standard error of the plain step's time: its spread over the passes that inform it."""
        least, deviation, most = self.hyper.plain_error
        return least + deviation * self.spread / math.sqrt(min(max(self.passes, 1), most))

    # ---- learning ----

    def observe_pass(self, n: int, context: int, seconds: float, *, plain: bool = False) -> float:
        """A round with n rows took so long, drafting apart; a `plain` one had no guess among them. Returns the seconds
        that may be charged to it (see `RobustMean`); a clock that jumped counts as the expected time."""
        hyper, curve = self.hyper, self.curve(context)
        self._now = curve
        expected = curve.at(n) * curve.slowdown
        same, self._shape = n == self._shape, n
        if not 0.0 < seconds < hyper.jump * expected:
            return expected
        self.passes += 1
        if n <= ROWS and not same and (n == 1 or plain):  # a graph was built for it: nothing about the machine's speed
            self.switch_s += hyper.switch_rate * (min(max(0.0, seconds - expected), expected) - self.switch_s)
        elif n == 1:
            ratio = seconds / curve.at(1)
            if ordinary(ratio / curve.slowdown, hyper):
                self.spread += hyper.spread_rate * (abs(math.log(ratio / curve.slowdown)) - self.spread)
            curve.follow(ratio, hyper.plain_rate)
        elif n <= ROWS:
            return curve.observe(n, seconds)
        return min(seconds, hyper.spike * expected)

    def observe_draft(self, sequences: int, steps: int, behind: int, first_s: float, rest_s: float) -> float:
        """So many draft steps for so many sequences took so long, the first one and the rest of them; the draft was
        `behind` tokens behind. Returns the seconds that may be charged to them."""
        if steps < 1:
            return 0.0
        charged = 0.0
        if steps > 1:
            charged = self._observe_step(self._draft, sequences, rest_s / (steps - 1)) * (steps - 1)
        catch_up, step_s = self.catch_up_s(behind), self.first_s(sequences)
        if not catch_up:
            return charged + self._observe_step(self._first, sequences, first_s)
        # a long catch-up says what reading costs, and little of a step
        hyper, read = self.hyper, min(behind - 2, self.window)
        if not 0.0 < first_s < hyper.jump * (step_s + catch_up):
            return charged + step_s + catch_up
        least, most = hyper.catch_up_range
        share = min(max((first_s - step_s) / self.draft_s(sequences) / read, least), most)
        self.catch_up_share += hyper.catch_up_rate * min(1.0, read / hyper.windows[0]) * (share - self.catch_up_share)
        return charged + min(first_s, hyper.spike * (step_s + catch_up))

    def _observe_step(self, means: dict[int, RobustMean], sequences: int, seconds: float) -> float:
        expected = self._drafting(means, sequences)
        if not 0.0 < seconds < self.hyper.jump * expected:
            return expected if expected < math.inf else 0.0
        mean = means.get(sequences)
        if mean is None:
            expected = expected if expected < math.inf else seconds
            mean = means[sequences] = RobustMean(expected / self.slowdown, 0, self.hyper)
        return mean.observe(seconds / self.slowdown) * self.slowdown

    # ---- keeping ----

    def beside(self, draft: CostModel | None) -> CostModel:
        """This main model's costs with the draft of another pair on this machine, or with none."""
        costs = CostModel({1: 1.0}, hyper=self.hyper)
        costs._bins = {index: curve.copy() for index, curve in self._bins.items()}
        costs._now = costs._bins[self.hyper.first_bin]
        costs.measured_at, costs.bare_s, costs.forked = self.measured_at, (self.bare_s[0], None), self.forked
        if draft is not None:
            costs._draft, costs._first = (
                self._means({n: mean.seconds * draft.slowdown for n, mean in means.items()})
                for means in (draft._draft, draft._first)
            )
            costs.catch_up_share, costs.bare_s = draft.catch_up_share, (self.bare_s[0], draft.bare_s[1])
        return costs

    def to_dict(self) -> dict[str, Any]:
        """For `core/json_cache.py`; see `from_dict`."""

        def seconds(means: Mapping[int, RobustMean], slowdown: float) -> dict[str, float]:
            return {str(n): mean.seconds * slowdown for n, mean in means.items()}

        return {
            "bins": {str(index): seconds(curve.means, curve.slowdown) for index, curve in self._bins.items()},
            "draft": seconds(self._draft, self.slowdown),
            "first": seconds(self._first, self.slowdown),
            "catch_up_share": self.catch_up_share,
            "forked": self.forked,
            "measured_at": self.measured_at,
            "bare_s": self.bare_s,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CostModel:
        """Raises `ValueError` for anything but what `to_dict` gives."""
        costs = cls({1: 1.0})
        most, first_bin = costs.hyper.longest_s, costs.hyper.first_bin

        def time(value: Any) -> float:
            if not 0.0 < float(value) < most:
                raise ValueError("not a time")
            return float(value)

        def means(stored: Mapping[str, Any]) -> dict[int, RobustMean]:
            return costs._means({int(n): time(seconds) for n, seconds in stored.items()})

        try:
            bins = {int(index): CostCurve(means(curve)) for index, curve in content["bins"].items()}
            costs._draft, costs._first = means(content["draft"]), means(content["first"])
            plain, step = content["bare_s"]
            costs.bare_s = time(plain), None if step is None else time(step)
            costs.catch_up_share = min(time(content["catch_up_share"]), 1.0)
            costs.measured_at, costs.forked = float(content["measured_at"]), bool(content["forked"])
            if not bins or any(1 not in curve.means for curve in bins.values()):
                raise ValueError("no plain step")
            if costs.drafts != bool(costs._first):
                raise ValueError("half a draft")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not the costs of a pair") from error
        costs._bins = bins
        costs._now = bins.setdefault(first_bin, bins[min(bins)].copy())
        return costs
