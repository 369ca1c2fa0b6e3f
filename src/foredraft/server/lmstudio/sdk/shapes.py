"""What is in the messages: models, answers, searches. Every field that any of the libraries requires is required."""

from __future__ import annotations

from typing import Any, Literal

from foredraft.server.lmstudio.sdk.wire import Problem, Said

# ---- configuration ----


class ConfigField(Said):
    key: str
    value: Any = None


class Config(Said):
    """Settings by dotted keys, such as "llm.load.contextLength"."""

    fields: list[ConfigField]

    @classmethod
    def of(cls, values: dict[str, Any]) -> Config:
        return cls(fields=[ConfigField(key=key, value=value) for key, value in values.items()])


# ---- models ----


class Quantisation(Said):
    name: str
    bits: int


class Model(Said):
    """A model on the shelf. Sizes in bytes, lengths in tokens."""

    type: Literal["llm", "embedding"]
    model_key: str
    format: Literal["gguf"]
    display_name: str
    publisher: str
    path: str
    size_bytes: int
    indexed_model_identifier: str
    device_identifier: None
    params_string: str | None = None
    architecture: str | None = None
    quantization: Quantisation | None = None
    vision: bool | None = None
    """Of models that write only; so are the next."""
    trained_for_tool_use: bool | None = None
    max_context_length: int


class Instance(Model):
    """A loaded model. Times in milliseconds."""

    identifier: str
    instance_reference: str
    """Another one for each load."""
    ttl_ms: int | None
    last_used_time: int | None
    context_length: int


class ProcessingState(Said):
    status: Literal["idle", "processingPrompt", "generating", "computingEmbedding"]
    queued: int


class Memory(Said):
    """Bytes."""

    confidence: Literal["high", "low"]
    model_vram_bytes: int
    context_vram_bytes: int
    total_vram_bytes: int
    model_bytes: int
    context_bytes: int
    total_bytes: int


class Usage(Said):
    memory: Memory
    passes_guardrails: bool


# ---- loading ----


class AlreadyLoaded(Said):
    type: Literal["alreadyLoaded"] = "alreadyLoaded"
    info: Instance


class StartLoading(Said):
    type: Literal["startLoading"] = "startLoading"
    identifier: str
    info: Model


class LoadProgress(Said):
    """From 0 to 1; never backwards."""

    type: Literal["loadProgress", "progress"]
    progress: float


class Resolved(Said):
    type: Literal["resolved"] = "resolved"
    info: Model


class Loaded(Said):
    type: Literal["loadSuccess", "success"]
    info: Instance


# ---- texts ----


class Tokens(Said):
    tokens: list[int]


class TokenCount(Said):
    token_count: int


class Formatted(Said):
    formatted: str


class Embedding(Said):
    embedding: list[float]


# ---- answers ----


class PromptDetails(Said):
    cached_token_count: int
    total_prompt_token_count: int
    processed_prompt_token_count: int
    unprocessed_prompt_token_count: int


class PromptProgress(Said):
    type: Literal["promptProcessingProgress"] = "promptProcessingProgress"
    progress: float
    details: PromptDetails


class Candidate(Said):
    text: str
    id: int
    log_prob: float


class Token(Said):
    text: str
    id: int
    log_prob: float | None = None
    candidates: list[Candidate] | None = None


class Fragment(Said):
    """Some text of the answer, of tokens that were all drafted and accepted, or none of them."""

    content: str
    tokens_count: int
    contains_drafted: bool
    reasoning_type: Literal["none", "reasoning", "reasoningStartTag", "reasoningEndTag"]
    is_structural: bool
    tokens: list[Token] | None = None


class NewFragment(Said):
    type: Literal["fragment"] = "fragment"
    fragment: Fragment


class CallRequest(Said):
    id: str | None = None
    type: Literal["function"] = "function"
    name: str
    arguments: dict[str, Any]


class CallStart(Said):
    type: Literal["toolCallGenerationStart"] = "toolCallGenerationStart"
    tool_call_id: str | None = None


class CallName(Said):
    type: Literal["toolCallGenerationNameReceived"] = "toolCallGenerationNameReceived"
    name: str


class CallArgument(Said):
    type: Literal["toolCallGenerationArgumentFragmentGenerated"] = "toolCallGenerationArgumentFragmentGenerated"
    content: str


class CallEnd(Said):
    type: Literal["toolCallGenerationEnd"] = "toolCallGenerationEnd"
    tool_call_request: CallRequest


class CallFailed(Said):
    type: Literal["toolCallGenerationFailed"] = "toolCallGenerationFailed"
    error: Problem
    raw_content: str | None = None


class Stats(Said):
    """Times in seconds. The draft's counts are there when something was guessed."""

    stop_reason: Literal[
        "userStopped",
        "modelUnloaded",
        "failed",
        "eosFound",
        "stopStringFound",
        "toolCalls",
        "maxPredictedTokensReached",
        "contextLengthReached",
    ]
    stop_string: str | None = None
    tokens_per_second: float
    time_to_first_token_sec: float
    total_time_sec: float
    prompt_tokens_count: int
    predicted_tokens_count: int
    total_tokens_count: int
    used_draft_model_key: str | None = None
    total_draft_tokens_count: int | None = None
    accepted_draft_tokens_count: int | None = None
    rejected_draft_tokens_count: int | None = None
    ignored_draft_tokens_count: int | None = None


class Success(Said):
    """The end of an answer. `warnings` is ours: what was understood leniently or left out, a sentence each."""

    type: Literal["success"] = "success"
    stats: Stats
    model_info: Instance
    load_model_config: Config
    prediction_config: Config
    warnings: list[str] | None = None


# ---- the rest ----


class Version(Said):
    version: str
    build: int


class ProcessInfo(Said):
    pid: int
    is_daemon: bool
    version: str


class Uploaded(Said):
    identifier: str
    file_type: Literal["text/plain"]
    size_bytes: int


class LogData(Said):
    """`type` decides which of the others are there."""

    type: Literal["llm.prediction.input", "llm.prediction.output", "server.log"]
    input: str | None = None
    output: str | None = None
    model_path: str | None = None
    model_identifier: str | None = None
    content: str | None = None
    level: Literal["debug", "info", "warn", "error"] | None = None


class LogEvent(Said):
    timestamp: int
    data: LogData


class NewLog(Said):
    type: Literal["log"] = "log"
    log: LogEvent


class FoundIdentifier(Said):
    type: Literal["hf"] = "hf"
    identifier: str


class Found(Said):
    name: str
    identifier: FoundIdentifier
    exact: bool | None = None


class FoundModels(Said):
    results: list[Found]


class DownloadOption(Said):
    quantization: str | None = None
    name: str
    size_bytes: int
    fit_estimation: Literal["fullGPUOffload", "partialGPUOffload", "fitWithoutGPU", "willNotFit"]
    recommended: bool | None = None
    download_identifier: str
    indexed_model_identifier: str
    compatibility_type: Literal["gguf"]


class DownloadOptions(Said):
    results: list[DownloadOption]


class DownloadUpdate(Said):
    downloaded_bytes: int
    total_bytes: int
    speed_bytes_per_second: float


class DownloadProgress(Said):
    type: Literal["downloadProgress"] = "downloadProgress"
    update: DownloadUpdate


class StartFinalizing(Said):
    type: Literal["startFinalizing"] = "startFinalizing"


class Downloaded(Said):
    type: Literal["success"] = "success"
    default_identifier: str
