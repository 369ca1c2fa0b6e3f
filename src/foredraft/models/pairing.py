"""Does this draft fit that main model? A level, and the reason: a code with its numbers.

The rule for vocabularies is llama.cpp's (`common_speculative_are_compatible`), computed from the two files' headers:

1. the same type of tokenizer;
2. both or neither add a start token, and it is the same one; alike for the end token;
3. at most `MAX_SIZE_DIFFERENCE` tokens more or fewer (output matrices are padded to round sizes);
4. the same text for every token from id `FIRST_COMPARED` up to the smaller size.

So tokens that are never used, ids below 5 and start or end tokens that are not added do not refuse a pair.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from foredraft.core.errors import IncompatibleDraftError, ModelError
from foredraft.core.params import BUILTIN
from foredraft.core.reasons import Numbers, Reason, Value
from foredraft.models.facts import ModelFacts, read_facts
from foredraft.models.gguf import first_difference, read_tokens
from foredraft.models.head_fit import misfit, own_head
from foredraft.models.heads import ASSISTANT, HELPERS

MAX_SIZE_DIFFERENCE = 128
FIRST_COMPARED = 5

RECOMMENDED, WORKS, NOT_USABLE = "recommended", "works", "not_usable"

TOO_LARGE = 0.5
"""A draft of more than this share of the main model's (active) parameters cannot pay: γ guesses cost more than γ/2
passes of the main model."""
RARELY_PAYS = 3_500_000_000
"""Main models under this many parameters ("3 B") rarely gain from a draft."""
GUIDE = ((3e9, 0.0), (7e9, 1e9), (14e9, 3e9), (32e9, 7e9))
"""Main model's parameters and the largest draft to expect a gain from; straight lines between."""

Difference = tuple[int, str, str]
"""The first token that differs: id, text in the main model, text in the draft."""
Differ = Callable[[ModelFacts, ModelFacts], Difference | None]
MemoryCheck = Callable[[ModelFacts, ModelFacts], tuple[int, int]]
"""Bytes needed for main and draft together, and bytes free."""

KINDS = ("embedding", "diffusion", "helper", "projector", "adapter", "vocabulary")
"""Kinds of files that cannot be a main model; `kind_…` has what each is."""

SUPPORTED = frozenset({ASSISTANT, "eagle3"})
"""Of the drafts that read hidden rows and are an architecture of their own, those that are run here."""

NONE = Reason("none")

FORCEABLE = frozenset({"vocab_token", "special_tokens", "too_large", "memory", "same_model", "vocab_kind"})
"""What `--force` may overrule: these cost speed, never correctness. The others would need tokens that one of the two
models does not have, guesses that cannot be taken back, or a file that is not there."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The verdict on one draft for one main model.

    The numbers of `reason` have `shared_tokens` where vocabularies were compared: ids from there on exist in one of the
    two models only and must be neither guessed nor handed to the draft.
    """

    level: str
    usable: bool
    reason: Reason
    notes: tuple[Reason, ...] = ()
    """What else is to be said of the pair."""
    forced: bool = False

    @property
    def code(self) -> str:
        return self.reason.code

    @property
    def why(self) -> Reason:
        """The reason with its notes."""
        return Reason("noted", {"parts": (self.reason, *self.notes)}) if self.notes else self.reason

    def require(self) -> None:
        """Raise `IncompatibleDraftError` unless the draft may be used."""
        if not self.usable:
            raise IncompatibleDraftError(self.why)


@dataclass(frozen=True, slots=True)
class VocabularyCheck:
    """llama.cpp's answer on two vocabularies."""

    reason: Reason

    @property
    def compatible(self) -> bool:
        return self.reason.code in ("vocab_same", "vocab_padded")


def guide_size(main_params: int) -> float:
    """The guide's largest draft for a main model, in parameters; 0 for none."""
    for (size_a, draft_a), (size_b, draft_b) in itertools.pairwise(GUIDE):
        if main_params <= size_b:
            return max(0.0, draft_a + (main_params - size_a) * (draft_b - draft_a) / (size_b - size_a))
    return main_params * GUIDE[-1][1] / GUIDE[-1][0]


def token_difference(main: ModelFacts, draft: ModelFacts) -> Difference | None:
    """The first token, from id 5 on, whose text differs; read from both files unless their hashes agree."""
    if main.vocabulary.tokens_hash == draft.vocabulary.tokens_hash:
        return None
    if main.vocabulary.tokens is None or draft.vocabulary.tokens is None:
        return None  # no texts to compare: llama.cpp compares empty lists too
    return first_difference((main.path, main.vocabulary.tokens), (draft.path, draft.vocabulary.tokens), FIRST_COMPARED)


def check_vocabularies(main: ModelFacts, draft: ModelFacts, *, differ: Differ = token_difference) -> VocabularyCheck:
    """llama.cpp's rule. Of several faults the one that says most is named: kind, size, token, start and end."""
    ours, theirs = main.vocabulary, draft.vocabulary
    if ours.kind != theirs.kind or (not ours.kind and ours.model != theirs.model):
        return VocabularyCheck(Reason("vocab_kind", {"a": theirs.model or NONE, "b": ours.model or NONE}))
    apart = abs(ours.n_tokens - theirs.n_tokens)
    if apart > MAX_SIZE_DIFFERENCE:
        return VocabularyCheck(Reason("vocab_size", {"a": theirs.n_tokens, "b": ours.n_tokens}))
    difference = differ(main, draft)
    if difference is not None:
        token, text, draft_text = difference
        return VocabularyCheck(Reason("vocab_token", {"id": token, "x": _shown(draft_text), "y": _shown(text)}))
    for name, adds, special, draft_adds, draft_special in (
        ("BOS", ours.add_bos, ours.bos, theirs.add_bos, theirs.bos),
        ("EOS", ours.add_eos, ours.eos, theirs.add_eos, theirs.eos),
    ):
        if adds != draft_adds or (adds and special != draft_special):
            numbers: Numbers = {
                "name": name,
                "x": _token(draft, draft_special if draft_adds else None),
                "y": _token(main, special if adds else None),
            }
            return VocabularyCheck(Reason("special_tokens", numbers))
    return VocabularyCheck(Reason("vocab_padded", {"n": apart}) if apart else Reason("vocab_same"))


def pair(
    main: ModelFacts | Path | str,
    draft: ModelFacts | Path | str,
    *,
    force: bool = False,
    differ: Differ = token_difference,
    memory: MemoryCheck | None = None,
) -> Pairing:
    """The verdict on `draft` for `main`, from their headers alone.

    With `force` a pair that costs only speed is used all the same. `memory` is asked last, for pairs that would fit.
    Raises what `read_facts` raises for the main model; an unreadable draft is a verdict.
    """
    main_facts = main if isinstance(main, ModelFacts) else read_facts(Path(main))
    try:
        draft_facts = draft if isinstance(draft, ModelFacts) else read_facts(Path(draft))
        return _verdict(main_facts, draft_facts, force, differ, memory)
    except (ModelError, OSError) as error:
        return unreadable(error.why or error.message if isinstance(error, ModelError) else str(error))


def unreadable(error: Reason | str) -> Pairing:
    """The verdict on a file that cannot be read."""
    return _refused("unreadable", {"error": error})


def _verdict(main: ModelFacts, draft: ModelFacts, force: bool, differ: Differ, memory: MemoryCheck | None) -> Pairing:
    if draft.missing is not None:
        return _refused("part_missing", {"i": draft.missing[0], "n": draft.missing[1]})
    for model in (draft, main):
        if model.kind != "text" and not (model is draft and model.kind == "helper"):
            return _refused("not_text", {"kind": Reason(f"kind_{model.kind}"), "model": model.path.name})
    if draft.kind == "helper":
        return _head_verdict(main, draft, differ, memory)
    check = check_vocabularies(main, draft, differ=differ)
    share = draft.n_active / main.n_active if main.n_active else 1.0
    guide = guide_size(main.n_active)
    numbers: Numbers = {
        **check.reason.numbers,
        "p": max(1, round(100 * share)),
        "g": round(guide / 1e9, 1),
        "shared_tokens": min(main.vocabulary.n_tokens, draft.vocabulary.n_tokens),
    }
    code = check.reason.code
    if check.compatible:
        if _same_file(main.path, draft.path):
            code = "same_model"
        elif share > TOO_LARGE:
            code = "too_large"
        elif memory is not None:
            needed, free = memory(main, draft)
            numbers |= {"a": _gigabytes(needed), "b": _gigabytes(free)}
            code = "memory" if needed > free else code
    if code not in ("vocab_same", "vocab_padded"):
        refused = _refused(code, numbers)
        return _forced(main, draft, refused) if force else refused
    notes, level = ["share"], RECOMMENDED
    if main.n_active < RARELY_PAYS:
        notes, level = ["share", "small_main"], WORKS
    elif draft.n_active > guide:
        notes, level = ["share", "guide"], WORKS
    return Pairing(level, True, Reason(code, numbers), tuple(Reason(f"note_{note}", numbers) for note in notes))


def _head_verdict(main: ModelFacts, draft: ModelFacts, differ: Differ, memory: MemoryCheck | None) -> Pairing:
    """The verdict on a draft that reads hidden rows. Nothing of it can be forced: it was made for one model."""
    if draft.path.name == BUILTIN:
        why = own_head(main)
        if why:
            return _refused("head_unusable", {"why": why})
    else:
        wrong = misfit(main, draft)
        if wrong:
            return Pairing(NOT_USABLE, False, wrong)
        check = check_vocabularies(main, draft, differ=differ)
        if not check.compatible:
            return Pairing(NOT_USABLE, False, check.reason)
        if draft.heads.here and (why := own_head(draft)):
            return _refused("head_unusable", {"why": why})
        if draft.architecture not in SUPPORTED and draft.architecture in HELPERS:
            return _refused("head_unsupported", {"architecture": draft.architecture})
    share = draft.n_active / main.n_active if main.n_active else 1.0
    numbers: Numbers = {
        "p": max(1, round(100 * share)),
        "shared_tokens": min(main.vocabulary.n_tokens, draft.vocabulary.n_tokens),
    }
    if memory is not None:
        needed, free = memory(main, draft)
        if needed > free:
            return _refused("memory", {**numbers, "a": _gigabytes(needed), "b": _gigabytes(free)})
    return Pairing(RECOMMENDED, True, Reason("head_fits", numbers), (Reason("note_share", numbers),))


def _forced(main: ModelFacts, draft: ModelFacts, refused: Pairing) -> Pairing:
    """The same verdict, overruled, where both models know each other's token ids."""
    apart = abs(main.vocabulary.n_tokens - draft.vocabulary.n_tokens)
    if refused.code not in FORCEABLE or apart > MAX_SIZE_DIFFERENCE:
        return refused
    return Pairing(WORKS, True, refused.reason, (Reason("note_forced"),), forced=True)


def _refused(code: str, numbers: Mapping[str, Value]) -> Pairing:
    return Pairing(NOT_USABLE, False, Reason(code, numbers))


def _shown(text: str) -> str:
    """A token's text for one line: what cannot be seen is escaped, what is long is cut."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
    return shown if len(shown) <= 40 else shown[:39] + "…"


def _token(model: ModelFacts, token: int | None) -> Value:
    if token is None or model.vocabulary.tokens is None:
        return NONE
    text = read_tokens(model.path, model.vocabulary.tokens, {token}).get(token, "")
    return Reason("token", {"id": token, "text": _shown(text)})


def _gigabytes(size: int) -> float:
    return round(size / 1e9, 1)


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first == second or first.samefile(second)
    except OSError:
        return False
