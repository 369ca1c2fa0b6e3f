"""The seam to a loaded model: read tokens at a place, get rows of logits, take tokens back.

Prefill, decoding and verification are one thing here, a `Chunk`. An engine holds `n_slots` independent sequences
("slots"), each a KV cache of the tokens it has read, at positions 0, 1, 2 …  It knows tokens, never chats or requests.
One thread calls an engine; nothing here is safe to call from two threads at once, except `abort`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foredraft.core.reasons import Reason, Value, sentences
from foredraft.engines.rewind import Rewind

Logits = NDArray[np.float32]
"""Rows of logits, shape (rows, n_vocab). A view of the engine's memory: dead after the next `forward`."""


Hidden = NDArray[np.float32]
"""Hidden rows, shape (tokens, width): what a model had made of a text up to each of these tokens, before it turned it
into logits. Heads read them (`speculative/drafters/head.py`). A view like `Logits`."""


BLOCK, LARGEST = 64, 256
"""Tokens of the smallest and of the greatest pass that exact numerics call large: llama.cpp has other kernels from so
many on, and larger ones are not compared with each other."""
GRAIN = 8
"""Tokens: passes of a multiple of these leave nothing over that kernels of 2, 4 or 8 rows would compute otherwise."""


@dataclass(slots=True)
class Chunk:
    """Tokens to read at a slot. `start` is the position of `tokens[0]`: what the slot must already hold."""

    slot: int
    start: int
    tokens: Sequence[int]
    want: int = 0
    """Rows of logits wanted, one each for the last `want` tokens."""
    guesses: int = 0
    """Of the last tokens, those that may be taken back. A chunk with others among them makes sure all that lies before
    it; one that is guesses alone (a draft's own next step) does not."""
    hidden: Hidden | None = field(default=None, compare=False, kw_only=True)
    """For a head alone: the hidden row before each token. None is zeros."""


@dataclass(frozen=True, slots=True)
class OtherMode:
    """The mode that a load does not use, measured beside the one it does. Speeds are multiples of that one's."""

    mode: str
    writing: float
    """Speed of single steps behind 1,024 tokens."""
    reading: float
    """Speed of reading a prompt, in the middle of 2,048 tokens."""
    rows: int | None
    """In exact numerics, the most tokens of a pass (one more than may be guessed); None is any number."""

    def as_dict(self) -> dict[str, Any]:
        """For the API and for storing."""
        return {"mode": self.mode, "writing": self.writing, "reading": self.reading, "rows": self.rows}


@dataclass(frozen=True, slots=True)
class Numerics:
    """What the probe at load found: does a pass of n tokens give the same logits as n single steps?

    Measured on this machine for this model file and these settings, never assumed (docs/concepts/numerics.md).
    Differences are of one logit, the largest over all that was compared.
    """

    by_batch: dict[int, float]
    """Largest |difference| by pass size n, cached text included: a single step behind what a pass of n has read."""
    argmax_flips: int
    """Positions whose most likely token changed."""
    positions: int
    """Positions compared."""
    context: int = 0
    """The longest text, in tokens, behind which passes were compared: engines attend to long ones in other ways."""
    large: float | None = None
    """The same for a pass as large as a prompt's, and for a step behind it. None where that was not measured."""
    beside: float | None = None
    """Largest |difference| when the same tokens are read beside another answer, behind its cells, or in one pass with
    a piece of a prompt. None where that was not measured."""
    threads: float | None = None
    """Largest |difference| between one thread and all of them. None where there is one only."""
    grain: int = BLOCK
    """`GRAIN` where passes of `BLOCK` to `LARGEST` tokens, in multiples of so many, were found to give the same rows as
    each other; `BLOCK` where passes of exactly so many are all that is known to be alike."""
    ordered: bool = True
    """Does the engine keep the order of a text's sums, whatever else runs? Where it does not, a measured 0 was luck."""
    mode: str = "fast"
    """exact: the load keeps to passes whose rows equal single steps; fast: it does as llama.cpp does by default."""
    other: OtherMode | None = None
    """What the other mode would cost or bring. None where that was not measured."""

    @property
    def exact_rows(self) -> int | None:
        """The most tokens of a pass in which every row, for certain, equals a single step; None is any number."""
        exact = 1
        for size, difference in sorted(self.by_batch.items()):
            if difference != 0.0:
                return exact
            exact = size
        return exact if self.large else None

    @property
    def max_abs_diff(self) -> float:
        """Largest |difference| over all that this load does: in exact numerics other sizes of passes do not occur."""
        if self.mode == "exact":
            return 0.0
        return max([self.large or 0.0, *self.by_batch.values()])

    @property
    def batch(self) -> int:
        """The largest pass that this is about."""
        most = self.exact_rows if self.mode == "exact" else None
        return max((n for n in self.by_batch if most is None or n <= most), default=1)

    @property
    def batches_exact(self) -> bool:
        """True when every logit was bit-identical: the text is then the same with and without a draft."""
        return self.max_abs_diff == 0.0

    @property
    def beside_exact(self) -> bool:
        """True when other answers, too, changed no bit: the text is then the same whatever else runs."""
        return self.batches_exact and self.beside == 0.0 and self.ordered

    @property
    def rounding(self) -> float:
        """By how much one logit may move, whatever the reason."""
        return max(self.max_abs_diff, self.beside or 0.0)

    @property
    def described(self) -> Reason:
        """Which numerics are on, what the probe found, and what the other mode would cost or bring: one line."""
        found = Reason(f"numerics_{self.mode}", {"found": self._found()})
        other = self.other
        if other is None:
            return found
        speeds: dict[str, Value] = {"writing": other.writing, "reading": other.reading}
        if other.rows is not None:
            code = f"other_{other.mode}_rows" if other.rows > 1 else f"other_{other.mode}_none"
            return sentences(found, Reason(code, {**speeds, "n": other.rows - 1}))
        return sentences(found, Reason(f"other_{other.mode}", speeds))

    def _found(self) -> Reason:
        if self.mode == "exact" and self.beside_exact:
            rows = self.exact_rows
            return Reason("exact_found") if rows is None else Reason("exact_found_rows", {"n": rows})
        measured: dict[str, Value] = {"batch": self.batch, "context": self.context}
        if not self.batches_exact:
            return Reason("rounds_differently", {**measured, "d": self.rounding})
        if self.beside is None:
            return Reason("same_bits", measured)
        if self.beside == 0.0:
            return Reason("same_bits_luck", measured)
        return Reason("same_bits_alone", {**measured, "d": self.beside})

    def as_dict(self) -> dict[str, Any]:
        """For the API, `--json` and the app's own client."""
        return {
            "mode": self.mode,
            "other": None if self.other is None else self.other.as_dict(),
            "batches_exact": self.batches_exact,
            "max_abs_diff": self.max_abs_diff,
            "batch": self.batch,
            "exact_rows": self.exact_rows,
            "context": self.context,
            "beside": self.beside,
            "ordered": self.ordered,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Numerics:
        """What `as_dict` of another process says."""
        worst, batch = float(values["max_abs_diff"]), int(values["batch"])
        exact = values["mode"] == "exact"
        sizes = {batch: worst} if not exact else {int(values["exact_rows"] or batch): 0.0}
        large = 1.0 if exact and values["exact_rows"] is not None else 0.0
        return cls(
            sizes,
            0,
            0,
            int(values["context"]),
            large=large,
            beside=values["beside"],
            ordered=values["ordered"],
            mode=values["mode"],
            other=None if values["other"] is None else OtherMode(**values["other"]),
        )


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loaded model is. Sizes in bytes, lengths in tokens."""

    name: str
    path: str
    architecture: str
    description: str
    n_params: int
    size_bytes: int
    quantisation: str
    n_vocab: int
    n_ctx: int
    """Context of this load, shared by all slots."""
    n_ctx_train: int
    n_slots: int
    n_batch: int
    """Most tokens in one `forward`."""
    max_rows: int | None = None
    """Most rows of logits in one `forward`; None is as many as tokens."""
    chat_template: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


class Tokenizer(Protocol):
    """Text to token ids and back. Bytes, not text, come out: one token may be half a character."""

    @property
    def n_vocab(self) -> int: ...
    @property
    def kind(self) -> str:
        """The type of tokenizer in llama.cpp's words: "spm", "bpe", "wpm", "ugm", "rwkv", "none"; "toy" for the toy."""

    @property
    def bos(self) -> int | None: ...
    @property
    def eos(self) -> int | None: ...
    @property
    def add_bos(self) -> bool: ...
    @property
    def add_eos(self) -> bool: ...
    @property
    def eog(self) -> frozenset[int]:
        """Every token that ends a generation (end of text, end of turn …)."""

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """Token ids of a text. `add_special` adds BOS where the model wants one; `parse_special` reads "<|im_end|>" as
        the one control token it names."""

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes a token adds to the text; control tokens give nothing unless `special`."""

    def text(self, token: int) -> str:
        """The token's text as the vocabulary has it (for comparing two vocabularies)."""


class OffersHidden(Protocol):
    """An engine whose hidden rows can be had, for a head that reads them."""

    @property
    def hidden(self) -> Sequence[Hidden]:
        """Those of the last pass, one array a chunk. A main model gives one row for each token of a chunk; a head one
        for each wanted row."""

    def offer_hidden(self, on: bool) -> None:
        """Whether a reader of hidden rows comes or goes: while there is one, passes keep them, which costs the last
        layer for every token read."""


class Engine(Protocol):
    """One loaded model. Contract (run on every engine by `tests/contracts/test_engines.py`):

    - any split of a text into chunks gives the same logits, within `numerics.max_abs_diff`;
    - `rewind` then reading again equals never having read;
    - `copy` equals reading the same tokens at the other slot;
    - a full cache raises `CacheFullError` and leaves every slot as it was;
    - what `rewind_limit` does not allow is refused, never done wrongly.
    """

    @property
    def info(self) -> ModelInfo: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def numerics(self) -> Numerics | None:
        """The probe's result; None before or without one. Exact engines answer zero differences."""

    @property
    def exact_rows(self) -> int | None:
        """In exact numerics, the most tokens of one pass whose rows equal single steps; None is any number, and no
        restriction. Prompts are then read in pieces of two kinds (`scheduling/exact_prefill.py`)."""

    @property
    def exact_grain(self) -> int:
        """With a number of `exact_rows`: large passes of at least `BLOCK` tokens are alike in multiples of so many."""

    @property
    def rewind_limit(self) -> Rewind:
        """How far back slots can go."""

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Read all chunks in one pass. One array a chunk, shape (want, n_vocab), views valid until the next `forward`.

        At most one chunk a slot, `info.n_batch` tokens and `info.max_rows` rows in all. The views are read-only.
        Raises `CacheFullError` (nothing was read), `Cancelled` or `EngineError` (every slot is put back to its length
        before the call).
        """

    def length(self, slot: int) -> int:
        """Tokens the slot has read."""

    def rewind(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of a slot, forget the rest. Raises `RewindError` where that cannot be
        (`reachable` tells); forgetting everything (`length` 0) is always possible."""

    def copy(self, src: int, dst: int, length: int) -> None:
        """Make slot `dst` hold the first `length` tokens of `src`, whatever it held before. Raises `RewindError` where
        `src` has no such state."""

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        """The longest text, of at most `length` tokens, that the slot can be taken back to, or that can be copied."""

    def keep(self, slot: int) -> None:
        """Remember the slot's state, so that it can be taken back to this length later: a checkpoint. An engine that
        can go back freely does nothing, and one that has too many forgets an older one."""

    def owed(self, slot: int) -> int:
        """Tokens of the slot that the next pass reads again, because their state was lost with rejected guesses."""

    def abort(self) -> None:
        """From any thread: end the running `forward` soon; it raises `Cancelled` with every slot put back.

        Between two passes it does nothing, so it never hits a pass that began after it: whoever cancels marks the
        request as cancelled first, and looks at the mark before every pass."""

    def close(self) -> None:
        """Free the model's memory. Calling it twice does nothing."""
