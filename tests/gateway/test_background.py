"""Requests that begin a response in the background: the id at once, never a second one, and no tokens yet."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.fakes import JSON, FakeAnswer, FakeDatabase, FakeIncoming, FakeQuota, FakeReply
from tests.gateway.test_gateway import GatewayHarness
from tests.rows import rows

from chukei.accounts.ledger import Entry
from chukei.accounts.limits import Amounts, Limits, Rules
from chukei.accounts.policy import Policies
from chukei.errors import UpstreamError
from chukei.gateway.gateway import Gateway
from chukei.model import End
from chukei.objects.jobs import Jobs
from chukei.record import RequestRecord
from chukei.stream import sse
from chukei.upstream.refusals import failure

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ASKED = b'{"model":"gpt-4o","background":true,"max_output_tokens":1000,"input":"hi"}'
STREAMED = ASKED[:-1] + b',"stream":true}'


def response(status: str, **more: Any) -> bytes:
    return json.dumps({"id": "resp_1", "object": "response", "status": status, "model": "gpt-4o", **more}).encode()


def event(number: int, kind: str, status: str = "in_progress", **more: Any) -> bytes:
    said = {"type": kind, "sequence_number": number, "response": json.loads(response(status, **more))}
    return sse.write(json.dumps(said).encode(), kind)


def delta(number: int) -> bytes:
    said = {"type": "response.output_text.delta", "sequence_number": number, "delta": "x"}
    return sse.write(json.dumps(said).encode(), "response.output_text.delta")


ALIVE = sse.write(b'{"type":"keepalive","sequence_number":0}', "keepalive")
QUEUED = event(0, "response.queued", "queued")
RUNNING = event(1, "response.in_progress")
DONE = event(3, "response.completed", "completed", usage={"input_tokens": 9, "output_tokens": 3})


class BackgroundHarness(GatewayHarness):
    """A gateway whose background responses are kept in a database, and what was billed."""

    def __init__(self, *answers: FakeAnswer | Exception, **extra: Any) -> None:
        self.quota = FakeQuota()
        super().__init__(*answers, quotas=self.quota, **extra)
        self.now = NOW
        self.database = FakeDatabase()
        self.billed: list[Entry] = []
        admission = self.gateway.services.admission
        self.jobs = Jobs(admission.settle, self.billed.append, now=lambda: self.now, store=self.database)
        self.gateway = Gateway(self.settings, replace(self.gateway.services, jobs=self.jobs))

    def limit(self, limits: Limits) -> None:
        """Give every caller these limits."""
        policies = Policies({}, {"everybody": Rules(limits=limits)})
        self.gateway = Gateway(self.settings, replace(self.gateway.services, policies=policies))

    def asks(self, body: bytes) -> FakeIncoming:
        return FakeIncoming(body, path="/v1/responses")

    async def done(self, task: "asyncio.Task[None]") -> RequestRecord:
        async with asyncio.timeout(60):
            await task
        for _ in range(30):
            await asyncio.sleep(0)
        return self.record


def kept(record: RequestRecord) -> tuple[object, ...]:
    """What the request's own entry has."""
    return record.end, record.usage, record.cost


async def test_a_whole_answer_is_passed_on_at_once_and_has_no_tokens() -> None:
    answer = FakeAnswer([response("queued")], headers=[*JSON, (b"content-length", b"%d" % len(response("queued")))])
    harness = BackgroundHarness(answer)
    reply, record = await harness.serve(harness.asks(ASKED))
    assert (reply.status, json.loads(reply.body)["status"]) == (200, "queued")
    assert kept(record) == (End.BACKGROUND, None, 0)
    assert len(harness.jobs) == 1
    await asyncio.sleep(0)
    assert [*harness.database.jobs] == ["resp_1"]
    assert harness.billed == []


async def test_one_that_has_ended_already_is_a_request_like_any() -> None:
    body = response("completed", usage={"input_tokens": 9, "output_tokens": 3})
    harness = BackgroundHarness(FakeAnswer([body, b""], headers=JSON))
    _, record = await harness.serve(harness.asks(ASKED))
    assert record.end is End.COMPLETED
    assert record.usage is not None
    assert (record.usage.input, record.usage.output, len(harness.jobs)) == (9, 3, 0)


async def test_the_refusal_of_a_response_that_is_not_stored_passes() -> None:
    refused = FakeAnswer([b'{"error":{"message":"store","code":"invalid"}}', b""], status=400, headers=JSON)
    harness = BackgroundHarness(refused)
    reply, record = await harness.serve(harness.asks(ASKED[:-1] + b',"store":false}'))
    assert (reply.status, record.end, len(harness.jobs)) == (400, End.UPSTREAM_STATUS, 0)
    assert b'"store":false' in harness.upstream.requests[0][3]


@rows("before", [b"", ALIVE, ALIVE + ALIVE])
async def test_a_stream_begins_with_the_id_and_waits_in_the_queue(before: bytes) -> None:
    """BerriAI/litellm#39617: while the service is busy, signs of life come before the id."""
    answer = FakeAnswer([before + QUEUED] if before else [QUEUED])
    harness = BackgroundHarness(
        answer, environment={"CHUKEI_STREAM__IDLE_SECONDS": "0.2", "CHUKEI_STREAM__HEARTBEAT_SECONDS": "0.05"}
    )
    reply, task = harness.start(harness.asks(STREAMED))
    await reply.until(lambda sent: sent.startswith(before + QUEUED) and sent.count(sse.HEARTBEAT) > 5)
    assert len(harness.jobs) == 1
    for read in (RUNNING, delta(2), DONE):
        answer.put(read)
    record = await harness.done(task)
    assert reply.body.replace(sse.HEARTBEAT, b"") == before + QUEUED + RUNNING + delta(2) + DONE
    assert kept(record) == (End.BACKGROUND, None, 0)
    assert [(entry.input, entry.output, entry.end) for entry in harness.billed] == [(9, 3, "completed")]
    assert harness.database.jobs == {}


async def test_a_client_that_leaves_ends_its_stream_and_not_the_response() -> None:
    answer = FakeAnswer([QUEUED, RUNNING])
    harness = BackgroundHarness(answer)
    incoming = harness.asks(STREAMED)
    reply, task = harness.start(incoming)
    await reply.until(lambda sent: RUNNING in sent)
    incoming.leave()
    record = await harness.done(task)
    assert answer.aborted
    assert kept(record) == (End.BACKGROUND, None, 0)
    assert (len(harness.jobs), harness.billed) == (1, [])
    assert len(harness.upstream.requests) == 1


@rows("body", [ASKED, STREAMED])
async def test_a_client_that_leaves_before_the_id_is_known_does_not_lose_the_bill(body: bytes) -> None:
    answer = FakeAnswer([], headers=JSON if body is ASKED else None)
    harness = BackgroundHarness(answer)
    incoming = harness.asks(body)
    _, task = harness.start(incoming)
    await harness.upstream.asked.wait()
    await answer.silent.wait()
    incoming.leave()
    await asyncio.sleep(0)
    for read in (response("queued"), b"") if body is ASKED else (QUEUED,):
        answer.put(read)
    record = await harness.done(task)
    assert answer.aborted
    assert kept(record) == (End.BACKGROUND, None, 0)
    assert [*harness.database.jobs] == ["resp_1"]


async def test_a_broken_stream_tells_how_to_resume() -> None:
    broken = UpstreamError("upstream_lost", "Gone.", end=End.UPSTREAM_LOST)
    harness = BackgroundHarness(FakeAnswer([QUEUED + RUNNING, delta(2), broken]))
    reply, task = harness.start(harness.asks(STREAMED))
    record = await harness.done(task)
    sent = reply.body
    assert sent.startswith(QUEUED + RUNNING + delta(2))
    last = json.loads(sse.data_of([*sse.split(sent)][-1]))
    assert (last["type"], last["sequence_number"]) == ("error", 2)
    assert "GET /v1/responses/resp_1?stream=true&starting_after=2" in last["error"]["message"]
    assert b"response.failed" not in sent, "it has not failed"
    assert (record.end, record.code) == (End.BACKGROUND, "stream_incomplete")
    assert (len(harness.jobs), harness.billed) == (1, [])


async def test_the_tokens_stay_reserved_and_the_slot_does_not() -> None:
    harness = BackgroundHarness(FakeAnswer([response("queued"), b""], headers=JSON))
    harness.limit(Limits(tokens_per_day=100_000, concurrent=1))
    await harness.serve(harness.asks(ASKED))
    [(id, _, reserved)] = harness.quota.reserved
    assert reserved.tokens > 1000
    assert (harness.quota.released, harness.quota.settled) == ([id], [])
    harness.now += timedelta(seconds=5)
    harness.jobs.seen("resp_1", None)
    for _ in range(30):
        await asyncio.sleep(0)
    [(settled, amounts)] = harness.quota.settled
    assert settled == id
    assert amounts == Amounts(harness.billed[0].input + harness.billed[0].output, harness.billed[0].cost or 0)


def retries(reply: FakeReply) -> list[bytes]:
    return [value for name, value in reply.headers if name == b"x-should-retry"]


@rows(
    ("answer", "status"),
    [
        (failure("upstream_lost", "Gone."), 502),
        (failure("upstream_timeout", "Silent."), 504),
        (FakeAnswer([b"{}", b""], status=500, headers=JSON), 500),
        (FakeAnswer([b"{}", b""], status=502, headers=JSON), 502),
        (FakeAnswer([b"{}", b""], status=408, headers=JSON), 408),
        (FakeAnswer([b"", b""]), 502),
    ],
)
async def test_nobody_repeats_what_may_have_begun_a_response(answer: FakeAnswer | Exception, status: int) -> None:
    harness = BackgroundHarness(answer)
    reply, record = await harness.serve(harness.asks(ASKED))
    assert (reply.status, retries(reply)) == (status, [b"false"])
    assert len(record.tries) == 1
    assert len(harness.jobs) == 0


async def test_a_relay_that_stops_before_the_id_tells_not_to_repeat() -> None:
    harness = BackgroundHarness()
    reply, task = harness.start(harness.asks(ASKED))
    await harness.upstream.asked.wait()
    harness.gateway.stop_all()
    record = await harness.done(task)
    assert (reply.status, retries(reply), record.end) == (503, [b"false"], End.SERVER_SHUTDOWN)
    assert harness.upstream.cancelled


@rows("status", [429, 503])
async def test_a_refusal_may_be_repeated(status: int) -> None:
    refused = FakeAnswer([b'{"error":{"message":"No.","code":"x"}}', b""], status=status, headers=JSON)
    reply, _ = await (harness := BackgroundHarness(refused)).serve(harness.asks(ASKED))
    assert (reply.status, retries(reply)) == (status, [])
