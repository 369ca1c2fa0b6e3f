"""A tiny vocabulary with everything that makes real ones hard: half characters, overlapping pieces, control tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foredraft.core.errors import ParameterError

_PIECES: tuple[bytes, ...] = (
    *(b" ", b"a", b"b"),
    *(b"\xc3", b"\xa9"),  # é in two halves
    *(b"\xe3\x81", b"\x82"),  # あ, cut after its second byte
    *(b" a", b"ab", b" the", b"the", b" cat", b"cat", b".", b"\n"),
    *(bytes([code]) for code in b"cdefghijklmnopqrstuvwxyz0123456789,!?'"),
    *(bytes([code]) for code in range(256)),  # and then whatever byte is not there yet
)


class ToyTokenizer:
    """Turns text to tokens by the longest piece that fits.

    >>> tokenizer = ToyTokenizer.of_size(16)
    >>> tokenizer.encode("a cab", add_special=False)
    Traceback (most recent call last):
    foredraft.core.errors.ParameterError: text is 'c', but must be made of the pieces of this vocabulary.
    >>> [tokenizer.piece(token) for token in tokenizer.encode("ab é", add_special=False)]
    [b'ab', b' ', b'\\xc3', b'\\xa9']
    """

    kind = "toy"

    def __init__(
        self,
        pieces: Sequence[bytes],
        *,
        control: Mapping[int, str] | None = None,
        bos: int | None = None,
        eos: int | None = None,
        eog: frozenset[int] = frozenset(),
        add_bos: bool = False,
        add_eos: bool = False,
    ) -> None:
        """`pieces` by id; `control` names the tokens that are no text; `eog` are those that end a generation."""
        self._pieces = list(pieces)
        self._control = dict(control or {})
        self.bos, self.eos, self.add_bos, self.add_eos = bos, eos, add_bos, add_eos
        self.eog = eog | ({eos} if eos is not None else frozenset())
        self._by_piece: dict[bytes, int] = {}
        for token, piece in enumerate(self._pieces):
            if piece and token not in self._control:
                self._by_piece.setdefault(piece, token)
        self._by_name = {name: token for token, name in self._control.items()}
        self._longest = max(map(len, self._by_piece), default=1)

    @classmethod
    def of_size(cls, n_vocab: int) -> ToyTokenizer:
        """0 begins a text, 1 ends it; then letters, words and half characters, and past 60 or so every byte."""
        control = {0: "<s>", 1: "</s>"}
        pieces = dict.fromkeys(_PIECES)
        pieces.update(dict.fromkeys(b" w%d" % number for number in range(n_vocab)))
        every = [b"", b"", *pieces]
        return cls(
            every[:n_vocab],
            control={token: name for token, name in control.items() if token < n_vocab},
            bos=0,
            eos=1 if n_vocab > 1 else None,
            add_bos=True,
        )

    @property
    def n_vocab(self) -> int:
        return len(self._pieces)

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        data = text.encode("utf-8", "surrogateescape")
        tokens = [self.bos] if add_special and self.add_bos and self.bos is not None else []
        place = 0
        while place < len(data):
            token, size = self._next(data, place, parse_special)
            tokens.append(token)
            place += size
        if add_special and self.add_eos and self.eos is not None:
            tokens.append(self.eos)
        return tokens

    def piece(self, token: int, *, special: bool = False) -> bytes:
        if self._checked(token) in self._control:
            return self._control[token].encode() if special else b""
        return self._pieces[token]

    def text(self, token: int) -> str:
        return self.piece(token, special=True).decode("utf-8", "surrogateescape")

    def _next(self, data: bytes, place: int, parse_special: bool) -> tuple[int, int]:
        if parse_special:
            for name, token in self._by_name.items():
                if data.startswith(name.encode(), place):
                    return token, len(name.encode())
        for size in range(min(self._longest, len(data) - place), 0, -1):
            found = self._by_piece.get(data[place : place + size])
            if found is not None:
                return found, size
        raise ParameterError(
            "text", data[place:].decode("utf-8", "replace")[0], "made of the pieces of this vocabulary"
        )

    def _checked(self, token: int) -> int:
        if not 0 <= token < self.n_vocab:
            raise ParameterError("token", token, f"a token id from 0 to {self.n_vocab - 1}")
        return token
