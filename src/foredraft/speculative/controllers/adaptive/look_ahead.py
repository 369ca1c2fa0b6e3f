"""Look-ahead of one sequence in one round, asked between draft steps: go on, and in the end how much to keep."""

from __future__ import annotations

from collections.abc import Sequence

from foredraft.speculative.controllers.adaptive.acceptance import Calibration, bucket
from foredraft.speculative.controllers.adaptive.prices import Prices
from foredraft.speculative.controllers.adaptive.sequence_state import SequenceState
from foredraft.speculative.controllers.adaptive.stopping import StoppingPolicy, grid
from foredraft.speculative.controllers.base import MODEL


class AdaptiveLookAhead:
    """As far as it pays, by a stopping policy."""

    __slots__ = (
        "_again", "_best", "_calibration", "_found", "_policy", "_price", "_rates", "_state", "_sum", "_u",
        "gain", "limit", "wants_confidence",
    )  # fmt: skip

    def __init__(self, state: SequenceState, prices: Prices, calibration: Calibration, found: int) -> None:
        """`found`: the most guesses that may be found in the text."""
        self.limit = 0
        self.gain = 0.0
        """Expected of letting the draft model guess."""
        self.wants_confidence = True
        self._state = state
        self._price = prices.price
        self._again = [state.lam * x for x in prices.again]
        self._calibration = calibration
        self._rates = calibration.table(MODEL, state.mode).rates
        self._policy: StoppingPolicy | None = None
        self._found = found
        self._u = state.token_value
        self._sum = 0.0  # what the guesses so far are expected to bring
        self._best = 0.0  # the best of that minus its price, over all places to stop so far

    def allow(self, limit: int, gain: float, policy: StoppingPolicy) -> None:
        """Let the draft model guess up to `limit` tokens, as long as the policy says so."""
        self.limit, self.gain, self._policy = limit, gain, policy

    def go_on(self, drafted: int, confidence: float) -> bool:
        at, state, before = bucket(confidence), self._state, self._u
        self._u = u = before * self._rates[at]
        self._sum += u - self._again[drafted - 1] * (before - u) if self._again else u
        net = self._sum - self._price[drafted]
        if net > self._best or not state.may_hold:
            self._best = net
        if drafted >= self.limit or self._policy is None:
            return False
        short = drafted < state.min_draft
        if confidence < state.p_min and not (short and not state.may_hold):
            return False  # a draft that is shorter than it may be is not sent; one that a law binds must not be short
        return short or self._policy.go_on(drafted)[at][grid(u)] + self._sum > self._best

    def offer(self, source: str) -> tuple[int, float]:
        return (self.limit, self.gain) if source == MODEL else (self._found, 0.0)

    def keep(self, source: str, confidence: Sequence[float]) -> tuple[int, float]:
        state, again = self._state, self._again
        if source == MODEL:
            limit, rates, u, p_min = self.limit, self._rates, state.token_value, 0.0
        else:
            rates = self._calibration.table(source, state.mode).rates
            limit, u, p_min = self._found, 1.0 / state.lam, state.p_min
        limit = min(limit, len(confidence))
        best_k, best, total = 0, 0.0, 0.0
        for k in range(limit):
            if confidence[k] < p_min:
                break
            before = u
            u *= rates[bucket(confidence[k])]
            total += u - again[k] * (before - u) if again else u
            if k + 1 >= state.min_draft and total - self._price[k + 1] > best:
                best_k, best = k + 1, total - self._price[k + 1]
        return best_k, best
