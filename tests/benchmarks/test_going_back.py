"""The bench of ways back runs on a file of each, and counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.going_back import main
from benchmarks.random_kinds import write_random_kind


@pytest.mark.parametrize(("kind", "ways"), [("lfm2", ["rollback", "fork"]), ("mamba2", ["fork"])])
def test_each_way_is_timed(tmp_path: Path, kind: str, ways: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([str(write_random_kind(tmp_path / "m.gguf", kind)), "--gamma", "3", "--turns", "2", "--threads", "1"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ways
    for line in lines:
        assert line[1::2] == ["plain", "wide", "stand", "fail"]
        assert all(float(ratio) > 0 for ratio in line[2::2])
