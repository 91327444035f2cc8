"""Chat completions: from the request to the events of the stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from chukei.simulator.answers import Answer, Limits, compose
from chukei.simulator.calls import Call
from chukei.simulator.chat_stream import ChatStream, StreamOptions, total_usage
from chukei.simulator.errors import ApiError, invalid_value, model_error, unknown_parameter, unrecognised_argument
from chukei.simulator.filters import BLOCKED, FULL_RESULTS, PROMPT_FILTER
from chukei.simulator.prompts import Choice, Prompt, Tool, conversation, fields_of, find_tool, text_of
from chukei.simulator.steps import Reply, sorted_json, stream, whole

# Older versions refuse stream_options and max_completion_tokens (Azure OpenAI API version lifecycle).
STREAM_OPTIONS_SINCE = "2024-09-01"
MOST_CHOICES = 128  # the API's own limit of n
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class Message(msgspec.Struct):
    """One message; only what the simulator looks at."""

    role: str
    content: str | list[Any] | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None


class ChatRequest(msgspec.Struct):
    """The body of a chat request; fields that are not here are accepted and ignored."""

    messages: list[Message]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None


def chat(call: Call) -> Reply:
    """Answer a chat request."""
    request = call.read(ChatRequest)
    _check(call, request)
    prompt = _prompt(request)
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    limits = Limits(request.max_completion_tokens or request.max_tokens, stops)
    voice = call.voice(prompt.text, fixed=request.seed is not None or request.temperature == 0)
    answers = [compose(call, prompt, limits, voice) for _ in range(request.n or 1)]
    if request.stream:
        options = request.stream_options or StreamOptions()
        return stream(ChatStream(call, options, prompt, answers).events(), prompt_tokens=prompt.tokens)
    tokens = sum(answer.tokens for answer in answers)
    return whole(
        sorted_json(_completion(call, prompt, answers)),
        wait=call.pace.total(max(answer.tokens for answer in answers)),
        tokens=tokens,
        prompt_tokens=prompt.tokens,
    )


def _check(call: Call, request: ChatRequest) -> None:
    if not request.messages:
        raise invalid_value("[] is too short - 'messages'", "messages", "empty_array")
    for at, message in enumerate(request.messages):
        if message.role not in ROLES:
            what = f"Invalid value: '{message.role}'. Supported values are: {', '.join(sorted(ROLES))}."
            raise invalid_value(what, f"messages[{at}].role")
        if message.content is None and message.role in ("user", "system", "developer", "tool"):
            where = f"messages[{at}].content"
            raise invalid_value(f"Invalid value for '{where}': expected a string, got null.", where, "invalid_type")
    if request.stream_options is not None:
        if call.api_version is not None and call.api_version[:10] < STREAM_OPTIONS_SINCE:
            raise unknown_parameter("stream_options")
        if not request.stream:
            what = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise invalid_value(what, "stream_options")
    dated = call.api_version[:10] if call.api_version is not None else None
    if request.max_completion_tokens is not None and dated is not None and dated < STREAM_OPTIONS_SINCE:
        raise unrecognised_argument("max_completion_tokens")
    if call.reasoning and request.max_tokens is not None:
        what = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise model_error(400, what, param="max_tokens", code="unsupported_parameter")
    _check_numbers(request)


def _check_numbers(request: ChatRequest) -> None:
    ranges: tuple[tuple[str, float | None, float, float], ...] = (
        ("n", request.n, 1, MOST_CHOICES),
        ("max_tokens", request.max_tokens, 1, 1_000_000),
        ("max_completion_tokens", request.max_completion_tokens, 1, 1_000_000),
        ("temperature", request.temperature, 0, 2),
        ("top_p", request.top_p, 0, 1),
    )
    for name, value, low, high in ranges:
        if value is not None and not low <= value <= high:
            raise invalid_value(f"Invalid '{name}': expected a value from {low} to {high}, but got {value}.", name)
    if isinstance(request.stop, list) and len(request.stop) > 4:
        raise invalid_value(
            "Invalid 'stop': array too long. Expected at most 4 items.", "stop", "array_above_max_length"
        )


def _prompt(request: ChatRequest) -> Prompt:
    prompt = conversation((message.role, message.content) for message in request.messages)
    tools = tuple(_tool(at, tool) for at, tool in enumerate(request.tools or []))
    choice, named = read_choice(request.tool_choice, tools)
    return replace(
        prompt,
        tools=tools,
        tool_choice=choice,
        tool_named=named,
        parallel=request.parallel_tool_calls is not False,
        schema=_schema(request),
    )


def _tool(at: int, tool: dict[str, Any]) -> Tool:
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _missing_in_tool(f"tools[{at}].function.name")
    return read_function(function)


def _missing_in_tool(param: str) -> ApiError:
    return model_error(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def read_function(function: dict[str, Any]) -> Tool:
    """Read a function's definition, the same in both APIs."""
    parameters = function.get("parameters")
    return Tool(
        name=function["name"],
        description=str(function.get("description") or ""),
        parameters=parameters if isinstance(parameters, dict) else {"type": "object"},
    )


def read_choice(choice: Any, tools: tuple[Tool, ...]) -> tuple[Choice, str | None]:
    """Read ``tool_choice``: how freely the model may choose, and the function that it must call."""
    if choice is None or choice in ("auto", "none", "required"):
        if choice is not None and not tools:
            raise invalid_value("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
        return choice or "auto", None
    if isinstance(choice, dict):
        name = (fields_of(choice.get("function")) or choice).get("name")
        if isinstance(name, str) and find_tool(tools, name) is not None:
            return "required", name
        raise invalid_value(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
    what = f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'."
    raise invalid_value(what, "tool_choice")


def _schema(request: ChatRequest) -> dict[str, Any] | None:
    wanted = request.response_format or {}
    match wanted.get("type"):
        case None | "text":
            return None
        case "json_object":
            if not any("json" in text_of(message.content).lower() for message in request.messages):
                what = "'messages' must contain the word 'json' in some form, to use 'response_format' of type"
                raise invalid_value(f"{what} 'json_object'.", "messages")
            return JSON_OBJECT
        case "json_schema":
            schema = fields_of(wanted.get("json_schema")).get("schema")
            if not isinstance(schema, dict):
                raise _missing_in_tool("response_format.json_schema.schema")
            return schema
        case other:
            raise invalid_value(f"Invalid value: '{other}'.", "response_format.type")


# What a model asked for "some JSON" answers.
JSON_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "question": {"type": "string"},
        "simulated": {"const": True},
        "items": {"type": "array", "items": {"type": "integer"}},
    },
}


def _completion(call: Call, prompt: Prompt, answers: list[Answer]) -> dict[str, Any]:
    return {
        "choices": [_choice(call, index, answer) for index, answer in enumerate(answers)],
        "created": call.created,
        "id": call.id("chatcmpl-"),
        "model": call.model,
        "object": "chat.completion",
        "prompt_filter_results": PROMPT_FILTER,
        "system_fingerprint": call.fingerprint(),
        "usage": total_usage(prompt, answers),
    }


def _choice(call: Call, index: int, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {
        "annotations": [],
        "content": None if answer.calls else answer.text,
        "refusal": None,
        "role": "assistant",
    }
    if answer.calls:
        message["tool_calls"] = [
            {
                "function": {"arguments": made.arguments, "name": made.name},
                "id": call.id("call_", 24),
                "type": "function",
            }
            for made in answer.calls
        ]
    blocked = answer.finish_reason == "content_filter"
    return {
        "content_filter_results": {} if answer.calls else BLOCKED if blocked else FULL_RESULTS,
        "finish_reason": answer.finish_reason,
        "index": index,
        "logprobs": None,
        "message": message,
    }
