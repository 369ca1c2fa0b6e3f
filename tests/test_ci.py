"""The file for the machines of others: nobody here can run it, so what it names is checked."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / ".github" / "workflows" / "ci.yml"


@pytest.fixture(scope="module")
def job() -> Any:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))["jobs"]["check"]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def commands(job: Any) -> list[list[str]]:
    return [shlex.split(line) for step in job["steps"] for line in step.get("run", "").splitlines() if line.strip()]


def test_it_runs_on_every_system_and_python(job: Any, project: dict[str, Any]) -> None:
    matrix = job["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    least = project["project"]["requires-python"].removeprefix(">=")
    assert matrix["python"][0] == least
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(least.partition(".")[2]), 15)]
    assert all(isinstance(version, str) for version in matrix["python"])  # 3.10 would be 3.1


def test_its_commands_exist_and_need_no_make(job: Any, project: dict[str, Any]) -> None:
    scripts = {"lint-imports": "importlinter"}
    for words in commands(job):
        if words[0] == "python":
            assert words[1] == "-m", words
            assert importlib.util.find_spec(words[2]), words
        else:
            assert importlib.util.find_spec(scripts[words[0]]), words
    said = [" ".join(words[2:]) for words in commands(job)]
    assert any(line.startswith("pip install -c constraints.txt --group dev") for line in said)
    assert (ROOT / "constraints.txt").is_file()
    assert "dev" in project["dependency-groups"]
    installed = {re.split(r"[>=\[;]", name)[0] for name in project["dependency-groups"]["dev"]}
    assert {"ruff", "mypy", "pytest", "pytest-xdist", "import-linter"} <= installed


def test_its_marks_are_those_of_the_tests(job: Any, project: dict[str, Any]) -> None:
    (tests,) = [words for words in commands(job) if words[2:3] == ["pytest"]]
    asked = set(re.findall(r"[a-z0-9]+", tests[tests.index("-m", 3) + 1])) - {"not", "and", "or"}
    known = {mark.partition(":")[0] for mark in project["tool"]["pytest"]["ini_options"]["markers"]}
    assert asked == {"e2e", "real"}
    assert asked <= known


def test_it_fetches_from_nowhere_by_name(job: Any) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    for path in re.findall(r"[\w/]+\.(?:txt|toml|py|cfg)\b", text):
        assert (ROOT / path).is_file(), path
