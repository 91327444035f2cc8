"""Credentials that must not open: none gets in, none breaks anything, none reaches a log."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from tests.fakes import FakeDatabase
from tests.live.both_hosts import Hosts, Setup, resource
from tests.live.hostile_credentials import (
    ALL,
    FAMILIES,
    FIXED,
    PEPPER,
    ROLE,
    SCOPE,
    SHARED,
    SPOOFED,
    Fields,
    Hostile,
    World,
    bearer,
    principal,
)
from tests.live.identity_provider import PERSON, TENANT, IdentityProvider, encoded
from tests.live.plain_http import CHAT, Answer, ask, post
from tests.live.relays import InProcessRelay, RelayProcess, eventually, settings_for
from tests.live.simulated import SimulatorThread, Upstream

from chukei.adapters.identity.signing_keys import RETRY_SECONDS
from chukei.config import Settings
from chukei.errors import CallerError
from chukei.hosts.asgi import Application

pytestmark = pytest.mark.anyio

MOST = 10_000
"""Unknown key ids that are tried."""

SAMPLE = {
    "key-unknown",
    "key-sql",
    "token-alg-none",
    "token-hs256-with-the-public-key",
    "token-expired",
    "token-no-scope",
}

FILE = """
[callers.team-b]
key_sha256 = "{digest}"
"""


@dataclass
class Door:
    """A running relay, what it logged, and whether it knows the keys of the database."""

    url: str
    log: Callable[[], str]
    knows_keys: bool


class KeyedRelay(InProcessRelay):
    """A relay in this process, with a database of keys."""

    def __init__(self, settings: Settings, database: FakeDatabase) -> None:
        super().__init__(settings)
        self.application = Application(self._settings, hooks=[self._record], database=database)


class Collected(logging.Handler):
    """Keeps every line, with all that a formatter could add."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.__dict__}")


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with IdentityProvider() as provider, IdentityProvider() as stranger:
        stranger.published = ["stranger"]
        yield World(provider, stranger)


@pytest.fixture(scope="module")
def environment(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("hostile") / "chukei.toml"
    path.write_text(FILE.format(digest=sha256(FIXED.encode()).hexdigest()))
    return {
        **world.provider.settings,
        "CHUKEI_CONFIG": str(path),
        "CHUKEI_API_KEY": SHARED,
        "CHUKEI_AUTH__PEPPER": PEPPER,
        "CHUKEI_AUTH__ENTRA__SCOPE": SCOPE,
        "CHUKEI_AUTH__ENTRA__ROLE": ROLE,
        "CHUKEI_AUTH__APP_SERVICE": "true",  # but the platform does not say that it is there
        "CHUKEI_AUTH__FAILURES_PER_MINUTE": "0",
        "CHUKEI_LOG__LEVEL": "debug",
        "CHUKEI_LOG__FORMAT": "json",
    }


@pytest.fixture(scope="module")
async def inside(world: World, environment: dict[str, str], simulator_thread: SimulatorThread) -> AsyncIterator[Door]:
    handler, root = Collected(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        settings = settings_for(simulator_thread.url, environment)
        async with KeyedRelay(settings, FakeDatabase(*world.rows())) as relay:
            yield Door(relay.url, lambda: "\n".join(handler.lines), True)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@pytest.fixture(scope="module")
def process(environment: dict[str, str], simulator_thread: SimulatorThread) -> Iterator[Door]:
    resource = {
        "AZURE_OPENAI_ENDPOINT": simulator_thread.url,
        "AZURE_OPENAI_API_KEY": "upstream-secret-key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
    }
    with RelayProcess(resource | environment) as relay:
        yield Door(relay.url, lambda: "\n".join(relay.log), False)


def secrets_of(fields: Fields) -> set[str]:
    """Return what of a credential must not be seen: it, and its longer parts. A key's id is public."""
    found = set()
    for _, value in fields:
        credential = value.removeprefix("Bearer ").strip()
        parts = {credential, *re.split(r"[.\s,;&\"']", credential)}
        found |= {part for part in parts if len(part) >= 12} | {
            part[17:60] for part in parts if part.startswith("chk_")
        }
    return {part for part in found if len(part) >= 12}


def alike(hostile: Hostile) -> str:
    """Return what a credential has in common with others that are refused for the same reason."""
    return f"{hostile.statuses} {hostile.code} {hostile.name.partition('-')[0]}"


async def knock(door: Door, fields: Fields, path: str = "/v1/chat/completions") -> Answer:
    return await post(door.url, path, CHAT, fields)


async def test_a_head_that_breaks_off_is_refused_once(
    simulator_thread: SimulatorThread, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the others, since a relay sums up what it refuses often and logs that later."""
    with caplog.at_level(logging.INFO, "chukei.request"):
        extra = {"CHUKEI_SERVER__HEADER_SECONDS": "1"}
        async with InProcessRelay(settings_for(simulator_thread.url, extra)) as relay:
            assert (await knock(Door(relay.url, str, True), [("api-key", "\x00")])).status == 400
            silence = asyncio.get_running_loop().time() + 1.2  # past the time in which a head must arrive
            await eventually(lambda: asyncio.get_running_loop().time() > silence)
    lines = [vars(record)["fields"] for record in caplog.records if record.name == "chukei.request"]
    assert [line["status"] for line in lines] == [400]


async def refused(hostile: Hostile, door: Door, world: World, upstream: Upstream) -> None:
    fields = hostile.fields(world)
    before = len(door.log())
    answer = await knock(door, fields, hostile.path)
    assert answer.status in hostile.statuses, hostile.name
    code = hostile.code
    if not door.knows_keys and code in ("key_revoked", "key_expired"):
        code = "invalid_api_key"
    if code is not None:
        assert answer.error["code"] == code, hostile.name
    assert upstream.exchanges == [], hostile.name
    shown = answer.body.decode() + repr(answer.headers) + door.log()[before:]
    for secret in secrets_of(fields):
        assert secret not in shown, hostile.name


@pytest.mark.parametrize("family", FAMILIES)
async def test_none_opens(family: str, inside: Door, world: World, upstream: Upstream) -> None:
    for hostile in FAMILIES[family]:
        await refused(hostile, inside, world, upstream)


async def test_nor_where_there_is_no_database_of_keys(process: Door, world: World, upstream: Upstream) -> None:
    """One for each way to be refused, at a relay as users run it."""
    for hostile in {alike(each): each for each in ALL}.values():
        await refused(hostile, process, world, upstream)
    log = process.log()
    for hostile in ALL:
        assert not {secret for secret in secrets_of(hostile.fields(world)) if secret in log}


def test_there_are_enough_and_no_two_are_called_alike() -> None:
    assert len(ALL) >= 60
    assert len({hostile.name for hostile in ALL}) == len(ALL)


async def test_what_they_imitate_does_open(inside: Door, process: Door, world: World) -> None:
    """Else the table would prove nothing."""
    for door in (inside, process):
        for name, fields in world.opening().items():
            if name.startswith("own-key") and not door.knows_keys:
                continue
            answer = await knock(door, fields)
            assert answer.status == 200, (name, answer.body)
            for secret in secrets_of(fields):
                assert secret not in door.log()


async def test_the_wrong_ones_all_hear_the_same(inside: Door, world: World) -> None:
    heard = set()
    for hostile in ALL:
        if hostile.statuses == (401,) and hostile.code == "invalid_api_key":
            fields = hostile.fields(world)
            bare = [name for name, _ in fields]
            if bare and set(bare) <= {"authorization", "api-key"} and fields[0][1].startswith("Bearer "):
                answer = await knock(inside, fields)
                heard.add((answer.status, answer.body, answer.header("www-authenticate")))
    assert {body for _, body, _ in heard} - {body for _, body, _ in heard if b"must be 'Bearer'" in body} == {
        (await knock(inside, [("api-key", "wrong")])).body
    }


async def test_no_stranger_was_asked_for_keys(inside: Door, world: World) -> None:
    for hostile in ALL:
        if "jku" in hostile.name or "x5u" in hostile.name:
            await knock(inside, hostile.fields(world))
    assert world.stranger.fetches == []


async def test_a_door_for_each_page(inside: Door, world: World) -> None:
    """The rule is each route's, not that of how its path begins."""
    for method, path in [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/gpt-4o"),
        ("GET", "/api/test-stream"),
        ("GET", "/health/deployments"),
        ("POST", "/v1/responses"),
        ("POST", "/api/chat-stream"),
        ("POST", "/openai/v1/chat/completions"),
        ("POST", "/openai/deployments/gpt-4o/chat/completions"),
    ]:
        answer = await ask(inside.url, method, path, bearer(world.user(aud="other")), CHAT if method == "POST" else b"")
        assert answer.status == 401, path


class TestUnknownSigningKeys:
    """Whatever key ids are sent, the provider hears of it once in thirty seconds."""

    @pytest.fixture
    async def relay(self, simulator_thread: SimulatorThread) -> AsyncIterator[tuple[InProcessRelay, IdentityProvider]]:
        async with IdentityProvider() as provider:
            extra = {**provider.settings, "CHUKEI_AUTH__FAILURES_PER_MINUTE": "0"}
            async with InProcessRelay(settings_for(simulator_thread.url, extra)) as relay:
                yield relay, provider

    @pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
    async def test_ten_thousand(self, relay: tuple[InProcessRelay, IdentityProvider], down: bool) -> None:
        served, provider = relay
        door = Door(served.url, str, True)
        assert (await knock(door, bearer(provider.token()))).status == 200
        assert len(provider.fetches) == 4, "metadata and keys, of both versions"
        provider.down = down
        began = time.monotonic()
        gatekeeper = served.relay.access.gatekeeper
        claims = encoded(provider.claims())
        for number in range(MOST):
            token = f"{encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': f'id-{number}'})}.{claims}.c2ln"
            if number % 100 == 0:
                assert (await knock(door, bearer(token))).status == 401
                fresh = provider.token(provider.claims(jti=str(number)))
                assert (await knock(door, bearer(fresh))).status == 200, "valid users are served meanwhile"
            else:
                headers = [(b"authorization", b"Bearer " + token.encode())]
                with pytest.raises(CallerError, match="not valid"):
                    await gatekeeper.authenticate(headers, local=False, source="192.0.2.1")
        # One for the first unknown id, and for each time after which a failed or fruitless one may be tried again.
        assert len(provider.fetches) <= 4 + 1 + 4 * (time.monotonic() - began) / RETRY_SECONDS

    async def test_keys_are_replaced_while_it_runs(self, relay: tuple[InProcessRelay, IdentityProvider]) -> None:
        served, provider = relay
        door = Door(served.url, str, True)
        assert (await knock(door, bearer(provider.token()))).status == 200
        provider.published = ["second"]
        assert (await knock(door, bearer(provider.token(key="second")))).status == 200
        claims = provider.claims(jti="new")
        assert (await knock(door, bearer(provider.token(claims)))).status == 401, "withdrawn"

    async def test_a_provider_that_comes_late(self, simulator_thread: SimulatorThread) -> None:
        async with IdentityProvider() as provider:
            provider.down = True
            settings = settings_for(simulator_thread.url, provider.settings)
            async with InProcessRelay(settings) as relay:
                answer = await knock(Door(relay.url, str, True), bearer(provider.token()))
                assert (answer.status, answer.error["code"]) == (503, "identity_unavailable")
                assert answer.header("retry-after") == "5"


class TestRevocation:
    async def test_it_holds_on_every_replica_within_five_seconds(
        self, world: World, simulator_thread: SimulatorThread
    ) -> None:
        database = FakeDatabase(*world.rows())
        settings = settings_for(simulator_thread.url, {"CHUKEI_AUTH__PEPPER": PEPPER})
        async with KeyedRelay(settings, database) as one, KeyedRelay(settings, database) as two:
            doors = [Door(relay.url, str, True) for relay in (one, two)]
            for door in doors:
                assert (await knock(door, bearer(world.key))).status == 200
            revoked = world.rows()[2].revoked
            await database.end_key(world.own.id, expires=None, revoked=revoked)
            async with asyncio.timeout(60):
                for door in doors:
                    while (await knock(door, bearer(world.key))).status == 200:
                        await asyncio.sleep(0.05)
            for door in doors:
                answer = await knock(door, bearer(world.key))
                assert (answer.status, answer.error["code"]) == (401, "key_revoked")
                assert (await knock(door, bearer(world.other.text.reveal()))).status == 200

    async def test_and_while_the_database_is_away_nothing_is_forgotten(
        self, world: World, simulator_thread: SimulatorThread
    ) -> None:
        database = FakeDatabase(*world.rows())
        settings = settings_for(simulator_thread.url, {"CHUKEI_AUTH__PEPPER": PEPPER})
        async with KeyedRelay(settings, database) as relay:
            door = Door(relay.url, str, True)
            assert (await knock(door, bearer(world.key))).status == 200
            database.away = True
            ring = relay.relay.access.ring
            assert ring is not None
            await ring.refresh()
            assert (await knock(door, bearer(world.key))).status == 200
            answer = await knock(door, bearer(world.revoked.text.reveal()))
            assert answer.error["code"] == "key_revoked"

    async def test_a_database_that_was_never_there(self, world: World, simulator_thread: SimulatorThread) -> None:
        database = FakeDatabase(*world.rows())
        database.away = True
        settings = settings_for(simulator_thread.url, {"CHUKEI_AUTH__PEPPER": PEPPER})
        async with KeyedRelay(settings, database) as relay:
            answer = await knock(Door(relay.url, str, True), bearer(world.key))
            assert (answer.status, answer.error["code"]) == (503, "keys_unavailable")
            assert answer.header("retry-after") == "2"


class TestThrottle:
    async def test_failures_of_one_source(self, world: World, simulator_thread: SimulatorThread) -> None:
        database = FakeDatabase(*world.rows())
        extra = {"CHUKEI_AUTH__PEPPER": PEPPER, "CHUKEI_AUTH__FAILURES_PER_MINUTE": "5"}
        async with KeyedRelay(settings_for(simulator_thread.url, extra), database) as relay:
            door = Door(relay.url, str, True)
            statuses = [(await knock(door, bearer("chk_wrong"))).status for _ in range(8)]
            assert statuses[:5] == [401] * 5
            assert 429 in statuses
            assert (await knock(door, bearer(world.key))).status == 200
            await relay.record(len(statuses) + 1)
            assert sum(record.status == 429 for record in relay.records) == statuses.count(429)
            answer = await knock(door, bearer("chk_wrong"))
            if answer.status == 429:
                assert answer.error["code"] == "too_many_failures"
                assert 1 <= int(answer.header("retry-after") or 0) <= 12


class TestPlatform:
    """App Service authentication in front, as its own variable says."""

    async def test_only_then_its_word_counts(self, simulator_thread: SimulatorThread) -> None:
        extra = {"CHUKEI_AUTH__APP_SERVICE": "true", "WEBSITE_AUTH_ENABLED": "True", "CHUKEI_API_KEY": SHARED}
        async with InProcessRelay(settings_for(simulator_thread.url, extra)) as relay:
            door = Door(relay.url, str, True)
            assert (await knock(door, [])).status == 401
            assert (await knock(door, [("x-ms-client-principal", principal())])).status == 200
            who = (await relay.record(2)).who
            assert who is not None
            assert who.name == f"user:{TENANT}/{PERSON}"
            both = [("x-ms-client-principal", principal()), ("api-key", SHARED)]
            assert (await knock(door, both)).error["code"] == "ambiguous_credentials"
            foreign = [("x-ms-client-principal", principal()), ("api-key", "made-up")]
            assert (await knock(door, foreign)).status == 200

    async def test_it_never_goes_up(self, simulator_thread: SimulatorThread, upstream: Upstream) -> None:
        extra = {"CHUKEI_AUTH__APP_SERVICE": "true", "WEBSITE_AUTH_ENABLED": "True"}
        async with InProcessRelay(settings_for(simulator_thread.url, extra)) as relay:
            await knock(Door(relay.url, str, True), [("x-ms-client-principal", principal())])
        assert "x-ms-client-principal" not in upstream.only.headers


def test_the_file_holds_no_secret(environment: dict[str, str]) -> None:
    assert FIXED not in Path(environment["CHUKEI_CONFIG"]).read_text()


async def test_on_functions_the_same_holds(hosts: Hosts, world: World, environment: dict[str, str]) -> None:
    """A sample of the table; the whole of it goes through the same code."""
    kept = {name: value for name, value in environment.items() if name != "CHUKEI_CONFIG"}
    host = hosts.get("functions", Setup("hostile", resource(kept)))
    door = Door(host.url, host.log, False)
    for name, fields in world.opening().items():
        if name not in ("own-key", "own-key-azure", "own-key-other", "fixed"):
            assert (await knock(door, fields)).status == 200, name
    for hostile in [*SPOOFED, *(item for item in ALL if item.name in SAMPLE)]:
        fields = hostile.fields(world)
        assert (await knock(door, fields)).status in hostile.statuses, hostile.name
        for secret in secrets_of(fields):
            assert secret not in door.log(), hostile.name
