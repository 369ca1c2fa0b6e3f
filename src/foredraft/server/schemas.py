"""What every dialect's requests share: how tokens are chosen, and how the draft is used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from foredraft.core.params import SamplingParams, SpeculationParams
from foredraft.requests.warnings import note
from foredraft.server import limits
from foredraft.server.errors import RequestError
from foredraft.server.fields import given, model_of
from foredraft.server.lenient import Schema, Seed

MAX_TOP_LOGPROBS = 20
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""How long to think, in the words that templates know."""


if TYPE_CHECKING:

    class _Sampling(Schema): ...

    class _Speculation(Schema): ...

else:
    _Sampling = model_of("SamplingFields", SamplingParams, left_out=True, but=frozenset({"seed", "logit_bias"}))
    _Speculation = model_of("SpeculationFields", SpeculationParams, left_out=False)


class Speculative(_Speculation):
    """How the draft is used for this request. The text does not depend on any of it."""

    explain: bool = Field(default=False, description="Add rounds, depth, sources, time saved, and each token's origin.")

    def params(self) -> SpeculationParams:
        return SpeculationParams(**given(self, SpeculationParams))


def _pairs(value: Any) -> Any:
    """llama.cpp's list of [token, number or false] as a table; false forbids a token."""
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        value = {str(token): bias for token, bias in value}
    if not isinstance(value, dict):
        return value
    return {token: -math.inf if bias is False else bias for token, bias in value.items()}


class Sampling(_Sampling):
    """How the next token is chosen. What is left out takes llama.cpp's defaults."""

    seed: Seed = Field(
        default=None, description="The same seed gives the same text. Left out, null or -1: a fresh one, reported."
    )
    logit_bias: Annotated[
        dict[str, float] | None, BeforeValidator(_pairs), limits.at_most(limits.BIAS, "logit_bias")
    ] = Field(default=None, description="Token id to a number added to its logit; also as a list of pairs.")

    def sampling(self) -> SamplingParams:
        said = given(self, SamplingParams)
        if self.seed is not None:
            said["seed"] = self.seed % 2**64  # clients send negative seeds
        if self.logit_bias is not None:
            said["logit_bias"] = dict(_bias(token, value) for token, value in self.logit_bias.items())
        return SamplingParams(**said)


def effort(wanted: str | bool | None) -> dict[str, Any]:
    """Variables of the chat template for a wish how long to think, in anybody's words."""
    if wanted is None or wanted == "":
        return {}
    word = {True: "on", False: "none", "off": "none", "disabled": "none", "enabled": "on", "default": "on"}.get(
        wanted, wanted
    )
    if word == "on":
        return {"enable_thinking": True}
    if word not in EFFORTS:
        note(f"reasoning_effort: {str(word)[:40]!r} is not known, left out.")
        return {}
    return {"reasoning_effort": word, "enable_thinking": word != "none"}


class DraftControl(Schema):
    """What LM Studio has for the draft, and more."""

    draft_model: str = Field(
        default="auto",
        description="auto, null or empty: the loaded draft; off: none; builtin: inside the model; or a model's name.",
    )
    draft_required: bool = Field(default=False, description="Refuse the request rather than answer without the draft.")
    speculative: Speculative = Speculative()


def _bias(token: str, value: float) -> tuple[int, float]:
    if not token.isdecimal() or len(token) > 9:
        hint = "/v1/tokenize gives the ids of a text."
        raise RequestError(f"logit_bias: {token!r} is not a token id.", param=f"logit_bias.{token}", hint=hint)
    if not math.isfinite(value) and value != -math.inf:
        raise RequestError("logit_bias: the value must be a finite number, or false.", param=f"logit_bias.{token}")
    return int(token), value


def idle_seconds(ttl: float | None, keep_alive: float | str | None) -> float | None:
    """Idle time before a model loaded for a request may leave: LM Studio's `ttl` (seconds) or Ollama's `keep_alive`
    (3600, "10m", "1h30m"; -1 is for ever, 0 at once). -1.0 means nothing was said, None for ever."""
    if ttl is not None:
        return _seconds(ttl, "ttl")
    if keep_alive is None or keep_alive == "":
        return -1.0
    if isinstance(keep_alive, str):
        return _spoken(keep_alive)
    return _seconds(keep_alive, "keep_alive")


def _seconds(value: float, name: str) -> float | None:
    if not math.isfinite(value):
        raise RequestError(f"{name} must be a number of seconds.", param=name)
    return None if value < 0 else float(value)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _spoken(text: str) -> float | None:
    import re

    sign = -1.0 if text.startswith("-") else 1.0
    parts = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?", text.lstrip("-"))
    if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("-"):
        raise RequestError('keep_alive must be seconds or a time such as "10m".', param="keep_alive")
    return _seconds(sign * sum(float(number) * _UNITS[unit or "s"] for number, unit in parts), "keep_alive")
