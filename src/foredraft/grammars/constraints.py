"""What may come next, by a grammar: JSON, a JSON schema, a set of tool calls.

A constraint looks ahead along a drafted prefix and moves on by emitted tokens only (law 8 of the house), so an answer
that must be JSON is drafted and verified like any other. Where the grammar leaves one way to go on, `forced` names
those tokens: guesses that cost nothing.

The grammars are llguidance's (imported when one is first needed). They come from strangers: `limits.py` says
how large they may be, each is compiled in a child process first (`trial.py`), and here on a stack that suits
its size. That is done once: who asks for the same grammar again gets a copy of its beginning.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foredraft.child import ChildError, Children
from foredraft.core.deep_stack import on_deep_stack
from foredraft.grammars.limits import GrammarError as GrammarError
from foredraft.grammars.limits import check_lark, schema_text
from foredraft.grammars.schema_support import taken
from foredraft.grammars.trial import STACK, STACK_A_BYTE, STACK_TRIED, first_line

STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "coerce_one_of": True}
"""How JSON is laid out: on one line, as `json.dumps` writes it. Fixed, so that a model cannot lose itself in white
space, and so that whatever a schema prescribes is forced: free guesses. `oneOf` is taken as `anyOf`."""
COMPILE_SECONDS = 3.0
COMPILE_BYTES = 2**28
"""Time and memory that compiling a grammar may take. The longest schemas known take tenths of a second."""


KEPT = 8
"""Compiled grammars that a vocabulary keeps, those used last, and texts that were tried and found good."""
KEPT_SECONDS = 0.25
"""Grammars that took longer are not kept: what takes time takes memory too, 0.2 MB a millisecond at most as seen."""


class Encoder(Protocol):
    """What a grammar asks of a tokenizer."""

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]: ...


class GrammarVocabulary:
    """A model's vocabulary as grammars read it. Made once a model: it takes about a second for 150,000 tokens."""

    def __init__(self, pieces: Sequence[bytes], ends: Collection[int], encoder: Encoder) -> None:
        """`pieces` are the tokens' bytes by id, empty for control tokens; `ends` end a generation."""
        from llguidance import LLTokenizer, TokenizerWrapper

        self.n_vocab = len(pieces)
        self.ends = sorted(ends)
        # Control tokens are no text: marked so that no grammar spells them. Two tokens with equal bytes are fine.
        marked = [piece or b"\xff<control %d>" % token for token, piece in enumerate(pieces)]
        wrapped = TokenizerWrapper(_Words(marked, self.ends, encoder))
        self.tokenizer = LLTokenizer(wrapped, n_vocab=self.n_vocab, eos_token=self.ends or [0])
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def matcher(self, grammar: str) -> Any:
        """llguidance's matcher at the beginning of a grammar: to be copied (microseconds), not to be moved on. Raises
        `GrammarError`. From any thread."""
        with self._lock:
            kept = self._kept.get(grammar)
            if kept is not None:
                self._kept.move_to_end(grammar)
                return kept
        began = time.perf_counter()
        made = on_deep_stack(STACK + STACK_A_BYTE * len(grammar), lambda: self._made(grammar))
        if made.is_error():
            raise GrammarError(first_line(made.get_error()))
        if time.perf_counter() - began <= KEPT_SECONDS:
            with self._lock:
                self._kept[grammar] = made
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return made

    def _made(self, grammar: str) -> Any:
        """With its first mask, which is the dearest: here, and not on the thread that owns the models."""
        from llguidance import LLMatcher

        made = LLMatcher(self.tokenizer, grammar, log_level=0)
        if not made.is_error() and not made.is_stopped():
            made.compute_ff_tokens()
            made.compute_bitmask()
        return made


class _Words:
    """The shape in which llguidance wants a tokenizer."""

    def __init__(self, tokens: list[bytes], ends: list[int], encoder: Encoder) -> None:
        self.tokens = tokens
        self.eos_token_id = ends[0] if ends else 0
        self.bos_token_id = None
        self.special_token_ids = [token for token, piece in enumerate(tokens) if piece.startswith(b"\xff<control")]
        self._encoder = encoder

    def __call__(self, text: bytes | str) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        return self._encoder.encode(text, add_special=False, parse_special=False)


class GrammarConstraint:
    """The place of one answer in a grammar."""

    def __init__(self, vocabulary: GrammarVocabulary, grammar: str) -> None:
        """`grammar` as `json_grammar` and `lark_grammar` make it. Raises `GrammarError`."""
        self._begin(vocabulary, vocabulary.matcher(grammar))

    def again(self) -> GrammarConstraint:
        """The beginning of the same grammar, for another answer, without compiling it again."""
        other = GrammarConstraint.__new__(GrammarConstraint)
        other._begin(self._vocabulary, self._beginning)
        return other

    def _begin(self, vocabulary: GrammarVocabulary, beginning: Any) -> None:
        self._vocabulary, self._beginning = vocabulary, beginning
        self._matcher = beginning.deep_copy()
        self._ahead: list[int] = []  # tokens the matcher has read beyond what was emitted
        self._masks: dict[tuple[int, ...], NDArray[np.bool_]] = {}

    def allowed(self, prefix: Sequence[int]) -> NDArray[np.bool_] | None:
        """What may follow the emitted tokens and `prefix`, shape (n_vocab,)."""
        key = tuple(prefix)
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = self._mask() if self._go_to(key) else self._only_ends()
        return mask

    def commit(self, tokens: Sequence[int]) -> None:
        """Move on by emitted tokens."""
        self._masks.clear()
        shared = _common(self._ahead, tokens)
        self._take_back(len(self._ahead) - shared)
        self._ahead = []
        for token in tokens[shared:]:
            if self._matcher.is_stopped() or not self._matcher.consume_token(token):
                break  # the end token, or a token of an answer that ends for another reason

    def forced(self, prefix: Sequence[int] = ()) -> list[int]:
        """The tokens that the grammar leaves no choice about, as a tokenizer would cut their text. They are guesses:
        the model may cut the same text otherwise."""
        if not self._go_to(tuple(prefix)) or self._matcher.is_stopped():
            return []
        return [int(token) for token in self._matcher.compute_ff_tokens()]

    @property
    def finished(self) -> bool:
        """True when what was emitted is a whole text of the grammar."""
        self._take_back(len(self._ahead))
        return bool(self._matcher.is_accepting() or self._matcher.is_stopped())

    def _go_to(self, prefix: tuple[int, ...]) -> bool:
        """Put the matcher behind `prefix`; False when the grammar does not allow it (it then stays legal inside)."""
        shared = _common(self._ahead, prefix)
        self._take_back(len(self._ahead) - shared)
        for token in prefix[shared:]:
            if self._matcher.is_stopped() or self._matcher.validate_tokens([token]) != 1:
                return False
            if not self._matcher.consume_token(token):
                return False
            self._ahead.append(token)
        return True

    def _take_back(self, count: int) -> None:
        if count > 0:
            self._matcher.rollback(count)
            del self._ahead[len(self._ahead) - count :]

    def _mask(self) -> NDArray[np.bool_]:
        if self._matcher.is_stopped():
            return self._only_ends()
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: self._vocabulary.n_vocab].astype(np.bool_)
        return mask if mask.any() else self._only_ends()

    def _only_ends(self) -> NDArray[np.bool_]:
        mask = np.zeros(self._vocabulary.n_vocab, dtype=np.bool_)
        mask[self._vocabulary.ends] = True
        return mask


def json_grammar(schema: Mapping[str, Any] | bool | None = None) -> str:
    """The grammar of a JSON schema, as far as it can be kept to (`schema_support.left_out` names the rest); of any
    object where there is none. Raises `GrammarError` with the path at fault."""
    wanted: Any = {"type": "object"} if schema is None else schema
    if not isinstance(wanted, (Mapping, bool)):
        raise GrammarError(f"a schema is an object, not {str(wanted)[:40]}")
    return _tried("schema", _text_taken(wanted))


def lark_grammar(text: str) -> str:
    """A grammar in llguidance's dialect of Lark; `%json {…}` in it is a schema. Raises `GrammarError`."""
    check_lark(text)
    return _tried("lark", text)


def json_rule(schema: Mapping[str, Any] | bool) -> str:
    """A schema as a rule inside a Lark grammar. Raises `GrammarError` for one beyond the limits."""
    return "%json " + _text_taken({**(schema if isinstance(schema, Mapping) else {}), "x-guidance": STYLE})


def _text_taken(schema: Any) -> str:
    schema_text(schema)  # within the limits as it was given, too: what follows goes as deep as it does
    return schema_text(taken(schema))


@functools.lru_cache(maxsize=KEPT)
def _tried(kind: str, text: str) -> str:
    """The grammar, after a child has compiled it within its limits and found nothing wrong."""
    try:
        found = _children().call(kind, text, STYLE)
    except ChildError as error:
        raise GrammarError(error.message) from error
    if found["fault"]:
        raise GrammarError(found["fault"], found["path"])
    return str(found["grammar"])


@functools.cache
def _children() -> Children:
    return Children("foredraft.grammars.trial:compiled", seconds=COMPILE_SECONDS, n_bytes=COMPILE_BYTES + STACK_TRIED)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    n = 0
    for ours, theirs in zip(a, b, strict=False):
        if ours != theirs:
            break
        n += 1
    return n
