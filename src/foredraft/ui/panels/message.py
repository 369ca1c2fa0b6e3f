"""One message of the conversation with its versions, statistics and buttons."""

from __future__ import annotations

from nicegui import ui

from foredraft.chats.records import INTERRUPTED, RUNNING, Message
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button, icon, icon_button, text_field
from foredraft.ui.components.part import Part
from foredraft.ui.components.token_stream import TokenStream
from foredraft.ui.panels.attached import attached_files
from foredraft.ui.panels.statistics import gain_of, statistics_line
from foredraft.ui.problems import Problem
from foredraft.ui.state import Page
from foredraft.ui.writing import Writing

LONG_MESSAGE = 4000
"""Characters of a user's message that are shown at first."""


class MessageView:
    """A message on the page: built once, and then only those parts anew that have changed.

    An answer that has been written before the reader's eyes stays as it stands; its statistics come below it. So the
    end of an answer costs the same however long it is, and what was said before it is not sent or rendered again.
    """

    def __init__(self, page: Page, shown: Message) -> None:
        self._page = page
        t = page.words
        with Tag("article", "", data_message=shown.id).classes("fd-message") as self.element:
            Tag("h2", t("message.you" if shown.role == "user" else "message.answer")).classes("fd-sr")
            self._head, self._body, self._foot = Part(), Part(), Part()
        self._followed: Writing | None = None

    def show(self, shown: Message, *, last: bool) -> None:
        self.element.classes(add="last" if last else "", remove="" if last else "last")
        if shown.role == "user":
            self._show_question(shown)
        else:
            self._show_answer(shown, last=last)

    def _show_question(self, shown: Message) -> None:
        self._body.show((shown.text, shown.meta), lambda: _question(self._page, shown))
        self._foot.show((shown.text, shown.version, shown.versions), lambda: _question_tools(self._page, shown))

    def _show_answer(self, shown: Message, *, last: bool) -> None:
        page = self._page
        writing = page.app.generations.of(shown.id)
        running = writing if writing is not None and not writing.done else None
        self._head.show((shown.model, shown.draft, shown.meta.get("quantisation")), lambda: _who(page, shown))
        if running is not None:
            self._followed = running
        self._body.show(self._followed, lambda: _stream(page, shown, running))
        if running is not None:
            self._foot.show(None, lambda: None)
            return
        stats = shown.meta.get("stats")
        gain = gain_of(page, stats) if stats else None
        state = (shown.text, shown.status, shown.meta, shown.version, shown.versions, last, gain)
        self._foot.show(state, lambda: _below(page, shown, last))


def _question(page: Page, shown: Message) -> None:
    t = page.words
    attached_files(page, shown.meta)
    with Tag("div", "").classes("fd-user"):
        text = Tag("span", shown.text[:LONG_MESSAGE])
        if len(shown.text) > LONG_MESSAGE:
            more = button(t("message.show_all", n=f"{len(shown.text):,}"), kind="link")

            def show_all() -> None:
                text.set_text(shown.text)
                more.delete()

            more.on("click", lambda _: show_all(), args=[])


def _question_tools(page: Page, shown: Message) -> None:
    t = page.words
    with Tag("div", "").classes("fd-user-tools"):
        _versions(page, shown)
        _copy(page, shown)
        icon_button("edit", t("message.edit"), lambda: _edit(page, shown), small=True, data_edit="user")
        icon_button("delete_outline", t("message.delete"), lambda: _delete(page, shown), small=True)


def _who(page: Page, shown: Message) -> None:
    with Tag("div", "").classes("fd-who"):
        Tag("b", shown.model or page.words("message.answer"))
        if page.power:
            if shown.meta.get("quantisation"):
                Tag("span", shown.meta["quantisation"]).classes("fd-chip code")
            if shown.draft:
                with Tag("span", "").classes("fd-row").style("gap: 0.1rem"):
                    icon("bolt").style("font-size: 1rem")
                    Tag("span", shown.draft)


def _stream(page: Page, shown: Message, running: Writing | None) -> None:
    tokens = running.tokens if running is not None else shown.tokens
    schema = running.schema if running is not None else shown.meta.get("schema")
    TokenStream(
        tokens or ([[shown.text, "m", 0]] if shown.text else []),
        page.words,
        follow=shown.id if running is not None else None,
        inspector=page.developer,
        language="json" if schema is not None else "",
    )


def _below(page: Page, shown: Message, last: bool) -> None:
    t = page.words
    _problem(page, shown)
    statistics_line(page, shown)
    with Tag("div", "").classes("fd-tools"):
        _versions(page, shown)
        _copy(page, shown)
        icon_button("refresh", t("message.regenerate"), lambda: page.actions["regenerate"](shown), small=True)
        if last:
            icon_button("redo", t("message.continue"), lambda: page.actions["continue"](shown), small=True)
        icon_button("call_split", t("message.branch"), lambda: page.actions["branch"](shown), small=True)
        if page.power:
            icon_button("edit", t("message.edit"), lambda: _edit(page, shown), small=True)
        icon_button("delete_outline", t("message.delete"), lambda: _delete(page, shown), small=True)


def _problem(page: Page, shown: Message) -> None:
    t = page.words
    error = shown.meta.get("error")
    if error:
        with Tag("div", "", role="alert").classes("fd-error"):
            Tag("span", page.error_words(Problem.from_dict(error)))
    elif shown.status in (INTERRUPTED, RUNNING):
        Tag("div", t("message.interrupted")).classes("fd-error")


def _versions(page: Page, shown: Message) -> None:
    t, count = page.words, len(shown.versions)
    if count < 2:
        return
    with Tag("span", "").classes("fd-versions"):
        at = shown.version - 1
        for name, icon_name, to in (("previous", "chevron_left", at - 1), ("next", "chevron_right", at + 1)):
            if name == "next":
                Tag("span", f"{shown.version} / {count}")
            made = icon_button(icon_name, t(f"message.{name}"), small=True)
            if 0 <= to < count:
                made.on("click", lambda _, to=to: page.actions["show_version"](shown.versions[to]), args=[])
            else:
                made.attributes(disabled=True)


def _copy(page: Page, shown: Message) -> None:
    t = page.words

    def copy() -> None:
        ui.run_javascript(f"fd.copyText({_js(shown.text)}); fd.announce({_js(t('message.copied'))})")

    icon_button("content_copy", t("message.copy"), copy, small=True)


def _js(text: str) -> str:
    import json

    # Inside a script, "</script>" and line separators would end it.
    return json.dumps(text).replace("<", "\\u003c")


def _edit(page: Page, shown: Message) -> None:
    t = page.words
    text = {"value": shown.text}
    with dialog(t("message.edit")) as made:
        text_field(t("message.text"), shown.text, lambda value: text.update(value=value), area=True, on="input", rows=8)

        def save() -> None:
            made.close()
            page.actions["edit"](shown, text["value"].strip())

        Tag("p", t("message.edit_help" if shown.role == "user" else "message.edit_answer_help")).classes("fd-help")
        button(t("common.send" if shown.role == "user" else "common.save"), save, kind="primary")


def _delete(page: Page, shown: Message) -> None:
    t = page.words
    with dialog(t("message.delete")) as made:
        Tag("p", t("message.delete_question"))

        def delete() -> None:
            made.close()
            page.actions["delete"](shown)

        with Tag("div", "").classes("fd-row"):
            button(t("message.delete"), delete, kind="outline danger")
            button(t("common.cancel"), made.close, kind="quiet")
