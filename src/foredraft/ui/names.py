"""Names and figures as people read them."""

from __future__ import annotations

from pathlib import Path

from foredraft.scheduling.hosted import ModelState


def display_name(state: ModelState) -> str:
    """A loaded model's name: its own, or its file's."""
    info = state.info
    if info is None:
        return state.id
    return info.name or Path(info.path).stem or state.id


def draft_name(state: ModelState) -> str:
    """The loaded draft's name; empty without one."""
    info = state.draft_info
    return "" if info is None else info.name or Path(info.path).stem


def gain_words(gain: float) -> str:
    return f"{gain:.2g}×" if gain < 9.95 else f"{gain:.0f}×"


def gigabytes(size: float) -> str:
    """Decimal gigabytes, as sizes of downloads are told."""
    number = size / 1e9
    return f"{number:.1f}" if number >= 0.95 else f"{number:.2g}"


def thousands(number: int) -> str:
    return f"{number:,}"
