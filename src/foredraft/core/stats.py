"""What one answer cost and what speculation did for it: counted, never estimated.

Words (the same in the CLI, the API and the app):

- *drafted*: guesses put before the main model; drafted = accepted + rejected + ignored.
- *accepted*: guesses that stand in the answer.
- *rejected*: guesses the main model tested and turned down: at most one a round.
- *ignored*: guesses never tested, because an earlier one failed or the answer ended before them.
- *rounds*: passes of the main model that wrote text. Every round adds one token of the main model's own, so
  tokens = accepted + rounds − cut, where *cut* (0 or 1) is the own token that an answer's end left unused.
- *acceptance*: accepted ÷ tested, tested = accepted + rejected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class SourceStats:
    """The counts of one source of guesses. `draft_s` in seconds."""

    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    rejected: int = 0
    ignored: int = 0
    draft_s: float = 0.0


@dataclass(slots=True)
class GenerationStats:
    """The statistics of one answer. Times in seconds, measured on the model thread.

    In a batch shared with other answers, a round's draft and verify times are counted in full for each: they are what
    this answer waited for.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that were already in the KV cache and not read again."""
    tokens: int = 0
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    rejected: int = 0
    ignored: int = 0
    cut: int = 0
    prefill_s: float = 0.0
    time_to_first_token_s: float = 0.0
    generation_s: float = 0.0
    """From the end of the prompt's reading to the last token."""
    draft_s: float = 0.0
    verify_s: float = 0.0
    other_s: float = 0.0
    tested_at: list[int] = field(default_factory=list)
    """Guesses tested at draft position 1, 2, …"""
    accepted_at: list[int] = field(default_factory=list)
    depth_histogram: dict[int, int] = field(default_factory=dict)
    """Rounds by look-ahead γ really used."""
    by_source: dict[str, SourceStats] = field(default_factory=dict)
    saved_s: float | None = None
    """Estimated seconds saved against plain decoding (negative: lost); None when plain speed is not known."""
    saved_error_s: float | None = None

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.generation_s if self.generation_s > 0 else 0.0

    @property
    def tokens_per_round(self) -> float:
        return self.tokens / self.rounds if self.rounds else 0.0

    @property
    def acceptance(self) -> float | None:
        """accepted ÷ tested; None when nothing was tested."""
        tested = self.accepted + self.rejected
        return self.accepted / tested if tested else None

    @property
    def acceptance_by_position(self) -> list[float]:
        """Share of tested guesses accepted at draft position 1, 2, …"""
        return [a / t if t else 0.0 for a, t in zip(self.accepted_at, self.tested_at, strict=True)]

    def count_round(self, source: str, drafted: int, accepted: int, corrected: bool, kept: int, draft_s: float) -> None:
        """Count one round: `drafted` guesses, the first `accepted` of them judged right, the target's own token after
        them a correction or not, and `kept` tokens of these accepted + 1 in the answer (fewer where it ended)."""
        standing = min(accepted, kept)
        whole = kept == accepted + 1
        rejected = 1 if whole and corrected else 0
        ignored = drafted - standing - rejected
        self.rounds += 1
        self.tokens += kept
        self.drafted += drafted
        self.accepted += standing
        self.rejected += rejected
        self.ignored += ignored
        self.cut += 0 if whole else 1
        self.depth_histogram[drafted] = self.depth_histogram.get(drafted, 0) + 1
        for i in range(standing + rejected):
            if i == len(self.tested_at):
                self.tested_at.append(0)
                self.accepted_at.append(0)
            self.tested_at[i] += 1
            self.accepted_at[i] += i < standing
        if drafted:
            of = self.by_source.setdefault(source, SourceStats())
            of.rounds += 1
            of.drafted += drafted
            of.accepted += standing
            of.rejected += rejected
            of.ignored += ignored
            of.draft_s += draft_s

    def as_dict(self) -> dict[str, Any]:
        """For `--json` and the API: every count, and the derived figures beside them."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "tokens": self.tokens,
            "tokens_per_second": round(self.tokens_per_second, 3),
            "time_to_first_token_s": round(self.time_to_first_token_s, 6),
            "prefill_s": round(self.prefill_s, 6),
            "generation_s": round(self.generation_s, 6),
            "rounds": self.rounds,
            "drafted": self.drafted,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "ignored": self.ignored,
            "cut": self.cut,
            "acceptance": self.acceptance,
            "tokens_per_round": round(self.tokens_per_round, 4),
            "acceptance_by_position": [round(a, 4) for a in self.acceptance_by_position],
            "depth_histogram": {str(n): c for n, c in sorted(self.depth_histogram.items())},
            "by_source": {
                name: {
                    "rounds": s.rounds,
                    "drafted": s.drafted,
                    "accepted": s.accepted,
                    "rejected": s.rejected,
                    "ignored": s.ignored,
                    "draft_s": round(s.draft_s, 6),
                }
                for name, s in sorted(self.by_source.items())
            },
            "draft_s": round(self.draft_s, 6),
            "verify_s": round(self.verify_s, 6),
            "other_s": round(self.other_s, 6),
            "saved_s": None if self.saved_s is None else round(self.saved_s, 6),
            "saved_error_s": None if self.saved_error_s is None else round(self.saved_error_s, 6),
        }
