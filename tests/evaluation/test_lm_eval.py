"""The official lm-eval program against the server: what it measures is the model's, with and without a draft.

The group `evaluation` of pyproject.toml brings it (`make evaluation`). Its tasks here are our own: no data set is
fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from tests.real.files import FILES, path_of, present
from tests.server import toy

pytestmark = [
    pytest.mark.skipif(
        not (find_spec("lm_eval") and find_spec("tenacity")), reason="lm-eval[api] is not installed: make evaluation"
    ),
    pytest.mark.timeout(900),
]
TASKS = Path(__file__).parent / "tasks"
FACTS = [json.loads(line) for line in (TASKS / "facts.jsonl").read_text(encoding="utf-8").splitlines()]
LIKELIHOOD = ("foredraft_choose", "foredraft_read")


@contextlib.contextmanager
def served(model: LLM) -> Iterator[str]:
    runtime = Runtime(lambda spec, progress: model)
    asyncio.run(runtime.load(LoadSpec("main", id="main", ttl_s=None)))
    with toy.serving(Services(runtime, default_model="main")) as address:
        yield address


def evaluate(folder: Path, address: str, *tasks: str, chat: bool = False, **more: str) -> dict[str, list[Any]]:
    """Run lm-eval as a user does; each task's samples, in the order of the data."""
    kind, path = ("local-chat-completions", "chat/completions") if chat else ("local-completions", "completions")
    arguments = {"model": "main", "base_url": f"{address}/v1/{path}", "tokenizer_backend": "remote", **more}
    command = [sys.executable, "-m", "lm_eval", "--model", kind, "--tasks", ",".join(tasks), "--include_path", "."]
    command += ["--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())]
    command += ["--output_path", str(folder), "--log_samples", *(["--apply_chat_template"] if chat else [])]
    offline = {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    environment = {**os.environ, **offline, "PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=TASKS, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[Any]] = {}
    for task in tasks:
        (file,) = folder.rglob(f"samples_{task}_*.jsonl")
        samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        found[task] = [sample["filtered_resps"] for sample in sorted(samples, key=lambda sample: sample["doc_id"])]
        assert len(found[task]) == len(FACTS)
    return found


def expected(model: LLM) -> dict[str, list[Any]]:
    """What the likelihood tasks measure, by the library."""
    encode = model.engine.tokenizer.encode
    prefix = model.engine.tokenizer.bos or model.engine.tokenizer.eos  # lm-eval takes a start token of id 0 for none

    def tokens(text: str) -> list[int]:
        return encode(text, add_special=False)

    def choice(question: str, answer: str) -> list[Any]:
        context = f"Question: {question}\nAnswer:"
        known, whole = tokens(context), tokens(f"{context} {answer}")
        scored = model.score(whole, top=1)[len(known) - 1 :]
        greedy = all(token.chosen.logprob == token.top[0].logprob for token in scored)
        return [sum(token.chosen.logprob for token in scored), greedy]

    assert prefix is not None
    return {
        "foredraft_choose": [[choice(fact["question"], answer) for answer in fact["answers"]] for fact in FACTS],
        "foredraft_read": [
            sum(token.chosen.logprob for token in model.score([prefix, *tokens(fact["text"])])) for fact in FACTS
        ],
    }


def same(found: dict[str, list[Any]], right: dict[str, list[Any]]) -> None:
    for mine, theirs in zip(right["foredraft_choose"], found["foredraft_choose"], strict=True):
        for (logprob, greedy), (said, said_greedy) in zip(mine, theirs, strict=True):
            assert float(said) == pytest.approx(logprob, abs=1e-6)
            assert str(said_greedy) == str(greedy)
    read = [float(values[0] if isinstance(values, list) else values) for values in found["foredraft_read"]]
    assert read == pytest.approx(right["foredraft_read"], abs=1e-6)
    assert all(math.isfinite(value) and value < 0 for value in read)


def test_the_embedded_pair(tmp_path: Path, chat_pair: tuple[Path, Path]) -> None:
    main, draft = chat_pair
    settings = LoadSettings(slots=2, context=1024, remember=False, numerics="exact")
    tasks = (*LIKELIHOOD, "foredraft_write")
    plain = LLM.load(main, "off", settings=settings)
    right = expected(plain)
    with served(plain) as address:
        without = evaluate(tmp_path / "without", address, *tasks)
        chatting = evaluate(tmp_path / "chat", address, "foredraft_write", chat=True)
    same(without, right)
    drafted = LLM.load(main, draft, settings=settings)
    with served(drafted) as address:
        found = evaluate(tmp_path / "drafted", address, *tasks, num_concurrent="2")
        same(found, right)
        assert found["foredraft_write"] == without["foredraft_write"]
        assert evaluate(tmp_path / "chat-drafted", address, "foredraft_write", chat=True) == chatting
        assert "Paris" in chatting["foredraft_write"][0][0]


@pytest.mark.real
@pytest.mark.parametrize("name", ["smollm2", "qwen-0.5b"])
def test_trained_files(tmp_path: Path, name: str) -> None:
    """In fast numerics, with one slot: what other slots hold would move last digits."""
    if not present(name):
        pytest.skip(f"{FILES[name].name} is not at {path_of(name).parent}: python -m tests.real.files {name}")
    path = path_of(name)
    settings = LoadSettings(context=1024, remember=False, numerics="fast", probe=False)
    plain = LLM.load(path, "off", settings=settings)
    right = expected(plain)
    with served(plain) as address:
        without = evaluate(tmp_path / "without", address, *LIKELIHOOD)
    same(without, right)
    with served(LLM.load(path, path, settings=settings)) as address:  # its own draft
        same(evaluate(tmp_path / "drafted", address, *LIKELIHOOD), right)
