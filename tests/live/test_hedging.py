"""The hedged first token on real sockets: a deployment that is usually quick is silent, and a second one is asked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Hold, Script, Send, Stall, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.plain_http import post
from tests.live.pools import Table, pool_settings
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, ROLE, delta
from tests.live.relays import InProcessRelay, eventually
from tests.live.uncounted import charge_of

from chukei.adapters.logs.requests import log_request
from chukei.config import Settings
from chukei.model import End
from chukei.pool import DeploymentStatus
from chukei.pool.member import ENOUGH, RECENT
from chukei.record import RequestRecord
from chukei.stream.sse import HEARTBEAT

pytestmark = pytest.mark.anyio

STREAM = b'{"messages":[{"role":"user","content":"hello"}],"stream":true,"stream_options":{"include_usage":true}}'
ASK = {"content-type": "application/json"}
HEDGED = {"hedge_share": 1.0, "affinity": []}


def body_of(name: str) -> bytes:
    """What a deployment says: no other says the same, so that a mixture would be seen."""
    return FILTER + ROLE + b"".join(delta(f"{name} {number} ") for number in range(20)) + FINISH + DONE


def answers(name: str) -> Script:
    return (Send(head() + chunk(body_of(name)) + LAST_CHUNK),)


def fails(status: str = "500 Internal Server Error", code: str = "server_error", *fields: str) -> Script:
    error = b'{"error":{"message":"no","type":"server_error","param":null,"code":"%s"}}' % code.encode()
    return (Send(head("application/json", *fields, status=status, length=len(error)) + error),)


# Everything that comes before output, so that silence begins as late as it can.
SILENT: Script = (Send(head() + chunk(FILTER + ROLE)), Stall())
DEAF: Script = (Stall(),)


def unlike(number: int) -> bytes:
    """Return a question that is unlike those of other numbers: the same again would be one source of failures."""
    return STREAM.replace(b"hello", b"hello %d" % number)


async def let_go(visit: Visit) -> None:
    """Let a script go on once it holds; before that nobody would hear it."""
    await visit.holding()
    visit.release()


class Pair:
    """Two deployments, ``a`` before ``b``, and a relay that hedges between them."""

    def __init__(self, relay: InProcessRelay, a: FaultUpstream, b: FaultUpstream) -> None:
        self.relay, self.a, self.b = relay, a, b

    async def ask(self, body: bytes = STREAM, path: str = CHAT) -> tuple[bytes, RequestRecord]:
        count = len(self.relay.records)
        answer = await post(self.relay.url, path, body)
        return answer.body.replace(HEARTBEAT, b""), await self.relay.record(count + 1)

    async def warm(self, times: int = ENOUGH) -> None:
        """Have deployment a answer quickly until its percentile is known."""
        self.a.script = answers("a")
        for _ in range(times):
            body, record = await self.ask()
            assert body == body_of("a")
            assert record.deployment == "a"
        assert not self.b.visits

    async def warm_again(self, times: int) -> None:
        self.a.script = answers("a")
        for _ in range(times):
            assert (await self.ask())[1].deployment == "a"

    def state(self, name: str) -> DeploymentStatus:
        pool = self.relay.relay.pool
        (found,) = [
            state for state in pool.status(asyncio.get_running_loop().time())["chat"] if state.deployment == name
        ]
        return found

    def assert_at_rest(self) -> None:
        """No place is taken, no breaker has opened, nothing counts as a failure."""
        for name in ("a", "b"):
            state = self.state(name)
            assert (state.outstanding, state.outstanding_tokens) == (0, 0), state
            assert state.status == "ready", state


def settings(
    directory: Path, a: FaultUpstream, b: FaultUpstream, pool: Table | None = None, stream: Table | None = None
) -> Settings:
    deployments: dict[str, Table] = {
        "a": {"endpoint": a.url, "priority": 1},
        "b": {"endpoint": b.url, "priority": 2},
    }
    return pool_settings(directory, deployments, pool=HEDGED if pool is None else pool, stream=stream)


@pytest.fixture
async def upstreams() -> AsyncIterator[tuple[FaultUpstream, FaultUpstream]]:
    async with FaultUpstream(answers("a")) as a, FaultUpstream(answers("b")) as b:
        yield a, b


@pytest.fixture
async def pair(tmp_path: Path, upstreams: tuple[FaultUpstream, FaultUpstream]) -> AsyncIterator[Pair]:
    async with InProcessRelay(settings(tmp_path, *upstreams)) as relay:
        yield Pair(relay, *upstreams)


@pytest.mark.parametrize("silence", [SILENT, DEAF], ids=["after the role", "before the headers"])
async def test_a_second_is_asked_and_wins(pair: Pair, silence: Script) -> None:
    await pair.warm()
    usual = pair.state("a").first_token_p95
    assert usual is not None
    pair.a.script = silence
    before = len(pair.a.visits)

    body, record = await pair.ask()

    assert body == body_of("b")
    loser = await pair.a.visit(before + 1)
    assert await loser.peer_left() in ("close", "reset")
    assert (len(pair.a.visits), len(pair.b.visits)) == (before + 1, 1)
    lost, won = record.tries
    assert (lost.deployment, lost.code, lost.hedge) == ("a", "hedge_lost", False)
    assert lost.usage is not None
    assert lost.usage.estimated
    assert lost.usage.input > len(STREAM) // 4
    assert lost.seconds >= usual
    assert (won.deployment, won.code, won.hedge) == ("b", None, True)
    assert (record.deployment, record.end, record.status) == ("b", End.COMPLETED, 200)
    pair.assert_at_rest()
    assert pair.state("a").failed == 0


async def test_the_loser_s_cost_is_in_the_log(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    await pair.warm()
    pair.a.script = SILENT
    _, record = await pair.ask()
    with caplog.at_level("INFO"):
        caplog.clear()
        log_request(record)

    (line,) = [found for line in caplog.records if (found := getattr(line, "fields", None)) is not None]
    lost, won = line["tries"]
    assert (lost["deployment"], lost["code"], lost["input_tokens"]) == ("a", "hedge_lost", charge_of(STREAM))
    assert "hedge" not in lost
    assert (won["deployment"], won["code"], won["hedge"]) == ("b", "answered", True)
    assert line["deployment"] == "b"


async def test_the_first_may_still_win(pair: Pair) -> None:
    await pair.warm()
    pair.a.script = (Send(head() + chunk(FILTER)), Hold(), Send(chunk(body_of("a").removeprefix(FILTER)) + LAST_CHUNK))
    pair.b.script = SILENT
    before = len(pair.a.visits)

    asking = asyncio.create_task(pair.ask())
    other = await pair.b.visit()
    await let_go(await pair.a.visit(before + 1))
    body, record = await asking

    assert body == body_of("a")
    assert await other.peer_left() in ("close", "reset")
    assert [(attempt.deployment, attempt.code, attempt.hedge) for attempt in record.tries] == [
        ("a", None, False),
        ("b", "hedge_lost", True),
    ]
    assert record.deployment == "a"
    pair.assert_at_rest()


async def silently(pair: Pair, asking: "asyncio.Task[tuple[bytes, RequestRecord]]") -> None:
    """Let a silence pass that is far longer than usual, in which nobody else must be asked."""
    usual = pair.state("a").first_token_p95
    await asyncio.sleep(0.1 if usual is None else max(0.1, 4 * usual))
    assert not asking.done()


def held(name: str, body: bytes | None = None) -> Script:
    """Answer when the test says so."""
    told = body_of(name) if body is None else body
    return (Send(head() + chunk(FILTER + ROLE)), Hold(), Send(chunk(told.removeprefix(FILTER + ROLE)) + LAST_CHUNK))


async def test_both_speak_at_once_and_only_one_is_heard(pair: Pair) -> None:
    await pair.warm()
    pair.a.script, pair.b.script = held("a"), held("b")
    before = len(pair.a.visits)
    asking = asyncio.create_task(pair.ask())
    second, first = await pair.b.visit(), await pair.a.visit(before + 1)
    await first.holding()
    await second.holding()

    first.release()
    second.release()
    body, record = await asking

    assert body in (body_of("a"), body_of("b"))
    assert sorted(attempt.code or "" for attempt in record.tries) == ["", "hedge_lost"]
    pair.assert_at_rest()


async def test_the_second_fails_and_the_first_is_waited_for(pair: Pair) -> None:
    await pair.warm()
    pair.a.script, pair.b.script = held("a"), fails()
    before = len(pair.a.visits)
    asking = asyncio.create_task(pair.ask())
    second = await pair.b.visit()
    await second.ended.wait()
    await silently(pair, asking)
    await let_go(await pair.a.visit(before + 1))
    body, record = await asking

    assert body == body_of("a")
    assert [(attempt.deployment, attempt.code) for attempt in record.tries] == [("a", None), ("b", "upstream_500")]
    assert len(pair.b.visits) == 1
    pair.assert_at_rest()


async def test_the_first_fails_and_the_second_is_waited_for(pair: Pair) -> None:
    await pair.warm()
    pair.a.script, pair.b.script = (Hold(), *fails()), held("b")
    before = len(pair.a.visits)
    asking = asyncio.create_task(pair.ask())
    second, first = await pair.b.visit(), await pair.a.visit(before + 1)
    await let_go(first)
    await first.ended.wait()
    await silently(pair, asking)
    await let_go(second)
    body, record = await asking

    assert body == body_of("b")
    assert [(attempt.deployment, attempt.code) for attempt in record.tries] == [("a", "upstream_500"), ("b", None)]
    pair.assert_at_rest()


async def test_the_client_leaves_while_both_run(pair: Pair) -> None:
    await pair.warm()
    pair.a.script, pair.b.script = SILENT, DEAF
    before = len(pair.a.visits)
    async with RawClient(pair.relay.url) as client:
        await client.post(CHAT, STREAM)
        second, first = await pair.b.visit(), await pair.a.visit(before + 1)
    assert await first.peer_left() in ("close", "reset")
    assert await second.peer_left() in ("close", "reset")
    record = await pair.relay.record(ENOUGH + 1)

    assert record.end is End.CLIENT_ABORTED
    assert [(attempt.deployment, attempt.code) for attempt in record.tries] == [("a", "cancelled"), ("b", "cancelled")]
    assert all(attempt.usage is not None for attempt in record.tries)
    pair.assert_at_rest()


async def test_what_is_no_stream_is_not_hedged(pair: Pair) -> None:
    await pair.warm()
    answer = b'{"id":"c","object":"chat.completion","choices":[]}'
    pair.a.script = (Hold(), Send(head("application/json", length=len(answer)) + answer))
    before = len(pair.a.visits)
    asking = asyncio.create_task(pair.ask(b'{"messages":[{"role":"user","content":"hello"}]}'))
    first = await pair.a.visit(before + 1)
    await silently(pair, asking)
    await let_go(first)

    assert (await asking)[0] == answer
    assert not pair.b.visits


CREATED = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_%d"}}\n\n'
SAID = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x"}\n\n'
COMPLETED = b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_%d"}}\n\n'


@pytest.mark.parametrize("name", ["resp_1", "resp_unknown"], ids=["known", "unknown"])
async def test_what_continues_something_is_not_hedged(pair: Pair, name: str) -> None:
    pair.a.script = (Send(head() + chunk(CREATED % 1 + SAID + COMPLETED % 1) + LAST_CHUNK),)
    for _ in range(ENOUGH):
        await pair.ask(b'{"input":"x","stream":true}', "/v1/responses")
    pair.a.script = (Send(head() + chunk(CREATED % 2)), Hold(), Send(chunk(SAID + COMPLETED % 2) + LAST_CHUNK))
    asking = asyncio.create_task(
        pair.ask(b'{"input":"x","stream":true,"previous_response_id":"%s"}' % name.encode(), "/v1/responses")
    )
    first = await pair.a.visit(ENOUGH + 1)
    await silently(pair, asking)
    await let_go(first)

    assert (await asking)[0] == CREATED % 2 + SAID + COMPLETED % 2
    assert not pair.b.visits


async def test_it_is_off_by_default(tmp_path: Path, upstreams: tuple[FaultUpstream, FaultUpstream]) -> None:
    async with InProcessRelay(settings(tmp_path, *upstreams, pool={"affinity": []})) as relay:
        pair = Pair(relay, *upstreams)
        await pair.warm()
        pair.a.script = held("a")
        asking = asyncio.create_task(pair.ask())
        first = await pair.a.visit(ENOUGH + 1)
        await silently(pair, asking)
        await let_go(first)

        assert (await asking)[0] == body_of("a")
        assert not pair.b.visits


async def test_too_few_times_say_nothing(pair: Pair) -> None:
    await pair.warm(ENOUGH - 1)
    pair.a.script = held("a")
    asking = asyncio.create_task(pair.ask())
    first = await pair.a.visit(ENOUGH)
    await silently(pair, asking)
    await let_go(first)

    assert (await asking)[0] == body_of("a")
    assert not pair.b.visits


async def test_nobody_else_is_free_so_the_first_is_waited_for(
    tmp_path: Path, upstreams: tuple[FaultUpstream, FaultUpstream]
) -> None:
    """And the hedge that found nobody is kept for the next request: ten of them earn just one."""
    async with InProcessRelay(settings(tmp_path, *upstreams, pool={"affinity": [], "hedge_share": 0.1})) as relay:
        pair = Pair(relay, *upstreams)
        await pair.warm(9)
        pair.a.script, pair.b.script = fails(), fails("429 Too Many Requests", "429", "retry-after-ms: 2500")
        await pair.ask()
        assert pair.state("b").status == "cooling"
        await pair.warm_again(1)

        pair.a.script, pair.b.script = held("a"), answers("b")
        asking = asyncio.create_task(pair.ask())
        first = await pair.a.visit(12)
        await silently(pair, asking)
        await let_go(first)
        body, record = await asking
        assert body == body_of("a")
        assert len(record.tries) == 1

        await eventually(lambda: pair.state("b").status == "ready")
        pair.a.script = SILENT
        body, record = await pair.ask()
        assert body == body_of("b")
        assert [attempt.code for attempt in record.tries] == ["hedge_lost", None]


async def test_no_more_than_the_share_of_a_thousand_requests_is_hedged(
    tmp_path: Path, upstreams: tuple[FaultUpstream, FaultUpstream]
) -> None:
    """Counted where they arrive. Some of each hundred are silent together, and all of them would be hedged."""
    share, rounds, quick, slow = 0.05, 10, RECENT, 100 - RECENT
    async with InProcessRelay(settings(tmp_path, *upstreams, pool={"affinity": [], "hedge_share": share})) as relay:
        pair = Pair(relay, *upstreams)
        told = {body_of("a"), body_of("b")}
        pair.a.script = lambda visit: held("a") if b"slow" in visit.body else answers("a")
        asked = 0
        for _ in range(rounds):
            for _ in range(quick):
                assert (await post(relay.url, CHAT, STREAM)).body in told
                asked += 1
            arrived = len(pair.a.visits)
            waiting = [
                asyncio.create_task(post(relay.url, CHAT, STREAM.replace(b"hello", b"slow"))) for _ in range(slow)
            ]
            asked += slow
            await eventually(lambda before=arrived: len(pair.a.visits) == before + slow)  # type: ignore[misc]
            await asyncio.sleep(max(0.1, 4 * (pair.state("a").first_token_p95 or 0.0)))
            for visit in pair.a.visits[arrived:]:
                if not visit.gone.is_set():  # else it was outrun
                    await let_go(visit)
            assert {answer.body for answer in await asyncio.gather(*waiting)} <= told
            assert len(pair.b.visits) <= share * asked
        assert asked == 1000
        await eventually(lambda: len(relay.records) == asked)
        hedged = [record for record in relay.records if len(record.tries) > 1]
        assert 0.8 * share * asked <= len(hedged) <= share * asked
        assert len(pair.b.visits) <= len(hedged)  # some are overtaken before they have got there
        assert len(pair.a.visits) == asked
        pair.assert_at_rest()


async def test_a_loser_that_was_stopped_early_does_not_look_quick(pair: Pair) -> None:
    pair.a.script = fails("429 Too Many Requests", "429", "retry-after-ms: 1")
    pair.b.script = held("b")
    for _ in range(ENOUGH):  # while it is not known how quick deployment a is, so that b is asked for this reason alone
        others = len(pair.b.visits)
        asking = asyncio.create_task(pair.ask())
        second = await pair.b.visit(others + 1)
        await asyncio.sleep(0.03)
        await let_go(second)
        await asking
        await eventually(lambda: pair.state("a").status == "ready")
    usual = pair.state("b").first_token_p50
    assert usual is not None
    assert usual >= 0.03

    await pair.warm_again(ENOUGH)
    pair.a.script, pair.b.script = held("a"), SILENT
    for _ in range(ENOUGH + 2):
        visits, others = len(pair.a.visits), len(pair.b.visits)
        asking = asyncio.create_task(pair.ask())
        await pair.b.visit(others + 1)
        await let_go(await pair.a.visit(visits + 1))
        assert (await asking)[1].deployment == "a"

    assert (pair.state("b").first_token_p50 or 0.0) >= usual


async def test_a_deployment_that_is_outrun_again_and_again_counts_as_slow(pair: Pair) -> None:
    await pair.warm()
    before = pair.state("a").first_token_p95
    assert before is not None
    pair.a.script = SILENT
    for _ in range(4):
        assert (await pair.ask())[1].deployment == "b"

    assert (pair.state("a").first_token_p95 or 0.0) > before
    assert pair.state("a").failed == 0
    pair.assert_at_rest()


async def test_a_trial_that_is_outrun_opens_the_breaker_again(
    tmp_path: Path, upstreams: tuple[FaultUpstream, FaultUpstream]
) -> None:
    pool = {**HEDGED, "breaker_seconds": 0.2}
    async with InProcessRelay(settings(tmp_path, *upstreams, pool=pool)) as relay:
        pair = Pair(relay, *upstreams)
        await pair.warm()
        pair.a.script = fails()
        for number in range(3):
            await pair.ask(unlike(number))
        assert pair.state("a").status == "open"
        pair.a.script = SILENT
        await eventually(lambda: pair.state("a").status == "half_open")

        for number in (3, 4):
            body, record = await pair.ask(unlike(number))
            assert body == body_of("b")
            assert [attempt.code for attempt in record.tries] == ["hedge_lost", None]

        state = pair.state("a")
        assert (state.status, state.why, state.outstanding) == ("open", "hedge_lost", 0)
        pair.a.script, pair.b.script = answers("a"), SILENT
        await eventually(lambda: pair.state("a").status == "half_open")
        assert (await pair.ask(unlike(5)))[0] == body_of("a")
        pair.assert_at_rest()


@pytest.fixture
async def third() -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream(answers("c")) as c:
        yield c


@pytest.mark.parametrize("heartbeat", [15.0, 0.02], ids=["quiet", "with heartbeats"])
async def test_both_fail_and_a_third_answers(
    tmp_path: Path, upstreams: tuple[FaultUpstream, FaultUpstream], third: FaultUpstream, heartbeat: float
) -> None:
    deployments: dict[str, Table] = {
        name: {"endpoint": upstream.url, "priority": priority}
        for priority, (name, upstream) in enumerate(zip("abc", (*upstreams, third), strict=True))
    }
    stream = {"heartbeat_seconds": heartbeat}
    async with InProcessRelay(pool_settings(tmp_path, deployments, pool=HEDGED, stream=stream)) as relay:
        pair = Pair(relay, *upstreams)
        await pair.warm()
        pair.a.script = pair.b.script = (Hold(), *fails())
        async with RawClient(relay.url) as client:
            await client.post(CHAT, STREAM)
            second, first = await pair.b.visit(), await pair.a.visit(ENOUGH + 1)
            if heartbeat < 1:
                assert (await client.part()).startswith(HEARTBEAT)
            await let_go(first)
            await let_go(second)
            body = await client.rest()
        record = await relay.record(ENOUGH + 1)

    assert body.replace(HEARTBEAT, b"") == body_of("c")
    assert (client.status, record.deployment) == (200, "c")
    assert [(attempt.deployment, attempt.code, attempt.hedge) for attempt in record.tries] == [
        ("a", "upstream_500", False),
        ("b", "upstream_500", True),
        ("c", None, False),
    ]


async def test_both_failures_of_a_pair_count_as_attempts(
    tmp_path: Path, upstreams: tuple[FaultUpstream, FaultUpstream], third: FaultUpstream
) -> None:
    deployments: dict[str, Table] = {
        name: {"endpoint": upstream.url, "priority": priority}
        for priority, (name, upstream) in enumerate(zip("abc", (*upstreams, third), strict=True))
    }
    async with InProcessRelay(pool_settings(tmp_path, deployments, pool={**HEDGED, "attempts": 2})) as relay:
        pair = Pair(relay, *upstreams)
        await pair.warm()
        pair.a.script = pair.b.script = (Hold(), *fails())
        asking = asyncio.create_task(post(relay.url, CHAT, STREAM))
        second, first = await pair.b.visit(), await pair.a.visit(ENOUGH + 1)
        await let_go(first)
        await let_go(second)
        answer = await asking

    assert (answer.status, answer.header("x-should-retry")) == (500, "false")
    assert not third.visits


async def test_a_hedge_with_heartbeats_is_one_clean_stream(
    tmp_path: Path, upstreams: tuple[FaultUpstream, FaultUpstream]
) -> None:
    async with InProcessRelay(settings(tmp_path, *upstreams, stream={"heartbeat_seconds": 0.02})) as relay:
        pair = Pair(relay, *upstreams)
        await pair.warm()
        pair.a.script, pair.b.script = SILENT, held("b")
        async with RawClient(relay.url) as client:
            await client.post(CHAT, STREAM)
            second = await pair.b.visit()
            assert (await client.part()).startswith(HEARTBEAT)
            await let_go(second)
            body = await client.rest()

    assert body.replace(HEARTBEAT, b"") == body_of("b")
