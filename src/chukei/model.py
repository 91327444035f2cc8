"""Types that all stages of a request share: operation, caller, deployment, model, prices, end."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Literal

MEBIBYTE = 1024 * 1024

Headers = list[tuple[bytes, bytes]]
"""Header fields in order of arrival, with names in lower case, as ASGI and HTTP/1.1 parsers provide them."""


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of ``name`` (lower case), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


class Dialect(StrEnum):
    """How a stream of server-sent events indicates that it is complete."""

    CHAT = "chat"  # chat and text completions: `data: [DONE]`
    RESPONSES = "responses"  # the terminal events response.completed, .failed, .incomplete
    MESSAGES = "messages"  # Anthropic's Messages API: the event message_stop
    OPEN = "open"  # images and audio: the end of the HTTP body, whose framing is checked


Api = Literal["openai", "anthropic"]
"""The API of a deployment: OpenAI's, or Anthropic's Messages API, which Azure AI Foundry offers for Claude."""


class BodyType(StrEnum):
    """The format of a request body."""

    JSON = "json"
    MULTIPART = "multipart"


@dataclass(frozen=True, slots=True)
class Operation:
    """One upstream operation that the relay serves.

    ``path`` follows ``/v1/`` or ``/openai/deployments/{name}/``. ``generates`` marks operations that generate text, so
    that parameters, caps and the system message apply. ``large_events`` marks operations with whole images or sounds in
    one event, ``counted`` those whose whole answers always report tokens, ``free`` those that cost nothing. ``media``
    are the content types, or their prefixes, of whole answers, ``statuses`` those of success. ``max_body_bytes`` bounds
    a request's body. ``api`` is the API that has the operation.
    """

    name: str
    path: str
    dialect: Dialect
    body_types: tuple[BodyType, ...] = (BodyType.JSON,)
    generates: bool = False
    large_events: bool = False
    media: tuple[bytes, ...] = (b"application/json",)
    counted: bool = False
    statuses: tuple[int, ...] = (200,)
    max_body_bytes: int = 16 * MEBIBYTE
    free: bool = False
    api: Api = "openai"


class CallerKind(StrEnum):
    """How a caller was authenticated."""

    ANONYMOUS = "anonymous"
    LOCAL = "local"
    SHARED = "shared"  # the one key that all share
    KEY = "key"  # a key of its own
    USER = "user"  # a person's Entra ID token, or App Service authentication
    APPLICATION = "application"  # an application's Entra ID token


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    ``name`` identifies the caller in the ledger, the quotas and the logs; it is never a credential. ``groups`` are
    names from the configuration, in its order. ``key_id`` is the public part of the caller's key.
    """

    name: str
    kind: CallerKind
    groups: tuple[str, ...] = ()
    key_id: str | None = None


class End(StrEnum):
    """Why a request ended: the ``end`` field of its log line."""

    COMPLETED = "completed"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    BACKGROUND = "background"  # the response goes on at the service; its settlement has the usage
    REFUSED = "refused"  # by the relay: bad request, key, route
    NO_DEPLOYMENT = "no_deployment"  # all deployments were cooling, full or failing
    UPSTREAM_STATUS = "upstream_status"  # the upstream answered an error status
    UPSTREAM_ERROR = "upstream_error"  # an error event inside a 200
    CONNECT_ERROR = "connect_error"
    TLS_ERROR = "tls_error"
    UPSTREAM_LOST = "upstream_lost"  # broke after the request was sent, before output
    UNEXPECTED_ANSWER = "unexpected_answer"  # HTML, a redirect, compression, broken framing before output
    TRUNCATED = "truncated"
    TRUNCATED_AFTER_FINISH = "truncated_after_finish"
    EVENT_TOO_LARGE = "event_too_large"
    TIMEOUT = "timeout"
    CLIENT_ABORTED = "client_aborted"
    CLIENT_STALLED = "client_stalled"
    SERVER_SHUTDOWN = "server_shutdown"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment on one Azure OpenAI resource.

    ``endpoint`` is the address before ``/openai`` or ``/anthropic``: scheme and authority
    (``https://contoso.openai.azure.com``), and the path of a project or a gateway. ``deployment`` is its name on that
    resource. ``api_version`` is a dated version for the classic API, ``"v1"``, ``"preview"`` or ``"latest"``, or None:
    then the request decides (the classic API with the client's ``api-version``, v1 without one). ``api`` is the API
    that the deployment has.

    ``priority`` is the tier, lower first; ``weight`` is the share inside it. ``max_concurrent`` bounds the requests in
    flight. Deployments with the same ``quota_group`` share one Azure quota, so they cool down together. ``spillover``
    is the deployment on the same resource to which a provisioned deployment may spill over.
    """

    name: str
    endpoint: str
    deployment: str
    api_version: str | None = None
    priority: int = 1
    weight: int = 1
    max_concurrent: int | None = None
    quota_group: str | None = None
    spillover: str | None = None
    api: Api = "openai"

    @property
    def identity(self) -> str:
        """The deployment's address, which identifies it on every replica."""
        return f"{self.endpoint}/{self.deployment}"

    @property
    def resource(self) -> str:
        """The identity of an object that the whole resource keeps."""
        return f"{self.endpoint}/"

    def keeps(self, identity: str) -> bool:
        """Whether the deployment with this identity is on the same resource, so that both know the same objects."""
        return identity.startswith(self.resource)

    @property
    def quota(self) -> str:
        """The identifier of the deployment's quota."""
        return f"group:{self.quota_group}" if self.quota_group is not None else self.identity


class Condition(StrEnum):
    """The new condition of a deployment."""

    COOLING = "cooling"  # Azure answered 429: its whole quota cools down
    OPEN = "open"  # its circuit breaker has opened: it fails, or is misconfigured
    CLOSED = "closed"  # its circuit breaker has closed: it answers again


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a deployment: its ``condition`` for the next ``seconds``, with an error code as ``why``.

    ``subject`` is the ``quota`` for COOLING, else the deployment's ``identity``. Times are relative, because replicas'
    clocks differ. ``only`` describes the requests to which the change is limited. It is None for a change that applies
    to all requests, which is published to other replicas.
    """

    condition: Condition
    subject: str
    seconds: float
    why: str
    only: str | None = None


_VERSION = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4})(?:-preview)?\Z", re.ASCII)
"""The version at the end of a served model's name: gpt-5-nano-2025-08-07, claude-sonnet-4-5-20250929, gpt-4-0613."""

NANO = 1_000_000_000
"""A token price is a whole number of 1/NANO currency units for a million tokens. So sums of tokens times prices are
exact, and rounding happens once for each request."""


@dataclass(frozen=True, slots=True)
class Long:
    """The prices of all tokens of a request whose input is longer than ``above`` tokens."""

    above: int
    prices: "Prices"


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of a model.

    Token prices are whole numbers of 1/NANO currency units for a million tokens. ``cached`` is for input that Azure
    read from its cache, ``cache_write`` for input that it stored there. None means the price of input, or of output;
    for ``cached_audio`` and ``cached_image`` that of ``cached``, for ``cache_write_hour`` that of ``cache_write``.

    Unit prices are in currency units: ``image`` for one image, or ``images`` by "1024x1024 hd", "1024x1024" or "hd";
    ``minute`` of transcribed sound; ``characters`` for a million characters of speech.

    ``tiers`` has other prices, or factors, by the answer's ``service_tier``. ``long`` is for long input. ``by_model``
    has prices by Azure's name of the model that answered, with or without its version: see ``of_model``.
    """

    input: int = 0
    cached: int | None = None
    output: int = 0
    cache_write: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    cached_audio: int | None = None
    cached_image: int | None = None
    cache_write_hour: int | None = None
    image: Fraction | None = None
    images: Mapping[str, Fraction] = field(default_factory=dict)
    minute: Fraction | None = None
    characters: Fraction | None = None
    tiers: "Mapping[str, Prices | Fraction]" = field(default_factory=dict)
    long: Long | None = None
    by_model: "Mapping[str, Prices]" = field(default_factory=dict)

    @property
    def of_tokens(self) -> bool:
        """Whether tokens have a price."""
        return bool(self.input or self.output)

    def of_model(self, served: str | None) -> "Prices":
        """Return the prices of the model that answered: by its full name, else by its name without a version."""
        if not self.by_model or served is None:
            return self
        return self.by_model.get(served) or self.by_model.get(_VERSION.sub("", served)) or self


def per_million(price: str) -> int:
    """Convert a price for a million tokens from currency units to the units of ``Prices``."""
    return int(Decimal(price) * NANO)


@dataclass(frozen=True, slots=True)
class Model:
    """A model name for clients, with the parameters that it fills in and its deployments, best first.

    ``first_token_seconds`` replaces the general time limit of a stream's first sign of life. ``image_deployments`` are
    the deployments that callers may name for images in responses. ``batch_deployment`` is the deployment for batches,
    on the resource that keeps files. ``skip_empty_choices`` removes chunks without choices, for clients that read
    ``choices[0]`` of each chunk.

    The other fields are what clients are told about the model, and change nothing else: a ``description`` and the same
    in other languages by their tags, the ``apis`` by the names of operations, the kinds of ``input``, and limits. Empty
    or None says that it is not known. ``failure`` marks a model of the simulator that shows a failure.
    """

    name: str
    deployments: tuple[Deployment, ...]
    system: str | None = None
    parameters: Mapping[str, object] | None = None
    caps: Mapping[str, int | float] | None = None
    prices: Prices | None = None
    first_token_seconds: float | None = None
    image_deployments: tuple[str, ...] = ()
    batch_deployment: str | None = None
    skip_empty_choices: bool = False
    description: str | None = None
    descriptions: Mapping[str, str] = field(default_factory=dict)
    apis: tuple[str, ...] = ()
    input: tuple[str, ...] = ()
    context_tokens: int | None = None
    output_tokens: int | None = None
    max_images: int | None = None
    failure: bool = False
