"""What clients of the realtime API may send: the fields that the simulator reads, and their types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from chukei.simulator.calls import misfit

Modalities = list[Literal["text", "audio"]]
_Limit = Annotated[int, msgspec.Meta(ge=1)] | Literal["inf"]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=60_000)]
_Objects = list[dict[str, Any]]


class Detection(msgspec.Struct):
    """``turn_detection``."""

    type: str | None = None
    prefix_padding_ms: _Milliseconds | None = None
    silence_duration_ms: _Milliseconds | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class Transcription(msgspec.Struct):
    """``transcription``."""

    model: str | None = None


class Format(msgspec.Struct):
    """A format in the GA form."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]


class Input(msgspec.Struct):
    """``audio.input``."""

    format: Format | None = None
    turn_detection: Detection | None = None
    transcription: Transcription | None = None


class Output(msgspec.Struct):
    """``audio.output``."""

    format: Format | None = None
    voice: str | dict[str, Any] | None = None


class Audio(msgspec.Struct):
    """``audio``."""

    input: Input | None = None
    output: Output | None = None


class SessionUpdate(msgspec.Struct):
    """A session in the GA form."""

    type: Literal["realtime", "transcription"]
    audio: Audio | None = None
    output_modalities: Modalities | None = None
    instructions: str | None = None
    tools: _Objects | None = None
    tool_choice: str | dict[str, Any] | None = None
    max_output_tokens: _Limit | None = None


BetaFormat = Literal["pcm16", "g711_ulaw", "g711_alaw"]


class BetaSessionUpdate(msgspec.Struct):
    """A session in the form of the preview."""

    modalities: Modalities | None = None
    instructions: str | None = None
    voice: str | dict[str, Any] | None = None
    input_audio_format: BetaFormat | None = None
    output_audio_format: BetaFormat | None = None
    input_audio_transcription: Transcription | None = None
    turn_detection: Detection | None = None
    tools: _Objects | None = None
    tool_choice: str | dict[str, Any] | None = None
    temperature: float | None = None
    max_response_output_tokens: _Limit | None = None


class Item(msgspec.Struct):
    """An item of the conversation."""

    type: Literal["message", "function_call", "function_call_output"]
    id: str | None = None
    role: str | None = None
    content: _Objects | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | None = None


class ResponseFields(msgspec.Struct):
    """``response`` of a ``response.create``."""

    conversation: str | None = None
    input: list[Item] | None = None
    instructions: str | None = None
    tools: _Objects | None = None
    tool_choice: str | dict[str, Any] | None = None
    output_modalities: Modalities | None = None
    modalities: Modalities | None = None
    max_output_tokens: _Limit | None = None
    max_response_output_tokens: _Limit | None = None
    metadata: dict[str, Any] | None = None


def check(given: Any, type_: type[msgspec.Struct], name: str) -> dict[str, Any]:
    """Return the fields of an event's object, all of them; ApiError 400 if one is of another type than ``type_`` says.

    ``name`` is that of the object in the event.
    """
    try:
        msgspec.convert(given, type_)
    except msgspec.ValidationError as error:
        raise misfit(str(error), name) from None
    fields: dict[str, Any] = given
    return fields
