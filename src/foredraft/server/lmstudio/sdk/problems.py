"""Errors in the libraries' form: a title, what to do, and a code for those that have a type of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foredraft.core.errors import ForedraftError
from foredraft.server.errors import cut
from foredraft.server.lmstudio.sdk.wire import Problem

SAMPLE = 20
"""Names that an error lists at most."""


class SdkError(ForedraftError):
    """An error with a code that the libraries know (`display`), such as "generic.noModelMatchingQuery"."""

    code = "lmstudio"

    def __init__(self, message: str, *, hint: str = "", display: dict[str, Any] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.display = display


def problem(error: ForedraftError) -> Problem:
    """Any of our errors."""
    title = cut(error.message)
    display = error.display if isinstance(error, SdkError) else None
    return Problem(title=title, root_title=title, suggestion=cut(error.hint) or None, display_data=display)


def not_served(endpoint: str) -> SdkError:
    return SdkError(f"{cut(endpoint)!r} is not served here.", hint="docs/guides/lmstudio-sdk.md lists what is.")


def no_match(query: dict[str, Any], loaded: Sequence[str]) -> SdkError:
    """No loaded model is what was asked for."""
    wanted = query.get("identifier") or query.get("path")
    message = f"No loaded model is called {cut(str(wanted))!r}." if wanted else "No model is loaded."
    known = {key: value for key, value in query.items() if key in ("domain", "identifier", "path", "vision")}
    return SdkError(
        message,
        hint=f"Loaded: {', '.join(loaded[:SAMPLE])}." if loaded else "Load one first.",
        display={
            "code": "generic.noModelMatchingQuery",
            "query": {key: value for key, value in known.items() if value is not None},
            "loadedModelsSample": list(loaded[:SAMPLE]),
            "totalLoadedModels": len(loaded),
        },
    )


def no_such_path(path: str, names: Sequence[str], hint: str = "") -> SdkError:
    """No model on the shelf has this key."""
    return SdkError(
        f'Cannot find model "{cut(path)}".',
        hint=hint or f"There are: {', '.join(names[:SAMPLE])}.",
        display={
            "code": "generic.pathNotFound",
            "path": path,
            "availablePathsSample": list(names[:SAMPLE]),
            "totalModels": len(names),
        },
    )


def no_such_identifier(identifier: str, loaded: Sequence[str]) -> SdkError:
    """Nothing with this identifier is loaded."""
    return SdkError(
        f'No model is loaded with the identifier "{cut(identifier)}".',
        hint=f"Loaded: {', '.join(loaded[:SAMPLE])}." if loaded else "No model is loaded.",
        display={
            "code": "generic.identifierNotFound",
            "identifier": identifier,
            "loadedModelsSample": list(loaded[:SAMPLE]),
            "totalLoadedModels": len(loaded),
        },
    )


def gone() -> SdkError:
    """The instance of a handle is not loaded any more."""
    return SdkError(
        "This model instance is not loaded any more.",
        hint="Ask for the model again.",
        display={"code": "generic.specificModelUnloaded"},
    )


def wrong_domain(path: str, actual: str, expected: str) -> SdkError:
    return SdkError(
        f'The model "{cut(path)}" is of the kind {actual}, not {expected}.',
        display={"code": "generic.domainMismatch", "path": path, "actualDomain": actual, "expectedDomain": expected},
    )
