"""The floors of dependencies are those of the list of advisories, and what is pinned is above them."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.audit import verdict
from tests.conftest import ROOT

REQUIREMENTS = [
    Requirement(line)
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
]


def floor(requirement: Requirement) -> Version:
    return max(Version(part.version) for part in requirement.specifier if part.operator == ">=")


def test_every_dependency_is_in_the_list_with_its_floor() -> None:
    text = (ROOT / "docs" / "security-dependencies.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    listed = {row[0]: row for row in rows[1:] if "," not in row[0]}
    without = {name.strip() for row in rows if "," in row[0] for name in row[0].split(",")}
    assert {requirement.name for requirement in REQUIREMENTS} == listed.keys() | without
    for requirement in REQUIREMENTS:
        row = listed.get(requirement.name)
        if row is not None:
            assert floor(requirement) == Version(row[1])
            assert not row[-1] or floor(requirement) >= Version(row[-1])


def test_what_is_pinned_is_above_the_floors() -> None:
    pinned = dict(
        re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8").lower(), re.MULTILINE)
    )
    pinned = {name.replace("_", "-"): version for name, version in pinned.items()}
    for requirement in REQUIREMENTS:
        assert requirement.specifier.contains(pinned[requirement.name]), requirement.name


def audited(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


SOUND = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-7"], "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("said", "looked_at", "status", "words"),
    [
        (audited(SOUND), "", 0, "1 packages audited, 0 not known"),
        (audited(SOUND, BAD), "nothing", 1, r"b 2: PYSEC-1 \(fixed in 3\)"),
        (audited(SOUND, BAD), "| b | CVE-7 |", 0, "0 advisories not in"),
        (
            audited({"name": "a", "skip_reason": "not found"}),
            "Looked at on 2026-11-30, by",
            0,
            "NOT AUDITED.*2026-11-30",
        ),
        ("", "", 0, "NOT AUDITED: pip-audit could not reach"),
        ("ERROR: no network", "", 0, "NOT AUDITED"),
    ],
)
def test_an_audit_is_never_silent(said: str, looked_at: str, status: int, words: str) -> None:
    found, told = verdict(said, looked_at)
    assert found == status
    assert re.search(words, told)
