"""Every error that Foredraft raises on purpose.

One rule for all of them: the message says what was wrong and, where there is one, `hint` says what to do next.
`code` is a stable word for programs (the API, `--json`); it never changes when a message is reworded.
Message and hint are reasons (`reasons.py`) wherever users meet them, so that the command line and the app word them in
their language; `message` and `hint` are English, for logs and the API.
"""

from __future__ import annotations

from pathlib import Path

from foredraft.core.reasons import Reason, Value
from foredraft.words import Words


class ForedraftError(Exception):
    """Base of all errors with a cause the user can understand and often remove."""

    code = "error"

    def __init__(self, message: Reason | str, *, hint: Reason | str = "") -> None:
        super().__init__(str(message))
        self.why = message if isinstance(message, Reason) else None
        self.hint_why = hint if isinstance(hint, Reason) else None
        self.message = str(message)
        self.hint = str(hint)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    @property
    def reason_or_words(self) -> Reason:
        """The message as a reason, for reasons that tell of an error."""
        return self.why or Reason("said", {"text": self.message})

    def worded(self, t: Words) -> tuple[str, str]:
        """Message and hint in a language. What has no words there (a fault of the program itself) is quoted."""
        if self.why is not None:
            message = t(self.why)
        else:
            message = self.message if t.language == "en" else t("reason.unworded", code=self.code, text=self.message)
        return message, t(self.hint_why) if self.hint_why is not None else self.hint if self.why is None else ""


class ParameterError(ForedraftError):
    """A parameter is out of its range or of the wrong kind. `name` is the parameter as the caller wrote it."""

    code = "parameter"

    def __init__(self, name: str, value: object, allowed: Reason | str) -> None:
        super().__init__(Reason("parameter", {"name": name, "value": repr(value), "allowed": allowed}))
        self.name = name
        self.value = value
        self.allowed = str(allowed)

    def renamed(self, name: str) -> Reason:
        """The message with another name of the parameter, as an interface has it."""
        assert self.why is not None
        return Reason(self.why.code, {**self.why.numbers, "name": name})


class EmptyPromptError(ForedraftError):
    """There is nothing to continue: the prompt has no tokens."""

    code = "empty_prompt"

    def __init__(self) -> None:
        super().__init__(Reason("prompt_empty"), hint=Reason("hint_prompt_empty"))


class ContextOverflowError(ForedraftError):
    """The prompt does not fit in the context. Both sizes are in tokens."""

    code = "context_overflow"

    def __init__(self, prompt_tokens: int, context: int) -> None:
        super().__init__(
            Reason("prompt_too_long", {"n": prompt_tokens, "context": context}),
            hint=Reason("hint_prompt_too_long"),
        )
        self.prompt_tokens = prompt_tokens
        self.context = context


class LimitError(ForedraftError):
    """More was asked for than one request may. `param` is the field, `has` what was sent, `most` what is allowed;
    `status` is HTTP's."""

    code = "limit"

    def __init__(self, message: str, has: int, most: int, *, param: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.has = has
        self.most = most
        self.status = status


class ModelError(ForedraftError):
    """A model file cannot be used. `path` names it."""

    code = "model"

    def __init__(self, message: Reason | str, *, path: str = "", hint: Reason | str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class FileInUseError(ModelError, PermissionError):
    """A file cannot be "replaced" or "deleted" (`what`) because a program has it open; Windows knows that, other
    systems do not."""

    code = "file_in_use"

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(Reason(f"in_use_{what}", {"path": str(path)}), path=str(path), hint=Reason("hint_in_use"))


class ModelNotFoundError(ModelError):
    """No such file, or no such name on the shelf. `nearest` lists names that look alike."""

    code = "model_not_found"

    def __init__(self, name: str, *, nearest: tuple[str, ...] = (), hint: Reason | str = "") -> None:
        if not hint and nearest:
            hint = Reason("did_you_mean", {"names": nearest})
        super().__init__(Reason("no_model", {"name": name}), path=name, hint=hint)
        self.name = name
        self.nearest = nearest


class AmbiguousModelError(ModelError):
    """A short name that several models on the shelf answer to. `candidates` are their full names."""

    code = "model_ambiguous"

    def __init__(self, name: str, candidates: tuple[str, ...]) -> None:
        super().__init__(
            Reason("model_ambiguous", {"name": name, "names": candidates}), path=name, hint=Reason("hint_one_of_these")
        )
        self.name = name
        self.candidates = candidates


class ModelFormatError(ModelError):
    """Not GGUF, truncated or damaged."""

    code = "model_format"


class UnsupportedModelError(ModelError):
    """A sound file of a kind that cannot write text here (unknown architecture, embedding model, adapter …)."""

    code = "model_unsupported"


class MemoryLimitError(ModelError):
    """The load needs more memory than there is. Sizes are in bytes; 0 where not known."""

    code = "memory"

    def __init__(
        self, message: Reason | str, *, path: str = "", hint: Reason | str = "", needed: int = 0, free: int = 0
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.needed = needed
        self.free = free


class DownloadError(ForedraftError):
    """A download could not be done. `reason` is a stable word: no_network, not_found, gated, no_gguf, choice, checksum,
    incomplete, disk_full, interrupted, busy."""

    code = "download"

    def __init__(self, reason: str, message: Reason | str, *, hint: Reason | str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class SettingsError(ForedraftError):
    """A setting is unknown or has a value it cannot have. `key` is dotted, `source` where it was written, `line` its
    line in the file (0 where there is none)."""

    code = "settings"

    def __init__(self, key: str, source: str, line: int, message: Reason | str, *, hint: Reason | str = "") -> None:
        where: dict[str, Value] = {"source": source, "line": line, "what": message}
        super().__init__(Reason("setting_at_line" if line else "setting_at", where), hint=hint)
        self.what = message
        self.key = key
        self.source = source
        self.line = line


class IncompatibleDraftError(ForedraftError):
    """The draft model does not fit the main model. `reason` is why; `reason_code` its code."""

    code = "incompatible_draft"

    def __init__(self, reason: Reason) -> None:
        super().__init__(Reason("draft_misfit", {"why": reason}), hint=Reason("hint_draft_misfit"))
        self.reason_code = reason.code
        self.reason = reason


class EngineError(ForedraftError):
    """The engine could not compute. The sequence it was computing for is as it was before the call."""

    code = "engine"


class ClosedError(EngineError):
    """What was asked had been closed, and its memory given back. `name` is the model's."""

    code = "closed"

    def __init__(self, name: str) -> None:
        super().__init__(Reason("closed", {"model": name}), hint=Reason("hint_load_again"))
        self.name = name


class CacheFullError(EngineError):
    """No free cells in the KV cache. Nothing was read; the caller may free a slot and try again."""

    code = "kv_cache_full"


class RewindError(EngineError):
    """A model that cannot go back in a text as it likes was asked to go where it has no state of. Nothing changed."""

    code = "no_rewind"


class EngineDiedError(EngineError):
    """The process that held the model has ended, and every sequence with it. `ended` is how: a signal's name or an exit
    code; `words` is what the library said last, where it said something."""

    code = "engine_died"

    def __init__(self, model: str, ended: str, words: str = "") -> None:
        said = f"{ended}: {words}" if words else ended
        code = "engine_killed" if ended == "SIGKILL" else "engine_died"
        super().__init__(Reason(code, {"model": model, "ended": said}), hint=Reason("hint_engine_died"))
        self.model = model
        self.ended = ended
        self.words = words


class NonFiniteLogitsError(EngineError):
    """The model produced NaN logits: no token can be chosen. `position` is the absolute position in tokens."""

    code = "nan_logits"

    def __init__(self, position: int, *, model: str = "") -> None:
        code = "nan_logits_of" if model else "nan_logits"
        super().__init__(Reason(code, {"model": model, "n": position}), hint=Reason("hint_nan_logits"))
        self.position = position


class BenchServerError(ForedraftError):
    """A server that a bench needs beside it (llama-server) is missing, is another program, would not start or ended."""

    code = "bench_server"


class TemplateError(ForedraftError):
    """The chat template failed, or tried something that templates may not do."""

    code = "template"


class Cancelled(ForedraftError):
    """The caller asked to stop. What had been written up to then is kept by whoever raised the request."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__(Reason("cancelled"))
