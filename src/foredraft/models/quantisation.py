"""The name of a file's quantisation ("Q4_K_M"), from its tensors and from what the file says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from foredraft.models.gguf import TensorInfo

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""llama.cpp's `llama_ftype` to the name people use."""

_OUTER = ("token_embd", "output")
"""Tensors outside the blocks; mixtures keep them finer, so they do not decide the name."""


def quantisation(tensors: Iterable[TensorInfo], file_type: int | None) -> str:
    """The name of the mixture; "" for a file without weights.

    The tensors decide the type. What the file says of itself only adds the size letter, and only where it agrees.
    """
    elements: Counter[str] = Counter()
    outer: Counter[str] = Counter()
    for tensor in tensors:
        if len(tensor.shape) < 2:
            continue  # norms and biases stay F32 in every mixture
        place = outer if tensor.name.split(".", 1)[0] in _OUTER else elements
        place[tensor.type_name] += tensor.n_elements
    counts = elements or outer
    if not counts:
        return ""
    main = counts.most_common(1)[0][0]
    said = FILE_TYPES.get(file_type) if file_type is not None else None
    if said is not None and (said == main or said.startswith(main + "_")):
        return said
    return main + _size_letter(main, counts)


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
