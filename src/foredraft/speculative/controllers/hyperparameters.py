"""Every number of the controllers, with its unit and its source.

A source "A §n" is a section of docs/concepts/algorithms.md, "E §n" of docs/concepts/engine.md. "ablate" is
`python -m tests.speculative.simulator --ablate`, whose table A §3.6 has; "bench" is `foredraft bench --clock cpu` with
the embedded pair, whose plain step takes less than a millisecond. Numbers without a source were set by hand;
`python -m tests.speculative.simulator --sweep NAME` shows what halving and doubling one does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """All numbers of the controllers. A "plain step" is the time of a pass without guesses."""

    # ---- deciding ----
    margin: float = 0.05  # plain steps; a forecast below is not believed: the best of many is biased (A §3.2)
    worth: float = 0.3  # plain steps that a guess cut short by the budget must be able to bring (47M-Q8 good: 4 %)
    most_held: int = 4  # guesses; block of rows within which a jump of the curve lies (E §1)
    values: tuple[float, float, int] = (0.02, 1.4, 44)  # u: least, most, points of a grid finer than rates are known
    policy_learned: float = 1.5  # ×; verdicts after which the stopping policy is solved anew (it takes 0.7 ms)
    prices_near: tuple[float, float] = (0.02, 0.04)  # plain steps, and ×; what prices may move before that
    policy_s: float = 0.07  # seconds of plain steps at least between two solutions: 1 % of the time (bench)
    policies: int = 64  # solutions kept: 0.3 MB each
    prices_rounds: int = 4  # rounds after which prices are computed anew (30 µs)
    lam_grid: float = 4.0  # 1 / step of λ in policies of main models that go back by a fork
    lam_memory: float = 0.9  # per round; λ over about ten rounds (A §3.1)
    lam_prior: float = 6.0  # plain steps by which λ is held to 1 at first (A §3.1)

    # ---- the loss budget ----
    # by name: ε, B and the credit at first (A §3.3)
    presets: tuple[tuple[str, float, float, float], ...] = (
        ("standard", 0.01, 20.0, 2.0),
        ("strict", 0.005, 6.0, 2.0),
        ("eager", 0.01, 28.0, 8.0),
    )
    unnoticed_s: float = 0.01  # seconds that a first answer may risk where a plain step is short (bench)
    answer_share: float = 0.03  # of an answer of usual length: most of it that this may be (bench)
    answer_length: float = 64.0  # tokens of an answer before there were any
    length_memory: float = 0.8  # per answer
    forgiven: float = 0.5  # of a first answer's credit: what every later one has at least

    # ---- probes ----
    first_wait: int = 8  # plain tokens before a probe; doubles when one fails (A §3.5)
    longest_wait: int = 256  # plain tokens (A §3.5)
    wait_cut: int = 4  # divides the wait when a probe was right
    probe_depth: int = 2  # tokens a probe drafts (A §3.5)
    probe_budget: float = 1.0  # plain steps that probes may have saved up
    won_budget: float = 6.0  # plain steps, where guessing has won some: looking for the next good stretch may cost more
    won_share: float = 0.05  # of what was won (ablate)
    won_wait: int = 48  # plain tokens at most before a probe, while winnings are left
    probe_rate: float = 0.002  # plain steps a token that probes may cost: 0.2 % (A §3.5)
    rarest_first: int = 64  # answers at most between two that begin with a probe
    repetition: int = 4  # found guesses that stand and make the next probe early

    # ---- acceptance ----
    edges: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88, 0.94, 0.98)  # of confidence (A §3.4)
    kappa: float = 3.0  # guesses that the prior of a bucket weighs (A §3.4)
    empty: float = 0.1  # share of that as evidence against its neighbours
    rho: float = 0.998  # memory of a bucket, per guess (A §3.4)
    rates_every: int = 32  # verdicts after which rates are computed anew
    next_kappa: float = 4.0  # guesses that the prior of a row of next confidences weighs
    next_rho: float = 0.995  # memory of a row, per guess
    next_stays: float = 0.5  # share of that prior which stays in its bucket
    next_prior: int = 3  # the first prior rises with the bucket b as b + 3: some of everything, more of the sure

    cool: float = 0.5  # temperature up to which sampled text has tables of its own

    # ---- drift of one text ----
    levels: tuple[float, ...] = (0.2, 0.5, 0.8, 1.0, 1.15)  # acceptance here, in shares of what is expected (A §3.4)
    level_prior: tuple[float, ...] = (0.1, 0.1, 0.2, 0.45, 0.15)
    hazard: float = 1.0 / 120.0  # chance per token that the level changes
    surest: float = 0.99  # largest chance that is believed
    drift_every: int = 8  # plain tokens between two looks at the filter

    # ---- costs ----
    spike: float = 2.0  # ×; a time beyond (or below its inverse) is a disturbance, until most times are (E §2)
    jump: float = 100.0  # × what was expected; a clock that jumped, or a machine that slept
    last: int = 5  # times by which a disturbance is told from a change
    slowest_rate: float = 0.05  # how fast a well-known mean follows
    slowdown_last: int = 9  # passes by which a disturbance is told from another speed of the machine
    plain_rate: float = 0.1  # how fast the slowdown follows a plain pass
    other_rate: float = 0.03  # and another one whose time is well known
    switch_rate: float = 0.1  # how fast the price of a changed graph follows
    spread: float = 0.02  # relative; how far plain steps wander at first
    spread_rate: float = 0.02
    plain_error: tuple[float, float, int] = (0.003, 1.25, 20)  # least, per spread (mean to standard deviation), passes
    block: int = 4  # rows that kernels compute at once: nothing is interpolated across (E §1)
    block_slope: float = 0.25  # relative cost of a row more where only one size is known
    catch_up_share: float = 0.25  # of a draft step: reading one token more, at first
    catch_up_range: tuple[float, float] = (0.002, 1.5)  # what is believed of it
    catch_up_rate: float = 0.2  # how fast it follows a catch-up of at least the least window
    catch_up_steps: float = 0.5  # plain steps that a draft may read after a rest (A §5.1)
    windows: tuple[int, int] = (16, 512)  # tokens, least and most, that this may be
    known: int = 3  # draft steps in use after which their time is known
    first_bin: int = 8  # contexts up to 2^8 tokens are one: KV caches grow by 256 cells (E §1)
    longest_s: float = 3600.0  # seconds; no stored time is longer
    unknown: tuple[float, float, float] = (0.02, 0.04, 0.004)  # s: passes of 1 and 8, a draft step, until measured

    # ---- measuring at the load ----
    sizes: tuple[int, ...] = (2, 4, 8)  # rows that are timed beside one (E §1)
    measure_steps: float = 25.0  # plain steps that measuring may take
    measure_s: float = 0.25  # or seconds, if that is more
    draft_steps: float = 5.0  # plain steps for choosing the draft's threads
    draft_s: float = 0.0625  # seconds for its steps, at least
    tick_s: float = 1e-7  # seconds; no clock is finer
    turns: int = 12  # times each size is timed at most: a busy machine spoils most passes of a millisecond
    round_s: float = 60e-6  # work around a pass, before rounds have been seen (foredraft bench-overhead)
    row_s: float = 30e-6  # and for each of its rows
    row_prior: float = 0.4  # plain steps that a row more is taken to cost before it was timed
    faster: float = 0.97  # × the time; another number of threads must be faster than that
    catch_up_tokens: int = 16  # by which catching up is timed
    plain_drift: float = 2.0  # × by which a plain step may differ from what is stored
    draft_drift: float = 1.5  # × by which a draft step, in plain steps, may: this decides what pays
    learned_drift: float = 4.0  # × by which what use has made of both may differ from what was measured
    looks: int = 4  # times a step is timed before it is said to take another time
    text: int = 64  # arbitrary tokens that are read

    # ---- other controllers ----
    gamma: int = 3  # tokens; the fixed look-ahead, if nothing else is asked for
    drawn_gain: float = 0.5  # plain steps; less than a found token brings: what is found goes first
    throttle_share: float = 0.01  # of the time that deciding not to guess may take (bench)
    throttle_rounds: int = 32  # that go by unplanned at most, so that a repetition is not missed for long
    throttle_memory: float = 0.8  # per planned round

    # ---- telling ----
    quiet: int = 16  # rounds without a guess after which speculation is paused
    account_every: int = 16  # rounds between two sums of the time saved
    sigmas: float = 1.96  # standard errors of a 95 % margin


DEFAULT = Hyperparameters()
