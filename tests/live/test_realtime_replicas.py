"""Ephemeral keys and calls at two replicas that share a Redis, which has them under digests and sealed."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.live.plain_http import Answer, post
from tests.live.pools import SECRETS
from tests.live.redis_server import RedisServer
from tests.live.relays import InProcessRelay, eventually
from tests.live.test_sockets_responses import client_of
from websockets.exceptions import InvalidStatus

from chukei.config import load
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

CONFIGURATION = """
[defaults]
model = "voice"
[models.voice]
deployments = ["a"]
[deployments.a]
endpoint = "{endpoint}"
deployment = "voice"
api_key = {{ env = "POOL_KEY" }}
[stores]
quota = "{redis}"
[callers.ann]
key_sha256 = "{ann}"
limits = {{ requests_per_minute = {most} }}
[callers.bob]
key_sha256 = "{bob}"
"""
SECRET, CALLS = "/v1/realtime/client_secrets", "/v1/realtime/calls"
OFFER = b"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"


@dataclass
class Replicas:
    """Two relays, their Redis, and the resource behind both."""

    one: InProcessRelay
    other: InProcessRelay
    redis: RedisServer

    async def told(self) -> None:
        """Wait until Redis knows what the replicas have made."""
        await eventually(lambda: all(", 0 unsent" in repr(each.relay.board) for each in (self.one, self.other)))

    async def key(self, **more: Any) -> str:
        """Make a key at the first replica."""
        body = json.dumps({"session": {"type": "realtime", "model": "voice", "instructions": "Sing."}, **more})
        answer = await as_caller(self.one.url, "ann", body.encode(), path=SECRET)
        assert answer.status == 200, answer.body
        await self.told()
        return str(answer.json()["value"])

    def stored(self) -> tuple[str, bytes]:
        """Return the one key under which Redis keeps what belongs to an ephemeral key, and its value."""
        (name,) = [each for each in self.redis.command("KEYS", "chukei:held:*").split(b"\r\n") if b"held" in each]
        return name.decode(), self.redis.command("GET", name.decode())


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def replicas(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Replicas]:
    redis.command("FLUSHALL")
    async with AsyncExitStack() as stack:
        settings = SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)
        simulator = await stack.enter_async_context(Simulator(settings))
        digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob")}
        path = tmp_path / "chukei.toml"
        path.write_text(CONFIGURATION.format(endpoint=simulator.url, redis=redis.url, most=3, **digests))
        relays = [await stack.enter_async_context(InProcessRelay(load(path, SECRETS))) for _ in range(2)]
        for relay in relays:
            await eventually(lambda relay=relay: "connected" in repr(relay.relay.board))  # type: ignore[misc]
        yield Replicas(relays[0], relays[1], redis)


async def as_caller(relay: str, caller: str, body: bytes, *, path: str) -> Answer:
    return await post(relay, path, body, [("authorization", f"Bearer {caller}")])


async def opened(relay: InProcessRelay, key: str) -> dict[str, Any]:
    async with client_of(relay, "/v1/realtime", additional_headers={"authorization": f"Bearer {key}"}) as client:
        return await client.next()


async def refused(relay: InProcessRelay, key: str) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        await opened(relay, key)
    return refusal.value.response.status_code


async def called(relay: InProcessRelay, key: str) -> Answer:
    return await post(
        relay.url, CALLS, OFFER, (("authorization", f"Bearer {key}"), ("content-type", "application/sdp"))
    )


async def test_a_key_works_at_another_replica_for_its_caller(replicas: Replicas) -> None:
    key = await replicas.key()
    begun = await opened(replicas.other, key)
    assert (begun["type"], begun["session"]["instructions"]) == ("session.created", "Sing.")
    await eventually(lambda: bool(replicas.other.records))
    record = replicas.other.records[-1]
    assert (record.caller, record.model) == ("ann", "voice")
    assert await refused(replicas.other, key[:-1] + ("A" if key[-1] != "A" else "B")) == 401


async def test_redis_keeps_no_secret_and_no_name(replicas: Replicas) -> None:
    key = await replicas.key()
    name, value = replicas.stored()
    sealed = base64.b64decode(value.split(b"\r\n")[1])
    for secret in (key, "ek_", "ann", "voice", "caller"):
        assert secret not in name
        assert secret.encode() not in sealed


async def test_a_key_expires_and_is_revoked_at_all_replicas(replicas: Replicas) -> None:
    key = await replicas.key(expires_after={"anchor": "created_at", "seconds": 30})
    left = int(replicas.redis.command("PTTL", replicas.stored()[0])[1:-2])
    assert 0 < left <= 30_000
    replicas.one.relay.gateway.end_of(lambda who: who.name == "ann")
    await replicas.told()
    assert await refused(replicas.other, key) == 401


async def test_a_key_does_not_outlive_the_key_in_the_configuration_with_which_it_was_made(
    replicas: Replicas, tmp_path: Path
) -> None:
    key = await replicas.key()
    path = tmp_path / "chukei.toml"
    before, after = (hashlib.sha256(text).hexdigest() for text in (b"ann", b"ann's next key"))
    path.write_text(path.read_text().replace(before, after))
    async with InProcessRelay(load(path, SECRETS)) as restarted:
        await eventually(lambda: "connected" in repr(restarted.relay.board))
        assert await refused(restarted, key) == 401


async def test_the_limits_of_a_keys_caller_hold_at_all_replicas(replicas: Replicas) -> None:
    key = await replicas.key()
    statuses = [(await called(replicas.other, key)).status for _ in range(3)]
    assert statuses == [201, 201, 429]


async def test_a_call_is_joined_and_hung_up_by_its_caller_at_another_replica(replicas: Replicas) -> None:
    made = await called(replicas.one, "ann")
    assert made.status == 201, made.body
    call = (made.header("location") or "").rpartition("/")[2]
    await replicas.told()
    path = f"{CALLS}/{call}/hangup"
    stranger = await as_caller(replicas.other.url, "bob", b"", path=path)
    assert (stranger.status, stranger.error["code"]) == (404, "call_not_found")
    options = {"additional_headers": {"authorization": "Bearer ann"}}
    async with client_of(replicas.other, f"/v1/realtime?call_id={call}", **options) as client:
        assert (await client.next())["type"] == "session.created"
    assert (await as_caller(replicas.other.url, "ann", b"", path=path)).status == 200


async def test_while_redis_is_away_the_key_works_where_it_was_made(replicas: Replicas) -> None:
    key = await replicas.key()
    replicas.redis.stop()
    try:
        await eventually(lambda: "away" in repr(replicas.other.relay.board))
        assert (await opened(replicas.one, key))["type"] == "session.created"
        assert await refused(replicas.other, key) == 503
    finally:
        await asyncio.to_thread(replicas.redis.start)
