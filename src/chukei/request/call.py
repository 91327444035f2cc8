"""The call that a client makes, read from its body. Pure."""

import re

import msgspec
from msgspec.structs import replace

from chukei.azure import CHAT, COUNT_TOKENS, MESSAGES, RESPONSES
from chukei.errors import CallerError
from chukei.model import BodyType, Headers, Model, Operation, header
from chukei.request.fields import Fields
from chukei.request.form import Form
from chukei.request.routes import Route

_WITH_MESSAGES = frozenset({CHAT.name, MESSAGES.name, COUNT_TOKENS.name})
_NULL, _LIST, _EMPTY = (re.compile(pattern) for pattern in (rb"null", rb"\[", rb"\[[ \t\n\r]*\]"))


class Call(msgspec.Struct, frozen=True):
    """One request to a model. ``model`` is the name that the client gave, if any; ``simple`` marks the simple form.

    ``raw`` is the body as received, of ``size`` bytes. ``prompt`` caches the estimate of the prompt. ``background``
    says that the response is to be made after the answer to this request. ``heard_ms`` is the length of the sound that
    is to be transcribed in a session, at most.
    """

    operation: Operation
    model: str | None
    stream: bool
    simple: bool
    api_version: str | None
    headers: Headers
    body: Fields | Form
    size: int
    raw: bytes
    prompt: list[tuple[int, int]] = msgspec.field(default_factory=list)
    background: bool = False
    heard_ms: int = 0


def read(route: Route, operation: Operation, headers: Headers, raw: bytes) -> Call:
    """Read a call from a request's body.

    Raises:
        CallerError: 400 for a body that no deployment could answer, 415 for a content type that the operation lacks.
    """
    shape = _shape(operation, headers)
    body: Fields | Form
    if shape is BodyType.JSON:
        body = Fields(raw)
        check(body, operation)
        stream = body.flag("stream") or False
        if route.simple:
            stream = _make_simple(body)
    else:
        body = Form(raw, header(headers, b"content-type") or b"")
        stream = (body.text("stream") or "").lower() in {"true", "1"}
    # A name in the path takes precedence, as on Azure, which then ignores the body's model.
    model = route.model if route.model is not None else body.text("model")
    if model is not None and not model.strip():
        raise CallerError(400, "missing_model", "'model' must not be empty.", param="model")
    background = operation is RESPONSES and isinstance(body, Fields) and body.flag("background") is True
    return Call(
        operation, model, stream, route.simple, route.api_version, headers, body, len(raw), raw, background=background
    )


def as_turn(call: Call) -> Call:
    """Return a call that came in a WebSocket's message, where every answer is a stream.

    Raises:
        CallerError: 400 for a response in the background, which is made by a POST.
    """
    body = call.body
    assert isinstance(body, Fields)
    if body.flag("background"):
        message = "'background' does not apply over a WebSocket: send the request as an HTTP POST."
        raise CallerError(400, "unsupported_parameter", message, param="background")
    if not call.stream:
        body.remove("stream")
    return replace(call, stream=True)


def _shape(operation: Operation, headers: Headers) -> BodyType:
    given = (header(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
    if given == b"application/json" and BodyType.JSON in operation.body_types:
        return BodyType.JSON
    if given == b"multipart/form-data" and BodyType.MULTIPART in operation.body_types:
        return BodyType.MULTIPART
    names = {BodyType.JSON: "application/json", BodyType.MULTIPART: "multipart/form-data"}
    wanted = " or ".join(names[shape] for shape in operation.body_types)
    raise CallerError(415, "unsupported_media_type", f"Send the request as 'Content-Type: {wanted}'.")


def _make_simple(body: Fields) -> bool:
    """Turn a request in the simple form into a chat stream."""
    if body.flag("stream") is False:
        raise CallerError(400, "invalid_value", "This route always streams; leave 'stream' out.", param="stream")
    if (body.number("n") or 1) != 1:
        raise CallerError(400, "invalid_value", "This route has room for one answer; leave 'n' out.", param="n")
    body.set("stream", b"true")
    return True


_WHERE = {
    "openai": "has OpenAI's APIs: send requests for it to /v1/chat/completions or /v1/responses",
    "anthropic": "has Anthropic's Messages API: send requests for it to /v1/messages or /anthropic/v1/messages",
}


def check_api(operation: Operation, model: Model) -> None:
    """Refuse an operation that the model's deployments do not have.

    Raises:
        CallerError: 400.
    """
    api = model.deployments[0].api
    if operation.api != api:
        raise CallerError(400, "wrong_api", f"The model {model.name[:80]!r} {_WHERE[api]}.", param="model")


def check(fields: Fields, operation: Operation) -> None:
    """Refuse a request for a chat without messages, which no deployment could answer.

    Raises:
        CallerError: 400.
    """
    if operation.name not in _WITH_MESSAGES:
        return
    if "messages" not in fields or fields.begins_with("messages", _NULL):
        message = "'messages' is missing: send a list of messages."
        if "input" in fields and operation is CHAT:  # Cursor's agent sends such bodies to the path of chats
            message = "This body has the form of the Responses API: send it to /v1/responses, or 'messages' to a chat."
        raise CallerError(400, "missing_messages", message, param="messages")
    if not fields.begins_with("messages", _LIST):
        raise CallerError(400, "invalid_type", "'messages' must be a list of messages.", param="messages")
    if fields.begins_with("messages", _EMPTY):
        raise CallerError(400, "missing_messages", "'messages' is empty: send at least one message.", param="messages")
