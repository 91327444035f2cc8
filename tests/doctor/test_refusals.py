"""What refusals mean, in the words that Azure OpenAI and gateways in front of it really use."""

import msgspec
from tests.rows import rows

from chukei.doctor.finding import Status
from chukei.doctor.refusals import BROKEN, PAGE, TABLE, is_unable, row_of, words_of

REFUSALS: list[tuple[int, str, str, str, str]] = [
    # status, code, message, check, a word of the remedy
    (401, "401", "Access denied due to invalid subscription key or wrong API endpoint. …", "credential", "{api_key}"),
    (401, "PermissionDenied", "Principal does not have access to API/Operation.", "credential", "OpenAI User"),
    (
        401,
        "PermissionDenied",
        "The principal `x` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/…`",
        "credential",
        "OpenAI User",
    ),
    (
        401,
        "401",
        "Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), "
        "or have expired.",
        "credential",
        "{scope}",
    ),
    (403, "AuthenticationTypeDisabled", "Key based authentication is disabled.", "credential", "identity = true"),
    (403, "403", "Public access is disabled. Please configure private endpoint.", "network", "privatelink"),
    (403, "403", "Access denied due to Virtual Network/Firewall rules.", "network", "firewall"),
    (404, "DeploymentNotFound", "The API deployment for this resource does not exist. …", "deployment", "{deployment}"),
    (400, "unknown_model", "Unknown model: gpt-4", "deployment", "{deployment}"),
    (404, "404", "Resource not found", "api_version", "{api_version}"),
    (400, "BadRequest", "API version not supported", "api_version", "{api_version}"),
    (
        400,
        "BadRequest",
        "Model o3-mini is enabled only for api versions 2024-12-01-preview and later",
        "api_version",
        "{api_version}",
    ),
    (
        429,
        "RateLimitReached",
        "Your requests to gpt-4.1 … under Azure OpenAI API version 2024-08-01-preview. Please retry after 60 seconds.",
        "quota",
        "busy",
    ),
    (429, "insufficient_quota", "You exceeded your current quota, please check your plan", "quota", "credit"),
    (400, "content_filter", "The response was filtered due to the prompt …", "content filter", "filter"),
    (400, "unknown_parameter", "Unknown parameter: 'seeds'.", "parameters", "parameters"),
    (503, "503", "The service is temporarily unable to process your request.", "service", "status.azure.com"),
    (403, PAGE, "", "answer", "proxy or gateway"),
    (503, PAGE, "", "answer", "proxy or gateway"),
    (418, "", "", "answer", "words"),
]


@rows(("status", "code", "message", "check", "advice"), REFUSALS)
def test_each_refusal_has_its_check_and_remedy(status: int, code: str, message: str, check: str, advice: str) -> None:
    row = row_of(status, code, message)
    assert row.check == check
    assert advice in row.remedy


def test_a_deployment_that_is_only_busy_is_no_failure() -> None:
    assert row_of(429, "429", "Please retry after 22 seconds.").level is Status.WARNING
    assert row_of(429, "insufficient_quota", "").level is Status.FAILED


def test_remedies_name_no_unknown_setting() -> None:
    settings = dict.fromkeys(("endpoint", "deployment", "api_version", "api_key", "scope"), "x")
    for remedy in [*(row.remedy for row in TABLE), *BROKEN.values()]:
        assert remedy.format(**settings)


@rows(
    ("body", "words"),
    [
        (b'{"error":{"code":"401","message":"No.\\n Really."}}', ("401", "No. Really.")),
        (b'{"error":{"code":null,"message":null}}', ("", "")),
        (
            b'{ "statusCode": 401, "message": "Access denied due to missing subscription key." }',
            ("", "Access denied d"),
        ),
        (b"upstream connect error", ("", "upstream connect error")),
        (b"<html><script>", (PAGE, "")),
        (b"", ("", "")),
        (b"[]", ("", "[]")),
    ],
)
def test_the_words_of_a_refusal(body: bytes, words: tuple[str, str]) -> None:
    code, message = words_of(body)
    assert (code, message[: len(words[1])]) == words


@rows(
    ("message", "unable"),
    [
        ("The chatCompletion operation does not work with the specified model, text-embedding-3-small.", True),
        ("This is not a chat model and thus not supported in the v1/chat/completions endpoint.", True),
        ("Unknown parameter: 'seeds'.", False),
        ("API version not supported", False),
    ],
)
def test_what_cannot_chat_is_not_broken(message: str, unable: bool) -> None:
    assert is_unable("BadRequest", message) is unable
    assert is_unable("OperationNotSupported", "")


def test_the_simulators_refusals_are_known() -> None:
    from chukei.simulator.azure import recorded_error

    checks = {}
    for name in ("401", "403", "404", "api-version", "no-resource", "503", "filter-prompt"):
        error = recorded_error(name)
        assert msgspec.json.decode(error.body)
        checks[name] = row_of(error.status, *words_of(error.body)).check
    assert checks == {
        "401": "credential",
        "403": "network",
        "404": "deployment",
        "api-version": "api_version",
        "no-resource": "api_version",
        "503": "service",
        "filter-prompt": "content filter",
    }
