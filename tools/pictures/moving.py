"""The README's moving picture: the app in a real browser writes two answers, at the pace at which they were written.

The main model is the embedded one at the cost of a 1 B model (`foredraft bench --inflate 1b` makes the same file), so
that there is time to watch; the draft guesses four tokens in every round. Each frame is a screenshot, and is shown for
as long as it took until the next one.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.pictures.app import served

if TYPE_CHECKING:
    from PIL.Image import Image as Frame
    from playwright.sync_api import Page

QUESTIONS = (
    "What is the quadratic equation formula?",
    "Write a Python function that checks whether a number is prime.",
)
WIDTH, HEIGHT = 1000, 640
LARGEST = 1_000_000
"""Bytes of the picture."""
_COLOURS = 48
_LETTERS = 4
"""Letters of a question that are typed between two frames."""
_REST_S, _END_S = 1.0, 4.0
"""How long a finished answer stays, and the last one."""


def moving(path: Path) -> None:
    """Write an animated GIF beside `path`."""
    from playwright.sync_api import sync_playwright

    from foredraft import demo
    from foredraft.bench.inflated import inflated

    main = inflated(demo.main_path(), "1b", print)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    film = _Film()
    with served(main, language="en", theme="light", mode="power") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        page.goto(address)
        page.wait_for_function("window.fd && window.socket && window.socket.connected")
        page.wait_for_selector("[data-try]")
        for number, question in enumerate(QUESTIONS, start=1):
            _ask(page, film, question, number)
        browser.close()
    film.save(path.with_suffix(".gif"))


def _ask(page: Page, film: _Film, question: str, number: int) -> None:
    for end in range(0, len(question) + _LETTERS, _LETTERS):
        page.fill("#fd-text", question[:end])
        film.add(page, 0.08)
    page.keyboard.press("Enter")
    while _answers(page) < number:
        film.add(page)
    film.add(page, _REST_S)


def _answers(page: Page) -> int:
    found: Any = page.evaluate("document.querySelectorAll('.fd-stats').length")
    return int(found)


class _Film:
    """Screenshots and the seconds that each of them stays."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._seconds: list[float] = []
        self._since = 0.0

    def add(self, page: Page, seconds: float | None = None) -> None:
        """One more frame. Without `seconds` it stays until the next one is taken."""
        from PIL import Image

        now = time.perf_counter()
        if self._seconds and self._seconds[-1] < 0:
            self._seconds[-1] = now - self._since
        self._since = now
        frame = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        if self._frames and seconds is None and frame.tobytes() == self._frames[-1].tobytes():
            self._since = now - max(self._seconds[-1], 0.0)  # nothing has changed: the last frame stays
            self._seconds[-1] = -1.0
            return
        self._frames.append(frame)
        self._seconds.append(-1.0 if seconds is None else seconds)

    def save(self, path: Path) -> None:
        palette = self._frames[-1].quantize(_COLOURS)
        flat = [frame.quantize(_COLOURS, palette=palette, dither=0) for frame in self._frames]
        self._seconds[-1] = _END_S
        lengths = [max(20, round(1000 * max(seconds, 0.02))) for seconds in self._seconds]
        flat[0].save(path, save_all=True, append_images=flat[1:], duration=lengths, loop=0, optimize=True, disposal=1)
        print(f"{path}: {len(flat)} frames, {sum(lengths) / 1000:.1f} s, {path.stat().st_size:,} bytes")
        if path.stat().st_size > LARGEST:
            raise SystemExit(f"{path} is larger than {LARGEST:,} bytes: fewer frames or colours are needed.")
