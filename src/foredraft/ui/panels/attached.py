"""The files that came with a message; a click shows what the model was given."""

from __future__ import annotations

from typing import Any

from foredraft.chats.attachments import Attachment, attachments_of
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, icon
from foredraft.ui.names import file_size
from foredraft.ui.state import Page

ENCODINGS = {"utf-8": "UTF-8", "utf-16": "UTF-16", "cp932": "Shift_JIS", "cp1252": "Windows-1252"}
LONG_FILE = 200_000
"""Characters of a file that are shown at most."""


def attached_files(page: Page, meta: dict[str, Any]) -> None:
    attached = attachments_of(meta)
    if not attached:
        return
    with Tag("ul", "", aria_label=page.words("composer.files")).classes("fd-files of-message"):
        for one in attached:
            with Tag("li", ""), Tag("button", "", type="button").classes("fd-file") as made:
                icon("description")
                Tag("span", one.name).classes("name")
                Tag("span", _about(page, one))
            made.on("click", lambda _, one=one: _show(page, one), args=[])


def _about(page: Page, one: Attachment) -> str:
    parts = [file_size(one.size)]
    if one.tokens:
        parts.append(page.words("composer.tokens", n=f"{one.tokens:,}"))
    return " · ".join(parts)


def _show(page: Page, one: Attachment) -> None:
    t = page.words
    with dialog(one.name, wide=True):
        about = [_about(page, one), t("attach.encoding", name=ENCODINGS.get(one.encoding, one.encoding))]
        if len(one.text) > LONG_FILE:
            about.append(t("attach.beginning", n=f"{LONG_FILE:,}", all=f"{len(one.text):,}"))
        Tag("p", " · ".join(about)).classes("fd-help")
        Tag("pre", one.text[:LONG_FILE], tabindex="0", role="region", aria_label=one.name).classes("fd-log tall")
