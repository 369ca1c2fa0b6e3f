"""How a text is read in exact numerics: in what pieces, so that every token's cells depend on the text alone.

Where large passes round otherwise than single steps (`Engine.exact_rows` is a number m), two kinds of passes are told
apart. The beginning of a prompt, as far as it can be cut into large passes, is read in such: each alone, of at least
`BLOCK` tokens and of a size at which all of them round alike (`Engine.exact_grain`). A prompt too short for that is
read in one pass. Everything else, the few tokens left of a prompt and every round, is read in passes of at most m
tokens, which equal single steps. So the kind of a token's cells follows from its position and the length of the prompt,
whatever the draft, the neighbours and the cache do, and a cached prefix is taken over only as far as a fresh reading
would have read it in the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass

from foredraft.engines.base import BLOCK, LARGEST, Engine


@dataclass(frozen=True, slots=True)
class Cut:
    """How prompts are cut into large passes: of `least` to `most` tokens, in multiples of `grain`."""

    least: int
    grain: int
    most: int

    def end(self, n_prompt: int) -> int:
        """Tokens of a prompt that are read in large passes, or in the only one. Its last token is never one of them: it
        is the first input of the first round."""
        known = n_prompt - 1
        return known if known < self.least else known // self.grain * self.grain

    def size(self, start: int, end: int, most: int) -> int:
        """Tokens of the next large pass, of what is left from `start` to `end`: about `most`, so that what then is left
        is enough for another."""
        left, most = end - start, max(self.least, min(self.most, most) // self.grain * self.grain)
        return left if left <= most or left < 2 * self.least else min(most, left - self.least)

    def same_kind(self, shared: int, held: int, wanted: int) -> int:
        """Of `shared` tokens that a slot and a new text have in common, how many were read as the new text would read
        them. `held` and `wanted`: where the large passes end (`end`) in the slot's text and in the new one."""
        if held == wanted and shared >= held:
            return shared
        if min(held, wanted) < self.least:
            return 0  # the only pass of a prompt is a kind of its own
        kept = min(shared // self.grain * self.grain, held, wanted)
        return kept if kept == wanted else min(kept, wanted - self.least)  # what is missing must be a large pass


def cut_of(engine: Engine) -> Cut | None:
    """How this engine's prompts are cut; None where all passes are alike, and nothing is."""
    if engine.exact_rows is None:
        return None
    block, most = min(BLOCK, engine.info.n_batch), min(LARGEST, engine.info.n_batch)
    grain = engine.exact_grain
    if grain >= block or most < 2 * block:
        return Cut(block, block, block)
    return Cut(block, grain, most)
