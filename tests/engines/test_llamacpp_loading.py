"""Bad files: each has its typed error, with the path and what to do, and the process lives on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.core import errors
from foredraft.core.errors import ForedraftError, ModelError, ParameterError
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions, failures
from foredraft.engines.llamacpp.failures import load_error, reason
from tests import tiny_gguf

OPTIONS = LoadOptions(n_threads=1)


def text_file(path: Path) -> Path:
    path.write_text("# not a model")
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def empty_file(path: Path) -> Path:
    path.touch()
    return path


def one_of_three(path: Path) -> Path:
    return tiny_gguf.llama(path.with_name("model-00001-of-00003.gguf"))


BAD: dict[str, tuple[Callable[[Path], Path], type[ForedraftError], str]] = {
    "no such file": (lambda path: path, errors.ModelNotFoundError, "no model"),
    "folder": (folder, errors.ModelFormatError, "is a folder"),
    "text": (text_file, errors.ModelFormatError, "not a GGUF file"),
    "empty": (empty_file, errors.ModelFormatError, "not a GGUF file"),
    "vocabulary only": (tiny_gguf.vocabulary_only, errors.UnsupportedModelError, "vocabulary only"),
    "unknown architecture": (tiny_gguf.unknown_architecture, errors.UnsupportedModelError, "'hyperllama'"),
    "embedding model": (tiny_gguf.bert, errors.UnsupportedModelError, "embedding model"),
    "no tokenizer": (tiny_gguf.without_tokenizer, errors.UnsupportedModelError, "no tokenizer"),
    "NaN": (tiny_gguf.llama_nan, errors.NonFiniteLogitsError, "NaN"),
    "split": (one_of_three, errors.ModelFormatError, "model-00002-of-00003.gguf, model-00003-of-00003.gguf"),
}


@pytest.mark.parametrize(("make", "kind", "words"), BAD.values(), ids=BAD)
def test_every_bad_file_has_its_error(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[ForedraftError], words: str
) -> None:
    path = make(tmp_path / "bad.gguf")
    with pytest.raises(kind, match=words) as caught:
        LlamaCppEngine(path, OPTIONS)
    assert type(caught.value) is kind
    assert caught.value.hint
    if isinstance(caught.value, ModelError):
        assert caught.value.path == str(path)


@pytest.mark.parametrize("keep", [0.0005, 0.001, 0.01, 0.02, 0.1, 0.5, 0.99])
def test_a_download_cut_short_is_named_as_such(tmp_path: Path, tiny_llama: Path, keep: float) -> None:
    path = tiny_gguf.cut(tiny_llama, tmp_path / "cut.gguf", keep)
    with pytest.raises(errors.ModelFormatError, match="damaged or incomplete") as caught:
        LlamaCppEngine(path, OPTIONS)
    assert "Download" in caught.value.hint
    assert "file bounds" in caught.value.message or "failed to read" in caught.value.message


def test_a_file_without_permission_is_named(tmp_path: Path, tiny_llama: Path) -> None:
    path = tmp_path / "secret.gguf"
    shutil.copy(tiny_llama, path)
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        with pytest.raises(ModelError, match="cannot be read: Permission denied"):
            LlamaCppEngine(path, OPTIONS)
    else:
        pytest.skip("this user may read everything")


def test_weights_larger_than_memory_are_refused_unread(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "free_memory", lambda: 64 * 2**20 + 1000)
    with pytest.raises(errors.MemoryLimitError, match="weights need") as caught:
        LlamaCppEngine(tiny_llama, OPTIONS)
    assert caught.value.needed == tiny_llama.stat().st_size
    assert caught.value.free == 64 * 2**20 + 1000


def test_a_context_larger_than_memory_is_refused(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "free_memory", lambda: 256 * 2**20)
    with pytest.raises(errors.MemoryLimitError, match="a context of 16777216 tokens needs") as caught:
        LlamaCppEngine(tiny_llama, LoadOptions(n_threads=1, n_ctx=2**24))
    # 2 layers, 2 heads of 16 numbers for K and for V, 2 bytes each
    assert caught.value.needed == 2**24 * 2 * 2 * (16 + 16) * 2


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["llama_init: failed to initialize the context: failed to allocate buffer for kv cache"], "MemoryLimitError"),
        (["alloc: unable to allocate CPU buffer", "load: error loading model: bad"], "MemoryLimitError"),
        (["load: error loading model: CLIP cannot be used as main model"], "UnsupportedModelError"),
        (["load: error loading model: invalid split file"], "ModelFormatError"),
        ([], "ModelFormatError"),
    ],
)
def test_the_librarys_own_words_decide_the_error(lines: list[str], kind: str) -> None:
    error = load_error(Path("some.gguf"), lines)
    assert type(error).__name__ == kind
    assert "some.gguf" in str(error)


def test_the_reason_is_the_cause_and_not_what_follows() -> None:
    lines = [
        "llama_model_loader: loaded meta data",
        "gguf_init: failed to read magic",
        "llama_model_load: error loading model: llama_model_loader: failed to load model from x",
        "llama_model_load_from_file_impl: failed to load model",
    ]
    assert reason(lines) == "failed to read magic"
    assert reason(["all is well"]) == ""


def test_what_the_progress_raises_ends_the_load(tiny_llama: Path) -> None:
    shares: list[float] = []

    def interrupt(share: float) -> None:
        shares.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LlamaCppEngine(tiny_llama, OPTIONS, progress=interrupt)
    assert len(shares) == 1


def test_progress_goes_up_to_one(tiny_llama: Path) -> None:
    shares: list[float] = []
    LlamaCppEngine(tiny_llama, OPTIONS, progress=shares.append).close()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_ctx", -1),
        ("n_ctx", 2**25),
        ("n_ctx", 1.5),
        ("n_slots", 0),
        ("n_slots", 257),
        ("n_batch", 0),
        ("n_ubatch", True),
        ("max_rows", 0),
        ("n_threads", 0),
        ("n_threads_batch", 1000),
        ("gpu_layers", -2),
        ("kv_type", "f8"),
        ("flash_attention", "maybe"),
    ],
)
def test_options_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(ParameterError) as caught:
        LoadOptions(**{name: value})  # type: ignore[arg-type]
    assert caught.value.name == name
    assert caught.value.allowed


def test_a_quantised_cache_needs_flash_attention() -> None:
    with pytest.raises(ParameterError, match="flash_attention"):
        LoadOptions(kv_type="q8_0", flash_attention="off")


SHORT = """
import sys
from foredraft import LLM
from foredraft.core.errors import ForedraftError
from foredraft.config.load_settings import LoadSettings
for context, slots in ((8, 1), (8, 8), (8, 256), (16, 1), (300, 256)):
    with LLM.load(sys.argv[1], "off", settings=LoadSettings(context=context, slots=slots, threads=1)) as llm:
        print(len(llm.generate("a", max_tokens=2).pieces))
"""


def test_short_contexts_of_many_slots_load(tiny_llama: Path) -> None:
    """llama.cpp asserts a row of logits for each sequence, in a process of its own here."""
    ran = subprocess.run(
        [sys.executable, "-c", SHORT, str(tiny_llama)], capture_output=True, encoding="utf-8", check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert len(ran.stdout.split()) == 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"context": 7}, "whole number from 8 to"), ({"batch": 15}, "from 16"), ({"batch": 2**16 + 1}, "to 65536")],
)
def test_lengths_that_cannot_be_loaded_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(errors.ParameterError, match=words):
        LoadSettings(**settings)
