"""The GPUs that this build of llama.cpp can use, their memory, and how a load is told where to run."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from foredraft.core.errors import ParameterError
from foredraft.core.reasons import Reason
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.options import CPU

_GPU_TYPES = (1, 2)
"""ggml's numbers of a GPU with memory of its own, and of one that shares the machine's."""
_INTEGRATED = 2
_SIZE = ctypes.POINTER(ctypes.c_size_t)


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU. Sizes in bytes; `shared` when its memory is the machine's own."""

    index: int
    name: str
    """As the library calls it: "CUDA0", "Metal", "Vulkan1" …"""
    description: str
    """As its maker calls it."""
    free: int
    total: int
    shared: bool = False

    @property
    def place(self) -> str:
        """The word for running there."""
        return f"gpu{self.index}"


def devices() -> list[Device]:
    """Every GPU, with its memory now. Empty for a build without GPU support, and for a machine without one."""
    api = _api()
    if api is None:
        return []
    found: list[Device] = []
    for handle in _gpus(api):
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        api.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
        name = _text(api.ggml_backend_dev_name(handle))
        # Apple's GPUs call themselves discrete; their memory is the machine's.
        shared = api.ggml_backend_dev_type(handle) == _INTEGRATED or name.startswith(("Metal", "MTL"))
        found.append(
            Device(
                len(found),
                name,
                _text(api.ggml_backend_dev_description(handle)),
                free.value,
                total.value,
                shared,
            )
        )
    return found


def built_for_gpus() -> bool:
    """Whether the library could use a GPU if there were one."""
    return bool(library().api.llama_supports_gpu_offload())


def handles(place: str) -> Any:
    """A place (`LoadOptions.device`) as `llama_model_params.devices`: None leaves the choice to the library. Keep it
    alive until the model is loaded. Raises `ParameterError` for a GPU that is not there."""
    if not place:
        return None
    chosen: list[int] = []
    if place != CPU:
        api = _api()
        gpus = _gpus(api) if api is not None else []
        index = int(place.removeprefix("gpu"))
        if index >= len(gpus):
            there = ", ".join(f"gpu{n}" for n in range(len(gpus)))
            raise ParameterError(
                "device", place, Reason("allowed_devices", {"names": there}) if there else Reason("allowed_cpu")
            )
        chosen = [gpus[index]]
    return (ctypes.c_void_p * (len(chosen) + 1))(*chosen, None)


def _api() -> Any:
    """ggml's table of devices, which the bindings load but do not describe; None where they no longer do."""
    library()  # the bindings' own messages go to our log
    try:
        from llama_cpp._ggml import libggml
    except ImportError:
        return None
    for name, result, arguments in (
        ("ggml_backend_dev_count", ctypes.c_size_t, []),
        ("ggml_backend_dev_get", ctypes.c_void_p, [ctypes.c_size_t]),
        ("ggml_backend_dev_type", ctypes.c_int, [ctypes.c_void_p]),
        ("ggml_backend_dev_name", ctypes.c_char_p, [ctypes.c_void_p]),
        ("ggml_backend_dev_description", ctypes.c_char_p, [ctypes.c_void_p]),
        ("ggml_backend_dev_memory", None, [ctypes.c_void_p, _SIZE, _SIZE]),
    ):
        function = getattr(libggml, name, None)
        if function is None:
            return None
        function.restype, function.argtypes = result, arguments
    return libggml


def _gpus(api: Any) -> list[int]:
    every = [api.ggml_backend_dev_get(index) for index in range(api.ggml_backend_dev_count())]
    return [handle for handle in every if api.ggml_backend_dev_type(handle) in _GPU_TYPES]


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")
