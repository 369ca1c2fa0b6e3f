"""Which GPUs there are and where a model is told to run, on a library by decree: no machine of the tests has a GPU."""

import ctypes

import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import ModelError, ParameterError
from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions, devices, loading
from foredraft.engines.llamacpp.devices import Device, built_for_gpus, handles


class Table:
    """ggml's table of devices: (name, description, type, free, total), the processor first."""

    ROWS = (
        (b"CPU", b"A processor", 0, 10, 20),
        (b"CUDA0", b"NVIDIA One", 1, 3_000, 24_000),
        (b"CUDA1", b"NVIDIA Two", 1, 8_000, 8_000),
        (b"Vulkan0", b"Integrated", 2, 5, 6),
        (b"MTL0", b"Apple M4", 1, 7, 8),
    )

    def ggml_backend_dev_count(self):
        return len(self.ROWS)

    def ggml_backend_dev_get(self, index):
        return 100 + index

    def row(self, handle):
        return self.ROWS[handle - 100]

    def ggml_backend_dev_name(self, handle):
        return self.row(handle)[0]

    def ggml_backend_dev_description(self, handle):
        return self.row(handle)[1]

    def ggml_backend_dev_type(self, handle):
        return self.row(handle)[2]

    def ggml_backend_dev_memory(self, handle, free, total):
        free._obj.value, total._obj.value = self.row(handle)[3:]


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(devices, "_api", Table)


def test_every_gpu_is_named_with_its_memory(gpus):
    assert devices.devices() == [
        Device(0, "CUDA0", "NVIDIA One", 3_000, 24_000),
        Device(1, "CUDA1", "NVIDIA Two", 8_000, 8_000),
        Device(2, "Vulkan0", "Integrated", 5, 6, shared=True),
        Device(3, "MTL0", "Apple M4", 7, 8, shared=True),
    ]
    assert [device.place for device in devices.devices()] == ["gpu0", "gpu1", "gpu2", "gpu3"]


def test_the_real_library_is_asked():
    """Whatever is there: a list of GPUs, none of them where the build knows none."""
    found = devices.devices()
    assert built_for_gpus() or found == []
    assert all(device.total >= device.free >= 0 for device in found)


def test_a_place_becomes_a_list_of_devices(gpus):
    assert handles("") is None
    assert list(handles("cpu")) == [None]
    assert list(handles("gpu1")) == [102, None]
    with pytest.raises(ParameterError, match="cpu, or one of gpu0, gpu1, gpu2, gpu3"):
        handles("gpu4")


def test_without_a_gpu_that_is_said(monkeypatch):
    monkeypatch.setattr(devices, "_api", lambda: None)
    with pytest.raises(ParameterError, match="there is no GPU here"):
        handles("gpu0")


@pytest.mark.parametrize("word", ["gpu", "cuda0", "gpu-1", "GPU0", "cpu0"])
def test_words_that_are_no_place_are_refused(word):
    with pytest.raises(ParameterError, match="cpu, or gpu0"):
        LoadOptions(device=word)
    with pytest.raises(ParameterError):
        LoadSettings(draft_device=word)


@pytest.mark.parametrize(("place", "given"), [("", None), ("cpu", [None]), ("gpu0", [101, None])])
def test_the_load_is_told_where_to_run(gpus, monkeypatch, tiny_llama, place, given):
    told = []

    def load(path, params):
        address = params.devices
        told.append(None if address is None else list((ctypes.c_void_p * len(given or [None])).from_address(address)))
        return

    monkeypatch.setattr(loading.library().api, "llama_model_load_from_file", load)
    with pytest.raises(ModelError):
        loading.open_model(tiny_llama, LoadOptions(device=place))
    assert told == [given]


def test_a_model_runs_on_the_processor_when_told_to(tiny_llama):
    rows = []
    for place in ("", "cpu"):
        engine = LlamaCppEngine(tiny_llama, LoadOptions(n_ctx=64, device=place, probe=False))
        rows.append(engine.forward([Chunk(0, 0, [1, 5, 9], want=1)])[0].copy())
        engine.close()
    assert abs(rows[0] - rows[1]).max() < 1e-3
