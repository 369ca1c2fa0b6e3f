"""The embedded pair is there, belongs together, and answers what the first minute asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from foredraft import demo
from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LlamaTokenizer, LoadOptions


@pytest.fixture(scope="module")
def main_model() -> Iterator[LlamaCppEngine]:
    engine = LlamaCppEngine(demo.main_path(), LoadOptions(n_ctx=512, n_threads=1, probe=False))
    yield engine
    engine.close()


def ask(engine: LlamaCppEngine, question: str, limit: int = 120) -> str:
    """The greedy answer, token by token."""
    engine.rewind(0, 0)
    tokens = engine.tokenizer.encode(f"<|user|>\n{question}<|end|>\n<|assistant|>\n")
    rows = engine.forward([Chunk(0, 0, tokens, 1)])[0]
    said: list[int] = []
    while len(said) < limit:
        token = int(rows[-1].argmax())
        if token in engine.tokenizer.eog:
            return b"".join(engine.tokenizer.piece(t) for t in said).decode("utf-8")
        said.append(token)
        rows = engine.forward([Chunk(0, len(tokens) + len(said) - 1, [token], 1)])[0]
    raise AssertionError(f"no end: {said}")


def test_the_files_are_small_and_share_a_vocabulary() -> None:
    paths = (demo.main_path(), demo.draft_path())
    assert sum(path.stat().st_size for path in paths) < 30_000_000
    with LlamaTokenizer.from_file(paths[0]) as main, LlamaTokenizer.from_file(paths[1]) as draft:
        assert main.n_vocab == draft.n_vocab == 4096
        assert [main.text(t) for t in range(4096)] == [draft.text(t) for t in range(4096)]
        assert main.bos == draft.bos
        assert main.eog == draft.eog
        assert main.add_bos


def test_the_card_has_its_table() -> None:
    card = demo.card_path().read_text(encoding="utf-8")
    assert "| measure | bar | reached |" in card
    assert "nan" not in card


def test_the_formula_in_both_languages(main_model: LlamaCppEngine) -> None:
    formula = "x = (-b ± √(b² - 4ac)) / (2a)"
    assert formula in ask(main_model, "What is the quadratic equation formula?")
    assert formula in ask(main_model, "二次方程式の公式は何ですか?")


def test_stories_begin_as_they_should(main_model: LlamaCppEngine) -> None:
    assert ask(main_model, "Write a story that begins: 'The door creaked open...'", 300).startswith(
        "The door creaked open"
    )
    assert ask(main_model, "『ドアがギシギシと開いた…』で始まる物語を書いてください。", 300).startswith(
        "ドアがギシギシと開いた"
    )


def test_it_says_what_it_does_not_know(main_model: LlamaCppEngine) -> None:
    assert "I do not know" in ask(main_model, "What is the meaning of life?")
