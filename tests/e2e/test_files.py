"""Text files in a message: by button, drop and paste; taken out, kept over a reload, refused aloud, sent, exported."""

import json
import re
import urllib.request

import pytest
from playwright.sync_api import expect

from tests.e2e.test_pages import overflowing

TRANSFER = """([files, kinds]) => {
    const data = new DataTransfer();
    for (const [name, text] of files) data.items.add(new File([text], name));
    for (const [kind, text] of Object.entries(kinds ?? {})) data.setData(kind, text);
    return data;
}"""


def transfer(page, files, kinds=None):
    return page.evaluate_handle(TRANSFER, [files, kinds])


PASTE = """(data) => document.querySelector('#fd-text').dispatchEvent(
    new ClipboardEvent('paste', {clipboardData: data, cancelable: true, bubbles: true}))"""


def chips(page):
    return page.locator(".fd-composer .fd-file .name")


def test_files_by_button_drop_and_paste_go_with_the_message(another, open_page, tmp_path):
    served = another("scripted", text="The file says hello.")
    page = open_page(served)
    (tmp_path / "notes.md").write_text("# Notes\n\nhello", encoding="utf-8")
    page.get_by_role("button", name="Attach text files").wait_for()
    page.locator(".fd-composer input[type=file]").set_input_files(tmp_path / "notes.md")
    expect(chips(page)).to_have_text(["notes.md"])
    expect(page.locator(".fd-composer .fd-file").first).to_contain_text(re.compile(r"14 B · \d+ tokens"))

    data = transfer(page, [["data.csv", "a,b\n1,2\n"], ["main.py", "print(1)"]])
    page.dispatch_event(".fd-scroll", "dragover", {"dataTransfer": data})
    expect(page.locator(".fd-drop")).to_have_text("Drop text files here")
    page.dispatch_event(".fd-scroll", "drop", {"dataTransfer": data})
    expect(chips(page)).to_have_text(["notes.md", "data.csv", "main.py"])
    expect(page.locator(".fd-drop")).to_have_count(0)

    assert page.evaluate(PASTE, transfer(page, [["log.txt", "line"]])) is False  # taken: the browser pastes nothing
    expect(chips(page)).to_have_text(["notes.md", "data.csv", "main.py", "log.txt"])
    page.get_by_role("button", name="Remove main.py").click()
    expect(chips(page)).to_have_text(["notes.md", "data.csv", "log.txt"])

    page.reload()
    expect(chips(page)).to_have_text(["notes.md", "data.csv", "log.txt"])
    page.fill("#fd-text", "What do they say?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".fd-stats")
    expect(chips(page)).to_have_count(0)
    expect(page.locator(".fd-message .fd-file .name")).to_have_text(["notes.md", "data.csv", "log.txt"])
    page.locator(".fd-message .fd-file").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("# Notes")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator(".fd-message .fd-file .name")).to_have_count(3)
    expect(chips(page)).to_have_count(0)

    chat = page.url.rsplit("/", 1)[1]
    exported = urllib.request.urlopen(f"{served.url}/_foredraft/export/{chat}.json").read()
    kept = json.loads(exported)["messages"][0]["meta"]["attachments"]
    assert [one["name"] for one in kept] == ["notes.md", "data.csv", "log.txt"]
    assert "File: data.csv\n```\na,b\n1,2\n```" in urllib.request.urlopen(
        f"{served.url}/_foredraft/export/{chat}.md"
    ).read().decode("utf-8")


@pytest.mark.parametrize("width", [1440, 390])
def test_a_refused_file_is_said_at_any_width_and_stops_nothing(served, open_page, width):
    page = open_page(served, language="ja")
    page.set_viewport_size({"width": width, "height": 844})
    chosen = page.locator(".fd-composer input[type=file]")
    chosen.set_input_files({"name": "photo.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n"})
    expect(page.get_by_role("alert")).to_have_text(
        "photo.png は画像です。このエンジンはテキストだけを扱うため、画像は添付できません。"
    )
    expect(page.get_by_role("alert")).to_be_in_viewport()
    chosen.set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    expect(chips(page)).to_have_text(["a.txt"])
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="a.txt を外す").click()
    expect(chips(page)).to_have_count(0)


def test_pasted_cells_are_text_though_a_picture_is_beside_them(served, open_page):
    page = open_page(served)
    data = transfer(page, [["image.png", "x"]], {"text/plain": "1\t2"})
    assert page.evaluate(PASTE, data) is True  # left to the browser
    expect(chips(page)).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_each_chat_keeps_its_own_files_and_a_lost_server_costs_none(another, open_page):
    served = another("scripted", text="ok")
    page = open_page(served, quiet=False)
    chosen = page.locator(".fd-composer input[type=file]")
    chosen.set_input_files({"name": "first.txt", "mimeType": "text/plain", "buffer": b"1"})
    page.keyboard.press("Enter")
    page.wait_for_selector(".fd-stats")
    chosen.set_input_files({"name": "second.txt", "mimeType": "text/plain", "buffer": b"2"})
    expect(chips(page)).to_have_text(["second.txt"])
    page.get_by_role("button", name="New chat").first.click()
    expect(chips(page)).to_have_count(0)
    page.locator(".fd-chat").first.click()
    expect(chips(page)).to_have_text(["second.txt"])
    served.kill()
    chosen.set_input_files({"name": "third.txt", "mimeType": "text/plain", "buffer": b"3"})
    expect(page.get_by_role("alert")).to_have_text("Foredraft isn't responding. Your text is kept here.")
    expect(chips(page)).to_have_text(["second.txt"])


def test_long_names_and_json_fit_on_a_phone(another, open_page):
    page = open_page(another("scripted", text="ok"), language="ja")
    page.set_viewport_size({"width": 390, "height": 844})
    name = "とても長い名前の表計算ファイルの書き出し結果-2026-11-26.csv"
    chosen = page.locator(".fd-composer input[type=file]")
    chosen.set_input_files({"name": name, "mimeType": "text/csv", "buffer": "名前\nさくら".encode("cp932")})
    expect(chips(page)).to_have_text([name])
    page.keyboard.press("Control+.")
    page.locator('[data-section="structured"] summary').first.click()
    page.locator('[data-switch="structured"]').check()
    page.keyboard.press("Escape")
    expect(page.locator('[data-key="structured"]')).to_be_visible()
    expect(page.get_by_role("button", name="送信")).to_be_in_viewport(ratio=1)
    assert overflowing(page) == []
    page.locator('[data-key="structured"]').click()
    page.get_by_role("button", name="送信").click()
    page.wait_for_selector(".fd-stats")
    expect(page.locator(".fd-message .fd-file")).to_be_in_viewport(ratio=1)
    page.locator(".fd-message .fd-file").click()
    expect(page.get_by_role("dialog")).to_contain_text("Shift_JIS として読み取り")


def test_a_hostile_name_is_only_a_name(another, open_page):
    page = open_page(another("scripted", text="ok"))
    name = "<img src=x onerror=window.pwned=1>'\"{{constructor}}.md"
    hostile = {"name": name, "mimeType": "text/plain", "buffer": b"<script>window.pwned=1</script>"}
    page.locator(".fd-composer input[type=file]").set_input_files(hostile)
    expect(chips(page)).to_have_text([name])
    page.keyboard.press("Enter")
    page.wait_for_selector(".fd-stats")
    expect(page.locator(".fd-message .fd-file .name")).to_have_text(name)
    page.locator(".fd-message .fd-file").click()
    expect(page.get_by_role("dialog")).to_contain_text("<script>window.pwned=1</script>")
    assert page.evaluate("window.pwned") is None
