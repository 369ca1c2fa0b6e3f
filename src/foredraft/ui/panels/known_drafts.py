"""A draft that is known to fit, where none is on the shelf."""

from __future__ import annotations

from foredraft.models.recommend import CatalogueModel, missing_draft
from foredraft.runtime.managed_model import ModelState
from foredraft.ui.shelf import ShelfView

BYTES_A_PARAMETER = 1.07
"""Of a draft as Q8_0, which is what is downloaded."""


def known_draft(state: ModelState, shelf: ShelfView) -> CatalogueModel | None:
    """From the table of families (`models/families.toml`); None where the family is not in it."""
    main = shelf.file_of(state)
    return missing_draft(main) if main is not None else None


def size_of(draft: CatalogueModel) -> float:
    """About how many gigabytes it will be."""
    return draft.params * BYTES_A_PARAMETER
