"""The two programs of a comparison, asked for the same token ids: a loaded pair of ours, and a running llama-server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from foredraft.bench import served
from foredraft.bench.modes import Mode, Stage
from foredraft.bench.rivalry import Taken
from foredraft.bench.server_process import ServerProcess
from foredraft.core.params import Request, SamplingParams

_GREEDY = SamplingParams(temperature=0.0)


class Side(Protocol):
    """One of the two programs, in one mode."""

    name: str

    def read(self, prompt: Sequence[int]) -> Taken:
        """Read a prompt anew, whatever was read before, and write one token."""
        ...

    def write(self, prompt: Sequence[int], count: int, *, ignore_eos: bool = False) -> Taken:
        """Write up to so many tokens. The prompt was read just before, so its last token alone is read."""
        ...


class Ours:
    """A loaded pair in one mode, on this thread."""

    def __init__(self, of: Stage, mode: Mode) -> None:
        self.name = mode.name
        self._of = of
        self._mode = mode

    def read(self, prompt: Sequence[int]) -> Taken:
        self._of.llm.scheduler.slots.clear()
        return self.write(prompt, 1)

    def write(self, prompt: Sequence[int], count: int, *, ignore_eos: bool = False) -> Taken:
        self._of.set(self._mode)
        request = Request(
            tuple(prompt),
            _GREEDY,
            max_tokens=count,
            speculation=self._mode.speculation,
            ignore_eos=ignore_eos,
        )
        wall, cpu = time.perf_counter(), time.thread_time()
        answer = self._of.llm.generate(request)
        return Taken(time.perf_counter() - wall, time.thread_time() - cpu, tuple(answer.tokens))


class Theirs:
    """A running llama-server."""

    def __init__(self, setting: str, process: ServerProcess) -> None:
        self.name = setting
        self._process = process

    def read(self, prompt: Sequence[int]) -> Taken:
        return self._ask(prompt, 1, cache_prompt=False)

    def write(self, prompt: Sequence[int], count: int, *, ignore_eos: bool = False) -> Taken:
        return self._ask(prompt, count, ignore_eos=ignore_eos)

    def _ask(self, prompt: Sequence[int], count: int, **more: bool) -> Taken:
        # greedy in the way that costs llama-server least: of its samplers, top-k alone has anything to do
        body = {"prompt": list(prompt), "n_predict": count, "temperature": 0, "top_k": 1, "return_tokens": True}
        wall, cpu = time.perf_counter(), self._process.cpu_s()
        answer = self._process.post("/completion", {**body, **more})
        taken_cpu = self._process.cpu_s() - cpu
        return Taken(time.perf_counter() - wall, taken_cpu, tuple(answer.get("tokens", ())))


def first_piece(process: ServerProcess, prompt: Sequence[int]) -> Taken:
    """Wall time to the first piece of an answer, and processor time of the whole request of two tokens."""
    body = {"model": served.MODEL, "prompt": list(prompt), "max_tokens": 2, "temperature": 0}
    cpu = process.cpu_s()
    seconds = process.first_piece("/v1/completions", body)
    return Taken(seconds, process.cpu_s() - cpu)
