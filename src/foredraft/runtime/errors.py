"""Why a request could not be served, where that is the server's state rather than the request's fault."""

from __future__ import annotations

from foredraft.core.errors import ForedraftError
from foredraft.core.reasons import Reason


class QueueFullError(ForedraftError):
    """Too many requests wait already. `retry_after` is an estimate in seconds."""

    code = "queue_full"

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(Reason("queue_full", {"n": waiting}), hint=Reason("hint_queue_full", {"n": retry_after}))
        self.waiting = waiting
        self.retry_after = retry_after


class ModelUnloadedError(ForedraftError):
    """The model left memory before (or while) the request was served."""

    code = "model_unloaded"

    def __init__(self, model: str) -> None:
        super().__init__(Reason("model_unloaded", {"model": model}), hint=Reason("hint_model_unloaded"))
        self.model = model


class ModelGivenUpError(ForedraftError):
    """The model's process has died so often that it is not loaded by itself any more. `seconds`: until it is again."""

    code = "model_given_up"

    def __init__(self, model: str, deaths: int, seconds: int, last: Reason) -> None:
        super().__init__(
            Reason("model_given_up", {"model": model, "n": deaths, "last": last}),
            hint=Reason("hint_model_given_up", {"n": seconds}),
        )
        self.model = model
        self.deaths = deaths
        self.seconds = seconds


class RuntimeClosedError(ForedraftError):
    """The program is about to end: nothing new is started."""

    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__(Reason("shutting_down"), hint=Reason("hint_shutting_down"))


class TextTooLongError(ForedraftError):
    """A text is longer than an embedding model reads. `index` is its number in the request; sizes are in tokens."""

    code = "context_length_exceeded"

    def __init__(self, index: int, tokens: int, longest: int) -> None:
        super().__init__(
            Reason("text_too_long", {"index": index, "n": tokens, "longest": longest}),
            hint=Reason("hint_text_too_long"),
        )
        self.index = index
        self.tokens = tokens
        self.longest = longest


class WrongKindError(ForedraftError):
    """A model that writes text was asked for embeddings, or the other way round. `kind` is what the model is."""

    code = "wrong_kind"

    def __init__(self, model: str, kind: str) -> None:
        super().__init__(Reason("only_embeds" if kind == "embedding" else "embeds_nothing", {"model": model}))
        self.model = model
        self.kind = kind
