"""What a client asks for, read from its body; and the same written for the deployment that was chosen. Pure."""

from dataclasses import dataclass

import msgspec

from chukei import wire
from chukei.capabilities import Capabilities, fit
from chukei.errors import CallerError
from chukei.fields import Fields
from chukei.fill import ask_for_usage, check, fill
from chukei.model import Deployment, Headers, Model, Operation, Shape, header
from chukei.multipart import Form
from chukei.routes import Route


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model. ``model`` is the name that the client gave, if any; ``simple`` the plain-text form.

    ``raw`` is its body as it came, of ``size`` bytes. ``weight`` is what ``estimate.weigh`` has found in a large one:
    the bytes of its text, and the tokens of all else.
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
    weight: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What goes to a deployment, in which ``version`` of its API.

    ``strip_usage`` says that the usage event was the relay's wish, not the client's; ``skip_empty_choices`` that chunks
    without choices are not to reach it.
    """

    endpoint: str
    target: str
    version: str
    headers: Headers
    body: bytes
    strip_usage: bool
    skip_empty_choices: bool = False


def read(route: Route, operation: Operation, headers: Headers, raw: bytes) -> Call:
    """Read what is asked.

    Raises:
        CallerError: 400 for a body that no deployment could answer, 415 for one of another type.
    """
    shape = _shape(operation, headers)
    body: Fields | Form
    if shape is Shape.JSON:
        body = Fields(raw)
        check(body, operation)
        stream = body.flag("stream") or False
        if route.simple:
            stream = _make_simple(body)
    else:
        body = Form(raw, header(headers, b"content-type") or b"")
        stream = (body.text("stream") or "").lower() in {"true", "1"}
    # A name in the path wins, as it does on Azure, where the body's model is then ignored.
    model = route.model if route.model is not None else body.text("model")
    if model is not None and not model.strip():
        raise CallerError(400, "missing_model", "'model' must not be empty.", param="model")
    return Call(operation, model, stream, route.simple, route.api_version, headers, body, len(raw), raw)


def _shape(operation: Operation, headers: Headers) -> Shape:
    given = (header(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
    if given == b"application/json" and Shape.JSON in operation.shapes:
        return Shape.JSON
    if given == b"multipart/form-data" and Shape.MULTIPART in operation.shapes:
        return Shape.MULTIPART
    names = {Shape.JSON: "application/json", Shape.MULTIPART: "multipart/form-data"}
    wanted = " or ".join(names[shape] for shape in operation.shapes)
    raise CallerError(415, "unsupported_media_type", f"Send the request as 'Content-Type: {wanted}'.")


def _make_simple(body: Fields) -> bool:
    """Turn the simple form into a chat stream."""
    if body.flag("stream") is False:
        raise CallerError(400, "invalid_value", "This route always streams; leave 'stream' out.", param="stream")
    if (body.number("n") or 1) != 1:
        raise CallerError(400, "invalid_value", "This route has room for one answer; leave 'n' out.", param="n")
    body.set("stream", b"true")
    return True


def write(
    call: Call,
    model: Model,
    deployment: Deployment,
    capabilities: Capabilities,
    credential: tuple[bytes, bytes],
    request_id: str,
) -> UpstreamRequest:
    """Write the request for a deployment, from the client's bytes with what is missing filled in.

    The call stays as it was read, so that it can be written for several deployments.
    """
    name = deployment.deployment
    version = wire.version_for(deployment, call.api_version)
    strip_usage = False
    headers = wire.headers_up(call.headers, model.image_deployments)
    if isinstance(call.body, Fields):
        body = call.body.copy()
        fill(body, call.operation, model)
        fit(body, call.operation, capabilities)
        if wire.names_model_in_body(call.operation, version) and body.text("model") != name:
            body.set("model", msgspec.json.encode(name))
        if call.stream:
            strip_usage = ask_for_usage(body, call.operation, capabilities)
        raw = body.bytes()
    else:
        raw = call.body.write({"model": name} if wire.names_model_in_body(call.operation, version) else {})
        headers = [(field, value) for field, value in headers if field != b"content-type"]
        headers.append((b"content-type", call.body.content_type))
    headers += [wire.ANY, credential, (b"user-agent", b"chukei"), (b"x-ms-client-request-id", request_id.encode())]
    if deployment.spillover is not None:
        headers.append((b"x-ms-spillover-deployment", deployment.spillover.encode()))
    target = wire.target(deployment, name, call.operation, version)
    return UpstreamRequest(
        deployment.endpoint, target, version, headers, raw, strip_usage, skip_empty_choices=model.skip_empty_choices
    )
