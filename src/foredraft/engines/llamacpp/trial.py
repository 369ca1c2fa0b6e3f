"""Try a file of unknown origin in a process of its own, once.

A damaged file can trip an assertion inside llama.cpp, which ends the process: of the damaged headers that the header
reader lets through, about one in fifty. So a file that is opened for the first time is loaded elsewhere before it is
loaded here: its vocabulary, a small context, a few texts to tokens and back, and a pass of two tokens. What was found
is kept in the cache folder, by names, sizes and times of the file's parts and by the build of llama.cpp.

That costs a second of one core for a file of 1 GB with 152,000 tokens, half of which is the vocabulary. Beyond
`PASS_BYTES` the pass, which reads every weight, is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from foredraft import child
from foredraft.config.folders import cache_folder
from foredraft.core import files
from foredraft.core.errors import ForedraftError, MemoryLimitError, ModelError, ModelFormatError
from foredraft.core.reasons import Reason
from foredraft.demo import is_embedded
from foredraft.engines.llamacpp.failures import parts
from foredraft.engines.llamacpp.library import build_mark

PASS_BYTES = 4 * 2**30
"""Files up to this size are also computed with."""
AS_LOADED_BYTES = 2**27
"""Files up to this size are laid out in memory as a real load does; with larger ones that takes seconds."""
MEMORY_BYTES = 2 * 2**30
"""Memory that a trial may take beside twice the file's size. Some damaged vocabularies ask for all there is."""
TRIAL_SECONDS, BYTES_A_SECOND = 60.0, 20 * 2**20
"""Time that a trial may take, and the slowest disk it has patience for."""
KEPT = 500
"""Results kept."""
_REFUSED = 3
_FROM_OUTSIDE = {getattr(signal, name, 0) for name in ("SIGTERM", "SIGKILL", "SIGINT", "SIGHUP")} - {0}
_TEXTS = ("Hello, world!\n\n  1234 'tis <|im_end|></s>\t", "é ü 漢字 🙂 \u0378 \x01\x7f", "\ufffd\u00ad\u200b ")


def require_survival(path: str | Path) -> None:
    """Raises `ModelFormatError` with the library's own words if opening the file would end this process.

    Files of this package are trusted. A file that the library refuses with an ordinary error passes: loading it here
    gives that error.
    """
    path = Path(path)
    if is_embedded(path):
        return
    place = _place(path)
    known = _read(place)
    if known is None:
        try:
            survives(path)
            words = ""
        except DeadlyFileError as error:
            words = error.words
        _keep(place, words)
    else:
        words = known
    if words:
        raise DeadlyFileError(path, words)


class DeadlyFileError(ModelFormatError):
    """A file that ends the process which opens it. `words`: what llama.cpp said last, or how it ended."""

    def __init__(self, path: str | Path, words: str) -> None:
        super().__init__(
            Reason("load_deadly", {"path": str(path), "words": words}),
            path=str(path),
            hint=Reason("hint_download_again"),
        )
        self.words = words


def survives(path: str | Path, *, environment: Mapping[str, str] | None = None, timeout_s: float | None = None) -> bool:
    """Load the file elsewhere and read two tokens in one pass.

    False if it was refused with an ordinary error, which a load here will raise as well. Raises `DeadlyFileError` if
    the file ended that process, `ModelFormatError` if it hung it for `timeout_s` seconds, `MemoryLimitError` if it
    ended where processes have less memory than a trial may take, and `ModelError` if somebody else ended it.
    """
    from foredraft.engines.llamacpp.tiles import TRIED, tiles_work  # which tries by this function

    if environment is None:
        environment = {TRIED: "1" if tiles_work() else "0"}
    if timeout_s is None:
        timeout_s = TRIAL_SECONDS + _size(Path(path)) / BYTES_A_SECOND
    run = [*child.command("foredraft.engines.llamacpp.trial"), os.fspath(path)]
    # tried on the processor: a GPU that is at work elsewhere is left alone
    further = child.environment({"CUDA_VISIBLE_DEVICES": "-1", **environment})
    try:
        done = subprocess.run(run, env=further, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        hung = Reason("load_hung", {"path": str(path), "seconds": round(timeout_s)})
        raise ModelFormatError(hung, path=str(path), hint=Reason("hint_download_again")) from None
    if -done.returncode in _FROM_OUTSIDE:
        raise ModelError(Reason("load_ended", {"path": str(path)}), path=str(path))
    if done.returncode not in (0, _REFUSED):
        words = child.last_words((done.stderr or b"").decode("utf-8", "replace")) or child.how_it_ended(done.returncode)
        allowed, needed = child.allowed_memory(), MEMORY_BYTES + 2 * _size(Path(path))
        if 0 < allowed < needed:
            raise MemoryLimitError(
                Reason("trial_memory", {"path": str(path), "words": words, "allowed": allowed, "needed": needed}),
                path=str(path),
                hint=Reason("hint_raise_limit"),
                needed=needed,
                free=allowed,
            )
        raise DeadlyFileError(path, words)
    return done.returncode == 0


def _place(path: Path) -> Path:
    """Where the result for this file, as it is now, and this build of llama.cpp is kept."""
    digest = hashlib.blake2b(build_mark("llama").encode(), digest_size=16)
    with contextlib.suppress(ForedraftError):  # of a missing part: the load says so
        for part in parts(path):
            status = part.stat()
            digest.update(os.fsencode(part.absolute()) + b"\0%d\0%d\0" % (status.st_size, status.st_mtime_ns))
    return cache_folder() / "trials" / f"{digest.hexdigest()}.json"


def _read(place: Path) -> str | None:
    """The words of a death, "" for a file that survived, None where nothing is known."""
    try:
        words = json.loads(place.read_text(encoding="utf-8"))["words"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return words if isinstance(words, str) else None


def _keep(place: Path, words: str) -> None:
    """Where it cannot be kept, the file is tried again at its next load."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        half = place.with_suffix(f".{os.getpid()}")
        try:
            half.write_text(json.dumps({"words": words}), encoding="utf-8")
            files.replace(half, place)
        finally:
            half.unlink(missing_ok=True)
        kept = sorted(place.parent.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for old in kept[:-KEPT]:
            old.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes of all parts of a file; what is not there counts nothing, the load says so."""
    with contextlib.suppress(ForedraftError, OSError):
        return sum(part.stat().st_size for part in parts(path))
    return 0


# ---- the other side ----


def main(path: str) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    child.no_core_file()
    try:
        _load(Path(path))
    except ForedraftError:
        code = _REFUSED
    except Exception:  # no death: a load here raises it too  # noqa: BLE001
        traceback.print_exc()
        code = _REFUSED
    else:
        code = 0
    sys.stderr.flush()
    os._exit(code)  # what was loaded need not be taken apart first


def _load(path: Path) -> None:
    from foredraft.engines.llamacpp.library import library
    from foredraft.engines.llamacpp.loading import open_model
    from foredraft.engines.llamacpp.options import LoadOptions
    from foredraft.engines.llamacpp.tokenizer import LlamaTokenizer
    from foredraft.engines.processor import cores

    api = library().api
    size = _size(path)
    child.limit_memory(MEMORY_BYTES + 2 * size)
    model = open_model(path, LoadOptions(gpu_layers=0), as_in_file=size > AS_LOADED_BYTES)
    tokenizer = LlamaTokenizer(api.llama_model_get_vocab(model), path=str(path))
    for text in _TEXTS:
        for token in tokenizer.encode(text) + tokenizer.encode(text, parse_special=False):
            tokenizer.piece(token)
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 64, 8, 8
    params.n_threads = params.n_threads_batch = 1 if size < AS_LOADED_BYTES else cores()
    encodes = not api.llama_model_has_decoder(model)
    params.embeddings = encodes
    context = api.llama_init_from_model(model, params)
    if context and size <= PASS_BYTES:
        tokens = (api.llama_token * 2)(0, 0)
        read = api.llama_encode if encodes else api.llama_decode
        read(context, api.llama_batch_get_one(tokens, 2))


if __name__ == "__main__":
    main(sys.argv[1])
