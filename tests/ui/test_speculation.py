"""The section "Speculative Decoding" in every state."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from foredraft.core.declared import declared
from foredraft.core.params import MAX_DRAFT, SamplingParams
from foredraft.core.reasons import Reason
from foredraft.core.registry import Entry
from foredraft.core.tables import DRAFTERS, LOOKUP
from foredraft.models.cache import Measured
from foredraft.models.pairing import NOT_USABLE
from foredraft.pair.what_pays import Verdict, Way
from foredraft.scheduling.request import SpeculationStatus
from foredraft.ui import shelf
from foredraft.ui.choices import Choices
from foredraft.ui.panels.speculation import from_text_only, method_names
from foredraft.words import words
from tests.ui.fakes import LOADED, SHELF, info, press, sees

DRAFTED = replace(LOADED, draft_info=info("Small 0.6B", 600_000_000), speculation=SpeculationStatus("active"))


async def test_without_a_main_model_it_says_so(app):
    async with app() as (user, _):
        await user.open("/")
        await user.should_see("Load a model first to see which drafts fit.")
        await user.should_see("Load a model")


async def test_while_the_main_model_is_loading(app):
    async with app(replace(LOADED, status="loading", info=None, progress=0.4)) as (user, _):
        await user.open("/")
        await user.should_see("The main model is being loaded…")
        await user.should_see("Loading… 40%")


async def test_every_model_is_listed_with_its_reason(app):
    async with app(LOADED) as (user, _):
        await user.open("/")
        for group in ("Recommended", "Also works", "Not usable"):
            await user.should_see(group)
        for name, _, reason in SHELF:
            await user.should_see(name)
            await user.should_see(reason)
        await user.should_see("Get another draft model…")


async def test_choosing_a_draft_changes_it_without_loading_the_main_model_again(app):
    async with app(LOADED) as (user, state):
        await user.open("/")
        await user.should_see("Small 0.6B")
        press(user, "Small 0.6B")
        await user.should_see("Measure (20 s)")
        assert state.services.runtime.drafts == ["/models/Small 0.6B.gguf"]


async def test_a_status_that_changes_leaves_the_list_alone(app):
    """The controller may rest the draft in mid-answer, just while someone looks through the list."""
    async with app(DRAFTED) as (user, state):
        await user.open("/")
        await user.should_see("Active")
        await user.should_see("Middle 3B")
        listed = user.find("Middle 3B").elements
        state.services.runtime.states[0] = replace(
            DRAFTED, speculation=SpeculationStatus("paused", Reason("said", {"text": "slower"}))
        )
        state.hub.publish("speculation")
        await user.should_see("Paused")
        await user.should_not_see("Active")
        assert user.find("Middle 3B").elements == listed


async def test_a_refused_draft_says_why(app):
    async with app(LOADED) as (user, state):
        state.services.runtime.refuse = True
        await user.open("/")
        await user.should_see("Middle 3B")
        press(user, "Middle 3B")
        await user.should_see("The draft model could not be loaded")
        await user.should_see("Different tokenizer: 3 tokens")


async def test_nothing_fits_and_there_are_ways_on(app):
    none = [(name, NOT_USABLE, "Different tokenizer") for name, _, _ in SHELF]
    async with app(LOADED, shelf=none, language="ja") as (user, state):
        await user.open("/")
        await user.should_see("互換性のあるドラフトモデルはありません")
        await user.should_see("ほかのモデルが使えない理由を見る")
        press(user, "モデルなしでドラフトする")
        await user.should_see("このチャットに出た語句を再利用します。")
        assert Choices.of(state.chats.preference("choices")).method == "suffix"


async def test_a_known_family_offers_its_draft(app):
    llama = replace(LOADED, info=replace(info("Main"), path="/models/llama-3.1-8b-instruct.gguf"))
    async with app(llama, shelf=()) as (user, state):
        main = state.shelf.store.main
        path = main.path.with_name("llama-3.1-8b-instruct.gguf")
        state.shelf.store.main = replace(main, name=path.stem, path=path)
        await user.open("/")
        await user.should_see("Download llama-3.2-1b-instruct (about 1.3 GB)")


@pytest.mark.parametrize(
    ("plain", "drafted", "words"),
    [(20.0, 38.0, "Measured: 20.0 → 38.0 tok/s (1.9×)"), (20.0, 16.0, "This draft makes answers slower here (0.8×).")],
)
async def test_the_measured_gain_is_shown(app, plain, drafted, words):
    async with app(DRAFTED) as (user, state):
        gain = drafted / plain
        state.shelf.store.speeds["Small 0.6B"] = Measured(gain, gain, gain, plain, drafted, "2026-01-01")
        await user.open("/")
        await user.should_see(words)
        await user.should_see("1.9×" if gain > 1 else "0.8×")


PAYING = Way(
    "draft",
    "Tiny 0.1B",
    None,
    "",
    Reason("way_draft", {"model": "Tiny 0.1B", "facts": (Reason("pays_at_most", {"x": 1.5}),)}),
)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            [
                "Even if every draft token were accepted, this draft could not make answers faster here.",
                "What would help here:",
                "the draft Tiny",
            ],
        ),
        ("ja", ["このドラフトでは速くなりません。", "この環境で効果が見込めるもの:", "ドラフト Tiny 0.1B"]),
    ],
)
async def test_a_draft_that_cannot_pay_says_so_and_what_would(app, monkeypatch, language, words):
    monkeypatch.setattr(shelf, "verdict", lambda *_: Verdict("Small 0.6B", (PAYING,)))
    async with app(DRAFTED, language=language) as (user, _):
        await user.open("/")
        for word in words:
            await sees(user, word)


@pytest.mark.parametrize(("draft", "shown"), [("auto", True), (None, False)])
async def test_a_draft_that_was_given_back_is_told_with_what_would_pay(app, monkeypatch, draft, shown):
    monkeypatch.setattr(shelf, "verdict", lambda *_: Verdict("Small 0.6B", (PAYING,)))
    async with app(replace(LOADED, spec=replace(LOADED.spec, draft=draft))) as (user, _):
        await user.open("/")
        await user.should_see("Get another draft model…")
        if shown:
            await sees(user, "Small 0.6B is not kept in memory")
            await sees(user, "the draft Tiny 0.1B")
        else:
            await user.should_not_see("What would help here")


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        ("active", None, "Active"),
        ("paused", Reason("draft_busy"), "Paused: drafting was slower than answering directly. It will try again."),
        ("paused", Reason("layers", {"n": 3}), "3 layers"),
        ("unavailable", Reason("file_empty", {"file": "x.gguf"}), "Answering without a draft: x.gguf is empty."),
    ],
)
async def test_the_status_is_never_silent(app, status, reason, words):
    async with app(replace(DRAFTED, speculation=SpeculationStatus(status, reason))) as (user, _):
        await user.open("/")
        await user.should_see(words)


async def test_switching_off_says_off(app):
    async with app(DRAFTED) as (user, state):
        await user.open("/")
        await user.should_see("Measure (20 s)")
        press(user, "Off")
        await user.should_not_see("Measure (20 s)")
        assert Choices.of(state.chats.preference("choices")).enabled is False


async def test_only_developers_see_the_knobs(app):
    async with app(DRAFTED, mode="power") as (user, _):
        await user.open("/")
        await user.should_see("Max draft size")
        await user.should_not_see("Drafting probability cutoff")
    async with app(DRAFTED, mode="developer") as (user, _):
        await user.open("/")
        for name in ("Drafting probability cutoff", "Min draft size", "Acceptance", "Settings as JSON"):
            await user.should_see(name)


async def test_users_have_one_switch(app):
    async with app(DRAFTED, mode="user") as (user, _):
        await user.open("/")
        await user.should_see("Faster answers")
        await user.should_not_see("Max draft size")
        await user.should_not_see("Lab")


def test_the_settings_of_a_chat_become_the_parameters_of_a_request():
    speculation = Choices(adjust=False, max_draft=5, min_draft=9, p_min=0.5, acceptance="block").speculation()
    assert (speculation.max_draft, speculation.min_draft, speculation.p_min) == (5, 5, 0.5)
    assert Choices(adjust=True).speculation().max_draft is None


@pytest.mark.parametrize("adjust", [True, False])
@pytest.mark.parametrize("size", range(1, MAX_DRAFT + 1))
def test_a_draft_size_means_what_it_shows(adjust, size):
    chosen = Choices.of(Choices(adjust=adjust, max_draft=size).stored())
    assert chosen.draft_size == chosen.speculation().max_draft == size


def test_the_app_knows_what_the_tables_and_the_declarations_have(monkeypatch):
    assert {one.name for one in declared(SamplingParams).values()} - {"logit_bias"} <= set(Choices().everything())
    page = SimpleNamespace(developer=True, choices=Choices(), words=words("ja"))
    DRAFTERS.add("mine", Entry(object, LOOKUP, help="what I like"))
    try:
        names = method_names(page)
        assert names["mine"] == "mine: what I like", "a part without words of its own"
        assert {"auto", "grammar", "prediction", "ngram"} <= set(names)
        assert from_text_only(Choices(method="mine"))
        assert Choices.of({"method": "mine"}).method == "mine"
    finally:
        DRAFTERS.remove("mine")
    assert Choices.of({"method": "mine"}) == Choices(), "it is gone"
    page.developer = False
    assert list(method_names(page)) == ["auto", "model", "suffix"]


def test_what_was_chosen_is_stored():
    assert Choices.of(Choices(temperature=0.3, method="suffix").stored()) == Choices(temperature=0.3, method="suffix")


@pytest.mark.parametrize("stored", [{"temperature": -1}, {"max_draft": MAX_DRAFT + 1}, {"top_k": "x"}, {"old": 1}])
def test_wrong_stored_settings_fall_back(stored):
    assert Choices.of(stored) == Choices()
