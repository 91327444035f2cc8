"""Azure's errors, headers, filter results and names of models, as recorded.

The form of an error depends on the layer that answers: the API gateway (string codes such as ``"401"``, sometimes a
space after ``"message":``), the model's front end (``type``, ``param``, ``code``), or the content filter
(``innererror``). Clients must parse them, so the simulator reproduces the differences. ``azure.toml`` has the constant
parts.
"""

from __future__ import annotations

import random
import tomllib
from email.utils import formatdate
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from chukei.simulator.exchanges import Event, Exchange, Reply, whole

_RECORDED = tomllib.loads(Path(__file__).with_name("azure.toml").read_text("utf-8"))
_OBJECTS = tomllib.loads(Path(__file__).with_name("objects.toml").read_text("utf-8"))
_SHAPES: dict[str, str] = _RECORDED["shapes"] | _OBJECTS["shapes"]

LISTED_MODELS: tuple[str, ...] = tuple(_RECORDED["models"]["listed"])
TOKENS_PER_MINUTE = 120_000  # as in the headers

_OPERATIONS = {
    "chat/completions": "ChatCompletions_Create",
    "completions": "Completions_Create",
    "embeddings": "Embeddings_Create",
    "responses": "Responses_Create",
}


def shape(name: str, **fields: Any) -> dict[str, Any]:
    """Return a new copy of one of Azure's objects with the given fields. Their order is that of the recordings."""
    blank: dict[str, Any] = msgspec.json.decode(_SHAPES[name])
    return blank | fields


class ApiError(Exception):
    """A request gets an error as its answer. The exception contains the answer."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status}: {body.decode(errors='replace')}")
        self.status = status
        self.body = body
        self.headers = headers or {}

    @property
    def message(self) -> str:
        """The message in the body."""
        return str(msgspec.json.decode(self.body)["error"]["message"])

    def reply(self) -> Reply:
        """Return the HTTP answer for this error."""
        return whole(self.body, status=self.status, headers=dict(self.headers))


def recorded_error(name: str) -> ApiError:
    """Return an error with a constant text. ``name`` is that of a fault, or ``no-resource``."""
    error = _RECORDED["errors"][name]
    return ApiError(error["status"], error["body"].encode())


def gateway_error(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> ApiError:
    """Return an error of the API gateway, with a space after ``"message":``."""
    encoded = (msgspec.json.encode(text).decode() for text in (code, message))
    return ApiError(status, '{{"error":{{"code":{},"message": {}}}}}'.format(*encoded).encode(), headers)


def model_error(
    status: int,
    message: str,
    *,
    type_: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> ApiError:
    """Return an error of the model's front end."""
    error: dict[str, Any] = {"message": message, "type": type_, "param": param, "code": code}
    return ApiError(status, msgspec.json.encode({"error": error}), headers)


def unreadable_json() -> ApiError:
    """Return a 400 for a body that is not JSON."""
    message = "We could not parse the JSON body of your request. The API expects a JSON payload."
    return model_error(400, message)


def missing_parameter(name: str) -> ApiError:
    """Return a 400 for a missing field."""
    message = f"Missing required parameter: '{name}'."
    return model_error(400, message, param=name, code="missing_required_parameter")


def unknown_parameter(name: str) -> ApiError:
    """Return a 400 for a field that is unknown in this api-version."""
    return model_error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def invalid_value(message: str, param: str, code: str = "invalid_value") -> ApiError:
    """Return a 400 for a field with an invalid value."""
    return model_error(400, message, param=param, code=code)


def out_of_range(name: str, value: float, low: float, high: float) -> ApiError:
    """Return a 400 for a number outside its bounds."""
    return invalid_value(f"Invalid '{name}': expected a value from {low} to {high}, but got {value}.", name)


def throttled(seconds: float, kind: str, operation: str, api_version: str | None) -> ApiError:
    """Return a 429 with ``retry-after`` (s) and ``retry-after-ms``.

    ``kind`` is tokens, requests, no_capacity or provisioned.
    """
    headers = {"retry-after": str(max(round(seconds), 0)), "retry-after-ms": str(round(seconds * 1000))}
    if kind == "no_capacity":
        message = "The system is currently experiencing high demand and cannot process your request."
        return model_error(429, message, type_="too_many_requests", code="no_capacity", headers=headers)
    if kind == "provisioned":
        headers["azure-openai-deployment-utilization"] = "104.2%"
        limit, code = "the provisioned throughput of this deployment", "429"
    else:
        what = "token" if kind == "tokens" else "call"
        limit, code = f"{what} rate limit of your current OpenAI S0 pricing tier", "RateLimitReached"
    version = f" under Azure OpenAI API version {api_version}" if api_version else ""
    message = (
        f"Requests to the {_OPERATIONS.get(operation, operation)} Operation{version} have exceeded {limit}."
        f" Please retry after {headers['retry-after']} seconds."
    )
    return gateway_error(429, message, code, headers)


_ANTHROPIC = {  # how Anthropic's API calls an error with this status
    400: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def as_anthropic(reply: Reply, dice: random.Random) -> Reply:
    """Return the reply in the form of the Messages API if it is an error of the model; the gateway's stay as they are.

    Its headers are kept.
    """
    kind = _ANTHROPIC.get(reply.status)
    if kind is None:
        return reply
    body = b"".join(step.data for step in reply.steps if isinstance(step, Event))
    message = msgspec.json.decode(body)["error"]["message"]
    request_id = f"req_{dice.getrandbits(96):024x}"
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    said = whole(msgspec.json.encode(error), status=reply.status, headers={**reply.headers, "request-id": request_id})
    said.ending = reply.ending
    return said


def unknown_object(kind: str, id_: str) -> ApiError:
    """Return a 404 for an id that the resource does not know, in the words of its kind."""
    words = _OBJECTS["kinds"][kind]
    return model_error(404, words["missing"].format(id_), param=words.get("param"), code=words.get("code"))


def deletion(kind: str, id_: str) -> dict[str, Any]:
    """Return the answer to the deletion of an object."""
    name, object_ = _OBJECTS["kinds"][kind]["deleted"]
    return {name: id_, "object": object_, "deleted": True}


def served_model(deployment: str) -> str | None:
    """Return the full name of the model with which a deployment's name begins; None if there is none."""
    served: dict[str, str] = _RECORDED["models"]["served"]
    for name, model in served.items():
        if deployment == name or deployment.startswith(name + "-"):
            return model
    return None


def answer_headers(exchange: Exchange, reply: Reply, dice: random.Random) -> dict[str, str]:
    """Return the headers of an answer, with plausible values."""
    request, second = (str(UUID(int=dice.getrandbits(128), version=4)) for _ in range(2))
    values: dict[str, Any] = {
        "type": reply.content_type,
        "date": formatdate(usegmt=True),
        "request": request,
        "second": second,
    }
    parts = ["every", *(["streamed"] if reply.streamed else [])]
    if reply.status == 200 and exchange.deployment is not None:
        parts.append("served")
        values |= {
            "client": exchange.headers.get("x-ms-client-request-id", request),
            "session": dice.getrandbits(48),
            "deployment": exchange.deployment,
            "model": served_model(exchange.deployment) or exchange.deployment,
            "key": dice.getrandbits(64),
            "left": max(TOKENS_PER_MINUTE - reply.prompt_tokens, 0),
            "reset": max(reply.prompt_tokens * 60 // TOKENS_PER_MINUTE, 1),
        }
    headers = _RECORDED["headers"]
    return {name: value.format(**values) for part in parts for name, value in headers[part].items()}


# What the content filter says about a prompt, about a completion, and when it blocks one.

_FILTERS: dict[str, dict[str, Any]] = _RECORDED["filters"]
UNDETECTED = _FILTERS["full"]["protected_material_text"]
CATEGORIES = _FILTERS["categories"]
FULL_RESULTS = _FILTERS["full"]
BLOCKED = FULL_RESULTS | {"violence": _FILTERS["blocked"]}
PROMPT_FILTER = [{"prompt_index": 0, "content_filter_results": _FILTERS["prompt"]}]
# Not sorted, unlike every other chunk: prompt_index comes before content_filter_results in the recordings.
FILTER_EVENT = b"data: " + msgspec.json.encode(shape("filter-chunk", prompt_filter_results=PROMPT_FILTER)) + b"\n\n"
# The Responses API says the same in another order.
RESPONSE_PROMPT = _FILTERS["response-prompt"]
RESPONSE_COMPLETION = _FILTERS["response-completion"]
RESPONSE_BLOCKED = RESPONSE_COMPLETION | {"violence": _FILTERS["blocked"]}
