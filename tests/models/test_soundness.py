"""What would end the process inside llama.cpp is told from the header; what is not is tried elsewhere first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from foredraft.core.errors import ModelFormatError
from foredraft.engines.llamacpp.safe_load import survives
from foredraft.models.facts import read_facts
from tests import tiny_gguf
from tests.harden import gguf_edit
from tests.harden.gguf_edit import File, Value
from tests.harden.loads import known_deadly, made_again, sound_files

Damage = Callable[[File], File]


def number(key: str, value: float, kind: int = 6) -> Damage:
    return lambda file: file.with_value(key, Value(kind, value))


def tensor(name: str, kind: int) -> Damage:
    return lambda file: file.with_tensor(name, kind=kind)


def tokens(change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    def damage(file: File) -> File:
        old = file.metadata[b"tokenizer.ggml.tokens"]
        return file.with_value("tokenizer.ggml.tokens", Value(old.kind, change(list(old.content)), old.inner))

    return damage


DEADLY: dict[str, tuple[Damage, str]] = {
    "a token twice": (tokens(lambda all_: [*all_[:-1], all_[280]]), "tokens 280 and 319 are both"),
    "a token twice up to a zero": (
        tokens(lambda all_: [*all_[:-1], all_[280] + b"\0x"]),
        "tokens 280 and 319 are both",
    ),
    "no layers": (number("llama.block_count", 0, 4), "says that it has 0 layers; 1 to 512"),
    "many layers": (number("llama.block_count", 513, 4), "says that it has 513 layers; 1 to 512"),
    "negative epsilon": (number("llama.attention.layer_norm_rms_epsilon", -1.0), r"epsilon is -1\.0"),
    "epsilon that is no number": (number("llama.attention.layer_norm_rms_epsilon", float("nan")), "epsilon is nan"),
    "quantised norm": (tensor("output_norm.weight", 8), r"output_norm\.weight is Q8_0, and must be F32"),
    "short norm": (tensor("blk.1.attn_norm.weight", 1), r"attn_norm\.weight is F16, and must be F32"),
    "matrix of bytes": (tensor("blk.1.ffn_up.weight", 24), r"ffn_up\.weight is I8, of which no weights"),
    "matrix of long numbers": (tensor("blk.1.ffn_up.weight", 28), r"ffn_up\.weight is F64, of which no matrix"),
    "embedding of whole numbers": (tensor("token_embd.weight", 26), r"token_embd\.weight is I32, of which no weights"),
    "no context": (number("llama.context_length", 1, 4), "made for a context of 1 tokens"),
    "negative context": (number("llama.context_length", 2**32 - 1, 4), "made for a context of 4294967295 tokens"),
    "RWKV's tokenizer": (
        lambda file: file.with_value("tokenizer.ggml.model", Value(8, b"rwkv")),
        r"RWKV's, but byte \d+ is no token",
    ),
    "another tokenizer": (
        lambda file: tokens(lambda all_: [text.replace(b"<0x", b"<1x") for text in all_])(file),
        "SentencePiece's, but no token stands for byte 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", DEADLY)
def test_what_would_end_the_process_is_refused_by_the_header(cause: str, tiny_llama: Path, tmp_path: Path) -> None:
    damage, words = DEADLY[cause]
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damage(gguf_edit.read(tiny_llama.read_bytes())).written())
    with pytest.raises(ModelFormatError, match=words):
        read_facts(path)


def test_a_file_put_together_again_is_the_same_model(tiny_llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "again.gguf"
    path.write_bytes(gguf_edit.read(tiny_llama.read_bytes()).written())
    assert read_facts(path).vocabulary.tokens_hash == read_facts(tiny_llama).vocabulary.tokens_hash
    assert survives(path)


def test_two_empty_tokens_are_no_damage(tiny_llama: Path, tmp_path: Path) -> None:
    """llama.cpp gives each a name of its own."""
    path = tmp_path / "empty.gguf"
    path.write_bytes(tokens(lambda all_: [*all_[:-2], b"", b""])(gguf_edit.read(tiny_llama.read_bytes())).written())
    read_facts(path)
    assert survives(path)


def test_word_pieces_have_no_byte_tokens(tmp_path: Path) -> None:
    made = gguf_edit.read(tiny_gguf.bert(tmp_path / "bert.gguf", word_pieces=True).read_bytes())
    types = made.metadata[b"tokenizer.ggml.token_type"]
    (tmp_path / "bytes.gguf").write_bytes(
        made.with_value("tokenizer.ggml.token_type", Value(types.kind, [*types.content[:-1], 6], types.inner)).written()
    )
    with pytest.raises(ModelFormatError, match="WordPiece"):
        read_facts(tmp_path / "bytes.gguf")


def test_rwkv_vocabularies_have_every_first_byte(tiny_llama: Path, tmp_path: Path) -> None:
    """Written as Python writes bytes. Without the byte that tokens begin with, the tokenizer never ends."""
    sound = [
        *(repr(chr(byte))[1:-1].encode() if byte < 128 else b"\\x%02x" % byte for byte in range(256)),
        *(b"\\n\\n", b"the", b"\\xe6\\xbc\\xa2", b"it\\'s", b"\\\\begin"),
    ]
    sound += [b"\\x00%d" % number for number in range(320 - len(sound))]
    made = gguf_edit.read(tiny_llama.read_bytes()).with_value("tokenizer.ggml.model", Value(8, b"rwkv"))
    path = tmp_path / "rwkv.gguf"
    path.write_bytes(tokens(lambda _: sound)(made).written())
    read_facts(path)
    assert survives(path)
    lacking = [text if text != b"t" else b"tt" for text in sound]
    path.write_bytes(tokens(lambda _: lacking)(made).written())
    with pytest.raises(ModelFormatError, match="RWKV's, but byte 116 is no token"):
        read_facts(path)


@pytest.mark.parametrize("name", known_deadly())
def test_what_once_ended_a_process_is_refused_by_the_header(
    name: str, deadly_sources: dict[str, File], tmp_path: Path
) -> None:
    (tmp_path / "deadly.gguf").write_bytes(made_again(deadly_sources, name))
    with pytest.raises(ModelFormatError, match="would end the program"):
        read_facts(tmp_path / "deadly.gguf")


@pytest.fixture(scope="module")
def deadly_sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, File]:
    return sound_files(tmp_path_factory.mktemp("sound"))


def test_the_known_deadly_files_are_refused(shared_data: Path) -> None:
    cases = sorted((shared_data.parent / "cases" / "gguf").glob("*.gguf"))
    if not cases:
        pytest.skip("no shared cases")
    for path in cases:
        with pytest.raises(ModelFormatError, match="would end the program"):
            read_facts(path)


def test_real_vocabularies_are_sound(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("**/*.gguf")):
        read_facts(path)
