"""What is known of a model without loading it: everything that pairing, memory and the shelf decide on.

Made from the headers of its file or files, small enough to be kept in the shelf's cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from foredraft.core.errors import ModelFormatError
from foredraft.core.params import BUILTIN
from foredraft.core.reasons import Reason
from foredraft.models.gguf import SCALARS, TOKENS, ArrayRef, Header, read_array, read_header
from foredraft.models.heads import HELPERS, Heads, read_heads
from foredraft.models.quantisation import mix, quantisation
from foredraft.models.soundness import check_soundness
from foredraft.models.states import HYBRID, RECURRENT, recurrent_layers, state_values

EMBEDDING = frozenset(
    {
        "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert",
        "gemma-embedding", "llama-embed", "t5encoder",
    }
)  # fmt: skip
DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})

PART_NAME = re.compile(r"^(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf$", re.IGNORECASE)

_KINDS = {
    "llama": "spm", "bert": "wpm", "gpt2": "bpe", "hybriddna": "bpe", "whitespace": "bpe", "gemma4": "bpe",
    "t5": "ugm", "rwkv": "rwkv", "plamo2": "plamo2", "none": "none", "no_vocab": "none",
}  # fmt: skip
_DEFAULT_BOS_EOS = {
    "llama": (1, 2), "bert": (101, None), "gpt2": (11, 11), "hybriddna": (11, 11), "whitespace": (11, 11),
    "t5": (None, 1), "plamo2": (1, 2),
}  # fmt: skip
_BOS_PRE = frozenset(
    {
        "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano",
        "tekken", "chameleon",
    }
)  # fmt: skip
_NO_BOS_PRE = frozenset({"chatglm-bpe", "glm4", "glm5"})


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer as llama.cpp will understand it: defaults are filled in as it fills them in (`llama-vocab.cpp`)."""

    model: str
    """The file's own word: "gpt2", "llama" …"""
    pre: str
    kind: str
    """llama.cpp's type: "spm", "bpe", "wpm", "ugm", "rwkv", "plamo2", "none"; "" for a word it does not know."""
    n_tokens: int
    n_merges: int
    bos: int | None
    eos: int | None
    add_bos: bool
    add_eos: bool
    tokens_hash: str
    fingerprint: str
    tokens: ArrayRef | None
    """Where the token texts lie in the first file."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that decide how much memory a load takes. 0 where a file does not say."""

    n_layers: int = 0
    n_embd: int = 0
    n_ff: int = 0
    n_heads: int = 0
    n_kv_heads: tuple[int, ...] = ()
    """One a layer; 0 for a layer without attention."""
    key_length: int = 0
    value_length: int = 0
    sliding_window: int = 0
    sliding_pattern: tuple[bool, ...] = ()
    """One a layer: whether it looks at the window only; empty where the file does not say."""
    n_experts: int = 0
    n_experts_used: int = 0
    latent_kv: int = 0
    """Values a token in a compressed KV cache (multi-head latent attention); 0 without."""
    recurrent_layers: int = 0
    recurrent_state: int = 0
    """Values of state a recurrent layer holds for one sequence."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of the tensors, by place."""

    total: int = 0
    embedding: int = 0
    """The token embedding, which stays in RAM however many layers go to the GPU."""
    output: int = 0
    """The output matrix; 0 where it is the embedding once more (tied)."""
    layers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model, of one file or of several parts. Sizes in bytes, lengths in tokens."""

    paths: tuple[Path, ...]
    name: str
    """The file's own `general.name`; empty where it has none."""
    size_bytes: int
    architecture: str
    kind: str
    """"text", "embedding", "diffusion", "helper" (a draft that reads another model's hidden rows), "projector",
    "adapter" or "vocabulary" (no weights)."""
    n_params: int
    n_active: int
    """Parameters that one token passes through: fewer than `n_params` for a mixture of experts."""
    quantisation: str
    """The name of the mixture ("Q4_K_M"); empty for a file without weights."""
    n_ctx_train: int
    vocabulary: Vocabulary
    shape: Shape
    weights: Weights
    rewind: str = ""
    """"" where any number of tokens can be taken back; else "recurrent" or "hybrid"."""
    heads: Heads = field(default_factory=Heads)
    """What it has in it that guesses from hidden rows; for a "helper", what it reads."""
    has_template: bool = False
    basename: str = ""
    finetune: str = ""
    size_label: str = ""
    missing: tuple[int, int] | None = None
    """(number of the first missing part, number of parts); None when all are there."""
    special: Mapping[str, int] = field(default_factory=dict)
    quantisation_said: str = ""
    """What the file calls its quantisation, where its tensors are plainly something else."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """The share of the weights (values, not bytes) in each type of tensor, the largest first."""

    @property
    def path(self) -> Path:
        """The file to load: the first part."""
        return self.paths[0]


def read_facts(path: Path) -> ModelFacts:
    """Facts of the model whose file, or first part, is `path`. Raises what `read_header` raises.

    A missing part is no error here: `missing` names it.
    """
    header = read_header(path)
    headers, missing = [header], None
    match = PART_NAME.match(path.name)
    if match is not None:
        n_parts = header.integer("split.count") or int(match["parts"])
        for number in range(1, n_parts + 1):
            part = path.with_name(f"{match['stem']}-{number:05d}-of-{match['parts']}.gguf")
            if part == path:
                continue
            if not part.is_file():
                missing = missing or (number, n_parts)
            else:
                headers.append(read_header(part))
    return _facts(headers, missing)


def inside(main: ModelFacts) -> ModelFacts | None:
    """The draft inside a main model, as if it were a file of its own, at the path `BUILTIN`; None where the header
    speaks of none. Its weights are those of its layers, and the output matrix that it shares."""
    if main.kind != "text" or not main.heads.said:
        return None
    layers = main.weights.layers[-main.heads.here :] if main.heads.here else ()
    size, output = sum(layers), main.weights.output or main.weights.embedding
    each = main.n_params / main.weights.total if main.weights.total else 0.0  # parameters a byte
    active = main.n_active / main.n_params if main.n_params else 1.0
    return replace(
        main,
        paths=(Path(BUILTIN),),
        kind="helper",
        size_bytes=size,
        n_params=round((size + output) * each),
        n_active=round((size * active + output) * each),
        weights=Weights(total=size + output, layers=layers),
    )


def facts_to_json(facts: ModelFacts) -> dict[str, Any]:
    """Facts as plain values, for the cache."""
    made = asdict(facts)
    made["paths"] = [str(path) for path in facts.paths]
    return made


def facts_from_json(values: dict[str, Any]) -> ModelFacts:
    """The inverse of `facts_to_json`. Raises `KeyError` or `TypeError` for values of another version."""
    vocabulary, shape, weights = dict(values["vocabulary"]), dict(values["shape"]), dict(values["weights"])
    if vocabulary["tokens"] is not None:
        vocabulary["tokens"] = ArrayRef(**vocabulary["tokens"])
    shape["n_kv_heads"] = tuple(shape["n_kv_heads"])
    shape["sliding_pattern"] = tuple(shape["sliding_pattern"])
    weights["layers"] = tuple(weights["layers"])
    heads = dict(values["heads"])
    heads["layers"] = tuple(heads["layers"])
    changed = {
        "paths": tuple(Path(path) for path in values["paths"]),
        "vocabulary": Vocabulary(**vocabulary),
        "shape": Shape(**shape),
        "weights": Weights(**weights),
        "heads": Heads(**heads),
        "missing": tuple(values["missing"]) if values["missing"] else None,
    }
    return ModelFacts(**{**values, **changed})


def chat_template(facts: ModelFacts) -> str:
    """The file's own chat template; empty without one."""
    return read_header(facts.path).text("tokenizer.chat_template")


def _facts(headers: Sequence[Header], missing: tuple[int, int] | None) -> ModelFacts:
    header = headers[0]
    architecture = header.text("general.architecture")
    if not architecture:
        raise ModelFormatError(Reason("no_architecture", {"file": header.path.name}), path=str(header.path))
    tensors = [tensor for part in headers for tensor in part.tensors]
    vocabulary = _vocabulary(header)
    heads, nothing_else = read_heads(headers, architecture)
    kind = _kind(header, architecture, bool(tensors))
    if kind == "text" and nothing_else:
        kind = "helper"
    if kind in ("text", "embedding", "diffusion", "vocabulary", "helper"):
        check_soundness(headers, architecture, vocabulary.kind)
    weights = _weights(headers)
    shape = _shape(header, architecture)
    n_params = sum(tensor.n_elements for tensor in tensors)
    name, said = quantisation(tensors, header.integer("general.file_type"))
    in_experts = sum(tensor.n_elements for tensor in tensors if "_exps." in tensor.name)
    idle = in_experts - in_experts * shape.n_experts_used // shape.n_experts if shape.n_experts else 0
    return ModelFacts(
        paths=tuple(part.path for part in headers),
        name=header.text("general.name"),
        size_bytes=sum(part.file_size for part in headers),
        architecture=architecture,
        kind=kind,
        n_params=n_params,
        n_active=n_params - idle,
        quantisation=name,
        n_ctx_train=header.integer(f"{architecture}.context_length") or 0,
        vocabulary=vocabulary,
        shape=shape,
        weights=weights,
        rewind="recurrent" if architecture in RECURRENT else "hybrid" if architecture in HYBRID else "",
        heads=heads,
        has_template=bool(header.text("tokenizer.chat_template")),
        basename=header.text("general.basename"),
        finetune=header.text("general.finetune"),
        size_label=header.text("general.size_label"),
        missing=missing,
        special=_special(header, vocabulary.n_tokens),
        quantisation_said=said,
        mix=mix(tensors),
    )


def _kind(header: Header, architecture: str, has_weights: bool) -> str:
    stated = header.text("general.type")
    if stated == "adapter" or header.text("adapter.type"):
        return "adapter"
    if stated == "mmproj" or architecture == "clip":
        return "projector"
    if architecture in EMBEDDING or (header.integer(f"{architecture}.pooling_type") or 0) > 0:
        return "embedding"
    if architecture in DIFFUSION:
        return "diffusion"
    if architecture in HELPERS:
        return "helper"
    return "text" if has_weights else "vocabulary"


def _vocabulary(header: Header) -> Vocabulary:
    model, pre = header.text("tokenizer.ggml.model"), header.text("tokenizer.ggml.pre")
    tokens = header.arrays.get(TOKENS)
    if tokens is not None and not header.tokens_hash:
        raise ModelFormatError(Reason("tokens_not_texts", {"file": header.path.name}), path=str(header.path))
    kind = _KINDS.get(model, "")
    n_tokens = tokens.count if tokens is not None else 0
    merges = header.arrays.get("tokenizer.ggml.merges")
    bos, eos = _DEFAULT_BOS_EOS.get(model, (None, None))
    add_bos, add_eos = kind in ("spm", "wpm"), kind == "ugm"
    if kind == "bpe" and model != "gemma4":
        add_bos = pre in _BOS_PRE
        bos = None if pre in _NO_BOS_PRE else bos
    bos = _token_id(header, "bos", n_tokens, bos)
    eos = _token_id(header, "eos", n_tokens, eos)
    add_bos = bool(header.metadata.get("tokenizer.ggml.add_bos_token", add_bos)) or model == "gemma4"
    add_eos = bool(header.metadata.get("tokenizer.ggml.add_eos_token", add_eos))
    return Vocabulary(
        model=model,
        pre=pre,
        kind=kind,
        n_tokens=n_tokens,
        n_merges=merges.count if merges is not None else 0,
        bos=bos,
        eos=eos,
        add_bos=add_bos,
        add_eos=add_eos,
        tokens_hash=header.tokens_hash,
        fingerprint=header.fingerprint,
        tokens=tokens,
    )


def _token_id(header: Header, name: str, n_tokens: int, default: int | None) -> int | None:
    if default is not None and default >= n_tokens:
        default = None
    given = header.integer(f"tokenizer.ggml.{name}_token_id")
    return given if given is not None and 0 <= given < n_tokens else default


def _special(header: Header, n_tokens: int) -> dict[str, int]:
    prefix, suffix = "tokenizer.ggml.", "_token_id"
    return {
        key[len(prefix) : -len(suffix)]: value
        for key, value in header.metadata.items()
        if key.startswith(prefix) and key.endswith(suffix) and isinstance(value, int) and 0 <= value < n_tokens
    }


def _numbers(header: Header, key: str, n_layers: int) -> tuple[int, ...]:
    """A value that some files give once and others for each layer."""
    array = header.arrays.get(key)
    if array is not None and array.kind in SCALARS and array.count <= 4096:
        return tuple(int(value) for value in read_array(header.path, array))
    return (header.integer(key) or 0,) * n_layers


def _shape(header: Header, architecture: str) -> Shape:
    def number(key: str) -> int:
        return header.integer(f"{architecture}.{key}") or 0

    n_layers = min(number("block_count"), 4096)
    n_heads = max(_numbers(header, f"{architecture}.attention.head_count", n_layers), default=0)
    n_kv_heads = _numbers(header, f"{architecture}.attention.head_count_kv", n_layers)
    if not any(n_kv_heads):
        n_kv_heads = _numbers(header, f"{architecture}.attention.head_count", n_layers)
    per_head = number("embedding_length") // n_heads if n_heads else 0
    pattern_array = header.arrays.get(f"{architecture}.attention.sliding_window_pattern")
    pattern: tuple[bool, ...] = ()
    if pattern_array is not None:
        values = _numbers(header, f"{architecture}.attention.sliding_window_pattern", n_layers)
        pattern = tuple(bool(value) for value in values)
    n_ff = _numbers(header, f"{architecture}.feed_forward_length", n_layers)
    recurrent = recurrent_layers(header, architecture, n_kv_heads, n_ff)
    if architecture != "falcon-h1":  # whose layers have both
        n_kv_heads = tuple(0 if keeps else heads for keeps, heads in zip(recurrent, n_kv_heads, strict=True))
    return Shape(
        n_layers=n_layers,
        n_embd=number("embedding_length"),
        n_ff=max(n_ff, default=0),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        key_length=number("attention.key_length") or per_head,
        value_length=number("attention.value_length") or per_head,
        sliding_window=number("attention.sliding_window"),
        sliding_pattern=pattern,
        n_experts=number("expert_count"),
        n_experts_used=number("expert_used_count"),
        latent_kv=number("attention.kv_lora_rank") + number("rope.dimension_count")
        if number("attention.kv_lora_rank")
        else 0,
        recurrent_layers=sum(recurrent),
        recurrent_state=state_values(header, architecture, n_heads) if any(recurrent) else 0,
    )


def _weights(headers: Sequence[Header]) -> Weights:
    total = embedding = output = 0
    layers: dict[int, int] = {}
    for header in headers:
        for tensor in header.tensors:
            total += tensor.n_bytes
            if tensor.name == "token_embd.weight":
                embedding = tensor.n_bytes
            elif tensor.name == "output.weight":
                output = tensor.n_bytes
            else:
                match = re.match(r"blk\.(\d{1,4})\.", tensor.name)
                if match is not None:
                    layers[int(match[1])] = layers.get(int(match[1]), 0) + tensor.n_bytes
    return Weights(total, embedding, output, tuple(layers[number] for number in sorted(layers)))
