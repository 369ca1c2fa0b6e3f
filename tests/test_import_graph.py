"""The import graph: no circles, not even through imports inside functions; every module in a layer."""

from __future__ import annotations

import tomllib

import pytest

from tests.conftest import ROOT
from tools.import_graph import circles, imports

NOT_LAYERS = {"foredraft", "foredraft.config"}
"""Packages whose `__init__` only holds others (or names them, for `from foredraft import LLM`)."""


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    return imports()


def test_there_is_no_circle(found: dict[str, set[str]]) -> None:
    without = {module: others - NOT_LAYERS for module, others in found.items() if module not in NOT_LAYERS}
    assert circles(without) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_module_is_in_one_layer(found: dict[str, set[str]]) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        (layers, *_) = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    named = [name.strip() for layer in layers["layers"] for name in layer.replace("|", ":").split(":")]
    assert len(named) == len(set(named))
    for module in sorted(found.keys() - NOT_LAYERS):
        within = [name for name in named if module == name or module.startswith(f"{name}.")]
        assert len(within) == 1, (module, within)
