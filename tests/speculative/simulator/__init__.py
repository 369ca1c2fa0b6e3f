"""The production controller and arbiter on a virtual clock: is speculation never slower, and how near to the best?

Everything here is the shipped code but the two models. The oracle is a dynamic programme that knows the acceptance
probability of every position of the text in advance.

    python -m tests.speculative.simulator            the whole table, 20,000 tokens a run
    python -m tests.speculative.simulator --quick    a few runs
    python -m tests.speculative.simulator --seeds 4  the mean over four texts a row: less luck
    python -m tests.speculative.simulator --ablate   what each part of the controller is worth
    python -m tests.speculative.simulator --sweep N  the hyperparameter N halved and doubled

All random numbers are fixed: the same code gives the same table, and two versions see the same texts.
"""

from tests.speculative.simulator.oracle import fork_oracle, oracle
from tests.speculative.simulator.world import (
    CURVES,
    JAGGED,
    STREAMS,
    T1,
    C,
    Run,
    SimulatedDraft,
    Stream,
    World,
    new_sequence,
    one_round,
    simulate,
    stream,
)

__all__ = [
    "CURVES",
    "JAGGED",
    "STREAMS",
    "T1",
    "C",
    "Run",
    "SimulatedDraft",
    "Stream",
    "World",
    "fork_oracle",
    "new_sequence",
    "one_round",
    "oracle",
    "simulate",
    "stream",
]
