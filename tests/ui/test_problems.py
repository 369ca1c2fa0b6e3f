"""What goes wrong is told in words and numbers: loads that fail, chats that cannot be written down."""

import asyncio
from dataclasses import replace

import pytest

from foredraft.chats import ChatStoreError
from foredraft.core.errors import EngineDiedError, MemoryLimitError, ModelFormatError
from foredraft.runtime.errors import ModelGivenUpError
from foredraft.runtime.managed_model import Place
from foredraft.ui.panels.load_dialog import start_load
from foredraft.ui.state import Page
from foredraft.words import Words
from tests.ui.fakes import LOADED, sees


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "40.0 GB of memory are needed, 23.5 GB are free."),
        ("ja", "メモリが 40.0 GB 必要ですが、空きは 23.5 GB です。"),
    ],
)
async def test_too_little_memory_is_told_with_its_numbers(app, language, words):
    async with app(language=language) as (user, state):
        state.services.runtime.fail = MemoryLimitError("Too large.", needed=40_000_000_000, free=23_500_000_000)
        await user.open("/")
        start_load(state, state.shelf.models()[0])
        await asyncio.gather(*state.tasks)
        await user.open("/")
        await sees(user, words)
        await user.open("/models")
        await sees(user, words)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "The model could not be loaded: /m/x.gguf is no GGUF file."),
        ("ja", "GGUF モデルではないか、ファイルが壊れています。 (/m/x.gguf is no GGUF file.)"),
    ],
)
async def test_why_the_model_of_the_start_could_not_be_loaded_is_told(app, language, words):
    async with app(language=language) as (user, state):
        await user.open("/")
        state.services.load_failure = ModelFormatError("/m/x.gguf is no GGUF file.")
        state.services.event_log.write("model", "x could not be loaded")
        await sees(user, words)
        state.services.runtime.fail = None
        start_load(state, state.shelf.models()[0])
        assert state.load_error is None


@pytest.mark.parametrize(("code", "words"), [("full", "The disk is full"), ("locked", "in use by another program")])
async def test_settings_that_cannot_be_written_down_say_so(app, monkeypatch, code, words):
    async with app(LOADED) as (user, state):
        await user.open("/")

        def refuse(*_):
            raise ChatStoreError(code, "no")

        monkeypatch.setattr(state.chats, "set_preference", refuse)
        with user:
            Page(state, Words("en")).choose(temperature=0.1)
        await sees(user, words)


async def test_only_a_model_that_was_loaded_is_loaded_at_the_next_start(app):
    async with app() as (_, state):
        good, bad = state.shelf.models()[:2]
        start_load(state, good)
        await asyncio.gather(*state.tasks)
        state.services.runtime.fail = ModelFormatError("damaged")
        start_load(state, bad)
        await asyncio.gather(*state.tasks)
        assert state.load_error is not None
        assert state.chats.preference("last_model", "") == good.name


@pytest.mark.parametrize(
    ("language", "place", "ended", "given_up"),
    [
        (
            "en",
            "own (PID 4711) · the server's · died and loaded again: 2",
            "The model's process has ended",
            "Load it again",
        ),
        ("ja", "専用（PID 4711） · サーバーと共通 · 異常終了して再読み込み: 2 回", "プロセスが終了したため", "手動で"),
    ],
)
async def test_whose_process_has_a_model_and_what_became_of_it(app, language, place, ended, given_up):
    told = replace(LOADED, places=(Place(4711), Place()), deaths=2)
    async with app(told, language=language) as (user, state):
        await user.open("/server")
        await sees(user, place)
        error = EngineDiedError("Main", "SIGSEGV")
        assert Page(state, Words(language)).error_words(error).find(ended) >= 0
        state.services.load_failure = ModelGivenUpError("Main", 3, 300, error.reason_or_words)
        await user.open("/models")
        await sees(user, given_up)
