"""Does this draft fit that main model? A level, a code, and the reason in words with the numbers.

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
from dataclasses import dataclass, field
from pathlib import Path

from foredraft.core.errors import IncompatibleDraftError, ModelError
from foredraft.core.params import BUILTIN
from foredraft.models.facts import ModelFacts, read_facts
from foredraft.models.gguf import first_difference, read_tokens
from foredraft.models.heads import ASSISTANT, HELPERS, misfit, own_head

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

REASONS: Mapping[str, tuple[str, str]] = {
    "vocab_same": ("Same tokenizer", "同じトークナイザー"),
    "vocab_padded": (
        "Same tokenizer; sizes differ by {n} (allowed up to 128)",
        "同じトークナイザー。語彙数の差は {n}（128 まで可）",
    ),
    "vocab_size": (
        "Different tokenizer: {a:,} tokens, the main model has {b:,}",
        "トークナイザーが異なります（{a:,} 語彙、メインモデルは {b:,} 語彙）",
    ),
    "vocab_token": (
        'Different tokenizer: token {id} is "{x}" here and "{y}" in the main model',
        "トークナイザーが異なります（トークン {id} が「{x}」、メインモデルでは「{y}」）",
    ),
    "vocab_kind": (
        "Different kind of tokenizer ({a}, main model {b})",
        "トークナイザーの方式が異なります（{a}、メインモデルは {b}）",
    ),
    "special_tokens": (
        "Different start or end tokens ({name} {x} here, {y} in the main model)",
        "開始・終了トークンが異なります（{name} が {x}、メインモデルでは {y}）",
    ),
    "too_large": (
        "Too large to help: {p}% of the main model's size",
        "大きすぎて効果がありません（メインモデルの {p}%）",
    ),
    "memory": ("Needs {a} GB, {b} GB free", "メモリ不足です（必要 {a} GB、空き {b} GB）"),
    "same_model": ("This is the main model", "メインモデルと同じです"),
    "not_text": ("Embedding model, cannot write text", "埋め込みモデルのため文章を生成できません"),
    "head_fits": ("Reads this model's hidden rows", "このモデルの隠れ状態を読みます"),
    "head_misfit": (
        "Made for another model: {what} {a}, here {b}",
        "別のモデル用です（{what}: {a}、このモデルは {b}）",
    ),
    "head_unusable": ("The draft inside this model cannot be used: {why}", "内蔵ドラフトを使えません（{why}）"),
    "head_unsupported": (
        "Drafts of this kind ({architecture}) are not run here",
        "この種類のドラフト（{architecture}）にはまだ対応していません",
    ),
    "part_missing": ("File {i} of {n} is missing", "分割ファイルの {i}/{n} がありません"),
    "unreadable": ("The file cannot be read: {error}", "ファイルを読み取れません: {error}"),
}
"""Code to the words in English and Japanese."""

NOT_TEXT = {
    "embedding": REASONS["not_text"],
    "diffusion": ("Diffusion model, does not write from left to right", "拡散モデルのため左から順に生成できません"),
    "helper": (
        "Draft of another model, cannot write text by itself",
        "ほかのモデル用のドラフトのため、単独では文章を生成できません",
    ),
    "projector": ("Image part of another model, cannot write text", "画像用の部品のため文章を生成できません"),
    "adapter": ("Adapter (LoRA), not a model of its own", "アダプター (LoRA) であり、単独のモデルではありません"),
    "vocabulary": ("Vocabulary only, without weights", "語彙だけのファイルで、重みがありません"),
}
"""`not_text` in the words of what the file is."""

NOTES: Mapping[str, tuple[str, str]] = {
    "share": ("{p}% of the main model's size", "メインモデルの {p}% のサイズ"),
    "guide": (
        "larger than the guide's {g} B for this main model: it may not be faster",
        "このメインモデルの目安 {g}B より大きく、速くならないことがあります",
    ),
    "small_main": (
        "models under about 3 B rarely gain from a draft",
        "約 3B 未満のモデルでは効果が出にくい傾向があります",
    ),
    "forced": ("used all the same, because you said so", "指定により使用します"),
}

SUPPORTED = frozenset({ASSISTANT, "eagle3"})
"""Of the drafts that read hidden rows and are an architecture of their own, those that are run here."""

FORCEABLE = frozenset({"vocab_token", "special_tokens", "too_large", "memory", "same_model", "vocab_kind"})
"""What `--force` may overrule: these cost speed, never correctness. The others would need tokens that one of the two
models does not have, guesses that cannot be taken back, or a file that is not there."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The verdict on one draft for one main model.

    `numbers` holds what the words are made of, under the names used in `REASONS`, and always `shared_tokens`: ids from
    there on exist in one of the two models only and must be neither guessed nor handed to the draft.
    """

    level: str
    usable: bool
    code: str
    reasons: Mapping[str, str]
    numbers: Mapping[str, int | float | str] = field(default_factory=dict)
    forced: bool = False

    def require(self) -> None:
        """Raise `IncompatibleDraftError` unless the draft may be used."""
        if not self.usable:
            raise IncompatibleDraftError(self.code, f"{self.reasons['en']}.")


@dataclass(frozen=True, slots=True)
class VocabularyCheck:
    """llama.cpp's answer on two vocabularies: `code` is one of the vocabulary codes of `REASONS`."""

    code: str
    numbers: Mapping[str, int | str]

    @property
    def compatible(self) -> bool:
        return self.code in ("vocab_same", "vocab_padded")


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
        return VocabularyCheck("vocab_kind", {"a": theirs.model or "none", "b": ours.model or "none"})
    apart = abs(ours.n_tokens - theirs.n_tokens)
    if apart > MAX_SIZE_DIFFERENCE:
        return VocabularyCheck("vocab_size", {"a": theirs.n_tokens, "b": ours.n_tokens})
    difference = differ(main, draft)
    if difference is not None:
        token, text, draft_text = difference
        return VocabularyCheck("vocab_token", {"id": token, "x": _shown(draft_text), "y": _shown(text)})
    for name, adds, special, draft_adds, draft_special in (
        ("BOS", ours.add_bos, ours.bos, theirs.add_bos, theirs.bos),
        ("EOS", ours.add_eos, ours.eos, theirs.add_eos, theirs.eos),
    ):
        if adds != draft_adds or (adds and special != draft_special):
            return VocabularyCheck(
                "special_tokens",
                {
                    "name": name,
                    "x": _token_words(draft, draft_special if draft_adds else None),
                    "y": _token_words(main, special if adds else None),
                },
            )
    return VocabularyCheck("vocab_padded", {"n": apart}) if apart else VocabularyCheck("vocab_same", {})


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
        return unreadable(error.message if isinstance(error, ModelError) else str(error))


def unreadable(error: str) -> Pairing:
    """The verdict on a file that cannot be read."""
    return _refused("unreadable", {"error": error})


def _verdict(main: ModelFacts, draft: ModelFacts, force: bool, differ: Differ, memory: MemoryCheck | None) -> Pairing:
    if draft.missing is not None:
        return _refused("part_missing", {"i": draft.missing[0], "n": draft.missing[1]})
    for model in (draft, main):
        if model.kind != "text" and not (model is draft and model.kind == "helper"):
            return _refused("not_text", {"kind": model.kind, "model": str(model.path.name)}, NOT_TEXT[model.kind])
    if draft.kind == "helper":
        return _head_verdict(main, draft, differ, memory)
    check = check_vocabularies(main, draft, differ=differ)
    share = draft.n_active / main.n_active if main.n_active else 1.0
    guide = guide_size(main.n_active)
    numbers: dict[str, int | float | str] = {
        **check.numbers,
        "p": max(1, round(100 * share)),
        "g": round(guide / 1e9, 1),
        "shared_tokens": min(main.vocabulary.n_tokens, draft.vocabulary.n_tokens),
    }
    code = check.code
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
    return Pairing(level, True, code, _words(REASONS[code], numbers, notes), numbers)


def _head_verdict(main: ModelFacts, draft: ModelFacts, differ: Differ, memory: MemoryCheck | None) -> Pairing:
    """The verdict on a draft that reads hidden rows. Nothing of it can be forced: it was made for one model."""
    if draft.path.name == BUILTIN:
        why = own_head(main)
        if why:
            return _refused("head_unusable", {"why": why})
    else:
        wrong = misfit(main, draft)
        if wrong:
            return _refused("head_misfit", wrong)
        check = check_vocabularies(main, draft, differ=differ)
        if not check.compatible:
            return _refused(check.code, check.numbers)
        if draft.heads.here and (why := own_head(draft)):
            return _refused("head_unusable", {"why": why})
        if draft.architecture not in SUPPORTED and draft.architecture in HELPERS:
            return _refused("head_unsupported", {"architecture": draft.architecture})
    share = draft.n_active / main.n_active if main.n_active else 1.0
    numbers: dict[str, int | float | str] = {
        "p": max(1, round(100 * share)),
        "shared_tokens": min(main.vocabulary.n_tokens, draft.vocabulary.n_tokens),
    }
    if memory is not None:
        needed, free = memory(main, draft)
        if needed > free:
            return _refused("memory", {**numbers, "a": _gigabytes(needed), "b": _gigabytes(free)})
    return Pairing(RECOMMENDED, True, "head_fits", _words(REASONS["head_fits"], numbers, ["share"]), numbers)


def _forced(main: ModelFacts, draft: ModelFacts, refused: Pairing) -> Pairing:
    """The same verdict, overruled, where both models know each other's token ids."""
    apart = abs(main.vocabulary.n_tokens - draft.vocabulary.n_tokens)
    if refused.code not in FORCEABLE or apart > MAX_SIZE_DIFFERENCE:
        return refused
    words = {
        language: f"{text} · {NOTES['forced'][place]}" for place, (language, text) in enumerate(refused.reasons.items())
    }
    return Pairing(WORKS, True, refused.code, words, refused.numbers, forced=True)


def _refused(code: str, numbers: Mapping[str, int | float | str], words: tuple[str, str] | None = None) -> Pairing:
    return Pairing(NOT_USABLE, False, code, _words(words or REASONS[code], numbers, []), numbers)


def _words(reason: tuple[str, str], numbers: Mapping[str, int | float | str], notes: list[str]) -> dict[str, str]:
    return {
        language: " · ".join(
            text.format(**numbers) for text in (reason[place], *(NOTES[note][place] for note in notes))
        )
        for place, language in enumerate(("en", "ja"))
    }


def _shown(text: str) -> str:
    """A token's text for one line: what cannot be seen is escaped, what is long is cut."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
    return shown if len(shown) <= 40 else shown[:39] + "…"


def _token_words(model: ModelFacts, token: int | None) -> str:
    if token is None or model.vocabulary.tokens is None:
        return "none"
    return f'{token} "{_shown(read_tokens(model.path, model.vocabulary.tokens, {token}).get(token, ""))}"'


def _gigabytes(size: int) -> float:
    return round(size / 1e9, 1)


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first == second or first.samefile(second)
    except OSError:
        return False
