"""Types that all stages of a request share: operation, caller, deployment, model, prices, end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

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
    OPEN = "open"  # images and audio: the end of the HTTP body, whose framing is checked


class BodyType(StrEnum):
    """The format of a request body."""

    JSON = "json"
    MULTIPART = "multipart"


@dataclass(frozen=True, slots=True)
class Operation:
    """One upstream operation that the relay serves.

    ``path`` follows ``/v1/`` or ``/openai/deployments/{name}/``. ``generates`` marks operations that generate text, so
    that parameters, caps and the system message apply. ``large_events`` marks operations with whole images or sounds in
    one event, ``counted`` those whose whole answers always report tokens. ``media`` are the content types, or their
    prefixes, of whole answers. ``max_body_bytes`` bounds a request's body.
    """

    name: str
    path: str
    dialect: Dialect
    body_types: tuple[BodyType, ...] = (BodyType.JSON,)
    generates: bool = False
    large_events: bool = False
    media: tuple[bytes, ...] = (b"application/json",)
    counted: bool = False
    max_body_bytes: int = 16 * MEBIBYTE


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

    ``endpoint`` is scheme and authority only (``https://contoso.openai.azure.com``). ``deployment`` is its name on
    that resource. ``api_version`` is a dated version for the classic API, ``"v1"``, or None: then the request decides
    (the classic API with the client's ``api-version``, v1 without one).

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

    @property
    def identity(self) -> str:
        """The deployment's address, which identifies it on every replica."""
        return f"{self.endpoint}/{self.deployment}"

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
    read from its cache, ``cache_write`` for input that it stored there. None means the price of input, or of output.

    Unit prices are in currency units: ``image`` for one image, or ``images`` by "1024x1024 hd", "1024x1024" or "hd";
    ``minute`` of transcribed sound; ``characters`` for a million characters of speech.

    ``tiers`` has other prices, or factors, by the answer's ``service_tier``. ``long`` is for long input. ``by_model``
    has prices by Azure's name of the model that answered.
    """

    input: int = 0
    cached: int | None = None
    output: int = 0
    cache_write: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
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


def per_million(price: str) -> int:
    """Convert a price for a million tokens from currency units to the units of ``Prices``."""
    return int(Decimal(price) * NANO)


@dataclass(frozen=True, slots=True)
class Model:
    """A model name for clients, with the parameters that it fills in and its deployments, best first.

    ``first_token_seconds`` replaces the general time limit of a stream's first sign of life. ``image_deployments`` are
    the deployments that callers may name for images in responses. ``skip_empty_choices`` removes chunks without
    choices, for clients that read ``choices[0]`` of each chunk.
    """

    name: str
    deployments: tuple[Deployment, ...]
    system: str | None = None
    parameters: Mapping[str, object] | None = None
    caps: Mapping[str, int | float] | None = None
    prices: Prices | None = None
    first_token_seconds: float | None = None
    image_deployments: tuple[str, ...] = ()
    skip_empty_choices: bool = False
