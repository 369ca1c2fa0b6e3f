"""Requests of LM Studio's /api/v1, with the draft added."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from foredraft.server import limits
from foredraft.server.lenient import Lax, Most, Number, Schema, Whole, entries
from foredraft.server.schemas import DraftControl, Sampling
from foredraft.server.sessions import Session


class InputItem(Lax):
    type: str
    content: str | None = None
    text: str | None = None
    data_url: str | None = None


class ChatRequest(Sampling, DraftControl, Session):
    model: str = ""
    input: Annotated[
        str | Annotated[list[InputItem], Field(min_length=1, fail_fast=True)],
        entries(InputItem, "input"),
        limits.at_most(limits.MESSAGES, "input"),
    ]
    system_prompt: str | None = None
    stream: bool = False
    max_output_tokens: Most = None
    reasoning: str | bool | None = None
    context_length: Annotated[Whole, Field(ge=1)] | None = None
    store: bool = Field(default=True, description="false keeps nothing, and gives no response_id.")
    previous_response_id: str | None = Field(default=None, description="The kept response that this one goes on from.")
    integrations: list[Any] | None = None
    ttl: Number | None = None


class LoadRequest(Schema):
    model: str
    context_length: Annotated[Whole, Field(ge=1, le=2**24)] | None = None
    eval_batch_size: Annotated[Whole, Field(ge=1, le=65536)] | None = None
    flash_attention: bool | None = None
    numerics: Literal["auto", "exact", "fast"] | None = Field(default=None, description="Whether texts are exact.")
    num_experts: int | None = None
    offload_kv_cache_to_gpu: bool | None = None
    echo_load_config: bool = False
    parallel: Annotated[Whole, Field(ge=1, le=256)] | None = None
    draft_model: str = Field(default="auto", description="A name, builtin, auto, or off.")
    draft_required: bool = False
    ttl: Number | None = None


class UnloadRequest(Schema):
    instance_id: str


class DownloadRequest(Schema):
    model: str
    quantization: str | None = None
