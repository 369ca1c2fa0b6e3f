"""Opens the browser once the server answers, where there is a screen."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser

WAIT_S = 30.0
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the environment is not asked for this machine's own server."""


def has_screen() -> bool:
    """Whether a browser could be seen here. Over SSH and on servers the address alone is printed."""
    if os.environ.get("SSH_CONNECTION") and not os.environ.get("DISPLAY"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def already_running(address: str) -> bool:
    """Whether a Foredraft answers there."""
    try:
        with _DIRECTLY.open(f"{address}/health", timeout=1) as answer:
            return bool(json.loads(answer.read()).get("name") == "foredraft")
    except urllib.error.HTTPError as answer:  # it is loading, or stopping
        with answer:
            return _calls_itself_foredraft(answer)
    except (OSError, ValueError):
        return False


def _calls_itself_foredraft(answer: urllib.error.HTTPError) -> bool:
    try:
        return bool(json.loads(answer.read()).get("name") == "foredraft")
    except (OSError, ValueError, AttributeError):
        return False


def open_when_ready(address: str, page: str) -> None:
    """Open `page` of the server at `address`, in the background; nothing happens without a screen, or if the server
    does not come."""
    if not has_screen():
        return

    def wait() -> None:
        ends = time.monotonic() + WAIT_S
        while time.monotonic() < ends:
            try:
                _DIRECTLY.open(f"{address}/health", timeout=1).close()
            except urllib.error.HTTPError:
                pass  # it answers: it is loading
            except OSError:
                time.sleep(0.2)
                continue
            webbrowser.open(page)
            return

    threading.Thread(target=wait, daemon=True).start()
