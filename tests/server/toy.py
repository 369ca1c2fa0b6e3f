"""A server with toy models: exact, fast, and able to say anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from foredraft.core.errors import EngineError, IncompatibleDraftError, ModelFormatError, ModelNotFoundError
from foredraft.core.params import BUILTIN
from foredraft.core.reasons import Reason, sentences
from foredraft.engines.embedding import Vectors
from foredraft.engines.toy import ToyEngine, ToyTokenizer
from foredraft.models.brought import Origin
from foredraft.models.names import find_name
from foredraft.pair.llm import LLM
from foredraft.runtime.embedder import Embedder
from foredraft.runtime.managed_model import LoadSpec, Progress
from foredraft.runtime.runtime import Runtime
from foredraft.server import run as real
from foredraft.server.app import create_app
from foredraft.server.context import ServerSettings, Services
from foredraft.speculative.drafters import Arbiter, GrammarDrafter, ModelDrafter, NoDrafter, PredictionDrafter

N_VOCAB = 330
ORDER = 2
"""Tokens that decide over the next one. The engine remembers every row it computed, up to n_vocab ** ORDER of them."""
CHATML = (
    "{%- if tools %}<tools>{{ tools | tojson }}</tools> <tool_call>\n{% endif -%}"
    "{%- for m in messages %}[{{ m.role }}]{{ m.content or '' }}\n{% endfor -%}"
    "{%- if add_generation_prompt %}[assistant]{% if enable_thinking %}<think>\n{% endif %}{% endif -%}"
)


class ToyLLM(LLM):
    """A toy pair whose draft can be changed by name."""

    def set_draft(
        self, draft: Any, *, required: bool = False, force: bool = False, device: Any = None, progress: Any = None
    ) -> None:
        if self.scheduler.busy:
            raise AssertionError("the runtime must wait until the model is idle")
        self.scheduler.drafter.close()
        self.scheduler.drafter, self.draft.info, self.draft.unavailable = NoDrafter(), None, None
        if draft in (None, "off"):
            return
        if draft == "other-words":
            error = IncompatibleDraftError(Reason("vocab_kind", {"a": "gpt2", "b": "llama"}))
            if required:
                raise error
            self.draft.unavailable = sentences(error.reason_or_words, error.hint_why)
            return
        if draft not in ("auto", *ToyShelf.DRAFTS):
            raise ModelNotFoundError(draft)
        blur = {"auto": 0.2, "good-draft": 0.05, "bad-draft": 0.9}[draft]
        engine = self.engine.blurred(blur, name=draft if draft != "auto" else "toy-draft")
        drawn = ModelDrafter(engine, self.engine.info.n_vocab)
        self.scheduler.drafter = Arbiter([GrammarDrafter(), PredictionDrafter(), drawn])
        self.draft.info = engine.info


class ToyShelf:
    """The names that can be loaded."""

    NAMES = ("toy", "toy-small", "broken", "toy-embed")
    DRAFTS = ("good-draft", "bad-draft", "other-words")
    ORIGINS: ClassVar = {
        "toy": Origin("acme", "Toy-GGUF", "toy-f64.gguf"),
        "toy-embed": Origin("acme", "Toy-Embed", "toy-embed-f64.gguf"),
        "toy-small": Origin("acme", "Toy-Small-GGUF", "small.gguf"),
        "broken": Origin("acme", "Toy-Small-GGUF", "broken.gguf"),
    }

    def names(self) -> Sequence[str]:
        return self.NAMES

    def embedding_names(self) -> Sequence[str]:
        return ("toy-embed",)

    def describe(self, name: str) -> dict[str, Any]:
        if name not in self.NAMES:
            raise ModelNotFoundError(name, nearest=("toy",))
        kind = "embedding" if name == "toy-embed" else "text"
        return {
            "architecture": "toy",
            "kind": kind,
            "quantisation": "F64",
            "size_bytes": 1000,
            "n_ctx_train": 4096,
        }

    def name_of(self, path: str) -> str:
        return ""

    def draft(self, name: str) -> str:
        return name if name == BUILTIN else self.spec(name).model

    def drafts(self) -> Sequence[dict[str, Any]]:
        return []

    def spec(self, name: str, draft: str | None = "auto") -> LoadSpec:
        name = find_name(name, (*self.NAMES, *self.DRAFTS), self.ORIGINS)
        return LoadSpec(name, draft=draft, id=name, kind="embedding" if name == "toy-embed" else "text")


class ToyEmbedding:
    """Counts tokens: number i of a vector says how often ids with the remainder i occur. A text with the last token
    breaks the pass that it is in."""

    dimensions, pooling = 8, "mean"

    def __init__(self, name: str = "toy-embed") -> None:
        self.tokenizer = ToyTokenizer.of_size(N_VOCAB)
        self.info = replace(engine(name, n_ctx=700).info, n_slots=16, n_batch=700)
        self.passes: list[list[int]] = []
        """The lengths of the texts of each pass."""
        self.during: Callable[[], None] | None = None
        self.closed = False

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        self.passes.append([len(text) for text in texts])
        if self.during is not None:
            self.during()
        if any(N_VOCAB - 1 in text for text in texts):
            raise EngineError("broken text")
        counts = [np.bincount([token % 8 for token in text], minlength=8) for text in texts]
        vectors = np.array(counts, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def close(self) -> None:
        self.closed = True


def engine(name: str = "toy", *, n_slots: int = 4, n_ctx: int = 4096, sharpness: float = 3.0) -> ToyEngine:
    return ToyEngine.random(
        11,
        n_vocab=N_VOCAB,
        order=ORDER,
        sharpness=sharpness,
        n_slots=n_slots,
        n_ctx=n_ctx,
        n_batch=256,
        name=name,
        chat_template=CHATML,
        tokenizer=ToyTokenizer.of_size(N_VOCAB),
    )


def load(spec: LoadSpec, progress: Progress) -> ToyLLM | Embedder:
    """The loader of the tests."""
    if spec.kind == "embedding":
        return Embedder(ToyEmbedding(spec.id))
    if spec.model == "broken":
        raise ModelFormatError("broken is not a GGUF file.", path="broken")
    progress("main", 0.5)
    settings = dict(spec.settings)
    settings.pop("flash_attention", None)  # a toy has no attention
    n_ctx = settings.pop("context", None) or (128 if spec.model == "toy-small" else 4096)
    model = ToyLLM(engine(spec.id or "toy", n_ctx=n_ctx, **settings))
    model.set_draft(spec.draft, required=spec.draft_required)
    return model


def services(settings: ServerSettings | None = None, **runtime: Any) -> Services:
    return Services(Runtime(load, **runtime), ToyShelf(), settings or ServerSettings(), default_model="toy")


@contextlib.contextmanager
def serving(of: Services) -> Iterator[str]:
    """The address of a real server on the loopback."""
    of.settings = replace(of.settings, port=0)
    with real.serving(create_app(of), of) as address:
        yield address
