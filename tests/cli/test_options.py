"""Options, settings and defaults: which value is in force, and under which name a wrong one is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foredraft.cli.main import report_error
from foredraft.cli.options import GenerateOptions, declared_options
from foredraft.config.settings import config_file
from foredraft.core.errors import ParameterError
from foredraft.demo import main_path


def write(text: str) -> None:
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(text, encoding="utf-8")


def test_settings_fill_what_was_not_said() -> None:
    write("[sampling]\ntop_k = 7\n[draft]\nmethod = 'ngram'\nmin_draft = 2\n[load]\nbatch = 64\npromise = 'strict'\n")
    asked = GenerateOptions(top_k=3, mmap=False).with_settings()
    assert (asked.top_k, asked.top_p, asked.method, asked.min_draft) == (3, 0.95, "ngram", 2)
    assert asked.speculation().min_draft == 2
    loaded = asked.settings()
    assert (loaded.batch, loaded.promise, loaded.mmap, loaded.slots) == (64, "strict", False, 1)


def test_the_section_of_a_model_holds_for_the_default_too(tmp_path: Path) -> None:
    write("[model.'foredraft-demo']\ncontext = 512\ncontroller = 'fixed'\n")
    for model in (None, "foredraft-demo"):
        asked = GenerateOptions(model=model).with_settings().settings()
        assert (asked.context, asked.controller) == (512, "fixed")
    plain = tmp_path / "noext"  # a file that the shelf does not know is none of the model sections'
    shutil.copy(main_path(), plain)
    assert GenerateOptions(model=str(plain)).with_settings().settings().context is None


@pytest.mark.parametrize("name", sorted(declared_options()))
def test_a_wrong_value_is_refused_by_the_name_of_its_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = declared_options()[name]
    if one.kind is bool:
        pytest.skip("its option takes no value")
    value = "nonsense" if one.param.choices is not None or one.kind is str else one.kind(-1e9)
    asked = GenerateOptions(**{name: value}).with_settings()
    with pytest.raises(ParameterError) as refused:
        asked.check()
    assert report_error(refused.value) == 2
    assert capsys.readouterr().err.startswith(f"Error: {one.options[0]} is ")


def test_help_names_what_can_be_chosen() -> None:
    from foredraft.cli.main import app

    said = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "220", "TERM": "dumb"}).output
    for name, one in declared_options().items():
        assert one.options[0].partition("/")[0] in said, name
        for word in one.words():
            assert word in said, (name, word)
