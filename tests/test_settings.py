"""Settings: which source wins, where each value comes from, and what is said about wrong ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from foredraft.config.settings import Settings, config_file, load_settings, resolve, template
from foredraft.config.shelf_settings import shelf_settings
from foredraft.core.errors import SettingsError


def write(text: str) -> Path:
    file = config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def origins(**flags: Any) -> dict[str, tuple[Any, str]]:
    found = resolve({key.replace("__", "."): value for key, value in flags.items()}).origins
    return {key: (entry.value, entry.source) for key, entry in found.items() if entry.source != "default"}


def test_defaults_without_any_file() -> None:
    assert origins() == {}
    assert load_settings() == Settings()
    assert load_settings().server.port == 3673


def test_each_source_beats_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("# mine\n[load]\ncontext = 1000\nslots = 2\nkv_type = 'q8_0'\n\n[draft]\nmodel = 'off'\n")
    monkeypatch.setenv("FOREDRAFT_LOAD__CONTEXT", "2000")
    monkeypatch.setenv("FOREDRAFT_LOAD__SLOTS", "3")
    assert origins(load__slots=4, load__threads=None) == {
        "load.context": (2000, "FOREDRAFT_LOAD__CONTEXT"),
        "load.slots": (4, "flag"),
        "load.kv_type": ("q8_0", f"{file}, line 5"),
        "draft.model": ("off", f"{file}, line 8"),
    }


def test_another_file_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[load]\nslots = 7\n", encoding="utf-8")
    monkeypatch.setenv("FOREDRAFT_CONFIG", str(other))
    assert load_settings().load.slots == 7


def test_a_named_file_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREDRAFT_CONFIG", str(tmp_path / "nothing.toml"))
    for read in (load_settings, shelf_settings):
        with pytest.raises(SettingsError, match="FOREDRAFT_CONFIG names this file"):
            read()


def test_defaults_of_one_model() -> None:
    write("[load]\ncontext = 4096\n[model.'qwen2.5-14b']\ndraft = 'qwen2.5-0.5b'\nkv_type = 'q8_0'\n")
    settings = load_settings()
    own = settings.for_model("qwen2.5-14b@q4_k_m")
    assert (own.draft, own.context, own.kv_type, own.gpu_layers) == ("qwen2.5-0.5b", 4096, "q8_0", -1)
    other = settings.for_model("llama")
    assert (other.draft, other.context, other.kv_type) == ("auto", 4096, "f16")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[load]\ncontext = 'many'\n", 2, "load.context is 'many', but must be a whole number"),
        ("[load]\n\ncontext = -1\n", 3, "must be at least 0"),
        ("[load]\nkv_type = 'q9'\n", 2, "must be one of f32, f16, bf16, q8_0"),
        ("[load]\nkv_typ = 'f16'\n", 2, "Did you mean: kv_type? Allowed in [load] are context, "),
        ("\n[laod]\nslots = 1\n", 2, "there is no setting 'laod'. Did you mean: load?"),
        ("load = 3\n", 1, "must be a table"),
        ("[server]\nport = 99999\n", 2, "at most 65535"),
        ("[draft]\np_min = 'x'\n", 2, "must be a number"),
        ("[models]\nlmstudio = 'perhaps'\n", 2, "must be true or false"),
        ("[models]\nfolders = ['/a', 3]\n", 2, "must be a path"),
        ("[model.m]\ndraff = 'x'\n", 2, "Did you mean: draft?"),
        ("[load\n", 1, "this is not TOML"),
        ("[load]\nslots = \n", 2, "this is not TOML"),
    ],
)
def test_faults_of_the_file_are_named_with_their_line(text: str, line: int, words: str) -> None:
    file = write(text)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert raised.value.line == line
    assert str(file) in str(raised.value)
    assert words in str(raised.value)


def test_faults_of_the_environment_and_of_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"flag: load\.context is -1"):
        load_settings({"load.context": -1})
    monkeypatch.setenv("FOREDRAFT_LOAD__CONTEXT", "x")
    with pytest.raises(SettingsError, match=r"FOREDRAFT_LOAD__CONTEXT: load\.context is 'x'"):
        load_settings()


def test_a_file_that_cannot_be_read() -> None:
    config_file().parent.mkdir(parents=True)
    config_file().mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


def test_secrets_are_not_shown() -> None:
    write("[server]\napi_key = 'abc123'\n")
    resolved = resolve()
    assert "abc123" not in repr(resolved)
    assert resolved.settings.server.api_key is not None
    assert resolved.settings.server.api_key.get_secret_value() == "abc123"
    write("[server]\napi_key = ['abc123']\n")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "abc123" not in str(raised.value)


def test_the_written_template_changes_nothing() -> None:
    import tomllib

    assert all(not values for values in tomllib.loads(template()).values())
    write(template())
    assert load_settings() == Settings()
    for section in Settings.model_fields:
        assert section in template()


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("", {}),
        ("[models]\ndirectory = '~/m'\nfolders = ['/a', '~/b']\nlmstudio = false\n[interface]\nlanguage = 'ja'\n", {}),
        ("[load]\nslots = 2\n", {"FOREDRAFT_MODELS__FOLDERS": os.pathsep.join(("/x", "/y"))}),
        ("[models]\nfolders = ['/a']\n", {"FOREDRAFT_MODELS__FOLDERS": "", "FOREDRAFT_MODELS__HUGGINGFACE": "off"}),
        ("", {"FOREDRAFT_MODELS__DIRECTORY": "/d", "FOREDRAFT_INTERFACE__LANGUAGE": "en"}),
        ("[models]\nfolders = '/single'\n", {}),
        ("", {"FOREDRAFT_MODELS": '{"lmstudio": false}'}),
        ("[models]\nollama = false\n", {"FOREDRAFT_MODELS__LLAMA_CPP": "no"}),
    ],
)  # fmt: skip
def test_the_quick_look_agrees_with_the_whole(
    text: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    whole, quick = load_settings(), shelf_settings()
    assert quick.directory == whole.models.directory
    assert list(quick.folders) == whole.models.folders
    for program in ("huggingface", "lmstudio", "ollama", "llama_cpp"):
        assert getattr(quick, program) == getattr(whole.models, program)
    assert quick.language == whole.interface.language


@pytest.mark.parametrize(
    "text",
    [
        "[models]\nfolder = []\n",
        "[models]\nlmstudio = 'x'\n",
        "models = 1\n",
        "[interface]\nlanguage = 'fr'\n",
        "[",
    ],
)
def test_the_quick_look_leaves_faults_to_the_whole(text: str) -> None:
    write(text)
    with pytest.raises(SettingsError):
        shelf_settings()
