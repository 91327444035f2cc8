"""Error answers in the shapes that Azure OpenAI uses.

The shapes differ by which layer answers: the API gateway in front (string codes such as ``"401"``, sometimes with
a space after ``"message":``), the model's front end (``type``, ``param``, ``code``), or the content filter
(``innererror``). Clients must parse them, so the simulator keeps the differences.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chukei.simulator.steps import Reply, sorted_json, whole

SAFE = {"filtered": False, "severity": "safe"}
UNDETECTED = {"detected": False, "filtered": False}

OPERATIONS = {
    "chat/completions": "ChatCompletions_Create",
    "completions": "Completions_Create",
    "embeddings": "Embeddings_Create",
    "responses": "Responses_Create",
}


class ApiError(Exception):
    """A request that is answered with an error; carries the answer."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status}: {body.decode(errors='replace')}")
        self.status = status
        self.body = body
        self.headers = headers or {}

    def reply(self) -> Reply:
        """Return the HTTP answer for this error."""
        return whole(self.body, status=self.status, headers=dict(self.headers))


def gateway_error(status: int, message: str, code: str | None = None, **headers: str) -> ApiError:
    """Build an error of the API gateway, with its space after ``"message":``."""
    encoded = (msgspec.json.encode(text).decode() for text in (code or str(status), message))
    body = '{{"error":{{"code":{},"message": {}}}}}'.format(*encoded)
    return ApiError(status, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def model_error(
    status: int,
    message: str,
    *,
    type_: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> ApiError:
    """Build an error of the model's front end."""
    error: dict[str, Any] = {"message": message, "type": type_, "param": param, "code": code}
    return ApiError(status, msgspec.json.encode({"error": error}), headers)


def missing_parameter(name: str) -> ApiError:
    """400 for a field that must be there."""
    message = f"Missing required parameter: '{name}'."
    return model_error(400, message, param=name, code="missing_required_parameter")


def unknown_parameter(name: str) -> ApiError:
    """400 for a field that this api-version does not know."""
    return model_error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def invalid_value(message: str, param: str, code: str = "invalid_value") -> ApiError:
    """400 for a field with a wrong value."""
    return model_error(400, message, param=param, code=code)


def unrecognised_argument(name: str) -> ApiError:
    """400 for a field that an api-version older than the codes does not know."""
    return model_error(400, f"Unrecognized request argument supplied: {name}")


def response_not_found(id_: str) -> ApiError:
    """400 for a response that this deployment did not make, or did not keep."""
    message = f"Previous response with id '{id_}' not found."
    return model_error(400, message, param="previous_response_id", code="previous_response_not_found")


def conversation_not_found(id_: str) -> ApiError:
    """404 for a conversation that does not exist; it has no code."""
    return model_error(404, f"Conversation with id '{id_}' not found.")


def unauthorised() -> ApiError:
    """401 for a missing or a wrong key."""
    return ApiError(
        401,
        sorted_json(
            {
                "error": {
                    "code": "401",
                    "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to"
                    " provide a valid key for an active subscription and use a correct regional API endpoint for"
                    " your resource.",
                }
            }
        ),
    )


def forbidden() -> ApiError:
    """403 of a resource behind a private endpoint."""
    return gateway_error(403, "Public access is disabled. Please configure private endpoint.")


def resource_not_found() -> ApiError:
    """404 for a path that does not exist, or lacks its api-version."""
    return gateway_error(404, "Resource not found")


def deployment_not_found() -> ApiError:
    """404 for an unknown deployment: pretty-printed, as recorded in 2026."""
    error = {
        "type": "invalid_request_error",
        "code": "DeploymentNotFound",
        "message": "The API deployment for this resource does not exist. If you created the deployment within the"
        " last 5 minutes, please wait a moment and try again.",
    }
    return ApiError(404, msgspec.json.format(msgspec.json.encode({"error": error}), indent=2))


def timed_out() -> ApiError:
    """408 of the gateway."""
    return ApiError(408, b'{"error":{"code":"Timeout","message":"The operation was timeout."}}')


def throttled(seconds: float, kind: str, operation: str, api_version: str | None) -> ApiError:
    """429 with ``retry-after`` (s) and ``retry-after-ms``; kind is tokens, requests, no_capacity or provisioned."""
    headers = {"retry-after": str(max(round(seconds), 0)), "retry-after-ms": str(round(seconds * 1000))}
    if kind == "no_capacity":
        message = "The system is currently experiencing high demand and cannot process your request."
        return model_error(429, message, type_="too_many_requests", code="no_capacity", headers=headers)
    if kind == "provisioned":
        headers["azure-openai-deployment-utilization"] = "104.2%"
        limit = "the provisioned throughput of this deployment"
    else:
        what = "token" if kind == "tokens" else "call"
        limit = f"{what} rate limit of your current OpenAI S0 pricing tier"
    version = f" under Azure OpenAI API version {api_version}" if api_version else ""
    message = (
        f"Requests to the {OPERATIONS.get(operation, operation)} Operation{version} have exceeded {limit}."
        f" Please retry after {headers['retry-after']} seconds."
    )
    error = gateway_error(429, message, None if kind == "provisioned" else "RateLimitReached")
    error.headers = headers
    return error


def server_error() -> ApiError:
    """500 of the model's front end."""
    message = "The server had an error while processing your request. Sorry about that!"
    return model_error(500, message, type_="server_error")


def unavailable() -> ApiError:
    """503 of the gateway."""
    return gateway_error(503, "The service is temporarily unable to process your request. Please try again later.")


def filtered_prompt() -> ApiError:
    """400 for a prompt that the content filter blocks."""
    error = {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        " Please modify your prompt and retry. To learn more about our content filtering policies please read our"
        " documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {
                "hate": SAFE,
                "jailbreak": {"filtered": True, "detected": True},
                "self_harm": SAFE,
                "sexual": SAFE,
                "violence": SAFE,
            },
        },
    }
    return ApiError(400, msgspec.json.encode({"error": error}))
