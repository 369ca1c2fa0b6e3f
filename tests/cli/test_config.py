"""`foredraft config`: values go into the file one by one, and nothing wrong is ever written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foredraft.cli.main import app
from foredraft.cli.options import GenerateOptions
from foredraft.cli.serve import serve
from foredraft.config.settings import config_file, load_settings
from foredraft.server.context import ServerSettings

Cli = Callable[..., str]


@pytest.fixture
def cli(user_folders: Any) -> Cli:
    def run(*args: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["config", *args])
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_values_are_set_read_and_taken_out(cli: Cli) -> None:
    cli("set", "load.context", "4096")
    assert load_settings().load.context == 4096
    assert cli("get", "load.context").strip() == "4096"
    cli("set", "models.folders", "/a", "/b c")
    assert [str(folder) for folder in load_settings().models.folders] == ["/a", "/b c"]
    cli("set", 'model."qwen2.5-7b".draft', "off")
    assert load_settings().for_model("qwen2.5-7b@q4_k_m").draft == "off"
    cli("set", "draft.model", "123")  # a text that looks like a number
    assert load_settings().draft.model == "123"
    assert "taken out" in cli("unset", "load.context")
    assert load_settings().load.context is None
    assert "not set" in cli("unset", "load.context")


def test_comments_and_order_stay(cli: Cli) -> None:
    before = "# mine\n[load]\nslots = 2  # two\n\n[draft]\n# later\nmin_draft = 1\n"
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(before, encoding="utf-8")
    cli("set", "load.slots", "3")
    assert config_file().read_text(encoding="utf-8") == before.replace("slots = 2", "slots = 3")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("set", "load.context", "many"), "whole number"),
        (("set", "load.contxt", "1"), "Did you mean: context"),
        (("set", "server.port", "99999"), "at most 65535"),
        (("get", "load.contxt"), "Did you mean: load.context"),
    ],
)
def test_what_is_wrong_is_never_written(cli: Cli, args: tuple[str, ...], says: str) -> None:
    cli("set", "load.slots", "2")
    before = config_file().read_text(encoding="utf-8")
    result = CliRunner().invoke(app, ["config", *args])
    assert result.exit_code != 0
    assert says in result.output
    assert config_file().read_text(encoding="utf-8") == before
    assert [path.name for path in config_file().parent.iterdir()] == [config_file().name]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_stays_one(cli: Cli, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("[load]\nslots = 2\n", encoding="utf-8")
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().symlink_to(real)
    cli("set", "load.slots", "3")
    assert config_file().is_symlink()
    assert "slots = 3" in real.read_text(encoding="utf-8")


def test_a_secret_is_not_printed(cli: Cli) -> None:
    assert "abc123" not in cli("set", "server.api_key", "abc123")
    assert "abc123" not in cli("get", "server.api_key")
    assert "abc123" not in cli("list")


def test_the_environment_is_stronger_and_that_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREDRAFT_LOAD__CONTEXT", "77")
    assert "77 is in force" in cli("set", "load.context", "99")


def test_what_conversations_begin_with_has_its_defaults(cli: Cli) -> None:
    cli("set", "chat.system_prompt", "Be brief.")
    cli("set", "chat.max_tokens", "7")
    asked = GenerateOptions().with_settings()
    assert (asked.system, asked.max_tokens) == ("Be brief.", 7)
    asked = GenerateOptions(system="Be long.", max_tokens=9).with_settings()
    assert (asked.system, asked.max_tokens) == ("Be long.", 9), "what is said is stronger"
    cli("set", "chat.max_tokens", "0", code=1)


def test_the_servers_options_are_settings(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"queue": "3", "ttl": "-1", "on_demand": "false", "log_prompts": "true"}.items():
        cli("set", f"server.{name}", value)
    made: dict[str, Any] = {}

    class Begun(Exception):
        pass

    def runtime(*_: Any, queue_limit: int, **__: Any) -> None:
        made["queue"] = queue_limit

    def services(_: Any, __: Any, settings: ServerSettings, **___: Any) -> None:
        made.update(ttl=settings.ttl_s, on_demand=settings.load_on_demand, log_prompts=settings.log_prompts)
        raise Begun

    monkeypatch.setattr("foredraft.runtime.runtime.Runtime", runtime)
    monkeypatch.setattr("foredraft.server.context.Services", services)
    with pytest.raises(Begun):
        serve(port=0)
    assert made == {"queue": 3, "ttl": None, "on_demand": False, "log_prompts": True}
    with pytest.raises(Begun):
        serve(port=0, queue=9, ttl=60, on_demand=True, log_prompts=False)
    assert made == {"queue": 9, "ttl": 60.0, "on_demand": True, "log_prompts": False}
