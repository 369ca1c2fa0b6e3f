"""Figures for Prometheus: counted at the end of every answer, and read from the runtime when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from foredraft.core.errors import ForedraftError
from foredraft.runtime.embedder import Embeddings
from foredraft.runtime.runtime import Runtime
from foredraft.runtime.worker import Outcome

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One registry an application, so that several can live in one process."""

    def __init__(self, runtime: Runtime) -> None:
        self.registry = CollectorRegistry()
        self._answers = self._counter("answers", "Answers that have ended, by stop reason or error.", "outcome")
        self._tokens = self._counter("tokens", "Tokens: prompt (read), cached (not read again), generated.", "kind")
        self._drafted = self._counter("draft_tokens", "Guesses: accepted, rejected or ignored.", "verdict")
        self._sources = self._counter("draft_tokens_by_source", "Guesses of each source.", "source", "verdict")
        self._rounds = self._counter("rounds", "Passes of the main model that wrote text, by look-ahead.", "depth")
        self._spent = self._counter("seconds", "Seconds of draft, verify and other work.", "part")
        self._first = Histogram(
            "foredraft_time_to_first_token_seconds",
            "From the request to its first token.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._length = Histogram(
            "foredraft_answer_seconds",
            "From the end of the prompt's reading to the last token.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._deaths = self._counter("deaths", "Processes of models that have died, main or draft.", "part")
        self.registry.register(_RuntimeGauges(runtime))
        runtime.listeners.append(self.count)
        runtime.on_death.append(lambda death: self._deaths.labels(death.model, death.part).inc())

    def count(self, model: str, outcome: Outcome) -> None:
        """One answer has ended (called on the model thread)."""
        if isinstance(outcome, ForedraftError):
            self._answers.labels(model, outcome.code).inc()
            return
        if isinstance(outcome, Embeddings):
            self._answers.labels(model, "embedded").inc()
            self._tokens.labels(model, "prompt").inc(outcome.tokens)
            return
        stats = outcome.stats
        self._answers.labels(model, outcome.stop_reason).inc()
        self._tokens.labels(model, "prompt").inc(stats.prompt_tokens - stats.cached_tokens)
        self._tokens.labels(model, "cached").inc(stats.cached_tokens)
        self._tokens.labels(model, "generated").inc(stats.tokens)
        for verdict in ("accepted", "rejected", "ignored"):
            self._drafted.labels(model, verdict).inc(getattr(stats, verdict))
            for source, of in stats.by_source.items():
                self._sources.labels(model, source, verdict).inc(getattr(of, verdict))
        for depth, rounds in stats.depth_histogram.items():
            self._rounds.labels(model, str(depth)).inc(rounds)
        for part in ("draft", "verify", "other"):
            self._spent.labels(model, part).inc(max(0.0, getattr(stats, f"{part}_s")))
        self._first.labels(model).observe(stats.time_to_first_token_s)
        self._length.labels(model).observe(stats.generation_s)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"foredraft_{name}", words, ["model", *labels], registry=self.registry)


class _RuntimeGauges(Collector):
    """What is true at this moment."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._process = psutil.Process()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = self._runtime.models()

        def gauge(name: str, words: str, values: list[float | None]) -> GaugeMetricFamily:
            family = GaugeMetricFamily(f"foredraft_{name}", words, labels=["model"])
            for state, value in zip(states, values, strict=True):
                if value is not None:
                    family.add_metric([state.id], value)
            return family

        yield gauge("running", "Answers being written.", [state.running for state in states])
        yield gauge("waiting", "Requests waiting for a slot.", [state.waiting for state in states])
        yield gauge("slots", "Answers that can be written at once.", [state.slots for state in states])
        yield gauge("acceptance", "Accepted of the guesses that were tested.", [s.totals.acceptance for s in states])
        yield gauge(
            "saved_seconds", "Estimated seconds saved against plain decoding.", [s.totals.saved_s for s in states]
        )
        yield gauge(
            "speculating", "1 while the draft is active.", [float(s.speculation.status == "active") for s in states]
        )
        sizes = [
            (s.info.size_bytes if s.info else 0) + (s.draft_info.size_bytes if s.draft_info else 0) for s in states
        ]
        yield gauge("model_bytes", "Size of the main model and its draft.", [float(size) for size in sizes])
        yield gauge(
            "model_process_bytes",
            "Memory of the processes that a main model and its draft have of their own.",
            [float(sum(_resident(place.pid) for place in state.places if place.pid is not None)) for state in states],
        )
        memory = GaugeMetricFamily("foredraft_process_bytes", "Memory of this process.")
        memory.add_metric([], float(self._process.memory_info().rss))
        yield memory


def _resident(pid: int) -> int:
    """Bytes of memory of a process; 0 for one that has just ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
