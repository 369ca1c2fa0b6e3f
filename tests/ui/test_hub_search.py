"""Search on the hub from the models page, against a hub on loopback that speaks the real one's language."""

import pytest
from nicegui.testing.user_interaction import UserInteraction

from foredraft.models import hub as models_hub
from foredraft.ui.panels import hub_search
from tests.models.hub_server import Hub, serve
from tests.ui.fakes import LOADED, press, sees

BIG, SMALL = b"b" * 5000, b"s" * 700


@pytest.fixture
def hub(monkeypatch):
    made = Hub(
        {
            "bartowski/Qwen2.5-14B-Instruct-GGUF": {"q-Q4_K_M.gguf": BIG, "q-Q8_0.gguf": BIG * 2},
            "Qwen/Qwen2.5-0.5B-Instruct-GGUF": {"q-Q8_0.gguf": SMALL},
            "x/Mystery-13B-GGUF": {"m-Q4_K_M.gguf": BIG},
            "x/Mystery-1B-GGUF": {"m-Q8_0.gguf": SMALL},
        }
    )
    made.downloads_of = {"bartowski/Qwen2.5-14B-Instruct-GGUF": 12_345}
    made.params_of = {"bartowski/Qwen2.5-14B-Instruct-GGUF": 14_770_033_664}
    server = serve(made)
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    yield made
    server.shutdown()
    server.server_close()


async def test_words_find_repositories_and_their_files(app, hub):
    async with app(LOADED, mode="user") as (user, state):
        await user.open("/models?get=qwen2.5 instruct")
        await sees(user, "2 repositories with GGUF files for “qwen2.5 instruct”")
        await sees(user, "14.8 B")
        await sees(user, "12,345")
        await hub_offer(user, "bartowski/Qwen2.5-14B-Instruct-GGUF")
        await sees(user, "Q4_K_M")
        await sees(user, "usual choice")
        await sees(user, "Drafts that go with it")
        await sees(user, "Qwen2.5-0.5B-Instruct-GGUF")
        assert hub.searches[0]["filter"] == ["gguf"]
        assert state.downloads.all == []


async def hub_offer(user, name):
    """Click "Files…" of a repository."""
    labels = user.find("Files…").elements
    [button] = [b for b in (label.parent_slot.parent for label in labels) if name in b._props["aria-label"]]
    UserInteraction(user, {button}, None).click()


async def test_what_is_too_large_for_this_machine_says_so_with_numbers(app, hub, monkeypatch):
    monkeypatch.setattr(hub_search, "this_machine", lambda: hub_search.Machine(1, 8_000, 0, 0))
    async with app(LOADED) as (user, _):
        await user.open("/models?get=bartowski/Qwen2.5-14B-Instruct-GGUF")
        await sees(user, "Fits this machine")
        await sees(user, "yes")
        await sees(user, "no: about")


async def test_a_family_that_is_not_known_is_searched_for(app, hub):
    async with app(LOADED) as (user, _):
        await user.open("/models?get=x/Mystery-13B-GGUF")
        await sees(user, "Search for smaller ones: Mystery")
        press(user, "Search for smaller ones: Mystery")
        await sees(user, "x/Mystery-1B-GGUF")


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "There is no connection to the hub (huggingface.co)"), ("ja", "ハブ (huggingface.co) に接続できないか")],
)
async def test_without_a_network_there_is_a_clear_sentence(app, hub, monkeypatch, language, words):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    async with app(LOADED, language=language) as (user, _):
        await user.open("/models?get=qwen")
        await sees(user, words)


async def test_nothing_found_says_so(app, hub):
    async with app(LOADED) as (user, _):
        await user.open("/models?get=no such thing")
        await sees(user, "The hub has no GGUF repository for “no such thing”.")


async def test_a_gated_or_missing_repository_is_explained(app, hub):
    async with app(LOADED, language="ja") as (user, _):
        await user.open("/models?get=x/Nothing")
        await sees(user, "リポジトリが見つからないか、非公開です。")


async def test_the_way_on_where_no_draft_is_known_leads_to_the_search(app, hub):
    none = [("Foreign 1B", "not_usable", "Different tokenizer")]
    async with app(LOADED, shelf=none) as (user, _):
        await user.open("/")
        await sees(user, f"Search the hub for {models_hub.family('Main')}")
