"""The operations by name, and which deployment a body asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chukei.simulator.calls import Call
from chukei.simulator.chat import chat
from chukei.simulator.chat_stream import error_event as chat_error_event
from chukei.simulator.completions import completions
from chukei.simulator.embeddings import embeddings
from chukei.simulator.errors import missing_parameter, model_error
from chukei.simulator.media import image_edits, images, speech, transcription, translation
from chukei.simulator.models import models
from chukei.simulator.multipart import fields
from chukei.simulator.response_stream import error_event as responses_error_event
from chukei.simulator.responses import responses
from chukei.simulator.steps import Reply

OPERATIONS: dict[str, Callable[[Call], Reply]] = {
    "chat/completions": chat,
    "completions": completions,
    "responses": responses,
    "embeddings": embeddings,
    "images/generations": images,
    "images/edits": image_edits,
    "audio/transcriptions": transcription,
    "audio/translations": translation,
    "audio/speech": speech,
    "models": models,
}


class _Named(msgspec.Struct):
    model: Any = None


def model_of(body: bytes, content_type: str) -> str:
    """Return the deployment that a body names in ``model``; ApiError 400 if it names none."""
    model: Any
    if content_type.startswith("multipart/"):
        part = fields(body, content_type).get("model")
        model = part.data.decode(errors="replace") if part else None
    else:
        try:
            model = msgspec.json.decode(body, type=_Named).model
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            message = "We could not parse the JSON body of your request. The API expects a JSON payload."
            raise model_error(400, message) from None
    if not isinstance(model, str) or not model:
        raise missing_parameter("model")
    return model


def error_event_of(operation: str) -> Callable[[int], bytes]:
    """Return how this operation's streams tell of an error."""
    return responses_error_event if operation == "responses" else chat_error_event
