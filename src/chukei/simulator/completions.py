"""Classic text completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chukei.simulator import azure
from chukei.simulator.answers import Answer, Limits, compose
from chukei.simulator.calls import Call, StreamOptions, usage
from chukei.simulator.chat import STREAM_OPTIONS_SINCE
from chukei.simulator.exchanges import DONE, Event, Reply, data_event, sorted_json, stream, whole
from chukei.simulator.prompts import Prompt
from chukei.simulator.tokens import count

DEFAULT_MAX_TOKENS = 16  # the API's own
MOST_CHOICES = 128


class CompletionRequest(msgspec.Struct):
    """The body of a completion request."""

    prompt: str | list[str | int | list[int]] = "<|endoftext|>"
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    echo: bool | None = None
    seed: int | None = None
    temperature: float | None = None


def completions(call: Call) -> Reply:
    """Answer a completion request."""
    request = call.read(CompletionRequest)
    if request.stream_options is not None and call.older_than(STREAM_OPTIONS_SINCE):
        raise azure.unknown_parameter("stream_options")
    if request.n is not None and not 1 <= request.n <= MOST_CHOICES:
        raise azure.out_of_range("n", request.n, 1, MOST_CHOICES)
    prompts = _prompts(request.prompt)
    limits = Limits(DEFAULT_MAX_TOKENS if request.max_tokens is None else max(request.max_tokens, 0), request.stop)
    fixed = request.seed is not None or request.temperature == 0
    answers = [
        (prompt.text if request.echo else "", compose(call, prompt, limits, call.voice(prompt, fixed=fixed)))
        for prompt in map(Prompt, prompts)
        for _ in range(request.n or 1)
    ]
    tokens = sum(count(prompt) for prompt in prompts)
    spoken = sum(answer.tokens for _, answer in answers)
    used = usage(tokens, spoken, 0)
    if request.stream:
        with_usage = request.stream_options is not None and bool(request.stream_options.include_usage)
        return stream(_events(call, answers, used if with_usage else None), prompt_tokens=tokens)
    body = {
        **call.completion("cmpl-", "text_completion"),
        "choices": [_choice(at, echo + answer.text, answer.finish_reason) for at, (echo, answer) in enumerate(answers)],
        "prompt_filter_results": azure.PROMPT_FILTER,
        "usage": used,
    }
    return whole(sorted_json(body), wait=call.pace.total(spoken), tokens=spoken, prompt_tokens=tokens)


def _prompts(prompt: str | list[str | int | list[int]]) -> list[str]:
    """Return the prompts as texts. Token numbers stay numbers, because the simulator has no vocabulary."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise azure.invalid_value("[] is too short - 'prompt'", "prompt", "empty_array")
    texts = [" ".join(map(str, entry)) if isinstance(entry, list) else str(entry) for entry in prompt]
    return [" ".join(texts)] if isinstance(prompt[0], int) else texts


def _choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {
        "content_filter_results": azure.CATEGORIES if text else {},
        "finish_reason": finish_reason,
        "index": index,
        "logprobs": None,
        "text": text,
    }


def _events(call: Call, answers: list[tuple[str, Answer]], used: dict[str, Any] | None) -> Iterator[Event]:
    head = call.completion("cmpl-", "text_completion")
    blank: dict[str, Any] = {"usage": None} if used else {}
    yield Event(azure.FILTER_EVENT, call.pace.prompt(), "filter")
    for index, (echo, answer) in enumerate(answers):
        for at, piece in enumerate((echo, *answer.pieces) if echo else answer.pieces):
            wait = call.pace.token() if at else call.pace.first()
            event = data_event({**head, **blank, "choices": [_choice(index, piece, None)]})
            yield Event(event, wait, "token", 0 if echo and at == 0 else 1)
        end = data_event({**head, **blank, "choices": [_choice(index, "", answer.finish_reason)]})
        yield Event(end, 0.0, "finish")
    if used:
        yield Event(data_event({**head, "choices": [], "usage": used}), 0.0, "usage")
    yield Event(DONE, 0.0, "done")
