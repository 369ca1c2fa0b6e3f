"""The four pictures of docs/concepts, each from a run of the shipped code.

- `a_round`: one round of the embedded pair, token by token;
- `the_same_text`: chances and noise at four places, without guesses and with them;
- `when_it_pays`: speed over γ on measured cost curves, with the bound n/v(n), and what the controller makes of them;
- `the_promise`: time lost against plain, and the credit that limits it.

The last two run the shipped controller on the virtual clock of `tests/speculative/simulator/`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foredraft import LLM, LoadSettings
from foredraft.bench.costs import Costs
from foredraft.core.params import SpeculationParams
from foredraft.sampling import noise
from foredraft.speculative.controllers import Adaptive, DraftController, Fixed
from foredraft.speculative.controllers.adaptive.budget import PRESETS
from foredraft.speculative.drafters import Arbiter
from tests.speculative.simulator import CURVES, T1, C, SimulatedDraft, World, new_sequence, one_round, simulate, stream
from tools.pictures.drawing import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PALE,
    PALE_BLUE,
    PALE_GREEN,
    PALE_RED,
    PURPLE,
    RED,
    Drawing,
    Panel,
    shown,
)

QUESTION, TEMPERATURE, SEED, GAMMA = "Write a story that begins: 'The door creaked open...'", 0.8, 7, 4


# ---- two pictures of one answer by the embedded pair ----


@dataclass(frozen=True, slots=True)
class Choice:
    """What the main model weighed at one place: its likeliest tokens with chance and noise, and the token it chose."""

    token: int
    candidates: dict[int, tuple[float, float]]
    """Token to (chance, noise); likely ones, the chosen one among them."""


@dataclass(slots=True)
class Seen:
    """One round as it happened."""

    before: list[int]
    """The text, prompt and all, before the round."""
    guesses: list[int]
    accepted: int
    emitted: list[int]
    kind: str
    choices: list[Choice]
    """Of the places that were looked at."""


class Watch:
    """Looks over the shoulder of an answer (a `Sequence` observer)."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._text = list(prompt)
        self.rounds: list[Seen] = []

    def __call__(self, laws: Any, proposal: Any, verdict: Any, emitted: Sequence[int]) -> None:
        sampler, start = laws.sampler, len(self._text)
        choices = []
        for i in range(verdict.accepted + 1):
            place = noise.key(sampler.seed, noise.TARGET, start + i)
            ids, logits = sampler.candidates(laws.rows[i], proposal.tokens[:i], start + i)
            luck = noise.gumbel(place, ids)
            p = sampler.law(laws.rows[i], proposal.tokens[:i], start + i)
            chance = dict(zip(p.ids.tolist(), p.probs.tolist(), strict=True))
            chosen = int(ids[(logits + luck).argmax()])
            likely = sorted(ids.tolist(), key=lambda token: -chance[token])[:2]
            third = [chosen] if chosen not in likely else sorted(ids.tolist(), key=lambda token: -chance[token])[2:3]
            noises = dict(zip(ids.tolist(), luck.tolist(), strict=True))
            choices.append(Choice(chosen, {token: (chance[token], noises[token]) for token in [*likely, *third]}))
        self.rounds.append(
            Seen(list(self._text), list(proposal.tokens), verdict.accepted, list(emitted), verdict.kind, choices)
        )
        self._text += emitted


def watched(llm: LLM, speculation: SpeculationParams) -> tuple[list[Seen], list[int]]:
    """The rounds of the answer, and its tokens."""
    prompt = llm.engine.tokenizer.encode(llm.render(QUESTION))
    request = llm.request(prompt, temperature=TEMPERATURE, seed=SEED, max_tokens=90, speculation=speculation)
    watch = Watch(request.prompt)
    answer = llm.scheduler.submit(request, observer=watch)
    llm.finish(answer)
    return watch.rounds, answer.tokens


def a_round(path: Path) -> None:
    """The first round of the story in which one guess stands and the next one falls."""
    with _story_teller() as llm:
        rounds, tokens = watched(llm, SpeculationParams())
        text = _text_of(llm)
    seen = next(r for r in rounds if r.kind == "corrected" and r.accepted == 1)
    guesses, stood = sum(len(r.guesses) for r in rounds), sum(r.accepted for r in rounds)
    print(f"{len(tokens)} tokens in {len(rounds)} rounds; {guesses} guesses, {stood} stood")
    sheet = Drawing(860, 486, "One round: draft, verify, accept, rewind, on real tokens of the embedded pair")
    sheet.words(24, 34, "One round", size=17, bold=True)
    sheet.words(24, 56, "of the embedded pair, in the middle of a story", colour=MUTED)
    last = [text(token) for token in seen.before[-2:]]
    begin, wide, step = 226, 96, 104
    places = [begin + step * (len(last) + i) for i in range(GAMMA)]
    passed = begin + step * (len(last) - 1)

    def label(y: float, name: str, *lines: str) -> None:
        sheet.words(24, y, name, size=15, bold=True)
        for i, words in enumerate(lines):
            sheet.words(24, y + 20 + 17 * i, words, size=12, colour=MUTED)

    def old_text(y: float) -> None:
        for i, token in enumerate(last):
            sheet.token(begin + step * i, y, token, PALE, GRID, width=wide)

    label(104, "1  Draft", "a small model guesses", "what comes next")
    old_text(88)
    for x, guess in zip(places, seen.guesses, strict=True):
        sheet.token(x, 88, text(guess), PALE_BLUE, BLUE, width=wide, dash="4 3")
    label(174, "2  Verify", "the main model reads it all", "in one pass, and says at each", "place what it would write")
    for i, x in enumerate([passed, *places]):
        sheet.arrow(x + wide / 2, 118, x + wide / 2, 158, BLUE if i else MUTED)
    sheet.box(passed - 6, 158, step * (GAMMA + 1) + 4, 34, PALE, GRID)
    middle = passed + step * (GAMMA + 1) / 2
    sheet.words(middle, 180, "one pass of the main model", anchor="middle")
    for i, x in enumerate(places):
        if i <= seen.accepted:
            good = i < seen.accepted
            sheet.arrow(x + wide / 2, 192, x + wide / 2, 222)
            token = text(seen.choices[i].token)
            sheet.token(x, 222, token, PALE_GREEN if good else PALE_RED, GREEN if good else RED, width=wide)
        else:
            sheet.words(x + wide / 2, 241, "no matter", size=12, colour=MUTED, anchor="middle")
    label(
        296,
        "3  Accept",
        "the guesses that are the same",
        "stand, up to the first that is",
        "not; there its own word comes",
    )
    old_text(296)
    for i, x in enumerate(places):
        words = "same: stands" if i < seen.accepted else "not the same" if i == seen.accepted else "falls with it"
        colour = GREEN if i < seen.accepted else RED if i == seen.accepted else MUTED
        sheet.words(x + wide / 2, 278, words, size=12, colour=colour, anchor="middle", bold=i <= seen.accepted)
    for i, token in enumerate(seen.emitted):
        good = i < seen.accepted
        sheet.token(places[i], 296, text(token), PALE_GREEN if good else PALE_RED, GREEN if good else RED, width=wide)
    label(396, "4  Rewind", "what fell is forgotten, as if", "it had never been read")
    for i, x in enumerate(places):
        if i >= seen.accepted:
            sheet.token(x, 388, text(seen.guesses[i]), "#ffffff", GRID, width=wide, dash="4 3")
            sheet.line(x + 10, 402, x + wide - 10, 402, RED, width=1.2)
    sheet.words(
        begin,
        462,
        f"{len(seen.emitted)} tokens written by one pass of the main model. The next round goes on behind them.",
    )
    sheet.write(path)


def the_same_text(path: Path) -> None:
    """The first round in which three guesses stand and the fourth falls, and the same four places written plainly."""
    with _story_teller() as llm:
        rounds, guessed_text = watched(llm, SpeculationParams())
        plain, plain_text = watched(llm, SpeculationParams(enabled=False))
        text = _text_of(llm)
    if guessed_text != plain_text:
        raise SystemExit("The two texts differ on this machine: its batches are not exact (`foredraft verify`).")
    seen = next(r for r in rounds if r.kind == "corrected" and r.accepted == GAMMA - 1)
    alone = [r for r in plain if len(seen.before) <= len(r.before) < len(seen.before) + GAMMA]
    if seen.choices != [r.choices[0] for r in alone]:
        raise SystemExit("Chances differ in their last digits on this machine: its batches are not exact.")
    sheet = Drawing(860, 500, "The same chances, the same noise, the same choice: without guesses and with them")
    sheet.words(24, 34, "The same noise, the same choice", size=17, bold=True)
    left, step, wide = 24, 205, 198
    before = "".join(text(token) for token in seen.before[-9:]).strip()
    sheet.words(24, 58, f"What the main model weighs behind “… {before}”", colour=MUTED)

    def panel(top: float, title: str, words: str, choices: Sequence[Choice], guesses: Sequence[int]) -> None:
        sheet.words(24, top, title, size=14, bold=True)
        sheet.words(24, top + 18, words, size=12, colour=MUTED)
        for i, choice in enumerate(choices):
            x, y = left + step * i, top + 30
            if guesses:
                good = guesses[i] == choice.token
                sheet.words(x, y + 14, "guess", size=12, colour=MUTED)
                sheet.words(x + 42, y + 14, shown(text(guesses[i])), colour=BLUE, mono=True)
                words = "stands" if good else "falls"
                sheet.words(x + wide, y + 14, words, size=12, colour=GREEN if good else RED, anchor="end", bold=True)
            y += 22 if guesses else 0
            sheet.box(x, y, wide, 106, "#ffffff", GRID)
            for words, at in (("chance", 102), ("noise", 146), ("sum", 192)):
                sheet.words(x + at, y + 16, words, size=11, colour=MUTED, anchor="end")
            for j, (token, (p, luck)) in enumerate(choice.candidates.items()):
                row = y + 36 + 25 * j
                won = token == choice.token
                if won:
                    sheet.box(x + 3, row - 16, wide - 6, 23, PALE_GREEN, GREEN)
                sheet.words(x + 9, row, shown(text(token)), size=12, mono=True, bold=won)
                chance = f"{100 * p:.0f} %" if p >= 0.01 else f"{100 * p:.1f} %"
                sheet.words(x + 102, row, chance, size=12, anchor="end")
                sheet.words(x + 146, row, _signed(luck), size=12, anchor="end", colour=PURPLE)
                sheet.words(x + 192, row, _signed(math.log(p) + luck), size=12, anchor="end", bold=won)

    panel(92, "Alone", "four passes, one token each", [r.choices[0] for r in alone], [])
    panel(272, "With guesses", "one pass over four guesses", seen.choices, seen.guesses)
    sheet.words(
        24,
        456,
        "sum = ln(chance) + noise. The largest sum is written. The noise is computed from seed, place and token:",
    )
    sheet.words(
        24, 477, "nobody draws it, so nobody can use it up. Both rows are the same to the last bit; so is the text."
    )
    sheet.write(path)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _story_teller() -> LLM:
    """With flash attention, by which processors compute this pair's batches exactly like single steps."""
    settings = LoadSettings(controller="fixed", fixed_look_ahead=GAMMA, remember=False)
    return LLM.load(settings=settings)


def _text_of(llm: LLM) -> Any:
    """Token to text (spaces and all), read before the pair is closed."""
    piece = llm.engine.tokenizer.piece
    known = {token: piece(token).decode("utf-8", "replace") for token in range(llm.info.n_vocab)}
    return known.__getitem__


# ---- two pictures of the controller on a virtual clock ----

MACHINES = {
    "1B-F16": "1 B, F16, two cores",
    "1B-Q4KM": "1 B, Q4_K_M, two cores",
    "GPU": "34 B, Q8_0, one GPU",
}


def when_it_pays(path: Path, tokens: int = 4000) -> None:
    """The same draft and the same text on three machines: every fixed γ, and the controller that measures."""
    sheet = Drawing(
        860, 410, "Speed over the number of guesses on three machines, with the bound and what Foredraft does"
    )
    sheet.words(24, 34, "The same draft, the same text, three machines", size=17, bold=True)
    sheet.words(24, 56, "times the speed of plain decoding", colour=MUTED)
    text = stream("mixed", tokens, 1)
    for i, (curve, name) in enumerate(MACHINES.items()):
        panel = Panel(sheet, (54 + 270 * i, 96, 224, 220), (0, 12), (0, 5))
        panel.grid((0, 2, 4, 6, 8, 10, 12), (0, 1, 2, 3, 4, 5))
        sheet.words(panel.left, 84, name, bold=True)
        world = World(CURVES[curve], seed=5)
        costs = Costs(1.0, {n: world.v(n) for n in range(1, 14)}, C)
        panel.curve([(n - 1, n / v) for n, v in costs.v.items()], MUTED, width=1.6, dash="5 4")
        fixed = {g: _speed(text, curve, Fixed(g)) for g in range(13)}
        auto = _speed(text, curve, None)
        panel.on.line(panel.left, panel.y(1), panel.left + panel.width, panel.y(1), INK, width=1.2)
        panel.on.line(panel.left, panel.y(auto), panel.left + panel.width, panel.y(auto), GREEN, width=2.4)
        panel.curve(list(fixed.items()), BLUE)
        for gamma, speed in fixed.items():
            sheet.dot(panel.x(gamma), panel.y(speed), BLUE, 2.6)
        best = max(fixed, key=lambda g: fixed[g])
        print(f"{curve}: best fixed γ = {best} ({fixed[best]:.2f}), γ = 4 {fixed[4]:.2f}, γ = 8 {fixed[8]:.2f}, "
              f"controller {auto:.2f}, bound {costs.bound:.2f}")  # fmt: skip
    sheet.words(430, 352, "γ, tokens guessed in every round", colour=MUTED, anchor="middle")
    for x, colour, dash, words in (
        (54, BLUE, "", "always γ guesses"),
        (224, GREEN, "", "Foredraft: as many as pay"),
        (454, MUTED, "5 4", "bound n/v(n): every guess right, for free"),
    ):
        sheet.line(x, 380, x + 26, 380, colour, width=2.4, dash=dash)
        sheet.words(x + 34, 384, words)
    sheet.write(path)


def _speed(text: Any, curve: str, controller: DraftController | None) -> float:
    return simulate(text, World(CURVES[curve], seed=5), controller).speed


def the_promise(path: Path, tokens: int = 3000) -> None:
    """Time lost against plain decoding, token by token, and the credit of the one that keeps a promise."""
    promise = PRESETS["standard"]
    sheet = Drawing(
        860, 560, "Time lost against plain decoding stays under the promised line; the credit that sees to it"
    )
    sheet.words(24, 34, "Time lost against plain decoding", size=17, bold=True)
    sheet.words(24, 56, "in plain steps; below 0 time was won", colour=MUTED)
    lost = Panel(sheet, (72, 76, 580, 270), (0, tokens), (-220, 80))
    lost.grid((), (-200, -160, -120, -80, -40, 0, 40, 80))
    credit = Panel(sheet, (72, 404, 580, 96), (0, tokens), (0, promise.size))
    credit.grid(range(0, tokens + 1, 500), (0, 10, 20))
    sheet.words(72, 392, "Credit, in plain steps: what may still be risked", bold=True)
    sheet.words(72 + 290, 542, "tokens written", colour=MUTED, anchor="middle")
    sheet.line(lost.left, lost.y(0), lost.left + lost.width, lost.y(0), INK, width=1.2)
    lost.curve([(n, promise.epsilon * n + promise.size) for n in (0, tokens)], RED, width=2.4, dash="6 4")
    runs = (
        ("turning", None, GREEN, "a draft that turns", "bad and good again"),
        ("adversarial", None, BLUE, "a draft that is", "always wrong"),
        ("adversarial", Fixed(4), ORANGE, "the same, if 4 tokens", "are always guessed"),
    )
    for kind, controller, colour, *_ in runs:
        points, credit_left, worst = _losses(kind, tokens, controller)
        lost.curve(points, colour)
        if credit_left:
            credit.curve(credit_left, colour)
        over = "" if controller else f", {worst:.1f} plain steps below the line where it is nearest"
        print(f"{kind}, {'fixed:4' if controller else 'standard'}: {points[-1][1]:+.0f} after {tokens} tokens{over}")
    for i, (words, more, colour, dash) in enumerate(
        (
            ("promised: at most", f"{100 * promise.epsilon:g} % + {promise.size:g} steps", RED, "6 4"),
            *((first, second, colour, "") for _, _, colour, first, second in runs),
        )
    ):
        y = 96 + 52 * i
        sheet.line(672, y - 4, 696, y - 4, colour, width=2.4, dash=dash)
        sheet.words(704, y, words)
        sheet.words(704, y + 17, more)
    sheet.write(path)


def _losses(
    kind: str, tokens: int, controller: DraftController | None
) -> tuple[list[tuple[float, float]], list[tuple[float, float]], float]:
    """Tokens and lost plain steps after each round; tokens and credit; how near the promised line it came."""
    text, world = stream(kind, tokens, 3), World(CURVES["CPU"], seed=5)
    promise = PRESETS["standard"]
    adaptive = Adaptive(world.measured()) if controller is None else None
    drafter, sequence = Arbiter([SimulatedDraft(world, {0: text})]), new_sequence()
    written, spent, near = 0, 0.0, promise.size
    points, credit = [(0.0, 0.0)], []
    while written < tokens:
        record = one_round([sequence], drafter, adaptive or controller or Fixed(0), world)
        written += record.emitted[0]
        spent += record.total_s / T1
        points.append((float(written), spent - written))
        near = min(near, promise.epsilon * written + promise.size - (spent - written))
        if adaptive is not None:
            credit.append((float(written), adaptive.credit(sequence)))
    every = max(1, len(points) // 400)
    return points[::every], credit[::every], near
