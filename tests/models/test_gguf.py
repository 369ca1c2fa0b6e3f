"""The header reader: every value type, sound files as another reader sees them, and damage of every kind."""

from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foredraft.core.errors import ModelError, ModelFormatError, ModelNotFoundError, UnsupportedModelError
from foredraft.models.gguf import MAX_TEXT, first_difference, read_array, read_header, read_tokens
from tests.models.gguf_bytes import LETTERS, Typed, gguf, model, text, write


def nested(depth: int) -> Typed:
    """An array of an array of … numbers."""
    return Typed("array", [[1]] if depth == 0 else [nested(depth - 1)])


TENSOR_99 = gguf({}, [("w", (64,), "F32")]).replace(struct.pack("<QI", 64, 0), struct.pack("<QI", 64, 99))
VALUES = {"u8": 200, "i8": -3, "u16": 60000, "i16": -300, "u32": 2**32 - 1, "i32": -5, "f32": 0.5, "bool": True,
          "u64": 2**63, "i64": -(2**62), "f64": 0.1}  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
def test_every_value_type_is_read(tmp_path: Path, version: int) -> None:
    metadata = {f"key.{kind}": Typed(kind, value) for kind, value in VALUES.items()}
    inner = Typed("array", [["a", "b"], [1, 2, 3]])
    content = gguf(
        {**metadata, "key.text": "日本語", "key.list": [3, 1, 2], "key.texts": ["x", ""], "key.nested": inner},
        [("blk.0.w", (64, 2), "Q8_0")],
        version=version,
    )
    header = read_header(write(tmp_path / "m.gguf", content))
    assert header.version == version
    assert {kind: header.metadata[f"key.{kind}"] for kind in VALUES} == VALUES
    assert header.text("key.text") == "日本語"
    assert header.integer("key.bool") is None
    assert read_array(header.path, header.arrays["key.list"]) == [3, 1, 2]
    assert read_array(header.path, header.arrays["key.texts"]) == ["x", ""]
    with pytest.raises(UnsupportedModelError):
        read_array(header.path, header.arrays["key.nested"])
    (tensor,) = header.tensors
    assert (tensor.name, tensor.shape, tensor.type_name, tensor.n_bytes) == ("blk.0.w", (64, 2), "Q8_0", 136)
    assert header.data_start % 32 == 0
    assert header.data_start + tensor.n_bytes <= header.file_size


def test_real_files_read_as_another_reader_reads_them(shared_data: Path) -> None:
    from gguf import GGUFReader

    for path in sorted((shared_data / "stories").glob("*.gguf")):
        ours, theirs = read_header(path), GGUFReader(path)
        assert [tensor.name for tensor in ours.tensors] == [tensor.name for tensor in theirs.tensors]
        assert [tensor.n_bytes for tensor in ours.tensors] == [int(tensor.n_bytes) for tensor in theirs.tensors]
        assert ours.data_start == theirs.data_offset
        for key, value in ours.metadata.items():
            assert value == theirs.fields[key].contents()
        for key, array in ours.arrays.items():
            assert read_array(path, array) == theirs.fields[key].contents()


def test_tokens_are_compared_as_c_compares_them(tmp_path: Path) -> None:
    first = [f"t{i}" for i in range(5)] + ["same", "", "cut\0here", "end"]
    second = [f"u{i}" for i in range(5)] + ["same", "[EMPTY_6]", "cut\0there", "END", "more"]
    headers = [
        read_header(write(tmp_path / f"{name}.gguf", model(tokens=tokens)))
        for name, tokens in (("a", first), ("b", second))
    ]
    a, b = ((header.path, header.arrays["tokenizer.ggml.tokens"]) for header in headers)
    assert first_difference(a, b, 5) == (8, "end", "END")
    assert first_difference(a, b, 0) == (0, "t0", "u0")
    assert first_difference(a, a, 0) is None
    assert read_tokens(*b, {5, 9, 77}) == {5: "same", 9: "more"}


def test_hashes_tell_texts_and_types_apart(tmp_path: Path) -> None:
    def hashes(name: str, **changes: object) -> tuple[str, str]:
        header = read_header(write(tmp_path / name, model(**changes)))
        return header.tokens_hash, header.fingerprint

    same = hashes("a"), hashes("b", params=9999)
    assert same[0] == same[1]
    other_text = hashes("c", tokens=["x", *(f"t{i}" for i in range(1, 40))])
    other_type = hashes("d", extra={"tokenizer.ggml.token_type": [3] + [1] * 39})
    assert other_text[0] != same[0][0]
    assert other_type[0] == same[0][0]
    assert other_type[1] != same[0][1]
    assert hashes("e", extra={"tokenizer.ggml.tokens": None}) == ("", "")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", ModelFormatError),
        (b"GGML" + b"\0" * 40, ModelFormatError),
        (gguf({}, version=1), UnsupportedModelError),
        (gguf({}, version=4), UnsupportedModelError),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), UnsupportedModelError),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**62, 0), ModelFormatError),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**62) + b"\0" * 999, ModelFormatError),
        (gguf({"a": 1}) + b"", None),
        (gguf({"": 1}), ModelFormatError),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + (text("a") + struct.pack("<IB", 0, 1)) * 2, ModelFormatError),
        (gguf({"a": 1}).replace(struct.pack("<I", 4), struct.pack("<I", 77), 1), ModelFormatError),
        (gguf({"a": ["x", "y"]})[:-1], ModelFormatError),
        (gguf({"general.alignment": 3}), ModelFormatError),
        (gguf({"general.alignment": 0}), ModelFormatError),
        (gguf({}, [("w", (33, 2), "Q8_0")]), ModelFormatError),
        (gguf({}, [("w", (2**31, 2**31, 2**31), "F32")], data=False), ModelFormatError),
        (gguf({}, [("w", (64, 64), "F32")], data=False), ModelFormatError),
        (TENSOR_99, UnsupportedModelError),
        (gguf({"a": "x" * (MAX_TEXT + 1)}), ModelFormatError),
        (gguf({"a": nested(6)}), ModelFormatError),
    ],
)  # fmt: skip
def test_damage_and_foreign_kinds_have_typed_errors(
    tmp_path: Path, content: bytes, kind: type[Exception] | None
) -> None:
    path = write(tmp_path / "m.gguf", content)
    if kind is None:
        read_header(path)
        return
    with pytest.raises(kind):
        read_header(path)


def test_missing_and_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelNotFoundError):
        read_header(tmp_path / "nothing.gguf")
    with pytest.raises(ModelError):
        read_header(tmp_path)  # a folder
    path = write(tmp_path / "m.gguf", model())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelError, match="Permission denied"):
        read_header(path)


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", model())
    tokens = read_header(path).arrays["tokenizer.ggml.tokens"]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelFormatError, match="shorter"):
        read_array(path, tokens)
    with pytest.raises(ModelFormatError, match="shorter"):
        first_difference((path, tokens), (path, tokens), 0)


def test_every_truncation_is_a_typed_error(tmp_path: Path) -> None:
    content = model(params=64)
    end = read_header(write(tmp_path / "whole.gguf", content)).data_start
    path = tmp_path / "cut.gguf"
    for length in range(end):
        path.write_bytes(content[:length])
        with pytest.raises((ModelFormatError, UnsupportedModelError)):
            read_header(path)


def test_ten_thousand_damaged_headers(tmp_path: Path) -> None:
    """Flipped bits, overwritten and removed bytes: a typed error or an answer, never anything else."""
    draw = random.Random(6)
    content = model(params=64)
    path = tmp_path / "m.gguf"
    refused = 0
    for _ in range(10_000):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 8))):
            place = draw.randrange(min(len(damaged), 1600))
            how = draw.random()
            if how < 0.5:
                damaged[place] ^= 1 << draw.randrange(8)
            elif how < 0.8:
                damaged[place : place + 8] = draw.randbytes(8)
            else:
                del damaged[place : place + draw.randrange(1, 40)]
        path.write_bytes(damaged)
        try:
            read_header(path)
        except ModelError:
            refused += 1
    assert 1000 < refused < 10_000


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary(max_size=300),
    version=st.sampled_from([2, 3]),
    counts=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_any_bytes_behind_a_sound_beginning(
    tmp_path: Path, content: bytes, version: int, counts: tuple[int, int]
) -> None:
    path = write(tmp_path / "m.gguf", b"GGUF" + struct.pack("<IQQ", version, *counts) + content)
    with contextlib.suppress(ModelError):
        read_header(path)


def test_letters_cover_all_scalar_types() -> None:
    assert set(LETTERS) == set(VALUES)
