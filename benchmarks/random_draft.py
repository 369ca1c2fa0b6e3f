"""A draft with the vocabulary of a main model and random weights: it fits, and is wrong about everything.

    foredraft bench --draft "$(python -m benchmarks.random_draft)" --mode auto --mode fixed:3
    python -m benchmarks.random_draft MAIN.gguf       # makes it, once, and prints its path

The hardest test of "never slower": a controller must find out by itself that not one guess of it is worth reading.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import gguf

from benchmarks.random_model import Shape, write_random_model
from foredraft.config.folders import cache_folder
from foredraft.core.errors import ModelError
from foredraft.demo import main_path

_SHARE = 5
"""The draft has at most one in so many of the main model's parameters: about what a draft worth having has."""
_WIDTHS = (1024, 512, 256, 128, 64)
_HEAD = 32


def random_draft(main: Path) -> Path:
    """The random draft for the file `main`, from the cache or made now.

    Raises `ModelError` for a file whose vocabulary cannot be read, or where the cache cannot be written.
    """
    try:
        stat = main.stat()
    except OSError as error:
        raise ModelError(f"{main} cannot be read: {error.strerror}.", path=str(main)) from error
    key = hashlib.sha256(f"{main.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    path = cache_folder() / "random" / f"{main.stem}-{key}-draft.gguf"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{path.parent} cannot be made: {error.strerror}.", path=str(path.parent)) from error
    fields, n_vocab, n_ctx, parameters = _read(main)
    shape = _shape(n_vocab, n_ctx, parameters)
    unfinished = path.with_suffix(".part")
    try:
        name = f"random draft for {main.stem}"
        write_random_model(unfinished, shape, kind="q8_0", name=name, vocabulary=lambda writer: _copy(fields, writer))
        return unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _read(main: Path) -> tuple[dict[str, gguf.ReaderField], int, int, int]:
    """The tokenizer's part of the header, the number of tokens, the context length, and the number of parameters."""
    try:
        reader = gguf.GGUFReader(main)
    except (OSError, ValueError) as error:
        raise ModelError(f"{main} cannot be read as GGUF: {error}.", path=str(main)) from error
    fields = {key: field for key, field in reader.fields.items() if key.startswith("tokenizer.")}
    tokens = fields.get("tokenizer.ggml.tokens")
    if tokens is None:
        raise ModelError(f"{main} has no vocabulary that a draft could share.", path=str(main))
    architecture = reader.fields.get("general.architecture")
    context = reader.fields.get(f"{architecture.contents()}.context_length") if architecture else None
    n_ctx = int(context.contents()) if context else 4096
    return fields, len(tokens.data), n_ctx, sum(int(tensor.n_elements) for tensor in reader.tensors)


def _shape(n_vocab: int, n_ctx: int, most: int) -> Shape:
    """The widest model of two layers that is small enough; the narrowest where none is."""
    shapes = [Shape(w, 2, w // _HEAD, w // _HEAD, 3 * w, n_vocab, n_ctx) for w in _WIDTHS]
    return next((shape for shape in shapes if shape.parameters * _SHARE <= most), shapes[-1])


def _copy(fields: dict[str, gguf.ReaderField], writer: gguf.GGUFWriter) -> None:
    """The vocabulary as it is: special tokens, template and all."""
    for key, field in fields.items():
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub_type)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_draft", description=__doc__.split("\n")[0])
    parser.add_argument("main", type=Path, nargs="?", help="the main model; default: the embedded one")
    asked = parser.parse_args(arguments)
    print(random_draft(asked.main or main_path()))


if __name__ == "__main__":
    main()
