"""*Check that the answer is unchanged*: the same question with and without the draft, compared token by token."""

from __future__ import annotations

from foredraft.core.errors import ForedraftError
from foredraft.engines.base import Numerics
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag
from foredraft.ui.state import Page
from foredraft.words import Words

TOKENS = 200
SEED = 7


async def open_check(page: Page) -> None:
    t, state = page.words, page.app.loaded()
    if state is None or state.info is None:
        return
    now = page.choices
    question = t("try.formula")
    if page.chat_id:
        asked = [m.text for m in page.app.chats.messages(page.chat_id) if m.role == "user"]
        question = asked[-1] if asked else question
    with dialog(t("spec.check")):
        Tag("p", t("check.question", text=question[:200]))
        result = Tag("p", t("check.running"), role="status")
        measured = Tag("p", "").classes("fd-help")
    try:
        plain, drafted = [
            await page.app.measuring.once(
                state.id, question, enabled=enabled, tokens=TOKENS, temperature=now.temperature, seed=SEED
            )
            for enabled in (False, True)
        ]
    except ForedraftError as error:
        result.set_text(page.error_words(error))
        return
    pairs = zip(plain.tokens, drafted.tokens, strict=False)
    differs = next((i for i, (a, b) in enumerate(pairs, 1) if a != b), None)
    if differs is None and len(plain.tokens) == len(drafted.tokens):
        result.set_text(t("check.same", n=len(plain.tokens)))
    else:
        near = drafted.numerics.rounding if drafted.numerics else 0.0
        result.set_text(
            t("check.differs", n=differs or min(len(plain.tokens), len(drafted.tokens)) + 1, d=f"{near:.2g}")
        )
    if drafted.numerics is not None:
        measured.set_text(_measured(t, drafted.numerics))


def _measured(t: Words, numerics: Numerics) -> str:
    """Which numerics are on, what the probe found, and what the other mode would bring."""
    facts = numerics.as_dict()
    parts = []
    if numerics.mode == "exact" and numerics.beside_exact:
        parts.append(t("numerics.exact"))
        if numerics.exact_rows is not None:
            parts.append(t("numerics.rows", rows=numerics.exact_rows))
    elif not numerics.batches_exact:
        parts.append(t("numerics.fast", d=f"{numerics.rounding:.2g}"))
        parts.append(
            t("check.rounds", d=f"{numerics.max_abs_diff:.2g}", batch=facts["batch"], context=numerics.context)
        )
    else:
        parts.append(t("check.exact", batch=facts["batch"], context=numerics.context))
        if numerics.beside is None:
            parts.append(t("check.beside_unknown"))
        elif numerics.beside == 0.0:
            parts.append(t("check.beside_luck"))
        else:
            parts.append(t("check.beside_rounds", d=f"{numerics.beside:.2g}"))
    if numerics.other is not None:
        other = numerics.other
        parts.append(t(f"numerics.other_{other.mode}", w=f"{other.writing:.2g}", r=f"{other.reading:.2g}"))
    return " ".join(parts)
