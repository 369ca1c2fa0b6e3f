"""Trained files for tests marked `real`: those that were fetched; the others are skipped with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.files import FILES, path_of, present

RealFile = Callable[[str], Path]


@pytest.fixture(scope="session")
def real_file() -> RealFile:
    """The path of a file by its short name (`tests.real.files.FILES`)."""

    def find(name: str) -> Path:
        if not present(name):
            pytest.skip(f"{FILES[name].name} is not at {path_of(name).parent}: python -m tests.real.files {name}")
        return path_of(name)

    return find
