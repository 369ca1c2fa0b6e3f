"""Every command that the documentation names exists, with every option it is given there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from foredraft.cli.main import ALIASES, COMMANDS, app
from tests.conftest import ROOT

PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md"))
    if path.parent.name != "reference" or path.name == "api.md"  # the others are made from the commands themselves
)
FENCE = re.compile(r"^(```|~~~)(\w*)\n(.*?)^\1", re.DOTALL | re.MULTILINE)
SHELLS = ("", "sh", "console", "powershell", "bash")
OPTION = re.compile(r"(?:^|(?<=\s))(--?[a-zA-Z][\w-]*)")
OF_OTHERS = {"--model_args", "--apply_chat_template", "--tools", "--add-host", "--network"}
"""Options of other programs that pages name alone."""
TYPER = {"--help", "-h", "--install-completion", "--show-completion"}


def commands(text: str) -> Iterator[str]:
    """What stands in blocks for a shell, line by line, and in code within a line."""
    for _, language, block in FENCE.findall(text):
        if language in SHELLS:
            yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    yield from (code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", FENCE.sub("", text)))


def parts(command: str) -> Iterator[list[str]]:
    """The words of each program that a line starts, without comments, variables, prompts and texts in quotes."""
    line = re.sub(r"\"[^\"]*\"|'[^']*'", "TEXT", re.sub(r"(^|\s)#.*", "", command))
    for part in re.split(r"[|;<>]|&&|\$\(|\)", line):
        words = [word for word in part.split() if not re.fullmatch(r"\w+=\S*|\$", word)]
        if words:
            yield words


@cache
def command(name: str) -> Any:
    group: Any = get_command(app)
    context = group.make_context("foredraft", [], resilient_parsing=True)
    return group.get_command(context, ALIASES.get(name, name))


def options(found: Any) -> set[str]:
    return {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)} | TYPER


def wrong_in(words: list[str]) -> Iterator[str]:
    """What of a call of `foredraft` there is not."""
    said = " ".join(words)
    given = set(OPTION.findall(" ".join(words[1:])))
    name = next((word for word in words[1:] if not word.startswith("-")), "")
    if not re.fullmatch(r"[a-z]+", name) or name in ("help", "version"):
        known = options(get_command(app)) | options(command("app"))
    elif command(name) is None:
        yield f"{said}: there is no command {name}"
        return
    else:
        found = command(name)
        known = options(found)
        if hasattr(found, "commands"):
            inner = words[words.index(name) + 1 : words.index(name) + 2]
            if inner and re.fullmatch(r"[a-z]+", inner[0]):
                if inner[0] not in found.commands:
                    yield f"{said}: {name} has no command {inner[0]}"
                    return
                known = known | options(found.commands[inner[0]])
    yield from (f"{said}: {name} has no option {option}" for option in sorted(given - known))


def module_wrong_in(words: list[str]) -> Iterator[str]:
    """What of a call of `python -m` there is not, of modules that are ours."""
    name = words[words.index("-m") + 1]
    if name == "foredraft":
        yield from wrong_in(words[words.index("-m") + 1 :])
        return
    if name.split(".")[0] not in ("benchmarks", "foredraft", "tools", "tests", "training") or "NAME" in name:
        return
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    if spec is None or spec.origin is None:
        yield f"{' '.join(words)}: there is no module {name}"
        return
    source = Path(spec.origin).read_text(encoding="utf-8")
    for option in OPTION.findall(" ".join(words[words.index(name) + 1 :])):
        if f'"{option}"' not in source:
            yield f"{' '.join(words)}: {name} has no option {option}"


def wrong(text: str) -> list[str]:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    found: list[str] = []
    for line in commands(text):
        for words in parts(line):
            program = words[0].replace("\\", "/").rsplit("/", 1)[-1]
            if program in ("foredraft", "foredraft.exe"):
                found += wrong_in(words)
            elif program in ("python", "python3", "py") and "-m" in words[:-1]:
                found += module_wrong_in(words)
            elif program == "make":
                asked = [word for word in words[1:] if re.fullmatch(r"[a-z][\w-]*", word)]
                found += [f"{line}: make has no target {target}" for target in asked if target not in targets]
            elif re.match(r"(benchmarks|examples|tests|tools|training)/", words[0]) and not (ROOT / words[0]).exists():
                found.append(f"{line}: {words[0]} is not there")
    return found


def options_alone(text: str) -> Iterator[str]:
    """Options that stand in code within a line, without a command before them."""
    for code in re.findall(r"`(--[^`]+)`", FENCE.sub("", text)):
        yield from OPTION.findall(re.sub(r"\"[^\"]*\"", "TEXT", code.replace("\n", " ")))


@cache
def every_option() -> set[str]:
    found = options(get_command(app))
    for name in COMMANDS:
        group = command(name)
        for one in (group, *getattr(group, "commands", {}).values()):
            found |= options(one)
    for source in (ROOT / "benchmarks").glob("*.py"):
        found |= set(re.findall(r'"(--[a-z-]+)"', source.read_text(encoding="utf-8")))
    return found | OF_OTHERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_option_named_alone_exists(page: Path) -> None:
    assert set(options_alone(page.read_text(encoding="utf-8"))) <= every_option()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_exists(page: Path) -> None:
    assert wrong(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```sh\nforedraft runn\n```", "no command runn"),
        ("Use `foredraft run x --no-such-thing 3`.", "no option --no-such-thing"),
        ("```sh\nls | foredraft run x \\\n  --nothing\n```", "no option --nothing"),
        ("`foredraft config sett a b`", "no command sett"),
        ("`python -m benchmarks.nothing`", "no module benchmarks.nothing"),
        ("`python -m benchmarks.overhead --nothing`", "no option --nothing"),
        ("`make nothing`", "no target nothing"),
        ("`benchmarks/nothing.sh`", "not there"),
    ],
)
def test_what_does_not_exist_is_found(text: str, words: str) -> None:
    (found,) = wrong(text)
    assert words in found


def test_examples_for_other_programs_are_left_alone() -> None:
    assert wrong("```python\nforedraft.nothing --at-all\n```\n`pip install --no-such-option`") == []
