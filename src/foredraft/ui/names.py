"""Names and figures as people read them."""

from __future__ import annotations

from pathlib import Path

from foredraft.core.params import BUILTIN
from foredraft.models.store import ModelFile
from foredraft.runtime.managed_model import ModelState
from foredraft.words import Words


def display_name(state: ModelState) -> str:
    """A loaded model's name: its own, or its file's."""
    info = state.info
    if info is None:
        return state.id
    return info.name or Path(info.path).stem or state.id


def draft_name(state: ModelState) -> str:
    """The loaded draft's name; empty without one."""
    info = state.draft_info
    if info is None:
        return ""
    same = state.info is not None and state.info.name == info.name  # a pair may bear one name
    return Path(info.path).stem if same or not info.name else info.name


def draft_title(draft: ModelFile, words: Words) -> str:
    """A draft in a list: its name, or that it is inside the main model."""
    return words("spec.builtin") if draft.name == BUILTIN else draft.name


def gain_words(gain: float) -> str:
    return f"{gain:.2g}×" if gain < 9.95 else f"{gain:.0f}×"


def gigabytes(size: float) -> str:
    """Decimal gigabytes, as sizes of downloads are told."""
    number = size / 1e9
    return f"{number:.1f}" if number >= 0.95 else f"{number:.2g}"


def billions(params: float) -> str:
    """Parameters as "14.8 B" or "270 M"."""
    return f"{params / 1e9:.3g} B" if params >= 1e9 else f"{params / 1e6:.0f} M"


def size_words(size: float) -> str:
    """Bytes as "0.6 GB", or "3 MB" where gigabytes would be all zeros."""
    return f"{gigabytes(size)} GB" if size >= 1e8 else f"{max(1, round(size / 1e6))} MB"


def file_size(size: int) -> str:
    """Bytes of a small file as "512 B", "12 KB" or "1.2 MB"."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} KB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def words_of(t: Words, key: str, otherwise: str) -> str:
    """The words of a key; `otherwise` where nobody has written any, as of a part that another package brought."""
    return t(key) if key in t else otherwise
