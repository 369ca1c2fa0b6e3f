"""The official `openai` package against the server."""

from __future__ import annotations

import httpx
import openai
import pytest

ASK = [{"role": "user", "content": "Say something."}]


def ask(client: openai.OpenAI, **more):
    more.setdefault("max_tokens", 40)
    more.setdefault("seed", 1)
    return client.chat.completions.create(model=more.pop("model", "toy"), messages=more.pop("messages", ASK), **more)


def test_an_answer_carries_its_draft_statistics(client: openai.OpenAI) -> None:
    answer = ask(client)
    choice = answer.choices[0]
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    stats, timings = answer.stats, answer.timings
    assert stats["draft_model"] == "toy-draft"
    counts = [stats[f"{kind}_draft_tokens_count"] for kind in ("total", "accepted", "rejected", "ignored")]
    assert counts[0] == sum(counts[1:]) > 0
    assert stats["speculation"]["status"] == "active"
    assert timings["draft_n"] == counts[0]
    assert timings["draft_n_accepted"] == counts[1]
    assert timings["predicted_n"] == answer.usage.completion_tokens
    assert answer.usage.completion_tokens_details.accepted_prediction_tokens == counts[1]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_text_is_the_same_with_any_draft_and_without(client: openai.OpenAI) -> None:
    texts = {
        ask(client, extra_body=body).choices[0].message.content
        for body in (
            {},
            {"draft_model": "off"},
            {"draft_model": "bad-draft"},
            {"draft_model": "auto", "speculative": {"max_draft": 1}},
            {"draft_model": "good-draft", "speculative": {"p_min": 0.5}},
            {"speculative": {"enabled": False}},
        )
    }
    assert len(texts) == 1


def test_streamed_pieces_make_the_same_answer(client: openai.OpenAI) -> None:
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    last = chunks[-2]
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.stats["total_draft_tokens_count"] > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_draft_off_says_so(client: openai.OpenAI) -> None:
    stats = ask(client, extra_body={"draft_model": "off"}).stats
    assert stats["speculation"]["status"] == "off"
    assert stats["speculation"]["reason"]
    assert "draft_model" not in stats
    assert "total_draft_tokens_count" not in stats


def test_a_draft_that_does_not_fit_is_left_off_and_says_why(client: openai.OpenAI) -> None:
    stats = ask(client, extra_body={"draft_model": "other-words"}).stats
    assert stats["speculation"]["status"] == "unavailable"
    assert "vocabulary" in stats["speculation"]["reason"]
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, extra_body={"draft_model": "other-words", "draft_required": True})
    assert refused.value.param == "draft_model"
    ask(client, extra_body={"draft_model": "good-draft"})


def test_an_unknown_draft_is_left_off_and_says_why(client: openai.OpenAI) -> None:
    stats = ask(client, extra_body={"draft_model": "nobody"}).stats
    assert stats["speculation"]["status"] == "unavailable"
    assert "nobody" in stats["speculation"]["reason"]
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, extra_body={"draft_model": "nobody", "draft_required": True})
    assert refused.value.param == "draft_model"


def test_an_unknown_draft_is_left_off_when_the_model_is_loaded_for_the_request_too(
    client: openai.OpenAI, address: str
) -> None:
    httpx.post(f"{address}/api/foredraft/unload", json={"model": "toy"}, timeout=60)
    stats = ask(client, extra_body={"draft_model": "nobody"}).stats
    assert "nobody" in stats["speculation"]["reason"]
    httpx.post(f"{address}/api/foredraft/unload", json={"model": "toy"}, timeout=60)
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, extra_body={"draft_model": "nobody", "draft_required": True})
    assert refused.value.param == "draft_model"


def test_explain_gives_rounds_and_each_tokens_origin(client: openai.OpenAI) -> None:
    body = {"speculative": {"explain": True}}
    ask(client, extra_body=body)  # with its prompt in the cache an answer guesses from its first round on
    answer = ask(client, extra_body=body)
    explain = answer.choices[0].explain
    assert explain["rounds"] > 0
    assert explain["tokens"] == answer.usage.completion_tokens
    assert "".join(origin["text"] for origin in explain["origins"]) == answer.choices[0].message.content
    assert {origin["origin"] for origin in explain["origins"]} <= {"accepted", "corrected", "bonus", "main"}
    chunks = list(ask(client, extra_body=body, stream=True))
    told = [origin for chunk in chunks for origin in (getattr(chunk, "explain", None) or {}).get("origins", [])]
    assert told == explain["origins"]
    assert chunks[-1].explain["rounds"] == explain["rounds"]


def test_logprobs_are_the_same_with_and_without_a_draft(client: openai.OpenAI) -> None:
    asked = {"logprobs": True, "top_logprobs": 3}
    plain = ask(client, extra_body={"draft_model": "off"}, **asked).choices[0].logprobs
    drafted = ask(client, extra_body={"draft_model": "auto"}, **asked).choices[0].logprobs
    assert plain == drafted
    assert len(plain.content[0].top_logprobs) == 3
    streamed = [
        entry
        for chunk in ask(client, stream=True, **asked)
        if chunk.choices and chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content
    ]
    assert streamed == plain.content


def test_several_choices_with_seeds_of_their_own(client: openai.OpenAI) -> None:
    answer = ask(client, n=3, seed=5)
    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert texts == [ask(client, seed=5 + i).choices[0].message.content for i in range(3)]
    streamed = ["", "", ""]
    for chunk in ask(client, n=3, seed=5, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_stop_penalties_and_bias(client: openai.OpenAI) -> None:
    text = ask(client).choices[0].message.content
    stop = text[len(text) // 2 :][:2]
    cut = ask(client, stop=[stop])
    assert cut.choices[0].message.content == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    assert cut.stats["stop_reason"] == "stopStringFound"
    other = ask(client, presence_penalty=2.0, frequency_penalty=2.0).choices[0].message.content
    assert other != text
    only = ask(client, logit_bias={"3": 100}, max_tokens=5).choices[0].message.content
    assert only == "aaaaa"
