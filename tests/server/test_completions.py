"""Text completions: what a prompt is read as, what is given back of it, and what is filled in. The official client."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import openai
import pytest

from foredraft.engines.toy import ToyEngine, ToyTokenizer
from foredraft.runtime.managed_model import LoadSpec, Progress
from foredraft.runtime.runtime import Runtime
from foredraft.server import limits
from foredraft.server.context import Services
from tests.server import toy

TEXT = "the cat ab é. the"


def complete(client: openai.OpenAI, prompt: Any = TEXT, **more: Any) -> Any:
    more = {"max_tokens": 5, "seed": 1, "temperature": 1.0, **more}
    return client.completions.create(model=more.pop("model", "toy"), prompt=prompt, **more)


def law(tokens: Sequence[int]) -> list[float]:
    model = toy.engine()
    return [math.log(model.law(tokens[:i])[tokens[i]]) for i in range(1, len(tokens))]


def encoded(text: str, **how: Any) -> list[int]:
    return ToyTokenizer.of_size(toy.N_VOCAB).encode(text, **how)


# ---- what a prompt is read as ----


def test_control_tokens_of_a_prompt_are_read_as_such(client: openai.OpenAI) -> None:
    assert complete(client, "a</s>b").usage.prompt_tokens == len(encoded("a</s>b")) == 4
    plain, twice = complete(client, "a b"), complete(client, "<s>a b")  # the first is added to the one
    assert twice.usage.prompt_tokens == plain.usage.prompt_tokens
    assert twice.choices[0].text == plain.choices[0].text
    by_token = complete(client, encoded("a b"))
    assert by_token.choices[0].text == plain.choices[0].text


# ---- echo ----


@pytest.mark.parametrize("most", [0, 1, 5])
@pytest.mark.parametrize("draft", ["off", "auto"])
def test_echo_gives_the_prompts_log_probabilities(client: openai.OpenAI, most: int, draft: str) -> None:
    asked: Any = {"max_tokens": most, "logprobs": 2, "extra_body": {"draft_model": draft}}
    complete(client, **asked)  # the prompt is in the cache now
    whole = complete(client, echo=True, **asked)
    choice = whole.choices[0]
    tokens = encoded(TEXT)
    said = choice.logprobs
    behind = {name: values[1:] for name, values in said.model_dump().items()}
    type(said).model_validate(behind, strict=True)  # but for the first, which OpenAI sends as null, too
    written = whole.usage.completion_tokens
    assert whole.usage.prompt_tokens == len(tokens)
    assert choice.text.startswith(TEXT)
    assert choice.finish_reason in ("length", "stop")
    assert [len(values) for values in said.model_dump().values() if values] == [len(tokens) + written] * 4
    assert said.token_logprobs[0] is said.top_logprobs[0] is None
    assert said.token_logprobs[1 : len(tokens)] == pytest.approx(law(tokens), abs=1e-5)
    for logprob, top in zip(said.token_logprobs[1:], said.top_logprobs[1:], strict=True):
        assert len(top) in (2, 3)
        assert logprob in top.values()
        assert max(top.values()) == next(iter(top.values()))
    assert said.tokens[0] == "<s>"
    half = said.tokens.index("bytes:\\xc3")
    assert said.tokens[half + 1] == "bytes:\\xa9"
    assert said.text_offset[half] == said.text_offset[half + 1] == TEXT.index("é")
    for name, offset in zip(said.tokens[1 : len(tokens)], said.text_offset[1:], strict=False):
        assert name.startswith("bytes:") or TEXT[offset:].startswith(name)
    plain = complete(client, **asked)
    assert plain.choices[0].text == choice.text[len(TEXT) :]
    if most:
        assert said.text_offset[len(tokens)] == len(TEXT)
        assert plain.choices[0].logprobs.token_logprobs == said.token_logprobs[len(tokens) :]


def test_a_stream_echoes_the_same(client: openai.OpenAI) -> None:
    prompts = [encoded(TEXT), encoded("a cab"), encoded("b")]
    asked: Any = {"prompt": prompts, "echo": True, "logprobs": 1, "max_tokens": 7}
    whole = complete(client, **asked)
    texts, lists = ["", "", ""], [[], [], []]
    for chunk in complete(client, stream=True, **asked):
        choice = chunk.choices[0]
        texts[choice.index] += choice.text
        if choice.logprobs is not None:
            lists[choice.index] += list(
                zip(*(choice.logprobs.model_dump()[name] for name in sorted(choice.logprobs.model_dump())), strict=True)
            )
    assert texts == [choice.text for choice in whole.choices]
    for choice, rows in zip(whole.choices, lists, strict=True):
        said = choice.logprobs.model_dump()
        assert rows == list(zip(*(said[name] for name in sorted(said)), strict=True))
    assert whole.choices[0].text.startswith(f"<s>{TEXT}")  # tokens are spelt out


def test_the_end_has_an_entry_too(client: openai.OpenAI) -> None:
    """Clients take the last entry for that of the one token they asked for, whatever it is."""
    for seed in range(200):
        asked: Any = {"prompt": [[2, 5], [3]], "logprobs": 1, "max_tokens": 60, "seed": seed}
        whole = complete(client, **asked)
        if "stop" in [choice.finish_reason for choice in whole.choices]:
            break
    entries = [len(choice.logprobs.tokens) for choice in whole.choices]
    assert sum(entries) == whole.usage.completion_tokens
    ended = next(choice for choice in whole.choices if choice.finish_reason == "stop")
    assert ended.logprobs.tokens[-1] == "</s>"
    assert ended.logprobs.text_offset[-1] == len(ended.text)
    assert "</s>" not in ended.text
    streamed = [0, 0]
    for chunk in complete(client, stream=True, **asked):
        choice = chunk.choices[0]
        streamed[choice.index] += len(choice.logprobs.tokens) if choice.logprobs else 0
    assert streamed == entries


def test_echo_without_log_probabilities_reads_nothing_twice(client: openai.OpenAI) -> None:
    long = TEXT * 8  # enough to be worth a copy
    complete(client, long)
    again = complete(client, long, echo=True, n=2)
    assert all(choice.text.startswith(long) for choice in again.choices)
    assert again.choices[0].logprobs is None
    assert again.usage.prompt_tokens_details.cached_tokens > 0
    with_none = complete(client, logprobs=0, echo=True).choices[0].logprobs
    assert all(len(top) == 1 for top in with_none.top_logprobs[1:])


def test_impossible_tokens_have_a_number() -> None:
    """JSON has no -inf. A model that is certain: token 3 follows everything but itself."""
    table = {(): [0, 0, 0, 1.0], (3,): [0, 0, 1.0, 0]}

    def load(spec: LoadSpec, progress: Progress) -> toy.ToyLLM:
        return toy.ToyLLM(ToyEngine.from_table(table, order=1))

    services = Services(Runtime(load), toy.ToyShelf(), default_model="toy")
    with toy.serving(services) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        said = complete(client, [2, 3, 3, 2, 2], echo=True, logprobs=3, max_tokens=1).choices[0].logprobs
        assert said.token_logprobs == [None, 0.0, -9999.0, 0.0, -9999.0, 0.0]
        assert all(list(top.values()) == sorted(top.values(), reverse=True) for top in said.top_logprobs[1:])


def test_more_log_probabilities_than_allowed_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"model": "toy", "prompt": [5] * 40, "max_tokens": 0, "echo": True, "logprobs": 3, "n": 2}
    monkeypatch.setattr("foredraft.server.pipeline.PROMPT_LOGPROBS", limits.Limit("log probabilities", 319))
    answer = httpx.post(f"{address}/v1/completions", json=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "logprobs"
    assert "320" in answer.json()["error"]["message"]
    assert "319" in answer.json()["error"]["message"]
    body["n"] = 1
    assert httpx.post(f"{address}/v1/completions", json=body, timeout=60).status_code == 200


# ---- fill in the middle ----


def vocabulary(control: Sequence[str]) -> ToyTokenizer:
    """Every byte, and from 258 on these control tokens."""
    pieces = [b"<s>", b"</s>", *(bytes([code]) for code in range(256)), *(b"" for _ in control)]
    named = {258 + i: name for i, name in enumerate(control)}
    return ToyTokenizer(pieces, control={0: "<s>", 1: "</s>", **named}, bos=0, eos=1, add_bos=True)


class Coder:
    """A server whose model has these control tokens."""

    def __init__(self, names: Sequence[str], metadata: dict[str, str] | None = None, name: str = "coder") -> None:
        self.tokenizer = vocabulary(names)
        self._facts: dict[str, Any] = {"name": name, "metadata": metadata or {}}
        self.engine: ToyEngine | None = None

    def _load(self, spec: LoadSpec, progress: Progress) -> toy.ToyLLM:
        self.engine = engine = ToyEngine.random(
            3, n_vocab=self.tokenizer.n_vocab, tokenizer=self.tokenizer, n_ctx=512, n_slots=2, n_batch=256
        )
        engine.info = dataclasses.replace(engine.info, **self._facts)
        return toy.ToyLLM(engine)

    @contextlib.contextmanager
    def client(self) -> Iterator[openai.OpenAI]:
        services = Services(Runtime(self._load), toy.ToyShelf(), default_model="toy")
        with toy.serving(services) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
            yield client

    def held(self) -> list[tuple[int, ...]]:
        """What its slots have read."""
        assert self.engine is not None
        return [self.engine.read(slot) for slot in range(2)]


@pytest.fixture(
    params=[
        ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ]
)
def family(request: pytest.FixtureRequest) -> Iterator[tuple[Coder, openai.OpenAI, tuple[str, str, str]]]:
    coder = Coder(request.param)
    with coder.client() as client:
        yield coder, client, request.param


def test_a_suffix_is_filled_in_before(family: tuple[Coder, openai.OpenAI, tuple[str, str, str]]) -> None:
    coder, client, (pre, suf, mid) = family
    before, after = f"def f(a):{mid}\n", f" return {pre}"  # what looks like a control token in somebody's code is code
    tokens = [coder.tokenizer.bos, 258, *spelt(before), 259, *spelt(after), 260]
    whole = client.completions.create(model="toy", prompt=before, suffix=after, max_tokens=9, seed=1)
    assert whole.usage.prompt_tokens == len(tokens)
    by_token = client.completions.create(model="toy", prompt=tokens, max_tokens=9, seed=1)
    assert by_token.choices[0].text == whole.choices[0].text
    raw = client.completions.create(model="toy", prompt=f"{pre}def f{suf} 1{mid}", max_tokens=9, seed=1)  # an editor's
    own = client.completions.create(model="toy", prompt="def f", suffix=" 1", max_tokens=9, seed=1)
    assert raw.choices[0].text == own.choices[0].text
    streamed = client.completions.create(
        model="toy", prompt="def f", suffix=" 1", max_tokens=9, seed=1, stream=True, echo=True
    )
    assert "".join(chunk.choices[0].text for chunk in streamed) == "def f" + own.choices[0].text
    no_suffix = client.completions.create(model="toy", prompt="def f", suffix="", max_tokens=9, seed=1)
    assert no_suffix.usage.prompt_tokens == 1 + len(spelt("def f"))


def spelt(text: str) -> list[int]:
    return [2 + byte for byte in text.encode()]


@pytest.mark.parametrize(
    ("names", "metadata", "name", "right"),
    [
        (("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"), {}, "seed", "SPM"),
        (("[PREFIX]", "[SUFFIX]", "[MIDDLE]"), {}, "codestral", "SP"),
        (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), {}, "Mellum 4b Base", "SPM"),
        (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), {}, "starcoder2", "PSM"),
        (("<a>", "<b>", "<c>"), {"fim_pre": "260", "fim_suf": "258", "fim_mid": "259"}, "own names", "ids"),
        (("<a>", "<b>", "<c>"), {"prefix": "258", "suffix": "259", "middle": "260"}, "an old file", "PSM"),
    ],
)
def test_the_order_is_the_familys(names: Sequence[str], metadata: dict[str, str], name: str, right: str) -> None:
    coder = Coder(names, {f"tokenizer.ggml.{key}_token_id": value for key, value in metadata.items()}, name)
    b, a = spelt("bb"), spelt("aa")
    wanted = {
        "PSM": [0, 258, *b, 259, *a, 260],
        "SPM": [0, 259, *a, 258, *b, 260],
        "SP": [0, 259, *a, 258, *b],
        "ids": [0, 260, *b, 258, *a, 259],
    }[right]
    with coder.client() as client:
        text = client.completions.create(model="toy", prompt="bb", suffix="aa", max_tokens=2, seed=1).choices[0].text
        assert tuple(wanted) in [held[: len(wanted)] for held in coder.held()]
        by_token = client.completions.create(model="toy", prompt=b, suffix="aa", max_tokens=2, seed=1)
        assert by_token.choices[0].text == text


def test_a_model_that_cannot_fill_in_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        complete(client, "def add(a, b):\n    return ", suffix="\n\nprint(add(1, 2))")
    assert refused.value.param == "suffix"
    assert refused.value.code == "no_infill"
    assert "toy" in refused.value.message
    with pytest.raises(openai.BadRequestError) as refused:
        complete(client, suffix="a", echo=True, logprobs=1)
    assert refused.value.param == "suffix"


def test_chat_log_probabilities_are_openais(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="toy",
        messages=[{"role": "user", "content": "a"}],
        max_tokens=30,
        seed=4,
        temperature=1.0,
        logprobs=True,
        top_logprobs=4,
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    for token in logprobs.content:
        type(token).model_validate(token.model_dump(), strict=True)  # the client itself checks nothing
        assert token.bytes is not None
        assert token.token == bytes(token.bytes).decode("utf-8", "replace")
        assert [a.logprob >= b.logprob for a, b in itertools.pairwise(token.top_logprobs)] == [True] * 3
        assert token.logprob <= token.top_logprobs[0].logprob
    said = b"".join(bytes(token.bytes or ()) for token in logprobs.content).decode("utf-8", "replace")
    assert said == answer.choices[0].message.content  # the end token is none of OpenAI's chat
