"""Which way to compute attention on a processor: flash attention, or the scores of a pass written out.

On a GPU flash attention is faster and the library's own choice stands. On processors llama.cpp's flash attention goes
over the KV cells one by one for every row of a pass: five rows cost five times as much, so at a few hundred tokens of
context there is nothing left for speculation to gain, and plain decoding is slower too (measured by
`foredraft bench attention`). Written-out scores are matrix products, which share the work among the rows, and round
a batch exactly like single steps. They take scratch memory: one number for each head, cell and row.
"""

from __future__ import annotations

from dataclasses import dataclass

SCORES_BYTES = 128 << 20
"""Most scratch memory for scores."""
_FEWEST_ROWS = 32
"""With fewer rows at once reading a prompt would be slow: then flash attention it is."""


@dataclass(frozen=True, slots=True)
class Attention:
    """How a context computes attention."""

    flash: str
    """"on", "off", or "auto": left to the library."""
    n_ubatch: int
    """Tokens computed at once."""
    scores: int
    """Bytes of scratch memory for scores; 0 with flash attention."""


def choose(asked: str, *, kv_type: str, n_ctx: int, n_heads: int, n_ubatch: int, on_gpu: bool) -> Attention:
    """`asked` is the user's word: auto, on or off; `n_heads` the most heads of a layer, `n_ctx` in tokens."""
    row = 4 * max(n_heads, 1) * -(-n_ctx // 256) * 256
    if asked == "off":
        return Attention("off", n_ubatch, row * n_ubatch)
    if asked == "on" or on_gpu or kv_type not in ("f16", "f32", "bf16"):
        return Attention(asked, n_ubatch, 0)
    rows = n_ubatch
    while rows * row > SCORES_BYTES and rows > _FEWEST_ROWS:
        rows //= 2
    return Attention("off", rows, row * rows) if rows * row <= SCORES_BYTES else Attention("auto", n_ubatch, 0)
