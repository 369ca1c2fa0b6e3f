"""LM Studio's SDK for JavaScript, unmodified, against a server with toy models. What it checks is in `lmstudio.cjs`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foredraft.server.context import ServerSettings
from tests.clients.conftest import Node
from tests.server import toy

VERSIONS = ["lmstudio-1.5", "lmstudio-2.0"]
TOKEN = "sk-lm-abcd1234:abcdefghij0123456789"


@pytest.fixture(scope="module", params=VERSIONS)
def got(request: pytest.FixtureRequest, node: Node) -> Any:
    with toy.serving(toy.services(ServerSettings(log_prompts=True))) as address:
        said = node(request.param, "lmstudio.cjs", address.replace("http", "ws"))
    return {"name": request.param} | json.loads(said.splitlines()[-1])


def counted(answer: Any, *, drafted: bool) -> int:
    return sum(one["tokensCount"] for one in answer["fragments"] if not drafted or one["containsDrafted"])


def test_every_message_could_be_read(got: Any) -> None:
    complaints = got["complaints"]
    if got["name"] == "lmstudio-1.5":  # of the log it knows prompts only
        complaints = [one for one in complaints if "streamLogs" not in one and "communication warnings" not in one]
    assert complaints == []


def test_models_are_listed_loaded_and_described(got: Any) -> None:
    assert got["downloaded"] == [
        ["llm", "toy"], ["llm", "toy-small"], ["llm", "broken"], ["embedding", "toy-embed"]
    ]  # fmt: skip
    assert got["loadedBefore"] == 0
    assert got["progress"] == sorted(got["progress"])
    assert got["progress"][-1] == 1
    assert (got["identifier"], got["info"]["modelKey"], got["context"]) == ("toy", "toy", 4096)
    assert got["second"] == ["mine", 512]
    assert got["loaded"] == ["toy", "mine"]
    assert "already exists" in got["taken"]


def test_texts_are_counted_and_rendered(got: Any) -> None:
    assert got["count"] == len(got["tokens"]) == 2
    assert got["severalTokens"] == [[3], [14]]
    assert got["prompt"] == "[user]Hi\n[assistant]"
    assert "File: note.txt" in got["withFile"]
    assert "The word is w7." in got["withFile"]


def test_an_answer_is_the_same_with_and_without_a_draft(got: Any) -> None:
    assert got["respond"]["content"] == got["plain"]["content"] == got["drafted"]["content"] != ""
    stats = got["drafted"]["stats"]
    assert stats["usedDraftModelKey"] == "good-draft"
    assert stats["totalDraftTokensCount"] == sum(
        stats[f"{kind}DraftTokensCount"] for kind in ("accepted", "rejected", "ignored")
    )
    assert counted(got["drafted"], drafted=True) == stats["acceptedDraftTokensCount"] > 0
    assert counted(got["drafted"], drafted=False) == stats["predictedTokensCount"] == 30
    assert counted(got["plain"], drafted=True) == 0
    assert "usedDraftModelKey" not in got["plain"]["stats"]
    assert 'Cannot find model "nobody"' in got["unknownDraft"]


def test_an_answer_is_streamed(got: Any) -> None:
    answer = got["respond"]
    assert "".join(one["content"] for one in answer["fragments"]) == answer["content"]
    assert got["promptProgress"][-1] == 1
    assert got["first"] == 1
    assert answer["model"] == "toy"
    assert answer["stats"]["stopReason"] == "maxPredictedTokensReached"
    assert got["complete"]["content"].startswith(got["stopped"]["content"])
    assert "w" not in got["stopped"]["content"]
    assert got["stopped"]["stats"]["stopReason"] == "stopStringFound"
    assert got["stopped"]["stats"].get("stopString", "w") == "w", "1.5 does not know it"
    assert got["cancelled"] == "userStopped"
    assert set(json.loads(got["structured"]["content"])) == {"ok"}


def test_tools_are_called(got: Any) -> None:
    assert got["asked"] == [[1, 2]]
    assert got["messages"] == 3, "the call, what came of it, the answer"


def test_what_is_not_there_is_said(got: Any) -> None:
    assert "already been unloaded" in got["gone"]
    assert '"nobody"' in got["notThere"]
    assert "toy-small" in got["notLoaded"]
    assert '"toy"' in got["unloadTwice"]


def test_texts_are_embedded(got: Any) -> None:
    assert sum(number**2 for number in got["vector"]) == pytest.approx(1)
    assert got["vectors"] == 300, "more at once than the queue takes"
    assert got["embedContext"] == 700


def test_the_log_is_streamed(got: Any) -> None:
    assert got["logs"][0]["modelIdentifier"] == "toy"
    assert "Hi" in got["logs"][0]["input"]


@pytest.mark.parametrize(
    ("name", "key", "options", "allowed"),
    [
        ("lmstudio-2.0", TOKEN, {"apiToken": TOKEN}, True),
        ("lmstudio-2.0", TOKEN, {"apiToken": TOKEN[:-1] + "x"}, False),
        ("lmstudio-2.0", "secret", {}, False),
        ("lmstudio-1.5", "secret", {"clientPasskey": "secret"}, True),
        ("lmstudio-1.5", "secret", {"clientPasskey": "another"}, False),
    ],
)
def test_the_key_is_asked_for(node: Node, name: str, key: str, options: dict[str, str], allowed: bool) -> None:
    with toy.serving(toy.services(ServerSettings(api_key=key))) as address:
        said = json.loads(node(name, "lmstudio_key.cjs", address.replace("http", "ws"), json.dumps(options)))
    if allowed:
        assert said == {"models": 4}
    else:
        assert "refused" in said
