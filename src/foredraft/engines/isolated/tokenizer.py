"""The tokenizer of a model that lies in another process.

Texts become tokens there: that, too, can end a process. What is asked for every token (its bytes) is fetched in blocks
and kept.
"""

from __future__ import annotations

import struct
from typing import Any

from foredraft.core.errors import ParameterError
from foredraft.engines.isolated import wire
from foredraft.engines.isolated.process import ModelProcess
from foredraft.engines.isolated.wire import Kind

BLOCK = 256
"""Tokens fetched at once: the round trip costs as much as reading so many."""
PIECES, SPECIAL, TEXTS = 0, 1, 2
"""The tables: bytes of tokens, with control tokens' names, and tokens as the vocabulary writes them."""
_LENGTH = struct.Struct("<I")


class IsolatedTokenizer:
    """`Tokenizer` is its contract. Any thread may use it."""

    def __init__(self, process: ModelProcess, facts: dict[str, Any]) -> None:
        self._process = process
        self.kind: str = facts["kind"]
        self.n_vocab: int = facts["n_vocab"]
        self.bos: int | None = facts["bos"]
        self.eos: int | None = facts["eos"]
        self.add_bos: bool = facts["add_bos"]
        self.add_eos: bool = facts["add_eos"]
        self.eog: frozenset[int] = frozenset(facts["eog"])
        self._tables: tuple[dict[int, list[bytes]], ...] = ({}, {}, {})

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """See `Tokenizer.encode`. Raises `EngineDiedError` where this ended the process."""
        flags = bytes([add_special | parse_special << 1])
        return wire.read_numbers(self._process.beside(Kind.ENCODE, flags + text.encode("utf-8", "surrogatepass")))

    def piece(self, token: int, *, special: bool = False) -> bytes:
        return self._entry(SPECIAL if special else PIECES, token)

    def text(self, token: int) -> str:
        return self._entry(TEXTS, token).decode("utf-8", "surrogateescape")

    def _entry(self, table: int, token: int) -> bytes:
        block = self._tables[table].get(token // BLOCK)
        if block is None:
            if not 0 <= token < self.n_vocab:
                raise ParameterError("token", token, f"a token id from 0 to {self.n_vocab - 1}")
            first = token - token % BLOCK
            last = min(first + BLOCK, self.n_vocab)
            block = split(self._process.beside(Kind.TABLE, wire.numbers([table, first, last])))
            self._tables[table][token // BLOCK] = block
        elif token >= self.n_vocab:
            raise ParameterError("token", token, f"a token id from 0 to {self.n_vocab - 1}")
        return block[token % BLOCK]


def join(entries: list[bytes]) -> bytes:
    """Some byte strings as one."""
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def split(body: bytes) -> list[bytes]:
    """What `join` was given."""
    entries, at = [], 0
    while at < len(body):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(body, at)[0]
        entries.append(body[begin:at])
    return entries
