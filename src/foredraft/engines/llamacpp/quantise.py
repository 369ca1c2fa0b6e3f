"""The same model with coarser weights, by llama.cpp's own quantiser."""

from __future__ import annotations

import os
from pathlib import Path

from foredraft.core import files
from foredraft.core.errors import ModelError, ParameterError
from foredraft.core.reasons import Reason
from foredraft.engines.llamacpp.failures import check_file, load_error
from foredraft.engines.llamacpp.library import library

KINDS = ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_0", "q5_1", "q4_k_m", "q4_k_s", "q4_0", "q4_1")
"""What a model can be turned into, as the endings of GGUF file names say it."""


def quantise(source: str | Path, target: str | Path, kind: str, *, n_threads: int = 1) -> Path:
    """Write `source` anew with weights of `kind` and return the new file. Weights already quantised are allowed.

    Nothing is left at `target` when it fails. Raises `ParameterError` for an unknown kind or `target` = `source`, the
    errors of loading for a bad source, and `ModelError` when the result cannot be written.
    """
    source, target = Path(source), Path(target)
    if kind.lower() not in KINDS:
        raise ParameterError("kind", kind, f"one of {', '.join(KINDS)}")
    check_file(source)
    if target.exists() and target.samefile(source):
        raise ParameterError("target", str(target), "another file than the source")
    api = library().api
    params = api.llama_model_quantize_default_params()
    params.nthread = n_threads
    params.ftype = getattr(api, f"LLAMA_FTYPE_{'ALL' if kind.lower() == 'f32' else 'MOSTLY'}_{kind.upper()}")
    params.allow_requantize = True
    unfinished = target.with_name(target.name + ".part")
    try:
        try:
            unfinished.touch()
        except OSError as error:
            raise ModelError(
                Reason("cannot_write", {"path": str(target), "error": str(error.strerror)}), path=str(target)
            ) from error
        with library().record() as lines:
            code = api.llama_model_quantize(os.fsencode(source), os.fsencode(unfinished), params)
        if code:
            raise load_error(source, lines)
        files.replace(unfinished, target)
        return target
    finally:
        unfinished.unlink(missing_ok=True)
