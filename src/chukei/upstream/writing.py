"""The upstream request, written for the chosen deployment. The relay fills in parameters that the client left out, the
system message, caps, and the request for a usage report.

Additions are spliced into the client's own bytes. The client's values stay unchanged, unless a cap lowers them.
"""

from collections.abc import AsyncIterator, Mapping

import msgspec

from chukei import azure
from chukei.azure import ANY_OUTPUT_LIMIT, CHAT, MESSAGES, NOTHING_MORE, OUTPUT_LIMITS, RESPONSES, Passing
from chukei.errors import CallerError
from chukei.model import Deployment, Headers, Model, Operation
from chukei.request.call import Call
from chukei.request.fields import Fields
from chukei.upstream.capabilities import Capabilities, fit

_SYSTEM_FIELDS = {RESPONSES.name: "instructions", MESSAGES.name: "system"}
"""Fields for a system message that is not one of the messages, by operation."""

MAX_MESSAGES = 4096
"""Azure and OpenAI accept 2,048. The bound keeps millions of empty messages from becoming as many objects."""


class _TooMany(Exception):
    """Stops the parser."""


class _Role(msgspec.Struct):
    role: str | None = None

    def __post_init__(self) -> None:
        """Count the messages while they are parsed. The global counter is safe: parsing is not interrupted."""
        _seen[0] += 1
        if _seen[0] > MAX_MESSAGES:
            raise _TooMany


_seen = [0]


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A request to a deployment, in a ``version`` of its API.

    A request other than a call of a model may have another ``method``, and a body in ``parts``, of this ``length`` if
    it is known. ``strip_usage`` says that the relay, not the client, asked for the usage event.
    ``skip_empty_choices`` says that chunks without choices must not reach the client. ``background`` says that the
    stream, if there is one, is that of a background response.
    """

    endpoint: str
    target: str
    version: str
    headers: Headers
    body: bytes
    strip_usage: bool
    skip_empty_choices: bool = False
    method: str = "POST"
    parts: AsyncIterator[bytes] | None = None
    length: int | None = None
    background: bool = False


def write(
    call: Call,
    model: Model,
    deployment: Deployment,
    capabilities: Capabilities,
    version: str,
    credential: tuple[bytes, bytes],
    request_id: str,
    passed: Headers | None = None,
    passing: Passing = NOTHING_MORE,
) -> UpstreamRequest:
    """Write the request for a deployment: the client's bytes, with missing parameters filled in.

    The call is not changed, so that it can be written for several deployments. ``capabilities`` are those of the
    ``version`` of its API. ``passed`` are further fields to send, ``passing`` says which of the client's fields are
    sent, besides the usual ones.
    """
    name = deployment.deployment
    strip_usage = False
    headers = azure.headers_up(call.headers, model.image_deployments, api=call.operation.api, also=passing.headers)
    if isinstance(call.body, Fields):
        body = call.body.copy()
        fill(body, call.operation, model)
        fit(body, call.operation, capabilities)
        if azure.names_model_in_body(call.operation, version) and body.text("model") != name:
            body.set("model", msgspec.json.encode(name))
        if call.stream:
            strip_usage = ask_for_usage(body, call.operation, capabilities)
        raw = body.bytes()
    else:
        raw = call.body.write({"model": name} if azure.names_model_in_body(call.operation, version) else {})
    # Not the client's, which may name a character set in which the body reads differently.
    headers = [(field, value) for field, value in headers if field != b"content-type"]
    headers.append((b"content-type", call.body.content_type))
    headers += [azure.ANY, credential, (b"user-agent", b"chukei"), (b"x-ms-client-request-id", request_id.encode())]
    headers += passed or ()
    if deployment.spillover is not None:
        headers.append((b"x-ms-spillover-deployment", deployment.spillover.encode()))
    target = azure.target(deployment, name, call.operation, version)
    return UpstreamRequest(
        deployment.endpoint,
        target,
        version,
        headers,
        raw,
        strip_usage,
        skip_empty_choices=model.skip_empty_choices,
        background=call.background,
    )


def fill(fields: Fields, operation: Operation, model: Model) -> None:
    """Add the model's parameters and system message, and enforce its caps, where the output can be limited."""
    if operation.name not in OUTPUT_LIMITS:
        return
    filled: dict[str, object] = {}
    for name, value in (model.parameters or {}).items():
        known_as = _spelling(name, operation)
        if not any(other in filled or fields.raw(other) is not None for other in _same(known_as, operation)):
            filled[known_as] = value
            fields.set(known_as, msgspec.json.encode(value))
    if model.system is not None:
        _add_system(fields, operation, model.system)
    if model.caps:
        _hold_caps(fields, operation, model.caps, filled)


def ask_for_usage(fields: Fields, operation: Operation, capabilities: Capabilities) -> bool:
    """Ask for a usage event if the API supports it; return whether the event must be hidden from the client.

    It is hidden unless the client asked for it too. "On your data" requests refuse ``stream_options``, so they are not
    changed.
    """
    if operation.name not in {"chat", "completions"} or not capabilities.stream_options or "data_sources" in fields:
        return False
    raw = fields.raw("stream_options")
    options = Fields(raw or b"{}", param="stream_options")
    if options.flag("include_usage"):
        return False
    options.set("include_usage", b"true")
    fields.set("stream_options", options.bytes())
    return True


def _same(name: str, operation: Operation) -> tuple[str, ...]:
    limits = OUTPUT_LIMITS.get(operation.name, ())
    return limits if name in limits else (name,)


def _spelling(name: str, operation: Operation) -> str:
    """Return the operation's own name for a parameter, if it is an output limit configured under another name."""
    limits = OUTPUT_LIMITS.get(operation.name, ())
    return limits[0] if name in ANY_OUTPUT_LIMIT and limits and name not in limits else name


def _hold_caps(
    fields: Fields, operation: Operation, caps: Mapping[str, int | float], filled: Mapping[str, object]
) -> None:
    """Lower values above a cap, and add an output limit if neither the client nor ``filled`` sets one."""
    lowest: dict[str, int | float] = {}
    for configured, cap in caps.items():
        spelt = _spelling(configured, operation)
        name = next((other for other in _same(spelt, operation) if other in lowest), spelt)
        lowest[name] = min(cap, lowest.get(name, cap))
    for name, cap in lowest.items():
        names = _same(name, operation)
        sent = [other for other in names if fields.raw(other) is not None]
        ours = [other for other in names if other in filled]
        for other in sent:
            value = fields.number(other)
            if value is not None and value > cap:
                fields.set(other, msgspec.json.encode(cap))
        for other in ours:
            default = filled[other]
            if not isinstance(default, (int, float)) or default > cap:
                fields.set(other, msgspec.json.encode(cap))
        # Only the output is unlimited by default. Adding n = 4 would raise the cost above that of its default, 1.
        if not sent and not ours and name in ANY_OUTPUT_LIMIT:
            fields.set(name, msgspec.json.encode(cap))


def _add_system(fields: Fields, operation: Operation, system: str) -> None:
    beside = _SYSTEM_FIELDS.get(operation.name)
    if beside is not None:
        if fields.raw(beside) is None:
            fields.set(beside, msgspec.json.encode(system))
        return
    messages = fields.raw("messages")
    if operation is not CHAT or messages is None:
        return
    _seen[0] = 0
    try:
        roles = {message.role for message in msgspec.json.decode(messages, type=list[_Role])}
    except _TooMany:
        message = f"There are more than {MAX_MESSAGES} messages."
        raise CallerError(400, "invalid_value", message, param="messages") from None
    except (msgspec.DecodeError, RecursionError):
        message = "Each of 'messages' must be an object with a 'role'."
        raise CallerError(400, "invalid_type", message, param="messages") from None
    if roles.isdisjoint({"system", "developer"}):
        first = msgspec.json.encode({"role": "system", "content": system})
        fields.set("messages", b"[" + first + b"," + messages[1:])
