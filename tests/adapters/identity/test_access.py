"""Building the gatekeeper: it has exactly the parts that the settings require, and it closes them."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from tests.fakes import FakeClock, FakeDatabase
from tests.live.identity_provider import PERSON, TENANT, IdentityProvider
from tests.live.sign_in_provider import SignInProvider

from chukei.accounts.ledger import Key
from chukei.accounts.stores import Database
from chukei.adapters.identity.access import Access, Readers, access, peppers
from chukei.callers import keys
from chukei.callers.tokens import TokenRefused
from chukei.config import load
from chukei.model import Caller, CallerKind, Headers

pytestmark = pytest.mark.anyio

PEPPER = "a pepper of thirty-two characters or more"


def built(environment: Mapping[str, str], database: Database | None = None, path: str | None = None) -> Access:
    return access(load(path, environment), FakeClock(), FakeClock(datetime.now(UTC).timestamp()), database)


async def let_in(door: Access, headers: Headers) -> Caller:
    return await door.gatekeeper.authenticate(headers, local=False, source="192.0.2.1")


def test_nothing_configured_is_nothing_built() -> None:
    door = built({})
    assert (door.ring, door.readers) == (None, Readers())
    assert repr(door.gatekeeper) == "<Gatekeeper open to this machine>"


async def test_keys_of_a_database_with_the_configured_pepper() -> None:
    environment = {"CHUKEI_AUTH__PEPPER": PEPPER}
    new = keys.make()
    digest, version = peppers(load(None, environment)).key_digest(new)
    assert version == 1
    row = Key(new.id, "team-a", "staff", digest, version, datetime.now(UTC), None, None, None)
    door = built(environment, FakeDatabase(row))
    door.start()
    found = await let_in(door, [(b"api-key", new.text.reveal().encode())])
    assert found == Caller("team-a", CallerKind.KEY, ("staff",), new.id)
    await door.close()


async def test_keys_of_the_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("access") / "chukei.toml"
    digest = hashlib.sha256(b"a key").hexdigest().upper()
    path.write_text(
        f'[groups.staff]\n[callers.team-b]\nkey_sha256 = "{digest}"\ngroups = ["staff"]\n[callers.team-c]\n'
    )
    door = built({}, path=str(path))
    assert await let_in(door, [(b"api-key", b"a key")]) == Caller("team-b", CallerKind.KEY, ("staff",))
    assert repr(door.gatekeeper) == "<Gatekeeper closed>"


async def test_tokens_and_their_end() -> None:
    async with IdentityProvider() as provider:
        tasks = len(asyncio.all_tasks())
        door = built(provider.settings)
        door.start()
        token = provider.token().encode()
        assert (await let_in(door, [(b"authorization", b"Bearer " + token)])).kind is CallerKind.USER
        await door.close()
        assert door.readers.client is not None
        assert door.readers.client.open_connections == 0
    assert len(asyncio.all_tasks()) <= tasks


async def test_administrators_share_the_keys_of_their_tenant_but_not_the_audience() -> None:
    async with SignInProvider() as provider:
        door = built(provider.settings | provider.admin_settings)
        door.start()
        callers, admins = door.readers.callers, door.readers.administrators
        assert callers is not None
        assert admins is not None
        assert len(door.readers.signing_keys) == 1
        found = await admins.holder(provider.admin_token().encode())
        assert (found.actor.id, found.may_change) == (f"user:{TENANT}/{PERSON}", True)
        assert (await callers.holder(provider.token().encode())).kind is CallerKind.USER
        for reader, token in ((admins, provider.token()), (callers, provider.admin_token())):
            with pytest.raises(TokenRefused, match="wrong audience"):
                await reader.holder(token.encode())
        await door.close()


async def test_administrators_alone_may_have_tokens() -> None:
    async with SignInProvider() as provider:
        door = built(provider.admin_settings)
        assert (door.readers.callers, repr(door.gatekeeper)) == (None, "<Gatekeeper open to this machine>")
        await door.close()


@pytest.mark.parametrize(("variable", "warnings"), [({}, 1), ({"WEBSITE_AUTH_ENABLED": "True"}, 0)])
def test_a_platform_that_is_not_there_is_announced(
    variable: dict[str, str], warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        built({"CHUKEI_AUTH__APP_SERVICE": "true"} | variable)
    assert len(caplog.records) == warnings
