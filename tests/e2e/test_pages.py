"""Every page in both languages and themes: accessible, complete at any width, pictured in out/screens."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

HERE = Path(__file__).parent
SCREENS = HERE.parents[1] / "out" / "screens"
AXE = (HERE / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PAGES = {"chat": "/", "models": "/models", "lab": "/lab", "server": "/server"}
WIDTHS = (390, 768, 1024, 1440, 2560)


def picture(page, name):
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.evaluate("document.fonts.ready.then(() => true)")
    page.screenshot(path=SCREENS / f"{name}.png")


FIND_VIOLATIONS = """async (tags) => {
    const result = await axe.run(document, {runOnly: {type: 'tag', values: tags}});
    const say = (n) => n.html.slice(0, 160) + ' :: ' + (n.any[0]?.message ?? n.failureSummary);
    return result.violations.map((v) => [v.id, v.nodes.slice(0, 3).map(say)]);
}"""

FIND_OVERFLOW = """() => {
    const hidden = '.fd-scroll-x, .fd-table, pre, .fd-foot .fact, .fd-sr';
    const out = [];
    if (document.documentElement.scrollWidth > innerWidth + 1) out.push('the page itself');
    for (const e of document.querySelectorAll('.fd-main *, .fd-foot *')) {
        const r = e.getBoundingClientRect();
        const out_of_it = r.width && r.right > innerWidth + 1 && !e.closest(hidden);
        if (out_of_it) out.push(`${e.tagName}.${e.className} ${r.right}`);
    }
    return out.slice(0, 5);
}"""


def violations(page):
    """What axe-core finds against WCAG A and AA."""
    page.evaluate(AXE)
    return page.evaluate(FIND_VIOLATIONS, RULES)


def overflowing(page):
    """Elements that stick out of the window sideways, other than drawers that are put away."""
    return page.evaluate(FIND_OVERFLOW)


@pytest.fixture(scope="module")
def answered(served, shared_context):
    """One chat with an answer, for every picture."""
    page = shared_context.new_page()
    page.goto(served.url)
    page.wait_for_function("window.socket && window.socket.connected")
    page.fill("#fd-text", "Explain speculative decoding and show a quicksort in Python.")
    page.keyboard.press("Enter")
    page.wait_for_selector(".fd-stats")
    path = page.evaluate("location.pathname")
    page.close()
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", list(PAGES))
def test_pages_are_accessible(served, open_page, name, language, theme):
    page = open_page(served, PAGES[name], mode="developer", language=language, theme=theme)
    expect(page.locator("[aria-current=page]")).to_have_count(1)
    if name == "models":
        page.wait_for_selector(".fd-data")
    picture(page, f"{name}-{language}-{theme}")
    assert page.evaluate("document.documentElement.lang") in (language, f"{language}-US")
    assert violations(page) == []
    assert overflowing(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_conversation_is_accessible_with_its_lists_open(served, open_page, answered, language, theme):
    page = open_page(served, answered, mode="developer", language=language, theme=theme)
    page.wait_for_selector(".fd-stats")
    page.wait_for_selector("math")
    picture(page, f"answer-{language}-{theme}")
    assert violations(page) == []
    page.locator("#fd-draft").click()
    page.wait_for_selector('[role="listbox"] [role="option"]')
    picture(page, f"draft-list-{language}-{theme}")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator("#fd-tab-insights").click()
    page.wait_for_selector(".fd-figure")
    picture(page, f"insights-{language}-{theme}")
    assert violations(page) == []


@pytest.mark.parametrize("mode", ["user", "power"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_other_modes(served, open_page, answered, mode, theme):
    page = open_page(served, answered, mode=mode, language="en", theme=theme)
    page.wait_for_selector(".fd-stats")
    picture(page, f"mode-{mode}-{theme}")
    assert violations(page) == []
    page.locator('[data-key="model"]').click()
    page.wait_for_selector('[role="menuitem"]')
    picture(page, f"mode-{mode}-{theme}-menu")
    assert violations(page) == []


def test_nothing_overflows_at_any_width(served, open_page, answered):
    page = open_page(served, answered, mode="developer", language="ja")
    page.wait_for_selector(".fd-stats")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        picture(page, f"width-{width}-ja")
        assert overflowing(page) == [], width
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".for-list").click()
    expect(page.locator(".fd-list")).to_be_visible()
    picture(page, "width-390-ja-chats")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="設定と分析の表示・非表示").click()
    expect(page.locator(".fd-side")).to_be_visible()
    picture(page, "width-390-ja-settings")
    assert violations(page) == []


def test_everything_is_reached_by_keyboard(served, open_page):
    page = open_page(served, mode="power", language="en")
    reached = set()
    page.locator(".fd-skip").focus()
    for _ in range(120):
        reached.add(
            page.evaluate("""() => { const e = document.activeElement;
            return (e.getAttribute('aria-label') || e.innerText || e.id || e.tagName).trim().slice(0, 60); }""")
        )
        page.keyboard.press("Tab")
    for name in ("Skip to the conversation", "Models", "Lab", "New chat", "Developer", "Conversation"):
        assert any(name in one for one in reached), (name, sorted(reached))
    visible = page.evaluate("""() => [...document.querySelectorAll('button, a[href], input, select, textarea, summary')]
        .filter(e => e.checkVisibility({visibilityProperty: true}) && e.tabIndex >= 0 && !e.disabled)
        .map(e => (e.getAttribute('aria-label') || e.innerText || e.id || e.tagName).trim().slice(0, 60))""")
    assert [name for name in visible if name not in reached] == []
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_placeholder("What to do, or words of a chat").fill("speculative")
    expect(dialog.get_by_role("option", name="Choose draft model")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("Control+b")
    expect(page.locator(".fd-app.no-list")).to_have_count(1)
