"""The token bucket for lost time: what makes "never slower" a promise and not a hope.

Credit C in [.., B], in plain steps. A round that guessed, wrote N tokens and took t:

    C ← min(B, C + ε·N − (t − N))

and it may only guess if C covers its worst case, in which no guess stands. Then over every window of rounds
t ≤ (1 + ε)·N + B, whatever the text, the draft and the calibration (algorithms.md §3.3: the sum of t − N telescopes).
Plain rounds are what the promise compares with: they only earn.
"""

from __future__ import annotations

from dataclasses import dataclass

from foredraft.core.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Preset:
    """How much time may be risked: ε, the share of plain time that may be lost for good; B, the most plain steps that
    may be lost in any stretch; and the credit an answer starts with, in plain steps."""

    name: str
    epsilon: float
    size: float
    start: float


PRESETS = {
    "standard": Preset("standard", 0.01, 20.0, 2.0),
    "strict": Preset("strict", 0.005, 6.0, 2.0),
    "eager": Preset("eager", 0.01, 28.0, 8.0),
}


def preset(name: str) -> Preset:
    if name not in PRESETS:
        raise ParameterError("preset", name, f"one of {', '.join(PRESETS)}")
    return PRESETS[name]


class Bucket:
    """The credit of one answer, in plain steps."""

    __slots__ = ("credit", "preset")

    def __init__(self, preset: Preset, credit: float | None = None) -> None:
        self.preset = preset
        self.credit = preset.start if credit is None else min(credit, preset.size)

    def plain(self) -> None:
        """A round without a guess."""
        self.credit = min(self.preset.size, self.credit + self.preset.epsilon)

    def guessed(self, tokens: int, steps: float) -> None:
        """A round that guessed wrote so many tokens in the time of so many plain steps. One round is charged B at most:
        a longer one is no guess's doing."""
        preset = self.preset
        self.credit = min(preset.size, self.credit + preset.epsilon * tokens - min(steps - tokens, preset.size))
