"""What every page has: language, theme, style, rail, footer, and the ear on what changes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from importlib.resources import files
from typing import cast

from nicegui import ui
from nicegui.language import Language

from foredraft.ui.components.elements import Tag, icon_button
from foredraft.ui.panels.footer import footer
from foredraft.ui.panels.palette import palette
from foredraft.ui.panels.rail import rail
from foredraft.ui.state import AppState, Page, language_of
from foredraft.words import Words

STATIC = "/_foredraft/static"


def begin(app: AppState, title: str = "") -> Page:
    """Sets the page's language and theme, and returns the `Page` for its panels."""
    client = ui.context.client
    accepted = client.request.headers.get("accept-language", "")
    words = Words(language_of(app.chats, accepted))
    # NiceGUI takes the language from the page's route; this page's own copy says what this visitor reads.
    own = copy.copy(client.page)
    own.language = cast(Language, words.locale)
    client.page = own
    client.title = f"{words(title)} · Foredraft" if title else "Foredraft"
    theme = app.chats.preference("theme", "auto")
    ui.dark_mode({"dark": True, "light": False}.get(theme))
    stamp = _stamp()
    ui.add_head_html(f'<link rel="stylesheet" href="{STATIC}/app.css?{stamp}">')
    ui.add_head_html(f'<script type="module" src="{STATIC}/app.js?{stamp}"></script>')
    return Page(app, words)


@contextlib.contextmanager
def frame(page: Page, here: str, *, classes: str = "", skip_to: str = "fd-conversation") -> Iterator[None]:
    """Rail and footer around a page's own panes. `here` is the rail's entry."""
    t = page.words
    highlight = " hl-on" if page.power and page.choices.highlight else ""
    Tag("a", t("frame.skip"), href=f"#{skip_to}").classes("fd-skip")
    with Tag("div", "").classes(f"fd-app {classes}{highlight}"):
        rail(page, here)
        yield
        footer(page)
        veil = Tag("button", "", type="button", aria_label=t("frame.close_drawer"), tabindex="-1").classes("fd-veil")
        veil.on("click", js_handler="() => fd.closeDrawers()")
    Tag("div", "", id="fd-announce", aria_live="polite").classes("fd-sr")
    Tag("div", t("frame.lost"), id="fd-lost", role="status", hidden=True).classes("fd-lost")
    palette(page)
    _listen(page)


def page_head(page: Page, title: str) -> None:
    """The heading of a page that is no chat; on narrow screens with the way to the other pages."""
    t = page.words
    with Tag("div", "").classes("fd-row").style("flex-wrap: nowrap"):
        show = icon_button("menu", t("header.pages"), lambda: ui.run_javascript("fd.toggle('list')"))
        show.classes("narrow-only for-list")
        Tag("h1", title).style("font-size: 1.35rem")


def notices(page: Page) -> None:
    """What the user must know about where chats are kept."""
    t, app = page.words, page.app

    @ui.refreshable
    def lines() -> None:
        for code in (app.chats.notice, app.generations.problem):
            if code:
                with Tag("div", "", role="status").classes("fd-notice"):
                    Tag("span", t(f"notices.{code}"))

    lines()
    page.refreshers["notices"] = lines.refresh


def _listen(page: Page) -> None:
    """Refreshes panels when something has changed anywhere: in this page, another tab, the API."""
    client = ui.context.client
    missed: dict[str, None] = {}

    def heard(topic: str, about: str) -> None:
        panels = _panels(page, topic, about)
        if not panels or client.id not in client.instances:
            return
        if not client.has_socket_connection:
            missed.update(dict.fromkeys(panels))  # a tab that is away (or not there yet) is shown it when it comes
            return
        with client:
            page.refresh(*panels)

    def came() -> None:
        panels = list(missed)
        missed.clear()
        with client:
            page.refresh(*panels)

    client.on_connect(came)
    client.on_delete(page.app.hub.subscribe(heard))


def _panels(page: Page, topic: str, about: str) -> tuple[str, ...]:
    mine = about == (page.chat_id or "")
    table: dict[str, tuple[str, ...]] = {
        "chats": ("chats",),
        "messages": ("messages", "composer", "chats") if mine else ("chats",),
        "answer": ("messages", "composer", "insights", "footer") if mine else (),
        "models": ("header", "spec", "composer", "footer", "models"),
        "ready": ("header", "spec", "composer", "footer", "models", "empty"),
        "speculation": ("spec_status",),
        "progress": ("header", "models", "empty"),
        "drafts": ("spec", "models"),
        "measure": ("spec", "header"),
        "problem": ("notices",),
        "downloads": ("downloads",),
        "shelf": ("models", "spec"),
        "lab": ("lab",),
    }
    return table.get(topic, ())


def _stamp() -> str:
    """Changes with the files, so that a new version is never mixed with old ones from the browser's cache."""
    folder = files("foredraft.ui").joinpath("static")
    return str(sum(len(folder.joinpath(name).read_bytes()) for name in ("app.css", "app.js")))
