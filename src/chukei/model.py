"""The nouns of a request that every stage shares: who asks, for what, of which deployment, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

MEBIBYTE = 1024 * 1024

Headers = list[tuple[bytes, bytes]]
"""Header fields in order of arrival, names in lower case, as ASGI and HTTP/1.1 parsers hand them over."""


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of ``name`` (lower case), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


class Dialect(StrEnum):
    """How a stream of server-sent events says that it is complete."""

    CHAT = "chat"  # chat and text completions: `data: [DONE]`
    RESPONSES = "responses"  # the terminal events response.completed, .failed, .incomplete
    OPEN = "open"  # images and audio: the end of the HTTP body, whose framing is checked


class BodyType(StrEnum):
    """What a request body is made of."""

    JSON = "json"
    MULTIPART = "multipart"


@dataclass(frozen=True, slots=True)
class Operation:
    """One upstream operation which the relay passes on.

    ``path`` is what follows ``/v1/`` or ``/openai/deployments/{name}/``. ``generates`` marks operations whose answers
    are generated text, so that parameters, caps and the system message apply. ``large_events`` marks those which put
    whole images or sounds into one event, ``counted`` those whose whole answers always report tokens. ``media`` are the
    types, or their beginnings, that an answer which is no stream may have. ``max_body_bytes`` is the largest body of a
    request that is read.
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
    """How a caller was recognised."""

    ANONYMOUS = "anonymous"
    LOCAL = "local"
    SHARED = "shared"  # the one key that all share
    KEY = "key"  # a key of its own
    USER = "user"  # a person's Entra ID token, or App Service authentication
    APPLICATION = "application"  # an application's Entra ID token


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    ``name`` is what the ledger and the quotas know it by, and may go into logs; a credential never does. ``groups`` are
    names from the configuration, in its order. ``key_id`` is the public part of the key it used.
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
    NO_DEPLOYMENT = "no_deployment"  # all were cooling, full or failing
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
    that resource. ``api_version`` is a dated version for the classic API, ``"v1"``, or None: then the request's own
    form decides (the client's ``api-version`` on the classic API, v1 without one).

    ``priority`` is the tier, lower first; ``weight`` the share inside it. ``max_concurrent`` caps the requests in
    flight. Deployments with one ``quota_group`` share one Azure quota, so they cool down together. ``spillover`` is
    the deployment on the same resource to which a provisioned one may spill.
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
        """What tells it from every other deployment, on every replica: where it is."""
        return f"{self.endpoint}/{self.deployment}"

    @property
    def quota(self) -> str:
        """What tells its quota from every other."""
        return f"group:{self.quota_group}" if self.quota_group is not None else self.identity


class Condition(StrEnum):
    """What can become of a deployment."""

    COOLING = "cooling"  # Azure said 429: its whole quota is left alone for a time
    OPEN = "open"  # its circuit breaker is open: it fails, or is misconfigured
    CLOSED = "closed"  # its circuit breaker has closed: it answers again


@dataclass(frozen=True, slots=True)
class Change:
    """What became known of a deployment: its ``condition`` for the next ``seconds``, and the error's code as ``why``.

    ``subject`` is the ``quota`` of what cools, else the deployment's ``identity``. No clock is in it, since replicas
    have different ones. ``only`` says which requests alone it concerns, in words; None where it holds for all, which
    other replicas should know.
    """

    condition: Condition
    subject: str
    seconds: float
    why: str
    only: str | None = None


NANO = 1_000_000_000
"""A price of tokens is a whole number of thousand-millionths of the currency for a million tokens, so that sums of
tokens times prices are exact, and rounding happens once for each request."""


@dataclass(frozen=True, slots=True)
class Long:
    """Other prices for a request whose input is longer than ``above`` tokens, for all of its tokens."""

    above: int
    prices: "Prices"


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model costs.

    For tokens: whole numbers of 1/NANO currency units for a million. ``cached`` is for input that Azure had in its
    cache, ``cache_write`` for what it put there; those of None are priced as input, or output, is.

    By unit, in currency units: ``image`` for one, whose price by "1024x1024 hd", "1024x1024" or "hd" may stand in
    ``images``; ``minute`` of sound that is heard; ``characters``, a million of them, to be spoken.

    ``tiers`` are other prices by the answer's ``service_tier``, or factors for these; ``long`` is for long input;
    ``by_model`` for the model that answered, by the name that Azure gives it.
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
    """Return a price for a million tokens, in currency units, as ``Prices`` has it."""
    return int(Decimal(price) * NANO)


@dataclass(frozen=True, slots=True)
class Model:
    """A name that clients use, what it fills in for them and which deployments serve it, best first.

    ``first_token_seconds`` is how long its streams may give no sign of life, where that is not as for all.
    ``image_deployments`` are the deployments that its callers may name for images within responses.
    ``skip_empty_choices`` keeps chunks without choices from clients that read ``choices[0]`` of each.
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
