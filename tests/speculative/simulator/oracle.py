"""The best that could be done: look-aheads by dynamic programming, all chances of the text known in advance."""

from __future__ import annotations

import numpy as np

from foredraft.core.params import MAX_DRAFT
from foredraft.engines.rewind import CARRIED
from tests.speculative.simulator.world import Stream, World


def oracle(text: Stream, world: World, depth: int = MAX_DRAFT) -> float:
    """Tokens per plain step of the best look-ahead at every position, all chances of the text known in advance.

    T(i) = min over k of k·c + v(k+1) + E[T(i + 1 + accepted)], by dynamic programming from the end; then that policy is
    run on what really stands, and pays for the draft's catching up, so that luck and costs are the same on both sides.
    """
    n = len(text)
    chance = np.array(text.chance)
    cost = np.array([k * world.c + world.v(k + 1) for k in range(depth + 1)])
    ahead = np.zeros(n + depth + 2)
    best = [0] * n
    for i in range(n - 1, -1, -1):
        a = chance[i : i + depth]
        s = np.concatenate(([1.0], np.cumprod(a)))  # s[j]: the first j stand
        t = ahead[i + 1 : i + 2 + len(a)]
        # k guesses: j < k stand exactly with s[j]·(1 − a[j]), all k with s[k]
        exactly = np.concatenate(([0.0], np.cumsum(s[:-1] * (1.0 - a) * t[:-1])))
        times = cost[: len(a) + 1] + exactly + s * t
        best[i] = int(times.argmin())
        ahead[i] = times[best[i]]
    i, read, time = 0, -1, 0.0
    while i < n:
        k = best[i]
        time += cost[k]
        j = 0
        while j < k and text.stands[i + j]:
            j += 1
        if k:
            time += world.catch_up(i - read)
            read = i + min(j, k - 1)
        i += j + 1
    return i / time


def fork_oracle(text: Stream, world: World, depth: int = MAX_DRAFT) -> float:
    """The same where a rejection is read again: T(i, o), with o tokens owed. A full acceptance clears that, and a round
    without guesses. From `CARRIED` on there is only that."""
    n, most = len(text), CARRIED + depth + 1
    v = np.array([world.v(rows) for rows in range(1, most + depth + 2)])
    ahead = np.zeros((n + depth + 2, most))
    best = np.zeros((n, CARRIED), dtype=int)
    owes = np.arange(CARRIED)
    chance = np.array(text.chance)
    for i in range(n - 1, -1, -1):
        ahead[i] = v[:most] + ahead[i + 1, 0]  # nothing guessed
        a = chance[i : i + depth]
        s = np.concatenate(([1.0], np.cumprod(a)))
        failed = np.zeros(CARRIED)
        for k in range(1, len(a) + 1):
            # the first k - 1 stand, and the k-th does not: so many more are owed
            failed = failed + s[k - 1] * (1.0 - a[k - 1]) * ahead[i + k, np.minimum(owes + k, most - 1)]
            times = k * world.c + v[owes + k] + failed + s[k] * ahead[i + k + 1, 0]
            better = times < ahead[i, :CARRIED]
            ahead[i, :CARRIED][better], best[i][better] = times[better], k
    i, owed, read, time = 0, 0, -1, 0.0
    while i < n:
        k = int(best[i, owed]) if owed < CARRIED else 0
        time += k * world.c + v[k + owed]
        j = 0
        while j < k and text.stands[min(i + j, n - 1)]:
            j += 1
        if k:
            time += world.catch_up(i - read)
            read = i + min(j, k - 1)
        owed = owed + j + 1 if j < k else 0
        i += j + 1
    return i / time
