"""A dialog that opens at once and is thrown away when it is closed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nicegui import ui

from foredraft.ui.components.elements import Tag, icon_button


@contextlib.contextmanager
def dialog(title: str, *, wide: bool = False, close: str = "✕") -> Iterator[ui.dialog]:
    """Fill it inside the `with`; it is shown at its end."""
    # On the page itself: a panel that is refreshed meanwhile must not take the dialog with it.
    with ui.context.client.content, ui.dialog() as made:
        made.props["aria-label"] = title
        with Tag("div", "").classes("fd-dialog wide" if wide else "fd-dialog"):
            with Tag("div", "").classes("fd-row").style("justify-content: space-between; flex-wrap: nowrap"):
                Tag("h2", title).style("min-width: 0; overflow-wrap: anywhere")
                icon_button("close", close, made.close)
            yield made
    made.on("hide", lambda _: made.delete(), args=[])
    made.open()
