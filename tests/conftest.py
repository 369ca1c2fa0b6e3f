"""Fixtures that several folders share: where the model files are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import foredraft
from tests import tiny_gguf

ROOT = Path(__file__).parents[1]
DEMO = Path(foredraft.__file__).parent / "demo"


SHARED_DATA = Path(os.environ.get("FOREDRAFT_SHARED", ROOT.parent / "shared")) / "data"
"""Real models, vocabularies, templates and prompts: FOREDRAFT_SHARED/data, or `../shared/data` beside the checkout."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """`SHARED_DATA`, where it is."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no shared data at {SHARED_DATA} (set FOREDRAFT_SHARED)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def story_pair(shared_data: Path) -> tuple[Path, Path]:
    """Two story models with one vocabulary, main and draft; F32."""
    return shared_data / "stories" / "stories260K.gguf", shared_data / "stories" / "llama2xs-280K.gguf"


@pytest.fixture(scope="session")
def chat_pair(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """A main model and its draft that chat in two languages: the embedded pair, else its prototype."""
    main, draft = (sorted(DEMO.glob(f"*{part}*.gguf")) for part in ("main", "draft"))
    if main and draft:
        return main[0], draft[0]
    folder = request.getfixturevalue("shared_data") / "pair"
    return folder / "prototype-main-Q8_0.gguf", folder / "prototype-draft-F16.gguf"


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama of 82,000 parameters, made on the spot: needs no data from elsewhere."""
    return tiny_gguf.llama(tmp_path_factory.mktemp("tiny") / "tiny-f32.gguf")


@pytest.fixture(scope="session")
def known_numerics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the loads of this session have measured of the numerics: nothing is measured twice."""
    return tmp_path_factory.mktemp("numerics")


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The smallest trained model of FOREDRAFT_REAL_MODELS, or of its usual place in the cache."""
    named = os.environ.get("FOREDRAFT_REAL_MODELS")
    folder = Path(named) if named else Path.home() / ".cache" / "foredraft-real-models"
    found = sorted(folder.glob("*instruct*.gguf"), key=lambda path: path.stat().st_size)
    if not found:
        pytest.skip(f"no trained models at {folder} (set FOREDRAFT_REAL_MODELS)")
    return found[0]


@pytest.fixture(scope="session")
def real_llama_server() -> Path:
    """A llama-server that was really built: FOREDRAFT_LLAMA_SERVER."""
    named = os.environ.get("FOREDRAFT_LLAMA_SERVER")
    if not named:
        pytest.skip("FOREDRAFT_LLAMA_SERVER names no llama-server")
    if not Path(named).is_file():
        pytest.skip(f"FOREDRAFT_LLAMA_SERVER: there is no {named}")
    return Path(named)


@pytest.fixture(autouse=True)
def user_folders(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, known_numerics: Path
) -> Iterator[Path]:
    """No test sees or changes the user's own settings, models, caches or tokens: all of them lie in a fresh folder.
    Only the numerics measured by earlier tests are there already."""
    home = tmp_path_factory.mktemp("home")
    numerics = home / "foredraft" / "cache" / "numerics"
    numerics.mkdir(parents=True)
    for file in known_numerics.iterdir():
        (numerics / file.name).write_bytes(file.read_bytes())
    for name in [name for name in os.environ if name.startswith(("FOREDRAFT_", "HF_")) and name != "FOREDRAFT_SHARED"]:
        monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOREDRAFT_HOME", str(home / "foredraft"))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    if sys.platform != "win32":  # where links are free: a file that several tests load is tried once
        trials = tmp_path_factory.getbasetemp() / "trials"
        trials.mkdir(exist_ok=True)
        (home / "foredraft" / "cache").mkdir(parents=True, exist_ok=True)
        (home / "foredraft" / "cache" / "trials").symlink_to(trials)
    yield home
    monkeypatch.undo()  # a test may have let every file be unreadable
    for file in numerics.glob("*.json"):
        (known_numerics / file.name).write_bytes(file.read_bytes())


def pytest_sessionfinish() -> None:
    """llama-cpp-python opens the null device twice and leaves it open, which is an error where warnings are."""
    if module := sys.modules.get("llama_cpp._utils"):
        module.outnull_file.close()
        module.errnull_file.close()
