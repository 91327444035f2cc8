"""Questions to deployments: credentials by identity, and resources that answer in other ways than the simulator."""

import base64
import json
import re
from collections.abc import Mapping

import pytest
from tests.adapters.servers import Handler, LocalServer, Peer
from tests.doctor.ways import answer
from tests.live.relays import settings_for
from tests.rows import rows

from chukei.adapters.identity.credentials import Token, TokenSource
from chukei.config import Settings, load
from chukei.doctor.examination import examine
from chukei.doctor.finding import Finding, Kind, Status

pytestmark = pytest.mark.anyio

NO_LEDGER = {"CHUKEI_STORES__LEDGER": "none"}
AUDIENCE = "https://cognitiveservices.azure.com"


class FakeToken:
    """A token of Entra ID."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.expires_on = 2_000_000_000


class FakeSource:
    """Gives a token, or fails as azure-identity does."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self.closed = False

    async def get_token(self, *scopes: str) -> Token:
        assert scopes == (f"{AUDIENCE}/.default",)
        if self._token is None:
            raise RuntimeError("DefaultAzureCredential failed to retrieve a token\nmore lines")
        return FakeToken(self._token)

    async def close(self) -> None:
        self.closed = True


def token(**claims: str) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"planted-head.{body}.planted-signature"


def identity(url: str) -> Settings:
    """Return the settings of a relay that uses an identity."""
    return load(None, {"AZURE_OPENAI_ENDPOINT": url, "AZURE_OPENAI_DEPLOYMENT": "gpt-4o"} | NO_LEDGER)


def kind_of(body: bytes) -> bytes:
    """Return the content type of a body."""
    return (
        b"application/json" if body[:1] in (b"{", b"") else b"text/html" if body[:1] == b"<" else b"text/event-stream"
    )


def resource(answers: Mapping[str, tuple[int, bytes]]) -> Handler:
    """A resource with a fixed answer for each operation, by the end of its path."""

    async def handle(peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            path = head.split(b" ")[1].decode().partition("?")[0]
            status, body = next(value for end, value in answers.items() if path.endswith(end))
            await peer.send(answer(status, body, kind=kind_of(body)))

    return handle


async def about_deployments(settings: Settings, source: TokenSource | None = None) -> list[Finding]:
    found = await examine(settings, {}, identity=lambda _: source or FakeSource(None))
    assert "planted" not in str(found)
    return [each for each in found if each.kind in (Kind.DEPLOYMENT, Kind.ENDPOINT) and each.check != "dns"]


def error(code: str, message: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": message}}).encode()


UNABLE = error("OperationNotSupported", "The chatCompletion operation does not work with the specified model, x.")
WHOLE = b'{"object":"chat.completion","choices":[{"finish_reason":"stop","index":0,"message":{"content":"ready"}}]}'
CHAT = b'data: {"choices":[{"index":0,"delta":{"content":"ready"}}]}\n\ndata: [DONE]\n\n'
RESPONSE = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"ready"}\n\n'


@rows(
    ("claims", "status", "seen"),
    [
        ({"aud": AUDIENCE, "oid": "me", "appid": "app"}, Status.OK, "(object me, application app)"),
        ({"aud": "7d312290-28c8-473c-a0ed-8e53749b6d6d"}, Status.OK, "7d312290"),
        ({"aud": "https://vault.azure.net"}, Status.WARNING, "https://vault.azure.net"),
    ],
)
async def test_a_token_is_described_by_its_claims(claims: dict[str, str], status: Status, seen: str) -> None:
    source = FakeSource(token(**claims))
    async with LocalServer(resource({"": (200, CHAT)})) as server:
        found = await about_deployments(identity(f"http://127.0.0.1:{server.port}"), source)
    credential = next(each for each in found if each.check == "credential")
    assert (credential.status, seen in credential.seen) == (status, True)
    assert source.closed


async def test_an_opaque_token_is_not_described() -> None:
    async with LocalServer(resource({"": (200, CHAT)})) as server:
        found = await about_deployments(identity(f"http://127.0.0.1:{server.port}"), FakeSource("planted"))
    assert next(each for each in found if each.check == "credential").seen == "an Entra ID token was obtained"


async def test_without_a_token_nothing_is_asked() -> None:
    async with LocalServer(resource({})) as server:
        found = await about_deployments(identity(f"http://127.0.0.1:{server.port}"))
        assert len(server.peers) == 1  # the check of the connection
    assert [(each.check, each.status) for each in found[-2:]] == [
        ("credential", Status.FAILED),
        ("deployment", Status.SKIPPED),
    ]
    assert found[-2].seen.endswith("RuntimeError: DefaultAzureCredential failed to retrieve a token")
    assert "az login" in found[-2].remedy


async def test_an_identity_without_the_role() -> None:
    refusal = error("PermissionDenied", "The principal lacks the required data action for planted-head.")
    async with LocalServer(resource({"": (401, refusal)})) as server:
        settings = identity(f"http://127.0.0.1:{server.port}")
        found = (await examine(settings, {}, identity=lambda _: FakeSource(token(aud=AUDIENCE))))[-2]
    assert (found.check, found.status) == ("credential", Status.FAILED)
    assert "'Cognitive Services OpenAI User'" in found.remedy


OPERATIONS: dict[str, tuple[dict[str, tuple[int, bytes]], list[tuple[str, Status]]]] = {
    "a chat": (
        {"/chat/completions": (200, CHAT), "/responses": (404, b"")},
        [("chat", Status.OK), ("responses", Status.SKIPPED)],
    ),
    "an embedding": (
        {"/chat/completions": (400, UNABLE), "/embeddings": (200, b'{"data":[]}')},
        [("embeddings", Status.OK)],
    ),
    "only responses": (
        {
            "/chat/completions": (400, UNABLE),
            "/embeddings": (400, UNABLE),
            "/responses": (200, RESPONSE),
        },
        [("responses", Status.OK)],
    ),
    "images": ({"": (400, UNABLE)}, [("deployment", Status.SKIPPED)]),
    "a model that does not stream": (
        {"/chat/completions": (200, WHOLE)},
        [("chat", Status.WARNING)],
    ),
    "a page": ({"": (200, b"<html>")}, [("chat", Status.FAILED)]),
}


@rows(("answers", "checks"), OPERATIONS.values(), ids=OPERATIONS)
async def test_a_deployment_is_asked_for_what_it_can_do(
    answers: dict[str, tuple[int, bytes]], checks: list[tuple[str, Status]]
) -> None:
    async with LocalServer(resource(answers)) as server:
        found = await about_deployments(settings_for(f"http://127.0.0.1:{server.port}", NO_LEDGER))
    assert [(each.check, each.status) for each in found if each.kind is Kind.DEPLOYMENT] == checks


async def test_a_key_that_the_answer_repeats_is_not_shown() -> None:
    refusal = error("invalid_api_key", "Incorrect API key provided: upstream-secret-key.")
    async with LocalServer(resource({"": (401, refusal)})) as server:
        found = await about_deployments(settings_for(f"http://127.0.0.1:{server.port}", NO_LEDGER))
    assert "upstream-secret-key" not in str(found)
    assert "[redacted]" in found[-1].seen


async def test_a_parameter_that_is_unknown_is_left_out() -> None:
    """As the relay does it: a refusal of ``stream_options`` is learnt."""
    bodies = []

    async def handle(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            bodies.append(body)
            refusal = error("unknown_parameter", "Unknown parameter: 'stream_options'.").replace(
                b'"message"', b'"param": "stream_options", "message"'
            )
            good = answer(200, CHAT, kind=kind_of(CHAT))
            await peer.send(answer(400, refusal) if b"stream_options" in body else good)

    async with LocalServer(handle) as server:
        found = await about_deployments(settings_for(f"http://127.0.0.1:{server.port}", NO_LEDGER))
    chat = next(each for each in found if each.check == "chat")
    assert (chat.status, len(bodies) >= 2) == (Status.OK, True)
    assert re.fullmatch(r"answers, first output after \d+ ms", chat.seen)


CLAUDE = {
    "CHUKEI_DEPLOYMENTS__CLAUDE__API": "anthropic",
    "CHUKEI_DEPLOYMENTS__CLAUDE__API_KEY": "key",
}
DELTA = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ready"}}'


@rows(
    ("status", "body", "found"),
    [
        (200, b"event: content_block_delta\ndata: " + DELTA + b"\n\n", Status.OK),
        (404, b'{"error":{"code":"DeploymentNotFound","message":"No."}}', Status.FAILED),
    ],
)
async def test_claude_is_asked_for_a_message(status: int, body: bytes, found: Status) -> None:
    async with LocalServer(resource({"/anthropic/v1/messages": (status, body)})) as server:
        settings = load(
            None, CLAUDE | NO_LEDGER | {"CHUKEI_DEPLOYMENTS__CLAUDE__ENDPOINT": f"http://127.0.0.1:{server.port}"}
        )
        findings = await about_deployments(settings)
    assert [each.status for each in findings if each.kind is Kind.DEPLOYMENT] == [found]
