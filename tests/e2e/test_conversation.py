"""Chatting in a real browser: colours, versions, editing, stopping, reloading, two tabs, a server that goes away."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.e2e.long_talk import long_talk

ACCEPTED = "CSS.highlights.get('fd-accepted').size"


def send(page, text):
    page.fill("#fd-text", text)
    page.keyboard.press("Enter")


def test_the_guide_from_end_to_end(served, open_page, ask):
    page = open_page(served, mode="user")
    page.get_by_role("button", name="Power User").click()
    section = page.locator('[data-section="spec"]')
    expect(section).to_contain_text("Speculative Decoding")
    expect(section).to_contain_text("Active")
    ask(page, "Explain speculative decoding.")
    expect(page.locator(".fd-prose table")).to_be_visible()
    expect(page.locator(".fd-prose math").first).to_be_visible()
    expect(page.locator(".hljs-keyword").first).to_be_visible()
    assert page.evaluate(ACCEPTED) > 20
    stats = page.locator(".fd-stats")
    expect(stats).to_contain_text(re.compile(r"\d+/\d+ draft tokens accepted \(\d+%\)"))
    expect(stats).to_contain_text(re.compile("Baseline not measured|faster than|the speed without"))
    page.get_by_role("tab", name="Insights").click()
    expect(page.get_by_text("Acceptance by draft position").first).to_be_visible()
    expect(page.get_by_text("Tokens per round").first).to_be_visible()


def test_japanese_from_end_to_end(served, open_page, ask):
    page = open_page(served, language="ja", mode="developer")
    assert page.evaluate("document.documentElement.lang") == "ja"
    section = page.locator('[data-section="spec"]')
    expect(section).to_contain_text("投機的デコーディング")
    expect(section).to_contain_text("選択的デコーディングとも呼ばれます。")
    ask(page, "説明してください。")
    expect(page.locator(".fd-stats")).to_contain_text(re.compile(r"\d+個中\d+個のドラフトトークンを受理"))
    expect(page.locator(".fd-stats")).to_contain_text("停止理由: 回答の終わり")
    word = page.locator(".fd-prose p").first
    word.hover(position={"x": 60, "y": 10})
    expect(page.locator(".fd-tip")).to_contain_text(re.compile("受理|訂正|メインモデル"))


def test_versions_edit_branch_continue_copy_delete(another, open_page, ask):
    page = open_page(another("scripted", text="A short **answer**."))
    ask(page, "First question")
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator(".fd-versions")).to_contain_text("2 / 2")
    page.wait_for_selector(".fd-stats")
    page.get_by_role("button", name="Previous version").click()
    expect(page.locator(".fd-versions")).to_contain_text("1 / 2")
    page.locator('[data-edit="user"]').click()
    page.get_by_role("dialog").get_by_label("Text").fill("Edited question")
    page.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(page.locator(".fd-user")).to_have_text("Edited question")
    page.wait_for_selector(".fd-stats")
    page.get_by_role("button", name="Branch the chat here").click()
    expect(page.locator('.fd-chat[aria-current="true"]')).to_contain_text("(branch)")
    expect(page.locator(".fd-user")).to_have_text("Edited question")
    page.wait_for_selector(".fd-stats")
    page.get_by_role("button", name="Continue the answer").click()
    expect(page.locator(".fd-prose")).to_contain_text(re.compile(r"answer\..*answer\.", re.DOTALL))
    page.wait_for_selector(".fd-stats")
    page.locator(".fd-tools").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".fd-tools")).to_have_count(0)
    expect(page.locator(".fd-user")).to_have_count(1)


def test_stop_reload_and_a_second_tab_in_mid_answer(another, open_page, script):
    slow = another("scripted", text=script * 40, speed=120)
    page = open_page(slow)
    send(page, "A long answer, please")
    expect(page.locator(".fd-prose")).to_contain_text("Why the answer", timeout=20_000)
    page.reload()
    expect(page.locator(".fd-prose")).to_contain_text("Why the answer", timeout=20_000)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.locator(".fd-prose")).to_contain_text("quicksort", timeout=30_000)
    before = len(second.locator(".fd-prose").inner_text())
    second.wait_for_function(f"document.querySelector('.fd-prose').innerText.length > {before + 50}")
    second.keyboard.press("Escape")
    for tab in (page, second):
        tab.bring_to_front()
        expect(tab.locator(".fd-stats")).to_be_visible(timeout=20_000)
    texts = {re.sub(r"\s+", " ", tab.locator(".fd-prose").inner_text()) for tab in (page, second)}
    assert len(texts) == 1


def test_a_killed_server_loses_at_most_a_second(another, open_page, script):
    served = another("scripted", text=script * 6, speed=150)
    page = open_page(served, quiet=False)
    send(page, "A long answer, please")
    expect(page.locator(".fd-prose")).to_contain_text("quicksort", timeout=30_000)
    seen = page.evaluate("document.querySelector('.fd-prose').textContent.length")
    page.fill("#fd-text", "half a sentence")
    served.kill()
    expect(page.locator("#fd-lost")).to_be_visible(timeout=15_000)
    assert page.input_value("#fd-text") == "half a sentence"
    address = page.url
    served.start()
    page.goto(address)
    expect(page.get_by_text("The program ended while this answer was being written.")).to_be_visible(timeout=30_000)
    kept = page.evaluate("document.querySelector('.fd-prose').textContent.length")
    assert kept > seen - 150 * 6 * 1.5, (kept, seen)


def test_what_is_typed_while_the_server_is_away_is_there_when_it_is_back(another, open_page):
    served = another("scripted", text="ok")
    page = open_page(served, quiet=False)
    page.fill("#fd-text", "typed before")
    served.kill()
    expect(page.locator("#fd-lost")).to_be_visible(timeout=15_000)
    page.fill("#fd-text", "typed while it was away")
    page.keyboard.press("Enter")
    expect(page.locator(".fd-problem")).to_have_text("Foredraft isn't responding. Your text is kept here.")
    page.wait_for_function("sessionStorage.getItem('fd-text:') === 'typed while it was away'")
    served.start()
    expect(page.locator("#fd-lost")).to_be_hidden(timeout=60_000)
    expect(page.locator("#fd-text")).to_have_value("typed while it was away")
    page.get_by_role("button", name="Send").click(timeout=60_000)
    expect(page.locator(".fd-user")).to_have_text("typed while it was away")
    page.wait_for_selector(".fd-stats")
    assert page.evaluate("Object.keys(sessionStorage).filter((key) => key.startsWith('fd-'))") == []


def test_a_chat_of_lm_studio_is_read_in_and_other_files_are_refused(served, open_page):
    page = open_page(served)

    def choose(name, content):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Import a chat (JSON)").click()
        chooser.value.set_files({"name": name, "mimeType": "application/json", "buffer": content.encode()})

    choose("notes.json", "[1, 2]")
    expect(page.get_by_role("alert")).to_contain_text("This file is not a chat of Foredraft or LM Studio.")
    question = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
    steps = [{"type": "contentBlock", "content": [{"type": "text", "text": "Hello **you**"}]}]
    answer = {"role": "assistant", "steps": steps, "senderInfo": {"senderName": "Qwen"}}
    turns = [{"versions": [question], "currentlySelected": 0}, {"versions": [answer], "currentlySelected": 0}]
    choose("chat.json", json.dumps({"name": "From LM Studio", "messages": turns}))
    page.wait_for_url("**/c/*")
    expect(page.locator(".fd-prose strong")).to_have_text("you")
    expect(page.locator('.fd-chat[aria-current="true"]')).to_contain_text("From LM Studio")


def test_unsent_text_is_kept(served, open_page):
    page = open_page(served)
    page.fill("#fd-text", "not sent yet")
    with page.expect_response("**/_foredraft/unsent"):
        page.locator("#fd-text").dispatch_event("input")
    page.reload()
    expect(page.locator("#fd-text")).to_have_value("not sent yet", timeout=20_000)
    page.fill("#fd-text", "")
    with page.expect_response("**/_foredraft/unsent"):
        page.locator("#fd-text").dispatch_event("input")


def test_a_message_of_a_megabyte(another, open_page):
    page = open_page(another("scripted", text="ok"))
    page.evaluate("""() => { const area = document.querySelector('#fd-text');
        area.value = 'word '.repeat(210000); area.dispatchEvent(new Event('input')); }""")
    page.keyboard.press("Enter")
    expect(page.locator(".fd-user")).to_contain_text("Show all 1,049,999 characters", timeout=30_000)


def test_try_it_shows_both_sides(served, open_page):
    page = open_page(served)
    page.locator('[data-try="formula"]').click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".fd-pair section")).to_have_count(2, timeout=60_000)
    expect(dialog).to_contain_text("The texts are identical.")
    expect(dialog).to_contain_text(re.compile(r"draft tokens accepted \(\d+%\)"))


def test_the_answer_is_shown_to_be_unchanged(served, open_page):
    page = open_page(served)
    page.get_by_role("button", name="Check that the answer is unchanged").click()
    expect(page.get_by_role("dialog")).to_contain_text(
        re.compile(r"Identical .*: \d+ tokens, \d+ of \d+ draft tokens accepted"), timeout=60_000
    )


@pytest.mark.parametrize("language", ["en", "ja"])
def test_highlighting_can_be_switched_off_without_rendering_again(served, open_page, ask, language):
    page = open_page(served, language=language)
    ask(page, "Colours")
    page.evaluate("document.querySelector('.fd-block').dataset.same = '1'")
    page.locator('[data-switch="highlight"]').click()
    expect(page.locator(".fd-app.hl-on")).to_have_count(0)
    assert page.evaluate("document.querySelector('.fd-block').dataset.same") == "1"
    page.locator('[data-switch="highlight"]').click()
    expect(page.locator(".fd-app.hl-on")).to_have_count(1)


def test_earlier_messages_come_above_what_is_being_read(served, open_page, script):
    page = open_page(served, long_talk(served, script, 60, title="Sixty"))
    page.wait_for_function("document.querySelectorAll('.fd-prose[aria-busy=false]').length === 6")
    # a page that opens goes to its end, once: scrolled up is what stays so for sixty frames
    page.wait_for_function(
        """() => new Promise((done) => {
            const box = document.querySelector('.fd-scroll');
            let frames = 60;
            box.scrollTop = 0;
            const frame = () => {
                if (box.scrollTop || !frames--) return done(box.scrollTop === 0);
                requestAnimationFrame(frame);
            };
            frame();
        })"""
    )
    read = page.get_by_text("Question 54", exact=True)
    before = read.bounding_box()["y"]
    page.get_by_role("button", name="earlier messages").click()
    page.wait_for_function("document.querySelectorAll('.fd-prose[aria-busy=false]').length === 26")
    assert abs(read.bounding_box()["y"] - before) < 60  # less than a line or two: the button has gone up


def test_thinking_stands_apart_and_folds_when_the_answer_begins(another, open_page):
    text = "<think>\nHm, **so** it is, as far as anybody can tell.\n</think>\n\nYes, **two**: one and another one."
    served = another("scripted", text=text, speed=25)
    page = open_page(served, mode="developer")
    send(page, "How many?")
    thinking = page.locator(".fd-thinking")
    expect(thinking.locator("strong")).to_have_text("so")  # while it thinks
    answer = page.locator(".fd-answer > .fd-prose")
    page.wait_for_selector(".fd-message.last .fd-stats")
    for _ in range(2):  # as it was written, and as it was kept
        expect(answer).to_have_text(re.compile(r"^\s*Yes, two: one and another one\.\s*$"))
        expect(thinking.get_by_text("Thinking", exact=True)).to_be_visible()
        expect(thinking.locator("strong")).not_to_be_visible()
        thinking.get_by_text("Thinking", exact=True).click()
        expect(thinking.locator("strong")).to_be_visible()
        expect(thinking.locator(".fd-prose")).to_have_text(
            re.compile(r"^\s*Hm, so it is, as far as anybody can tell\.\s*$")
        )
        assert page.evaluate(ACCEPTED) > 0
        thinking.locator("p").hover(position={"x": 40, "y": 10})
        expect(page.locator(".fd-tip")).to_contain_text(re.compile("accepted|corrected|main model"))
        page.reload(wait_until="domcontentloaded")


def test_a_plain_answer_has_no_thinking(another, open_page, ask):
    page = open_page(another("scripted", text="A short **answer**."))
    ask(page, "First question")
    expect(page.locator(".fd-thinking")).not_to_be_visible()
