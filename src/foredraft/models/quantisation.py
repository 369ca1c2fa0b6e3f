"""The name of a file's quantisation ("Q4_K_M"), from what the file says of itself and from its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from foredraft.models.gguf import GGML_TYPES, TensorInfo

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""llama.cpp's `llama_ftype` to the name people use."""

MADE_OF = {"IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S", "IQ3_XS": "IQ3_S", "IQ3_M": "IQ3_S", "MXFP4_MOE": "MXFP4"}
"""Mixtures whose tensors are mostly of a type that their name does not begin with (llama.cpp, `llama-quant.cpp`)."""

_OUTER = ("token_embd", "output")
"""Tensors outside the blocks; mixtures keep them finer, so they do not decide the name."""
_BLOCK = {name: block for name, block, _ in GGML_TYPES.values()}


def quantisation(tensors: Iterable[TensorInfo], file_type: int | None) -> tuple[str, str]:
    """(the name of the mixture, what the file says where that is plainly wrong); both "" for a file without weights.

    The file's own word is the name: many tensors of a small model are of other types than the mixture's, because their
    rows are not whole blocks of it. It is wrong where tensors could be of the type it promises, and none is; then, and
    where a file says nothing, the tensors decide.
    """
    blocks: list[TensorInfo] = []
    outer: list[TensorInfo] = []
    for tensor in tensors:
        if len(tensor.shape) >= 2:  # norms and biases stay F32 in every mixture
            (outer if tensor.name.split(".", 1)[0] in _OUTER else blocks).append(tensor)
    matrices = blocks or outer
    if not matrices:
        return "", ""
    said = FILE_TYPES.get(file_type, "") if file_type is not None else ""
    if said and _plausible(said, matrices):
        return said, ""
    counts: Counter[str] = Counter()
    for tensor in matrices:
        counts[tensor.type_name] += tensor.n_elements
    main = counts.most_common(1)[0][0]
    return main + _size_letter(main, counts), said


def mix(tensors: Iterable[TensorInfo]) -> dict[str, float]:
    """The share of all weights (values, not bytes) that each type of tensor holds, the largest first."""
    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.type_name] += tensor.n_elements
    total = counts.total()
    return {name: count / total for name, count in counts.most_common()} if total else {}


def _plausible(said: str, matrices: Sequence[TensorInfo]) -> bool:
    """Whether the tensors bear out what a file says of itself."""
    promised = MADE_OF.get(said, said)
    if promised not in _BLOCK:
        promised = promised.rsplit("_", 1)[0]  # Q4_K of Q4_K_M
    able = {tensor.type_name for tensor in matrices if tensor.shape[0] % _BLOCK[promised] == 0}
    if able:
        return promised in able
    return any(tensor.type_name != "F32" for tensor in matrices)  # all rows too short for it: other types stand in


def _size_letter(main: str, counts: Counter[str]) -> str:
    """K mixtures are told apart by what their finest tensors are raised to (llama.cpp, `llama-quant.cpp`)."""
    others = set(counts) - {main}
    if main == "Q3_K":
        return "_L" if "Q5_K" in others and "Q4_K" not in others else "_M" if others & {"Q4_K", "Q5_K"} else "_S"
    if main in ("Q4_K", "Q5_K"):
        return "_M" if "Q6_K" in others else "_S"
    if main == "Q2_K":
        return "" if others & {"Q3_K", "Q4_K"} else "_S"
    return ""
