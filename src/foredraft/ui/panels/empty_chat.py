"""What is shown before the first message: the way to a model, and two cards that show when a draft pays."""

from __future__ import annotations

from pathlib import Path

from foredraft.models.places import EMBEDDED
from foredraft.models.store import ModelFile
from foredraft.ui.components.elements import Tag, button
from foredraft.ui.panels.load_dialog import open_load, start_load
from foredraft.ui.panels.try_it import try_it
from foredraft.ui.state import Page


def empty_chat(page: Page) -> None:
    t = page.words
    state = page.app.loaded()
    with Tag("div", "").classes("fd-empty"):
        Tag("h1", t("empty.title")).classes("fd-sr")
        Tag("h2", t("empty.title"), aria_hidden="true")
        if page.app.load_error:
            Tag("div", t("load.failed", error=page.error_words(page.app.load_error)), role="alert").classes("fd-error")
        if state is None:
            Tag("p", t("empty.no_model"))
            with Tag("div", "").classes("fd-row"):
                button(t("load.title"), lambda: open_load(page), kind="primary")
                embedded = _embedded(page)
                if embedded is not None:
                    button(t("empty.embedded"), lambda: start_load(page.app, embedded), kind="quiet")
        elif state.info is None:
            Tag("p", t("empty.loading", name=Path(state.id).stem))
            Tag("progress", "", value=round(state.progress, 2), max=1, aria_label=t("empty.loading", name=""))
        else:
            Tag("p", t("empty.ready"))
            try_it(page)


def _embedded(page: Page) -> ModelFile | None:
    """The embedded main model, where the program brings one and the shelf has been read."""
    own = [model for model in page.app.shelf.known() if model.source == EMBEDDED and model.usable]
    return max(own, key=lambda model: model.size_bytes, default=None)
