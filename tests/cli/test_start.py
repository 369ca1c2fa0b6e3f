"""The app starts with the model that was used last, and without one that cannot be loaded any more."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foredraft.chats import ChatStore
from foredraft.config.folders import data_folder
from foredraft.config.shelf import open_shelf
from tests import tiny_gguf
from tests.harden import gguf_edit
from tests.harden.gguf_edit import Value

COMMAND = [sys.executable, "-m", "foredraft"]


def used_last(name: str) -> None:
    data_folder().mkdir(parents=True, exist_ok=True)
    chats = ChatStore(data_folder() / "chats.db")
    chats.set_preference("last_model", name)
    chats.close()


def deadly(name: str) -> Path:
    """A file that would end the process which loads it: the check of headers finds why."""
    folder = data_folder() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    path = tiny_gguf.llama(folder / f"{name}.gguf")
    sound = gguf_edit.read(path.read_bytes())
    path.write_bytes(sound.with_value("tokenizer.ggml.model", Value(8, b"rwkv")).written())
    return path


@contextmanager
def started(*arguments: str) -> Iterator[list[str]]:
    """The app in a process of its own; the lines it has said up to "Loaded", or to its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "foredraft", "app", "--no-browser", "--port", str(port), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    too_late = threading.Timer(120, process.kill)
    too_late.start()
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("Loaded"):
                break
        yield said
    finally:
        too_late.cancel()
        process.terminate()
        process.communicate()


def test_a_last_model_that_ends_the_process_is_left_for_the_embedded_one_aloud(user_folders: Path) -> None:
    path = deadly("broken")
    name = next(model.name for model in open_shelf().models() if model.path == path)
    used_last(name)
    with started() as said:
        words = "".join(said)
        assert f"{name}, the model used last, cannot be loaded: broken.gguf is damaged" in words
        assert "loading it would end the program" in words
        assert "Continuing with foredraft-demo." in words
        assert said[-1] == "Loaded foredraft-demo.\n"


def test_a_named_model_is_loaded_where_one_runs_already(user_folders: Path) -> None:
    with started() as said:
        port = next(line for line in said if "serves http" in line).split(":")[2].split(";")[0]
        again = subprocess.run(
            [*COMMAND, "app", "--no-browser", "--port", port, "--model", "foredraft-demo-draft"],
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        assert again.returncode == 0, again.stderr
        assert "running already" in again.stdout
        assert "Loaded foredraft-demo-draft." in again.stdout
        gone = subprocess.run([*COMMAND, "unload", "demo-draft", "--port", port], capture_output=True, encoding="utf-8")
        assert gone.stdout == "Unloaded foredraft-demo-draft.\n", gone.stderr


def test_any_free_port_may_be_taken(user_folders: Path) -> None:
    command = [*COMMAND, "app", "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    assert process.stdout is not None
    try:
        served = next(line for line in process.stdout if "serves http" in line)
        assert int(served.split(":")[2].split(";")[0]) > 0
    finally:
        process.terminate()
        process.communicate()


def test_a_last_model_that_is_damaged_or_gone_is_said(user_folders: Path) -> None:
    used_last("gone")
    with started() as said:
        assert "gone, the model used last, cannot be loaded: it is not there any more." in "".join(said)
        assert said[-1] == "Loaded foredraft-demo.\n"
