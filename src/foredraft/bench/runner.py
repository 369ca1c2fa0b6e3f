"""The bench run: every prompt in every mode, side by side, with the text compared each time.

A run is an iterator of steps, so that whoever drives it can show its progress and stop it anywhere; what has been
measured until then stays.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from foredraft.bench.categories import Prompt
from foredraft.bench.modes import PLAIN, Mode, Stage, parse
from foredraft.bench.trials import Counts, Trial, Trials
from foredraft.core.errors import ForedraftError
from foredraft.core.params import Request
from foredraft.pair.verification import Difference, first_difference
from foredraft.scheduling.request import Generation

SEED = 20_000
_FEWEST_TOKENS = 16
_TYPICAL_TOKENS = 40
"""Length of an answer, for estimates."""
_ENOUGH_S = 0.2
"""Repeat a prompt until each mode has run for about this long: short answers of small models are all noise."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. `limit_s` ends the run after so many seconds, with what it has; prompts go round the categories,
    so that an early end leaves all of them measured."""

    prompts: dict[str, list[Prompt]]
    modes: tuple[Mode, ...]
    temperatures: tuple[float, ...] = (0.0, 0.8)
    repeats: int | None = None
    """None: one for slow models, up to seven for fast ones."""
    max_tokens: int = 128
    limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One prompt at one temperature is done."""

    share: float
    """Of the whole run, 0 to 1."""
    what: str


@dataclass(frozen=True, slots=True)
class Parted:
    """A text that was not the plain one, and the judgement of the first difference."""

    prompt: Prompt
    mode: str
    temperature: float
    difference: Difference


class Run:
    """One bench run of a loaded pair. Iterate it to its end, or as far as you like."""

    def __init__(
        self, stage: Stage, plan: Plan, plain_s: float, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """`plain_s`: seconds of a plain step, from which lengths and repeats are chosen. Raises `ForedraftError` when a
        mode cannot be run with this pair, or no prompt fits in the context."""
        for mode in plan.modes:
            stage.check(mode)
        self.plan = plan
        self.notes: list[str] = []
        self.parted: list[Parted] = []
        self.compared = 0
        """Answers compared with plain decoding's."""
        self.trials = Trials([mode.name for mode in plan.modes], plan.temperatures)
        self.finished = False
        self._stage = stage
        self._llm = stage.llm
        self._clock = clock
        self._modes = (parse(PLAIN), *plan.modes)
        self._requests = self._rendered()
        self.repeats = plan.repeats or max(1, min(7, round(_ENOUGH_S / (plain_s * _TYPICAL_TOKENS))))
        self.max_tokens = self._affordable(plain_s)

    def __iter__(self) -> Iterator[Step]:
        began = self._clock()
        total = len(self._requests) * len(self.plan.temperatures)
        done = 0
        try:
            for prompt, tokens in self._requests:
                for temperature in self.plan.temperatures:
                    if self._over(began):
                        self.notes.append(
                            f"Stopped after {self.plan.limit_s:.0f} s: {done} of {total} trials are done."
                        )
                        return
                    self._try(prompt, tokens, temperature)
                    done += 1
                    share = done / total
                    if self.plan.limit_s:
                        share = max(share, (self._clock() - began) / self.plan.limit_s)
                    yield Step(min(share, 1.0), f"{prompt.category} {prompt.number + 1}, temperature {temperature:g}")
            self.finished = True
        finally:
            self._stage.restore()

    @property
    def sound(self) -> bool:
        """True when every text was the plain one, or parted from it at a near-tie."""
        return all(parted.difference.near_tie for parted in self.parted)

    def _over(self, began: float) -> bool:
        return self.plan.limit_s is not None and self._clock() - began > self.plan.limit_s

    def _try(self, prompt: Prompt, tokens: tuple[int, ...], temperature: float) -> None:
        """One prompt: every mode in turns, the order reversed from repeat to repeat."""
        trial = Trial(prompt, temperature)
        self.trials.add(trial)
        request = self._llm.request(
            tokens, temperature=temperature, seed=SEED + prompt.number, max_tokens=self.max_tokens
        )
        self._stage.restore()
        self._llm.generate(dataclasses.replace(request, max_tokens=1))  # both models read the prompt; it stays cached
        for repeat in range(self.repeats):
            order: Sequence[Mode] = self._modes[::-1] if (repeat + prompt.number) % 2 else self._modes
            answers = {mode.name: self._answer(request, mode) for mode in order}
            plain = answers[PLAIN]
            if not plain.tokens:
                return
            trial.tokens = len(plain.tokens)
            for name, answer in answers.items():
                count = max(1, len(answer.tokens))
                trial.counts.setdefault(name, Counts()).add(answer.stats)
                trial.seconds.setdefault(name, []).append(answer.stats.generation_s / count)
            if repeat == 0:
                self._compare(request, prompt, temperature, answers)

    def _answer(self, request: Request, mode: Mode) -> Generation:
        self._stage.set(mode)
        return self._llm.generate(dataclasses.replace(request, speculation=mode.speculation))

    def _compare(self, request: Request, prompt: Prompt, temperature: float, answers: dict[str, Generation]) -> None:
        for mode in self.plan.modes:
            self.compared += 1
            if answers[mode.name].tokens != answers[PLAIN].tokens:
                difference = first_difference(self._llm, request, answers[PLAIN], answers[mode.name])
                if difference is not None:
                    self.parted.append(Parted(prompt, mode.name, temperature, difference))

    def _rendered(self) -> list[tuple[Prompt, tuple[int, ...]]]:
        """The prompts as tokens, one of each category after the other; those too long for the context are left out."""
        llm, lists = self._llm, list(self.plan.prompts.values())
        raw = llm.info.chat_template is None
        if raw:
            self.notes.append("The model has no chat template: the prompts are continued as plain text.")
        longest = max((len(prompts) for prompts in lists), default=0)
        in_turns = [prompts[i] for i in range(longest) for prompts in lists if i < len(prompts)]
        encoded = [(p, tuple(llm.engine.tokenizer.encode(p.text if raw else llm.render(p.text)))) for p in in_turns]
        room = llm.info.n_ctx - _FEWEST_TOKENS
        fitting = [(prompt, tokens) for prompt, tokens in encoded if tokens and len(tokens) <= room]
        if not fitting:
            shortest = min((len(tokens) for _, tokens in encoded), default=0)
            raise ForedraftError(
                f"No prompt fits: the shortest has {shortest} tokens, the context holds {llm.info.n_ctx}, "
                f"{_FEWEST_TOKENS} of them for the answer.",
                hint="Load the model with a larger context.",
            )
        if len(fitting) < len(encoded):
            self.notes.append(
                f"{len(encoded) - len(fitting)} of {len(encoded)} prompts are too long for a context of "
                f"{llm.info.n_ctx} tokens and are left out."
            )
        return fitting

    def _affordable(self, plain_s: float) -> int:
        """Most tokens of an answer: fewer where one prompt of every category would take longer than the limit."""
        if self.plan.limit_s is None:
            return self.plan.max_tokens
        lap = len(self.plan.prompts) * len(self.plan.temperatures) * self.repeats * len(self._modes)
        tokens = int(0.8 * self.plan.limit_s / (lap * plain_s))
        if tokens >= self.plan.max_tokens:
            return self.plan.max_tokens
        tokens = max(tokens, min(_FEWEST_TOKENS, self.plan.max_tokens))
        self.notes.append(f"Answers are cut at {tokens} tokens, so that every category fits in the time.")
        return tokens
