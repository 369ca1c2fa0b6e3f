"""Foredraft against llama-server: the same files, prompts and threads, in turns within one run.

Both are asked for the same token ids, greedily, and two clocks run around each whole request: wall time, and processor
time (of our thread that runs the models; of all of llama-server's). With one thread each the second is what the first
would be if nothing else ran on this machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from foredraft.bench import served
from foredraft.bench.categories import Prompt, prompts
from foredraft.bench.llama_server import DEFAULT_SETTINGS, PLAIN, Files, LlamaServer
from foredraft.bench.machine import machine
from foredraft.bench.modes import CLOCKS, Mode, Stage, parse, stage
from foredraft.bench.rivalry import FIRST, Pair, Row, Taken, rows
from foredraft.bench.runner import Step
from foredraft.bench.sides import Ours, Side, Theirs, first_piece
from foredraft.config.load_settings import LoadSettings
from foredraft.engines.processor import cores
from foredraft.pair.files import SMALL_MODEL_BYTES
from foredraft.pair.llm import LLM

T = TypeVar("T")

CATEGORIES = ("code", "maths", "stories", "facts", "copying")
"""Code, maths, writing, facts and editing."""
WRITING, READING = (64, 2048), (512, 2048)
"""Tokens of context to write behind, and of a prompt to read."""
PARTS = ("plain", "speculation", "first-token")
"""Writing and reading without guesses; answers by category; the first token over HTTP."""
_SHARE = 0.7
"""Of the free memory, what servers that run side by side may take."""
_OVERHEAD = 1.1
"""Memory of a server ÷ size of its files."""
_FIRST = 64
"""Tokens of the prompts whose first token is waited for."""
_FIRST_TRIES = 5
_TURN_S, _WARM_UP = 1.0, 4
"""Seconds that one side writes before it is the other's turn, about; and tokens to find out how many that are."""
_ANSWERS_SHARE = 0.85
"""Of the time limit: when answers end, so that the first token is measured, too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare. `limit_s` ends the run after so many seconds, with what it has."""

    prompts: dict[str, list[Prompt]]
    settings: tuple[str, ...] = DEFAULT_SETTINGS
    """llama-server's."""
    writing: tuple[int, ...] = WRITING
    reading: tuple[int, ...] = READING
    max_tokens: int = 64
    repeats: int = 3
    limit_s: float | None = None
    parts: tuple[str, ...] = PARTS


class Comparison:
    """One run. Iterate it to its end, or as far as you like; `rows` has what was measured until then. However it ends,
    no server is left running."""

    def __init__(
        self,
        load: Callable[[], LLM],
        server: LlamaServer,
        plan: Plan,
        settings: LoadSettings,
        *,
        clock: str = "wall",
        modes: Sequence[Mode] = (parse(PLAIN), parse("auto")),
        force: bool = False,
    ) -> None:
        """`load` loads the pair with `settings`. With `clock` "cpu" both programs get one thread, and processor time
        decides which of llama-server's settings is best."""
        self.plan = plan
        self.server = server
        self.clock = clock
        self.notes: list[str] = []
        self.files: Files | None = None
        self.model, self.draft = "", ""
        self.finished = False
        self._cut = False
        self.machine = machine()
        self._load = load
        self._settings = settings
        self._modes = modes
        self._force = force
        self._pairs: list[Pair] = []

    def __iter__(self) -> Iterator[Step]:
        began = time.perf_counter()
        done = 0
        over_http = "first-token" in self.plan.parts

        def step(what: str) -> Step:
            nonlocal done
            done += 1
            return Step(min(1.0, done / max(total, 1.0)), what)

        with self._load() as llm, stage(llm, CLOCKS[self.clock]) as of:
            self.files = files = self._described(llm)
            settings = self._possible(of, files)
            batches = self._batches(settings, files)
            contexts = sorted({*self.plan.writing, *self.plan.reading}) if "plain" in self.plan.parts else []
            answers = sum(map(len, self.plan.prompts.values())) * len(batches)
            total = float(self.plan.repeats * (len(contexts) + answers + over_http))
            for words in self._contexts(of, files, contexts, began):
                yield step(words)
            for batch in batches:
                for words in self._answers(of, files, batch, began):
                    yield step(words)
            text = _text(llm, files.context)
        if over_http and not self._over(began):
            for words in self._first_tokens(files, text, began):
                yield step(words)
        self.finished = not self._cut

    @property
    def one_thread(self) -> bool:
        """Whether processor time can be compared."""
        return self.files is not None and self.files.threads == self.files.draft_threads == 1

    @property
    def rows(self) -> list[Row]:
        """What was measured so far."""
        return rows(self._pairs, clock=self.clock, cpu=self.one_thread)

    def as_dict(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "machine": self.machine,
            "llama_server": {"path": str(self.server.path), "version": self.server.version},
            "model": self.model,
            "draft": self.draft or None,
            "threads": None if self.files is None else self.files.threads,
            "clock": self.clock,
            "rows": [row.as_dict() for row in self.rows],
            "notes": self.notes,
            "finished": self.finished,
        }

    # ---- measuring ----

    def _contexts(self, of: Stage, files: Files, contexts: Sequence[int], began: float) -> Iterator[str]:
        """Reading and writing without any guesses, at each length of context."""
        fitting = [size for size in contexts if size + self.plan.max_tokens + 1 <= files.context]
        if len(fitting) < len(contexts):
            left = ", ".join(f"{size:,}" for size in contexts if size not in fitting)
            self.notes.append(f"Left out, for a context of {files.context:,} tokens is too small: {left} tokens.")
        if not fitting:
            return
        text = _text(of.llm, max(fitting))
        with self.server.start(PLAIN, files) as process:
            process.wait()
            sides: dict[str, Side] = {"ours": Ours(of, parse(PLAIN)), "theirs": Theirs(PLAIN, process)}
            for side in sides.values():
                side.write(text[:_FIRST], 1)  # nobody's first request counts
            piece = max(round(_WARM_UP * _TURN_S / side.write(text[:_FIRST], _WARM_UP).wall_s), _WARM_UP)
            for repeat in range(self.plan.repeats):
                for size in fitting:
                    if self._over(began):
                        return
                    self._context(sides, text[:size], repeat, piece)
                    yield f"{size:,} tokens of context, repeat {repeat + 1}"

    def _context(self, sides: dict[str, Side], prompt: Sequence[int], repeat: int, piece: int) -> None:
        """Both read the prompt; then they write, `piece` tokens a turn: the shorter the turns, the less a machine whose
        speed wanders counts for one of them."""
        size = len(prompt)
        read = {key: side.read(prompt) for key, side in _in_turns(sides, repeat)}
        if size in self.plan.reading:
            what = f"reading {size:,} tokens"
            self._pairs.append(Pair(what, PLAIN, PLAIN, repeat, 0, read["ours"], read["theirs"], reads=size))
        if size not in self.plan.writing:
            return
        written = dict.fromkeys(sides, Taken(0.0, 0.0))
        for turn, start in enumerate(range(0, self.plan.max_tokens, piece)):
            count = min(piece, self.plan.max_tokens - start)
            for key, side in _in_turns(sides, repeat + turn):
                so_far = written[key]
                written[key] = so_far + side.write([*prompt, *so_far.tokens], count, ignore_eos=True)
        what = f"writing at {size:,} tokens"
        self._pairs.append(Pair(what, PLAIN, PLAIN, repeat, 0, written["ours"], written["theirs"]))

    def _answers(self, of: Stage, files: Files, settings: Sequence[str], began: float) -> Iterator[str]:
        """The prompts of every category, by all of our modes and these settings of theirs. Repeats go round the
        categories, so that an early end leaves all of them measured."""
        # ours without guesses is compared with theirs without, and is not measured beside the others alone
        ours = [Ours(of, mode) for mode in self._modes if mode.name != PLAIN or PLAIN in settings]
        requests = _rendered(of.llm, self.plan.prompts, files.context - self.plan.max_tokens)
        share = _ANSWERS_SHARE if "first-token" in self.plan.parts else 1.0
        with ExitStack() as running:
            started = [(name, running.enter_context(self.server.start(name, files))) for name in settings]
            theirs = [Theirs(name, process.wait()) for name, process in started]
            sides: dict[str, Side] = {f"ours {side.name}": side for side in ours}
            sides |= {f"theirs {side.name}": side for side in theirs}
            for repeat in range(self.plan.repeats):
                for prompt, tokens in requests:
                    if self._over(began, share):
                        return
                    taken: dict[str, Taken] = {}
                    for key, side in _in_turns(sides, repeat + prompt.number):
                        side.write(tokens, 1)  # the prompt is read, by the draft as well, and stays cached
                        taken[key] = side.write(tokens, self.plan.max_tokens)
                    self._keep(prompt, repeat, ours, theirs, taken)
                    yield f"{prompt.category} {prompt.number + 1}, repeat {repeat + 1}"

    def _keep(
        self, prompt: Prompt, repeat: int, ours: Sequence[Ours], theirs: Sequence[Theirs], taken: dict[str, Taken]
    ) -> None:
        for mine in ours:
            for other in theirs:
                if mine.name == PLAIN and other.name != PLAIN:
                    continue  # who does not guess is compared with who does not guess
                both = (taken[f"ours {mine.name}"], taken[f"theirs {other.name}"])
                self._pairs.append(Pair(prompt.category, mine.name, other.name, repeat, prompt.number, *both))

    def _first_tokens(self, files: Files, text: Sequence[int], began: float) -> Iterator[str]:
        """Our server and theirs, each in a process of its own: seconds until the first piece of an answer."""
        size = min(_FIRST, files.context // 2)
        started = served.start(files.model, files.draft, self._settings, force=self._force)
        with started as mine, self.server.start(PLAIN, files) as other:
            sides = {"ours": mine.wait(), "theirs": other.wait()}
            for process in sides.values():
                first_piece(process, text[:size])  # nobody's first request counts
            for repeat in range(self.plan.repeats):
                if self._over(began):
                    return
                known: dict[str, Taken] = {}
                new: dict[str, Taken] = {}
                for key, process in _in_turns(sides, repeat):
                    new[key] = first_piece(process, text[repeat + 1 : repeat + 1 + size])
                    first_piece(process, text[:size])
                    tries = [first_piece(process, text[:size]) for _ in range(_FIRST_TRIES)]
                    known[key] = Taken(
                        *(statistics.median(getattr(t, of) for t in tries) for of in ("wall_s", "cpu_s"))
                    )
                mode = "auto" if files.draft is not None else PLAIN
                for what, found in ((f"first token, {size} tokens known", known), (f"first token, {size} new", new)):
                    self._pairs.append(
                        Pair(f"{what}, over HTTP", mode, PLAIN, repeat, 0, found["ours"], found["theirs"], unit=FIRST)
                    )
                yield f"first token, repeat {repeat + 1}"

    # ---- what can be measured ----

    def _described(self, llm: LLM) -> Files:
        """What is loaded, for the other side to load the same."""
        wish = self._settings
        model = Path(llm.info.path)
        draft = Path(llm.draft_info.path) if llm.draft_info is not None else None
        self.model, self.draft = llm.info.name, llm.draft_info.name if llm.draft_info is not None else ""
        self.notes += map(str, [*getattr(llm.engine, "notes", []), *llm.notes])
        threads = _threads(model, wish.threads)
        return Files(
            model,
            draft,
            llm.info.n_ctx,
            threads,
            _threads(draft, wish.draft_threads) if draft is not None else threads,
            wish.gpu_layers,
            0 if wish.draft_device == "cpu" else wish.draft_gpu_layers,
            wish.kv_type,
            wish.flash_attention,
        )

    def _possible(self, of: Stage, files: Files) -> list[str]:
        """Their settings that can be run; none where we have no guesses to set against them."""
        if "speculation" not in self.plan.parts:
            return []
        if not of.has_sources:
            self.notes.append("No draft is loaded: speculation is not compared.")
            return []
        for mode in self._modes:
            if mode.name != PLAIN:
                of.check(mode)
        found = []
        for name in self.plan.settings:
            why = self.server.why_not(name, files)
            if why:
                self.notes.append(f"llama-server's {name} is left out: {why}.")
            else:
                found.append(name)
        return found

    def _batches(self, settings: Sequence[str], files: Files) -> list[list[str]]:
        """As many settings side by side as the free memory holds; each of them is a process with its own weights."""
        size = sum(path.stat().st_size for path in (files.model, files.draft) if path is not None and path.is_file())
        free = _SHARE * psutil.virtual_memory().available
        most = max(1, int(free / (_OVERHEAD * size))) if size else max(1, len(settings))
        return [list(settings[i : i + most]) for i in range(0, len(settings), most)]

    def _over(self, began: float, share: float = 1.0) -> bool:
        """Whether a share of the time limit is over; said once."""
        limit = self.plan.limit_s
        if limit is None or time.perf_counter() - began <= share * limit:
            return False
        note = f"The time limit of {limit:.0f} s cut the run short (--minutes)."
        if not self._cut:
            self.notes.append(note)
        self._cut = True
        return True


def _in_turns(sides: dict[str, T], number: int) -> list[tuple[str, T]]:
    """All sides, in an order that is reversed from turn to turn."""
    order = list(sides.items())
    return order[::-1] if number % 2 else order


def _threads(path: Path, wanted: int | None) -> int:
    """As many as a load takes (`LLM.load`): the other side is told the number."""
    if wanted is not None:
        return wanted
    small = path.is_file() and path.stat().st_size < SMALL_MODEL_BYTES
    return 1 if small else cores()


def _text(llm: LLM, size: int) -> tuple[int, ...]:
    """So many tokens of text: the bench's own prompts, one after the other, from the start again where they end."""
    words = " ".join(prompt.text for group in prompts().values() for prompt in group)
    tokens: list[int] = []
    while len(tokens) < size:
        tokens += llm.engine.tokenizer.encode(words)
    return tuple(tokens[:size])


def _rendered(llm: LLM, groups: dict[str, list[Prompt]], room: int) -> list[tuple[Prompt, tuple[int, ...]]]:
    """The prompts that fit as tokens, one of each category after the other."""
    encode, raw = llm.engine.tokenizer.encode, llm.info.chat_template is None
    longest = max(map(len, groups.values()), default=0)
    in_turns = [group[i] for i in range(longest) for group in groups.values() if i < len(group)]
    encoded = [(prompt, tuple(encode(prompt.text if raw else llm.render(prompt.text)))) for prompt in in_turns]
    return [(prompt, tokens) for prompt, tokens in encoded if len(tokens) < room]
