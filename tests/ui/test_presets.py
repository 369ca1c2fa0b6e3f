"""Presets: what they hold, that they are used whole, and that they go when told to."""

import asyncio

import pytest

from foredraft.chats import Preset
from foredraft.ui.choices import SPECULATION, Choices
from foredraft.ui.panels.presets import apply, collect
from foredraft.ui.state import PRESET_SPECULATION, Page
from foredraft.words import Words
from tests.ui.fakes import LOADED, press, sees


async def test_a_preset_sets_what_it_holds_and_nothing_else(app):
    async with app(LOADED) as (_, state):
        page = Page(state, Words("en"))
        page.choose(temperature=0.8, schema="{}", structured=True, max_draft=3)
        page.set_system_prompt("Be brief.")
        kept = collect(page)
        page.choose(temperature=0.1, schema="", structured=False, max_draft=5, top_k=7)
        page.set_system_prompt("")
        apply(page, kept)
        assert page.choices == Choices(temperature=0.8, schema="{}", structured=True, max_draft=3)
        assert page.system_prompt == "Be brief."
        apply(page, {"temperature": 0.5, "unknown": 1})
        assert page.choices == Choices(temperature=0.5, schema="{}", structured=True, max_draft=3)


async def test_speculation_is_left_out_where_it_is_not_to_be_included(app):
    async with app(LOADED) as (_, state):
        page = Page(state, Words("en"))
        assert set(SPECULATION) <= set(collect(page))
        state.chats.set_preference(PRESET_SPECULATION, False)
        kept = collect(page)
        assert not set(SPECULATION) & set(kept)
        page.choose(method="suffix", temperature=0.3)
        apply(page, kept)
        assert page.choices == Choices(method="suffix")


@pytest.mark.parametrize("values", [{"temperature": -4}, {"max_draft": "many"}])
async def test_a_preset_with_wrong_values_does_no_harm(app, values):
    async with app(LOADED) as (_, state):
        page = Page(state, Words("en"))
        apply(page, values)
        assert page.choices == Choices()


async def test_presets_are_deleted_from_the_sidebar(app):
    async with app(LOADED) as (user, state):
        state.chats.save_preset(Preset("Strict", {"temperature": 0}))
        await user.open("/")
        await sees(user, "Include in preset")
        await sees(user, "Strict")
        press(user, "delete_outline")
        await sees(user, "Delete Strict")
        press(user, "Delete Strict")
        while state.chats.presets():
            await asyncio.sleep(0)
