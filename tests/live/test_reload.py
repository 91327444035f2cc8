"""A changed configuration while requests run: the new one holds for new requests, and no running one notices."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.plain_http import ask
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, delta
from tests.live.relays import InProcessRelay, eventually
from uvicorn import Config

from chukei.config import Settings
from chukei.gateway.scrape import GAUGES
from chukei.hosts.asgi import Application, checked_settings
from chukei.hosts.hangup import HANGUP
from chukei.hosts.leaving import Leave, Stopping
from chukei.hosts.relay_server import RelayServer
from chukei.hosts.reloading import Reloads
from chukei.hosts.server import listen
from chukei.hosts.workers.peers import Alone
from chukei.liveview import worker
from chukei.metrics.snapshot import decoded
from chukei.pool import Fault, Verdict
from chukei.ports import Peers
from chukei.wiring.build import Relay

pytestmark = pytest.mark.anyio

KEY = "sk-of-team"
BEARER = ("authorization", f"Bearer {KEY}")
STREAM = b'{"model":"held","messages":[{"role":"user","content":"x"}],"stream":true,"max_tokens":10}'
SHORT = STREAM.replace(b"held", b"quick")
HELD: list[Step] = [Send(head() + chunk(delta("one"))), Hold(), Send(chunk(delta(" two") + DONE) + LAST_CHUNK)]
QUICK: list[Step] = [Send(head() + chunk(delta("one") + DONE) + LAST_CHUNK)]


class Setup:
    """A relay with a file, and the two upstreams of its models ``held`` and ``quick``."""

    def __init__(self, folder: Path, held: FaultUpstream, quick: FaultUpstream) -> None:
        self.file = folder / "relay.toml"
        self.held = held
        self.quick = quick
        self.environment = {"AZURE": "secret-of-azure", "OTHER": "other-secret"}

    def text(self, more: str = "", *, limits: str = "", digest: str = KEY, weight: int = 1) -> str:
        """Return a configuration."""
        return f"""
            [reload]
            watch_seconds = 0
            [stores]
            ledger = "none"
            [deployments.held]
            endpoint = "{self.held.url}"
            api_key = {{ env = "AZURE" }}
            [deployments.quick]
            endpoint = "{self.quick.url}"
            api_key = {{ env = "AZURE" }}
            weight = {weight}
            [callers.team]
            key_sha256 = "{hashlib.sha256(digest.encode()).hexdigest()}"
            [callers.team.limits]
            {limits}
            {more}
        """

    def write(self, more: str = "", **changes: Any) -> None:
        """Replace the file as careful programs do."""
        self.replace(self.text(more, **changes))

    def replace(self, text: str) -> None:
        """Replace the file by any text."""
        new = self.file.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.replace(self.file)

    def relay(self) -> InProcessRelay:
        """Return a relay that reads the file."""

        def source() -> Any:
            return checked_settings(str(self.file), self.environment)

        return InProcessRelay(source(), source)


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    async with FaultUpstream(HELD) as held, FaultUpstream(QUICK) as quick:
        setup = Setup(tmp_path, held, quick)
        setup.write()
        yield setup


async def status(relay: InProcessRelay, body: bytes = SHORT, key: tuple[str, str] = BEARER) -> int | None:
    async with RawClient(relay.url) as client:
        await client.request("POST", CHAT, body, key)
        await client.rest()
        return client.status


@contextlib.asynccontextmanager
async def held_stream(relay: InProcessRelay) -> AsyncIterator[RawClient]:
    async with RawClient(relay.url) as client:
        await client.request("POST", CHAT, STREAM, BEARER)
        await client.until(delta("one"))
        yield client


async def test_nothing_is_cut_or_refused_while_limits_change_and_nonsense_is_read(setup: Setup) -> None:
    """200 streams run, and short requests keep coming."""
    async with setup.relay() as relay, contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(held_stream(relay)) for _ in range(200)]
        found: list[int | None] = []
        over = asyncio.Event()

        async def keep_asking() -> None:
            while not over.is_set():
                found.append(await status(relay))
                await asyncio.sleep(0.01)

        asking = [asyncio.create_task(keep_asking()) for _ in range(2)]
        for number in range(10):
            before = len(found)
            setup.write(limits=f"requests_per_minute = {100_000 + number}")
            assert (await relay.application.reloads.reload("test")).changes.changed == (
                "callers.team.limits.requests_per_minute",
            )
            setup.replace("[sever]\n")
            assert (await relay.application.reloads.reload("test")).problems
            await eventually(partial(lambda before: len(found) > before + 4, before))
        over.set()
        await asyncio.gather(*asking)
        assert set(found) == {200}
        for visit in setup.held.visits:
            visit.release()
        for stream in streams:
            assert (await stream.rest()).endswith(DONE)
        await eventually(lambda: not relay.relay.gateway.live)
        assert {record.end.value for record in relay.records if record.end} == {"completed"}


async def test_a_new_limit_counts_what_was_used_before(setup: Setup) -> None:
    setup.write(limits="requests_per_minute = 10")
    async with setup.relay() as relay:
        assert [await status(relay) for _ in range(3)] == [200] * 3
        setup.write(limits="requests_per_minute = 4")
        await relay.application.reloads.reload("test")
        assert [await status(relay) for _ in range(2)] == [200, 429]
        setup.write(limits="requests_per_minute = 6")
        await relay.application.reloads.reload("test")
        assert [await status(relay) for _ in range(3)] == [200, 200, 429]


async def test_a_concurrency_limit_below_what_runs_refuses_until_enough_have_ended(setup: Setup) -> None:
    setup.write(limits="concurrent = 3")
    async with setup.relay() as relay, contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(held_stream(relay)) for _ in range(3)]
        setup.write(limits="concurrent = 2")
        await relay.application.reloads.reload("test")
        for number, stream in enumerate(streams):
            assert await status(relay) == (429 if number < 2 else 200)
            setup.held.visits[number].release()
            await stream.rest()
            await eventually(partial(lambda left: relay.relay.gateway.live == left, 2 - number))


async def test_a_running_request_keeps_its_price_and_a_new_one_has_the_new(setup: Setup) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n'
    prices = "[models.held]\ndeployments = ['held']\n[models.held.prices]\ninput = {}\noutput = {}\n"
    setup.held.script = [Send(head() + chunk(delta("one"))), Hold(), Send(chunk(usage + DONE) + LAST_CHUNK)]
    setup.write(prices.format(100_000, 200_000))
    async with setup.relay() as relay:
        for number, cost in enumerate((2_000_000, 20_000)):
            async with held_stream(relay) as stream:
                setup.write(prices.format(1000, 2000))
                await relay.application.reloads.reload("test")
                setup.held.visits[number].release()
                await stream.rest()
            assert (await relay.record(number + 1)).cost == cost


async def test_a_removed_model_is_unknown_and_its_streams_finish(setup: Setup) -> None:
    async with setup.relay() as relay, held_stream(relay) as stream:
        setup.write("[models.other]\ndeployments = ['quick']\n[defaults]\nmodel = 'other'")
        found = (await relay.application.reloads.reload("test")).changes
        assert found.added == ("models.other",)
        assert found.removed == ("deployments.held", "models.held", "models.quick")
        assert await status(relay) == 404
        assert await status(relay, SHORT.replace(b"quick", b"other")) == 200
        setup.held.visits[0].release()
        assert (await stream.rest()).endswith(DONE)


async def test_a_breaker_that_is_open_stays_open(setup: Setup) -> None:
    async with setup.relay() as relay:
        lease = relay.relay.pool.choose("quick", relay.relay.gateway.services.clock())
        for _ in range(3):
            lease.failed(relay.relay.gateway.services.clock(), Verdict(Fault.FAILED, "upstream_lost"))
        lease.release(relay.relay.gateway.services.clock())
        assert await status(relay) == 503
        setup.write(weight=7)
        await relay.application.reloads.reload("test")
        assert await status(relay) == 503


async def test_a_removed_key_opens_nothing_and_ends_what_it_opened(setup: Setup) -> None:
    async with setup.relay() as relay, held_stream(relay) as stream:
        setup.write(digest="another key")
        await relay.application.reloads.reload("test")
        assert b"key_revoked" in await stream.rest()
        assert await status(relay) == 401
        assert await status(relay, key=("authorization", "Bearer another key")) == 200


async def test_a_key_that_stays_keeps_its_streams(setup: Setup) -> None:
    async with setup.relay() as relay, held_stream(relay) as stream:
        setup.write("[callers.other]\nkey_sha256 = '" + 64 * "a" + "'")
        await relay.application.reloads.reload("test")
        setup.held.visits[0].release()
        assert (await stream.rest()).endswith(DONE)


async def test_a_deployment_gets_the_new_key_from_its_file(setup: Setup, tmp_path: Path) -> None:
    secret = tmp_path / "azure-key"
    secret.write_text("first\n", "utf-8")
    setup.replace(setup.text().replace('{ env = "AZURE" }', f'{{ file = "{secret}" }}'))
    async with setup.relay() as relay:
        assert await status(relay) == 200
        secret.write_text("second\n", "utf-8")
        outcome = await relay.application.reloads.reload("test")
        assert outcome.changes.changed == ("deployments.held.api_key", "deployments.quick.api_key")
        assert outcome.changes.files == (str(secret),)
        assert await status(relay) == 200
        assert [visit.headers["api-key"] for visit in setup.quick.visits] == ["first", "second"]


async def test_connections_to_azure_stay_open_unless_their_settings_change(setup: Setup) -> None:
    async with setup.relay() as relay:
        assert await status(relay) == 200
        setup.write(limits="concurrent = 9")
        await relay.application.reloads.reload("test")
        assert await status(relay) == 200
        assert len(setup.quick.connections) == 1
        before = relay.upstream
        async with held_stream(relay) as stream:
            setup.write("[upstream]\nconnect_seconds = 4")
            await relay.application.reloads.reload("test")
            assert await status(relay) == 200
            assert relay.upstream is not before
            assert before.open_connections == 2
            setup.held.visits[0].release()
            assert (await stream.rest()).endswith(DONE)
        await eventually(lambda: not before.open_connections)


async def test_what_is_shown_follows_a_reload(setup: Setup, tmp_path: Path) -> None:
    """The live view begins with the administrators' key; it and the gauges show the new pool and the new client."""

    def text(more: str) -> str:
        return setup.text(more).replace('ledger = "none"', f'ledger = "sqlite:///{tmp_path}/ledger.db"')

    setup.environment["ADMIN"] = "key-of-the-administrators"
    setup.replace(text(""))
    async with setup.relay() as relay:
        peers = relay.application.peers
        assert await peers.ask("live") == []
        admin = '[admin]\napi_key = { env = "ADMIN" }\n[upstream]\nconnect_seconds = 4\n'
        setup.replace(
            text(f'{admin}[deployments.third]\nendpoint = "{setup.quick.url}"\napi_key = {{ env = "AZURE" }}')
        )
        assert not (await relay.application.reloads.reload("test")).problems
        assert await status(relay) == 200
        await eventually(lambda: relay.upstream.open_connections == 1)
        [answer] = await peers.ask("live")
        part = worker.decode(answer)
        assert sorted(part.pool) == ["held", "quick", "third"]
        assert (part.connections, part.deployments["quick"].asked) == (1, 1)
        assert part.total.times["connect"].total == 1
        [gauges] = await peers.ask(GAUGES)
        shown = {name: {each.labels for each in samples} for name, samples in decoded(gauges).families.items()}
        assert any("third" in labels for labels in shown["chukei_deployment_state"])
        assert (setup.quick.url, "idle") in shown["chukei_upstream_connections"]


async def test_administrators_see_the_configuration_in_force(setup: Setup, tmp_path: Path) -> None:
    """The values of the last reload, except what needs a restart, and none of a file that is refused."""

    def text(more: str) -> str:
        return setup.text(f'[admin]\napi_key = {{ env = "ADMIN" }}\n{more}').replace(
            'ledger = "none"', f'ledger = "sqlite:///{tmp_path}/ledger.db"'
        )

    async def shown(relay: InProcessRelay) -> Any:
        return (await ask(relay.url, "GET", "/admin/configuration", [("authorization", f"Bearer {key}")])).json()

    key = setup.environment["ADMIN"] = "key-of-the-administrators"
    setup.replace(text("[pool]\nattempts = 4"))
    async with setup.relay() as relay:
        before = await shown(relay)
        assert before["settings"]["pool"]["attempts"] == 4
        assert before["path"] == str(setup.file)
        setup.replace(text("[pool]\nattempts = 5\n[ledger]\nretention_days = 7"))
        outcome = await relay.application.reloads.reload("test")
        after = await shown(relay)
        assert after["settings"]["pool"]["attempts"] == 5
        assert after["settings"]["ledger"]["retention_days"] == 400
        assert "ledger.retention_days" in after["restart"]
        assert after["version"] == outcome.version != before["version"]
        setup.replace(text("[pool]\nattempts = 0"))
        assert (await relay.application.reloads.reload("test")).problems
        assert await shown(relay) == after
    assert not [secret for secret in setup.environment.values() if secret in str(after)]


async def test_the_simulator_comes_and_goes(setup: Setup) -> None:
    bare = "[reload]\nwatch_seconds = 0\n[stores]\nledger = 'none'\n"
    configured = setup.text()
    setup.replace(bare)
    chat = SHORT.replace(b"quick", b"chat")
    async with setup.relay() as relay, RawClient(relay.url) as early:
        for _ in range(2):
            assert await status(relay, chat, ("x-nothing", "x")) == 200
            assert relay.application.simulator is not None
            setup.replace(configured)
            await relay.application.reloads.reload("test")
            assert await status(relay) == 200
            assert relay.application.simulator is None
            setup.replace(bare)
            await relay.application.reloads.reload("test")
        await early.request("GET", "/health/ready")
        assert await early.head() == 200


async def test_another_setting_leaves_the_simulator_and_its_streams_alone(setup: Setup) -> None:
    bare = "[reload]\nwatch_seconds = 0\n[stores]\nledger = 'none'\n"
    chat = SHORT.replace(b"quick", b"chat")
    setup.replace(bare)
    async with setup.relay() as relay:
        simulator = relay.application.simulator
        setup.replace(bare + "[stream]\nidle_seconds = 100\n")
        assert (await relay.application.reloads.reload("test")).problems == ()
        assert relay.application.simulator is simulator
        assert await status(relay, chat) == 200


class Stuck:
    """An application that cannot make its simulator."""

    simulator = None
    leaving = False

    def __init__(self, application: Application) -> None:
        self.settings, self.relay = application.settings, application.relay
        self.peers: Peers = Alone()

    async def with_simulator(self, settings: Settings) -> tuple[None, Settings]:
        raise RuntimeError("planted")

    def replace(self, settings: Settings, relay: Relay, simulator: None) -> None:
        raise AssertionError("nothing was made")


async def test_a_configuration_that_cannot_be_applied_is_refused(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong, the old configuration stays and the log says so."""
    async with setup.relay() as relay:
        application = Stuck(relay.application)
        before = application.settings
        changed = replace(before, stream=replace(before.stream, idle_seconds=99.0))
        reloads = Reloads(application, lambda: changed)
        outcome = await reloads.reload("test")
        assert outcome.problems == reloads.refused != ()
        assert application.settings is before
        assert "could not be applied and the old one stays (test)" in caplog.text


async def test_what_needs_a_restart_is_named_each_time_and_stays(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    async with setup.relay() as relay:
        caplog.set_level(logging.INFO, "chukei.hosts.reloading")
        for attempts in (4, 5):
            setup.write(f"[server]\nport = 1\n[ledger]\nretention_days = 7\n[pool]\nattempts = {attempts}")
            outcome = await relay.application.reloads.reload("SIGHUP")
            assert outcome.changes.restart == ("ledger.retention_days", "server.port")
        assert relay.application.settings.server.port == 0
        assert [record.getMessage() for record in caplog.records] == [
            "configuration reloaded (SIGHUP): changed: pool.attempts",
            "needs a restart to take effect: ledger.retention_days, server.port",
        ] * 2


async def test_a_file_that_stays_wrong_is_reported_once(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    async with setup.relay() as relay:
        caplog.set_level(logging.INFO, "chukei.hosts.reloading")
        setup.replace("[sever]\n[pol]\n")
        for _ in range(3):
            await relay.application.reloads.reload("a file has changed", quiet=True)
        setup.write()
        await relay.application.reloads.reload("a file has changed", quiet=True)
        [record] = caplog.records
        assert record.levelname == "ERROR"
        assert "sever: is not a known key" in record.getMessage()
        assert "pol: is not a known key" in record.getMessage()


async def test_a_changed_link_is_followed(setup: Setup, tmp_path: Path) -> None:
    """As the kubelet changes a mounted ConfigMap: the files are links, and one link above them is exchanged."""
    quickly = "watch_seconds = 0.02"
    for name, limits in (("one", ""), ("two", "requests_per_minute = 1")):
        (tmp_path / name).mkdir()
        text = setup.text(limits=limits).replace("watch_seconds = 0", quickly)
        (tmp_path / name / "relay.toml").write_text(text, "utf-8")
    (tmp_path / "..data").symlink_to("one")
    setup.file.unlink()
    setup.file.symlink_to("..data/relay.toml")
    async with setup.relay() as relay:
        assert [await status(relay) for _ in range(2)] == [200, 200]
        before = relay.relay
        (tmp_path / "..next").symlink_to("two")
        (tmp_path / "..next").replace(tmp_path / "..data")
        await eventually(lambda: relay.relay is not before)
        assert [await status(relay) for _ in range(2)] == [200, 429]


async def test_a_relay_that_shuts_down_does_not_reload(setup: Setup) -> None:
    async with setup.relay() as relay, held_stream(relay) as stream:
        before = relay.relay
        relay.application.drain()
        setup.write(limits="concurrent = 1")
        assert not (await relay.application.reloads.reload("test")).changes
        assert relay.relay is before
        setup.held.visits[0].release()
        assert (await stream.rest()).endswith(DONE)


async def test_requests_of_replaced_configurations_are_stopped_at_the_end(setup: Setup) -> None:
    async with setup.relay() as relay, held_stream(relay) as stream:
        for number in range(3):
            setup.write(limits=f"concurrent = {number + 5}")
            await relay.application.reloads.reload("test")
        assert relay.relay.gateway.live == 1
        drained = asyncio.Event()
        relay.application.when_drained(drained.set)
        relay.application.stop_all()
        assert b"server_shutdown" in await stream.rest()
        await drained.wait()


async def test_reloads_in_quick_succession_end_with_the_last_file(setup: Setup) -> None:
    async with setup.relay() as relay:
        waiting = []
        for attempts in range(4, 9):
            setup.write(f"[pool]\nattempts = {attempts}")
            waiting.append(asyncio.create_task(relay.application.reloads.reload("test")))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert relay.application.settings.pool.attempts == 8
        assert await status(relay) == 200


async def test_a_reload_needs_no_redis(setup: Setup) -> None:
    text = setup.text(limits="requests_per_minute = 9").replace(
        "[stores]", "[stores]\nquota = 'redis://127.0.0.1:9/0'\nquota_away = 'open'"
    )
    setup.replace(text)
    async with setup.relay() as relay:
        assert await status(relay) == 200
        setup.replace(text.replace("= 9", "= 2"))
        await relay.application.reloads.reload("test")
        assert [await status(relay) for _ in range(2)] == [200, 429]


async def test_tokens_and_credentials_stay_unless_their_settings_change(setup: Setup) -> None:
    pytest.importorskip("jwt", reason="needs the entra extra")
    entra = (
        "[auth.entra]\ntenant = '0f8fad5b-d9cb-469f-a165-70867728950e'\naudience = '{}'\n"
        "authority = 'http://127.0.0.1:9'\n"
    )
    setup.write(entra.format("one"))
    async with setup.relay() as relay:
        before = relay.relay
        setup.write(entra.format("one"), limits="concurrent = 5")
        await relay.application.reloads.reload("test")
        same = relay.relay
        assert same is not before
        assert same.access.readers is before.access.readers
        assert list(same.credentials.values()) == list(before.credentials.values())
        setup.write(entra.format("two"))
        await relay.application.reloads.reload("test")
        assert relay.relay.access.readers.callers not in (None, before.access.readers.callers)
        assert relay.relay.access.throttle is before.access.throttle
        assert await status(relay) == 200


async def test_who_may_call_without_a_key_changes_for_new_requests(setup: Setup) -> None:
    nobody = ("x-nothing", "x")
    without_callers = setup.text().partition("[callers.team]")[0]
    setup.replace(without_callers)
    async with setup.relay() as relay:
        assert await status(relay, key=nobody) == 200  # this machine
        setup.replace(without_callers + "[auth]\nlocal = false\n")
        await relay.application.reloads.reload("test")
        assert await status(relay, key=nobody) == 401
        setup.replace(without_callers + "[auth]\nanonymous = true\n")
        await relay.application.reloads.reload("test")
        assert await status(relay, key=nobody) == 200


async def test_a_refused_configuration_is_known_until_it_is_corrected(setup: Setup) -> None:
    async with setup.relay() as relay:
        setup.replace("nonsense")
        await relay.application.reloads.reload("test")
        assert "is not valid TOML" in relay.application.reloads.refused[0]
        setup.write()
        await relay.application.reloads.reload("test")
        assert relay.application.reloads.refused == ()


async def test_a_file_that_was_missing_is_waited_for(setup: Setup, tmp_path: Path) -> None:
    """As two volumes of a pod follow one by one: the configuration first, then the secret that it names."""
    quickly = setup.text().replace("watch_seconds = 0", "watch_seconds = 0.02")
    setup.replace(quickly)
    key = tmp_path / "new-key"
    async with setup.relay() as relay:
        before = relay.relay
        setup.replace(quickly.replace('{ env = "AZURE" }', f'{{ file = "{key}" }}', 1))
        await eventually(lambda: relay.application.reloads.refused != ())
        key.write_text("secret")
        await eventually(lambda: relay.relay is not before)
        assert relay.application.reloads.refused == ()


async def test_an_emptied_file_is_refused(setup: Setup) -> None:
    """A relay that starts takes it, but here a program has only begun to write."""
    async with setup.relay() as relay:
        setup.replace("")
        assert (await relay.application.reloads.reload("test")).problems == (f"{setup.file}: is empty",)
        assert await status(relay) == 200
    async with setup.relay() as relay:
        assert (await relay.application.reloads.reload("test")).problems == ()


async def test_whatever_reading_raises_the_watch_goes_on(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    quickly = setup.text().replace("watch_seconds = 0", "watch_seconds = 0.02")
    setup.replace(quickly)
    failing = True

    def source() -> Settings:
        settings = checked_settings(str(setup.file), setup.environment)
        if failing:
            raise MemoryError("planted")
        return settings

    async with InProcessRelay(checked_settings(str(setup.file), setup.environment), source) as relay:
        before = relay.relay
        await eventually(lambda: relay.application.reloads.refused != ())
        assert "could not be read and the old one stays (a file has changed)" in caplog.text
        failing = False
        setup.replace(quickly.replace("weight = 1", "weight = 2"))
        await eventually(lambda: relay.relay is not before)


@pytest.mark.skipif(HANGUP is None, reason="this system has no SIGHUP")
@pytest.mark.parametrize("alone", [True, False])
async def test_a_reload_that_is_asked_for_during_the_start_is_made_up_for(setup: Setup, alone: bool) -> None:
    """The process has read the configuration, and does not serve yet."""
    source = partial(checked_settings, str(setup.file), setup.environment)
    application = Application(source(), source=source)
    config = Config(
        lambda: application,
        factory=True,
        http="chukei.hosts.http.protocol:StrictProtocol",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
        server_header=False,
    )
    server = RelayServer(config, lambda: None, Stopping(0.0), lambda *_: None, alone=alone)
    setup.write(limits="requests_per_minute = 7")
    if alone:
        assert HANGUP is not None
        server.exit_early(HANGUP, None)
    else:
        server.reload()
    with listen("127.0.0.1", 0) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: application.settings.policies.callers["team"].rules.limits.requests_per_minute == 7)
        server.leave(Leave())
        await running


async def test_the_workers_tell_each_other(setup: Setup) -> None:
    """Two workers, without processes: each asks both."""
    async with setup.relay() as one, setup.relay() as other:
        together = Together()
        for each in (one, other):
            each.application.peers = together
            each.application.reloads.start()
        before = other.relay
        setup.write(limits="requests_per_minute = 1")
        await one.application.reloads.reload("test")
        await eventually(lambda: other.relay is not before)
        assert [await status(relay) for relay in (one, other)] == [200, 200]
        assert [await status(relay) for relay in (one, other)] == [429, 429]
        assert len(set(await together.ask("version"))) == 1


class Together:
    """Workers of one relay that share this process."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Callable[[bytes], bytes]]] = {}

    def answer(self, subject: str, handler: Callable[[bytes], bytes], *, last: bool = False) -> None:
        self._handlers.setdefault(subject, []).append(handler)

    async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
        return [handler(argument) for handler in self._handlers.get(subject, [])]
