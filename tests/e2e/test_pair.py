"""The guide's path on real files: load from the shelf, choose the draft, chat, measure, unload."""

import re
import shutil

import pytest
from playwright.sync_api import expect


@pytest.fixture
def shelf(another, chat_pair, monkeypatch, tmp_path):
    """A server whose shelf holds the pair under two names, and a file that is no model."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    shutil.copy(chat_pair[0], folder / "pair-main-Q8_0.gguf")
    shutil.copy(chat_pair[1], folder / "pair-draft-F16.gguf")
    (folder / "broken-1B.gguf").write_bytes(b"not a model at all")
    monkeypatch.setenv("FOREDRAFT_MODELS__FOLDERS", str(folder))
    return another()


def test_the_guide_on_real_files(shelf, open_page, ask):
    page = open_page(shelf)
    section = page.locator('[data-section="spec"]')
    expect(section).to_contain_text("Load a model first to see which drafts fit.")
    page.get_by_role("button", name="Load a model").first.click()
    dialog = page.get_by_role("dialog")
    option = dialog.locator("select option", has_text="pair-main").first
    dialog.get_by_label("Model", exact=True).select_option(option.get_attribute("value"))
    expect(dialog).to_contain_text(re.compile(r"Needs [\d.]+ GB, [\d.]+ GB free"))
    dialog.get_by_role("button", name="Load", exact=True).click()
    expect(page.locator(".fd-pill .name")).not_to_have_text("No model loaded", timeout=60_000)
    expect(page.locator("#fd-draft")).to_be_visible(timeout=60_000)

    page.locator("#fd-draft").click()
    options = page.get_by_role("listbox")
    expect(options.get_by_role("option", name=re.compile("broken"))).to_contain_text("cannot be read")
    assert options.get_by_role("option", name=re.compile("broken")).get_attribute("aria-disabled") == "true"
    options.get_by_role("option", name=re.compile("pair-draft")).click()
    expect(page.locator(".fd-pill.draft")).to_contain_text(
        re.compile("draft|not measured", re.IGNORECASE), timeout=60_000
    )

    ask(page, "What is the quadratic equation formula?")
    expect(page.locator(".fd-stats")).to_contain_text(re.compile(r"\d+/\d+ drafts accepted"))
    assert page.evaluate("CSS.highlights.get('fd-accepted').size") > 0

    page.get_by_role("button", name=re.compile("^Measure")).click()
    expect(section).to_contain_text(re.compile(r"Measured: [\d.]+ → [\d.]+ tok/s"), timeout=120_000)
    expect(page.locator(".fd-pill.draft .fd-chip")).to_contain_text("×")

    page.locator("#fd-draft").click()
    page.get_by_role("listbox").get_by_role("option", name="Off", exact=True).click()
    expect(section.locator(".fd-chip").first).to_have_text("Off")
    page.locator('[data-key="model"]').click()
    page.get_by_role("menuitem", name="Unload").click()
    expect(page.locator(".fd-pill .name")).to_have_text("No model loaded", timeout=30_000)


def test_a_model_that_fails_to_load_is_told(another, open_page):
    page = open_page(another("broken"))
    expect(page.locator(".fd-pill .name")).to_have_text("No model loaded")
    expect(page.locator('[data-section="spec"]')).to_contain_text("Load a model first")
    page.fill("#fd-text", "Hello")
    page.keyboard.press("Enter")
    expect(page.locator("#fd-text")).to_have_value("Hello")
