"""`benchmarks/on_gpu.sh` on a machine without a GPU: it says so. (What it measures needs one.)"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foredraft.engines.llamacpp.devices import devices

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a bash script")


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "benchmarks" / "on_gpu.sh")],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.skipif(bool(devices()), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_one_line_and_ends_well(tmp_path: Path) -> None:
    done = run(PYTHON=sys.executable, OUT=str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["No GPU that this build of llama.cpp can use: nothing to measure."]
    assert not (tmp_path / "out").exists()


def test_an_interpreter_without_foredraft_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    done = run(PYTHON=str(broken), OUT=str(tmp_path / "out"))
    assert done.returncode == 1
    assert "set PYTHON" in done.stderr
