"""A tiny file of each kind loads and writes. In a child process: a wrong key makes llama.cpp end the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.random_kinds import KINDS, main, write_random_kind
from foredraft.core.errors import ParameterError

DRAFTS = {"eagle3", "gemma4-assistant", "qwen35-mtp-only"}
"""Kinds that are no model of their own."""
WRITES = """
import json, sys
from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
for path in sys.argv[1:]:
    print(path, flush=True, file=sys.stderr)
    engine = LlamaCppEngine(path, LoadOptions(n_threads=1, probe=False, n_ctx=64, n_slots=1))
    rows = engine.forward([Chunk(0, 0, [1, 300, 301], 1)])[0]
    tokens = []
    for _ in range(8):
        tokens.append(int(rows[-1].argmax()))
        rows = engine.forward([Chunk(0, engine.length(0), tokens[-1:], 1)])[0]
    print(json.dumps([path, engine.info.architecture, tokens, bool((rows == rows).all())]), flush=True)
    engine.close()
"""


def test_every_kind_that_is_a_model_loads_and_writes(tmp_path: Path) -> None:
    paths = [str(write_random_kind(tmp_path / f"{kind}.gguf", kind)) for kind in KINDS if kind not in DRAFTS]
    done = subprocess.run([sys.executable, "-c", WRITES, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [path for path, *_ in lines] == paths
    for path, architecture, tokens, sound in lines:
        assert Path(path).stem.startswith(architecture)
        assert sound
        assert len(set(tokens)) > 3, f"{path} repeats itself: {tokens}"


def test_the_same_kind_and_seed_give_the_same_file(tmp_path: Path) -> None:
    first, second, other = (
        write_random_kind(tmp_path / f"{number}.gguf", "lfm2", seed=seed).read_bytes()
        for number, seed in enumerate((0, 0, 1))
    )
    assert first == second != other


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path / "kinds"), "--kind", "eagle3", "--kind", "mamba2"])
    assert {path.name for path in (tmp_path / "kinds").iterdir()} == {"eagle3.gguf", "mamba2.gguf"}
    assert "eagle3.gguf" in capsys.readouterr().out


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="kind"):
        write_random_kind(tmp_path / "x.gguf", "hyperllama")
