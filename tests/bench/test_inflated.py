"""Inflated models in the cache: made once, checked before."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from foredraft.bench import inflated as module
from foredraft.bench.inflated import inflated
from foredraft.core.errors import ModelError, ModelNotFoundError, ParameterError


def test_a_model_is_made_once(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Path, str]] = []
    said: list[str] = []

    def fake(source: Path, path: Path, size: str) -> Path:
        made.append((path, size))
        return Path(shutil.copy(source, path))

    monkeypatch.setattr(module, "inflate", fake)
    first = inflated(tiny_llama, "0.5b", said.append)
    assert first.is_file()
    assert inflated(tiny_llama, "0.5b", said.append) == first
    assert len(made) == len(said) == 1
    assert inflated(tiny_llama, "1b") != first


def test_what_cannot_be_made_is_said(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match=r"one of 0\.5b, 1b, 3b, 8b"):
        inflated(tiny_llama, "70b")
    with pytest.raises(ModelNotFoundError):
        inflated(tmp_path / "none.gguf", "1b")
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ModelError, match=r"needs about 1\.2 GB .* 0\.0 GB are free"):
        inflated(tiny_llama, "1b")
