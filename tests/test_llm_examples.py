"""The library's examples run as they stand, its docstrings and its guide say the truth, and types hold."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import foredraft
from tests import tiny_gguf

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SAYS = {
    "library_chat.py": ["2 + 3 = 5", "The formula is x = (-b", "draft tokens accepted"],
    "library_batch.py": ["1 of 4 answers failed. Number 3", "'What is 7 + 1?': 7 + 1 = 8", "[7, 8, 9]"],
    "library_async.py": ["2 + 3 = 5 | 7 + 1 = 8", "The formula is x = (-b", "['1 + 1 = 2', '2 + 2 = 4']"],
    "library_schema.py": ["True True\nint\nTrue\n"],
    "library_tools.py": ["temperature({'unit': '", "-> 21 °"],
    "library_tokens.py": ["15 of 2048 tokens; the text alone: 9", "\nWhat is 2 + 3?\n", "b'5'", "\n 5\n"],
    "library_embed.py": ["nearest of 3 texts: "],
}
MODULES = ("foredraft.pair.llm", "foredraft.pair.async_llm", "foredraft.pair.embedding")
GUIDE = ROOT / "docs" / "guides" / "library.md"


@pytest.mark.parametrize("name", SAYS)
def test_example(name: str, tmp_path: Path) -> None:
    more = [str(tiny_gguf.bert(tmp_path / "embeds.gguf"))] if name == "library_embed.py" else []
    done = subprocess.run(
        [sys.executable, name, *more],
        cwd=EXAMPLES,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(Path(foredraft.__file__).parents[1])},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    unmarked = re.sub(r"[\[\]]", "", done.stdout)  # which guesses stood is another matter each time
    for said in SAYS[name]:
        assert said in done.stdout or said in unmarked
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= 30


def test_every_example_of_the_library_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("library_*.py")} == set(SAYS)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_say_what_comes(name: str) -> None:
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, raise_on_error=False)
    assert failed == 0
    assert tried > 0


def test_the_guide_says_what_comes() -> None:
    """Its sessions are doctests in one piece; what another library is written like is not run."""
    text = GUIDE.read_text(encoding="utf-8")
    sessions = "\n".join(re.findall(r"```pycon\n(.*?)```", text, flags=re.DOTALL))
    test = doctest.DocTestParser().get_doctest(sessions, {}, "library.md", str(GUIDE), 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=said.append)
    assert "".join(said) == ""
    assert runner.summarize(verbose=False).attempted > 20


def test_examples_are_typed() -> None:
    pytest.importorskip("mypy")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(ROOT / ".mypy_cache" / "examples"),
        "examples",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, "\n".join(line[:300] for line in done.stdout.splitlines() if " error: " in line)


TYPOS = """
from foredraft import LLM
llm: LLM
llm.chat("x", temprature=0)
llm.generate("x", max_tokens="5")
llm.chat("x").parsed
LLM.load("x", slot=4)
"""
TRUE = """
from foredraft import LLM, Answer, AnswerStream, AsyncLLM
llm: LLM
a: Answer = llm.generate("x", temperature=0.5, stop=["a"])
b: list[Answer] = llm.generate(["x", "y"])
c: list[list[Answer]] = llm.chat([[{"role": "user", "content": "x"}]], n=2)
LLM.load("x", slots=4, context=None)
d: AnswerStream = llm.chat("x", tools=[len], tool_choice="auto", schema=int)
e: list[Answer] = llm.chat("x", n=2)
async def ask(llm: AsyncLLM) -> None:
    f: Answer = await llm.chat([{"role": "user", "content": "x"}], seed=1)
    g: list[Answer] = await llm.generate([[1, 2], [3]])
"""


def test_types_tell_typos_from_what_is_meant(tmp_path: Path) -> None:
    """A mypy that read no types would find nothing wrong with anything."""
    pytest.importorskip("mypy")
    (tmp_path / "typos.py").write_text(TYPOS, encoding="utf-8")
    (tmp_path / "true.py").write_text(TRUE, encoding="utf-8")
    cache = str(ROOT / ".mypy_cache" / "examples")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, str(tmp_path / "true.py")]
    command += [str(tmp_path / "typos.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert [line for line in errors if "true.py" in line] == []
    assert {int(line.split("typos.py:")[1].split(":")[0]) for line in errors} == {4, 5, 6, 7}
