"""What a campaign tried and how it ended."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of one campaign. `until` is when it ends, on the clock of `time.monotonic`; `most` cases at most."""

    until: float
    most: int = sys.maxsize
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    _began: float = 0.0
    _case: str = ""

    def begin(self, case: str) -> bool:
        """Whether there is time for one more. The name is written down first: the case may end the process."""
        if time.monotonic() > self.until or self.counts.total() + len(self.bad) >= self.most:
            return False
        self._case, self._began = case, time.monotonic()
        print(f"case {case[:200]!r}", file=sys.stderr)
        return True

    def end(self, outcome: str, *, seconds: float = 10.0) -> None:
        """`seconds`: what a case may take; more is bad."""
        took = time.monotonic() - self._began
        self.slowest = max(self.slowest, (took, self._case))
        if took > seconds:
            self.fail(f"took {took:.1f} s")
        else:
            self.counts[outcome] += 1

    def fail(self, what: str) -> None:
        self.bad.append(f"{self._case[:200]}: {what[:500]}")

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(self.counts.items()))
        took, case = self.slowest
        return f"{counts or 'nothing'}; {len(self.bad)} bad; slowest {took:.1f} s ({case[:60]!r})"
