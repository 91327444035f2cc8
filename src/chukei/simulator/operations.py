"""The operations by name, and which deployment a body asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chukei.simulator.calls import Call
from chukei.simulator.chat import chat
from chukei.simulator.chat import error_event as chat_error_event
from chukei.simulator.errors import missing_parameter, model_error
from chukei.simulator.multipart import fields
from chukei.simulator.steps import Reply

OPERATIONS: dict[str, Callable[[Call], Reply]] = {
    "chat/completions": chat,
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
    return chat_error_event
