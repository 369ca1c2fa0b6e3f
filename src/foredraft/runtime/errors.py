"""Why a request could not be served, where that is the server's state rather than the request's fault."""

from __future__ import annotations

from foredraft.core.errors import ForedraftError


class QueueFullError(ForedraftError):
    """Too many requests wait already. `retry_after` is an estimate in seconds."""

    code = "queue_full"

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(
            f"{waiting} requests are waiting for this model already.",
            hint=f"Try again in about {retry_after} seconds, or allow a longer queue (--queue).",
        )
        self.waiting = waiting
        self.retry_after = retry_after


class ModelUnloadedError(ForedraftError):
    """The model left memory before (or while) the request was served."""

    code = "model_unloaded"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model {model!r} is not loaded (any more).", hint="Load it, or send the request again.")
        self.model = model


class ModelGivenUpError(ForedraftError):
    """The model's process has died so often that it is not loaded by itself any more. `seconds`: until it is again."""

    code = "model_given_up"

    def __init__(self, model: str, deaths: int, seconds: int, last: str) -> None:
        super().__init__(
            f"The process that held {model!r} has died {deaths} times in a short while. The last time: {last}",
            hint=f"Load it anew yourself (foredraft load), or send the request again in {seconds} seconds. "
            "If this goes on, the file may be damaged, or memory too small.",
        )
        self.model = model
        self.deaths = deaths
        self.seconds = seconds


class RuntimeClosedError(ForedraftError):
    """The program is about to end: nothing new is started."""

    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("Foredraft is shutting down.", hint="Send the request again when it is back.")


class TextTooLongError(ForedraftError):
    """A text is longer than an embedding model reads. `index` is its number in the request; sizes are in tokens."""

    code = "context_length_exceeded"

    def __init__(self, index: int, tokens: int, longest: int) -> None:
        super().__init__(
            f"Text number {index} has {tokens} tokens, but the model reads at most {longest}.",
            hint="Split the text, or load the model with a larger context.",
        )
        self.index = index
        self.tokens = tokens
        self.longest = longest


class WrongKindError(ForedraftError):
    """A model that writes text was asked for embeddings, or the other way round. `kind` is what the model is."""

    code = "wrong_kind"

    def __init__(self, model: str, kind: str) -> None:
        says = "reads text but writes none" if kind == "embedding" else "writes text but makes no embeddings"
        super().__init__(f"The model {model!r} {says}.")
        self.model = model
        self.kind = kind
