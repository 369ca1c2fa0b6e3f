"""Parts of one's own: a source of guesses, a rule, a controller, by the library, by a table, and by another package.

Mutants that were made by hand and the test that kills each:
- the caller's drafter left out of the arbiter, the caller's controller replaced by the adaptive one, `rule` ignored:
  test_a_part_of_ones_own_is_used_and_the_text_stays
- a lookup drafter of the table left out of `auto`: test_a_line_in_a_table_is_known_everywhere
- the exception of a broken package not caught: test_a_broken_package_is_said_and_nothing_else_fails
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foredraft import LLM, LoadSettings, SpeculationParams
from foredraft.bench.modes import parse
from foredraft.core.errors import IncompatibleDraftError, ModelFormatError, ParameterError
from foredraft.core.registry import Entry
from foredraft.core.tables import CONTROLLERS, DRAFTERS, ENGINES, OWN, RULES, check_method, engines, methods
from foredraft.engines.toy import ToyEngine
from foredraft.speculative.acceptance import Match
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import Arbiter, NgramDrafter, lookup_drafters

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
COPYING = "Write the following text once more, exactly as it is: The old clock is in the library."


@pytest.fixture(scope="module")
def my_drafter() -> Any:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import my_drafter

        return my_drafter.MyDrafter
    finally:
        sys.path.remove(str(EXAMPLES))


class CountingRule(Match):
    name = "counting"
    used = 0

    def accept(self, laws: Any, proposal: Any) -> Any:
        CountingRule.used += 1
        return super().accept(laws, proposal)


class Two(Fixed):
    """A controller of one's own."""

    def __init__(self, promise: str = "") -> None:
        super().__init__(2)
        self.promise = promise


def texts(llm: LLM, **more: Any) -> list[str]:
    return [llm.chat(COPYING, temperature=t, seed=3, max_tokens=40, **more).result.text for t in (0.0, 0.9)]


@pytest.fixture(scope="module")
def plain() -> list[str]:
    with LLM.load(draft=None, settings=LoadSettings(remember=False)) as llm:
        return texts(llm)


# ---- the library ----


@pytest.mark.parametrize("draft", ["auto", None])
@pytest.mark.parametrize("controller", [None, "fixed", Two, Two()], ids=["default", "name", "class", "object"])
@pytest.mark.parametrize("rule", ["match", CountingRule, CountingRule()], ids=["name", "class", "object"])
def test_a_part_of_ones_own_is_used_and_the_text_stays(
    my_drafter: Any, plain: list[str], draft: str | None, controller: Any, rule: Any
) -> None:
    CountingRule.used, settings = 0, LoadSettings(remember=False, promise="eager")
    with LLM.load(draft=draft, drafter=my_drafter(), rule=rule, controller=controller, settings=settings) as llm:
        assert texts(llm) == plain
        sources = llm.scheduler.drafter
        assert isinstance(sources, Arbiter)
        assert next(iter(sources.sources)) == "trigram", "it goes before all others"
        assert ("model" in sources.sources) == (draft is not None)
        assert llm.numerics is not None
        assert (CountingRule.used > 0) == (rule != "match")
        loaded = llm.scheduler.controller
        assert isinstance(loaded, Two) == (controller not in (None, "fixed"))
        if controller is Two:
            assert loaded.promise == "eager", "a class is made with what it names"  # type: ignore[attr-defined]
        guessed = llm.chat(COPYING, temperature=0.0, max_tokens=40).result.stats.by_source
        if draft is None and controller is not None:  # the adaptive one may rest, as times here say
            assert guessed["trigram"].accepted > 0
        llm.set_draft(None)
        assert "trigram" in getattr(llm.scheduler.drafter, "sources", {}), "it stays when the draft is changed"
        assert texts(llm) == plain


def test_the_rule_of_a_load_is_that_of_requests_that_say_nothing_of_it() -> None:
    with LLM.load(draft=None, rule=CountingRule, settings=LoadSettings(remember=False)) as llm:
        assert llm.request("a").speculation.acceptance is CountingRule
        assert llm.request("a", speculation=SpeculationParams(acceptance="block")).speculation.acceptance == "block"


def test_what_is_no_rule_is_refused() -> None:
    for wrong in ("mine", 3, None, object()):
        with pytest.raises(ParameterError, match="match, rejection, block"):
            SpeculationParams(acceptance=wrong)  # type: ignore[arg-type]


# ---- the tables ----


@pytest.fixture
def added() -> Iterator[None]:
    """A line more in each table."""
    DRAFTERS.add("mine", Entry(Mine, "lookup", 50, "what I like"))
    RULES.add("counting", CountingRule)
    CONTROLLERS.add("two", Two)
    yield
    for table, name in ((DRAFTERS, "mine"), (RULES, "counting"), (CONTROLLERS, "two")):
        table.remove(name)


class Mine(NgramDrafter):
    name = "mine"


@pytest.mark.usefixtures("added")
def test_a_line_in_a_table_is_known_everywhere(plain: list[str]) -> None:
    assert methods()[0] == "auto"
    assert {"mine", "grammar", "prediction"} <= set(methods())
    assert [source.name for source in lookup_drafters()][:2] == ["mine", "grammar"], "by priority"
    assert parse("mine").speculation.method == "mine", "the bench"
    settings = LoadSettings(remember=False, controller="two")
    with LLM.load(settings=settings) as llm:
        assert isinstance(llm.scheduler.controller, Two)
        speculation = SpeculationParams(method="mine", acceptance="counting")
        before = CountingRule.used
        assert texts(llm, speculation=speculation) == plain
        assert CountingRule.used > before
        sources = llm.chat(COPYING, temperature=0.0, max_tokens=40, speculation=speculation).result.stats.by_source
        assert set(sources) == {"mine"}


def test_without_the_line_nobody_knows_it() -> None:
    for refused in (lambda: check_method("mine"), lambda: parse("mine"), lambda: LoadSettings(controller="two")):
        with pytest.raises(ParameterError):
            refused()


# ---- engines ----


def toy(folder: Path, name: str = "model", **more: Any) -> Path:
    file = folder / f"{name}.toy"
    said = {"seed": 3, "sharpness": 4.0, **more}
    file.write_text("".join(f"{key} = {value}\n" for key, value in said.items()), encoding="utf-8")
    return file


def test_the_engine_is_that_of_the_file(tmp_path: Path) -> None:
    main, draft = toy(tmp_path), toy(tmp_path, "draft", blur=0.1)
    written = set()
    for wish, engine in ((None, "auto"), (None, "toy"), (draft, "auto")):
        settings = LoadSettings(engine=engine, remember=False, context=512, slots=2)
        with LLM.load(main, wish, settings=settings, controller="fixed") as llm:
            assert (llm.info.architecture, llm.info.n_ctx, llm.info.n_slots) == ("toy", 512, 2)
            answer = llm.generate("ab", seed=1, max_tokens=30, ignore_eos=True)
            assert (answer.stats.accepted > 0) == (wish is not None)
            written.add(tuple(answer.tokens))
    assert len(written) == 1
    with pytest.raises(IncompatibleDraftError):
        LLM.load(main, toy(tmp_path, "other", n_vocab=40), draft_required=True)
    for wrong in ("colour = 3\n", "seed = 'x'\n", "not toml"):
        main.write_text(wrong, encoding="utf-8")
        with pytest.raises(ModelFormatError):
            LLM.load(main)


class MyEngine:
    """Opens files of its own, by what it is told of a load."""

    def __new__(cls, path: Path, slots: int) -> Any:
        assert path.read_text(encoding="utf-8") == "mine"
        return ToyEngine.random(5, n_vocab=330, n_slots=slots, name="mine")


def test_an_engine_is_a_line_in_its_table(tmp_path: Path) -> None:
    file = tmp_path / "model.mine"
    file.write_text("mine", encoding="utf-8")
    ENGINES.add("mine", Entry(MyEngine, OWN, files=(".mine",)))
    try:
        assert "mine" in engines()
        for engine in ("auto", "mine"):
            with LLM.load(file, settings=LoadSettings(engine=engine, slots=3, remember=False)) as llm:
                assert (llm.info.name, llm.info.n_slots) == ("mine", 3)
                assert len(llm.generate("ab", max_tokens=4, ignore_eos=True).tokens) == 4
    finally:
        ENGINES.remove("mine")
    with pytest.raises(ParameterError, match="auto, llamacpp, toy"):
        LoadSettings(engine="mine")


def test_the_command_line_opens_a_toy(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", "FOREDRAFT_NO_SERVER": "1"}
    said = ("run", "--raw", "ab", "-m", str(toy(tmp_path)), "-n", "9", "--seed", "1", "--json")
    done = foredraft(env, *said, "--draft", str(toy(tmp_path, "draft", blur=0.1)))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["model"], answer["draft"], len(answer["tokens"])) == ("model", "draft", 9)
    assert foredraft(env, *said, "--engine", "none").returncode == 2


# ---- another package ----


def package(folder: Path, points: str, code: str = "") -> dict[str, str]:
    """A package `mine` in a folder, as pip would install it; the environment in which it is found."""
    folder.mkdir()
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    (folder / "mine_parts.py").write_text(code, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(folder), str(EXAMPLES), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "FOREDRAFT_NO_SERVER": "1"}


def foredraft(env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "foredraft", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)


def test_the_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, "my_drafter.py"], cwd=EXAMPLES, capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "trigram" in done.stdout
    assert len((EXAMPLES / "my_drafter.py").read_text(encoding="utf-8").splitlines()) <= 40


def test_a_package_brings_parts_for_every_command(tmp_path: Path, plain: list[str]) -> None:
    points = """
[foredraft.drafters]
trigram = my_drafter:MyDrafter
[foredraft.rules]
same = mine_parts:Same
[foredraft.controllers]
five = mine_parts:Five
[foredraft.engines]
tiny = mine_parts:Tiny
"""
    code = """
from foredraft.speculative.acceptance import Match
from foredraft.speculative.controllers import Fixed
class Same(Match):
    name = "same"
class Five(Fixed):
    def __init__(self):
        super().__init__(5)
class Tiny:
    files = (".tiny",)
    def __new__(cls, path):
        from foredraft.engines.toy import ToyEngine
        return ToyEngine.random(1, n_vocab=330, name=path.read_text())
"""
    env = package(tmp_path / "site", points, code)
    parts = ("--method", "trigram", "--acceptance", "same", "--controller", "five")
    done = foredraft(env, "run", COPYING, "-t", "0", "-n", "40", "--json", *parts)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["text"] == plain[0]
    assert answer["stats"]["by_source"]["trigram"]["accepted"] > 0
    assert set(answer["stats"]["by_source"]) == {"trigram"}
    (tmp_path / "a.tiny").write_text("tiny", encoding="utf-8")
    done = foredraft(env, "run", "--raw", "ab", "-m", str(tmp_path / "a.tiny"), "-n", "4", "--json")
    assert json.loads(done.stdout)["model"] == "tiny", done.stderr
    refused = foredraft(env, "run", "x", "--method", "trigramm")
    assert refused.returncode == 2
    assert "trigram" in refused.stderr


def test_a_broken_package_is_said_and_nothing_else_fails(tmp_path: Path, plain: list[str]) -> None:
    points = "[foredraft.drafters]\nbroken = mine_parts:Drafter\nsuffix = mine_parts:Taken\n"
    env = package(tmp_path / "site", points, "import there_is_no_such_module\n")
    done = foredraft(env, "run", COPYING, "-t", "0", "-n", "40")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == plain[0].strip()
    assert "broken of the package mine could not be loaded: ModuleNotFoundError" in done.stderr
    assert "suffix of the package mine has a name that is taken" in done.stderr
    assert foredraft(env, "ls").returncode == 0


def test_names_of_the_tables_cost_no_look_at_other_packages() -> None:
    code = (
        "import sys; from foredraft.core.params import SpeculationParams; SpeculationParams(method='ngram');"
        "assert 'importlib.metadata' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
