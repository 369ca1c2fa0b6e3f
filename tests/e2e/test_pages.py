"""Every page in both languages and themes: accessible, complete at any width, pictured in out/screens."""

import contextlib
import re
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
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
    const out = [];
    const say = (e, why) => out.push(`${e.tagName}.${e.className} ${why}: ${e.textContent.slice(0, 40)}`);
    const style = (e) => getComputedStyle(e);
    const inside = (e) => { // something around it scrolls, or ends it by an ellipsis
        for (let p = e.parentElement; p !== document.body; p = p.parentElement)
            if (style(p).overflowX !== 'visible') return true;
        return false;
    };
    if (document.documentElement.scrollWidth > innerWidth + 1) out.push('the page itself');
    for (const e of document.querySelectorAll('body *')) {
        if (!e.checkVisibility({visibilityProperty: true}) || e.closest('.fd-sr, .fd-skip, svg, math')) continue;
        const r = e.getBoundingClientRect();
        if (!r.width || r.right < 0 || r.bottom < 0) continue;
        if (r.right > innerWidth + 1 && !inside(e)) say(e, `ends at ${Math.round(r.right)}`);
        const over = e.scrollWidth - e.clientWidth;
        if (over <= 1 || !e.matches('.fd-app *, .fd-dialog *')) continue;
        if (style(e).overflowX === 'hidden' && style(e).textOverflow !== 'ellipsis') say(e, `cuts off ${over} px`);
        const scrolls = ['auto', 'scroll'].includes(style(e).overflowX);
        const meant = e.matches('.fd-scroll-x, .fd-table, pre, .fd-math-block, textarea, input, .fd-log');
        if (scrolls && !meant) say(e, `has to be scrolled sideways by ${over} px`);
    }
    return out.slice(0, 5);
}"""


def violations(page):
    """What axe-core finds against WCAG A and AA."""
    page.evaluate(AXE)
    return page.evaluate(FIND_VIOLATIONS, RULES)


def overflowing(page):
    """What sticks out of the window sideways, cuts its contents off without an ellipsis, or has to be scrolled sideways
    where no table or code is. Menus and panes move for a moment after the window has changed."""
    with contextlib.suppress(PlaywrightTimeout):
        page.wait_for_function(f"({FIND_OVERFLOW})().length === 0", timeout=5_000)
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


def in_both_themes(page, name):
    """Pictured and without violations, in light and in dark; the page follows the system."""
    page.evaluate("document.querySelector('.fd-side')?.scrollTo(0, 0)")  # nothing half below its fixed tabs
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function("dark => document.body.classList.contains('body--dark') === dark", arg=theme == "dark")
        picture(page, f"{name}-{theme}")
        assert violations(page) == [], theme
    page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", list(PAGES))
def test_pages_are_accessible(served, open_page, name, language):
    page = open_page(served, PAGES[name], mode="developer", language=language)
    expect(page.locator("[aria-current=page]")).to_have_count(1)
    if name == "models":
        page.wait_for_selector(".fd-data")
    assert page.evaluate("document.documentElement.lang") in (language, f"{language}-US")
    in_both_themes(page, f"{name}-{language}")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_conversation_is_accessible_with_its_lists_open(served, open_page, answered, language):
    page = open_page(served, answered, mode="developer", language=language)
    page.wait_for_selector(".fd-stats")
    page.wait_for_selector("math")
    in_both_themes(page, f"answer-{language}")
    page.locator("#fd-draft").click()
    page.wait_for_selector('[role="listbox"] [role="option"]')
    in_both_themes(page, f"draft-list-{language}")
    page.keyboard.press("Escape")
    page.evaluate("document.querySelectorAll('.fd-side details').forEach((part) => (part.open = true))")
    page.set_viewport_size({"width": 1440, "height": 2600})  # all of them, none half under the tabs
    page.locator('[data-switch="structured"]').check()
    expect(page.locator('[data-key="structured"]')).to_be_visible()
    chosen = page.locator(".fd-composer input[type=file]")
    chosen.set_input_files({"name": "notes.md", "mimeType": "text/plain", "buffer": b"# Notes"})
    chosen.set_input_files({"name": "photo.png", "mimeType": "image/png", "buffer": b"\x89PNG"})
    expect(page.locator(".fd-problem")).to_be_visible()
    in_both_themes(page, f"sections-{language}")
    page.locator('[data-key="structured"]').click()
    expect(page.locator('[data-switch="structured"]')).not_to_be_checked()
    page.locator("#fd-tab-insights").click()
    page.wait_for_selector(".fd-figure")
    in_both_themes(page, f"insights-{language}")


@pytest.mark.parametrize("mode", ["user", "power"])
def test_the_other_modes(served, open_page, answered, mode):
    page = open_page(served, answered, mode=mode, language="en")
    page.wait_for_selector(".fd-stats")
    in_both_themes(page, f"mode-{mode}")
    page.locator('[data-key="model"]').click()
    page.wait_for_selector('[role="menuitem"]')
    in_both_themes(page, f"mode-{mode}-menu")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chosen_theme_holds_against_the_system_s(served, open_page, theme):
    page = open_page(served, theme=theme)
    for system in ("light", "dark"):
        page.emulate_media(color_scheme=system)
        assert page.evaluate("document.body.classList.contains('body--dark')") == (theme == "dark")


def load(page):
    page.locator('[data-key="model"]').click()
    page.get_by_role("menuitem").first.click()
    expect(page.locator(".q-dialog")).to_be_visible()


DIALOGS = {
    "palette": lambda page: page.keyboard.press("Control+k"),
    "shortcuts": lambda page: page.keyboard.press("Control+/"),
    "settings": lambda page: page.locator('.fd-rail button:has(i:text-is("settings"))').click(),
    "edit": lambda page: page.locator('[data-edit="user"]').click(),
    "delete": lambda page: page.locator('.fd-message.last button:has(i:text-is("delete_outline"))').click(),
    "unchanged": lambda page: page.get_by_role("button", name=re.compile("unchanged|変わらない")).click(),
    "load": load,
    "model-menu": lambda page: page.locator('[data-key="model"]').click(),
    "chat-menu": lambda page: page.locator(".fd-chat[aria-current] + .fd-chat-menu").click(),
    "try-it": lambda page: page.locator('[data-try="formula"]').click(),
}


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", list(DIALOGS))
def test_what_opens_is_accessible_and_fits(served, open_page, answered, name, language):
    """Every dialog and menu, in both themes, wide and on a phone; it takes the focus, and Escape closes it."""
    page = open_page(served, "/" if name == "try-it" else answered, mode="developer", language=language)
    if name != "try-it":
        page.wait_for_selector(".fd-message.last .fd-stats")
    DIALOGS[name](page)
    opened = page.locator(".q-dialog, .q-menu")
    expect(opened).to_have_count(1)
    page.wait_for_function("document.querySelector('.q-dialog, .q-menu')?.contains(document.activeElement)")
    if name == "try-it":
        expect(opened.locator(".fd-pair .fd-prose[aria-busy=false]")).to_have_count(2, timeout=60_000)
    in_both_themes(page, f"{name}-{language}")
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert overflowing(page) == [], width
    page.keyboard.press("Escape")
    expect(opened).to_have_count(0)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", [*PAGES, "answer"])
def test_nothing_overflows_at_any_width(served, open_page, answered, name, language):
    page = open_page(served, PAGES.get(name, answered), mode="developer", language=language)
    if name == "answer":
        page.wait_for_selector(".fd-stats")
        page.wait_for_selector("math")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        picture(page, f"width-{width}-{name}-{language}")
        assert overflowing(page) == [], width


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_drawers_of_a_phone(served, open_page, answered, language):
    page = open_page(served, answered, mode="developer", language=language)
    page.wait_for_selector(".fd-stats")
    page.set_viewport_size({"width": 390, "height": 844})
    for icon, drawer in (("menu", ".fd-list"), ("tune", ".fd-side")):
        page.locator(f'.fd-head button:has(i:text-is("{icon}"))').focus()
        page.keyboard.press("Enter")
        expect(page.locator(drawer)).to_be_visible()
        page.wait_for_function(f"document.querySelector('{drawer}').contains(document.activeElement)")
        picture(page, f"width-390{drawer.replace('.fd', '')}-{language}")
        assert violations(page) == []
        assert overflowing(page) == []
        page.keyboard.press("Escape")
        expect(page.locator(drawer)).to_be_hidden()


@pytest.mark.parametrize("name", ["models", "lab", "server"])
def test_every_page_leads_to_the_others_on_a_phone(served, open_page, name):
    page = open_page(served, PAGES[name], mode="developer", language="ja")
    page.set_viewport_size({"width": 390, "height": 844})
    assert overflowing(page) == []
    page.get_by_role("button", name="ページ一覧を表示").click()
    picture(page, f"width-390-ja-{name}")
    assert violations(page) == []
    page.get_by_role("link", name="チャット").click()
    expect(page.locator("#fd-text")).to_be_visible()


REACH = """() => {
    const name = (e) => (e.getAttribute('aria-label') || e.innerText || e.id || e.tagName).trim().slice(0, 60);
    const all = 'button, a[href], input, select, textarea, summary, [tabindex="0"]';
    return [...document.querySelectorAll(all)]
        .filter((e) => e.checkVisibility({visibilityProperty: true}) && e.tabIndex >= 0 && !e.disabled)
        .map((e) => { e.dataset.reach = name(e); return e.dataset.reach; });
}"""

FOCUSED = """() => {
    const e = document.activeElement, r = e.getBoundingClientRect(), style = getComputedStyle(e);
    const seen = r.width > 0 && r.right > 0 && r.bottom > 0 && r.left < innerWidth && r.top < innerHeight;
    const ring = style.outlineStyle !== 'none' || e.matches('#fd-text'); // the composer's own border is its ring
    return e.dataset.reach === undefined ? null : {name: e.dataset.reach, seen, ring};
}"""


@pytest.mark.parametrize("name", [*PAGES, "answer", "answer-390"])
def test_everything_is_reached_by_keyboard(served, open_page, answered, name):
    """By the Tab key alone, in sight and with a ring around it."""
    page = open_page(served, PAGES.get(name, answered), mode="developer", language="en")
    if name.startswith("answer"):
        page.wait_for_selector(".fd-stats")
    if name == "answer-390":
        page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("for (const one of document.querySelectorAll('.fd-side details')) one.open = true")
    wanted = page.evaluate(REACH)
    assert len(wanted) > 5
    page.locator(".fd-skip").focus()
    reached, hidden = set(), []
    for _ in range(len(wanted) + 30):
        focused = page.evaluate(FOCUSED)
        if focused is not None:
            reached.add(focused["name"])
            if not (focused["seen"] and focused["ring"]):
                hidden.append(focused)
        page.keyboard.press("Tab")
    assert [one for one in wanted if one not in reached] == []
    assert hidden == []


def test_the_shortcuts(served, open_page):
    page = open_page(served, mode="power", language="en")
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_placeholder("What to do, or words of a chat").fill("speculative")
    expect(dialog.get_by_role("option", name="Choose draft model")).to_be_visible()
    expect(dialog.get_by_role("option", name="New chat")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    expect(dialog.get_by_role("option", name="Choose draft model")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("Control+b")
    expect(page.locator(".fd-app.no-list")).to_have_count(1)
