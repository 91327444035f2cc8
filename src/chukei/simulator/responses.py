"""The Responses API: a request continues what came before it, and is answered at once or in the background."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from chukei.simulator import azure, items
from chukei.simulator.answers import Answer, Limits, compose
from chukei.simulator.calls import JSON_OBJECT, Call
from chukei.simulator.exchanges import Event, Reply, json_reply, stream, whole
from chukei.simulator.jobs import FOR_EVER, Log, Progress
from chukei.simulator.prompts import Prompt, conversation, fields_of, read_choice, read_tools
from chukei.simulator.stored import Kept
from chukei.simulator.turns import ResponsesRequest, Turn, blank_response

SINCE = "2025-03-01"  # Azure answers older dated versions with a hint
LEAST_OUTPUT_TOKENS = 16  # the API refuses less


def responses(call: Call) -> Reply:
    """Answer a Responses request."""
    request = read(call)
    if request.input is None and not (request.previous_response_id or request.conversation):
        raise azure.missing_parameter("input")
    if request.max_output_tokens is not None and request.max_output_tokens < LEAST_OUTPUT_TOKENS:
        message = (
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {LEAST_OUTPUT_TOKENS},"
            f" but got {request.max_output_tokens} instead."
        )
        raise azure.invalid_value(message, "max_output_tokens", "integer_below_min_value")
    if request.background and request.store is False:
        raise azure.invalid_value("Background mode requires 'store' to be true.", "background")
    turn = _turn(call, request)
    if request.background:
        return _begin(call, turn, bool(request.stream))
    if request.stream:
        return stream(turn.events(), prompt_tokens=turn.prompt.tokens)
    for _ in turn.events():
        pass  # what the events would have built up is the answer
    return whole(
        msgspec.json.encode(turn.response),
        wait=call.pace.total(turn.answer.tokens),
        tokens=turn.answer.tokens,
        prompt_tokens=turn.prompt.tokens,
    )


def read(call: Call) -> ResponsesRequest:
    """Return the request; ApiError 400 if it cannot be read, or the api-version is too old."""
    if call.older_than(SINCE):
        message = "Azure OpenAI Responses API is enabled only for api-version 2025-03-01-preview and later"
        raise azure.gateway_error(400, message, "BadRequest")
    return call.read(ResponsesRequest)


def context(call: Call, request: ResponsesRequest) -> tuple[dict[str, Any], ...]:
    """Return the items before the input: of the previous response or the conversation. ApiError 400 or 404."""
    previous, named = request.previous_response_id, request.conversation
    if previous is not None and named is not None:
        what = "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Only one can be provided."
        raise azure.invalid_value(what, "previous_response_id", "mutually_exclusive_parameters")
    if previous is not None:
        before = (call.memory or {}).get(previous) or call.stored["response"].get(previous)
        of_another = before is not None and call.deployment not in ("", before.deployment)
        if before is None or of_another or before.look()["status"] in ("queued", "in_progress"):
            what = f"Previous response with id '{previous}' not found."
            raise azure.model_error(400, what, param="previous_response_id", code="previous_response_not_found")
        return before.items + before.said
    if named is not None:
        return tuple(part.shown for part in _conversation(call, named).parts("item"))
    return ()


def _conversation(call: Call, named: str | dict[str, Any]) -> Kept:
    id_ = str(named.get("id", "")) if isinstance(named, dict) else named
    found = call.stored["conversation"].get(id_)
    if found is None:
        raise azure.unknown_object("conversation", id_)
    return found


def prompt_of(request: ResponsesRequest, said: tuple[dict[str, Any], ...]) -> Prompt:
    """Return the prompt of all items up to now."""
    pairs: list[tuple[str, Any]] = [("system", request.instructions)] if request.instructions else []
    functions = [tool for tool in request.tools or [] if tool.get("type") == "function"]
    tools = read_tools(functions, "tools[0].name")
    choice, named = read_choice(request.tool_choice, tools) if tools else ("none", None)
    return replace(
        conversation(pairs + [items.spoken(item) for item in said]),
        tools=tools,
        tool_choice=choice,
        tool_named=named,
        parallel=request.parallel_tool_calls is not False,
        schema=_schema(request),
    )


def _turn(call: Call, request: ResponsesRequest) -> Turn:
    before = context(call, request)
    items.check_named(call, request.tools, "tools")
    given = items.read(call, request.input, store=request.store is not False)
    said = (*before, *given)
    prompt = prompt_of(request, said)
    voice = call.voice(prompt, fixed=request.temperature == 0)
    silent = request.generate is False
    answer = Answer() if silent else compose(call, prompt, Limits(request.max_output_tokens), voice)
    turn = Turn(call, prompt, answer, blank_response(call, request), request)
    turn.kept.items = said
    turn.kept.size = len(call.body) + sum(len(msgspec.json.encode(item)) for item in before)
    turn.kept.deployment = call.deployment
    turn.talk = _conversation(call, request.conversation) if request.conversation is not None else None
    turn.given = given
    return turn


# Background: all events are made at once and due one after another, so that the job goes on without its client.


def _begin(call: Call, turn: Turn, streamed: bool) -> Reply:
    events = list(turn.events())
    if "job-fails" in call.struck:
        events = turn.failed(events)
    waits = (sum(event.wait for event in events[:3]), sum(event.wait for event in events[3:]))
    if "job-stays-queued" in call.struck:
        events, waits = [*events[:2], Event(b"", FOR_EVER)], (FOR_EVER, 0.0)
    kept, end = turn.kept, turn.response
    shown = turn.unfinished()

    def reached(status: str) -> None:
        kept.shown = end if status == end["status"] else {**shown, "status": status}
        if kept.shown is end:
            turn.keep_items()

    stages = list(zip(("queued", "in_progress"), waits, strict=True))
    kept.shown = {**shown, "status": "queued"}
    kept.progress = Progress(stages, end["status"], call.job_looks, call.stored.now, reached)
    if streamed:
        kept.log = Log(events, call.stored.now, kept.progress)
        kept.size += kept.log.size
        call.stored["response"].put(kept)
        return stream(kept.log.follow(), prompt_tokens=turn.prompt.tokens)
    call.stored["response"].put(kept)
    return json_reply(kept.shown, wait=call.pace.prompt())


def _schema(request: ResponsesRequest) -> dict[str, Any] | None:
    wanted = fields_of((request.text or {}).get("format"))
    if wanted.get("type") == "json_object":
        return JSON_OBJECT
    if wanted.get("type") != "json_schema":
        return None
    schema = wanted.get("schema")
    if not isinstance(schema, dict):
        raise azure.missing_parameter("text.format.schema")
    return schema
