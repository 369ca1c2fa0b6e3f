"""Finding models on the hub: words or a repository's name in, repositories with their files out."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from nicegui import ui

from foredraft.core.errors import DownloadError
from foredraft.models import hub as models_hub
from foredraft.models.memory import Machine, this_machine
from foredraft.models.recommend import catalogue_entry
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button, text_field
from foredraft.ui.names import billions, gigabytes, size_words
from foredraft.ui.state import Page

ROOM, SHARE = 1.15, 0.8
"""What context and scratch add to a file's size, and how much of the machine's memory models may take."""


def hub_search(page: Page, wish: str) -> None:
    """The form and what it found. `wish` is looked for at once."""
    t = page.words
    state: dict[str, Any] = {"wish": wish, "found": None, "error": "", "searching": False, "asked": ""}

    @ui.refreshable
    def results() -> None:
        with ui.element("div").classes("fd-stack"):
            _results(page, state)

    async def look(words: str) -> None:
        state["wish"] = words = words.strip()
        if not words or state["searching"]:
            return
        state.update(searching=True, error="", found=None, asked=words)
        results.refresh()
        try:
            if re.fullmatch(r"(https?://\S+|hf\.co/\S+|[\w.-]+/[\w.-]+(?:[@:]\S+)?)", words):
                await offer(page, words)
            else:
                state["found"] = await asyncio.to_thread(models_hub.search, words)
        except DownloadError as error:
            state["error"] = download_words(page, error)
        state["searching"] = False
        results.refresh()

    Tag("h2", t("models.get"))
    with Tag("form", "", role="search").classes("fd-row") as form:
        with ui.element("div").style("flex: 1; min-width: 12rem"):
            text_field(
                t("models.wish"), wish, lambda value: state.update(wish=value), hidden_label=True, on="input",
                type="search", placeholder=t("models.wish_example"),
            )  # fmt: skip
        Tag("button", t("models.look"), type="submit").classes("fd-btn primary")
    # What stands in the field counts, not what has arrived of it.
    form.on(
        "submit",
        lambda event: look(str(event.args)),
        js_handler="(e) => { e.preventDefault(); emit(e.target.querySelector('input').value); }",
    )
    Tag("p", t("models.network")).classes("fd-help")
    results()
    page.actions["search_hub"] = look
    if wish:
        ui.timer(0.05, lambda: look(wish), once=True)


def _results(page: Page, state: dict[str, Any]) -> None:
    t, found = page.words, state["found"]
    if state["searching"]:
        Tag("p", t("models.searching", words=state["asked"]), role="status").classes("fd-help")
        Tag("progress", "", aria_label=t("models.searching", words=state["asked"]))
    elif state["error"]:
        Tag("p", state["error"], role="alert").classes("fd-error")
    elif found is not None and not found:
        Tag("p", t("models.found_none", words=state["asked"]), role="status").classes("fd-help")
    elif found:
        Tag("p", t("models.found", n=len(found), words=state["asked"]), role="status").classes("fd-help")
        with (
            Tag("div", "", tabindex="0", role="region", aria_label=t("models.results")).classes("fd-scroll-x fd-found"),
            Tag("table", "").classes("fd-data cards"),
        ):
            with Tag("thead", ""), Tag("tr", ""):
                for name in ("repository", "parameters", "downloads", "actions"):
                    number = name in ("parameters", "downloads")
                    Tag("th", t(f"models.{name}"), scope="col").classes("n" if number else "")
            with Tag("tbody", ""):
                for one in found:
                    _found(page, one)


def _found(page: Page, one: models_hub.HubFound) -> None:
    t = page.words
    with Tag("tr", ""):
        with Tag("th", "", scope="row"):
            Tag("span", one.name)
            if one.gated:
                Tag("span", t("models.gated")).classes("fd-chip warn").style("margin-left: 0.4rem")
        params = billions(one.params) if one.params else "–"
        Tag("td", params, data_label=t("models.parameters")).classes("n")
        Tag("td", f"{one.downloads:,}", data_label=t("models.downloads")).classes("n")
        with Tag("td", ""):
            button(
                t("models.files"), lambda: show_offer(page, one.name), kind="quiet",
                aria_label=f"{t('models.files')}: {one.name}",
            )  # fmt: skip


async def show_offer(page: Page, wish: str) -> None:
    """`offer`, with what goes wrong as a message on the page."""
    try:
        await offer(page, wish)
    except DownloadError as error:
        ui.notify(download_words(page, error), type="warning", multi_line=True, classes="fd-notify")


async def offer(page: Page, wish: str) -> None:
    """What a repository has, to choose from, and the drafts that go with it. Raises `DownloadError`."""
    t = page.words

    def look() -> tuple[models_hub.HubRepository, Machine]:
        return models_hub.look(models_hub.parse_wish(wish)[0]), this_machine()

    repository, machine = await asyncio.to_thread(look)
    wanted = models_hub.parse_wish(wish)[1]
    most = max(SHARE * machine.ram_total, machine.video_total)
    usual = models_hub.choose(repository, wanted, room=round(most / ROOM))
    with dialog(repository.name) as made:
        with Tag("table", "").classes("fd-data cards"):
            with Tag("thead", ""), Tag("tr", ""):
                for name in ("quantisation", "size", "fits", "actions"):
                    Tag("th", t(f"models.{name}"), scope="col").classes("n" if name == "size" else "")
            with Tag("tbody", ""):
                for choice in repository.choices:
                    _choice(page, made, repository, choice, usual=choice is usual, most=most)
        _drafts(page, made, repository.name)


def _choice(
    page: Page,
    made: ui.dialog,
    repository: models_hub.HubRepository,
    choice: models_hub.HubChoice,
    *,
    usual: bool,
    most: float,
) -> None:
    t = page.words

    def take() -> None:
        page.app.downloads.start(repository, choice)
        made.close()

    with Tag("tr", ""):
        with Tag("th", "", scope="row"):
            Tag("span", choice.quantisation)
            if usual:
                Tag("span", t("models.usual")).classes("fd-chip good").style("margin-left: 0.4rem")
        Tag("td", size_words(choice.size), data_label=t("models.size")).classes("n")
        fits = t("models.fits_yes")
        if choice.size * ROOM > most:
            fits = t("models.fits_no", a=gigabytes(choice.size * ROOM), b=gigabytes(most))
        Tag("td", fits, data_label=t("models.fits"))
        with Tag("td", ""):
            button(
                t("models.download"), take, kind="primary" if usual else "quiet",
                aria_label=f"{t('models.download')}: {choice.quantisation}",
            )  # fmt: skip


def _drafts(page: Page, made: ui.dialog, name: str) -> None:
    """Drafts of the same family: the known ones, else the way to look for smaller ones."""
    t = page.words
    known = models_hub.recommended_repositories(name)
    entry = catalogue_entry(name.split("/")[-1])
    if entry is not None and not entry.drafts:
        return  # a small model: it is a draft itself
    Tag("h3", t("models.family"))

    async def get(repository: str) -> None:
        made.close()
        await show_offer(page, repository)

    async def smaller() -> None:
        made.close()
        words = models_hub.family(name)
        field = json.dumps(words)
        ui.run_javascript(f"document.querySelector('form[role=search] input').value = {field}")
        await page.actions["search_hub"](words)

    with Tag("div", "").classes("fd-row"):
        for repository in known:
            button(repository.split("/")[-1], lambda repository=repository: get(repository), kind="quiet")
        if not known:
            button(t("models.family_search", words=models_hub.family(name)), smaller, kind="quiet")


def download_words(page: Page, error: DownloadError) -> str:
    """What went wrong with the hub, in the page's language."""
    return page.error_words(error, f"download_{error.reason}")
