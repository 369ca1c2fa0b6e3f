"""What heads need of llama.cpp and its stable interface does not have: hidden rows, and contexts of the MTP kind.

The functions are C++ of the library itself (`src/llama-ext.h`: "staging, not part of the API"), exported under names
that differ between compilers. They are looked for at the first use; where one is missing, drafts that read hidden rows
are unavailable, with that reason, and everything else works.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foredraft.core.reasons import Reason
from foredraft.engines.llamacpp.library import library

MTP = 1
"""`LLAMA_CONTEXT_TYPE_MTP`."""

_FUNCTIONS = {
    # name: (as GCC and Clang write it, as MSVC does, arguments, result)
    "llama_set_embeddings_nextn": (
        "_Z26llama_set_embeddings_nextnP13llama_contextbb",
        "?llama_set_embeddings_nextn@@YAXPEAUllama_context@@_N1@Z",
        (ctypes.c_void_p, ctypes.c_bool, ctypes.c_bool),
        None,
    ),
    "llama_get_embeddings_nextn": (
        "_Z26llama_get_embeddings_nextnP13llama_context",
        "?llama_get_embeddings_nextn@@YAPEAMPEAUllama_context@@@Z",
        (ctypes.c_void_p,),
        ctypes.POINTER(ctypes.c_float),
    ),
    "llama_get_ctx_other": (
        "_Z19llama_get_ctx_otherP13llama_context",
        "?llama_get_ctx_other@@YAPEAUllama_context@@PEAU1@@Z",
        (ctypes.c_void_p,),
        ctypes.c_void_p,
    ),
}
_OF_LAYERS = {
    "llama_set_embeddings_layer_inp": (
        "_Z30llama_set_embeddings_layer_inpP13llama_contextjb",
        "?llama_set_embeddings_layer_inp@@YAXPEAUllama_context@@I_N@Z",
        (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_bool),
        None,
    ),
    "llama_get_embeddings_layer_inp": (
        "_Z30llama_get_embeddings_layer_inpP13llama_contextj",
        "?llama_get_embeddings_layer_inp@@YAPEAMPEAUllama_context@@I@Z",
        (ctypes.c_void_p, ctypes.c_uint32),
        ctypes.POINTER(ctypes.c_float),
    ),
}
_STABLE = ("llama_model_n_embd_out",)
_FIELDS = {"llama_context_params": ("ctx_type", "ctx_other"), "llama_model_params": ("load_mtp",)}


@dataclass(frozen=True, slots=True)
class Extended:
    """The functions, ready to call; None where one is missing, and `lacks` says which."""

    set_hidden: Any = None
    """(context, on, of wanted tokens only)"""
    get_hidden: Any = None
    """(context) -> the rows of the last pass"""
    other_context: Any = None
    """(context) -> the context whose memory it looks into, if it does"""
    lacks: str = ""
    set_layer_input: Any = None
    """(context, layer, on)"""
    get_layer_input: Any = None
    """(context, layer) -> what went into a layer, for each token of the last pass"""
    layers_lack: str = ""
    """Which of these two is missing."""

    @property
    def reason(self) -> Reason | None:
        """Why drafts that read hidden rows are unavailable; None where they are not."""
        return Reason("no_hidden_rows", {"function": self.lacks}) if self.lacks else None


def extended() -> Extended:
    """The functions of the library that is installed."""
    return _found()


@functools.cache
def _found() -> Extended:
    api = library().api
    for struct, fields in _FIELDS.items():
        have = {name for name, _ in getattr(api, struct)._fields_}
        for field in fields:
            if field not in have:
                return Extended(lacks=f"{struct}.{field}")
    for name in _STABLE:
        if not hasattr(api, name):
            return Extended(lacks=name)
    functions, missing = _all_of(_FUNCTIONS)
    if missing:
        return Extended(lacks=missing)
    of_layers, layers_lack = _all_of(_OF_LAYERS)
    set_hidden, get_hidden, other_context = functions
    set_input, get_input = of_layers or (None, None)
    return Extended(set_hidden, get_hidden, other_context, "", set_input, get_input, layers_lack)


def _all_of(wanted: Mapping[str, tuple[str, str, tuple[Any, ...], Any]]) -> tuple[list[Any], str]:
    """The functions, or which is missing."""
    functions = []
    for name, (gcc, msvc, arguments, result) in wanted.items():
        function = next((f for f in (_symbol(spelled) for spelled in (name, gcc, msvc)) if f is not None), None)
        if function is None:
            return [], name
        function.argtypes, function.restype = list(arguments), result
        functions.append(function)
    return functions, ""


def _symbol(name: str) -> Any:
    """A function of the shared library, apart from the bindings' own; None where it has none of that name."""
    try:
        return library().api._lib[name]
    except AttributeError:
        return None
