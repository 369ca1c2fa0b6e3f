"""Names of models as Ollama writes them: `model:tag`, where ours are `model@quantisation`."""

from __future__ import annotations

from foredraft.server.errors import RequestError
from foredraft.server.ollama.schemas import Named

LATEST = ":latest"


def asked(body: Named) -> str:
    """The model of a request, as the shelf is asked for it. Raises `RequestError` where none is named."""
    name = body.model or body.name
    if not name.strip():
        raise RequestError("model is required", param="model")
    return ours(name)


def ours(name: str) -> str:
    """Ollama's name as the shelf's; a tag says the quantisation."""
    text = name.strip()
    if text.lower().endswith(LATEST):
        return text[: -len(LATEST)]
    base, mark, tag = text.rpartition(":")
    return f"{base}@{tag}" if mark and "/" not in tag and "@" not in base else text


def theirs(name: str) -> str:
    """A name of the shelf as Ollama's: always with a tag, because clients cut names there."""
    return name.replace("@", ":", 1) if "@" in name else name + LATEST
