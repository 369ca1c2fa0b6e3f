"""The table "Where one adds …" of CONTRIBUTING.md, done: a drafter, a rule, a controller and an engine, each one file
and one line in a copy of the tree. Then the command line, REST, the settings, the bench, the app and `auto` know them.

Mutants that were made by hand and the test that kills each:
- methods, rules or controllers listed by hand in `core/params.py`, the schema, the settings or the bench:
  test_one_file_and_one_line_each
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    "speculative/drafters/mine.py": """
from foredraft.speculative.drafters.ngram import NgramDrafter

class MyDrafter(NgramDrafter):
    name = "mine"
""",
    "speculative/acceptance/mine.py": """
from foredraft.speculative.acceptance.match import Match

class MyRule(Match):
    name = "my-rule"
""",
    "speculative/controllers/mine.py": """
from foredraft.speculative.controllers.fixed import Fixed

class MyController(Fixed):
    def __init__(self) -> None:
        super().__init__(2)
""",
    "engines/mine.py": """
from foredraft.engines.toy import ToyEngine

def open_mine(path, slots):
    return ToyEngine.random(5, n_vocab=330, n_slots=slots, name="mine")
""",
}
LINES = {
    "DRAFTERS": '"mine": Entry("foredraft.speculative.drafters.mine:MyDrafter", LOOKUP, 50, "what I like"),',
    "RULES": '"my-rule": Entry("foredraft.speculative.acceptance.mine:MyRule", help="as I like"),',
    "CONTROLLERS": '"my-controller": Entry("foredraft.speculative.controllers.mine:MyController", TOGETHER),',
    "ENGINES": '"my-engine": Entry("foredraft.engines.mine:open_mine", OWN, files=(".mine",)),',
}
KNOWN = """
import json, sys
from pathlib import Path
from foredraft.bench.modes import parse
from foredraft.config.settings import Settings
from foredraft.server.schemas import Speculative
from foredraft.speculative.drafters import lookup_drafters
from foredraft.ui.panels.speculation import from_text_only
from foredraft.ui.choices import Choices
import foredraft
speculation = {"method": "mine", "acceptance": "my-rule"}
schema = Speculative.model_json_schema()["properties"]
print(json.dumps({
    "package": foredraft.__file__,
    "bench": parse("mine").speculation.method,
    "settings": Settings(draft=speculation, load={"controller": "my-controller", "engine": "my-engine"}).load.engine,
    "rest": Speculative(**speculation).params().acceptance,
    "schema": [schema["method"]["enum"], schema["acceptance"]["enum"]],
    "auto": [drafter.name for drafter in lookup_drafters()],
    "app": from_text_only(Choices.of(speculation)),
}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the files and lines."""
    folder = tmp_path_factory.mktemp("tree")
    copy = folder / "foredraft"
    shutil.copytree(ROOT / "src" / "foredraft", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (copy / name).write_text(text, encoding="utf-8")
    tables = copy / "core" / "tables.py"
    text = tables.read_text(encoding="utf-8")
    for table, line in LINES.items():
        text, done = re.subn(
            rf"^({table}: .*?\{{\n)", rf"\g<1>        {line}\n", text, count=1, flags=re.MULTILINE | re.DOTALL
        )
        assert done == 1, table
    tables.write_text(text, encoding="utf-8")
    return folder


def python(tree: Path, *words: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONIOENCODING": "utf-8", "FOREDRAFT_NO_SERVER": "1"}
    env |= {"COLUMNS": "200", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, *words], env=env, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_contributing_names_the_tables() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for table, name in zip(LINES, FILES, strict=True):
        assert any(f"`{name}`" in row and f"`core/tables.py: {table}`" in row for row in page.splitlines()), table


def test_one_file_and_one_line_each(tree: Path) -> None:
    known = json.loads(python(tree, "-c", KNOWN))
    assert Path(known["package"]).is_relative_to(tree)
    assert known["bench"] == "mine"
    assert known["settings"] == "my-engine"
    assert known["rest"] == "my-rule"
    assert ["mine" in known["schema"][0], "my-rule" in known["schema"][1]] == [True, True]
    assert known["auto"][0] == "mine", "it goes by its priority"
    assert known["app"] is True
    shown = python(tree, "-m", "foredraft", "run", "--help")
    for name in ("mine", "my-rule", "my-controller", "my-engine"):
        assert name in shown


def test_they_work(tree: Path) -> None:
    file = tree / "model.mine"
    file.write_text("", encoding="utf-8")
    wish = ("--method", "mine", "--acceptance", "my-rule", "--controller", "my-controller")
    said = ("-m", "foredraft", "run", "--json", "-t", "0", "-n", "30")
    copying = "Write the following text once more, exactly as it is: The old clock is in the library."
    mine = json.loads(python(tree, *said, *wish, copying))
    plain = json.loads(python(tree, *said, "--draft", "off", copying))
    assert mine["text"] == plain["text"]
    assert set(mine["stats"]["by_source"]) == {"mine"}
    assert json.loads(python(tree, *said, "--raw", "-m", str(file), "ab"))["model"] == "mine"
