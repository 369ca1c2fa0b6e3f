"""A model's tokenizer over HTTP, in the forms of vLLM and llama-server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from foredraft.engines.llamacpp.tokenizer import LlamaTokenizer
from foredraft.engines.toy import ToyTokenizer
from foredraft.pair.tokens import spelt
from foredraft.server.context import ServerSettings
from tests.server import toy

TEXT = "the cat é</s>"
TOKENIZER = ToyTokenizer.of_size(toy.N_VOCAB)


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


def test_tokens_of_a_text(http: httpx.Client) -> None:
    plain = TOKENIZER.encode(TEXT, add_special=False)
    vllm = http.post("/tokenize", json={"prompt": TEXT, "add_special_tokens": False}).json()
    assert vllm == {"count": len(plain), "max_model_len": 4096, "tokens": plain, "token_strs": None}
    begun = http.post("/tokenize", json={"prompt": TEXT, "return_token_strs": True, "model": "toy"}).json()
    assert begun["tokens"] == [TOKENIZER.bos, *plain]
    assert begun["token_strs"][0] == "<s>"
    assert http.post("/tokenize", json={"content": TEXT}).json()["tokens"] == plain
    spelt_out = http.post("/tokenize", json={"content": TEXT, "parse_special": False, "add_special": True}).json()
    assert spelt_out["tokens"] == TOKENIZER.encode(TEXT, parse_special=False)
    assert http.post("/v1/tokenize", json={"content": TEXT}).json() == {"tokens": plain}


def test_tokens_of_a_conversation_are_what_an_answer_reads(http: httpx.Client) -> None:
    messages = [{"role": "user", "content": "a cat"}]
    counted = http.post("/tokenize", json={"messages": messages}).json()
    asked = {"model": "toy", "messages": messages, "max_tokens": 1}
    assert counted["count"] == http.post("/v1/chat/completions", json=asked).json()["usage"]["prompt_tokens"]


def test_tokens_become_their_text_again(http: httpx.Client) -> None:
    tokens = TOKENIZER.encode(TEXT)
    said = http.post("/detokenize", json={"tokens": tokens}).json()
    assert said == {"prompt": f"<s>{TEXT}", "content": f"<s>{TEXT}"}
    wrong = http.post("/detokenize", json={"tokens": [2, toy.N_VOCAB]})
    assert wrong.status_code == 400
    assert wrong.json()["error"]["param"] == "tokens"


def test_the_tokenizers_facts(http: httpx.Client) -> None:
    facts = http.get("/tokenizer_info").json()
    assert (facts["bos_token"], facts["eos_token"], facts["add_bos_token"]) == ("<s>", "</s>", True)
    assert facts["chat_template"] == toy.CHATML
    assert facts["model_max_length"] == 4096
    assert http.get("/tokenizer_info", params={"model": "nobody"}).status_code == 404


def test_web_pages_of_others_may_not_ask(http: httpx.Client) -> None:
    for method, path in (("GET", "/tokenizer_info"), ("POST", "/tokenize"), ("POST", "/detokenize")):
        answer = http.request(method, path, headers={"Origin": "https://example.com"})
        assert answer.status_code == 403


def test_programs_need_not_open_the_apps_door() -> None:
    with toy.serving(toy.services(ServerSettings(app_secret=b"known to this user"))) as address:
        assert httpx.get(f"{address}/", headers={"accept": "text/html"}, timeout=60).status_code == 403
        assert httpx.get(f"{address}/tokenizer_info", timeout=60).status_code == 200
        assert httpx.post(f"{address}/tokenize", json={"prompt": "a"}, timeout=60).status_code == 200


def test_a_real_vocabulary_there_and_back(chat_pair: tuple[Path, Path]) -> None:
    texts = ("Hello, world", " a space first", "日本語 text", "<|user|>\nHi<|end|>", "")
    with LlamaTokenizer.from_file(chat_pair[0]) as tokenizer:
        for text in texts:
            tokens = tokenizer.encode(text, add_special=False)
            assert spelt(tokenizer, tokens) == text


@pytest.mark.parametrize(("text", "tokens"), [("Hi", [3, 5]), (" Hi", [3, 3, 5])])
def test_a_space_that_a_tokenizer_puts_in_front_is_not_the_texts(text: str, tokens: list[int]) -> None:
    class Spm(ToyTokenizer):
        kind = "spm"

        def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
            return super().encode(f" {text}", add_special=add_special, parse_special=parse_special)

    tokenizer = Spm([b"", b"", b"", b" ", b"x", b"Hi"])
    assert tokenizer.encode(text, add_special=False) == tokens
    assert spelt(tokenizer, tokens) == text


def test_what_does_not_fit_is_counted_for_those_that_will_shorten_it(http: httpx.Client) -> None:
    """Anthropic's clients ask before they send; both what is read and too long, and what no context could hold."""

    def counted(text: str) -> httpx.Response:
        body = {"model": "toy", "messages": [{"role": "user", "content": text}]}
        return http.post("/v1/messages/count_tokens", json=body)

    around = counted("a").json()["input_tokens"] - 1
    for size in (5_000, 200_000):  # the toy's context has 4,096 tokens, and its tokens have a byte each
        assert counted("a" * size).json()["input_tokens"] == around + size
    refused = http.post("/v1/messages", json={"messages": [{"role": "user", "content": "a" * 5_000}], "max_tokens": 1})
    assert "prompt is too long" in refused.json()["error"]["message"]
