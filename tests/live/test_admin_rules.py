"""Limits and groups that an administrator sets on one relay, on two relays with one database."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, delta
from tests.live.relays import InProcessRelay

from chukei.config import load
from chukei.hosts.asgi import checked_settings
from chukei.hosts.workers.peers import Alone

pytestmark = pytest.mark.anyio

ADMIN = "the-administrators-key-0123456789"
KEY = "sk-of-team"
ASK = b'{"model":"east","messages":[{"role":"user","content":"x"}],"stream":true,"max_tokens":10}'


class Setup:
    """Two relays, and what their administrator asks the first."""

    def __init__(self, one: InProcessRelay, other: InProcessRelay) -> None:
        self.one = one
        self.other = other

    async def admin(self, method: str, path: str, body: object = None) -> Any:
        async with RawClient(self.one.url) as client:
            raw = json.dumps(body).encode() if body is not None else b""
            await client.request(method, f"/admin{path}", raw, ("authorization", f"Bearer {ADMIN}"))
            return json.loads(await client.rest())

    async def own(self) -> Any:
        """What the caller is told of itself."""
        async with RawClient(self.one.url) as client:
            await client.request("GET", "/v1/usage", b"", ("authorization", f"Bearer {KEY}"))
            return json.loads(await client.rest())

    async def status(self, relay: InProcessRelay) -> int | None:
        async with RawClient(relay.url) as client:
            await client.request("POST", CHAT, ASK, ("authorization", f"Bearer {KEY}"))
            await client.rest()
            return client.status


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    async with FaultUpstream([Send(head() + chunk(delta("one") + DONE) + LAST_CHUNK)]) as upstream:
        file = tmp_path / "relay.toml"
        file.write_text(
            f"""
            [reload]
            watch_seconds = 0
            [stores]
            ledger = "sqlite:///{tmp_path}/ledger.db"
            [deployments.east]
            endpoint = "{upstream.url}"
            api_key = {{ env = "AZURE" }}
            [groups.closed]
            models = []
            [callers.team]
            key_sha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"
            [callers.team.limits]
            requests_per_minute = 100
            """,
            "utf-8",
        )
        environment = {"AZURE": "key", "CHUKEI_ADMIN__API_KEY": ADMIN}

        def source() -> Any:
            return checked_settings(str(file), environment)

        settings = load(file, environment)
        async with InProcessRelay(settings, source) as one, InProcessRelay(settings, source) as other:
            yield Setup(one, other)


async def test_a_limit_holds_on_every_relay_until_it_is_taken_back(setup: Setup) -> None:
    relays = (setup.one, setup.other)
    assert [await setup.status(relay) for relay in relays] == [200, 200]
    made = await setup.admin("POST", "/rules", {"subject": "caller:team", "limits": {"requests_per_minute": 1}})
    assert made == {"subject": "caller:team", "limits": {"requests_per_minute": 1}, "total": {}, "groups": None}
    assert await setup.status(setup.one) == 429  # here at once

    async def holds(status: int) -> None:
        found: list[int | None] = []
        while not found or found[-1] != status:
            await asyncio.sleep(0.1)  # as seldom as a person asks: the relay reads the rules every two seconds
            found.append(await setup.status(setup.other))

    await holds(429)
    await setup.one.application.reloads.reload("test")
    assert await setup.status(setup.one) == 429  # a reload does not forget it
    await setup.admin("POST", "/rules", {"subject": "caller:team", "limits": {"requests_per_minute": None}})
    await holds(200)
    assert await setup.status(setup.one) == 200
    found = (await setup.admin("GET", "/changes"))["data"]
    assert [(each["subject"], each["before"]["limits"], each["after"]["limits"]) for each in found] == [
        ("caller:team", {"requests_per_minute": 1}, {}),
        ("caller:team", {}, {"requests_per_minute": 1}),
    ]
    assert {each["actor"] for each in found} == {f"key {hashlib.sha256(ADMIN.encode()).hexdigest()[:8]}"}


async def test_groups_that_are_set_decide(setup: Setup) -> None:
    await setup.admin("POST", "/rules", {"subject": "caller:team", "groups": ["closed"]})
    assert await setup.status(setup.one) == 403
    record = await setup.one.record(2)
    assert record.who is not None
    assert record.who.groups == ("closed",)
    await setup.admin("POST", "/rules", {"subject": "caller:team", "groups": None})
    assert await setup.status(setup.one) == 200


async def test_the_workers_of_a_relay_are_told_of_a_change(setup: Setup) -> None:
    settings = setup.one.application.settings
    told: list[str] = []

    class Peers(Alone):
        async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
            told.append(subject)
            return await super().ask(subject, argument)

    relay = InProcessRelay(settings)
    relay.application.peers = Peers()
    async with relay:
        await Setup(relay, relay).admin("POST", "/rules", {"subject": "caller:team", "limits": {"concurrent": 1}})
        assert told == ["rules"]
        assert await relay.application.peers.ask("rules") == [b""]


async def test_administrators_are_told_what_the_caller_is_told(setup: Setup) -> None:
    await setup.admin("POST", "/rules", {"subject": "caller:team", "limits": {"requests_per_minute": 2}})
    assert [await setup.status(setup.one) for _ in range(5)] == [200, 200, 429, 429, 429]
    own = await setup.own()
    told = await setup.admin("GET", "/callers/team")
    [membership] = told["memberships"]
    [limit], [own_limit] = membership["limits"], own["limits"]
    assert {**limit, "reset_seconds": None} == {**own_limit, "reset_seconds": None}
    assert (limit["most"], limit["remaining"]) == (2, 0)
    assert limit["source"] == "database: callers.team.limits.requests_per_minute"
    assert 0 < limit["reset_seconds"] <= own_limit["reset_seconds"] <= 63
    assert (membership["groups"], membership["sources"]) == ([], ["callers.team.groups"])
    assert told["rule"]["limits"] == {"requests_per_minute": 2}
    async with asyncio.timeout(60):
        while (found := (await setup.admin("GET", "/callers?find=TEA&since=24h"))["data"])[0]["requests"] < 5:
            await asyncio.sleep(0.05)  # the ledger is a second behind
    assert (found[0]["caller"], found[0]["requests"], found[0]["refused"], found[0]["failed"]) == ("team", 5, 3, 0)
    [why] = (await setup.admin("GET", "/usage?by=caller,code&outcome=refused&since=24h"))["data"]
    assert (why["caller"], why["code"], why["requests"]) == ("team", "rate_limit_exceeded", 3)
    hours = (await setup.admin("GET", "/usage?by=hour&since=24h"))["data"]
    assert sum(hour["refused"] for hour in hours) == 3
    groups = (await setup.admin("GET", "/groups"))["data"]
    assert [each["group"] for each in groups] == ["closed", "everybody"]
