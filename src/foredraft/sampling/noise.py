"""Position-keyed randomness: every random number is a pure function of (seed, stream, position, token).

Nobody draws out of order because nothing is drawn: the number for a place exists before anyone asks. That makes the
text of a request a function of the seed and the main model alone (drafter-invariant sampling, Daliri, Musco & Suresh
2024, arXiv:2408.07978): plain decoding and any speculation read the same noise at the same place.

The generator is the finaliser of SplitMix64 (Steele, Lea & Flood 2014), applied to a key of seed, stream and position
and then to the token id. It is frozen: `tests/sampling/test_noise.py` holds its test vectors, and changing it would
change every seeded text.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_C1 = 0xBF58476D1CE4E5B9
_C2 = 0x94D049BB133111EB

_GOLDEN64 = np.uint64(_GOLDEN)
_C1_64 = np.uint64(_C1)
_C2_64 = np.uint64(_C2)
_S30, _S27, _S31, _S12 = (np.uint64(n) for n in (30, 27, 31, 12))

TARGET = 0
"""Noise of the emitted token: shared by plain decoding, coupled drafts and `match`."""
DRAFT = 1
"""Noise of a drafted token that must be independent of the verdict (rejection, block)."""
ACCEPT = 2
"""Uniform numbers of the acceptance tests."""
RESIDUAL = 3
"""Noise of the token that follows a rejection, and of the bonus token (rejection, block)."""


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * _C1) & _MASK
    z = ((z ^ (z >> 27)) * _C2) & _MASK
    return z ^ (z >> 31)


def key(seed: int, stream: int, position: int, start: int = 0) -> int:
    """The 64-bit key of one place. `start` is the position at which the round began, for the streams that must be fresh
    in every round although they come back to the same position (see `speculative/acceptance/block.py`)."""
    z = _mix((seed + _GOLDEN * (stream + 1)) & _MASK)
    z = _mix((z + _GOLDEN * (start + 1)) & _MASK)
    return _mix((z + _GOLDEN * (position + 1)) & _MASK)


def uniform(place: int) -> float:
    """One number of the open interval (0, 1) for a place."""
    return ((_mix((place + _GOLDEN) & _MASK) >> 12) + 0.5) * 2.0**-52


def gumbel(place: int, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard Gumbel noise for each token id at a place, shape (n,), float64: -ln(-ln U), U in (0, 1)."""
    z = tokens.astype(np.uint64)
    z += np.uint64(1)
    z *= _GOLDEN64
    z += np.uint64(place)
    z ^= z >> _S30
    z *= _C1_64
    z ^= z >> _S27
    z *= _C2_64
    z ^= z >> _S31
    z >>= _S12
    u = z.astype(np.float64)
    u += 0.5
    u *= 2.0**-52
    np.log(u, out=u)
    np.negative(u, out=u)
    np.log(u, out=u)
    return np.negative(u, out=u)


def gumbel_one(place: int, token: int) -> float:
    """The same for a single token."""
    u = ((_mix((place + _GOLDEN * (token + 1)) & _MASK) >> 12) + 0.5) * 2.0**-52
    return -math.log(-math.log(u))
