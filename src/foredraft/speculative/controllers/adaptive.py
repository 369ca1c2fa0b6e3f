"""Look as far ahead as it pays here, zero included, and never lose more than promised.

Each round of each answer: `prices` says what k guesses would cost on this machine with these answers running, `Policy`
whether to guess at all and whether to go on after each token, `Bucket` how much may be risked. When guessing does not
pay, a rare probe finds out whether that has changed. Everything is in plain steps: the time of one pass without
guesses for the same answers.

λ, the price of time, is local: tokens per plain step's time over about the last ten rounds, at least 1
(algorithms.md §3.2).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from foredraft.core.params import MAX_DRAFT
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.controllers.bucket import Bucket, Preset, preset
from foredraft.speculative.controllers.calibration import EDGES, Calibration, Table, Trust, bucket
from foredraft.speculative.controllers.costs import CostModel, bin_of
from foredraft.speculative.controllers.fixed import Distance
from foredraft.speculative.controllers.policy import Policy, grid
from foredraft.speculative.proposal import Proposal, Round
from foredraft.speculative.sequence import Sequence as RunningSequence

MODEL = "model"
"""The source that costs time before it is read; all others are found, not drawn."""
_DECAY = 0.9
"""Memory of λ: about ten rounds."""
_FIRST_WAIT, _LONGEST_WAIT = 8, 256
"""Plain tokens before a probe: the first, and the most after doublings."""
_PROBE_DEPTH = 2
_PROBE_FUND, _PROBE_RATE = 1.0, 0.002
"""What probes may cost, in plain steps: at first, and for each plain token since."""
_WON_FUND, _WON_RATE = 6.0, 0.05
"""Where guessing has paid, looking for the next good stretch may cost more: a share of what was won, up to this."""
_WON_WAIT = 48
"""Most plain tokens before a probe while there are winnings to spend."""
_STALE = 4
"""Plain tokens after which what came of the last guess says nothing any more."""
_NEVER = Distance(0)


class _Prices:
    """What guesses cost for R answers of which G may guess, in plain steps of that pass; by guesses k per answer."""

    __slots__ = ("draft", "plain_s", "price", "version", "worst", "worst_found")

    def __init__(self, costs: CostModel, context: int, running: int, guessing: int) -> None:
        self.version = costs.version
        curve = costs.curve(context)
        plain = curve.at(running)
        self.plain_s = plain
        """Without the machine's pace."""
        extra = [curve.at(running + guessing * k) / plain - 1.0 for k in range(MAX_DRAFT + 1)]
        draft = costs.draft_s(guessing) / costs.pace / plain
        share = running / guessing
        self.price = [max(0.0, share * x) for x in extra]
        """What an answer pays for its k guesses: all R wait for all G guesses, so each of the G owes R / G of it."""
        self.draft = share * draft
        self.worst = _rising(x + k * draft for k, x in enumerate(extra)) if draft < math.inf else [0.0]
        """What the whole pass takes longer if nothing stands: every answer waits that long."""
        self.worst_found = _rising(extra)


class _Answer:
    """What the controller knows of one running answer."""

    __slots__ = (
        "bucket",
        "came",
        "lam_time",
        "lam_tokens",
        "mode",
        "plain_run",
        "probe_fund",
        "probing",
        "read",
        "saved_s",
        "saved_var",
        "sequence",
        "trust",
        "wait",
    )

    def __init__(self, sequence: RunningSequence, credit: Bucket) -> None:
        self.sequence = sequence
        self.bucket = credit
        self.mode = _mode(sequence)
        self.lam_tokens = self.lam_time = 0.0
        self.came = "stale"
        self.plain_run = 0
        """Tokens since the draft model last guessed."""
        self.wait = _FIRST_WAIT
        self.probe_fund = _PROBE_FUND
        """Plain steps that probes may cost now."""
        self.probing = False
        self.read = len(sequence.tokens) - 1
        """Tokens the draft model has read, as far as one can tell from here."""
        self.trust = Trust()
        self.saved_s = self.saved_var = 0.0

    @property
    def lam(self) -> float:
        """λ: tokens per plain step's time, lately; at least 1."""
        return max(1.0, (self.lam_tokens + 1.0) / (self.lam_time + 1.0))


class _Plan:
    """The look-ahead of one answer in one round."""

    __slots__ = ("_answer", "_best", "_controller", "_found", "_going", "_policy", "_prices", "_rates", "_sum", "_u",
                 "gain", "limit", "may_hold", "wants_confidence")  # fmt: skip

    def __init__(
        self,
        controller: Adaptive,
        answer: _Answer,
        prices: _Prices,
        table: Table,
        policy: Policy,
        limit: int,
        found: int,
    ) -> None:
        self._controller = controller
        self._answer = answer
        self._prices = prices
        self._policy = policy
        self._rates = table.rates
        self._found = found
        self.limit = limit
        self.gain = 0.0
        self.wants_confidence = True
        self.may_hold = not answer.sequence.rule.needs_laws or answer.sequence.sampler.greedy
        self._u = answer.trust.level / answer.lam  # one drafted token that surely stands, in plain steps
        self._sum = 0.0  # Σ u_j: what the guesses so far are expected to bring
        self._best = 0.0  # the best of bringing minus price over all places to stop so far
        self._going = 0

    def go_on(self, drafted: int, confidence: float) -> bool:
        speculation = self._answer.sequence.request.speculation
        at = bucket(confidence)
        self._u *= self._rates[at]
        self._sum += self._u
        net = self._sum - self._prices.price[drafted]
        self._best = max(self._best, net) if self.may_hold else net
        if drafted >= self.limit or confidence < speculation.p_min:
            return False
        if drafted < speculation.min_draft:
            return True
        return self._policy.go_on(drafted)[at][grid(self._u)] + self._sum > self._best

    def offer(self, source: str) -> tuple[int, float]:
        if source == MODEL:
            return self.limit, self.gain
        return self._found, 0.0

    def keep(self, source: str, confidence: Sequence[float]) -> tuple[int, float]:
        speculation = self._answer.sequence.request.speculation
        drawn = source == MODEL
        limit = min(len(confidence), self.limit if drawn else self._found)
        rates = self._rates if drawn else self._controller.calibration.table(source, self._answer.mode).rates
        price, p_min = self._prices.price, speculation.p_min
        u = self._answer.trust.level / self._answer.lam if drawn else 1.0 / self._answer.lam
        best_k, best, total = 0, 0.0, 0.0
        for k in range(1, limit + 1):
            conf = confidence[k - 1]
            if conf < p_min and not drawn:
                break
            u *= rates[bisect_right(EDGES, conf)]
            total += u
            net = total - price[k]
            if net > best:
                best_k, best = k, net
        if 0 < best_k < speculation.min_draft:
            best_k = min(speculation.min_draft, limit)
        return best_k, best


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
        """Without `costs` a flat guess stands in until rounds have been seen."""
        self.costs = costs if costs is not None else CostModel({1: 0.02, 8: 0.04}, 0.004)
        self.calibration = calibration if calibration is not None else Calibration()
        self.promise = preset(promise) if isinstance(promise, str) else promise
        self.max_draft = max_draft
        self.rounds = 0
        self.probes = 0
        self.depths: deque[tuple[int, int, str]] = deque(maxlen=2048)
        """(round, guesses put before the target, source), one entry an answer and round."""
        self.events: deque[tuple[int, str, str]] = deque(maxlen=256)
        """(round, kind, reason in words)."""
        self.counts: Counter[str] = Counter()
        self.parked: dict[str, str] = {}
        """Sources that have stopped for good, and why."""
        self._answers: dict[int, _Answer] = {}
        self._credit: float | None = None
        self._prices: dict[tuple[int, int, int], _Prices] = {}
        self._policies: dict[tuple[str, int, int, int], tuple[int, int, Policy]] = {}
        self._current: tuple[_Prices, int] | None = None
        self._new_events: list[tuple[str, str]] = []
        self._quiet = 0
        self._why = ""

    # ---- deciding ----

    def plan(self, sequences: Sequence[RunningSequence]) -> list[LookAhead]:
        answers = [self._answer(sequence) for sequence in sequences]
        wishes = [sequence.look_ahead(self.max_draft) for sequence in sequences]
        guessing = sum(1 for wish in wishes if wish)
        context = max((len(sequence.tokens) for sequence in sequences), default=0)
        prices = self._price(context, max(1, len(sequences)), max(1, guessing))
        self._current = prices, context
        if not guessing:
            return [_NEVER] * len(sequences)
        credit = min(answer.bucket.credit for answer in answers)
        return [
            self._look(answer, wish, prices, credit, (bin_of(context), len(answers), guessing)) if wish else _NEVER
            for answer, wish in zip(answers, wishes, strict=True)
        ]

    def _look(
        self, answer: _Answer, wish: int, prices: _Prices, credit: float, place: tuple[int, int, int]
    ) -> LookAhead:
        """The look-ahead of one answer."""
        answer.probing = False
        found = min(wish, bisect_right(prices.worst_found, credit) - 1)
        table = self.calibration.table(MODEL, answer.mode)
        behind = len(answer.sequence.tokens) - answer.read
        catch_up = self.costs.catch_up_s(behind) / (prices.plain_s * self.costs.pace) if behind > 2 else 0.0
        limit = min(wish, bisect_right(prices.worst, credit - catch_up) - 1)
        least = min(answer.sequence.request.speculation.min_draft, wish)
        if limit < least:
            limit = 0
        if limit < 1 and found < 1:
            self._why = (
                f"A guess could cost {prices.worst_found[1]:.2f} plain steps here, and only {max(credit, 0.0):.2f} may"
                f" be risked now: the promise is at most {100.0 * self.promise.epsilon:.1f} % lost."
            )
            return _NEVER
        self._why = ""
        policy = self._policy(table, prices, answer, place)
        plan = _Plan(self, answer, prices, table, policy, max(limit, 0), max(found, 0))
        if MODEL in self.parked or answer.sequence.request.speculation.method not in ("auto", MODEL):
            plan.limit = 0
            return plan
        came = answer.came if answer.plain_run < _STALE else "stale"
        plan.gain = policy.start[came][grid(answer.trust.level / answer.lam)] - catch_up
        if plan.gain <= 0.0 and limit > 0:
            risk = prices.draft + catch_up + (0.0 if plan.may_hold else prices.price[1])
            wait = min(answer.wait, _WON_WAIT) if answer.probe_fund > 2.0 * _PROBE_FUND else answer.wait
            if answer.plain_run >= wait and (answer.probe_fund >= min(risk, _PROBE_FUND) or not self.costs.draft_known):
                answer.probing = True
                answer.probe_fund -= risk
                self.probes += 1
                plan.limit, plan.gain = min(limit, max(_PROBE_DEPTH, least)), 1e-6
            else:
                plan.limit = 0
        return plan

    def _answer(self, sequence: RunningSequence) -> _Answer:
        answer = self._answers.get(sequence.slot)
        if answer is None or answer.sequence is not sequence:
            if answer is not None:
                self._credit = answer.bucket.credit
            credit = self.promise.start if self._credit is None else max(self._credit, 0.5 * self.promise.start)
            answer = self._answers[sequence.slot] = _Answer(sequence, Bucket(self.promise, credit))
        return answer

    def _price(self, context: int, running: int, guessing: int) -> _Prices:
        key = bin_of(context), running, guessing
        prices = self._prices.get(key)
        if prices is None or prices.version != self.costs.version:
            prices = self._prices[key] = _Prices(self.costs, context, running, guessing)
        return prices

    def _policy(self, table: Table, prices: _Prices, answer: _Answer, place: tuple[int, int, int]) -> Policy:
        """The policy of a kind of answer, made anew when costs have moved or enough has been learned."""
        key = (answer.mode, *place)
        known = self._policies.get(key)
        if known is not None:
            version, learned, policy = known
            new = table.learned - learned
            if version == prices.version and (new < 8 or new < min(learned // 3, 256)):
                return policy
        may_hold = not answer.mode.startswith("sampled")
        draft = min(prices.draft, 1e6)
        policy = Policy(table, draft, prices.price, may_hold=may_hold)
        self._policies[key] = prices.version, table.learned, policy
        return policy

    # ---- learning ----

    def observe(self, record: Round) -> None:
        self.rounds += 1
        if self._current is None or not record.sequences:
            return
        prices, context = self._current
        running = len(record.sequences)
        drawn = [x for x in record.proposals if x.source == MODEL and x.draft_s]
        for x in record.proposals:
            drawn += [y for y in x.rivals if y.source == MODEL and y.draft_s]
        draft_s = record.draft_s if 0.0 <= record.draft_s < math.inf else 0.0
        charged = 0.0
        if drawn:
            model_s = sum(x.draft_s for x in drawn)
            steps = max(len(x.whole or x.tokens) for x in drawn)
            behind = max(self._behind(record, x) for x in drawn)
            charged = self.costs.note_draft(len(drawn), steps, behind, model_s)
            draft_s = max(0.0, draft_s - model_s)
        else:
            steps = 0
        plain_s = prices.plain_s * self.costs.pace
        charged += min(draft_s, plain_s)  # lookups and deciding; more than a plain step is a clock that jumped
        if record.prefill_tokens:
            pass_s = self.costs.pass_s(record.rows, context)  # the prompt's share of the time is nobody's guess
        else:
            pass_s = self.costs.note_pass(record.rows, context, record.total_s - record.draft_s)
        guessed = record.rows > running or bool(drawn)
        time = (pass_s + charged) / plain_s if guessed else 1.0
        noise_s = 2.0 * self.costs.spread * pass_s
        for sequence, x, verdict, emitted in zip(
            record.sequences, record.proposals, record.verdicts, record.emitted, strict=True
        ):
            answer = self._answers.get(sequence.slot)
            if answer is None or answer.sequence is not sequence or verdict.kind == "error":
                continue
            if guessed:
                answer.bucket.guessed(emitted, time)
                if emitted > time:
                    answer.probe_fund = min(_WON_FUND, answer.probe_fund + _WON_RATE * (emitted - time))
                answer.saved_s += emitted * plain_s - pass_s - charged
                answer.saved_var += noise_s * noise_s
            else:
                answer.bucket.plain()
                answer.saved_s -= charged
            answer.lam_tokens = _DECAY * answer.lam_tokens + emitted
            answer.lam_time = _DECAY * answer.lam_time + time
            self._learn(answer, x, verdict.accepted, emitted)
            stats = sequence.stats
            stats.saved_s = answer.saved_s
            stats.saved_error_s = 1.96 * math.sqrt(answer.saved_var + (self.costs.plain_error * answer.saved_s) ** 2)
            self.depths.append((self.rounds, len(x.tokens), x.source))
        self._tell(record, guessed)

    def _behind(self, record: Round, x: Proposal) -> int:
        """How far the draft was behind before it guessed x."""
        for sequence, y, emitted in zip(record.sequences, record.proposals, record.emitted, strict=True):
            if y is x or x in y.rivals:
                answer = self._answers.get(sequence.slot)
                return len(sequence.tokens) - emitted - answer.read if answer is not None else 1
        return 1

    def _learn(self, answer: _Answer, x: Proposal, accepted: int, emitted: int) -> None:
        """What came of a guess, and of those of other sources for the same place."""
        tokens = answer.sequence.tokens
        before = len(tokens) - emitted
        model: Proposal | None = x if x.source == MODEL and x.draft_s else None
        if model is None or x.dists is None:
            for y in (x, *x.rivals):
                guess = y.whole or y.tokens
                if y.source == MODEL and y.draft_s:
                    model = y
                if guess:
                    self._compare(answer, y, guess, tokens, before)
        else:
            self._verdict(answer, x, accepted)
        if model is None:
            answer.plain_run += emitted
            answer.trust.rest(emitted)
            if answer.probe_fund < _PROBE_FUND:
                answer.probe_fund += _PROBE_RATE * emitted
            if x.tokens and x.source != MODEL and accepted >= 4:
                answer.wait = _FIRST_WAIT  # the text repeats itself: an event worth a new look
        else:
            self._drew(answer, model, x, accepted, emitted)

    def _compare(self, answer: _Answer, x: Proposal, guess: list[int], tokens: list[int], before: int) -> None:
        """Learn from the emitted tokens themselves, as far as the guess agrees with them."""
        table = self.calibration.table(x.source, answer.mode)
        buckets = [bucket(c) for c in x.confidence]
        end = len(tokens) - before
        for j in range(min(len(guess), len(buckets), end)):
            stood = guess[j] == tokens[before + j]
            self._one(answer, table, x.source, buckets, j, stood)
            if not stood:
                break

    def _verdict(self, answer: _Answer, x: Proposal, accepted: int) -> None:
        """Learn from the rule's verdict, where a guess may be turned down although the same token is emitted."""
        table = self.calibration.table(x.source, answer.mode)
        buckets = [bucket(c) for c in x.confidence]
        for j in range(min(accepted + 1, len(x.tokens), len(buckets))):
            self._one(answer, table, x.source, buckets, j, j < accepted)

    def _one(self, answer: _Answer, table: Table, source: str, buckets: list[int], j: int, stood: bool) -> None:
        if source == MODEL:
            answer.trust.learn(table.rates[buckets[j]], stood)
            if stood and j + 1 < len(buckets):
                table.learn_next(buckets[j], buckets[j + 1])
        table.learn(buckets[j], stood)

    def _drew(self, answer: _Answer, model: Proposal, x: Proposal, accepted: int, emitted: int) -> None:
        """The draft model guessed: note where it stands, and what to expect of its next guess."""
        table = self.calibration.table(MODEL, answer.mode)
        came = answer.came if answer.plain_run < _STALE else "stale"
        if model.confidence:
            table.learn_first(came, bucket(model.confidence[0]))
        tokens = answer.sequence.tokens
        before = len(tokens) - emitted
        guess = model.whole or model.tokens
        if model is x and x.tokens:
            kept = len(x.tokens)
            answer.came = "all" if accepted == kept else "some" if accepted else "none"
            right = accepted > 0
        else:
            right = bool(guess) and emitted > 0 and guess[0] == tokens[before]
            answer.came = "held right" if right else "held wrong"
        if answer.probing:
            self.counts["probes won" if right else "probes lost"] += 1
            answer.wait = _FIRST_WAIT if right else min(2 * answer.wait, _LONGEST_WAIT)
            if right:
                answer.probe_fund = max(answer.probe_fund, _PROBE_FUND)
        answer.plain_run = 0
        answer.read = max(1, min(before + min(accepted, max(0, len(guess) - 1)), len(tokens) - 1))

    # ---- telling ----

    def credit(self, sequence: RunningSequence) -> float:
        """What may be risked for an answer now, in plain steps."""
        return self._answer(sequence).bucket.credit

    def park(self, source: str, reason: str) -> None:
        """A source has stopped for good; the answers go on without it."""
        if source not in self.parked:
            self.parked[source] = reason
            self._event("parked", reason)

    def reset(self, reason: str) -> None:
        """Something has changed (a new turn, another kind of text): look again soon."""
        for answer in self._answers.values():
            answer.wait = _FIRST_WAIT
        self._event("reset", reason)

    def _event(self, kind: str, reason: str) -> None:
        self.events.append((self.rounds, kind, reason))
        self._new_events.append((kind, reason))

    def _tell(self, record: Round, guessed: bool) -> None:
        was_quiet = self._quiet >= 16
        self._quiet = 0 if guessed and record.rows > len(record.sequences) else self._quiet + 1
        if self._quiet == 16:
            self._event("paused", self.status[1])
        elif was_quiet and not self._quiet:
            self._event("active", "Guessing pays again.")
        if self._new_events:
            record.events += self._new_events
            self._new_events.clear()

    @property
    def status(self) -> tuple[str, str]:
        running = list(self._answers.values())
        if MODEL in self.parked:
            return "off", self.parked[MODEL]
        if running and all(a.sequence.request.speculation.method == "off" for a in running):
            return "off", "Speculation is switched off for this request."
        if self.max_draft == 0:
            return "off", "The look-ahead is set to 0."
        if self._quiet < 16:
            recent = list(itertools.islice(reversed(self.depths), 64))
            if not recent:
                return "active", "Nothing has been written yet."
            mean = sum(k for _, k, _ in recent) / len(recent)
            lam = max((a.lam for a in running), default=1.0)
            return "active", f"Guessing {mean:.1f} tokens a round; {lam:.2f} tokens in the time of a plain step."
        if self._why:
            return "paused", self._why
        answer = max(running, key=lambda a: len(a.sequence.tokens) - a.sequence.n_prompt)
        table = self.calibration.table(MODEL, answer.mode)
        rate = 100.0 * table.acceptance
        return "paused", (
            f"Guesses cost more than they bring here: {rate:.0f} % of the draft's tokens stand, and reading one costs "
            f"{100.0 * self._one_costs():.0f} % of a plain step. Next try in at most {answer.wait} tokens."
        )

    def _one_costs(self) -> float:
        """Cost of drafting and reading one guess, in plain steps."""
        if self._current is None:
            return 0.0
        prices = self._current[0]
        return min(prices.draft, 1e3) + prices.price[1]


def _mode(sequence: RunningSequence) -> str:
    """The way of choosing tokens, which decides how likely guesses are to stand."""
    temperature = sequence.request.sampling.temperature
    if temperature == 0.0:
        return "greedy"
    return f"{'sampled' if sequence.rule.needs_laws else 'coupled'} {'cool' if temperature <= 0.5 else 'warm'}"


def _rising(values: Iterable[float]) -> list[float]:
    """The running maximum."""
    rising: list[float] = []
    for value in values:
        rising.append(max(value, rising[-1] if rising else 0.0))
    return rising
