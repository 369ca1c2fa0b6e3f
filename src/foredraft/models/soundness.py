"""What llama.cpp would not survive, told from a header.

llama.cpp asserts what it takes for granted about a file, and a failed assertion ends the process. These are the causes
of all deaths that thousands of believable damages of a dozen sound files brought (llama-cpp-python 0.3.36,
`python -m tests.harden loads`); what is not listed here ends the process in which a new file is tried first
(`engines/llamacpp/safe_load.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from foredraft.core.errors import ModelFormatError
from foredraft.core.reasons import Numbers, Reason
from foredraft.models.gguf import TOKEN_TYPES, TOKENS, Header, TensorInfo, read_array, token_texts

MAX_LAYERS = 512
"""LLAMA_MAX_LAYERS."""
CONTEXT = (8, 2**31 - 1)
"""Tokens of context that a file may be made for: no length that llama.cpp would take for a negative number, and none
too short for a few words."""
_EPSILON = re.compile(r"(rms_|norm_|group_norm_)eps(ilon)?s?$")
_BYTE = 6
"""The token type of single bytes."""
_WHOLE_NUMBERS = frozenset({"I8", "I16", "I32", "I64"})
_TABLE = re.compile(r"tid2eid")
"""Tensors that are made of whole numbers: which expert a token goes to."""
_NEVER_MULTIPLIED = frozenset({"F64", "Q8_1", "Q8_K"})
_MATRIX = re.compile(r"(^|\.)(token_embd|output|(attn|ffn|ssm)_\w+)\.weight$")


def check_soundness(headers: Sequence[Header], architecture: str, vocabulary_kind: str) -> None:
    """Raises `ModelFormatError` for a file (the headers of its parts) whose loading would end the process."""
    header = headers[0]
    layers = header.metadata.get(f"{architecture}.block_count")
    if layers is not None and not (isinstance(layers, int) and 0 < layers <= MAX_LAYERS):
        raise _damaged(header, "layers", n=str(layers), most=MAX_LAYERS)
    context = header.metadata.get(f"{architecture}.context_length")
    if context is not None and not (isinstance(context, int) and CONTEXT[0] <= context <= CONTEXT[1]):
        raise _damaged(header, "context", n=str(context))
    for key, value in header.metadata.items():
        if _EPSILON.search(key) and isinstance(value, float) and not (value >= 0 and math.isfinite(value)):
            raise _damaged(header, "number", key=key, value=str(value))
    for part in headers:
        for tensor in part.tensors:
            _check_tensor(part, tensor)
    _check_tokens(header, vocabulary_kind)


def _check_tensor(header: Header, tensor: TensorInfo) -> None:
    name, kind = tensor.name, tensor.type_name
    n_dimensions = sum(length > 1 for length in tensor.shape)
    if n_dimensions <= 1 and kind != "F32" and name.endswith(("norm.weight", ".bias")):
        raise _damaged(header, "must_be_f32", tensor=name[:80], kind=kind)
    if kind in _WHOLE_NUMBERS and not _TABLE.search(name):
        raise _damaged(header, "no_weights_of", tensor=name[:80], kind=kind)
    if n_dimensions > 1 and _MATRIX.search(name) and kind in _NEVER_MULTIPLIED:
        raise _damaged(header, "no_matrix_of", tensor=name[:80], kind=kind)


def _check_tokens(header: Header, kind: str) -> None:
    tokens = header.arrays.get(TOKENS)
    if tokens is None or kind in ("none", ""):
        return
    texts = list(token_texts(header.path, tokens))
    if any(not text or b"\0" in text for text in texts):
        # C strings end at the first zero byte, and an empty one gets a name of its own
        texts = [text.split(b"\0", 1)[0] or b"[EMPTY_%d]" % token for token, text in enumerate(texts)]
    known = set(texts)
    if len(known) < len(texts):
        first: dict[bytes, int] = {}
        token = next(token for token, text in enumerate(texts) if first.setdefault(text, token) != token)
        word = texts[token].decode("utf-8", "replace")[:40]
        raise _damaged(header, "token_twice", a=first[texts[token]], b=token, text=word)
    if kind == "spm" and len(texts) > 256:  # vocabularies too small for all bytes are left to the trial
        lacking = next(
            (byte for byte in range(256) if b"<0x%02X>" % byte not in known and bytes([byte]) not in known), -1
        )
        if lacking >= 0:
            raise _damaged(header, "spm_byte", n=lacking)
    if kind == "rwkv":
        _check_trie(header, texts)
    types = header.arrays.get(TOKEN_TYPES)
    if kind == "wpm" and types is not None and _BYTE in read_array(header.path, types):
        raise _damaged(header, "wordpiece_bytes")


def _check_trie(header: Header, texts: Sequence[bytes]) -> None:
    """RWKV's tokenizer takes the longest token that a text begins with. Where tokens begin with a byte that is none by
    itself, there may be no such token, and it writes unknown ones until no memory is left."""
    tokens = {_unescaped(text) for text in texts}
    for token in sorted(tokens):
        if token and token[:1] not in tokens:
            raise _damaged(header, "rwkv_byte", n=token[0])


def _unescaped(text: bytes) -> bytes:
    """An RWKV token's bytes: texts are written with backslashes, as Python does."""
    return re.sub(rb"\\(x[0-9a-f]{2}|.)", _byte, text, flags=re.DOTALL)


def _byte(found: re.Match[bytes]) -> bytes:
    said = found[1]
    if len(said) == 3:
        return bytes([int(said[1:], 16)])
    return {b"t": b"\t", b"n": b"\n", b"r": b"\r"}.get(said, said)


def _damaged(header: Header, code: str, **numbers: int | str) -> ModelFormatError:
    said: Numbers = {"file": header.path.name, "what": Reason(f"fault_{code}", numbers)}
    return ModelFormatError(Reason("file_deadly", said), path=str(header.path), hint=Reason("hint_download_again"))
