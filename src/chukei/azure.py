"""Azure's APIs: operations, addresses, and the headers that may pass.

The classic API names the deployment in the path and needs ``api-version``; v1 names it in the body's ``model`` and has
no version (Microsoft: "Azure OpenAI in Azure AI Foundry Models API lifecycle"). ``api-version=preview`` or ``latest``
asks v1 for operations in preview. Claude has Anthropic's Messages API instead, which names the deployment in the body's
``model`` as well (Anthropic: "Claude in Microsoft Foundry").
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlencode

from chukei.model import MEBIBYTE, Api, BodyType, Deployment, Dialect, Headers, Operation, header

V1 = "v1"
PREVIEWS = ("preview", "latest")
"""The values of ``api-version`` that select v1 with its operations in preview."""

ALL_V1 = frozenset({V1, *PREVIEWS})


@dataclass(frozen=True, slots=True)
class Passing:
    """What of clients' requests the configuration lets pass: header fields, and ``PREVIEWS`` of ``api-version``."""

    headers: frozenset[bytes] = frozenset()
    previews: frozenset[str] = frozenset()


NOTHING_MORE = Passing()

_BOTH = (BodyType.JSON, BodyType.MULTIPART)
_MULTIPART = (BodyType.MULTIPART,)
_TEXTS = (b"application/json", b"text/", b"application/x-subrip")
_SOUNDS = (b"audio/", b"video/", b"application/octet-stream", b"binary/octet-stream")

# Azure accepts images of 20 MB in chats, which are 27 MB in base64; audio of 25 MB; images of 50 MB for editing.
_PICTURES = 32 * MEBIBYTE
_AUDIO = 26 * MEBIBYTE
_EDITS = 64 * MEBIBYTE

CHAT = Operation("chat", "chat/completions", Dialect.CHAT, generates=True, counted=True, max_body_bytes=_PICTURES)
RESPONSES = Operation(
    "responses",
    "responses",
    Dialect.RESPONSES,
    generates=True,
    large_events=True,
    counted=True,
    max_body_bytes=_PICTURES,
)
COMPACT = Operation(
    "responses_compact",
    "responses/compact",
    Dialect.RESPONSES,
    generates=True,
    counted=True,
    max_body_bytes=_PICTURES,
)
INPUT_TOKENS = Operation(
    "responses_input_tokens", "responses/input_tokens", Dialect.RESPONSES, free=True, max_body_bytes=_PICTURES
)
MESSAGES = Operation(
    "messages",
    "messages",
    Dialect.MESSAGES,
    generates=True,
    large_events=True,
    counted=True,
    max_body_bytes=_PICTURES,
    api="anthropic",
)
COUNT_TOKENS = Operation(
    "count_tokens",
    "messages/count_tokens",
    Dialect.MESSAGES,
    max_body_bytes=_PICTURES,
    free=True,
    api="anthropic",
)
OPERATIONS: dict[str, Operation] = {
    operation.path: operation
    for operation in (
        CHAT,
        RESPONSES,
        COMPACT,
        INPUT_TOKENS,
        MESSAGES,
        COUNT_TOKENS,
        Operation("completions", "completions", Dialect.CHAT, generates=True, counted=True),
        Operation("embeddings", "embeddings", Dialect.OPEN, counted=True),
        Operation("image_generation", "images/generations", Dialect.OPEN, large_events=True),
        Operation("image_edit", "images/edits", Dialect.OPEN, _BOTH, large_events=True, max_body_bytes=_EDITS),
        Operation(
            "transcription", "audio/transcriptions", Dialect.OPEN, _MULTIPART, media=_TEXTS, max_body_bytes=_AUDIO
        ),
        Operation("translation", "audio/translations", Dialect.OPEN, _MULTIPART, media=_TEXTS, max_body_bytes=_AUDIO),
        Operation("speech", "audio/speech", Dialect.OPEN, large_events=True, media=_SOUNDS),
    )
}

REALTIME = Operation("realtime", "realtime", Dialect.OPEN, generates=True, counted=True)
"""Served over a WebSocket only, so it is not one of ``OPERATIONS``: each of its responses is a request of its own."""

TRANSCRIPTION_IN_SESSION = "realtime_transcription"
"""The operation of a transcription in a realtime session, in log and ledger."""

TRANSCRIPTION = "transcription"
"""The intent and the type of a realtime session that only transcribes."""


_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?", re.ASCII)

# Header fields of an answer that may reach the client. All others are dropped.
_DOWN = frozenset(
    {
        b"content-type",
        b"content-disposition",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"apim-request-id",
        b"x-ms-region",
        b"openai-processing-ms",
        b"request-id",
        b"x-chukei-simulator",
    }
)
_LIMITS_DOWN = (b"x-ratelimit-", b"anthropic-ratelimit-")
# Header fields of a request that may reach the upstream, besides those that the relay writes itself. None of them can
# select a deployment, a quota or an account, or change the format of answers.
_UP = {
    "openai": frozenset({b"content-type", b"openai-beta"}),
    "anthropic": frozenset({b"content-type", b"anthropic-version", b"anthropic-beta"}),
}
IMAGE_DEPLOYMENT = b"x-ms-oai-image-generation-deployment"
"""It can name any deployment of the resource, so it passes only with a name that the configuration allows (Microsoft:
"Azure OpenAI Responses API", image generation)."""

ANTHROPIC_VERSION = (b"anthropic-version", b"2023-06-01")
"""The first version of the Messages API, which requires one, for clients that name none."""

ANY = (b"accept", b"*/*")
"""The relay's own ``accept``. A client's value could make a gateway answer with an error or an HTML page."""

EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
UNBUFFERED: Headers = [(b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no")]
"""Header fields that tell caches and nginx not to buffer a stream."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def is_api_version(text: str) -> bool:
    """Whether a client's ``api-version`` is well-formed, and so safe in an address."""
    return _DATED.fullmatch(text) is not None or text in ALL_V1


def version_for(deployment: Deployment, asked: str | None, previews: Collection[str] = ()) -> str:
    """Return the API version for a request: the deployment's own, else the client's, else v1.

    ``previews`` are those of ``PREVIEWS`` that clients may choose. Others are v1.
    """
    if deployment.api_version is not None or asked is None:
        return deployment.api_version or V1
    return asked if asked in previews or _DATED.fullmatch(asked) else V1


def target(deployment: Deployment, name: str, operation: Operation, version: str) -> str:
    """Return the path and query of an operation on ``name``, the deployment's name on its resource."""
    if operation.api == "anthropic":
        return f"/anthropic/v1/{operation.path}"
    if version == V1:
        return f"/openai/v1/{operation.path}"
    if version in ALL_V1:
        return f"/openai/v1/{operation.path}?api-version={version}"
    if operation.dialect is Dialect.RESPONSES:
        return f"/openai/{operation.path}?api-version={version}"
    return f"/openai/deployments/{_quoted(name)}/{operation.path}?api-version={version}"


_ONLY_V1 = frozenset({"conversations", "containers"})
"""First parts of paths that the classic API does not have."""


def object_target(path: str, query: str, version: str) -> str:
    """Return the path and query of a stored object. ``path`` begins with its family; ``query`` has no version."""
    if version == V1 or (version not in ALL_V1 and path.partition("/")[0] in _ONLY_V1):
        return f"/openai/v1/{path}" + (f"?{query}" if query else "")
    if version in ALL_V1:
        return f"/openai/v1/{path}?api-version={version}" + (f"&{query}" if query else "")
    return f"/openai/{path}?api-version={version}" + (f"&{query}" if query else "")


def realtime_target(deployment: Deployment, version: str, intent: str | None = None) -> str:
    """Return the path and query of a realtime session (Microsoft: "Use the GPT Realtime API via WebSockets").

    One that only transcribes has no model of its own, and the service refuses one (OpenAI, "Realtime transcription").
    """
    recent = version in ALL_V1
    asked = {} if recent else {"api-version": version}
    if intent != TRANSCRIPTION:
        asked["model" if recent else "deployment"] = deployment.deployment
    if intent:
        asked["intent"] = intent
    return f"/openai/{'v1/' if recent else ''}realtime?{urlencode(asked, safe='', quote_via=quote)}"


def ephemeral_target(kind: str, version: str) -> str:
    """Return the path and query that makes an ephemeral key, by the last part of the client's path."""
    if kind == "client_secrets" or version in ALL_V1:
        return f"/openai/v1/realtime/{kind}"
    return f"/openai/realtimeapi/{kind}?api-version={version}"


@lru_cache(1024)
def _quoted(name: str) -> str:
    return quote(name, safe="")


def names_model_in_body(operation: Operation, version: str) -> bool:
    """Whether the body's ``model`` must be the deployment's name."""
    return version in ALL_V1 or operation.dialect is Dialect.RESPONSES or operation.api == "anthropic"


def headers_down(headers: Headers, *, limits: bool = True) -> Headers:
    """Return the header fields of an upstream's answer that the client may see, without control characters.

    ``limits`` says whether to include Azure's own rate limits, which would contradict the caller's limits.
    """
    return [
        (name, value)
        for name, value in headers
        if (name in _DOWN or (limits and name.startswith(_LIMITS_DOWN))) and not _CONTROL.search(value)
    ]


def without_limits(headers: Headers) -> Headers:
    """Return header fields without Azure's own rate limits."""
    return [(name, value) for name, value in headers if not name.startswith(_LIMITS_DOWN)]


def headers_up(
    headers: Headers,
    image_deployments: Collection[str] = (),
    *,
    api: Api = "openai",
    also: frozenset[bytes] = frozenset(),
) -> Headers:
    """Return the header fields of a client's request that the upstream may see: never a credential or an address.

    ``image_deployments`` are the deployments that the client may name for images in a response. ``also`` are the names
    of the fields that the configuration lets pass, for which ``may_pass`` is true.
    """
    known = _UP[api] | also if also else _UP[api]
    passed = [(name, value) for name, value in headers if name in known and not _CONTROL.search(value)]
    if api == "anthropic" and header(passed, ANTHROPIC_VERSION[0]) is None:
        passed.append(ANTHROPIC_VERSION)
    image = header(headers, IMAGE_DEPLOYMENT) if image_deployments else None
    if image is not None and image.decode("latin-1") in image_deployments:
        passed.append((IMAGE_DEPLOYMENT, image))
    return passed


_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_OURS = frozenset(
    """
    accept accept-encoding authorization api-key azureml-model-deployment connection content-encoding content-length
    content-type cookie date expect forwarded host http2-settings keep-alive max-forwards ocp-apim-subscription-key
    openai-organization openai-project origin pragma range referer server set-cookie te trailer traceparent tracestate
    baggage transfer-encoding upgrade user-agent via x-api-key x-http-method x-http-method-override x-method-override
    x-ms-authorization-auxiliary x-ms-client-request-id x-ms-date x-ms-oai-image-generation-deployment x-original-url
    x-real-ip x-request-id x-rewrite-url
    """.split()  # noqa: SIM905 - a list of so many words is easier to read as text
)
_OURS_PREFIXES = (
    "cf-",
    "if-",
    "proxy-",
    "sec-",
    "x-arr-",
    "x-azure-",
    "x-chukei-",
    "x-forwarded-",
    "x-ms-client-principal",
    "x-ms-spillover",
    "x-ms-token-",
)
"""Fields that carry credentials or addresses, belong to one connection, or select a deployment, quota or account."""


def may_pass(name: str) -> bool:
    """Whether the configuration may let a header field of clients pass to the upstream; ``name`` is in lower case."""
    return _NAME.fullmatch(name) is not None and name not in _OURS and not name.startswith(_OURS_PREFIXES)


OUTPUT_LIMITS = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
    "realtime": ("max_output_tokens",),
}
"""The names of the output limit by operation. The relay adds the first one."""

ANY_OUTPUT_LIMIT: frozenset[str] = frozenset().union(*OUTPUT_LIMITS.values())
"""All names of the output limit."""
