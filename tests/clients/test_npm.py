"""Every client of `npm` can be had, in the one version that its folder names."""

from __future__ import annotations

import json
import re

import pytest

from tests.clients.conftest import HERE, NpmClient

NAMES = sorted(folder.name for folder in (HERE / "npm").iterdir() if (folder / "package.json").is_file())


@pytest.mark.parametrize("name", NAMES)
def test_versions_are_exact(name: str) -> None:
    package = json.loads((HERE / "npm" / name / "package.json").read_text(encoding="utf-8"))
    named = package["dependencies"] | package.get("overrides", {})
    assert named
    assert all(re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", version) for version in named.values())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_version_that_was_named(npm_client: NpmClient, name: str) -> None:
    folder = npm_client(name)
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    for package, version in wanted.items():
        there = json.loads((folder / "node_modules" / package / "package.json").read_text(encoding="utf-8"))
        assert there["version"] == version
