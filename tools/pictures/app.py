"""The README's pictures of the app: a real chat with the embedded pair in a real browser.

The draft guesses four tokens in every round, so that there is something to see: by itself Foredraft would rest a draft
that does not pay, which is often so with models as small as these.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EARLIER = {
    "en": (
        "What is the quadratic equation formula?",
        "Make a table from this: Anna: 31, Ben: 25, Emma: 47",
        "What is 27 + 35?",
        "Write JSON for: Anna is 31 and lives in Paris.",
    ),
    "ja": (
        "二次方程式の解の公式は何ですか?",
        "三角形の面積の公式は何ですか?",
        "日本の首都はどこですか?",
        "階乗を返す Python の関数を書いてください。",
    ),
}
CHAT = {
    "en": (
        "How does speculative decoding work?",
        "Write a Python function that checks whether a number is prime.",
        "Write a short story about a cat.",
    ),
    "ja": (
        "投機的デコーディングとは何ですか?",
        "素数かどうかを調べる Python の関数を書いてください。",
        "猫の短い物語を書いてください。",
    ),
}
CHOICES = {"temperature": 0.8, "seed": 7, "adjust": False, "max_draft": 4}


def light_english(path: Path) -> None:
    """Power User: the conversation beside the Speculative Decoding section."""
    _picture(path, language="en", theme="light", mode="power")


def dark_japanese(path: Path) -> None:
    """Developer: the conversation beside what its last answer says of the draft."""
    _picture(path, language="ja", theme="dark", mode="developer", tab="insights")


def _picture(path: Path, *, language: str, theme: str, mode: str, tab: str = "settings") -> None:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with served(language=language, theme=theme, mode=mode) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(
            viewport={"width": 1440, "height": 900}, device_scale_factor=1.25, reduced_motion="reduce"
        )
        for questions in (*([one] for one in reversed(EARLIER[language])), CHAT[language]):
            page.goto(address)
            page.wait_for_function("window.fd && window.socket && window.socket.connected")
            page.wait_for_selector("[data-try]")
            for number, question in enumerate(questions, start=1):
                page.fill("#fd-text", question)
                page.keyboard.press("Enter")
                page.wait_for_function(f"document.querySelectorAll('.fd-stats').length === {number}")
        page.locator(f"#fd-tab-{tab}").click()
        page.locator("#fd-text").evaluate("(field) => field.blur()")
        page.mouse.move(700, 30)
        page.evaluate("fd.toEnd(); document.fonts.ready.then(() => true)")
        page.wait_for_timeout(500)  # nothing moves any more
        page.screenshot(path=path.with_suffix(".png"))
        browser.close()


@contextmanager
def served(main: Path | None = None, **preferences: str) -> Iterator[str]:
    """The app with the embedded pair (or another main model) in a process and a home of its own; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "FOREDRAFT_HOME": home, "HF_HOME": home}
        command = [sys.executable, "-m", "tools.pictures.app", str(port), json.dumps(preferences), str(main or "")]
        process = subprocess.Popen(command, env=environment)  # noqa: S603
        try:
            while True:
                try:
                    if urllib.request.urlopen(f"{address}/health", timeout=5).status == 200:  # noqa: S310
                        break
                except OSError:
                    assert process.poll() is None, "the app ended"
                    time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait()


def _serve(port: int, preferences: dict[str, str], main: str) -> None:
    import uvicorn

    from foredraft import demo
    from foredraft.config.shelf import open_shelf
    from foredraft.runtime.managed_model import LoadSpec
    from foredraft.runtime.runtime import Runtime
    from foredraft.server.app import create_app
    from foredraft.server.context import ServerSettings, Services
    from foredraft.server.loading import load_pair
    from foredraft.ui.app import mount

    runtime = Runtime(load_pair)
    services = Services(runtime, settings=ServerSettings(port=port), store=open_shelf())
    app = create_app(services)
    state = mount(app, services)
    for name, value in {**preferences, "choices": CHOICES}.items():
        state.chats.set_preference(name, value)

    async def run() -> None:
        draft = str(demo.draft_path()) if main else None
        fixed = {"controller": "fixed", "fixed_look_ahead": 4}
        await runtime.load(LoadSpec(main, draft, id="foredraft-demo", settings=fixed, ttl_s=None))
        await uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning")).serve()

    asyncio.run(run())


if __name__ == "__main__":
    _serve(int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3])
