"""The process in which a file is tried (`trial_process.py`): its vocabulary, a small context, and a pass."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

from foredraft import child
from foredraft.core.errors import ForedraftError
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.loading import open_model
from foredraft.engines.llamacpp.options import LoadOptions
from foredraft.engines.llamacpp.tokenizer import LlamaTokenizer
from foredraft.engines.llamacpp.trial_process import AS_LOADED_BYTES, MEMORY_BYTES, PASS_BYTES, REFUSED, size_of
from foredraft.engines.processor import cores

_TEXTS = ("Hello, world!\n\n  1234 'tis <|im_end|></s>\t", "é ü 漢字 🙂 \u0378 \x01\x7f", "\ufffd\u00ad\u200b ")


def main(path: str) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    child.no_core_file()
    try:
        _load(Path(path))
    except ForedraftError:
        code = REFUSED
    except Exception:  # no death: a load here raises it too  # noqa: BLE001
        traceback.print_exc()
        code = REFUSED
    else:
        code = 0
    sys.stderr.flush()
    os._exit(code)  # what was loaded need not be taken apart first


def _load(path: Path) -> None:

    api = library().api
    size = size_of(path)
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
