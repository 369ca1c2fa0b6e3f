"""Two questions, each answered with and without the draft, side by side: the quickest way to see when it pays."""

from __future__ import annotations

from nicegui import ui

from foredraft.core.errors import ForedraftError
from foredraft.scheduling.request import Generation
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button
from foredraft.ui.components.token_stream import TokenStream
from foredraft.ui.names import gain_words
from foredraft.ui.panels.legend import legend
from foredraft.ui.state import Page
from foredraft.ui.tokens import ORIGINS

CARDS = ("formula", "story")
TOKENS = 160


def try_it(page: Page) -> None:
    t = page.words
    Tag("p", t("try.help")).classes("fd-help")
    with Tag("div", "").classes("fd-try"):
        for name in CARDS:
            with Tag("button", "", type="button", data_try=name) as card:
                Tag("b", t(f"try.{name}"))
                Tag("small", t(f"try.{name}_why"))
            card.on("click", lambda _, name=name: _run(page, name), args=[])


async def _run(page: Page, name: str) -> None:
    """Both answers, one after the other, with the same seed: the draft changes the time and not the text."""
    t, state = page.words, page.app.loaded()
    if state is None or state.info is None:
        return
    if page.app.measuring.busy:
        ui.notify(t("try.busy"))
        return
    question = t(f"try.{name}")
    with dialog(question, wide=True) as made:
        status = Tag("p", t("try.running"), role="status").classes("fd-help")
        result = ui.element("div")
    temperature = 0.0 if name == "formula" else 0.8
    try:
        once = page.app.measuring.once
        plain = await once(state.id, question, enabled=False, tokens=TOKENS, temperature=temperature)
        drafted = await once(state.id, question, enabled=True, tokens=TOKENS, temperature=temperature)
    except ForedraftError as error:
        status.set_text(page.error_words(error))
        return
    if made.is_deleted:
        return
    gain = drafted.stats.tokens_per_second / plain.stats.tokens_per_second if plain.stats.tokens_per_second else 0.0
    same = "try.same" if plain.tokens == drafted.tokens else "try.different"
    said = [t("try.gain", x=gain_words(gain)), t(same)]
    if drafted.stats.drafted == 0:
        said.insert(0, t("try.paused"))
    status.set_text(" ".join(said))
    # The colours are what is to be seen here, in every mode.
    with result.classes("fd-stack hl-on"):
        with Tag("div", "").classes("fd-pair"):
            _side(page, t("try.without"), plain)
            _side(page, t("try.with"), drafted)
        legend(page)

    def ask() -> None:
        made.close()
        page.actions["ask"](question)

    with result:
        button(t("try.ask"), ask, kind="quiet").style("align-self: flex-start")


def _side(page: Page, title: str, generation: Generation) -> None:
    t, stats = page.words, generation.stats
    with Tag("section", "", aria_label=title).classes("fd-stack"):
        Tag("h3", title)
        parts = [t("stats.speed", tps=f"{stats.tokens_per_second:.1f}")]
        if stats.acceptance is not None:
            tested = stats.accepted + stats.rejected
            parts.append(t("stats.drafts", a=stats.accepted, d=tested, p=round(100 * stats.acceptance)))
        Tag("p", " · ".join(parts)).classes("fd-help")
        tokens = [[piece.text, ORIGINS.get(piece.origin, "m"), piece.draft_position] for piece in generation.pieces]
        TokenStream(tokens, t, inspector=page.developer)
