"""Tokens: fetched once for all requests and before they expire, and retried at a low rate while fetching fails."""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.adapters.servers import LocalServer, Peer
from tests.fakes import FakeClock
from tests.live.relays import clean_environment, eventually
from tests.rows import rows

from chukei.adapters.identity import credentials
from chukei.adapters.identity.credentials import FixedCredential, IdentityCredential, credential_for
from chukei.config import CredentialSettings, Secret, load
from chukei.errors import UpstreamError
from chukei.hosts.workers.peers import Alone
from chukei.model import End
from chukei.wiring.build import build

pytestmark = pytest.mark.anyio

needs_identity = pytest.mark.skipif(
    find_spec("azure") is None or find_spec("azure.identity") is None,
    reason="azure-identity is not installed (requirements/identity.txt)",
)


@dataclass(frozen=True)
class FakeToken:
    token: str
    expires_on: int


class FakeSource:
    """Hands out numbered tokens that live an hour, or fails, or waits."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.fetched = 0
        self.scopes: list[str] = []
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.closed = False

    async def get_token(self, *scopes: str) -> FakeToken:
        self.fetched += 1
        self.scopes += scopes
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return FakeToken(f"token-{self.fetched}", int(self._clock()) + 3600)

    async def close(self) -> None:
        self.closed = True


def identity() -> tuple[IdentityCredential, FakeSource, FakeClock]:
    clock = FakeClock(1_700_000_000)
    source = FakeSource(clock)
    return IdentityCredential(lambda: source, "scope/.default", wall=clock), source, clock


async def settle() -> None:
    """Let background work that needs no thread come to its end."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_fetch_serves_all() -> None:
    credential, source, _ = identity()
    found = await asyncio.gather(*(credential.header() for _ in range(20)))
    assert set(found) == {(b"authorization", b"Bearer token-1")}
    assert source.fetched == 1
    assert source.scopes == ["scope/.default"]
    await credential.close()
    assert source.closed


async def test_warming_fetches_ahead_of_the_first_request() -> None:
    credential, source, _ = identity()
    credential.warm()
    credential.warm()
    assert await credential.header() == (b"authorization", b"Bearer token-1")
    assert source.fetched == 1


async def test_a_token_is_renewed_in_the_background_before_it_ends() -> None:
    credential, source, clock = identity()
    await credential.header()
    clock.advance(3600 - credentials.REFRESH_BEFORE - 1)
    await credential.header()
    assert source.fetched == 1
    clock.advance(2)
    source.open.clear()
    for _ in range(5):
        assert await credential.header() == (b"authorization", b"Bearer token-1")  # nobody waits
    await settle()
    assert source.fetched == 2
    source.open.set()
    await settle()
    assert await credential.header() == (b"authorization", b"Bearer token-2")


async def test_a_token_is_renewed_while_nobody_asks() -> None:
    source = FakeSource(FakeClock(time.time()))
    credential = IdentityCredential(lambda: source, "scope/.default", renew_before=3599.9, retry_after=0.01)
    await credential.header()
    await eventually(lambda: source.fetched >= 2)
    source.failure = RuntimeError("away for a while")
    fetched = source.fetched
    await eventually(lambda: source.fetched >= fetched + 2)
    await credential.close()


async def test_a_timer_that_is_early_is_set_again() -> None:
    """A loop's timers and the clock that a token's end is given in are not the same."""
    clock = FakeClock(1_700_000_000)
    source = FakeSource(clock)
    credential = IdentityCredential(
        lambda: source, "scope/.default", wall=clock, renew_before=3599.99, retry_after=0.001
    )
    await credential.header()
    early = clock()
    for _ in range(3):  # the timer strikes after 10 ms of the loop's time, of which the other clock knows nothing
        await asyncio.sleep(0.02)
    assert (source.fetched, clock()) == (1, early)
    clock.advance(1)
    await eventually(lambda: source.fetched == 2)
    await credential.close()


async def test_a_failed_renewal_keeps_the_old_token_and_does_not_hammer() -> None:
    credential, source, clock = identity()
    await credential.header()
    clock.advance(3600 - 100)
    source.failure = RuntimeError("identity is away")
    for _ in range(50):
        assert await credential.header() == (b"authorization", b"Bearer token-1")
        await settle()
    assert source.fetched == 2
    clock.advance(credentials.RETRY_AFTER)
    await credential.header()
    await settle()
    assert source.fetched == 3


async def test_without_a_token_the_answer_is_clear_and_the_source_is_left_in_peace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    credential, source, clock = identity()
    source.failure = RuntimeError("ManagedIdentityCredential: no endpoint")
    for _ in range(20):
        with pytest.raises(UpstreamError) as caught:
            await credential.header()
        assert (caught.value.status, caught.value.code) == (502, "upstream_identity_unavailable")
        assert caught.value.end is End.CONNECT_ERROR
        assert "no endpoint" not in caught.value.message
    assert source.fetched == 1
    assert "no endpoint" in caplog.text
    source.failure = None
    clock.advance(credentials.RETRY_AFTER)
    assert await credential.header() == (b"authorization", b"Bearer token-2")


async def test_an_expired_token_is_never_sent() -> None:
    credential, source, clock = identity()
    await credential.header()
    clock.advance(3600)
    source.failure = RuntimeError("away")
    with pytest.raises(UpstreamError):
        await credential.header()


async def test_a_client_that_leaves_does_not_stop_the_fetch_for_others() -> None:
    credential, source, _ = identity()
    source.open.clear()
    leaving, staying = (asyncio.create_task(credential.header()) for _ in range(2))
    while not source.fetched:
        await asyncio.sleep(0.001)
    leaving.cancel()
    await asyncio.wait({leaving})
    source.open.set()
    assert await staying == (b"authorization", b"Bearer token-1")
    assert source.fetched == 1


async def test_a_source_that_hangs_is_given_up() -> None:
    credential, source, clock = identity()
    hanging = IdentityCredential(lambda: source, "s", wall=clock, seconds=0.02)
    source.open.clear()
    with pytest.raises(UpstreamError):
        async with asyncio.timeout(60):
            await hanging.header()
    await hanging.close()
    await credential.close()


async def test_closing_stops_a_fetch() -> None:
    credential, source, _ = identity()
    source.open.clear()
    credential.warm()
    while not source.fetched:
        await asyncio.sleep(0.001)
    await credential.close()
    assert source.closed


async def test_keys_and_tokens_are_fixed_headers() -> None:
    key = credential_for(CredentialSettings(api_key=Secret("k")))
    token = credential_for(CredentialSettings(token=Secret("t")))
    assert await key.header() == (b"api-key", b"k")
    assert await token.header() == (b"authorization", b"Bearer t")
    assert isinstance(key, FixedCredential)
    key.warm()
    await key.close()


async def test_an_identity_is_not_imported_before_it_is_needed() -> None:
    credential = credential_for(CredentialSettings(scope="s", client_id="c"))
    assert isinstance(credential, IdentityCredential)
    await credential.close()


# The real library, in a process of its own because it is configured by the environment.

ASK = """
import asyncio, json, sys
from chukei.adapters.identity.credentials import credential_for
from chukei.config import CredentialSettings

async def main():
    scope = "https://cognitiveservices.azure.com/.default"
    credential = credential_for(CredentialSettings(scope=scope, client_id=sys.argv[1] or None))
    first, second = await credential.header(), await credential.header()
    await credential.close()
    print(json.dumps([first[0].decode(), first[1].decode(), first == second]))

asyncio.run(main())
"""


async def ask(environment: dict[str, str], client_id: str = "") -> list[object]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error::ResourceWarning",
        "-c",
        ASK,
        client_id,
        env=clean_environment(environment | {"NO_PROXY": "*"}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    found: list[object] = json.loads(out)
    return found


class IdentityEndpoint(LocalServer):
    """What App Service and Functions put at IDENTITY_ENDPOINT."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.heads: list[bytes] = []

    async def _answer(self, peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            self.heads.append(head)
            body = json.dumps({"access_token": "managed-token", "expires_on": "4102444800", "resource": "r"}).encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            await peer.send(head + body)


@needs_identity
@rows("client_id", ["", "11111111-2222-3333-4444-555555555555"])
async def test_a_token_of_app_services_managed_identity(client_id: str) -> None:
    async with IdentityEndpoint() as endpoint:
        environment = {"IDENTITY_ENDPOINT": f"{endpoint.url}/msi/token", "IDENTITY_HEADER": "platform-secret"}
        found = await ask(environment, client_id)
    assert found == ["authorization", "Bearer managed-token", True]
    [head] = endpoint.heads
    assert b"x-identity-header: platform-secret" in head.lower()
    assert b"resource=https" in head
    assert (b"client_id=" + client_id.encode() in head) is bool(client_id)


@needs_identity
async def test_a_token_of_a_virtual_machines_metadata_service() -> None:
    async with IdentityEndpoint() as endpoint:
        found = await ask({"AZURE_POD_IDENTITY_AUTHORITY_HOST": endpoint.url, "PATH": os.defpath})
    assert found == ["authorization", "Bearer managed-token", True]
    assert b"metadata: true" in endpoint.heads[-1].lower()
    assert endpoint.heads[-1].startswith(b"GET /metadata/identity/oauth2/token?")


@needs_identity
async def test_no_identity_at_all_is_a_clear_failure() -> None:
    async def refuse(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 400 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async with LocalServer(refuse) as endpoint:
        environment = {
            "IDENTITY_ENDPOINT": f"{endpoint.url}/msi/token",
            "IDENTITY_HEADER": "platform-secret",
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "PATH": os.defpath,
        }
        with pytest.raises(AssertionError, match="could not get an Entra ID token") as caught:
            await ask(environment)
    assert "platform-secret" not in str(caught.value)


def test_deployments_with_one_identity_and_scope_share_their_token(tmp_path: Path) -> None:
    other = "11111111-2222-3333-4444-555555555555"
    tables = "".join(
        f"""
[deployments.{name}]
endpoint = "https://{name}.openai.azure.com"
identity = true
{more}
"""
        for name, more in (
            ("east", ""),
            ("west", ""),
            ("north", f'client_id = "{other}"'),
            ("south", 'scope = "api://x"'),
        )
    )
    path = tmp_path / "relay.toml"
    path.write_text(f'{tables}\n[models.gpt-4o]\ndeployments = ["east", "west", "north", "south"]\n')
    settings = load(path, {"CHUKEI_STORES__LEDGER": "none"})
    assert len(build(settings, (), Alone()).credentials) == 3
