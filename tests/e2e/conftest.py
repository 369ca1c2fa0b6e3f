"""The real server in a process of its own, and Debian's Chromium. `CHROMIUM` names another one."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect

expect.set_options(timeout=20_000)  # busy machines

HERE = Path(__file__).parent
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no network: everything has to work without
]


def pytest_configure(config):
    # The base-url plugin that comes with the browser's is older than this pytest.
    config.addinivalue_line("filterwarnings", "ignore:Session-scoped fixtures defined as instance methods")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    if CHROMIUM is None:
        pytest.skip("no Chromium here (apt install chromium, or CHROMIUM=path)")
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": FLAGS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    return {
        **browser_context_args,
        "viewport": {"width": 1440, "height": 900},
        "locale": "en-US",
        "reduced_motion": "reduce",
    }


class Served:
    """A running Foredraft. `start` and `kill` may be called again: it keeps its port and its home."""

    def __init__(self, home, *models, speed=200):
        self.home, self.models, self.speed = home, models, speed
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        environment = {**os.environ, "FOREDRAFT_HOME": str(self.home), "TOKENS_PER_SECOND": str(self.speed)}
        environment |= {"FOREDRAFT_MODELS__HUGGINGFACE": "false", "FOREDRAFT_MODELS__LMSTUDIO": "false"}
        command = [sys.executable, str(HERE / "serve.py"), str(self.port), str(self.home), *self.models]
        with (self.home / "log.txt").open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        ends = time.monotonic() + 180
        while time.monotonic() < ends:
            try:
                urllib.request.urlopen(self.url + "/health", timeout=5).read()
                return self
            except urllib.error.HTTPError:
                return self  # it answers: loading
            except OSError:
                assert self.process.poll() is None, (self.home / "log.txt").read_text()
                time.sleep(0.1)  # nothing to wait on but the port itself
        raise AssertionError("the server did not start: " + (self.home / "log.txt").read_text())

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def cpu_seconds(self):
        import psutil

        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system


@pytest.fixture(scope="session")
def script():
    return (HERE / "script.md").read_text(encoding="utf-8")


def serving(home, *models, script="", speed=200):
    home.mkdir(exist_ok=True)
    (home / "script.md").write_text(script, encoding="utf-8")
    return Served(home, *models, speed=speed)


@pytest.fixture(scope="session")
def served(tmp_path_factory, script):
    """The app with the scripted pair, shared by the tests that only look and chat."""
    made = serving(tmp_path_factory.mktemp("scripted"), "scripted", script=script).start()
    yield made
    made.end()


@pytest.fixture
def another(tmp_path, script):
    """Makes servers for one test alone."""
    made = []

    def make(*models, text=script, speed=200):
        one = serving(tmp_path / f"home{len(made)}", *models, script=text, speed=speed).start()
        made.append(one)
        return one

    yield make
    for one in made:
        one.kill()


class Watched:
    """A browser page that notes what must not happen: errors, and requests to anywhere else."""

    def __init__(self, page, url):
        self.page, self.url = page, url
        self.errors, self.foreign = [], []
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.on("request", self._requested)

    def _requested(self, request):
        if not request.url.startswith((self.url, "data:", "blob:", self.url.replace("http", "ws"))):
            self.foreign.append(request.url)


@pytest.fixture(scope="session")
def shared_context(browser, browser_context_args):
    """One browser profile for all tests: what pages load is in its cache then, and no test needs a first visit."""
    context = browser.new_context(**browser_context_args)
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def open_page(shared_context):
    """`open_page(served)`: a page of the app, ready to be used. Ends with a check of what it did."""
    watched, pages = [], []

    def make(served, path="/", *, mode="power", language="auto", theme="auto", quiet=True):
        prefer(served, mode=mode, language=language, theme=theme)
        page = shared_context.new_page()
        page.set_viewport_size({"width": 1440, "height": 900})
        pages.append(page)
        watch = Watched(page, served.url)
        if quiet:
            watched.append(watch)
        page.goto(served.url + path, wait_until="domcontentloaded")
        page.wait_for_selector(".fd-app")
        page.wait_for_function("window.fd && window.socket && window.socket.connected")
        return page

    yield make
    for page in pages:
        page.close()
    for watch in watched:
        assert watch.foreign == []
        assert [e for e in watch.errors if not re.search(r"ERR_|Failed to load resource", e)] == []


def prefer(served, **preferences):
    """Set preferences in the running app's own database, as the settings dialog does."""
    import json
    import sqlite3

    with sqlite3.connect(served.home / "data" / "chats.db", timeout=10) as db:
        for name, value in preferences.items():
            db.execute("INSERT OR REPLACE INTO preferences VALUES (?, ?)", (name, json.dumps(value)))
    db.close()


@pytest.fixture
def ask():
    def run(page, text, *, wait=True):
        page.fill("#fd-text", text)
        page.keyboard.press("Enter")
        page.wait_for_selector(".fd-prose")
        if wait:
            page.wait_for_selector(".fd-message.last .fd-stats", timeout=60_000)

    return run
