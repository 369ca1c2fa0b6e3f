"""Nobody reads a language that was not chosen: the main paths of command line and app in other languages than English.

What counts as English: four words of Latin letters in a row, one of them a word that English sentences cannot do
without ("the", "is", "not" …) and no other language here has. Names, numbers, paths, options and commands are left out
before: what stands in quotes of any kind or between backticks, after `foredraft`, and words with a digit, a dot, an
underscore, a slash or a capital inside.
"""

import re
from pathlib import Path

import pytest

import foredraft
from foredraft.core import errors
from foredraft.core.reasons import Reason
from foredraft.words import languages, words
from foredraft.words.catalogue import Plural, catalogue
from tests.models.gguf_bytes import model, write
from tests.ui.conftest import *  # noqa: F403 - the app's fixtures

SOURCES = Path(foredraft.__file__).parent
OTHERS = [language for language in languages() if language != "en"]
ENGLISH = frozenset(
    word
    for line in (
        "the is are not of to and with without for that this it its has have cannot be by no your you from or",
        "there here which what when already",
    )
    for word in line.split()
)
DATA = {
    "engines/probe.py": "natural texts that are read to measure rounding",
    "engines/toy/tokenizer.py": "a vocabulary",
    "engines/llamacpp/trial_child.py": "texts that a tokenizer is tried with",
}
"""Files of code with texts in Japanese that nobody reads."""


def english(text: str) -> list[str]:
    """Runs of English words."""
    text = re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'|“[^”]*”|„[^“]*“|「[^」]*」", " · ", text)
    text = re.sub(r"foredraft [^。、;·]*", " · ", text)
    found = []
    for run in re.findall(r"(?:(?<![\w./~@-])[A-Za-z]+[,;:]?(?![\w./@-])\s+){3,}[A-Za-z]+", text):
        parts = [part.strip(",;:") for part in run.split()]
        if ENGLISH & set(parts):
            found.append(run)
    return found


def test_the_judge_knows_english() -> None:
    assert english("Notiz: the draft is not loaded here")
    assert not english("ドラフト small@q8_0: 同じトークナイザー (foredraft pair big is not loaded here)")
    assert not english("Der Draft small@q8_0 wurde nicht geladen, weil er nicht passt")


@pytest.mark.parametrize("language", OTHERS)
def test_no_entry_of_another_language_is_english(language: str) -> None:
    wrong = {}
    for key, entry in catalogue(language).entries.items():
        for text in entry.forms.values() if isinstance(entry, Plural) else [entry]:
            if key != "palette.also" and english(re.sub(r"{[^}]*}", "X1", text)):
                wrong[key] = text
    assert not wrong


def test_no_japanese_stands_in_code() -> None:
    found = set()
    for path in [*SOURCES.rglob("*.py"), *SOURCES.rglob("*.js")]:
        if re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", path.read_text(encoding="utf-8")):
            found.add(path.relative_to(SOURCES).as_posix())
    assert found == set(DATA)


def test_no_code_asks_which_language_it_is() -> None:
    """But for English, whose words errors of other programs are in."""
    asking = re.compile(r"""language\w* *(?:==|!=|in) *[("'](?!en["'])|["'](?:ja|de)["']""")
    found = [
        (path.name, line)
        for path in SOURCES.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if asking.search(line)
    ]
    assert not found


ERRORS = [
    errors.EmptyPromptError(),
    errors.ContextOverflowError(9, 8),
    errors.ModelNotFoundError("x", nearest=("y",)),
    errors.AmbiguousModelError("x", ("x@a", "x@b")),
    errors.ParameterError("temperature", 9, Reason("allowed_number_between", {"low": "0", "high": "2"})),
    errors.IncompatibleDraftError(Reason("vocab_size", {"a": 3, "b": 4})),
    errors.ClosedError("x"),
    errors.EngineDiedError("x", "SIGKILL"),
    errors.NonFiniteLogitsError(3),
    errors.Cancelled(),
]


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_are_worded(error: errors.ForedraftError, language: str) -> None:
    message, hint = error.worded(words(language))
    assert message != error.message
    assert not english(f"{message} {hint}")
    assert error.worded(words("en")) == (error.message, error.hint)


# ---- the command line ----

COMMANDS = (
    ("ls",),
    ("show", "big"),
    ("show", "broken"),
    ("pair", "big"),
    ("pair", "big", "broken"),
    ("load", "big", "--estimate-only"),
    ("load", "big", "--estimate-only", "--context", "16000000"),
    ("get",),
    ("tune",),
    ("tune", "big", "--forget"),
    ("rm", "big"),
    ("ps",),
    ("run", "x", "--top-p", "9"),
    ("run", "x", "--model", "nope"),
    ("run", "x", "--model", "broken"),
    ("config", "get", "load.contxt"),
    ("config", "list"),
    ("chats",),
    ("nonsense",),
)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOREDRAFT_HOME", str(tmp_path))
    folder = tmp_path / "shelf"
    monkeypatch.setenv("FOREDRAFT_MODELS__FOLDERS", str(folder))
    for other in ("HUGGINGFACE", "LMSTUDIO", "OLLAMA", "LLAMA_CPP"):
        monkeypatch.setenv(f"FOREDRAFT_MODELS__{other}", "false")
    monkeypatch.setenv("FOREDRAFT_SERVER__PORT", "1")
    tokens = [f"t{i}" for i in range(40)]
    write(folder / "Big.gguf", model(kind="Q8_0", tokens=tokens, params=6400))
    write(folder / "Small.gguf", model(kind="Q8_0", tokens=tokens, params=640))
    write(folder / "Other.gguf", model(kind="Q8_0", tokens=tokens[:30], params=640, tokenizer="llama"))
    (folder / "broken.gguf").write_bytes(b"GGUF")
    return folder


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_command_line_speaks_the_users_language(
    command: tuple[str, ...],
    language: str,
    shelf: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from foredraft.cli.main import app

    monkeypatch.setenv("FOREDRAFT_INTERFACE__LANGUAGE", language)
    with pytest.raises(SystemExit):
        app(list(command))
    said = capsys.readouterr()
    lines = (said.out + said.err).replace(str(shelf), "X1")
    assert lines.strip()
    assert not [(line, english(line)) for line in lines.splitlines() if english(line)]


def test_the_systems_language_is_the_command_lines(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from foredraft.cli.main import app

    for locale, said in (("de_DE.UTF-8", "ORT"), ("ja_JP.UTF-8", "場所"), ("fr_FR.UTF-8", "LOCATION")):
        monkeypatch.setenv("LC_ALL", locale)
        with pytest.raises(SystemExit):
            app(["ls"])
        assert said in capsys.readouterr().out


# ---- the app ----


def texts(element, found):
    """What a page shows, labels and hints with it; code and what the user wrote left out."""
    if element.tag in ("pre", "code", "textarea", "style", "script"):
        return
    for value in (
        getattr(element, "text", ""),
        *(element.props.get(n, "") for n in ("aria-label", "title", "placeholder")),
    ):
        if isinstance(value, str) and value:
            found.append(value)
    for slot in element.slots.values():
        for child in slot.children:
            texts(child, found)


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("page", ["/", "/models", "/lab", "/server"])
async def test_the_app_speaks_the_users_language(app, page, language):
    from dataclasses import replace

    from foredraft.core.errors import ModelFormatError
    from foredraft.scheduling.request import SpeculationStatus
    from tests.ui.fakes import LOADED, info

    paused = SpeculationStatus("paused", Reason("draft_cannot_pay", {"cost": 213.0}))
    drafted = replace(LOADED, draft_info=info("Small 0.6B", 600_000_000), speculation=paused)
    async with app(drafted, language=language, mode="developer") as (user, state):
        fault = Reason("file_unsound", {"file": "x.gguf", "what": Reason("fault_magic")})
        state.services.load_failure = ModelFormatError(fault, hint=Reason("hint_download_again"))
        await user.open(page)
        found = []
        texts(user.client.layout, found)
        assert len(found) > 20
        if page == "/":
            assert any("213" in text for text in found), "the reason of a pause has its numbers"
        assert not [(text, english(text)) for text in found if english(text)]
