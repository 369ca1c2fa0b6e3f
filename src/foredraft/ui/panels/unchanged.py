"""*Check that the answer is unchanged*: the same question with and without the draft, compared token by token."""

from __future__ import annotations

import dataclasses

from foredraft.core.errors import ForedraftError
from foredraft.engines.base import Numerics
from foredraft.pair.verification import Comparison
from foredraft.ui.checking import SEED, TOKENS, answered_last, check, request_of
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag
from foredraft.ui.state import Page
from foredraft.words import Words


async def open_check(page: Page) -> None:
    """The last answer of the chat, with its history, settings and seed; without one, a question of ours."""
    t, state = page.words, page.app.loaded()
    if state is None or state.info is None:
        return
    messages = page.app.chats.messages(page.chat_id) if page.chat_id else []
    answer = answered_last(messages)
    if answer is not None:
        request = request_of(page.app.generations, answer, state.id)
    else:
        question = next((m.text for m in reversed(messages) if m.role == "user"), t("try.formula"))
        asked = page.choices.request([{"role": "user", "content": question}])
        sampling = dataclasses.replace(asked.sampling, seed=SEED)
        request = dataclasses.replace(asked, model=state.id, sampling=sampling, max_tokens=TOKENS)
    question = next((m["content"] for m in reversed(request.messages or ()) if m["role"] == "user"), "")
    with dialog(t("spec.check")):
        Tag("p", t("check.question", text=question[:200]))
        result = Tag("p", t("check.running"), role="status")
        parts = Tag("p", "").classes("fd-help")
        measured = Tag("p", "").classes("fd-help")
    try:
        comparison = await check(page.app.services, request)
    except ForedraftError as error:
        result.set_text(page.error_words(error))
        return
    result.set_text(_verdict(t, comparison))
    parts.set_text(_difference(t, comparison))
    if comparison.drafted.numerics is not None:
        measured.set_text(_measured(t, comparison.drafted.numerics))


def _verdict(t: Words, comparison: Comparison) -> str:
    """As `foredraft verify` judges."""
    difference, drafted = comparison.difference, comparison.drafted
    if difference is not None:
        figures = {"n": difference.position + 1, "d": f"{difference.margin:.2g}", "bound": f"{difference.bound:.2g}"}
        return t("check.near_tie" if difference.near_tie else "check.defect", **figures)
    if not comparison.checked:
        return t("check.unchecked")
    return t("check.same", n=len(drafted.tokens), a=drafted.stats.accepted, drafted=drafted.stats.drafted)


def _difference(t: Words, comparison: Comparison) -> str:
    """What stands there in one text and in the other."""
    difference = comparison.difference
    if difference is None:
        return ""
    return t("check.parted", plain=repr(difference.plain_text), drafted=repr(difference.draft_text))


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
