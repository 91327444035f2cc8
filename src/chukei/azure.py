"""Azure OpenAI's two APIs: operations, addresses, and the headers that may pass.

The classic API names the deployment in the path and needs ``api-version``; v1 names it in the body's ``model`` and has
no version (Microsoft: "Azure OpenAI in Azure AI Foundry Models API lifecycle").
"""

import re
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import quote

from chukei.model import MEBIBYTE, BodyType, Deployment, Dialect, Headers, Operation, header

V1 = "v1"

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
OPERATIONS: dict[str, Operation] = {
    operation.path: operation
    for operation in (
        CHAT,
        RESPONSES,
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
        b"x-chukei-simulator",
    }
)
_DOWN_PREFIX = b"x-ratelimit-"
# Header fields of a request that may reach the upstream, besides those that the relay writes itself. None of them can
# select a deployment, a quota or an account, or change the format of answers.
_UP = frozenset({b"content-type", b"openai-beta"})
IMAGE_DEPLOYMENT = b"x-ms-oai-image-generation-deployment"
"""It can name any deployment of the resource, so it passes only with a name that the configuration allows (Microsoft:
"Azure OpenAI Responses API", image generation)."""

ANY = (b"accept", b"*/*")
"""The relay's own ``accept``. A client's value could make a gateway answer with an error or an HTML page."""

EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
UNBUFFERED: Headers = [(b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no")]
"""Header fields that tell caches and nginx not to buffer a stream."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def is_api_version(text: str) -> bool:
    """Whether a client's ``api-version`` is well-formed, and so safe in an address."""
    return _DATED.fullmatch(text) is not None or text in {V1, "preview", "latest"}


def version_for(deployment: Deployment, asked: str | None) -> str:
    """Return the API version for a request: the deployment's own, else the client's, else v1."""
    return deployment.api_version or (asked if asked and _DATED.fullmatch(asked) else V1)


def target(deployment: Deployment, name: str, operation: Operation, version: str) -> str:
    """Return the path and query of an operation on ``name``, the deployment's name on its resource."""
    if version == V1:
        return f"/openai/v1/{operation.path}"
    if operation is RESPONSES:
        return f"/openai/responses?api-version={version}"
    return f"/openai/deployments/{_quoted(name)}/{operation.path}?api-version={version}"


@lru_cache(1024)
def _quoted(name: str) -> str:
    return quote(name, safe="")


def names_model_in_body(operation: Operation, version: str) -> bool:
    """Whether the body's ``model`` must be the deployment's name."""
    return version == V1 or operation is RESPONSES


def headers_down(headers: Headers, *, limits: bool = True) -> Headers:
    """Return the header fields of an upstream's answer that the client may see, without control characters.

    ``limits`` says whether to include Azure's own rate limits, which would contradict the caller's limits.
    """
    return [
        (name, value)
        for name, value in headers
        if (name in _DOWN or (limits and name.startswith(_DOWN_PREFIX))) and not _CONTROL.search(value)
    ]


def without_limits(headers: Headers) -> Headers:
    """Return header fields without Azure's own rate limits."""
    return [(name, value) for name, value in headers if not name.startswith(_DOWN_PREFIX)]


def headers_up(headers: Headers, image_deployments: Collection[str] = ()) -> Headers:
    """Return the header fields of a client's request that the upstream may see: never a credential or an address.

    ``image_deployments`` are the deployments that the client may name for images in a response.
    """
    passed = [(name, value) for name, value in headers if name in _UP and not _CONTROL.search(value)]
    image = header(headers, IMAGE_DEPLOYMENT) if image_deployments else None
    if image is not None and image.decode("latin-1") in image_deployments:
        passed.append((IMAGE_DEPLOYMENT, image))
    return passed


OUTPUT_LIMITS = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
"""The names of the output limit by operation. The relay adds the first one."""

ANY_OUTPUT_LIMIT: frozenset[str] = frozenset().union(*OUTPUT_LIMITS.values())
"""All names of the output limit."""
