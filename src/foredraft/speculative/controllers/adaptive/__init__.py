"""The adaptive controller: look as far ahead as it pays here, zero included, and never lose more than promised.

A guess of survival s is worth s / λ plain steps; the draft goes on while the stopping policy says that this pays, and
never spends more than the loss budget covers (docs/concepts/never-slower.md). Each round of each sequence: `Prices`
says what guesses cost on this machine with these sequences running, `StoppingPolicy` whether to guess at all and
whether to go on after each token, `LossBudget` how much may be risked. When guessing does not pay, a rare probe finds
out whether that has changed. Everything is in plain steps: the time of one pass without guesses for these sequences.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence

from foredraft.core.params import MAX_DRAFT
from foredraft.core.reasons import Reason
from foredraft.speculative.controllers.adaptive.acceptance import FIRST, Calibration, bucket
from foredraft.speculative.controllers.adaptive.budget import CreditHistory, LossBudget, Preset, affordable, preset
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.adaptive.look_ahead import AdaptiveLookAhead
from foredraft.speculative.controllers.adaptive.prices import Prices
from foredraft.speculative.controllers.adaptive.probing import FirstProbes
from foredraft.speculative.controllers.adaptive.sequence_state import SequenceState
from foredraft.speculative.controllers.adaptive.stopping import StoppingPolicy, grid
from foredraft.speculative.controllers.base import MODEL, LookAhead
from foredraft.speculative.controllers.fixed import NO_LOOKAHEAD, FixedLookAhead
from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence


class Adaptive:
    """The controller that measures. One serves all sequences of one pair; what it has learned can be kept on disk."""

    def __init__(
        self,
        costs: CostModel | None = None,
        calibration: Calibration | None = None,
        *,
        promise: str | Preset = "standard",
        max_draft: int = MAX_DRAFT,
        hyper: Hyperparameters = DEFAULT,
    ) -> None:
        """Without `costs` a guess at them stands in until rounds have been seen."""
        self.hyper = hyper
        self.costs = costs if costs is not None else CostModel.unknown(hyper)
        self.calibration = calibration if calibration is not None else Calibration(hyper)
        self.promise = preset(promise) if isinstance(promise, str) else promise
        self.max_draft = max_draft
        self.parked: dict[str, Reason | str] = {}
        """Sources that have stopped for good, and why."""
        self.credits = CreditHistory(self.promise, self.costs.pass_s(1), self.calibration.credit, hyper)
        self._first_probes = FirstProbes(hyper)
        self._states: dict[int, SequenceState] = {}  # by slot
        self._reading: dict[int, tuple[RunningSequence, bool]] = {}  # by slot: does the draft read this prompt along?
        self._prices: dict[tuple[int, ...], tuple[int, Prices]] = {}  # and the round they were made in
        self._policies: dict[tuple[str | float, ...], tuple[int, int, Prices, StoppingPolicy]] = {}
        self._place = (1, 1, 0)  # sequences running, guessing, and tokens that the pass reads again
        self._context = 0  # of the longest sequence
        self._now: Prices | None = None
        self._rounds = self._quiet = 0  # and rounds since the last guess
        self._guessed = False  # whether the target read guesses in the last round
        self._depths: deque[int] = deque(maxlen=hyper.quiet)  # of the last look-aheads, one a sequence and round

    # ---- deciding ----

    def plan(self, sequences: Sequence[RunningSequence]) -> list[LookAhead]:
        states = [self._state(sequence) for sequence in sequences]
        wishes = [sequence.look_ahead(self.max_draft) for sequence in sequences]
        guessing = len(wishes) - wishes.count(0)
        self._context = max([len(sequence.tokens) for sequence in sequences], default=0)
        self._place = max(1, len(wishes)), max(1, guessing), sum([sequence.owed for sequence in sequences])
        self._now = prices = self._price(self._context, *self._place)
        # every sequence waits for everyone's guesses, so the poorest decides what may be risked
        credit = min([state.budget.credit for state in states if state.adapts], default=0.0)
        return [
            self._look_ahead(state, wish, prices, credit) if wish else NO_LOOKAHEAD
            for state, wish in zip(states, wishes, strict=True)
        ]

    def _look_ahead(self, state: SequenceState, wish: int, prices: Prices, credit: float) -> LookAhead:
        begins, state.begun = not state.begun, True
        state.probing = state.first_probe = False
        speculation = state.sequence.request.speculation
        if not state.adapts:
            return FixedLookAhead.of(state.sequence, wish)
        plain_s = prices.plain_s * self.costs.slowdown
        behind = len(state.sequence.tokens) - state.read
        catch_up = self.costs.catch_up_s(behind) / plain_s
        if not self._guessed:  # the graph is built anew, now and when guessing ends
            switch = 2.0 * self.costs.switch_s / plain_s
            catch_up, credit = catch_up + switch, credit - switch
        found = min(wish, affordable(credit, prices.worst_found))
        limit = min(wish, affordable(credit - catch_up, prices.worst))
        least = state.min_draft  # a shorter draft is not sent
        limit, found = (k if k >= least else 0 for k in (limit, found))
        if limit < 1 and found < 1:
            return NO_LOOKAHEAD
        look_ahead = AdaptiveLookAhead(state, prices, self.calibration, max(found, 0))
        if limit < 1 or MODEL in self.parked or speculation.method not in ("auto", MODEL):
            return look_ahead
        policy = self._policy(state, prices, self._place)
        gain = policy.start[grid(state.token_value)] - catch_up
        if gain > self.hyper.margin:
            # a guess so short that it brings next to nothing even if it stands: what may be risked is better saved
            if limit == wish or prices.best(limit, state.lam) - catch_up >= self.hyper.worth:
                look_ahead.allow(limit, gain, policy)
        elif prices.best(wish, state.lam) > self.hyper.margin:  # else not even a draft that is always right would pay
            state.first_probe = begins and self._first_probes.begin(ready=behind <= 2)
            cost = prices.first + catch_up + (0.0 if state.may_hold else prices.price[1])
            state.probing = state.first_probe or state.probes.due(cost, known=self.costs.draft_known)
            if state.probing:
                look_ahead.allow(min(limit, max(self.hyper.probe_depth, least)), math.ulp(1.0), policy)
        return look_ahead

    def reads_along(self, sequence: RunningSequence) -> bool:
        known = self._reading.get(sequence.slot)
        if known is None or known[0] is not sequence:  # decided once for all pieces of a prompt
            known = self._reading[sequence.slot] = sequence, self._wants_draft(sequence)
        return known[1]

    def _wants_draft(self, sequence: RunningSequence) -> bool:
        """Whether the draft is likely to be asked as this sequence begins. Where it is not, a later probe reads the
        last `CostModel.window` tokens, which is priced like any other step."""
        speculation = sequence.request.speculation
        if MODEL in self.parked or speculation.method not in ("auto", MODEL) or not sequence.look_ahead(self.max_draft):
            return False
        if not speculation.adapt:
            return True
        prices = self._price(len(sequence.tokens), 1, 1, 0)
        if prices.best(self.max_draft, 1.0) <= self.hyper.margin or prices.worst[1] > self.credits.credit:
            return False
        if self._first_probes.next:
            return True
        state = SequenceState(sequence, LossBudget(self.promise), self.hyper)
        return self._policy(state, prices, (1, 1, 0)).start[grid(state.token_value)] > self.hyper.margin

    def _state(self, sequence: RunningSequence) -> SequenceState:
        state = self._states.get(sequence.slot)
        if state is None or state.sequence is not sequence:
            if state is not None and not state.sequence.done:  # given up
                self._end(state)
            budget = LossBudget(self.promise, self.credits.credit)
            state = self._states[sequence.slot] = SequenceState(sequence, budget, self.hyper)
            reader, reads = self._reading.get(sequence.slot, (sequence, True))
            if reader is sequence and not reads:
                state.read = 0
        return state

    def _price(self, context: int, running: int, guessing: int, owed: int) -> Prices:
        key = self.costs.bin_of(context), running, guessing, owed
        made, prices = self._prices.get(key, (0, None))
        stale = self._rounds - made >= self.hyper.prices_rounds
        if prices is None or stale or prices.sizes != len(self.costs.curve(context).means):
            prices = Prices(self.costs, context, running, guessing, owed)
            self._prices[key] = self._rounds, prices
        return prices

    def _policy(self, state: SequenceState, prices: Prices, place: tuple[int, ...]) -> StoppingPolicy:
        """The policy of a kind of sequence, solved anew once enough has been learned, or prices have moved."""
        hyper, table = self.hyper, self.calibration.table(MODEL, state.mode)
        # where guesses that fall cost more than those that stand, it matters what a token's time is worth
        lam = round(hyper.lam_grid * state.lam) / hyper.lam_grid if prices.again else 1.0
        key: tuple[str | float, ...] = (state.mode, lam, prices.sizes, *place)
        known = self._policies.pop(key, None)
        if known is not None:
            made, learned, then, _ = known
            age_s = (self._rounds - made) * prices.plain_s * self.costs.slowdown
            moved = age_s >= hyper.policy_s and not prices.near(then, *hyper.prices_near)
            if moved or table.learned > hyper.policy_learned * learned:
                known = None
        if known is None:
            held = hyper.most_held if state.may_hold else 0
            known = self._rounds, table.learned, prices, StoppingPolicy(table, prices, lam, held=held)
        self._policies[key] = known  # the newest last
        if len(self._policies) > hyper.policies:
            del self._policies[next(iter(self._policies))]
        return known[-1]

    # ---- learning ----

    def observe(self, record: Round) -> None:
        self._rounds += 1
        if self._now is None or not record.sequences:
            return
        drafts = _drafts(record)
        read = record.rows > len(record.sequences)
        pass_s, charged = self._observe_costs(record, drafts, read)
        plain_s = self._now.plain_s * self.costs.slowdown
        guessed = (
            bool(drafts) or read or self._guessed
        )  # a plain pass behind one with guesses is slower because of them
        steps = (pass_s + charged) / plain_s if guessed else 1.0
        for sequence, x, verdict, emitted in zip(
            record.sequences, record.proposals, record.verdicts, record.emitted, strict=True
        ):
            state = self._states.get(sequence.slot)
            if state is None or state.sequence is not sequence or verdict.kind == "error":
                continue
            state.on_round(emitted, steps, guessed=guessed)
            if guessed:
                state.saved.add(emitted * plain_s - pass_s - charged, 2.0 * self.costs.spread * pass_s)
            else:
                state.saved.add(-charged)
            draft = drafts.get(sequence.slot)
            if draft is None:
                state.on_skip(emitted)
            else:
                self._on_draft(state, draft, x, verdict.accepted, emitted)
            if x.tokens or x.rivals:
                self._learn(state, x, verdict.accepted, emitted)
            if sequence.done:
                self._end(state)
            if sequence.done or sequence.stats.saved_s is None or self._rounds % self.hyper.account_every == 0:
                sequence.stats.saved_s = state.saved.seconds
                sequence.stats.saved_error_s = self.hyper.sigmas * state.saved.error(self.costs.plain_error)
            self._depths.append(len(x))
        self._guessed = read
        self._quiet = 0 if read else self._quiet + 1

    def _observe_costs(self, record: Round, drafts: dict[int, Proposal], read: bool) -> tuple[float, float]:
        """Tell the cost model; returns the seconds of the pass, and those of drafting and deciding, as far as they may
        be charged to guesses."""
        draft_s = record.draft_s if 0.0 <= record.draft_s < math.inf else 0.0
        charged = 0.0
        if drafts:
            model_s, first_s = sum([x.draft_s for x in drafts.values()]), sum([x.first_s for x in drafts.values()])
            steps = max([len(x.whole or x.tokens) for x in drafts.values()])
            behind = max([x.behind for x in drafts.values()])
            charged = self.costs.observe_draft(len(drafts), steps, behind, first_s, model_s - first_s)
            draft_s = max(0.0, draft_s - model_s)
        charged += min(draft_s, self.costs.pass_s(len(record.sequences), self._context))  # more is a clock that jumped
        rows = record.rows + record.replayed
        if record.prefill_tokens:  # the prompt's share of the time is no guess's doing
            return self.costs.pass_s(rows, self._context), charged
        return self.costs.observe_pass(rows, self._context, record.total_s - record.draft_s, plain=not read), charged

    def _on_draft(self, state: SequenceState, draft: Proposal, x: Proposal, accepted: int, emitted: int) -> None:
        """The draft model guessed: note where it stands, and what to expect of its next guess."""
        if draft.confidence:
            self.calibration.table(MODEL, state.mode).next.learn(FIRST, bucket(draft.confidence[0]))
        tokens, guess = state.sequence.tokens, draft.whole or draft.tokens
        before = len(tokens) - emitted
        right = accepted > 0 if draft is x and x.tokens else guess[:1] == tokens[before : before + 1]
        if state.probing:
            self._first_probes.ended(right=right, first=state.first_probe)
        read = min(before + min(accepted, max(0, len(guess) - 1)), len(tokens) - 1)
        state.on_draft(max(1, read), right=right)

    def _learn(self, state: SequenceState, x: Proposal, accepted: int, emitted: int) -> None:
        """What came of a guess, and of those of other sources for the same place.

        The emitted tokens themselves judge all guesses, as far as they agree. Only a guess drawn from a distribution is
        judged by the verdict: it may have been turned down although the same token was emitted.
        """
        tokens = state.sequence.tokens
        written = tokens[len(tokens) - emitted :]
        for y in (x, *x.rivals):
            guess, stood = y.whole or y.tokens, accepted
            judged = min(accepted + 1, len(guess))
            if y.dists is None:
                pairs = zip(guess, written, strict=False)
                stood = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
                judged = min(stood + 1, len(guess), emitted)
            table = self.calibration.table(y.source, state.mode)
            buckets = [bucket(confidence) for confidence in y.confidence[: judged + 1]]
            if y.source == MODEL:
                state.drift.learn([table.rates[at] for at in buckets[:judged]], stood)
                for before, at in itertools.pairwise(buckets[: stood + 1]):
                    table.next.learn(before, at)
            table.learn(buckets[:judged], stood)
        if x.source != MODEL and accepted >= self.hyper.repetition:
            state.probes.soon()  # the text repeats itself

    def _end(self, state: SequenceState) -> None:
        """A sequence has ended: the next one begins with what it leaves."""
        plain_s = self.costs.pass_s(self._place[0])
        self.calibration.credit = self.credits.end(state.budget.credit, state.sequence.n_emitted, plain_s)

    # ---- telling ----

    @property
    def due(self) -> float:
        """Rounds until a sequence may want to probe; those whose time has come wait for credit, not for rounds."""
        waits = [state.probes.wait - state.probes.rested for state in self._states.values() if not state.sequence.done]
        return min([wait for wait in waits if wait > 0], default=math.inf)

    def credit(self, sequence: RunningSequence) -> float:
        """What may be risked for a sequence now, in plain steps."""
        return self._state(sequence).budget.credit

    def park(self, source: str, reason: Reason | str) -> None:
        """A source has stopped for good; the sequences go on without it."""
        self.parked.setdefault(source, reason)

    @property
    def hopeless(self) -> Reason | None:
        """Why the draft model cannot pay for one sequence at these costs, not even if all its guesses stood; None
        where it can, or where there is none."""
        prices = Prices(self.costs, 0, 1, 1)
        if not self.costs.drafts or prices.best(self.max_draft, 1.0) > self.hyper.margin:
            return None
        return Reason("draft_cost", {"cost": 100.0 * prices.of_one})

    @property
    def status(self) -> tuple[str, Reason | str | None]:
        running = list(self._states.values())
        if MODEL in self.parked:
            return "off", self.parked[MODEL]
        if self.max_draft == 0:
            return "off", Reason("look_ahead_zero")
        if running and all(not state.sequence.wants_guesses for state in running):
            return "off", Reason("off_for_request")
        if not running or self._now is None:
            return "active", Reason("nothing_written")
        state = max(running, key=lambda state: state.sequence.n_emitted)
        if self._quiet < self.hyper.quiet:
            depth = sum(self._depths) / max(1, len(self._depths))
            return "active", Reason("guessing", {"depth": depth, "speed": max(state.lam for state in running)})
        prices, credit = self._now, min(state.budget.credit for state in running)
        if prices.worst_found[1] > credit:
            epsilon = 100.0 * self.promise.epsilon
            return "paused", Reason(
                "loss_budget", {"cost": prices.worst_found[1], "credit": max(credit, 0.0), "epsilon": epsilon}
            )
        if not self.costs.drafts:
            return "paused", Reason("nothing_to_draft")
        cost = 100.0 * prices.of_one
        if prices.best(self.max_draft, state.lam) <= self.hyper.margin:
            return "paused", Reason("draft_cannot_pay", {"cost": cost})
        table = self.calibration.table(MODEL, state.mode)
        if not table.learned:
            return "paused", Reason("draft_costs_more_unknown", {"cost": cost, "wait": state.probes.wait})
        return "paused", Reason(
            "draft_costs_more", {"stand": 100.0 * table.acceptance, "cost": cost, "wait": state.probes.wait}
        )


def _drafts(record: Round) -> dict[int, Proposal]:
    """The guesses of the draft model in a round, used or not, by slot."""
    return {
        sequence.slot: y
        for sequence, x in zip(record.sequences, record.proposals, strict=True)
        for y in (x, *x.rivals)
        if y.draft_s and y.source == MODEL
    }
