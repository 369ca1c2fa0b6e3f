"""Text to tokens and back, by the rules of a GGUF file."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from foredraft.core.deep_stack import on_deep_stack
from foredraft.core.errors import ClosedError, ParameterError, UnsupportedModelError
from foredraft.core.reasons import Reason
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.loading import open_model

MAX_TEXT = 4 * 2**20
"""Longest text that is turned into tokens at once, in bytes: more than any context holds."""
_DEEP = 2048
"""Bytes of text that need no more than an ordinary stack, on every system."""
_STACK = 16 * 2**20
_STACK_A_BYTE = 2**10
"""Some vocabularies are split by the C++ library's regular expressions, which recurse once a character: a run of 30,000
equal characters ends the process on an ordinary stack. They were seen to take up to 340 bytes of stack a byte."""
_KINDS = ("none", "spm", "bpe", "wpm", "ugm", "rwkv", "plamo2")


class LlamaTokenizer:
    """The vocabulary of a loaded model. Valid as long as the model is."""

    def __init__(self, vocab: Any, *, path: str = "") -> None:
        self._api = library().api
        self._path = path
        self._open_vocab: Any = vocab
        kind = self._api.llama_vocab_type(vocab)
        if kind == 0:
            raise UnsupportedModelError(
                Reason("no_tokenizer", {"path": path}), path=path, hint=Reason("hint_vocabulary")
            )
        self.kind = _KINDS[kind] if kind < len(_KINDS) else "unknown"
        self.n_vocab: int = self._api.llama_vocab_n_tokens(vocab)
        self.bos = self._optional(self._api.llama_vocab_bos(vocab))
        self.eos = self._optional(self._api.llama_vocab_eos(vocab))
        self.add_bos = bool(self._api.llama_vocab_get_add_bos(vocab)) and self.bos is not None
        self.add_eos = bool(self._api.llama_vocab_get_add_eos(vocab)) and self.eos is not None
        self._pieces: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})

    @classmethod
    @contextmanager
    def from_file(cls, path: str | Path) -> Iterator[LlamaTokenizer]:
        """The tokenizer of a file alone: reads no weights, so it also opens vocabulary-only files."""
        api = library().api
        model = open_model(Path(path), vocab_only=True)
        try:
            tokenizer = cls(api.llama_model_get_vocab(model), path=str(path))
            yield tokenizer
            tokenizer.close()
        finally:
            api.llama_model_free(model)

    def close(self) -> None:
        """The model is about to be freed: whatever is asked from now on raises `ClosedError`, where the library would
        end the process. What has been read of single tokens stays known."""
        self._open_vocab = None

    @property
    def _vocab(self) -> Any:
        if self._open_vocab is None:
            raise ClosedError(self._path)
        return self._open_vocab

    @cached_property
    def eog(self) -> frozenset[int]:
        """Every token that ends a generation."""
        ends, vocab = self._api.llama_vocab_is_eog, self._vocab
        return frozenset(token for token in range(self.n_vocab) if ends(vocab, token))

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """Token ids of a text.

        A byte that was not UTF-8 when Python read the text (a lone surrogate of "surrogateescape") goes to the model
        as that byte. Any other lone surrogate stands for nothing and is refused.
        """
        try:
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            bad = text[error.start]
            raise ParameterError("text", bad, Reason("allowed_unicode", {"n": error.start})) from None
        if len(data) <= _DEEP:
            return self._tokenize(data, add_special, parse_special)
        if len(data) > MAX_TEXT:
            raise ParameterError("text", f"{len(data)} bytes", Reason("allowed_bytes", {"n": MAX_TEXT}))
        return on_deep_stack(
            _STACK + _STACK_A_BYTE * len(data), lambda: self._tokenize(data, add_special, parse_special)
        )

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes a token adds to the text; control tokens give nothing unless `special`."""
        cache = self._pieces[special]
        piece = cache.get(token)
        if piece is None:
            piece = cache[token] = self._read_piece(self._checked(token), special)
        return piece

    def text(self, token: int) -> str:
        """The token as the vocabulary writes it ("▁the", "Ġthe"); bytes that are not UTF-8 are kept as surrogates."""
        raw: bytes = self._api.llama_vocab_get_text(self._vocab, self._checked(token))
        return raw.decode("utf-8", "surrogateescape")

    def _tokenize(self, data: bytes, add_special: bool, parse_special: bool) -> list[int]:
        size = len(data) + 8  # no tokenizer makes more tokens than bytes, but for the special ones around the text
        while True:
            tokens = np.empty(size, dtype=np.int32)
            column = tokens.ctypes.data_as(ctypes.POINTER(self._api.llama_token))
            count = self._api.llama_tokenize(self._vocab, data, len(data), column, size, add_special, parse_special)
            if count >= 0:
                ids: list[int] = tokens[:count].tolist()
                return ids
            size = -count

    def _read_piece(self, token: int, special: bool) -> bytes:
        """Once a token. A buffer each time: any thread may ask, beside the one that has the model."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count: int = self._api.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def _checked(self, token: int) -> int:
        """The library ends the process on an id out of range."""
        if not 0 <= token < self.n_vocab:
            raise ParameterError("token", token, f"a token id from 0 to {self.n_vocab - 1}")
        return token

    def _optional(self, token: int) -> int | None:
        return token if 0 <= token < self.n_vocab else None
