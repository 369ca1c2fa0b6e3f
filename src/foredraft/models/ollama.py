"""Ollama's models, in place: manifests name blobs, and the blob of a model's weights is a GGUF file.

The layout is Ollama's own (docs/guides of ollama/ollama, `types/model`): `manifests/HOST/NAMESPACE/MODEL/TAG` is JSON
whose layer of the media type `application/vnd.ollama.image.model` has the digest `sha256:…` of `blobs/sha256-…`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from foredraft.core.reasons import Reason

WEIGHTS = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_LARGEST_MANIFEST = 1 << 20
"""Bytes; real ones have one or two thousand."""


@dataclass(frozen=True, slots=True)
class Blob:
    """The weights of one model and tag."""

    path: Path
    publisher: str
    name: str
    """`qwen2.5-7b` of `qwen2.5:7b`; the tag `latest` says nothing."""


def folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where Ollama keeps its models."""
    values = os.environ if environment is None else environment
    named = values.get("OLLAMA_MODELS", "")
    return Path(named).expanduser() if named else Path.home() / ".ollama" / "models"


def blobs(place: Path, problems: list[Reason]) -> Iterator[Blob]:
    """The weights that manifests name, as far as they are there. What cannot be read is named in `problems`."""
    manifests = place / "manifests"
    try:
        listed = sorted(path for path in manifests.glob("*/*/*/*") if path.is_file())
    except OSError as error:
        problems.append(Reason("place_error", {"path": str(manifests), "error": error.strerror or str(error)}))
        return
    for manifest in listed:
        try:
            digest = _digest(manifest)
        except (OSError, ValueError) as error:
            problems.append(Reason("place_manifest", {"path": str(manifest), "error": str(error)}))
            continue
        if digest is None:  # of a model in the cloud, or in another format
            continue
        blob = place / "blobs" / f"sha256-{digest}"
        if blob.is_file():
            namespace, model, tag = manifest.parts[-3:]
            name = model if tag == "latest" else f"{model}-{tag}"
            yield Blob(blob, "ollama" if namespace == "library" else namespace, name)


def _digest(manifest: Path) -> str | None:
    """The hexadecimal digest of the weights. Raises `ValueError` for what is no manifest."""
    if manifest.stat().st_size > _LARGEST_MANIFEST:
        raise ValueError("too large")
    said = json.loads(manifest.read_text(encoding="utf-8"))
    layers = said.get("layers") if isinstance(said, dict) else None
    if not isinstance(layers, list):
        raise ValueError("it has no layers")
    for layer in layers:
        if isinstance(layer, dict) and layer.get("mediaType") == WEIGHTS:
            found = _DIGEST.fullmatch(str(layer.get("digest")))
            if found is None:  # a path, perhaps, that leads elsewhere
                raise ValueError("its digest is none")
            return found[1]
    return None
