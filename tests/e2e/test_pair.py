"""The guide's path on real files: load from the shelf, choose the draft, chat, measure, unload."""

import contextlib
import json
import re
import shutil

import pytest
from playwright.sync_api import expect

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}

PAINTED = "(CSS.highlights.get('fd-accepted')?.size ?? 0)"
"""Accepted stretches that are painted now."""
SETTLED = """() => new Promise((done) => {
    let quiet = 0;
    const watch = new MutationObserver(() => { quiet = 0; });
    watch.observe(document.body, { childList: true, subtree: true });
    const look = () => { if (++quiet < 40) requestAnimationFrame(look); else { watch.disconnect(); done(); } };
    look();
})"""
"""Forty frames without a change: the section has been built anew for the draft, and a click meets what stays."""


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
    expect(dialog).to_contain_text(re.compile(r"Needs [\d.]+ [GM]B, [\d.]+ GB free"))
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

    page.evaluate(SETTLED)
    accepted = page.locator(".fd-stats", has_text=re.compile(r"\d+/\d+ draft tokens accepted"))
    for _ in range(5):  # a busy machine may find that guesses do not pay in one answer
        ask(page, "What is the quadratic equation formula?")
        expect(page.locator(".fd-message.last .fd-stats")).to_contain_text("tok/s")
        if accepted.count():
            break
    assert accepted.count()
    page.wait_for_function(f"{PAINTED} > 0")

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
    expect(page.get_by_role("alert")).to_contain_text("The model could not be loaded: This file is no model.")
    expect(page.locator('[data-section="spec"]')).to_contain_text("Load a model first")
    page.fill("#fd-text", "Hello")
    page.keyboard.press("Enter")
    expect(page.locator("#fd-text")).to_have_value("Hello")


def test_the_guide_in_japanese_with_the_draft_in_every_round(shelf, open_page, ask):
    """The path of someone who follows LM Studio's page: Power User, main model, section, draft, both questions."""
    page = open_page(shelf, language="ja", mode="user")
    page.get_by_role("button", name="パワーユーザー").click()
    section = page.locator('[data-section="spec"]')
    section.get_by_role("button", name="モデルを読み込む…").click()
    dialog = page.get_by_role("dialog")
    option = dialog.locator("select option", has_text="pair-main").first
    dialog.get_by_label("モデル", exact=True).select_option(option.get_attribute("value"))
    dialog.get_by_role("button", name="読み込む", exact=True).click()
    page.locator("#fd-draft").click(timeout=60_000)
    page.get_by_role("listbox").get_by_role("option", name=re.compile("pair-draft")).click()
    expect(page.locator(".fd-pill.draft")).to_contain_text(re.compile("draft", re.IGNORECASE), timeout=60_000)
    page.evaluate(SETTLED)
    automatic = section.get_by_label("ドラフトサイズを自動調整")
    while automatic.is_checked():
        section.locator("label", has_text="ドラフトサイズを自動調整").click()
        with contextlib.suppress(AssertionError):
            expect(automatic).not_to_be_checked(timeout=2000)
    questions = ("二次方程式の解の公式は何ですか？", "「ドアがきしみながら開いた…」で始まる物語を書いてください。")
    for number, question in enumerate(questions):
        ask(page, question)
        stats = page.locator(".fd-stats").nth(number)
        expect(stats).to_contain_text(re.compile(r"\d+個中\d+個のドラフトトークンを受理 \(\d+%\)"))
        expect(stats).to_contain_text(re.compile("ドラフトなしの|比較基準は未計測"))
    page.wait_for_function(f"{PAINTED} > 0")  # painted with the next frame
    page.locator("#fd-tab-insights").click()
    expect(page.get_by_text("ドラフト位置ごとの受理率").first).to_be_visible()


def test_where_no_draft_fits_there_are_ways_on(another, chat_pair, open_page, monkeypatch, tmp_path):
    folder = tmp_path / "shelf"
    folder.mkdir()
    shutil.copy(chat_pair[1], folder / "lonely-1B-F16.gguf")
    (folder / "broken-1B.gguf").write_bytes(b"not a model at all")
    monkeypatch.setenv("FOREDRAFT_MODELS__FOLDERS", str(folder))
    page = open_page(another(str(folder / "lonely-1B-F16.gguf"), "off"), language="ja")
    card = page.locator(".fd-card.warn")
    expect(card).to_contain_text("互換性のあるドラフトモデルはありません", timeout=60_000)
    outside = card.evaluate("""(card) => [...card.querySelectorAll('*')].filter(
        (e) => e.getBoundingClientRect().right > card.getBoundingClientRect().right - 8).map((e) => e.outerHTML)""")
    assert outside == []
    card.get_by_role("button", name="ほかのモデルが使えない理由を見る").click()
    expect(page.get_by_role("dialog")).to_contain_text("ファイルを読み取れません")
    page.keyboard.press("Escape")
    card.get_by_role("button", name="モデルなしでドラフトする").click()
    expect(page.locator('[data-section="spec"]')).to_contain_text("このチャットに出た語句を再利用します。")
    expect(page.locator(".fd-pill.draft")).to_contain_text("文章から")


def test_answers_are_json_of_the_schema(another, chat_pair, open_page, ask):
    page = open_page(another(str(chat_pair[0]), str(chat_pair[1])))
    section = page.locator('[data-section="structured"]')
    section.locator("summary").first.click()
    section.get_by_label("JSON schema").fill(json.dumps(SCHEMA))
    expect(section).to_contain_text("The schema can be used. It is switched off.")
    section.locator('[data-switch="structured"]').click()
    expect(section).to_contain_text("The schema is in force from the next answer on.")
    expect(page.locator(".fd-pill .name")).not_to_have_text(re.compile("No model|Loading"), timeout=60_000)
    ask(page, "Is water wet?")
    code = page.locator(".fd-message.last .fd-code code.language-json")
    for _ in range(2):
        expect(code).to_contain_text("}")  # it is rendered a little in each frame
        assert json.loads(code.inner_text())["answer"] in ("yes", "no")
        page.reload()

    section.get_by_label("JSON schema").fill('{"properties": {"age": {"type": "integr"}}}')
    expect(section.get_by_role("alert")).to_contain_text("This schema cannot be used at properties.age")
    page.fill("#fd-text", "Another one")
    page.keyboard.press("Enter")
    expect(page.locator(".fd-composer").get_by_role("alert")).to_contain_text("Fix it in the sidebar")
    assert page.input_value("#fd-text") == "Another one"
    page.locator('[data-key="structured"]').click()
    expect(page.locator('[data-key="structured"]')).to_have_count(0)
    ask(page, "Another one", wait=False)
    expect(page.locator(".fd-user")).to_have_count(2)
