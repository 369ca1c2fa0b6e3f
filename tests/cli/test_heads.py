"""The draft inside a model, on the command line: `--draft builtin`."""

from __future__ import annotations

import json
from pathlib import Path

from tests import known_heads
from tests.cli.test_run import foredraft


def test_verify_run_and_pair_know_the_draft_inside(tmp_path: Path) -> None:
    path = known_heads.circle(tmp_path / "circle.gguf")
    said = foredraft("pair", path, "builtin", "--json")
    assert json.loads(said.stdout)["drafts"][0]["code"] == "head_fits", said.stderr
    asked = ("the cat", "--raw", "--model", path, "--draft", "builtin", "--max-tokens", 12, "--threads", 1, "--json")
    said = foredraft("verify", *asked, "--numerics", "fast")
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["verdict"] == "identical"
    said = foredraft("run", *asked, "--controller", "fixed", "--draft-required")
    assert said.returncode == 0, said.stderr
    made = json.loads(said.stdout)
    assert made["draft"] == "circle (built in)"
    assert made["stats"]["rejected"] == 0


def test_a_model_without_one_says_so(tiny_llama: Path) -> None:
    said = foredraft("run", "the cat", "--raw", "--model", tiny_llama, "--draft", "builtin", "--draft-required")
    assert said.returncode != 0
    assert b"has no built-in draft" in said.stderr
