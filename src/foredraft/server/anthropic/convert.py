"""Anthropic's messages to a question: the conversation in the form that chat templates know."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.warnings import note, noted
from foredraft.server.anthropic.schemas import Block, Conversation, Message, MessageRequest, Tool
from foredraft.server.errors import RequestError
from foredraft.server.schemas import effort, idle_seconds

BILLING = "x-anthropic-billing-header:"
"""How Claude Code begins a line of its system prompt that is not for the model. It changes from version to version, so
with it nothing behind it would be found in the prompt cache."""
_UNREADABLE = {"image": "Images", "container_upload": "Files of a container"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def question_of(body: Conversation) -> GenerationRequest:
    """What a request asks for; a count of tokens asks the same, without the fields of an answer."""
    warnings = noted()
    for sentence in _left_out(body):
        note(sentence, warnings)
    tools, choice, several = _tools(body, warnings)
    schema = _schema(body)
    if schema is not None and choice not in ("auto", "none"):
        raise RequestError("A forced tool call has the form of the tool.", param="output_config.format")
    answering: dict[str, Any] = {}
    if isinstance(body, MessageRequest):
        answering = {
            "sampling": body.sampling(),
            "max_tokens": body.max_tokens,
            "stop": tuple(text for text in body.stop_sequences or () if text),
            "ttl_s": idle_seconds(body.ttl, None),
        }
    return GenerationRequest(
        model=body.model,
        messages=conversation(body, warnings),
        speculation=body.speculative.params(),
        draft=body.draft_model or "auto",
        draft_required=body.draft_required,
        schema=schema,
        tools=tools,
        tool_choice=choice,
        several_calls=several,
        template_variables=_variables(body),
        warnings=warnings,
        **answering,
    )


def _left_out(body: Conversation) -> Iterator[str]:
    for name in ("mcp_servers", "container", "context_management"):
        if getattr(body, name):
            yield f"{name}: left out, it is Anthropic's servers' own."
    if body.thinking is not None and body.thinking.budget_tokens is not None and body.thinking.type != "disabled":
        yield "thinking.budget_tokens: left out, thinking ends when the model ends it, or with max_tokens."


def _variables(body: Conversation) -> dict[str, Any]:
    """Variables of the chat template. Who does not ask for thinking gets none, where the model can do without."""
    wanted = body.output_config.effort if body.output_config is not None else None
    thinking = body.thinking is not None and body.thinking.type != "disabled"
    return {**effort(wanted), "enable_thinking": thinking}


def _schema(body: Conversation) -> Mapping[str, Any] | bool | None:
    form = (body.output_config.format if body.output_config is not None else None) or body.output_format
    return form.schema_ if form is not None else None


def _tools(body: Conversation, warnings: list[str]) -> tuple[list[dict[str, Any]], str, bool]:
    """(the tools in OpenAI's form, which must be called, whether several may)."""
    tools: list[dict[str, Any]] = []
    for i, tool in enumerate(body.tools or ()):
        if tool.type not in (None, "custom"):
            note(f"tools.{i}: left out, {tool.type} is run by Anthropic's servers.", warnings)
        elif not tool.name:
            raise RequestError(f"tools.{i}.name is missing.", param=f"tools.{i}.name")
        else:
            tools.append(_tool(tool))
    given = body.tool_choice
    if given is None:
        return tools, "auto", True
    choice = given.name if given.type == "tool" else _CHOICES[given.type]
    if given.type == "any" and not tools:
        raise RequestError("tool_choice is any, but there are no tools.", param="tool_choice")
    if given.type == "tool" and choice not in [tool["function"]["name"] for tool in tools]:
        raise RequestError(f"There is no tool {choice!r}.", param="tool_choice.name")
    return tools, choice, not given.disable_parallel_tool_use


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.input_schema is not None:
        function["parameters"] = tool.input_schema
    return {"type": "function", "function": function}


# ---- the conversation ----


def conversation(body: Conversation, warnings: list[str]) -> list[dict[str, Any]]:
    """The messages, with the system prompt first. Neighbours of one role are one message."""
    system = _system(body.system)
    groups: list[list[dict[str, Any]]] = [[{"role": "system", "content": system}]] if system else []
    for i, message in enumerate(body.messages):
        for one in _messages(message, f"messages.{i}.content", warnings):
            if groups and groups[-1][0]["role"] == one["role"] != "tool":
                groups[-1].append(one)
            else:
                groups.append([one])
    return [_joined(group) for group in groups]


def _system(system: str | Sequence[Block] | None) -> str:
    blocks = [system] if isinstance(system, str) else [block.text or "" for block in system or ()]
    return "\n\n".join(text for text in map(_without_billing, blocks) if text)


def _without_billing(text: str) -> str:
    return text.partition("\n")[2].lstrip("\n") if text.startswith(BILLING) else text


def _joined(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Messages of one role as one."""
    if len(group) == 1:
        return group[0]
    between = "" if group[0]["role"] == "assistant" else "\n"
    joined = {"role": group[0]["role"], "content": between.join(one["content"] for one in group if one["content"])}
    if calls := [call for one in group for call in one.get("tool_calls", ())]:
        joined["tool_calls"] = calls
    if thoughts := [one["reasoning_content"] for one in group if "reasoning_content" in one]:
        joined["reasoning_content"] = "".join(thoughts)
    return joined


def _messages(message: Message, place: str, warnings: list[str]) -> Iterator[dict[str, Any]]:
    """One message: results of tools are messages of their own, before what the user says beside them."""
    blocks = [Block(type="text", text=message.content)] if isinstance(message.content, str) else message.content
    if message.role == "assistant":
        yield _assistant(blocks, place, warnings)
        return
    texts, results = [], 0
    for i, block in enumerate(blocks):
        if block.type == "tool_result":
            results += 1
            content = "\n".join(_texts(block.content, f"{place}.{i}.content", warnings))
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}
        else:
            texts += _texts([block], place, warnings, first=i)
    if texts or not results:
        yield {"role": message.role, "content": "\n".join(texts)}


def _assistant(blocks: Sequence[Block], place: str, warnings: list[str]) -> dict[str, Any]:
    texts, thoughts, calls = [], [], []
    for i, block in enumerate(blocks):
        if block.type == "thinking":
            thoughts.append(block.thinking or "")
        elif block.type == "tool_use":
            function = {"name": block.name, "arguments": json.dumps(block.input or {}, ensure_ascii=False)}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif block.type != "redacted_thinking":  # nobody here can read that
            texts += _texts([block], place, warnings, first=i)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return message


def _texts(content: Any, place: str, warnings: list[str], *, first: int = 0) -> list[str]:
    """The texts of some blocks. What is no text is refused, or left out aloud, by its place."""
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    texts: list[str] = []
    for i, block in enumerate(content if isinstance(content, list) else (), first):
        where = f"{place}.{i}"
        if block.type == "text":
            texts.append(block.text or "")
        elif block.type == "document":
            texts += _document(block, where)
        elif block.type == "search_result":
            texts.append("\n".join([block.title or "", *_texts(block.content, f"{where}.content", warnings)]).strip())
        elif block.type in _UNREADABLE:
            raise RequestError(f"{where}: {_UNREADABLE[block.type]} cannot be read here; only text can.", param=where)
        else:
            note(f"{where}: left out, {block.type!r} cannot be read here.", warnings)
    return texts


def _document(block: Block, where: str) -> list[str]:
    source = block.source if isinstance(block.source, dict) else {}
    title = [block.title] if block.title else []
    if source.get("type") == "text" and isinstance(source.get("data"), str):
        return [*title, source["data"]]
    if source.get("type") == "content" and isinstance(source.get("content"), str):
        return [*title, source["content"]]
    if source.get("type") == "content" and isinstance(source.get("content"), list):
        parts = [part for part in source["content"] if isinstance(part, dict)]
        if len(parts) == len(source["content"]) and all(isinstance(part.get("text"), str) for part in parts):
            return [*title, *(part["text"] for part in parts)]
    kind = source.get("media_type") or source.get("type") or "unknown"
    raise RequestError(f"{where}: A document of the kind {kind!r} cannot be read here; only text can.", param=where)
