"""What a deployment's refusal means, and what an operator can do. Pure.

A table, from the status, the code and the words of an error to its remedy. The words are those of recorded answers of
Azure OpenAI, its gateways and API Management.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from chukei.doctor.finding import Status
from chukei.usage import DECODE_ERRORS

ROLE = "Cognitive Services OpenAI User"
MAX_SHOWN = 240
PAGE = "an HTML page"
"""Stands for the code of an answer that has none because it is a page: Azure OpenAI sends JSON."""


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of refusal. ``statuses`` is empty for any; ``code`` and ``words`` are patterns. The first match counts.

    ``remedy`` may contain the names of settings: ``{endpoint}``, ``{deployment}``, ``{api_version}``, ``{api_key}`` and
    ``{scope}``; and ``{name}``, the deployment's name on its resource.
    """

    check: str
    remedy: str
    statuses: frozenset[int] = frozenset()
    code: str = ""
    words: str = ""
    level: Status = Status.FAILED


_GRANT = (
    f"grant the identity the role {ROLE!r} on the resource: az role assignment create --role {ROLE!r} --assignee "
    "OBJECT-ID --scope RESOURCE-ID; it takes effect after some minutes"
)
_NAMES = (
    "{deployment} must be the name of a deployment on the resource of {endpoint}, not of a model; the names are in the "
    "Foundry portal under Deployments, or: az cognitiveservices account deployment list"
)
_VERSION = (
    'set {api_version} to "v1" or to a version that the resource has, such as "2024-10-21"; {endpoint} must be the '
    "resource's address without a path"
)

TABLE = (
    Row("credential", _GRANT, frozenset({401, 403}), words=r"data action|does not have access to API|PermissionDenied"),
    Row("credential", _GRANT, frozenset({401, 403}), code="PermissionDenied"),
    Row(
        "credential",
        "use a token whose audience is https://cognitiveservices.azure.com ({scope}), let the identity be of the "
        "resource's tenant, and look at this machine's clock",
        frozenset({401}),
        words=r"token|audience|expired",
    ),
    Row(
        "credential",
        "use the address https://NAME.openai.azure.com of the resource in {endpoint}: tokens need a custom subdomain",
        words=r"custom (sub)?domain",
    ),
    Row(
        "credential",
        "use an identity (identity = true) in place of {api_key}, or allow local authentication on the resource",
        frozenset({401, 403}),
        code="AuthenticationTypeDisabled",
    ),
    Row(
        "credential",
        "use an identity (identity = true) in place of {api_key}, or allow local authentication on the resource",
        frozenset({401, 403}),
        words=r"key based authentication is disabled",
    ),
    Row(
        "network",
        "let this network reach the resource: by its private endpoint with the private DNS zone "
        "privatelink.openai.azure.com, or by a rule of the resource's firewall",
        frozenset({403}),
        words=r"public access is disabled|private endpoint|virtual network|firewall",
    ),
    Row(
        "answer",
        "look at the proxy or gateway between the relay and {endpoint}: this page is its own, and not Azure OpenAI's",
        code=PAGE,
    ),
    Row(
        "credential",
        "copy a key of this resource (portal: Keys and Endpoint) into {api_key}; it must belong to {endpoint}",
        frozenset({401}),
    ),
    Row("credential", f"see why in the words of the answer; an identity needs the role {ROLE!r}", frozenset({403})),
    Row("deployment", _NAMES, code=r"DeploymentNotFound|model_not_found|unknown_model|InvalidDeployment"),
    Row("deployment", _NAMES, frozenset({404}), words=r"deployment.*(not exist|not found)"),
    Row("api_version", _VERSION, frozenset({400, 404}), words=r"api.?version"),
    Row("api_version", _VERSION, frozenset({404})),
    Row(
        "quota",
        "raise the quota in the Foundry portal or buy credit: waiting does not help",
        code="insufficient_quota",
    ),
    Row(
        "quota",
        "it works, but is busy: wait, raise its tokens per minute (Foundry portal: Quotas), or add a deployment",
        frozenset({429}),
        level=Status.WARNING,
    ),
    Row(
        "content filter",
        "it works, but its content filter refused the doctor's harmless question: look at the filter's settings",
        code="content_filter",
        level=Status.WARNING,
    ),
    Row(
        "parameters",
        "remove that parameter from the model's parameters or caps in the configuration",
        frozenset({400}),
        words=r"(unknown|unsupported|unrecognized).*(parameter|argument|value)",
    ),
    Row(
        "service",
        "wait and try again; if it stays so, see the resource's health in the portal and status.azure.com",
        frozenset({408, 500, 502, 503, 504, 529}),
    ),
    Row("answer", "act on the words of the answer; the doctor does not know this refusal"),
)

UNABLE = re.compile(
    r"operation does not work with the specified model|OperationNotSupported|unsupported_operation|"
    r"not supported (in|with|for) (this|the) (model|endpoint|operation)|does not support (chat|this)|"
    r"only supported in v1/|not a chat model",
    re.IGNORECASE,
)
"""Words of a deployment that cannot do an operation, but may do others."""

BROKEN: Mapping[str, str] = {
    "connect_timeout": "see the endpoint's check of its connection",
    "connect_error": "see the endpoint's check of its connection",
    "tls_unverified": "see the endpoint's check of its certificate",
    "tls_error": "see the endpoint's check of its certificate",
    "upstream_timeout": "see whether the deployment is overloaded, or raise stream.first_token_seconds",
    "thinking_timeout": "raise stream.thinking_seconds, or lower the model's reasoning effort",
    "unexpected_encoding": "turn off compression in the gateway or proxy between the relay and Azure",
    "unexpected_redirect": "correct {endpoint}: write the address to which it redirects, with https://",
    "unexpected_content_type": "correct {endpoint}: a page or a proxy answers there, and not Azure OpenAI",
    "not_a_stream": "it works, but this model does not stream: its clients must leave out stream",
    "unexpected_answer": "correct {endpoint}: a page or a proxy answers there, and not Azure OpenAI",
    "upstream_lost": "look at what stands between the relay and Azure: it cuts connections",
}
"""Remedies for failures without a refusal, by the relay's error code."""


class _Error(msgspec.Struct):
    code: object = None
    message: object = None


class _Refusal(msgspec.Struct):
    error: _Error | None = None
    message: object = None  # of API Management, without "error"


def words_of(body: bytes) -> tuple[str, str]:
    """Return the code and the message of an error's body, as far as there are any."""
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except DECODE_ERRORS:
        return (PAGE, "") if body.lstrip().startswith(b"<") else ("", " ".join(body.decode("utf-8", "replace").split()))
    if refusal.error is None:
        return "", str(refusal.message or "")
    return str(refusal.error.code or ""), " ".join(str(refusal.error.message or "").split())


def row_of(status: int, code: str, message: str) -> Row:
    """Return the row of a refusal."""
    return next(row for row in TABLE if _matches(row, status, code, message))


def _matches(row: Row, status: int, code: str, message: str) -> bool:
    if row.statuses and status not in row.statuses:
        return False
    if row.code and not re.fullmatch(row.code, code, re.IGNORECASE):
        return False
    return not row.words or re.search(row.words, message, re.IGNORECASE) is not None


def is_unable(code: str, message: str) -> bool:
    """Whether a deployment cannot do the operation, but may do others."""
    return UNABLE.search(f"{code} {message}") is not None
