"""Byte-level BPE of 4,096 tokens that keeps to words, in Japanese too.

llama.cpp knows a fixed set of pre-tokenizers; this is exactly its ``qwen2``: digits one by one,
words with their leading space, punctuation apart. That expression does not split Japanese, so a
BPE trained on whole sentences would learn tokens across word borders and give one word another
tokenisation in another context, which hurts copying. It is therefore *trained* on text that is
cut at words and particles, in pieces of at most four characters; *encoding* needs no such care.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from . import corpus
from .corpus import Document, Turn
from .corpus.vocabulary import ANIMALS, CITIES, JOBS, NAMES, PLACES, THINGS

VOCABULARY = 4096
BOS, END, SYSTEM, USER, ASSISTANT, PAD = ("<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|pad|>")
SPECIAL = (BOS, END, SYSTEM, USER, ASSISTANT, PAD)

# The pattern of llama.cpp's LLAMA_VOCAB_PRE_TYPE_QWEN2.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The tokenizer adds <|bos|>, so the template must not.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content']"
    " + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff々ー]+")
_WORDS = sorted(
    {n.ja for n in THINGS + ANIMALS + PLACES + JOBS} | {c[1] for c in CITIES} | set(NAMES["ja"]), key=len, reverse=True
)
_PARTICLES = (
    "ください",
    "ですか",
    "でしょうか",
    "ました",
    "ません",
    "です",
    "ます",
    "から",
    "まで",
    "という",
    "して",
    "した",
    "する",
    "は",
    "が",
    "を",
    "に",
    "で",
    "と",
    "の",
    "へ",
    "も",
    "や",
)
_PIECES = re.compile(
    "|".join(map(re.escape, _WORDS))
    + "|"
    + "|".join(_PARTICLES)
    + r"|[\u30a0-\u30ffー]+|[\u3400-\u9fff々]+"
    + rf"|(?:(?!{'|'.join(_PARTICLES)})[\u3040-\u309f])+"
)


def cut(text: str) -> Iterator[str]:
    """Pieces whose inside merges may use; Japanese ones have at most four characters."""
    position = 0
    for match in _JAPANESE.finditer(text):
        if match.start() > position:
            yield text[position : match.start()]
        for piece in _PIECES.findall(match.group()):
            for i in range(0, len(piece), 4):
                yield piece[i : i + 4]
        position = match.end()
    if position < len(text):
        yield text[position:]


def _tokenizer(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train(seed: int, path: Path, count: int = 30_000) -> Tokenizer:
    """Train on the first ``count`` documents of the corpus and write ``tokenizer.json``."""
    tokenizer = _tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )

    def pieces() -> Iterator[str]:
        for document in islice(corpus.documents(seed), count):
            for turn in document.turns:
                yield from cut(turn.text)

    tokenizer.train_from_iterator(pieces(), trainer)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return tokenizer


def load(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))


def parts(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """Tokens in the order of their ids, and merges as "left right": what a GGUF wants."""
    model = json.loads(tokenizer.to_str())["model"]
    size = tokenizer.get_vocab_size()
    tokens = [str(tokenizer.id_to_token(i)) for i in range(size)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return tokens, merges


def render(turns: Iterable[Turn], answer: bool = False) -> str:
    """The chat template in Python, without <|bos|>; ``answer`` opens the assistant's turn."""
    text = "".join(f"<|{t.role}|>\n{t.text}{END}\n" for t in turns)
    return text + f"{ASSISTANT}\n" if answer else text


def segments(document: Document) -> list[tuple[str, bool]]:
    """The document as (text, is it an answer) in the order of the template."""
    out: list[tuple[str, bool]] = []
    for turn in document.turns:
        said = turn.role == "assistant"
        out.append((f"<|{turn.role}|>\n", False))
        out.append((f"{turn.text}{END}", said))
        out.append(("\n", False))
    return out
