"""Opens the browser once the server answers, where there is a screen."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.request
import webbrowser

WAIT_S = 30.0


def has_screen() -> bool:
    """Whether a browser could be seen here. Over SSH and on servers the address alone is printed."""
    if os.environ.get("SSH_CONNECTION") and not os.environ.get("DISPLAY"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def already_running(address: str) -> bool:
    """Whether a Foredraft answers there."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=1) as answer:  # noqa: S310
            return bool(json.loads(answer.read()).get("name") == "foredraft")
    except (OSError, ValueError):
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
                urllib.request.urlopen(f"{address}/health", timeout=1).close()  # noqa: S310
            except urllib.error.HTTPError:
                pass  # it answers: it is loading
            except OSError:
                time.sleep(0.2)
                continue
            webbrowser.open(page)
            return

    threading.Thread(target=wait, daemon=True).start()
