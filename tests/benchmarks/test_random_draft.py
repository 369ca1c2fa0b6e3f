"""A draft with a main model's vocabulary and weights that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.random_draft import random_draft
from foredraft.core.errors import ModelError
from foredraft.models.pairing import pair


def test_it_fits_the_main_model_and_is_made_once(chat_pair: tuple[Path, Path]) -> None:
    main, _ = chat_pair
    path = random_draft(main)
    verdict = pair(main, path)
    assert verdict.usable, str(verdict.why)
    assert verdict.code == "vocab_same"
    assert path.stat().st_size < main.stat().st_size / 2
    made = path.stat().st_mtime_ns
    assert random_draft(main) == path
    assert path.stat().st_mtime_ns == made
    assert list(path.parent.iterdir()) == [path]  # nothing half-written stays


def test_another_file_of_the_same_name_gets_its_own(tiny_llama: Path, tmp_path: Path) -> None:
    first = random_draft(tiny_llama)
    other = tmp_path / tiny_llama.name
    other.write_bytes(tiny_llama.read_bytes())
    assert random_draft(other) != first


def test_what_has_no_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        random_draft(tmp_path / "nothing.gguf")
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="cannot be read as GGUF"):
        random_draft(noise)
