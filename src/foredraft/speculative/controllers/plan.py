"""The look-ahead of one answer in one round, asked between draft steps: go on, and in the end how much to keep."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from foredraft.speculative.controllers.answer import Answer
from foredraft.speculative.controllers.calibration import EDGES, Calibration, Table, bucket
from foredraft.speculative.controllers.policy import Policy, grid
from foredraft.speculative.controllers.prices import Prices

MODEL = "model"
"""The source that costs time before it is read; all others are found, not drawn."""


class Plan:
    """The look-ahead of one answer in one round."""

    __slots__ = (
        "_again",
        "_answer",
        "_best",
        "_calibration",
        "_found",
        "_policy",
        "_price",
        "_rates",
        "_sum",
        "_u",
        "gain",
        "limit",
        "wants_confidence",
    )

    def __init__(
        self, answer: Answer, prices: Prices, calibration: Calibration, table: Table, policy: Policy, found: int
    ) -> None:
        self.limit = 0
        self.gain = 0.0
        """Expected of letting the draft model guess."""
        self.wants_confidence = True
        self._answer = answer
        self._price = prices.price
        self._again = [answer.lam * x for x in prices.again]
        self._calibration = calibration
        self._rates = table.rates
        self._policy = policy
        self._found = found
        self._u = answer.worth
        self._sum = 0.0  # what the guesses so far are expected to bring
        self._best = 0.0  # the best of that minus its price, over all places to stop so far

    def go_on(self, drafted: int, confidence: float) -> bool:
        at = bucket(confidence)
        before, again = self._u, self._again
        self._u = u = before * self._rates[at]
        self._sum += u - again[drafted - 1] * (before - u) if again else u
        net = self._sum - self._price[drafted]
        answer = self._answer
        if net > self._best or not answer.may_hold:
            self._best = net
        if drafted >= self.limit:
            return False
        if confidence < answer.p_min:
            return False
        if drafted < answer.min_draft:
            return True
        return self._policy.go_on(drafted)[at][grid(u)] + self._sum > self._best

    def offer(self, source: str) -> tuple[int, float]:
        if source == MODEL:
            return self.limit, self.gain
        return self._found, 0.0

    def keep(self, source: str, confidence: Sequence[float]) -> tuple[int, float]:
        answer, price, again = self._answer, self._price, self._again
        if source == MODEL:
            limit, rates, u, p_min = self.limit, self._rates, answer.worth, 0.0
        else:
            limit, rates = self._found, self._calibration.table(source, answer.mode).rates
            u, p_min = 1.0 / answer.lam, answer.p_min
        if len(confidence) < limit:
            limit = len(confidence)
        best_k, best, total = 0, 0.0, 0.0
        for k in range(limit):
            sure = confidence[k]
            if sure < p_min:
                break
            before = u
            u *= rates[bisect_right(EDGES, sure)]
            total += u - again[k] * (before - u) if again else u
            if total - price[k + 1] > best:
                best_k, best = k + 1, total - price[k + 1]
        if 0 < best_k < answer.min_draft:
            best_k = min(answer.min_draft, limit)
        return best_k, best
