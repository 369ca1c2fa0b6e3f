"""A file that would end the process ends another one instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from foredraft.core.errors import ModelFormatError
from foredraft.engines.llamacpp.trial import survives
from tests import tiny_gguf


def test_sound_refused_and_deadly_files_are_told_apart(tmp_path: Path, tiny_llama: Path) -> None:
    assert survives(tiny_llama)
    assert not survives(tiny_gguf.cut(tiny_llama, tmp_path / "cut.gguf", 0.5))
    deadly = tiny_gguf.llama_with_one_token_twice(tmp_path / "twice.gguf")
    with pytest.raises(ModelFormatError, match="ends the program"):
        survives(deadly)
