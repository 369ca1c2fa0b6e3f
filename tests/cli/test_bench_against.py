"""`foredraft bench --against` as a person uses it, on a tiny model and a stand-in for llama-server; and on real files
with the real one, where they are at hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from foredraft.cli.main import app
from tests.bench.fake_llama_server import asked, program

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script that POSIX can execute")

FEW = ["--clock", "cpu", "--category", "facts", "--prompts", "1", "--repeats", "2", "-n", "4", "--rival", "plain"]


def test_the_tables_and_the_files(tiny_llama: Path, tmp_path: Path) -> None:
    """Our own server is really started, too."""
    binary, log = program(tmp_path)
    json_file, page = tmp_path / "out.json", tmp_path / "out.md"
    line = ["bench", "--against", binary, "--model", tiny_llama, "--draft", tiny_llama, *FEW, "--rival", "draft:2"]
    result = CliRunner().invoke(app, list(map(str, [*line, "--json", json_file, "--markdown", page])))
    assert result.exit_code == 0, result.output
    assert "version: 1234" in result.stdout
    assert "best: " in result.stdout
    found = json.loads(json_file.read_text(encoding="utf-8"))
    assert set(found) >= {"machine", "llama_server", "model", "draft", "threads", "clock", "rows", "notes", "finished"}
    assert found["finished"]
    assert found["threads"] == 1
    whats = {row["what"] for row in found["rows"]}
    assert {"facts", "first token, 64 tokens known, over HTTP", "first token, 64 new, over HTTP"} <= whats
    assert all(row["wall"]["low"] <= row["wall"]["value"] <= row["wall"]["high"] for row in found["rows"])
    assert "| facts |" in page.read_text(encoding="utf-8")
    started = [line for line in asked(log) if line["path"] == "started"]
    assert all("--threads 1" in " ".join(line["arguments"]) for line in started)
    assert not any(psutil.pid_exists(line["pid"]) for line in started)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_too(number: signal.Signals, tiny_llama: Path, tmp_path: Path) -> None:
    binary, log = program(tmp_path)
    line = ["-m", "foredraft", "bench", "--against", binary, "--model", tiny_llama, "--draft", "off", *FEW]
    process = subprocess.Popen(
        [sys.executable, *map(str, line), "--repeats", "100000", "--part", "plain", "--json", tmp_path / "out.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        while sum(line["path"] == "/completion" for line in asked(log)) < 8:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            time.sleep(0.05)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, out
    assert b"Interrupted" in out
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"]
    assert not any(psutil.pid_exists(line["pid"]) for line in asked(log))


@pytest.mark.real
def test_with_the_real_server_on_real_files(real_llama_server: Path, real_model: Path, tmp_path: Path) -> None:
    json_file = tmp_path / "out.json"
    line = ["bench", "--against", real_llama_server, "--model", real_model, "--draft", "off", "--clock", "cpu"]
    few = ["--numerics", "fast", "--context", 1024, "--quick", "--minutes", 4, "--repeats", 1, "-n", 8]
    result = CliRunner().invoke(app, list(map(str, [*line, *few, "--json", json_file])))
    assert result.exit_code == 0, result.output
    found = json.loads(json_file.read_text(encoding="utf-8"))
    writing = next(row for row in found["rows"] if row["what"].startswith("writing at"))
    assert writing["compared_texts"] == 1
    assert writing["theirs_value"] > 0
    assert any(row["unit"] == "ms" for row in found["rows"])
