"""Look as far ahead as it pays here, zero included, and never lose more than promised.

Each round of each answer: `Prices` says what guesses cost on this machine with these answers running, `Policy` whether
to guess at all and whether to go on after each token, `Bucket` how much may be risked. When guessing does not pay, a
rare probe finds out whether that has changed. Everything is in plain steps: the time of one pass without guesses for
the same answers.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from foredraft.core.params import MAX_DRAFT
from foredraft.speculative.controllers.answer import Answer
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.controllers.bucket import Bucket, Preset, preset
from foredraft.speculative.controllers.calibration import Calibration, Table, bucket
from foredraft.speculative.controllers.costs import CostModel, bin_of
from foredraft.speculative.controllers.fixed import NEVER, Distance
from foredraft.speculative.controllers.plan import MODEL, Plan
from foredraft.speculative.controllers.policy import Policy, grid
from foredraft.speculative.controllers.prices import Prices
from foredraft.speculative.controllers.rest import LONGEST, Rest
from foredraft.speculative.proposal import Proposal, Round
from foredraft.speculative.sequence import Sequence as RunningSequence

_MARGIN = 0.05
"""Gain, in plain steps, from which on a forecast is believed: the best of many estimates is too good on average."""
_PROBE_DEPTH = 2
UNNOTICED_S = 0.01
"""Seconds that nobody notices: where a plain step takes half a millisecond, more than the promise's two steps."""
SHARE = 0.03
"""But no more than this share of an answer, if it is as long as those before it: ten milliseconds are half of a short
answer of a tiny model."""
_LENGTH, _LENGTH_MEMORY = 64.0, 0.8
"""Tokens that an answer is taken to have before there were any, and how slowly that follows those that end."""
_FLOOR = 0.5
"""Share of the credit of a first answer that every later one has at least."""
_POLICY_S = 0.7e-3
"""About what making a policy takes."""
_RAREST = 64
"""Every so many answers at least begin with a probe, for which the draft reads the prompt along."""
_QUIET = 16
"""Rounds without a guess after which speculation counts as paused."""


class Adaptive:
    """The controller that measures. One serves all answers of one pair; what it has learned can be kept on disk."""

    def __init__(
        self,
        costs: CostModel | None = None,
        calibration: Calibration | None = None,
        *,
        promise: str | Preset = "standard",
        max_draft: int = MAX_DRAFT,
    ) -> None:
        """Without `costs` a guess at them stands in until rounds have been seen."""
        self.costs = costs if costs is not None else CostModel({1: 0.02, 8: 0.04}, 0.004)
        self.calibration = calibration if calibration is not None else Calibration()
        self.promise = preset(promise) if isinstance(promise, str) else promise
        self.max_draft = max_draft
        self.rounds = 0
        self.depths: deque[tuple[int, int, str]] = deque(maxlen=2048)
        """(round, guesses put before the target, source), one entry an answer and round."""
        self.parked: dict[str, str] = {}
        """Sources that have stopped for good, and why."""
        self._answers: dict[int, Answer] = {}
        self._reading: dict[int, tuple[RunningSequence, bool]] = {}  # by slot: does the draft read this prompt along?
        self._length = _LENGTH  # of an answer, in tokens
        self._running = 1  # answers in the pass
        kept = self.calibration.credit
        self._credit = max(self._start, -math.inf if kept is None else min(kept, self.promise.size))
        self._prices: dict[tuple[int, ...], Prices] = {}
        self._policies: dict[tuple[str | float, ...], tuple[Prices, int, int, Policy]] = {}
        self._now: tuple[Prices, int] | None = None
        self._rest = Rest()
        self._asleep = False
        self._ask_every, self._unasked = 1, 0  # answers, and since the last that was probed as it began
        self._guessed = False  # whether the target read guesses in the last round
        self._quiet = 0
        self._short: tuple[float, float] | None = None  # (what a guess could cost, what may be risked), when it may not

    # ---- deciding ----

    def plan(self, sequences: Sequence[RunningSequence]) -> list[LookAhead]:
        if len(sequences) != self._running:  # fewer in the pass: other prices
            self._running = max(1, len(sequences))
            self._rest.wake()
        self._asleep = self._known(sequences) and self._rest.sleeps()
        if self._asleep:
            return [NEVER] * len(sequences)
        answers = [self._answer(sequence) for sequence in sequences]
        wishes = [sequence.look_ahead(self.max_draft) for sequence in sequences]
        guessing = len(wishes) - wishes.count(0)
        context = max([len(sequence.tokens) for sequence in sequences], default=0)
        owed = sum([sequence.owed for sequence in sequences])
        prices = self._price(context, max(1, len(wishes)), max(1, guessing), owed)
        self._now = prices, context
        if not guessing:
            return [NEVER] * len(wishes)
        # every answer waits for everyone's guesses, so the poorest decides what may be risked
        credit = min([answer.bucket.credit for answer in answers if answer.adapts], default=0.0)
        place = len(wishes), guessing, owed
        return [
            self._look(answer, wish, prices, credit, place) if wish else NEVER
            for answer, wish in zip(answers, wishes, strict=True)
        ]

    def _look(self, answer: Answer, wish: int, prices: Prices, credit: float, place: tuple[int, ...]) -> LookAhead:
        """The look-ahead of one answer."""
        begins, answer.begun = not answer.begun, True
        answer.probing = answer.greeting = False
        speculation = answer.sequence.request.speculation
        if not speculation.adapt:
            return Distance(wish, speculation.p_min)
        behind = len(answer.sequence.tokens) - answer.read
        catch_up = self.costs.catch_up_s(behind) / (prices.plain_s * self.costs.pace) if behind > 2 else 0.0
        if not self._guessed:  # into guessing and out of it again
            entry = 2.0 * self.costs.switch_s / (prices.plain_s * self.costs.pace)
            catch_up += entry
            credit -= entry
        found = min(wish, bisect_right(prices.worst_found, credit) - 1)
        limit = min(wish, bisect_right(prices.worst, credit - catch_up) - 1)
        least = min(answer.min_draft, wish)
        if limit < least:
            limit = 0
        if limit < 1 and found < 1:
            self._short = prices.worst_found[1], max(credit, 0.0)
            return NEVER
        self._short = None
        table = self.calibration.table(MODEL, answer.mode)
        policy = self._policy(table, prices, answer, place)
        plan = Plan(answer, prices, self.calibration, table, policy, max(found, 0))
        if limit < 1 or MODEL in self.parked or speculation.method not in ("auto", MODEL):
            return plan
        gain = policy.start[grid(answer.worth)] - catch_up
        if gain > _MARGIN:
            plan.limit, plan.gain = limit, gain
        elif prices.best(wish, answer.lam) > _MARGIN:  # else not even a draft that is always right would pay
            risk = prices.first + catch_up + (0.0 if answer.may_hold else prices.price[1])
            if (begins and self._greets(answer, behind)) or answer.probe(risk, sure=self.costs.draft_known):
                plan.limit, plan.gain = min(limit, max(_PROBE_DEPTH, least)), 1e-6
        return plan

    def _greets(self, answer: Answer, behind: int) -> bool:
        """Whether to ask the draft as an answer begins: it has just read the prompt, so this is the cheapest probe. If
        that keeps failing, only every second, fourth … answer is asked."""
        self._unasked += 1
        answer.greeting = answer.probing = behind <= 2 and self._unasked >= self._ask_every
        if answer.greeting:
            self._unasked = 0
        return answer.greeting

    def _known(self, sequences: Sequence[RunningSequence]) -> bool:
        """Whether all answers have been looked at before; a new one ends the rest."""
        for sequence in sequences:
            answer = self._answers.get(sequence.slot)
            if answer is None or answer.sequence is not sequence:
                self._rest.wake()
                return False
        return True

    def _answer(self, sequence: RunningSequence) -> Answer:
        answer = self._answers.get(sequence.slot)
        if answer is None or answer.sequence is not sequence:
            if answer is not None and not answer.sequence.done:  # given up
                self._carry(answer)
            answer = self._answers[sequence.slot] = Answer(sequence, Bucket(self.promise, self._credit))
            reader, reads = self._reading.get(sequence.slot, (sequence, True))
            if reader is sequence and not reads:
                answer.read = 0
        return answer

    def _carry(self, answer: Answer) -> None:
        """What the next answer may risk after this one: what was earned stays, what was lost is soon forgiven."""
        self._length = _LENGTH_MEMORY * self._length + (1.0 - _LENGTH_MEMORY) * answer.sequence.n_emitted
        forgiven = min(_FLOOR * self._start, SHARE * self._length)
        self._credit = self.calibration.credit = max(answer.bucket.credit, forgiven)

    @property
    def _start(self) -> float:
        """The credit a first answer starts with: the promise's, or what nobody notices, if that is more and no more
        than a small share of the answer."""
        unnoticed = min(UNNOTICED_S / self.costs.pass_s(self._running), SHARE * self._length)
        return min(max(self.promise.start, unnoticed), self.promise.size)

    def _price(self, context: int, running: int, guessing: int, owed: int = 0) -> Prices:
        key = bin_of(context), running, guessing, owed
        prices = self._prices.get(key)
        if prices is None or prices.version != self.costs.version:
            prices = self._prices[key] = Prices(self.costs, context, running, guessing, owed)
        return prices

    def _policy(self, table: Table, prices: Prices, answer: Answer, place: tuple[int, ...]) -> Policy:
        """The policy of a kind of answer, made anew when half as much again has been learned, or when prices have moved
        and making it takes less than a hundredth of the time since the last one was made."""
        # where guesses that fall cost more than those that stand, it matters what a token's time is worth
        lam = round(4.0 * answer.lam) / 4.0 if prices.again else 1.0
        key: tuple[str | float, ...] = (answer.mode, lam, *place)
        known = self._policies.get(key)
        if known is not None:
            then, learned, made, policy = known
            new = table.learned - learned
            if new < 8 or (new < 1024 and 2 * new < learned):
                if then is prices:
                    return policy
                since = (self.rounds - made) * prices.plain_s * self.costs.pace
                if then.near(prices) or since < 100.0 * _POLICY_S:
                    return policy
        first, draft, again = min(prices.first, 1e6), min(prices.draft, 1e6), [lam * x for x in prices.again]
        policy = Policy(table, first, draft, prices.price, again, may_hold=answer.may_hold)
        self._policies[key] = prices, table.learned, self.rounds, policy
        return policy

    def reads_along(self, sequence: RunningSequence) -> bool:
        known = self._reading.get(sequence.slot)
        if known is None or known[0] is not sequence:  # decided once for all pieces of a prompt
            known = self._reading[sequence.slot] = sequence, self._wants_draft(sequence)
        return known[1]

    def _wants_draft(self, sequence: RunningSequence) -> bool:
        """Whether the draft is likely to be asked as this answer begins. Where it is not, a later probe reads the last
        `CostModel.window` tokens, which is priced like any other step."""
        speculation = sequence.request.speculation
        if MODEL in self.parked or speculation.method not in ("auto", MODEL) or not sequence.look_ahead(self.max_draft):
            return False
        if not speculation.adapt:
            return True
        prices = self._price(len(sequence.tokens), 1, 1)
        if prices.best(self.max_draft, 1.0) <= _MARGIN or prices.worst[1] > self._credit:
            return False
        if self._unasked + 1 >= self._ask_every:
            return True
        answer = Answer(sequence, Bucket(self.promise, self._credit))
        policy = self._policy(self.calibration.table(MODEL, answer.mode), prices, answer, (1, 1))
        return policy.start[grid(answer.worth)] > _MARGIN

    # ---- learning ----

    def observe(self, record: Round) -> None:
        self.rounds += 1
        if self._now is None or not record.sequences:
            return
        if self._asleep:
            self._slept(record)
            return
        prices, context = self._now
        drawn = _drawn(record)
        plain_s = prices.plain_s * self.costs.pace
        draft_s = record.draft_s if 0.0 <= record.draft_s < math.inf else 0.0
        charged = 0.0
        if drawn:
            model_s = sum([x.draft_s for _, x in drawn])
            steps = max([len(x.whole or x.tokens) for _, x in drawn])
            behind = max([x.behind for _, x in drawn])
            first_s = sum([x.first_s for _, x in drawn])
            charged = self.costs.note_draft(len(drawn), steps, behind, first_s, model_s - first_s)
            draft_s = max(0.0, draft_s - model_s)
        charged += min(draft_s, plain_s)  # looking up and deciding; more than a plain step is a clock that jumped
        read = record.rows > len(record.sequences)
        rows = record.rows + record.replayed
        if record.prefill_tokens:
            pass_s = self.costs.pass_s(rows, context)  # the prompt's share of the time is nobody's guess
        else:
            pass_s = self.costs.note_pass(rows, context, record.total_s - record.draft_s, plain=not read)
        guessed = bool(drawn) or read
        # a plain pass right behind one with guesses takes longer because of them
        time = (pass_s + charged) / plain_s if guessed or self._guessed else 1.0
        for i, (sequence, x, verdict, emitted) in enumerate(
            zip(record.sequences, record.proposals, record.verdicts, record.emitted, strict=True)
        ):
            answer = self._answers.get(sequence.slot)
            if answer is None or answer.sequence is not sequence or verdict.kind == "error":
                continue
            answer.wrote(emitted, time)
            if guessed or self._guessed:
                answer.guessed(emitted, time)
                answer.saved_s += emitted * plain_s - pass_s - charged
                answer.saved_var += (2.0 * self.costs.spread * pass_s) ** 2
            else:
                answer.bucket.plain()
                answer.saved_s -= charged
            model = next((y for j, y in drawn if j == i), None) if drawn else None
            if model is not None:
                self._drew(answer, model, x, verdict.accepted, emitted)
            else:
                answer.rested(emitted)
            if x.tokens or x.rivals:
                self._learn(answer, x, verdict.accepted, emitted)
            if sequence.done:
                self._carry(answer)
            if sequence.done or not self.rounds & 15 or sequence.stats.saved_s is None:
                self._account(answer)
            self.depths.append((self.rounds, len(x.tokens), x.source))
        self._guessed = read
        if read:
            self._rest.guessed()
        elif not drawn and all(sequence.request.speculation.adapt for sequence in record.sequences):
            # learning from a round takes about as long as planning it
            self._rest.quiet(2.0 * draft_s / plain_s, self._due(record))
        self._quiet = 0 if read else self._quiet + 1

    def _due(self, record: Round) -> int:
        """Rounds until an answer may want to probe; those whose time has come wait for credit, not for rounds."""
        waits = [answer.wait - answer.plain_run for s in record.sequences if (answer := self._answers.get(s.slot))]
        return min([wait for wait in waits if wait > 0], default=LONGEST)

    def _slept(self, record: Round) -> None:
        """A round that passed unlooked at: plain, at no price. Its time is what guesses are compared with."""
        if not record.prefill_tokens:
            context = max([len(sequence.tokens) for sequence in record.sequences])
            self.costs.note_pass(record.rows + record.replayed, context, record.total_s - record.draft_s, plain=True)
            self._guessed = False
        for sequence, emitted in zip(record.sequences, record.emitted, strict=True):
            answer = self._answers[sequence.slot]
            answer.bucket.plain()
            answer.rested(emitted)
            if sequence.done:
                self._carry(answer)
                self._account(answer)
        self._quiet += 1

    def _drew(self, answer: Answer, model: Proposal, x: Proposal, accepted: int, emitted: int) -> None:
        """The draft model guessed: note where it stands, and what to expect of its next guess."""
        if model.confidence:
            self.calibration.table(MODEL, answer.mode).learn_first(bucket(model.confidence[0]))
        tokens = answer.sequence.tokens
        before = len(tokens) - emitted
        guess = model.whole or model.tokens
        if model is x and x.tokens:
            right = accepted > 0
        else:
            right = bool(guess) and emitted > 0 and guess[0] == tokens[before]
        if answer.greeting and not right:
            self._ask_every = min(2 * self._ask_every, _RAREST)
        elif answer.probing and right:
            self._ask_every = 1
        answer.drew(right)
        answer.read = max(1, min(before + min(accepted, max(0, len(guess) - 1)), len(tokens) - 1))

    def _learn(self, answer: Answer, x: Proposal, accepted: int, emitted: int) -> None:
        """What came of a guess, and of those of other sources for the same place.

        The emitted tokens themselves judge all guesses, as far as they agree. Only a guess drawn from a law is judged
        by the verdict: it may have been turned down although the same token was emitted.
        """
        tokens = answer.sequence.tokens
        emitted_now = tokens[len(tokens) - emitted :]
        for y in (x, *x.rivals):
            guess = y.whole or y.tokens
            if y.dists is None:
                stood = 0
                for ours, theirs in zip(guess, emitted_now, strict=False):
                    if ours != theirs:
                        break
                    stood += 1
                judged = min(stood + 1, len(guess), emitted)
            else:
                stood = accepted
                judged = min(accepted + 1, len(guess))
            self._judge(answer, y, stood, judged)
        if x.source != MODEL and accepted >= 4:
            answer.look_again()  # the text repeats itself

    def _judge(self, answer: Answer, x: Proposal, stood: int, judged: int) -> None:
        """The first `judged` tokens of a guess were looked at, and the first `stood` of them stand."""
        table = self.calibration.table(x.source, answer.mode)
        buckets = [bucket(c) for c in x.confidence[: judged + 1]]
        if x.source == MODEL:
            answer.trust.learn([table.rates[at] for at in buckets[:judged]], stood)
            for before, at in itertools.pairwise(buckets[: stood + 1]):
                table.learn_next(before, at)
        table.learn(buckets[:judged], stood)

    def _account(self, answer: Answer) -> None:
        """Put time saved, with a 95 % margin, into the answer's statistics."""
        stats, doubt = answer.sequence.stats, self.costs.plain_error * answer.saved_s
        stats.saved_s = answer.saved_s
        stats.saved_error_s = 1.96 * math.sqrt(answer.saved_var + doubt * doubt)

    # ---- telling ----

    def credit(self, sequence: RunningSequence) -> float:
        """What may be risked for an answer now, in plain steps."""
        return self._answer(sequence).bucket.credit

    def park(self, source: str, reason: str) -> None:
        """A source has stopped for good; the answers go on without it."""
        if source not in self.parked:
            self.parked[source] = reason

    @property
    def hopeless(self) -> str:
        """Why the draft model cannot pay for one answer at these costs, not even if all its guesses stood, in words; ""
        where it can, or where there is none."""
        prices = self._price(0, 1, 1)
        if not self.costs.drafts or prices.best(self.max_draft, 1.0) > _MARGIN:
            return ""
        return f"drafting and reading one guess costs {100.0 * (prices.first + prices.price[1]):.0f} % of a plain step"

    @property
    def status(self) -> tuple[str, str]:
        running = list(self._answers.values())
        if MODEL in self.parked:
            return "off", self.parked[MODEL]
        if self.max_draft == 0:
            return "off", "The look-ahead is set to 0."
        if running and all(_switched_off(answer.sequence) for answer in running):
            return "off", "Speculation is switched off for this request."
        if not running:
            return "active", "Nothing has been written yet."
        if self._quiet < _QUIET:
            recent = list(itertools.islice(reversed(self.depths), 64))
            mean = sum(k for _, k, _ in recent) / max(1, len(recent))
            lam = max(answer.lam for answer in running)
            return "active", f"Guessing {mean:.1f} tokens a round; {lam:.2f} tokens in the time of a plain step."
        if self._short is not None:
            cost, credit = self._short
            return "paused", (
                f"A guess could cost {cost:.2f} plain steps here, and only {credit:.2f} may be risked now: "
                f"the promise is at most {100.0 * self.promise.epsilon:.1f} % lost."
            )
        if not self.costs.drafts:
            return "paused", "Nothing that would be worth guessing was found in the text lately."
        answer = max(running, key=lambda answer: answer.sequence.n_emitted)
        if self._now is not None and self._now[0].best(self.max_draft, answer.lam) <= _MARGIN:
            return "paused", (
                f"Guesses cannot pay here, not even if all of them stood: drafting and reading one costs "
                f"{100.0 * self._costs_of_one():.0f} % of a plain step."
            )
        table = self.calibration.table(MODEL, answer.mode)
        known = (
            f"{100.0 * table.acceptance:.0f} % of the draft's tokens stand" if table.learned else "nothing is known yet"
        )
        return "paused", (
            f"Guesses cost more than they are expected to bring here: {known}, and one "
            f"costs {100.0 * self._costs_of_one():.0f} % of a plain step. Next try in at most {answer.wait} tokens."
        )

    def _costs_of_one(self) -> float:
        """Drafting and reading one guess, in plain steps."""
        if self._now is None:
            return 0.0
        prices = self._now[0]
        return min(prices.first, 1e3) + prices.price[1]


def _drawn(record: Round) -> list[tuple[int, Proposal]]:
    """The guesses of the draft model in a round, used or not, with their place."""
    return [
        (i, y)
        for i, x in enumerate(record.proposals)
        for y in ((x, *x.rivals) if x.rivals else (x,))
        if y.draft_s and y.source == MODEL
    ]


def _switched_off(sequence: RunningSequence) -> bool:
    speculation = sequence.request.speculation
    return not speculation.enabled or speculation.method == "off" or speculation.max_draft == 0
