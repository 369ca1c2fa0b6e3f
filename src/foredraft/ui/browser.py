"""Opens the browser once the server answers, where there is a screen."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
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
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    return bool(_of_windows())


def _of_windows() -> str:
    """Inside WSL, the program that opens a page in Windows' browser; "" elsewhere. Windows passes what is asked of
    localhost on to WSL."""
    if sys.platform != "linux" or not (os.environ.get("WSL_DISTRO_NAME") or os.environ.get("WSL_INTEROP")):
        return ""
    return shutil.which("wslview") or shutil.which("explorer.exe") or ""


def show(page: str) -> None:
    """Open a page in the user's browser."""
    if program := _of_windows():
        with contextlib.suppress(OSError):  # the address is printed, too
            subprocess.run([program, page], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)  # noqa: S603
        return
    webbrowser.open(page)


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
            show(page)
            return

    threading.Thread(target=wait, daemon=True).start()
