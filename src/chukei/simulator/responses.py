"""The Responses API: reading the request, and composing its answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from chukei.simulator.answers import Limits, compose
from chukei.simulator.calls import Call
from chukei.simulator.chat import JSON_OBJECT, read_choice, read_function
from chukei.simulator.chat_stream import StreamOptions
from chukei.simulator.errors import (
    conversation_not_found,
    gateway_error,
    invalid_value,
    missing_parameter,
    response_not_found,
)
from chukei.simulator.prompts import Prompt, conversation, fields_of
from chukei.simulator.response_stream import Turn
from chukei.simulator.steps import Reply, stream, whole

# Azure answers older dated versions with this hint.
SINCE = "2025-03-01"
LEAST_OUTPUT_TOKENS = 16  # the API refuses less


class ResponsesRequest(msgspec.Struct):
    """The body of a Responses request; other fields are accepted and ignored."""

    input: str | list[dict[str, Any]]
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    user: str | None = None


def responses(call: Call) -> Reply:
    """Answer a Responses request."""
    if call.api_version is not None and call.api_version[:10] < SINCE:
        message = "Azure OpenAI Responses API is enabled only for api-version 2025-03-01-preview and later"
        raise gateway_error(400, message, "BadRequest")
    request = call.read(ResponsesRequest)
    if request.max_output_tokens is not None and request.max_output_tokens < LEAST_OUTPUT_TOKENS:
        message = (
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {LEAST_OUTPUT_TOKENS},"
            f" but got {request.max_output_tokens} instead."
        )
        raise invalid_value(message, "max_output_tokens", "integer_below_min_value")
    _check_state(call, request)
    prompt = _prompt(request)
    voice = call.voice(prompt.text, fixed=request.temperature == 0)
    answer = compose(call, prompt, Limits(request.max_output_tokens), voice)
    turn = Turn(call, prompt, answer, _blank(call, request), request.stream_options or StreamOptions())
    if request.store is not False:
        call.stored.keep(turn.response["id"], call.deployment)
    if request.stream:
        return stream(turn.events(), prompt_tokens=prompt.tokens)
    for _ in turn.events():
        pass  # what the events would have built up is the answer
    return whole(
        msgspec.json.encode(turn.response),
        wait=call.pace.total(answer.tokens),
        tokens=answer.tokens,
        prompt_tokens=prompt.tokens,
    )


def _check_state(call: Call, request: ResponsesRequest) -> None:
    """Refuse what continues something that is not here."""
    previous, named = request.previous_response_id, request.conversation
    conversation = str(named.get("id", "")) if isinstance(named, dict) else named
    if previous is not None and not call.stored.has_response(previous, call.deployment):
        raise response_not_found(previous)
    if conversation is not None and not call.stored.has_conversation(conversation):
        raise conversation_not_found(conversation)


def _prompt(request: ResponsesRequest) -> Prompt:
    items: list[tuple[str, Any]] = [("system", request.instructions)] if request.instructions else []
    if isinstance(request.input, str):
        items.append(("user", request.input))
    else:
        items += [_message(at, item) for at, item in enumerate(request.input)]
    functions = [tool for tool in request.tools or [] if tool.get("type") == "function"]
    if not all(isinstance(function.get("name"), str) for function in functions):
        raise missing_parameter("tools[0].name")
    tools = tuple(read_function(function) for function in functions)
    choice, named = read_choice(request.tool_choice, tools) if tools else ("none", None)
    return replace(
        conversation(items),
        tools=tools,
        tool_choice=choice,
        tool_named=named,
        parallel=request.parallel_tool_calls is not False,
        schema=_schema(request),
    )


def _message(at: int, item: dict[str, Any]) -> tuple[str, Any]:
    match item.get("type", "message"):
        case "message":
            if "role" not in item or "content" not in item:
                raise missing_parameter(f"input[{at}].{'content' if 'role' in item else 'role'}")
            return str(item["role"]), item["content"]
        case "function_call_output":
            return "tool", item.get("output")
        case _:
            return "assistant", None


def _schema(request: ResponsesRequest) -> dict[str, Any] | None:
    wanted = fields_of((request.text or {}).get("format"))
    if wanted.get("type") == "json_object":
        return JSON_OBJECT
    if wanted.get("type") != "json_schema":
        return None
    if not isinstance(wanted.get("schema"), dict):
        raise missing_parameter("text.format.schema")
    schema: dict[str, Any] = wanted["schema"]
    return schema


def _blank(call: Call, request: ResponsesRequest) -> dict[str, Any]:
    """Return a response object as it is at the start, fields in the order of the recordings."""
    return {
        "id": call.hex_id("resp_"),
        "object": "response",
        "created_at": call.created,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "content_filters": None,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "model": call.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {
            "effort": (request.reasoning or {}).get("effort", "medium" if call.reasoning else "none"),
            "summary": (request.reasoning or {}).get("summary"),
        },
        "safety_identifier": None,
        "service_tier": "auto",
        "store": request.store is not False,
        "temperature": 1 if request.temperature is None else request.temperature,
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(request.text or {})},
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "top_logprobs": 0,
        "top_p": 1 if request.top_p is None else request.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
        "metadata": request.metadata or {},
    }
