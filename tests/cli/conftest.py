"""What several tests of the command line need."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminals import COMMAND


@pytest.fixture
def own_server(user_folders: Path) -> Iterator[None]:
    """The user's own server with the embedded pair; commands find it at the port of the settings."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subprocess.run([*COMMAND, "config", "set", "server.port", str(port)], check=True, capture_output=True, timeout=60)
    process = subprocess.Popen(
        [*COMMAND, "serve", "--model", "foredraft-demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        next(line for line in process.stdout if line.startswith("Loaded"))
        yield
    finally:
        process.terminate()
        process.communicate()
