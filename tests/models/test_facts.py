"""What is known of a model from its headers: real files against their card, split files, names of quantisations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.random_model import Shape
from foredraft.core.errors import ModelFormatError
from foredraft.engines.llamacpp import quantise
from foredraft.models.facts import facts_from_json, facts_to_json, read_facts
from foredraft.models.gguf import GGML_TYPES, read_header
from foredraft.models.quantisation import FILE_TYPES, quantisation
from tests import tiny_gguf
from tests.models.gguf_bytes import gguf, model, write


def test_the_pair_of_the_shared_data(shared_data: Path) -> None:
    main = read_facts(shared_data / "pair" / "prototype-main-Q8_0.gguf")
    assert (main.architecture, main.kind, main.quantisation, main.n_ctx_train) == ("llama", "text", "Q8_0", 1024)
    assert main.n_params == 5_115_072
    assert (main.shape.n_layers, main.shape.n_embd, main.shape.n_ff, main.shape.n_heads) == (8, 192, 512, 3)
    assert main.vocabulary.n_tokens == 4096
    assert (main.vocabulary.kind, main.vocabulary.add_bos, main.vocabulary.bos) == ("bpe", True, 0)
    assert main.has_template
    draft = read_facts(shared_data / "pair" / "prototype-draft-F16.gguf")
    assert draft.quantisation == "F16"
    assert draft.vocabulary.tokens_hash == main.vocabulary.tokens_hash


def test_vocabularies_are_understood_as_their_card_says(shared_data: Path) -> None:
    expected = {
        "aquila": (100_008, 0, 0), "baichuan": (64_000, 1, 2), "bert-bge": (30_522, 101, None),
        "command-r": (256_000, 5, 255_001), "gemma-4": (262_144, 2, 1), "llama-bpe": (128_256, 128_000, 128_001),
        "llama-spm": (32_000, 1, 2), "nomic-bert-moe": (250_048, 0, 2), "phi-3": (32_064, 1, 32_000),
        "qwen2": (151_936, 151_643, 151_643),
    }  # fmt: skip
    for name, facts in expected.items():
        found = read_facts(shared_data / "vocab" / f"ggml-vocab-{name}.gguf")
        assert (found.vocabulary.n_tokens, found.vocabulary.bos, found.vocabulary.eos) == facts
        assert found.kind == ("embedding" if "bert" in name else "vocabulary")
        assert found.n_params == 0


def test_facts_survive_the_cache(shared_data: Path) -> None:
    for path in (shared_data / "pair" / "prototype-main-Q8_0.gguf", shared_data / "vocab" / "ggml-vocab-qwen2.gguf"):
        facts = read_facts(path)
        assert facts_from_json(json.loads(json.dumps(facts_to_json(facts)))) == facts


def split(folder: Path, parts: int, missing: int = 0) -> Path:
    """A model in several files; the first holds the header, each one tensor."""
    for number in range(1, parts + 1):
        if number == missing:
            continue
        name = f"big-{number:05d}-of-{parts:05d}.gguf"
        tensors = [(f"blk.{number}.w", (32, number), "F32")]
        head = {"general.architecture": "llama", "split.count": parts, "tokenizer.ggml.model": "gpt2"}
        write(folder / name, gguf(head if number == 1 else {"split.no": number - 1}, tensors))
    return folder / f"big-00001-of-{parts:05d}.gguf"


def test_a_split_model_is_one_model(tmp_path: Path) -> None:
    facts = read_facts(split(tmp_path, 3))
    assert facts.n_params == 32 * (1 + 2 + 3)
    assert [path.name[4:9] for path in facts.paths] == ["00001", "00002", "00003"]
    assert facts.size_bytes == sum(path.stat().st_size for path in facts.paths)
    assert facts.missing is None
    assert facts.weights.layers == (128, 256, 384)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    assert read_facts(split(tmp_path, 3, missing=2)).missing == (2, 3)


def test_experts_count_as_far_as_they_are_used(tmp_path: Path) -> None:
    content = gguf(
        {"general.architecture": "qwen3moe", "qwen3moe.expert_count": 8, "qwen3moe.expert_used_count": 2},
        [("blk.0.ffn_up_exps.weight", (32, 32, 8), "F32"), ("blk.0.attn_q.weight", (32, 32), "F32")],
    )
    facts = read_facts(write(tmp_path / "moe.gguf", content))
    assert facts.n_params == 9 * 1024
    assert facts.n_active == 3 * 1024


@pytest.mark.parametrize(
    ("architecture", "extra", "kind", "rewind"),
    [
        ("llama", {}, "text", ""),
        ("mamba", {}, "text", "recurrent"),
        ("qwen35", {}, "text", "hybrid"),
        ("nomic-bert", {}, "embedding", ""),
        ("qwen3", {"qwen3.pooling_type": 3}, "embedding", ""),
        ("llada", {}, "diffusion", ""),
        ("eagle3", {}, "helper", ""),
        ("clip", {}, "projector", ""),
        ("llama", {"general.type": "mmproj"}, "projector", ""),
        ("llama", {"general.type": "adapter"}, "adapter", ""),
    ],
)
def test_kinds_of_files(tmp_path: Path, architecture: str, extra: dict[str, object], kind: str, rewind: str) -> None:
    facts = read_facts(write(tmp_path / "m.gguf", model(architecture=architecture, extra=extra)))
    assert (facts.kind, facts.rewind) == (kind, rewind)


def test_a_header_without_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="architecture"):
        read_facts(write(tmp_path / "m.gguf", gguf({"general.name": "x"})))


def test_special_ids_out_of_range_are_ignored(tmp_path: Path) -> None:
    extra = {"tokenizer.ggml.bos_token_id": 4000, "tokenizer.ggml.eos_token_id": 2**31, "tokenizer.ggml.model": "llama"}
    vocabulary = read_facts(write(tmp_path / "m.gguf", model(extra=extra))).vocabulary
    assert (vocabulary.bos, vocabulary.eos) == (1, 2)  # the defaults of its kind, as llama.cpp takes them


# ---- the names of quantisations ----


def test_the_tables_are_those_of_the_format() -> None:
    """Kept here and not imported: `gguf` takes a quarter of a second to load, and knows new types later."""
    from gguf.constants import GGML_QUANT_SIZES, LlamaFileType

    assert {number.value: (number.name, *sizes) for number, sizes in GGML_QUANT_SIZES.items()}.items() <= (
        GGML_TYPES.items()
    )
    theirs = {kind.value: kind.name.split("_", 1)[1] for kind in LlamaFileType if kind is not LlamaFileType.GUESSED}
    assert theirs.items() <= FILE_TYPES.items()


@pytest.mark.parametrize("kind", ["q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_0", "f16"])
def test_a_requantised_file_is_what_it_says_and_without_a_word_what_its_tensors_are(tmp_path: Path, kind: str) -> None:
    """Against llama.cpp's own quantiser."""
    shape = Shape(width=256, layers=8, heads=4, kv_heads=4, feed_forward=256, n_vocab=320)
    source = tiny_gguf.llama(tmp_path / "source.gguf", kind="f16", shape=shape)
    header = read_header(quantise(source, tmp_path / f"{kind}.gguf", kind))
    assert quantisation(header.tensors, header.integer("general.file_type")) == (kind.upper(), "")
    assert quantisation(header.tensors, None) == (kind.upper(), "")
    assert quantisation(header.tensors, 999) == (kind.upper(), "")
    assert quantisation(header.tensors, 0) == (kind.upper(), "F32")  # a wrong word is not believed, and is said


@pytest.mark.parametrize("kind", ["q6_k", "q5_k_m", "q4_k_m", "q4_k_s"])
def test_a_narrow_model_is_what_its_file_says_though_few_or_none_of_its_tensors_are(
    chat_pair: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    """Rows that are not whole blocks of a K type get another: in the draft all of them, in the main model most."""
    main, draft = chat_pair
    for source in (main, draft):
        facts = read_facts(quantise(source, tmp_path / f"{source.stem}-{kind}.gguf", kind))
        assert (facts.quantisation, facts.quantisation_said) == (kind.upper(), "")
        assert next(iter(facts.mix)) in ("Q5_0", "Q5_1", "Q8_0")
        assert sum(facts.mix.values()) == pytest.approx(1)


def test_story_models_are_what_their_requantised_files_say(shared_data: Path, tmp_path: Path) -> None:
    for source in sorted((shared_data / "stories").glob("*.gguf")):
        assert read_facts(source).quantisation == "F32"
        for kind in ("q8_0", "q4_k_m", "f16"):
            facts = read_facts(quantise(source, tmp_path / f"{source.stem}-{kind}.gguf", kind))
            assert (facts.quantisation, facts.quantisation_said) == (kind.upper(), "")


def test_a_header_that_is_plainly_wrong_is_not_believed(tmp_path: Path) -> None:
    """F16, says the header; no matrix in the blocks is F16."""
    norm, outer = ("blk.0.attn_norm.weight", (256,), "F32"), ("token_embd.weight", (256, 8), "F16")
    blocks = [("blk.0.attn_q.weight", (256, 8), "Q4_K"), ("blk.0.attn_v.weight", (256, 4), "Q6_K")]
    head = {"general.architecture": "llama", "general.file_type": 1}
    facts = read_facts(write(tmp_path / "m.gguf", gguf(head, [norm, outer, *blocks])))
    assert (facts.quantisation, facts.quantisation_said) == ("Q4_K_M", "F16")
    assert list(facts.mix) == ["F16", "Q4_K", "Q6_K", "F32"]
    right = read_facts(write(tmp_path / "m.gguf", gguf(head | {"general.file_type": 15}, [norm, outer, *blocks])))
    assert (right.quantisation, right.quantisation_said) == ("Q4_K_M", "")
    plain = gguf(head | {"general.file_type": 15}, [("blk.0.attn_q.weight", (64, 8), "F32")])
    assert read_facts(write(tmp_path / "m.gguf", plain)).quantisation_said == "Q4_K_M"  # nothing in it is quantised


def test_a_vocabulary_has_no_quantisation_whatever_its_header_says(shared_data: Path) -> None:
    paths = sorted((shared_data / "vocab").glob("*.gguf"))
    assert any(read_header(path).integer("general.file_type") == 1 for path in paths)
    for path in paths:
        facts = read_facts(path)
        assert (facts.quantisation, facts.quantisation_said, facts.mix) == ("", "", {})
