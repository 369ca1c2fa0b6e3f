"""The pages of the app: what stands where. One file and one function each."""

from __future__ import annotations

from foredraft.ui.pages import chat, lab, models, server
from foredraft.ui.state import AppState


def register(app: AppState) -> None:
    """Put every page on its path."""
    for page in (chat, models, lab, server):
        page.register(app)
