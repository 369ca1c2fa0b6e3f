"""Opens the browser once the server answers, where there is a screen."""

from __future__ import annotations

import os
import sys
import threading
import time
import webbrowser

import uvicorn

WAIT_S = 20.0


def has_screen() -> bool:
    """Whether a browser could be seen here. Over SSH and on servers the address alone is printed."""
    if os.environ.get("SSH_CONNECTION") and not os.environ.get("DISPLAY"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_when_ready(server: uvicorn.Server, address: str) -> None:
    if not has_screen():
        return

    def wait() -> None:
        ends = time.monotonic() + WAIT_S
        while not server.started and time.monotonic() < ends:
            time.sleep(0.1)
        if server.started:
            webbrowser.open(address)

    threading.Thread(target=wait, daemon=True).start()
