"""Errors as pages word them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foredraft.core.errors import ForedraftError, MemoryLimitError
from foredraft.core.reasons import Reason, stored_reason
from foredraft.ui.names import size_words
from foredraft.words import Words

DETAILED = frozenset({"model", "model_format", "model_not_found", "model_unsupported", "grammar", "limit", "busy"})
"""Errors whose own words name the file or the part at fault: those are shown."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error: its code, its own words, and its numbers as they are shown."""

    code: str
    message: str
    why: Reason | None = None
    hint: Reason | None = None
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: Exception, code: str = "") -> Problem:
        """`code` instead of the error's own, where pages have other words for it."""
        if not isinstance(error, ForedraftError):
            return cls("unexpected", f"{type(error).__name__}: {error}")
        values = {}
        if isinstance(error, MemoryLimitError) and error.needed:
            values = {"a": size_words(error.needed), "b": size_words(error.free)}
        return cls(code or error.code, str(error), error.why, error.hint_why, values)

    def as_dict(self) -> dict[str, Any]:
        """To be kept with an answer."""
        reasons = {"why": self.why, "hint": self.hint}
        told = {name: reason.as_dict() for name, reason in reasons.items() if reason is not None}
        return {"code": self.code, "message": self.message, **told}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Problem:
        why, hint = stored_reason(kept.get("why")), stored_reason(kept.get("hint"))
        return cls(str(kept.get("code", "")), str(kept.get("message", "")), why, hint)

    def worded(self, t: Words) -> str:
        """In the page's language: the app's own words for the code where it has some, else the error's."""
        if self.values and f"errors.{self.code}_numbers" in t:
            return t(f"errors.{self.code}_numbers", **self.values)
        key = f"errors.{self.code}"
        if key in t and self.code not in DETAILED:
            return t(key)
        if self.why is not None:
            return " ".join(t(part) for part in (self.why, self.hint) if part is not None)
        if t.language == "en":
            return self.message
        return f"{t(key)} ({self.message})" if key in t else t("reason.unworded", code=self.code, text=self.message)
