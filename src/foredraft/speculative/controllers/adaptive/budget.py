"""Loss budget of an answer: the token bucket that makes "never slower" a promise.

Credit C, in plain steps, at most B. A round that guessed, wrote N tokens and took t:

    C ← min(B, C + ε·N − (t − N))

and it may only guess if C covers its worst case, in which no guess stands. Then over every window of rounds
t ≤ (1 + ε)·N + B, whatever the text, the draft and the calibration (docs/concepts/algorithms.md §3.3: the sum of t − N
telescopes). Plain rounds are what the promise compares with: they only earn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from foredraft.core.errors import ParameterError
from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters


@dataclass(frozen=True, slots=True)
class Preset:
    """A promise: ε, the share of plain time that may be lost for good; B, the most plain steps that may be lost in any
    stretch; and the credit an answer starts with, in plain steps."""

    name: str
    epsilon: float
    size: float
    start: float


PRESETS = {name: Preset(name, *numbers) for name, *numbers in DEFAULT.presets}


def preset(name: str) -> Preset:
    """Raises `ParameterError` for a name that is none."""
    if name not in PRESETS:
        raise ParameterError("preset", name, f"one of {', '.join(PRESETS)}")
    return PRESETS[name]


class LossBudget:
    """The credit of one answer, in plain steps."""

    __slots__ = ("credit", "preset")

    def __init__(self, preset: Preset, credit: float | None = None) -> None:
        self.preset = preset
        self.credit = preset.start if credit is None else min(credit, preset.size)

    def earn(self) -> None:
        """A round without a guess."""
        self.credit = min(self.preset.size, self.credit + self.preset.epsilon)

    def spend(self, tokens: int, steps: float) -> None:
        """A round that guessed wrote so many tokens in the time of so many plain steps. One round is charged B at most:
        a longer one is no guess's doing."""
        size = self.preset.size
        self.credit = min(size, self.credit + self.preset.epsilon * tokens - min(steps - tokens, size))


def affordable(credit: float, worst: Sequence[float]) -> int:
    """The longest guess whose worst case, by length and rising, the credit covers; -1 where not even none is."""
    return bisect_right(worst, credit) - 1


class CreditHistory:
    """What an answer may risk as it begins: the promise's start, and later what answers before it have earned."""

    def __init__(self, preset: Preset, plain_s: float, kept: float | None, hyper: Hyperparameters = DEFAULT) -> None:
        """`plain_s`: seconds of a plain step; `kept`: credit from an earlier start of the program."""
        self._hyper = hyper
        self._preset = preset
        self._length = hyper.answer_length
        self.credit = self.first(plain_s) if kept is None else max(self.first(plain_s), min(kept, preset.size))

    def first(self, plain_s: float) -> float:
        """The credit of a first answer: the promise's, or what nobody notices, if that is more and no more than a small
        share of an answer."""
        unnoticed = min(self._hyper.unnoticed_s / plain_s, self._hyper.answer_share * self._length)
        return min(max(self._preset.start, unnoticed), self._preset.size)

    def end(self, credit: float, tokens: int, plain_s: float) -> float:
        """An answer of so many tokens has ended with this credit: what was earned stays, what was lost is soon
        forgiven. Returns the credit of the next one."""
        memory = self._hyper.length_memory
        self._length = memory * self._length + (1.0 - memory) * tokens
        forgiven = min(self._hyper.forgiven * self.first(plain_s), self._hyper.answer_share * self._length)
        self.credit = max(credit, forgiven)
        return self.credit
