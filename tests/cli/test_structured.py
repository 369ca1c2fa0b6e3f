"""`--json-schema` and `--grammar`: the same text with a server and without one, and every mistake in words."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminals import COMMAND

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "number": {"type": "integer", "minimum": 3}},
    "required": ["name", "number"],
    "additionalProperties": False,
}
ASK = ("What is 2 + 3?", "-t", "0.8", "--seed", "5", "-n", "60")


def foredraft(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, **env},
    )


def test_a_servers_answer_has_the_same_text_as_ones_own(own_server: None, tmp_path: Path) -> None:
    gbnf = tmp_path / "lines.gbnf"
    gbnf.write_text('root ::= "yes" | "no, " [a-z]+ "."\n', encoding="utf-8")
    for how in (("--json-schema", json.dumps(SCHEMA)), ("--grammar", gbnf)):
        there = foredraft("run", *ASK, *how)
        here = foredraft("run", *ASK, *how, FOREDRAFT_NO_SERVER="1")
        assert there.returncode == here.returncode == 0, there.stderr + here.stderr
        assert re.search(r"^Answered by foredraft-demo of the server at .*, draft: \S+\.$", there.stderr, re.MULTILINE)
        assert "of the server at" not in here.stderr
        assert there.stdout == here.stdout
        if how[0] == "--json-schema":
            assert json.loads(here.stdout).keys() == {"name", "number"}
        else:
            assert here.stdout.startswith(("yes", "no, "))


def test_a_schema_may_lie_in_a_file_and_chat_and_verify_keep_to_it(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(SCHEMA).encode())
    checked = foredraft("verify", *ASK, "--json-schema", file, "--json")
    assert checked.returncode == 0, checked.stderr
    said = json.loads(checked.stdout)
    assert said["verdict"] in ("identical", "near-tie")
    assert said["drafted"]["stats"]["drafted"] > 0
    assert json.loads(said["plain"]["text"])["number"] >= 3
    talked = subprocess.run(
        [*COMMAND, "chat", "--json-schema", str(file), "-t", "0"],
        input="What is 2 + 3?\nWhat is 4 + 4?\n",
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert talked.returncode == 0, talked.stderr
    assert all(json.loads(line).keys() == {"name", "number"} for line in talked.stdout.splitlines())
    raw = foredraft("run", *ASK, "--raw", "--json-schema", file)
    assert json.loads(raw.stdout).keys() == {"name", "number"}


def test_what_a_schema_cannot_hold_an_answer_to_is_said() -> None:
    done = foredraft(
        "run", *ASK, "--json-schema", '{"type": "array", "items": {"type": "integer"}, "uniqueItems": true}'
    )
    assert done.returncode == 0, done.stderr
    assert "uniqueItems" in done.stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--json-schema", "none.json"), "--json-schema is 'none.json', but must be a file that can be read"),
        (("--json-schema", '{"a": '), "must be a JSON schema, or a file with one: Expecting value"),
        (("--json-schema", '{"type": "objekt"}'), "Invalid type: objekt"),
        (("--json-schema", "LIST"), "must be a JSON schema, which is an object"),
        (("--grammar", "GBNF"), "must be a grammar in GBNF or Lark"),
        (("--grammar", "LARK"), "must be a grammar that can be used"),
        (("--grammar", "GBNF", "--json-schema", "{}"), "must be left out beside --json-schema"),
    ],
)
def test_mistakes_are_said_before_anything_is_loaded(given: tuple[str, ...], says: str, tmp_path: Path) -> None:
    files = {"GBNF": b'root ::= ("a" \n', "LARK": b"start: foo\n", "LIST": b"[1]"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    args = [str(tmp_path / word) if word in files else word for word in given]
    for as_json in ((), ("--json",)):
        done = foredraft("run", "Hi", *args, *as_json)
        assert done.returncode == 2
        assert says in (json.loads(done.stdout)["error"]["message"] if as_json else done.stderr)
        assert "main:" not in done.stderr
