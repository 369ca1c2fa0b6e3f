"""Probe schedules: when a draft that is not paying is asked again."""

from __future__ import annotations

from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters


class ProbeSchedule:
    """Probes within one answer: after 8 plain tokens, 16 … 256, as long as they fail, and within a budget of 0.2 % of
    the time and a share of what was won (docs/concepts/algorithms.md §3.5)."""

    __slots__ = ("_budget", "_hyper", "_wait", "rested")

    def __init__(self, hyper: Hyperparameters = DEFAULT) -> None:
        self._hyper = hyper
        self._budget = hyper.probe_budget  # plain steps
        self._wait = hyper.first_wait
        self.rested = 0
        """Tokens since the draft model last guessed."""

    @property
    def wait(self) -> int:
        """Plain tokens before the next probe."""
        rich = self._budget > 2.0 * self._hyper.probe_budget
        return min(self._wait, self._hyper.won_wait) if rich else self._wait

    def due(self, cost: float, *, known: bool) -> bool:
        """Whether to find out now if guessing pays again, at this cost in plain steps. One whose cost is not `known`
        from use is not held to the budget: its measurement may have met a bad moment."""
        if self.rested < self.wait or (known and self._budget < min(cost, self._hyper.probe_budget)):
            return False
        self._budget -= cost
        return True

    def ended(self, *, right: bool) -> None:
        """A probe was right or wrong."""
        hyper = self._hyper
        if right:
            self._wait = max(self._wait // hyper.wait_cut, hyper.first_wait)
        else:
            self._wait = min(2 * self._wait, hyper.longest_wait)

    def on_skip(self, tokens: int) -> None:
        """A round without the draft model."""
        self.rested += tokens
        if self._budget < self._hyper.probe_budget:
            self._budget += self._hyper.probe_rate * tokens

    def on_gain(self, steps: float) -> None:
        """A round with guesses won so many plain steps."""
        self._budget = max(self._budget, min(self._hyper.won_budget, self._budget + self._hyper.won_share * steps))

    def soon(self) -> None:
        """Something has happened that is worth an early probe."""
        self._wait = self._hyper.first_wait


class FirstProbes:
    """Probes as answers begin: the draft has just read the prompt, so these are the cheapest. If they keep failing,
    only every second, fourth … answer begins with one."""

    __slots__ = ("_every", "_hyper", "_skipped")

    def __init__(self, hyper: Hyperparameters = DEFAULT) -> None:
        self._hyper = hyper
        self._every, self._skipped = 1, 0

    @property
    def next(self) -> bool:
        """Whether the next answer begins with a probe."""
        return self._skipped + 1 >= self._every

    def begin(self, *, ready: bool) -> bool:
        """An answer begins; `ready`: the draft has read its prompt. Whether it begins with a probe."""
        probes = ready and self.next
        self._skipped = 0 if probes else self._skipped + 1
        return probes

    def ended(self, *, right: bool, first: bool) -> None:
        """A probe was right or wrong; the `first` of an answer, or a later one."""
        if right:
            self._every = 1
        elif first:
            self._every = min(2 * self._every, self._hyper.rarest_first)
