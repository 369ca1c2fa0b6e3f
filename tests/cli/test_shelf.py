"""The shelf's commands as a person and as a program use them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from foredraft.cli.main import app
from foredraft.config.folders import cache_folder, data_folder
from foredraft.config.shelf import open_shelf
from foredraft.core import json_cache
from foredraft.models import hub as hub_module
from foredraft.models.cache import Measured
from foredraft.pair.speculation import file_identity, library_version, machine
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.words import languages
from tests.models.gguf_bytes import model, write
from tests.models.hub_server import Hub, serve

Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command. The result's `data` is its JSON, where `--json` was asked for."""
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)

    def run(*args: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        assert result.exit_code == code, result.output
        result.data = json.loads(result.stdout) if "--json" in args and result.stdout else None
        return result

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A further folder with a main model, a draft that fits, and one that does not."""
    monkeypatch.setenv("FOREDRAFT_MODELS__FOLDERS", str(tmp_path / "models"))
    write(tmp_path / "models" / "Big-Q8_0.gguf", model(params=32 * 400, kind="Q8_0"))
    write(tmp_path / "models" / "Small-Q8_0.gguf", model(params=32 * 40, kind="Q8_0"))
    write(tmp_path / "models" / "Other-Q8_0.gguf", model(params=32 * 30, kind="Q8_0", tokenizer="llama"))
    return tmp_path / "models"


# ---- ls, show, pair ----


def own(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in data if entry["source"] != "embedded"]


def test_ls_lists_what_is_there(cli: Cli, folder: Path) -> None:
    lines = cli("ls").stdout.splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "PARAMS", "CONTEXT", "DRAFT", "LOCATION"]
    assert any(line.startswith("big@q8_0") and line.endswith("folder") for line in lines)
    data = own(cli("ls", "--json").data)
    assert [entry["name"] for entry in data] == ["big@q8_0", "other@q8_0", "small@q8_0"]
    assert data[0]["params"] == 32 * 400
    assert data[0]["usable"]


def test_the_draft_column_shows_what_was_measured(cli: Cli, folder: Path) -> None:
    shelf = open_shelf()
    shelf.remember_measured(shelf.find("big"), shelf.find("small"), Measured(1.52, 1.4, 1.6, 10, 15, "2026-11-23"))
    assert "small@q8_0 (1.5×)" in cli("ls").stdout
    assert own(cli("ls", "--json").data)[0]["draft"] == {
        "draft": "small@q8_0",
        "expected_speedup": None,
        "measured_speedup": 1.52,
    }
    assert "measured 1.52× here" in cli("show", "big").stdout


# ---- what was learned about pairs ----


def keep(main: Path, draft: Path | None, passes: dict[int, float], step: float | None = None) -> None:
    """Costs as a load on this machine keeps them."""
    costs = CostModel(passes, step)
    costs.measured_at = 1.8e9
    files = {"main": file_identity(main), "draft": draft and file_identity(draft)}
    key = {**files, "machine": machine(), "library": library_version(), "threads": 2}
    assert json_cache.write(cache_folder() / "tuning", "costs", key, costs.to_dict(), [])


def test_tune_shows_what_is_kept_with_dates_and_forgets_it(cli: Cli, folder: Path) -> None:
    assert "Nothing is kept yet" in cli("tune").stdout
    big, small = folder / "Big-Q8_0.gguf", folder / "Small-Q8_0.gguf"
    keep(big, small, {1: 0.1, 2: 0.11, 4: 0.16, 8: 0.4}, 0.02)
    keep(small, None, {1: 0.02, 8: 0.1})
    (damaged,) = (cache_folder() / "tuning" / "costs-0.json",)
    damaged.write_text("{", encoding="utf-8")
    lines = cli("tune").stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("Big-Q8_0.gguf"))
    assert line.split()[1:3] == ["Small-Q8_0.gguf", "costs"]
    assert all(figure in line for figure in ("100 ms", "2.5×", "20 %", "1.8×", "2027-01-1"))
    assert any(line.startswith("cannot be read") for line in lines)
    rows = cli("tune", "big", "--json").data["kept"]
    assert [(row["main"], row["draft"], row["settings"]) for row in rows] == [
        ("Big-Q8_0.gguf", "Small-Q8_0.gguf", {"threads": 2})
    ]
    assert "Nothing is kept about 'nobody'" in cli("tune", "nobody", code=1).stderr
    assert "1 file about 1 pairs" in cli("tune", "big", "--forget").stdout
    assert not any("Big" in line for line in cli("tune").stdout.splitlines())
    cli("tune", "--forget")
    assert not list((cache_folder() / "tuning").iterdir())


def test_pair_says_what_would_pay_where_what_was_measured_does_not(cli: Cli, folder: Path) -> None:
    shelf = open_shelf()
    big, small = shelf.find("big"), shelf.find("small")
    keep(big.path, small.path, {1: 0.1, 2: 0.17, 4: 0.25, 8: 0.42}, 0.15)
    assert "What would help" not in cli("pair", "big").stdout, "nobody has measured what it brings"
    shelf.remember_measured(big, small, Measured(0.9, 0.8, 1.0, 10, 9, "2026-11-30"))
    text = cli("pair", "big").stdout
    assert text.endswith(
        "What would help here:\n"
        "- drafting from the text, without a draft model (up to 1.9×, where the text repeats itself)\n"
    )
    (way,) = cli("pair", "big", "--json").data["would_pay"]
    assert (way["kind"], way["at_most"], set(way["reasons"])) == (
        "found",
        pytest.approx(1.905, abs=0.01),
        set(languages()),
    )
    assert way["why"] == {"code": "way_found", "numbers": {"x": way["at_most"]}, "message": way["reasons"]["en"]}
    shelf.remember_measured(big, small, Measured(1.3, 1.2, 1.4, 10, 13, "2026-11-30"))
    assert cli("pair", "big", "--json").data["would_pay"] == []


def test_without_models_ls_and_the_bare_program_say_what_to_get(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr("foredraft.cli.serve.serve", lambda **given: started.append(given))
    for result in (cli("ls"), cli("--no-browser")):
        assert "foredraft get" in result.stderr
        assert len(result.stderr.splitlines()) == 3
    assert len(started) == 1


def test_show_tells_everything_and_hides_nothing_dangerous(cli: Cli, folder: Path) -> None:
    write(folder / "evil.gguf", model(extra={"general.name": "a\x1b[2Jb"}))
    text = cli("show", "evil").stdout
    assert "\x1b" not in text
    assert "a�[2Jb" in text
    data = cli("show", "big", "--json").data
    assert data["tokenizer"]["tokens"] == 40
    assert data["architecture"] == "llama"
    assert "memory" in cli("show", "big").stdout


def test_a_quantisation_that_the_file_gets_wrong_is_said_twice(cli: Cli, folder: Path) -> None:
    write(folder / "Odd.gguf", model(kind="Q8_0", extra={"general.file_type": 1}))
    line = next(line for line in cli("show", "odd").stdout.splitlines() if line.startswith("quantisation"))
    assert line.split(maxsplit=1)[1] == "Q8_0 (by its tensors; the file says F16): Q8_0 100 % of the weights"
    shown = cli("show", "odd", "--json").data
    assert (shown["quantisation"], shown["quantisation_said"]) == ("Q8_0", "F16")
    assert shown["quantisation_mix"] == {"Q8_0": 1}
    listed = {entry["name"]: entry["quantisation_said"] for entry in own(cli("ls", "--json").data)}
    assert (listed["odd@q8_0"], listed["big@q8_0"]) == ("F16", None)


def test_pair_gives_verdicts_for_all_or_for_some(cli: Cli, folder: Path) -> None:
    data = cli("pair", "big", "--json").data
    assert data["main"] == "big@q8_0"
    verdicts = {entry["draft"]: entry for entry in data["drafts"]}
    small, other = verdicts["small@q8_0"], verdicts["other@q8_0"]
    assert set(small) >= {
        "draft", "level", "usable", "code", "reasons", "numbers", "expected_speedup", "measured_speedup",
    }  # fmt: skip
    assert (small["usable"], small["code"], small["level"]) == (True, "vocab_same", "works")
    assert set(small["reasons"]) == set(languages())
    assert small["why"]["message"] == small["reasons"]["en"]
    assert small["expected_speedup"] >= 1
    assert (other["usable"], other["code"], other["expected_speedup"]) == (False, "vocab_kind", None)
    assert [entry["draft"] for entry in cli("pair", "big", "other", "--json").data["drafts"]] == ["other@q8_0"]
    assert "Different kind of tokenizer" in cli("pair", "big").stdout


def test_pair_speaks_japanese(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREDRAFT_INTERFACE__LANGUAGE", "ja")
    assert "同じトークナイザー" in cli("pair", "big").stdout
    assert "ドラフト" in cli("show", "big").stdout


def test_pair_force_warns(cli: Cli, folder: Path) -> None:
    result = cli("pair", "big", "other", "--force")
    assert "Warning: other@q8_0 is used although" in result.stderr
    assert cli("pair", "big", "other", "--force", "--json").data["drafts"][0]["forced"]


def test_pair_measure_keeps_what_it_finds(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    import foredraft.bench.pair
    import foredraft.pair.llm

    class Loaded:
        def __enter__(self) -> Loaded:
            return self

        def __exit__(self, *_: object) -> None: ...

    def measure(_: Loaded, seconds: float) -> Iterator[SimpleNamespace]:
        assert seconds == 3.0
        yield SimpleNamespace(share=0.1, speedup=None)
        yield SimpleNamespace(share=1.0, speedup=1.4, low=1.3, high=1.5, plain_speed=10.0, draft_speed=14.0)

    monkeypatch.setattr(foredraft.pair.llm.LLM, "load", lambda *_, **__: Loaded())
    monkeypatch.setattr(foredraft.bench.pair, "measure_pair", measure)
    data = cli("pair", "big", "small", "--measure", "--seconds", "3", "--json").data["drafts"][0]
    assert (data["measured_speedup"]["speedup"], data["measured_speedup"]["low"]) == (1.4, 1.3)
    assert "1.40× measured (1.30–1.50)" in cli("pair", "big", "small").stdout


# ---- errors ----


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        (("show", "bigg"), "model_not_found", "big@q8_0"),
        (("show", "q8_0@"), "model_not_found", ""),
        (("pair", "big", "nothing"), "model_not_found", "nothing"),
        (("rm", "big"), "model", "not Foredraft's own folder"),
        (("load", "big"), "no_server", ""),
        (("load", "big", "--estimate-only", "--draft", "other"), "incompatible_draft", "Different kind"),
    ],
)
def test_errors_have_a_code_and_a_way_on(cli: Cli, folder: Path, args: tuple[str, ...], error: str, words: str) -> None:
    data = cli(*args, "--json", code=1).data["error"]
    assert data["code"] == error
    assert words in data["message"] + data["hint"]
    plain = cli(*args, code=1)
    assert plain.stderr.startswith("Error: ")
    assert "Traceback" not in plain.output


def test_a_wrong_value_is_named_as_it_was_typed(cli: Cli, folder: Path) -> None:
    error = cli("load", "big", "--estimate-only", "--kv-type", "q9", "--json", code=2).data["error"]
    assert error["code"] == "parameter"
    assert error["message"].startswith("--kv-type is 'q9', but must be one of f32")


def test_ambiguous_names_are_answered_with_the_candidates(cli: Cli, folder: Path) -> None:
    write(folder / "Big-Q4_0.gguf", model(params=32 * 300, kind="Q4_0"))
    assert "big@q4_0, big@q8_0" in cli("show", "big", code=1).stderr


def test_a_wrong_setting_is_named_with_its_line(cli: Cli, folder: Path) -> None:
    file = Path(cli("config", "path").stdout.strip())
    write(file, b"[load]\nslots = 'x'\n")
    assert "config.toml, line 2: load.slots is 'x'" in cli("config", "show", code=1).stderr


# ---- rm, import, config, load ----


def test_import_and_rm(cli: Cli, tmp_path: Path) -> None:
    file = write(tmp_path / "x" / "New-Q8_0.gguf", model(kind="Q8_0", params=3200))
    assert cli("import", file, "--json").data["source"] == "imported"
    assert cli("rm", "new", code=1).stderr.startswith("Error: Deleting needs a yes")
    assert "Forgot new@q8_0" in cli("rm", "new", "--yes").stdout
    assert file.exists()
    assert cli("import", file, "--copy", "--json").data["source"] == "own"
    assert "Deleted new@q8_0" in cli("rm", "new", "-y").stdout
    assert file.exists()
    assert cli("import", file, "--move", "--json").data["source"] == "own"
    assert not file.exists()
    assert cli("rm", "new", "-y", "--json").data["freed_bytes"] > 0
    cli("import", tmp_path / "gone.gguf", code=1)
    cli("import", file, "--copy", "--move", code=2)


def test_config_says_where_each_value_comes_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREDRAFT_LOAD__SLOTS", "3")
    file = cli("config", "init").stdout.strip()
    assert cli("config", "path").stdout.strip() == file
    assert "there already" in cli("config", "init", code=1).stderr
    write(Path(file), b"[server]\napi_key = 'secret1'\nport = 4000\n")
    data = cli("config", "show", "--json").data["settings"]
    assert data["load.slots"] == {"value": 3, "source": "FOREDRAFT_LOAD__SLOTS"}
    assert data["server.port"] == {"value": 4000, "source": f"{file}, line 3"}
    assert data["load.kv_type"]["source"] == "default"
    assert "secret1" not in cli("config", "show").stdout + json.dumps(data)


def test_load_estimates_with_the_draft_and_refuses_with_numbers(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from foredraft.models import memory

    data = cli("load", "big", "--estimate-only", "--draft", "small", "--context", "4096", "--json").data
    assert data["fits"]
    assert data["total"] == data["main"]["total"] + data["draft"]["total"]
    assert (data["context"], data["draft_name"]) == (4096, "small@q8_0")
    assert "it fits" in cli("load", "big", "--estimate-only").stdout
    monkeypatch.setattr(memory, "this_machine", lambda: memory.Machine(9_000_000, 10**9))
    data = cli("load", "big", "--estimate-only", "--context", "8192", "--json", code=1).data
    assert (data["fits"], data["hint"].split()[:3]) == (False, ["This", "fits:", "--context"])
    refused = cli("load", "big", "--estimate-only", "--context", "8192", code=1)
    assert "it does not fit" in refused.stdout
    assert "are free" in refused.stderr
    assert "This fits: --context" in refused.stderr
    assert "it does not fit" in cli("load", "big", "--estimate-only", "--guardrail", "off", "--context", "8192").stdout


# ---- get ----


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    main, draft = "Qwen/Qwen2.5-14B-Instruct-GGUF", "Qwen/Qwen2.5-0.5B-Instruct-GGUF"
    made = Hub(
        {
            main: {
                "qwen2.5-14b-instruct-q4_k_m.gguf": model(params=32 * 500),
                "qwen2.5-14b-instruct-q8_0.gguf": model(params=32 * 900, kind="Q8_0"),
            },
            draft: {"qwen2.5-0.5b-instruct-q8_0.gguf": model(params=32 * 50, kind="Q8_0")},
        }
    )
    server = serve(made)
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setattr(hub_module, "RETRY_SECONDS", 0)
    yield made
    server.shutdown()
    server.server_close()


def test_get_by_catalogue_name_with_its_draft(cli: Cli, hub: Hub) -> None:
    data = cli("get", "qwen2.5-14b-instruct@q8_0", "--with-draft", "--json").data
    assert [entry["name"] for entry in data] == ["qwen2.5-14b-instruct@q8_0", "qwen2.5-0.5b-instruct@q8_0"]
    assert all(Path(entry["path"]).is_file() for entry in data)
    listed = {entry["name"]: entry for entry in cli("ls", "--json").data}
    assert listed["qwen2.5-14b-instruct@q8_0"]["source"] == "own"
    assert cli("pair", "qwen2.5-14b", "--json").data["drafts"][-1]["usable"] in (True, False)


def test_pull_is_get_and_list_downloads_nothing(cli: Cli, hub: Hub) -> None:
    text = cli("pull", "Qwen/Qwen2.5-14B-Instruct-GGUF", "--list").stdout
    assert [line.split()[0] for line in text.splitlines()] == ["QUANT", "Q8_0", "Q4_K_M"]
    choices = cli("get", "qwen2.5-14b-instruct", "--list", "--json").data["choices"]
    assert all(choice["fits"] for choice in choices)
    assert hub.downloads() == []


def test_get_alone_lists_the_catalogue(cli: Cli) -> None:
    assert "deepseek-r1-distill-qwen-32b" in cli("get").stdout
    assert cli("get", "--json").data[0]["repository"].count("/") == 1


def test_a_download_leaves_no_locks_behind_and_rm_no_folders(cli: Cli, hub: Hub) -> None:
    cli("get", "qwen2.5-14b-instruct@q8_0")
    own = data_folder() / "models"
    assert [path.suffix for path in own.rglob("*.*") if path.is_file() and path.parent != own] == [".gguf"]
    cli("rm", "qwen2.5-14b-instruct@q8_0", "--yes")
    assert [path for path in own.iterdir() if path.is_dir()] == []


def test_progress_goes_into_a_log_in_lines(cli: Cli, hub: Hub) -> None:
    said = cli("get", "qwen2.5-14b-instruct@q8_0").stderr.splitlines()
    lines = [line for line in said if " % of " in line]
    assert lines[-1].startswith("qwen2.5-14b-instruct-q8_0.gguf: 100 % of ")
    assert len(lines) <= 11


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("llama3.2:1b", "llama-3.2-1b-instruct"),
        ("llama3.2", "llama-3.2-1b-instruct"),
        ("qwen2.5-coder:7b", "qwen2.5-coder-7b-instruct"),
        ("qwen2.5", "qwen2.5-14b-instruct"),
    ],
)
def test_names_of_ollama_suggest_ours(cli: Cli, typed: str, meant: str) -> None:
    error = cli("get", typed, "--json", code=1).data["error"]
    assert error["reason"] == "not_found"
    assert meant in error["hint"]


def test_what_is_no_model_is_told_what_to_do(cli: Cli, tmp_path: Path) -> None:
    assert "`foredraft ls`" in cli("show", "nothing-like-it", code=1).stderr
    assert "It is a folder" in cli("show", str(tmp_path), code=1).stderr


def test_a_draft_that_is_too_large_loads_and_brings_nothing(cli: Cli) -> None:
    said = cli("pair", "foredraft-demo-draft", "foredraft-demo").stdout
    assert "No gain" in said
    assert "Not usable" not in said


def test_failed_downloads_have_a_reason(cli: Cli, hub: Hub) -> None:
    assert "status 500" in _failing(cli, hub)
    assert cli("get", "owner/missing", "--json", code=1).data["error"]["code"] == "download"
    assert "It has: Q8_0, Q4_K_M" in cli("get", "qwen2.5-14b-instruct@q2_k", code=1).stderr


def _failing(cli: Cli, hub: Hub) -> str:
    hub.fail_with = 500
    text = cli("get", "qwen2.5-14b-instruct", code=1).stderr
    hub.fail_with = 0
    return str(text)


# ---- the program itself ----


def test_names_are_completed(cli: Cli, folder: Path) -> None:
    from foredraft.cli.models import complete_model

    assert complete_model("b") == ["big@q8_0"]
    assert complete_model("zz") == []


def test_ls_imports_neither_the_engine_nor_the_interface(folder: Path) -> None:
    code = (
        "import sys; sys.argv = ['foredraft', 'ls', '--json']\n"
        "from foredraft.cli.main import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    for _ in range(2):  # the second time with a warm cache
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stderr.strip().splitlines()[-1].replace("'", '"')))
    heavy = {"llama_cpp", "numpy", "nicegui", "fastapi", "uvicorn", "pydantic_settings", "huggingface_hub", "jinja2"}
    assert loaded & heavy == set()


def test_help_lists_every_command(cli: Cli) -> None:
    text = cli("--help").stdout
    for name in ("ls", "show", "pair", "get", "rm", "import", "load", "config"):
        assert f" {name} " in text
    assert cli("nope", code=2).exit_code == 2


def test_what_is_not_given_comes_from_the_settings(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foredraft.cli.options import GenerateOptions

    file = Path(cli("config", "path").stdout.strip())
    write(file, b"[load]\nkv_type = 'q8_0'\ncontext = 512\n[model.'big@q8_0']\ndraft = 'small'\ncontext = 700\n")
    plain = GenerateOptions().with_settings()
    assert (plain.draft, plain.context, plain.settings().kv_type) == ("auto", 512, "q8_0")
    big = GenerateOptions(model="big").with_settings()  # a short form finds the model's own section
    assert (big.draft, big.context, big.settings().kv_type) == ("small", 700, "q8_0")
    given = GenerateOptions(model="big", draft="off", context=64, kv_type="f16", mmap=False).with_settings()
    assert (given.draft, given.context, given.kv_type, given.mmap) == ("off", 64, "f16", False)
