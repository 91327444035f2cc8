"""Azure's two APIs: addresses, and which headers may pass."""

from tests.rows import rows

from chukei.azure import (
    ANTHROPIC_VERSION,
    CHAT,
    OPERATIONS,
    RESPONSES,
    V1,
    headers_down,
    headers_up,
    is_api_version,
    may_pass,
    names_model_in_body,
    target,
    version_for,
    without_limits,
)
from chukei.model import Deployment, Headers

OPEN = Deployment("a", "https://a.openai.azure.com", "gpt-4o")
FIXED = Deployment("a", "https://a.openai.azure.com", "gpt-4o", api_version="2024-06-01")


@rows(
    ("deployment", "asked", "version"),
    [
        (OPEN, None, V1),
        (OPEN, "2024-10-21", "2024-10-21"),
        (OPEN, "preview", V1),
        (OPEN, "v1", V1),
        (FIXED, None, "2024-06-01"),
        (FIXED, "2024-10-21", "2024-06-01"),
    ],
)
def test_the_version_is_the_deployments_then_the_clients_then_v1(
    deployment: Deployment, asked: str | None, version: str
) -> None:
    assert version_for(deployment, asked) == version


@rows("text", ["2024-10-21", "2025-04-01-preview", "v1", "preview", "latest"])
def test_versions(text: str) -> None:
    assert is_api_version(text)


@rows("text", ["", "v2", "2024", "2024-10-21&x=1", "2024-10-21\n", "../x", "2024-10-21-beta", "\u0662024-10-21"])
def test_what_could_not_go_into_an_address_is_no_version(text: str) -> None:
    assert not is_api_version(text)


@rows(
    ("name", "version", "expected"),
    [
        ("gpt-4o", "2024-10-21", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ("dep/a b?", "2024-10-21", "/openai/deployments/dep%2Fa%20b%3F/chat/completions?api-version=2024-10-21"),
        ("中", "2024-10-21", "/openai/deployments/%E4%B8%AD/chat/completions?api-version=2024-10-21"),
        ("gpt-4o", V1, "/openai/v1/chat/completions"),
    ],
)
def test_targets(name: str, version: str, expected: str) -> None:
    assert target(OPEN, name, CHAT, version) == expected


def test_responses_have_no_deployment_in_their_path() -> None:
    assert target(OPEN, "x", RESPONSES, "2025-04-01-preview") == "/openai/responses?api-version=2025-04-01-preview"
    assert names_model_in_body(RESPONSES, "2025-04-01-preview")
    assert not names_model_in_body(CHAT, "2024-10-21")
    assert names_model_in_body(CHAT, V1)


def test_every_operation_is_found_by_its_path() -> None:
    assert {path: operation.path for path, operation in OPERATIONS.items()} == {path: path for path in OPERATIONS}
    assert len({operation.name for operation in OPERATIONS.values()}) == len(OPERATIONS)


CREDENTIALS_AND_INFRASTRUCTURE = [
    b"set-cookie",
    b"api-key",
    b"authorization",
    b"www-authenticate",
    b"server",
    b"x-ms-deployment-name",
    b"x-ms-served-model",
    b"azureml-model-session",
    b"strict-transport-security",
    b"transfer-encoding",
    b"content-length",
    b"content-encoding",
    b"connection",
    b"keep-alive",
    b"trailer",
    b"upgrade",
    b"x-request-id",
    b"location",
    b"access-control-allow-origin",
    b"x-accel-buffering",
]


@rows("name", CREDENTIALS_AND_INFRASTRUCTURE)
def test_what_is_the_resources_own_affair_does_not_come_down(name: bytes) -> None:
    assert headers_down([(name, b"x")]) == []


@rows(
    "name",
    [
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-requests",
        b"retry-after",
        b"retry-after-ms",
        b"apim-request-id",
        b"x-ms-region",
        b"content-type",
    ],
)
def test_what_clients_act_on_comes_down(name: bytes) -> None:
    assert headers_down([(name, b"-1")]) == [(name, b"-1")]


def test_only_what_azure_needs_goes_up() -> None:
    sent: Headers = [
        (b"host", b"relay"),
        (b"authorization", b"Bearer relay-key"),
        (b"api-key", b"relay-key"),
        (b"x-api-key", b"relay-key"),
        (b"cookie", b"session=1"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"gzip"),
        (b"content-type", b"application/json"),
        (b"content-length", b"3"),
        (b"connection", b"keep-alive"),
        (b"x-stainless-os", b"Linux"),
        (b"openai-organization", b"o"),
        (b"x-ms-spillover-deployment", b"dear"),
        (b"x-ms-oai-image-generation-deployment", b"dear"),
        (b"x_ms_oai_image_generation_deployment", b"dear"),
        (b"openai-beta", b"assistants=v2"),
    ]
    assert headers_up(sent) == [(b"content-type", b"application/json"), (b"openai-beta", b"assistants=v2")]


def test_what_the_configuration_lets_pass_goes_up_besides() -> None:
    sent: Headers = [(b"aoai-evals", b"preview"), (b"foundry-features", b"x\r\ny"), (b"openai-beta", b"b")]
    also = frozenset({b"aoai-evals", b"foundry-features"})
    assert headers_up(sent, also=also) == [(b"aoai-evals", b"preview"), (b"openai-beta", b"b")]
    assert headers_up(sent, api="anthropic", also=also) == [sent[0], ANTHROPIC_VERSION]


@rows("name", ["aoai-evals", "foundry-features", "x-ms-enable-preview", "x-ms-oai-assistant-testenv", "openai-beta"])
def test_headers_of_features_may_pass(name: str) -> None:
    assert may_pass(name)


@rows(
    "name",
    [
        "", "no name", "a:b", "A", "naïve", "authorization", "api-key", "x-api-key", "ocp-apim-subscription-key",
        "cookie", "proxy-authorization", "x-ms-authorization-auxiliary", "x-ms-token-aad-access-token",
        "x-ms-client-principal-id",
        "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect",
        "content-encoding", "accept-encoding", "forwarded", "x-forwarded-for", "x-real-ip", "via", "x-original-url",
        "x-http-method-override", "x-ms-oai-image-generation-deployment", "x-ms-spillover-deployment",
        "x-ms-spillover-anything", "azureml-model-deployment", "openai-organization", "openai-project",
        "x-ms-client-request-id", "traceparent", "if-none-match", "x-chukei-deployment",
    ],
)  # fmt: skip
def test_credentials_addresses_and_choices_never_pass(name: str) -> None:
    assert not may_pass(name)


@rows(
    ("own", "asked", "previews", "version"),
    [
        (None, "preview", ["preview"], "preview"),
        (None, "latest", ["preview"], "v1"),
        (None, "preview", [], "v1"),
        ("v1", "preview", ["preview"], "v1"),
        ("preview", None, [], "preview"),
        ("latest", "2024-10-21", [], "latest"),
        (None, "2024-10-21", ["preview"], "2024-10-21"),
    ],
)
def test_a_preview_of_v1(own: str | None, asked: str | None, previews: list[str], version: str) -> None:
    deployment = Deployment("d", "https://r.openai.azure.com", "gpt", api_version=own)
    assert version_for(deployment, asked, previews) == version


def test_a_preview_is_asked_for_in_the_query() -> None:
    deployment = Deployment("d", "https://r.openai.azure.com", "gpt")
    assert target(deployment, "gpt", CHAT, "preview") == "/openai/v1/chat/completions?api-version=preview"
    assert names_model_in_body(CHAT, "preview")
    assert target(deployment, "gpt", RESPONSES, "latest") == "/openai/v1/responses?api-version=latest"


def test_a_deployment_for_images_goes_up_if_it_is_allowed() -> None:
    name = b"x-ms-oai-image-generation-deployment"
    for value, passes in (
        (b"gpt-image-1", True),
        (b"dear", False),
        (b"gpt-image-1, dear", False),
        (b"GPT-IMAGE-1", False),
    ):
        assert headers_up([(name, value)], ("gpt-image-1", "other")) == ([(name, value)] if passes else [])
    assert headers_up([(name, b"dear"), (name, b"gpt-image-1")], ("gpt-image-1",)) == []


def test_azures_own_limits_can_be_left_out() -> None:
    headers: Headers = [(b"x-ratelimit-limit-tokens", b"1"), (b"retry-after", b"7")]
    assert without_limits(headers) == headers_down(headers, limits=False) == [(b"retry-after", b"7")]


@rows("value", [b"a\r\nx: y", b"a\nb", b"a\x00", b"\x1b[31m", b"\x7f"])
def test_control_characters_pass_in_neither_direction(value: bytes) -> None:
    assert headers_down([(b"x-ms-region", value)]) == []
    assert headers_up([(b"openai-beta", value)]) == []
