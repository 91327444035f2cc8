"""The configuration of a realtime session, in the present form of the API (GA) or in that of the preview (beta)."""

from __future__ import annotations

from typing import Any

from chukei.simulator.azure import model_error, shape
from chukei.simulator.prompts import fields_of
from chukei.simulator.realtime_audio import AudioFormat, format_of
from chukei.simulator.realtime_fields import BetaSessionUpdate, SessionUpdate, check

SESSION_SECONDS = 3600  # until ``expires_at``

# What the preview calls the events that have other names now. It has none for what is mapped to "".
_BETA_NAMES = {
    "conversation.item.added": "conversation.item.created",
    "conversation.item.done": "",
    "response.output_text": "response.text",
    "response.output_audio": "response.audio",
    "response.output_audio_transcript": "response.audio_transcript",
}
_ALSO = frozenset({"parallel_tool_calls", "reasoning"})  # accepted, but not shown before
_FIXED = frozenset({"id", "object", "model", "expires_at"})
_OFF = frozenset({"turn_detection", "transcription", "input_audio_transcription"})  # null turns it off
_SHAPES = {
    (False, False): "realtime-session",
    (False, True): "realtime-transcription",
    (True, False): "realtime-session-beta",
    (True, True): "realtime-transcription-beta",
}


class Session:
    """What a session is configured to do. ``fields`` is what its events show."""

    def __init__(self, id_: str, model: str, expires_at: int, *, beta: bool = False, transcribes: bool = False) -> None:
        self.beta = beta
        self.transcribes = transcribes
        self.fields = shape(_SHAPES[beta, transcribes], id=id_, expires_at=expires_at)
        if not transcribes:
            self.fields["model"] = model

    def update(self, given: Any) -> None:
        """Change the configuration; ApiError 400 if a field is unknown, of the wrong type, or missing."""
        changes = check(given, BetaSessionUpdate if self.beta else SessionUpdate, "session")
        if not self.beta and (changes["type"] == "transcription") != self.transcribes:
            own, other = ("transcription", "realtime") if self.transcribes else ("realtime", "transcription")
            what = f"Passing a {other} session update event to a {own} session is not allowed."
            raise model_error(400, what, code="invalid_parameter")
        for name in changes:
            if name not in self.fields and name not in _ALSO:
                what = f"Unknown parameter: 'session.{name}'."
                raise model_error(400, what, param=f"session.{name}", code="unknown_parameter")
        _merge(self.fields, {name: value for name, value in changes.items() if name not in _FIXED})

    def name(self, event: str) -> str:
        """Return the name of an event in this form of the API; "" if it has none."""
        if not self.beta:
            return event
        stem, _, last = event.rpartition(".")
        if event in _BETA_NAMES:
            return _BETA_NAMES[event]
        return f"{_BETA_NAMES[stem]}.{last}" if stem in _BETA_NAMES else event

    def part(self, kind: str) -> str:
        """Return the type of a content part of the model's: ``text`` or ``audio`` in the preview."""
        return kind if self.beta else f"output_{kind}"

    @property
    def _input(self) -> dict[str, Any]:
        return self.fields if self.beta else fields_of(self.fields["audio"].get("input"))

    @property
    def turn_detection(self) -> dict[str, Any] | None:
        """The settings of voice activity detection; None if the client commits its audio itself."""
        return self._input.get("turn_detection")

    @property
    def transcription(self) -> dict[str, Any] | None:
        """The settings of transcriptions of the client's audio; None if it is not transcribed."""
        return self._input.get("input_audio_transcription" if self.beta else "transcription")

    @property
    def input_format(self) -> AudioFormat:
        """The format of the client's audio."""
        return format_of(self._input.get("input_audio_format" if self.beta else "format"))

    @property
    def output_format(self) -> AudioFormat:
        """The format of the model's audio."""
        if self.beta:
            return format_of(self.fields.get("output_audio_format"))
        return format_of(fields_of(self.fields["audio"].get("output")).get("format"))

    def response(self, id_: str, given: dict[str, Any], conversation: str | None) -> dict[str, Any]:
        """Return a new response object, with what the client's ``response.create`` changes for it."""
        limit = given.get("max_output_tokens") or given.get("max_response_output_tokens")
        fields: dict[str, Any] = {"id": id_, "conversation_id": conversation, "metadata": given.get("metadata")}
        if self.beta:
            modalities = given.get("modalities") or self.fields["modalities"]
            limit = limit or self.fields["max_response_output_tokens"]
            same = {
                name: given.get(name, self.fields[name]) for name in ("voice", "output_audio_format", "temperature")
            }
            return shape("realtime-response-beta", **fields, modalities=modalities, max_output_tokens=limit, **same)
        modalities = given.get("output_modalities") or self.fields["output_modalities"]
        limit = limit or self.fields["max_output_tokens"]
        response = shape("realtime-response", **fields, output_modalities=modalities, max_output_tokens=limit)
        output = fields_of(self.fields["audio"].get("output"))
        response["audio"]["output"] = {name: output.get(name) for name in ("format", "voice")}
        return response


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        present = into.get(name)
        if isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value)
        elif value is not None or name in _OFF:
            into[name] = value
