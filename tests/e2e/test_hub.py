"""From words to an answering model: search on a hub on loopback, download, load; offline it says so."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.test_pages import overflowing, picture, violations
from tests.models.hub_server import Hub, serve

MAIN, DRAFT = "bartowski/Qwen2.5-14B-Instruct-GGUF", "Qwen/Qwen2.5-0.5B-Instruct-GGUF"


@pytest.fixture
def hub(chat_pair, monkeypatch):
    main, draft = (path.read_bytes() for path in chat_pair)
    made = Hub({MAIN: {"qwen2.5-14b-Q8_0.gguf": main}, DRAFT: {"qwen2.5-0.5b-Q8_0.gguf": draft}})
    made.downloads_of, made.params_of = {MAIN: 54_321}, {MAIN: 14_770_033_664}
    server = serve(made)
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    yield made
    server.shutdown()
    server.server_close()


def search(page, words):
    page.get_by_label("Words, or a repository").fill(words)
    page.keyboard.press("Enter")


def test_from_words_to_a_loaded_pair(hub, another, open_page):
    page = open_page(another(), "/models")
    search(page, "qwen2.5 instruct")
    found = page.locator(".fd-found tbody tr")
    expect(found).to_have_count(2)
    expect(found.first).to_contain_text(re.compile(rf"{MAIN}.*14\.8 B.*54,321"))
    assert violations(page) == []
    found.first.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(re.compile(r"Q8_0\s*usual choice\s*6 MB\s*yes"))
    picture(page, "hub-files")
    assert violations(page) == []
    dialog.get_by_role("button", name="Download: Q8_0").click()
    expect(page.locator(".fd-card", has_text=MAIN)).to_contain_text("Done", timeout=60_000)
    expect(dialog).to_have_count(0)

    found.first.get_by_role("button").click()
    dialog.get_by_role("button", name="Qwen2.5-0.5B-Instruct-GGUF", exact=True).click()
    dialog = page.get_by_role("dialog", name=DRAFT)
    dialog.get_by_role("button", name="Download: Q8_0").click()
    card = page.locator(".fd-card", has_text=DRAFT)
    expect(card).to_contain_text("Done", timeout=60_000)
    page.locator(".fd-card", has_text=MAIN).get_by_role("button", name="Load").click()
    dialog = page.get_by_role("dialog", name="Load a model")
    expect(dialog).to_contain_text(re.compile(r"Draft .*: \d+ MB of it"))
    dialog.get_by_role("button", name="Load", exact=True).click()
    expect(page.locator(".fd-card.good", has_text="In memory")).to_contain_text("⚡", timeout=60_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_and_in_japanese(hub, another, open_page, theme):
    page = open_page(another(), f"/models?get={DRAFT}", language="ja", theme=theme)
    page.set_viewport_size({"width": 390, "height": 844})
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="ダウンロード: Q8_0")).to_be_in_viewport(ratio=1)
    picture(page, f"hub-files-390-ja-{theme}")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_label("語句またはリポジトリ").fill("qwen")
    page.keyboard.press("Enter")
    expect(page.locator(".fd-found tbody tr")).to_have_count(2)
    picture(page, f"hub-found-390-ja-{theme}")
    assert overflowing(page) == []
    assert violations(page) == []


def test_without_a_network(another, open_page, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    page = open_page(another(), "/models")
    for words in ("qwen", MAIN):
        search(page, words)
        expect(page.get_by_role("alert")).to_contain_text("There is no connection to the hub", timeout=60_000)
