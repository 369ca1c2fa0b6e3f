"""How a text is read in exact numerics: in what pieces, so that every token's cells depend on the text alone.

Where large passes round otherwise than single steps (`Engine.exact_rows` is a number m), two kinds of passes are told
apart. All whole blocks of a prompt, at fixed places, are read in passes of exactly one block. Everything else, the rest
of the prompt and every round, is read in passes of at most m tokens, which equal single steps. So the kind of a token's
cells follows from its position and the length of the prompt, whatever the draft, the neighbours and the cache do, and a
cached prefix is taken over only as far as a fresh reading would have read it in the same kind.
"""

from __future__ import annotations

BLOCK = 64
"""Tokens of a block: large enough for the kernels of large passes, and the rest of a prompt stays short."""


def blocks_end(n_prompt: int, exact_rows: int | None, n_batch: int) -> int:
    """The length of a prompt's whole blocks, in tokens; 0 where all passes are alike. The prompt's last token is never
    in them: it is the first input of the first round."""
    if exact_rows is None:
        return 0
    block = min(BLOCK, n_batch)
    return (n_prompt - 1) // block * block


def same_kind(shared: int, held: int, wanted: int, n_batch: int) -> int:
    """Of `shared` tokens that a slot and a new text have in common, how many were read as the new text would read them.

    `held` and `wanted` are where the blocks end (`blocks_end`) in the slot's text and in the new one.
    """
    block = min(BLOCK, n_batch)
    if held == wanted and shared >= held:
        return shared
    return min(shared // block * block, held, wanted)
