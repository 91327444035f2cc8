"""Audio in chat: an answer that is spoken, whole or streamed, as recorded."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from chukei.simulator import azure
from chukei.simulator.answers import Answer
from chukei.simulator.calls import Call, usage
from chukei.simulator.exchanges import DONE, Event, Reply, data_event, sorted_json, stream, whole
from chukei.simulator.media import SAMPLE_RATE, tone, wav
from chukei.simulator.prompts import fields_of

FORMATS = ("wav", "mp3", "flac", "opus", "pcm16")
KEPT_SECONDS = 3600  # how long the service keeps an audio for the next turn
TOKENS_PER_SECOND = 20  # of audio: one for 50 ms
PIECE = 16 * 1024  # bytes of sound in a chunk


def spoken_aloud(
    call: Call, head: dict[str, Any], asked: dict[str, Any] | None, streamed: bool, answer: Answer, tokens: int
) -> Reply:
    """Return an answer as sound and its transcript. ApiError 400 if the format does not fit."""
    if asked is None:
        raise azure.missing_parameter("audio")
    for name in ("voice", "format"):
        if not asked.get(name):
            raise azure.missing_parameter(f"audio.{name}")
    wanted = str(asked["format"])
    if wanted not in FORMATS or (streamed and wanted != "pcm16"):
        known = "'pcm16'" if streamed else ", ".join(f"'{name}'" for name in FORMATS)
        what = f"Invalid value: '{wanted}'. Supported values are: {known}."
        raise azure.invalid_value(what, "audio.format", "unsupported_value")
    samples = tone(answer.text)
    heard = max(len(samples) * TOKENS_PER_SECOND // SAMPLE_RATE, 1)
    used = usage(tokens, answer.tokens + heard, answer.reasoning_tokens)
    used["completion_tokens_details"] |= {"audio_tokens": heard, "text_tokens": answer.tokens}
    used["prompt_tokens_details"] |= {"text_tokens": tokens, "image_tokens": 0}
    audio = {"id": call.hex_id("audio_", 32), "expires_at": call.created + KEPT_SECONDS}
    sound = samples.tobytes() if wanted == "pcm16" else wav(samples)
    if streamed:
        return stream(_chunks(call, head, used, audio, answer, sound), prompt_tokens=tokens)
    said = {**audio, "data": base64.b64encode(sound).decode(), "transcript": answer.text}
    message: dict[str, Any] = {"annotations": [], "audio": said, "content": None, "refusal": None, "role": "assistant"}
    choice = {"content_filter_results": azure.FULL_RESULTS, "finish_reason": "stop", "index": 0, "message": message}
    body = {**head, "choices": [choice], "prompt_filter_results": azure.PROMPT_FILTER, "usage": used}
    return whole(sorted_json(body), wait=call.pace.total(answer.tokens), tokens=answer.tokens, prompt_tokens=tokens)


def _chunks(
    call: Call, head: dict[str, Any], used: dict[str, Any], audio: dict[str, Any], answer: Answer, sound: bytes
) -> Iterator[Event]:
    """Yield the chunks as recorded: some have no ``choices``, none has a finish reason, and one follows the usage."""
    wanted = fields_of(call.object().get("stream_options")).get("include_usage")
    head = {**head, "object": "chat.completion.chunk"} | ({"usage": None} if wanted else {})

    def chunk(delta: dict[str, Any] | None, length: int = 0, **fields: Any) -> bytes:
        choices = {} if delta is None else {"choices": [{"delta": delta, "finish_reason": None, "index": 0}]}
        return data_event({**head, **choices, **fields, "obfuscation": call.obfuscated(length)})

    yield Event(azure.FILTER_EVENT, call.pace.prompt(), "filter")
    yield Event(chunk({"refusal": None, "role": "assistant"}), call.pace.first(), "role", answer.reasoning_tokens)
    for at, piece in enumerate(answer.pieces):
        part = {"id": audio["id"], "transcript": piece}
        yield Event(chunk({"audio": part, "content": None}, len(piece)), call.pace.token(), "token", 1)
        if at == 0:
            yield Event(chunk(None))
    for at in range(0, len(sound), PIECE):
        part = {"data": base64.b64encode(sound[at : at + PIECE]).decode()}
        yield Event(chunk({"audio": part}), call.pace.token())
    if wanted:
        yield Event(chunk(None, choices=[], usage=used), 0.0, "usage")
    yield Event(chunk({"audio": {"expires_at": audio["expires_at"]}}))
    yield Event(DONE, 0.0, "done")
