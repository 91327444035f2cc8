"""Failover that is invisible to clients: of three deployments the first fails in every way before its first output.

``failover_cases`` holds the table. Each row is played with a raw client, which compares bytes, until the deployment is
left alone, and with OpenAI's own client, which must see the very objects of a run without failures.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from tests.live import failover_cases as table
from tests.live.failover_bench import LONG, SHORT, FailoverBench, answer_of, deployments, open_bench
from tests.live.failover_cases import CHAT, COMPLETION, EMBEDDING, FAILED_RESPONSE, RESPONSES, Ask, Case
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, chunk, head
from tests.live.matrix_bench import HEARTBEAT, without_heartbeats
from tests.live.raw_client import RawClient
from tests.live.relays import InProcessRelay
from tests.live.uncounted import charge_of

from chukei.accounts.estimate import USUAL_OUTPUT
from chukei.model import End
from chukei.pool.member import Status
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

QUICK = 0.02
"""Seconds between heartbeats where the first one is to come before the failure."""
CASES = list(table.cases())
MESSAGES = [{"role": "user", "content": "a"}]


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FailoverBench]:
    async with open_bench(tmp_path_factory.mktemp("failover")) as bench:
        yield bench


@pytest.fixture(scope="module")
async def stock() -> AsyncIterator[httpx.AsyncClient]:
    """What OpenAI's client sends with; no connection outlives its answer, so that none counts as left over."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)) as client:
        yield client


def _arm(bench: FailoverBench, case: Case, *, held: bool) -> None:
    if case.at == "handshake":
        bench.handshake.at_connect = case.script(held=held)
    else:
        bench.first.script = case.script(held=held)


@pytest.mark.parametrize(
    ("ask", "case", "late"),
    CASES,
    ids=[f"{ask.name}-{case}{'-after-heartbeats' if late else ''}" for ask, case, late in CASES],
)
async def test_a_failure_before_output_is_invisible(
    ask: Ask, case: Case, late: bool, bench: FailoverBench, stock: httpx.AsyncClient
) -> None:
    rounds = case.rounds
    async with bench.relay(
        at=case.at,
        heartbeat=QUICK if late else LONG,
        limit=SHORT if case.code == "upstream_timeout" else LONG,
        connect=SHORT if case.code == "connect_timeout" else LONG,
        pool=f"breaker_failures = {rounds}",
    ) as relay:
        bench.heal(ask)
        _arm(bench, case, held=late)
        for number in range(1, rounds + 1):
            client = await _play(relay, bench, ask, case, number, late=late)
            known = deployments(relay)["a"]
            if number < rounds:
                assert (known.status, known.last_error, known.failed) == (Status.READY, case.why or case.code, number)
        expected = Status.OPEN if case.after is Status.READY else case.after
        assert (known.status, known.why, known.failed) == (expected, case.why or case.code, rounds)
        if case.seconds:
            assert case.seconds - 5 < known.seconds <= case.seconds
        asked = bench.asked
        healthy = await answer_of(relay, ask)
        assert (without_heartbeats(healthy.body) if late else healthy.body) == ask.shown
        assert _lasting(healthy) == _lasting(client), "a header tells of the failure"
        assert relay.records[-1].tries[0].deployment == "b", "the first one was not left alone"
        assert bench.asked == (asked[0], asked[1] + 1, 0)
        if not late and not case.silent and ask in SEEN:
            _arm(bench, case, held=False)
            assert await _seen(stock, relay, ask) == SEEN[ask]
            assert [attempt.deployment for attempt in relay.records[-1].tries] == ["a2", "b2"]


async def _play(
    relay: InProcessRelay, bench: FailoverBench, ask: Ask, case: Case, number: int, *, late: bool
) -> RawClient:
    """Ask once, and check what the client sees and what is recorded."""
    body = ask.of("chat")
    async with RawClient(relay.url) as client:
        await client.post(ask.path, body)
        if late:
            await client.until(HEARTBEAT + b"\n\n")
            if case.at != "black-hole":
                visit = await (bench.handshake if case.at == "handshake" else bench.first).visit(number)
                await visit.holding()
                visit.release()
        shown = await client.rest()
    assert client.status == 200
    assert (HEARTBEAT in shown) is late
    assert (without_heartbeats(shown) if late else shown) == ask.shown
    record = await relay.record(number)
    assert (record.end, record.status, record.code, record.deployment) == (End.COMPLETED, 200, None, "b")
    first, second = record.tries
    assert (first.deployment, first.code) == ("a", case.code)
    output = 0 if record.operation == "embeddings" else USUAL_OUTPUT  # it may have been made unseen
    lost = Usage(input=charge_of(body), output=output, estimated=True)
    assert first.usage == (lost if case.billed else None)
    assert (second.deployment, second.code) == ("b", None)
    assert bench.asked[1:] == (number, 0)
    return client


def _lasting(client: RawClient) -> dict[str, str]:
    """Return the headers that are the same in each answer."""
    return {name: value for name, value in client.headers.items() if name not in ("date", "x-request-id")}


SEEN = {
    CHAT: ["planted-completion-secret one", " two", " 三", "stop", "10"],
    COMPLETION: ["中継", "stop", "10"],
    EMBEDDING: ["[0.25, -0.5]", "7"],
    RESPONSES: ["response.created", *["response.output_text.delta"] * 3, "response.completed"],
}
"""What OpenAI's client tells of a good answer."""


async def _seen(stock: httpx.AsyncClient, relay: InProcessRelay, ask: Ask) -> list[str]:
    """Ask with OpenAI's client, which tries once only, and return what it tells, once the relay has recorded it."""
    count = len(relay.records)
    told = await _told(stock, relay, ask)
    await relay.record(count + 1)
    return told


async def _told(stock: httpx.AsyncClient, relay: InProcessRelay, ask: Ask) -> list[str]:
    http: Any = stock
    client: Any = AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="x", max_retries=0, http_client=http, timeout=20)
    if ask is EMBEDDING:
        vectors = await client.embeddings.create(model="talk", input="a", encoding_format="float")
        return [str(vectors.data[0].embedding), str(vectors.usage.total_tokens)]
    if ask is RESPONSES:
        return [event.type async for event in await client.responses.create(model="talk", input="a", stream=True)]
    if ask is COMPLETION:
        whole = await client.chat.completions.create(model="talk", messages=MESSAGES)
        return [whole.choices[0].message.content, whole.choices[0].finish_reason, str(whole.usage.total_tokens)]
    told = []
    chunks = await client.chat.completions.create(
        model="talk", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    async for event in chunks:
        if event.usage is not None:
            told.append(str(event.usage.total_tokens))
        for choice in event.choices:
            if choice.delta.content:
                told.append(choice.delta.content)
            if choice.finish_reason:
                told.append(choice.finish_reason)
    return told


async def test_a_stock_client_sees_nothing_of_a_failure_after_heartbeats(bench: FailoverBench) -> None:
    async with bench.relay(heartbeat=QUICK) as relay:
        bench.heal(CHAT)
        bench.first.script = [Hold(), *table.INSTEAD[-1].strike]

        async def begun(_: httpx.Response) -> None:
            (await bench.first.visit()).release()  # the head has come: a heartbeat has brought it

        async with httpx.AsyncClient(event_hooks={"response": [begun]}) as client:
            assert await _seen(client, relay, CHAT) == SEEN[CHAT]
        assert [attempt.code for attempt in relay.records[0].tries] == ["upstream_404", None]


# The Responses API's own failure.


@pytest.mark.parametrize("late", [False, True])
async def test_the_last_deployments_failed_response_is_passed_on_byte_for_byte(
    late: bool, bench: FailoverBench
) -> None:
    """Its events tell more than an error status could; of several failures the client gets the last one's."""
    failures = [FAILED_RESPONSE.replace(b"had an error", b"had error %d" % number) for number in (1, 2, 3)]
    async with bench.relay(heartbeat=QUICK if late else LONG) as relay:
        for upstream, failure in zip((bench.first, bench.second, bench.third), failures, strict=True):
            hold = [Hold()] if late else []
            upstream.script = [*hold, Send(head() + chunk(RESPONSES.held[0] + failure) + LAST_CHUNK)]
        async with RawClient(relay.url) as client:
            await client.post(RESPONSES.path, RESPONSES.of("chat"))
            for upstream in (bench.first, bench.second, bench.third) if late else ():
                visit = await upstream.visit()
                await visit.holding()
                beats = client.body.count(HEARTBEAT)
                while client.body.count(HEARTBEAT) == beats:
                    assert await client.part()
                visit.release()
            body = await client.rest()
        assert client.status == 200
        assert without_heartbeats(body) == RESPONSES.held[0] + failures[2]
        record = await relay.record()
        assert [attempt.code for attempt in record.tries] == ["server_error"] * 3
        assert (record.end, record.deployment) == (End.UPSTREAM_ERROR, "c")
        assert [deployments(relay)[name].failed for name in "abc"] == [1, 1, 1]


async def test_a_failed_response_is_kept_while_worse_comes(bench: FailoverBench) -> None:
    """When those asked after it say less than an event does, the event is what the client gets."""
    async with bench.relay() as relay:
        failed = head() + chunk(RESPONSES.held[0] + FAILED_RESPONSE) + LAST_CHUNK
        bench.first.script = [Send(failed)]
        bench.second.script = bench.third.script = table.SENT[0].script(held=False)
        client = await answer_of(relay, RESPONSES)
        assert (client.status, client.body) == (200, RESPONSES.held[0] + FAILED_RESPONSE)
        record = await relay.record()
        assert [attempt.code for attempt in record.tries] == ["server_error", "upstream_lost", "upstream_lost"]
        assert record.deployment == "a"
        assert [deployments(relay)[name].failed for name in "abc"] == [1, 1, 1]
