"""Text to tokens by the rules of the file, on llama.cpp's own test vocabularies; bytes of every kind survive."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.core.errors import ModelFormatError, ParameterError
from foredraft.engines.llamacpp import LlamaTokenizer
from foredraft.engines.llamacpp.tokenizer import MAX_TEXT

VOCABULARIES = (
    *("bert-bge", "deepseek-coder", "deepseek-llm", "falcon", "gpt-2", "llama-bpe", "llama-spm", "mpt", "phi-3"),
    *("qwen2", "qwen35", "refact", "starcoder"),
    *(pytest.param(large, marks=pytest.mark.slow) for large in ("command-r", "gemma-4")),
)


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path) -> Iterator[LlamaTokenizer]:
    with LlamaTokenizer.from_file(tiny_llama) as tokenizer:
        yield tokenizer


@pytest.mark.parametrize("name", VOCABULARIES)
def test_llama_cpps_own_vocabulary_tests(shared_data: Path, name: str) -> None:
    path = shared_data / "vocab" / f"ggml-vocab-{name}.gguf"
    texts = path.with_name(path.name + ".inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    expected = path.with_name(path.name + ".out").read_text().splitlines()
    with LlamaTokenizer.from_file(path) as tokenizer:
        for text, line in zip(texts, expected, strict=False):
            ids = tokenizer.encode(text, add_special=False, parse_special=False)
            assert ids == [int(token) for token in line.split()]
            if tokenizer.kind == "bpe":  # the others add a space in front, or drop what they do not know
                assert b"".join(map(tokenizer.piece, ids)) == text.encode()


@pytest.mark.parametrize(
    ("name", "kind", "bos", "eos", "add_bos", "eog"),
    [
        ("llama-spm", "spm", 1, 2, True, {"</s>"}),
        ("phi-3", "spm", 1, 32000, True, {"</s>", "<|endoftext|>", "<|end|>"}),
        ("qwen2", "bpe", 151643, 151643, False, {"</s>", "<|endoftext|>", "<|im_end|>"}),
        ("bert-bge", "wpm", 101, None, True, {"[PAD]"}),
    ],
)
def test_special_tokens(
    shared_data: Path, name: str, kind: str, bos: int, eos: int | None, add_bos: bool, eog: set[str]
) -> None:
    with LlamaTokenizer.from_file(shared_data / "vocab" / f"ggml-vocab-{name}.gguf") as tokenizer:
        assert (tokenizer.kind, tokenizer.bos, tokenizer.eos) == (kind, bos, eos)
        assert (tokenizer.add_bos, tokenizer.add_eos) == (add_bos, False)
        assert {tokenizer.text(token) for token in tokenizer.eog} == eog


def test_a_special_token_is_one_only_when_asked(shared_data: Path) -> None:
    with LlamaTokenizer.from_file(shared_data / "vocab" / "ggml-vocab-qwen2.gguf") as tokenizer:
        [token] = tokenizer.encode("<|im_end|>", add_special=False, parse_special=True)
        assert token in tokenizer.eog
        assert tokenizer.piece(token) == b""
        assert tokenizer.piece(token, special=True) == b"<|im_end|>"
        assert tokenizer.text(token) == "<|im_end|>"
        assert len(tokenizer.encode("<|im_end|>", add_special=False, parse_special=False)) > 1


@pytest.mark.parametrize("name", ["qwen2", "gpt-2", "llama-spm", "deepseek-llm"])
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_comes_back(tokenizers: dict[str, LlamaTokenizer], name: str, text: str) -> None:
    tokenizer = tokenizers[name]
    pieces = b"".join(map(tokenizer.piece, tokenizer.encode(text, add_special=False, parse_special=False)))
    expected = text.encode()
    if tokenizer.kind == "spm" and text:
        expected = b" " + expected  # this vocabulary begins every text with a space
        expected = expected.replace("▁".encode(), b" ")  # and writes spaces as this
    assert pieces == expected


@pytest.fixture(scope="module")
def tokenizers(shared_data: Path) -> Iterator[dict[str, LlamaTokenizer]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(LlamaTokenizer.from_file(shared_data / "vocab" / f"ggml-vocab-{name}.gguf"))
            for name in ("qwen2", "gpt-2", "llama-spm", "deepseek-llm")
        }


@given(data=st.binary(max_size=30))
@settings(max_examples=60, deadline=None)
def test_bytes_that_are_not_text_reach_the_model(tiny: LlamaTokenizer, data: bytes) -> None:
    """As Python reads them from a terminal or a file name: "surrogateescape"."""
    ids = tiny.encode(data.decode("utf-8", "surrogateescape"), add_special=False)
    back = b"".join(map(tiny.piece, ids))
    assert back.replace("▁".encode(), b" ").strip() == data.replace("▁".encode(), b" ").strip()


def test_half_of_a_pair_is_refused(tiny: LlamaTokenizer) -> None:
    with pytest.raises(ParameterError, match="character 2 is half of a pair"):
        tiny.encode("ab\ud83d")


def test_half_characters_come_out_as_bytes(tiny: LlamaTokenizer) -> None:
    ids = tiny.encode("あ", add_special=False)
    pieces = [tiny.piece(token) for token in ids]
    assert pieces[-3:] == [b"\xe3", b"\x81", b"\x82"]


def test_ids_out_of_range_are_refused(tiny: LlamaTokenizer) -> None:
    for token in (-1, tiny.n_vocab, 2**40):
        with pytest.raises(ParameterError, match="token"):
            tiny.piece(token)
        with pytest.raises(ParameterError, match="token"):
            tiny.text(token)


def test_an_empty_text(tiny: LlamaTokenizer) -> None:
    assert tiny.encode("", add_special=False) == []
    assert tiny.encode("") == [tiny.bos]


def test_nul_bytes_do_not_end_the_text(tiny: LlamaTokenizer) -> None:
    ids = tiny.encode("a\0b", add_special=False)
    assert b"".join(map(tiny.piece, ids)).lstrip() == b"a\0b"


@pytest.mark.parametrize(
    ("name", "text"), [("deepseek-llm", "!"), ("deepseek-coder", "a"), ("gpt-neox", "1"), ("falcon", "!")]
)
def test_a_long_run_of_one_character_does_not_end_the_process(shared_data: Path, name: str, text: str) -> None:
    """It does on an ordinary stack, so this runs in a process of its own."""
    path = shared_data / "vocab" / f"ggml-vocab-{name}.gguf"
    code = (
        "from foredraft.engines.llamacpp import LlamaTokenizer\n"
        f"with LlamaTokenizer.from_file({str(path)!r}) as tokenizer:\n"
        f"    ids = tokenizer.encode({text!r} * 200_000, add_special=False)\n"
        "    print(len(b''.join(map(tokenizer.piece, ids))))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["200000"]


def test_long_and_short_ways_agree(tiny: LlamaTokenizer) -> None:
    text = "the cat in the hat. " * 500
    assert tiny.encode(text, add_special=False) == [*tiny._tokenize(text.encode(), False, True)]


def test_a_text_beyond_any_context_is_refused(tiny: LlamaTokenizer) -> None:
    with pytest.raises(ParameterError, match="at most 4194304 bytes"):
        tiny.encode("a" * (MAX_TEXT + 1))


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_text("hello")
    with pytest.raises(ModelFormatError), LlamaTokenizer.from_file(path):
        pass
