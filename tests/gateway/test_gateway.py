"""The path of one request, told as what goes in and what comes out."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence

import pytest
from tests.fakes import (
    JSON,
    FakeAnswer,
    FakeClock,
    FakeCredential,
    FakeHook,
    FakeIncoming,
    FakeQuota,
    FakeReply,
    FakeUpstream,
)
from tests.rows import rows

from chukei.accounts.admission import UNSEEN, Admission
from chukei.accounts.estimate import ENOUGH, Estimator
from chukei.accounts.limits import Amounts, Headroom, Limit, Refusal
from chukei.accounts.policy import Policies
from chukei.accounts.stores import QuotaStore, StoreAway
from chukei.azure import CHAT, OPERATIONS
from chukei.callers.gatekeeper import Gatekeeper
from chukei.config import Settings, load
from chukei.errors import CallerError, UpstreamError
from chukei.gateway.assets import Asset
from chukei.gateway.delivery import SLICE_BYTES
from chukei.gateway.gateway import Gateway
from chukei.gateway.pages import Pages
from chukei.gateway.services import Services
from chukei.model import End, Headers, Model, Operation
from chukei.pool import Pool
from chukei.ports import Credential
from chukei.record import RequestRecord
from chukei.request import call as calls
from chukei.request.routes import Route
from chukei.stream import sse
from chukei.upstream.failover import Failover
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

SECRET_PROMPT = "the-prompt-nobody-may-log"
BODY = b'{"stream":true,"messages":[{"role":"user","content":"' + SECRET_PROMPT.encode() + b'"}]}'
WHOLE = BODY.replace(b"true", b"false")
ROLE = b'data: {"choices":[{"delta":{"role":"assistant"},"finish_reason":null,"index":0}]}\n\n'
CONTENT = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":null,"index":0}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop","index":0}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}\n\n'
NAMED = ROLE.replace(b'{"choices"', b'{"model":"gpt-4o-2024-08-06","choices"')
LONG = CONTENT.replace(b"hi", b"x" * 4000)
REASONING = BODY[:-1] + b',"reasoning_effort":"low"}'


def prompt_of(body: bytes, operation: Operation = CHAT) -> int:
    """The tokens that are charged for a prompt that was sent and not counted."""
    asked = calls.read(Route(operation), operation, [(b"content-type", b"application/json")], body)
    return Estimator().uncounted(asked, Model("chat", ()))


PROMPT = prompt_of(BODY)
RESERVED = Amounts(PROMPT + 500)
LOST = UpstreamError("upstream_lost", "Gone.", end=End.UPSTREAM_LOST)
ENVIRONMENT = {
    "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com",
    "AZURE_OPENAI_API_KEY": "upstream-secret",
    "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
}


class GatewayHarness:
    """A gateway among fakes."""

    def __init__(
        self,
        *answers: FakeAnswer | Exception,
        hooks: Sequence[FakeHook] = (),
        credential: FakeCredential | None = None,
        quotas: QuotaStore | None = None,
        ledger_full: bool = False,
        environment: Mapping[str, str] | None = None,
        **extra: str,
    ) -> None:
        variables = ENVIRONMENT | {key.upper(): value for key, value in extra.items()} | dict(environment or {})
        self.settings: Settings = load(None, variables)
        policies = self.settings.policies
        self.upstream = FakeUpstream(*answers)
        self.clock = FakeClock()
        self.hook = FakeHook()
        pool = Pool(
            self.settings.models,
            self.settings.pool,
            default=self.settings.default_model,
            open=self.settings.open,
            draw=lambda: 0.5,
        )
        credentials: dict[str, Credential] = {"azure": credential or FakeCredential()}
        services = Services(
            gatekeeper=Gatekeeper(self.settings.auth, self.settings.server),
            policies=Policies({name: caller.rules for name, caller in policies.callers.items()}, policies.groups),
            admission=Admission(quotas, lambda: ledger_full),
            pool=pool,
            pages=Pages(
                pool,
                lambda name: Asset("text/html", b"page") if not name else None,
                self.clock,
                simulated=False,
                pace=0.01,
            ),
            failover=Failover(self.settings, pool, self.upstream, credentials, self.clock),
            hooks=[*hooks, self.hook],
            clock=self.clock,
            wall=self.clock,
        )
        self.gateway = Gateway(self.settings, services)

    def start(self, incoming: FakeIncoming) -> tuple[FakeReply, asyncio.Task[None]]:
        reply = FakeReply()
        return reply, asyncio.create_task(self.gateway.handle(incoming, reply))

    async def serve(self, incoming: FakeIncoming) -> tuple[FakeReply, RequestRecord]:
        reply, task = self.start(incoming)
        async with asyncio.timeout(60):
            await task
        return reply, self.record

    @property
    def record(self) -> RequestRecord:
        """The one record that was written."""
        assert len(self.hook.records) == 1
        assert self.gateway.live == 0
        return self.hook.records[0]


async def test_a_stream_from_end_to_end() -> None:
    answer = FakeAnswer([ROLE, CONTENT, FINISH, USAGE + sse.DONE])
    answer.headers = [
        *answer.headers,
        (b"apim-request-id", b"apim"),
        (b"x-ms-region", b"Sweden"),
        (b"set-cookie", b"s"),
    ]
    harness = GatewayHarness(answer)
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert reply.status == 200
    assert reply.body == ROLE + CONTENT + FINISH + sse.DONE
    assert reply.finished
    assert answer.finished
    fields = dict(reply.headers)
    assert fields[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert fields[b"x-accel-buffering"] == b"no"
    assert fields[b"x-request-id"] == record.request_id.encode()
    assert b"set-cookie" not in fields
    [(endpoint, target, headers, body)] = harness.upstream.requests
    assert (endpoint, target) == ("https://r.openai.azure.com", "/openai/v1/chat/completions")
    assert (b"api-key", b"upstream-secret") in headers
    assert json.loads(body)["model"] == "gpt-4o"
    assert (record.end, record.status, record.code) == (End.COMPLETED, 200, None)
    assert record.usage == Usage(9, 3)
    assert record.finish_reasons == {0: "stop"}
    assert (record.upstream_request_id, record.region, record.caller) == ("apim", "Sweden", "local")
    assert record.request_bytes == len(BODY)
    assert record.answer_bytes == len(reply.body)


async def test_each_read_is_sent_by_itself() -> None:
    reads = [ROLE + CONTENT, CONTENT, CONTENT + CONTENT, FINISH, sse.DONE]
    reply, _ = await GatewayHarness(FakeAnswer(reads)).serve(FakeIncoming(BODY))
    assert reply.sent == reads


async def test_a_whole_answer() -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    reply, record = await GatewayHarness(FakeAnswer([body, b""], headers=JSON)).serve(FakeIncoming(WHOLE))
    assert (reply.status, reply.body, reply.finished) == (200, body, True)
    assert dict(reply.headers)[b"content-length"] == str(len(body)).encode()
    assert (record.end, record.stream, record.usage) == (End.COMPLETED, False, Usage(1, 2))


async def test_a_whole_answer_that_did_not_end_well_says_so_on_the_record() -> None:
    body = b'{"choices":[{"index":0,"finish_reason":"content_filter"}],"usage":{"prompt_tokens":1}}'
    _, record = await GatewayHarness(FakeAnswer([body, b""], headers=JSON)).serve(FakeIncoming(WHOLE))
    assert (record.end, record.finish_reasons) == (End.CONTENT_FILTER, {0: "content_filter"})


async def test_usage_of_a_whole_answer_that_is_not_found_is_what_was_reserved() -> None:
    for operation, body, output in (
        (CHAT, WHOLE[:-1] + b',"max_completion_tokens":700}', 700),
        (OPERATIONS["embeddings"], b'{"input":"x"}', 0),
    ):
        incoming = FakeIncoming(body, path=f"/v1/{operation.path}")
        _, record = await GatewayHarness(FakeAnswer([b'{"data":[]}', b""], headers=JSON)).serve(incoming)
        assert record.usage == Usage(prompt_of(body, operation), output, estimated=True)
    speech = FakeAnswer([b"RIFF", b""], headers=[(b"content-type", b"audio/wav")])
    _, record = await GatewayHarness(speech).serve(FakeIncoming(b'{"input":"x"}', path="/v1/audio/speech"))
    assert record.usage is None, "it is not billed by tokens"


async def test_a_part_of_a_whole_answer_leaves_before_the_next_one_comes() -> None:
    answer = FakeAnswer([b"x" * (5 << 20)], headers=[(b"content-type", b"audio/mpeg"), (b"content-length", b"5242881")])
    harness = GatewayHarness(answer)
    reply, task = harness.start(FakeIncoming(b'{"input":"x"}', path="/v1/audio/speech"))
    async with asyncio.timeout(60):
        await answer.silent.wait()
    assert reply.body == b"x" * (5 << 20)
    assert dict(reply.headers)[b"content-length"] == b"5242881", "so that its client can show progress"
    assert max(map(len, reply.sent)) <= SLICE_BYTES, "the write limit is for so much"
    answer.put(b"y")
    answer.put(b"")
    await task
    assert reply.finished


async def test_a_large_whole_answer_flows() -> None:
    parts = [bytes([65 + index]) * (1 << 20) for index in range(8)]
    answer = FakeAnswer([*parts, b""], headers=[(b"content-type", b"audio/mpeg")])
    reply, record = await GatewayHarness(answer).serve(FakeIncoming(b'{"input":"x"}', path="/v1/audio/speech"))
    assert reply.body == b"".join(parts)
    assert len(reply.sent) > 2
    assert record.answer_bytes == 8 << 20


async def test_a_large_whole_answer_that_breaks_is_cut_and_never_looks_complete() -> None:
    answer = FakeAnswer([b"x" * (5 << 20), b"y", LOST], headers=[(b"content-type", b"audio/mpeg")])
    reply, record = await GatewayHarness(answer).serve(FakeIncoming(b'{"input":"x"}', path="/v1/audio/speech"))
    assert reply.aborted
    assert not reply.finished
    assert record.end is End.UPSTREAM_LOST
    assert answer.aborted


async def test_a_large_whole_answer_to_a_client_that_stops_reading_is_given_up() -> None:
    answer = FakeAnswer([b"x" * (5 << 20), b"y", b""], headers=[(b"content-type", b"audio/mpeg")])
    harness = GatewayHarness(answer, chukei_stream__write_seconds="0.02")
    reply, task = harness.start(FakeIncoming(b'{"input":"x"}', path="/v1/audio/speech"))
    reply.reading.clear()
    async with asyncio.timeout(60):
        await task
    assert harness.record.end is End.CLIENT_STALLED
    assert reply.aborted
    assert answer.aborted


async def test_a_large_whole_answer_from_an_upstream_that_falls_silent_is_given_up() -> None:
    answer = FakeAnswer([b"x" * (5 << 20), b"y"], headers=[(b"content-type", b"audio/mpeg")])
    harness = GatewayHarness(answer, chukei_stream__idle_seconds="0.02")
    reply, record = await harness.serve(FakeIncoming(b'{"input":"x"}', path="/v1/audio/speech"))
    assert record.end is End.TIMEOUT
    assert reply.aborted
    assert answer.aborted


async def test_the_simple_form() -> None:
    harness = GatewayHarness(FakeAnswer([ROLE + CONTENT, FINISH + USAGE + sse.DONE]))
    reply, _ = await harness.serve(FakeIncoming(BODY.replace(b'"stream":true,', b""), path="/api/chat-stream"))
    events = list(sse.split(reply.body))
    assert events[0] == b"data: hi\n\n"
    assert events[1].startswith(b"event: finish\n")
    assert json.loads(sse.data_of(events[1]))["usage"]["total_tokens"] == 12
    assert events[2] == sse.DONE


# Refusals.


REFUSALS = [
    pytest.param(FakeIncoming(b"{"), 400, "invalid_json", id="no JSON"),
    pytest.param(FakeIncoming(b"{}"), 400, "missing_messages", id="no messages"),
    pytest.param(FakeIncoming(BODY, path="/nowhere"), 404, "unknown_route", id="route"),
    pytest.param(FakeIncoming(method="PUT"), 405, "method_not_allowed", id="method"),
    pytest.param(FakeIncoming(BODY, local=False), 401, "invalid_api_key", id="key"),
    pytest.param(FakeIncoming(BODY, headers=[]), 400, "ambiguous_request", id="head"),
    pytest.param(FakeIncoming(BODY, headers=[(b"host", b"localhost")]), 415, "unsupported_media_type", id="type"),
    pytest.param(FakeIncoming(CallerError(413, "request_too_large", "x")), 413, "request_too_large", id="size"),
    pytest.param(
        FakeIncoming(method="OPTIONS", headers=[(b"host", b"localhost"), (b"origin", b"https://other.example")]),
        403,
        "origin_not_allowed",
        id="preflight",
    ),
    pytest.param(FakeIncoming(b'{"model":"../x",' + BODY[1:]), 400, "invalid_model", id="model"),
]


@rows(("incoming", "status", "code"), REFUSALS)
async def test_refusals_reach_nobody_else_and_are_one_record(incoming: FakeIncoming, status: int, code: str) -> None:
    harness = GatewayHarness()
    reply, record = await harness.serve(incoming)
    assert reply.status == status
    assert json.loads(reply.body)["error"]["code"] == code
    fields = dict(reply.headers)
    assert fields[b"content-length"] == str(len(reply.body)).encode()
    assert fields[b"x-request-id"] == record.request_id.encode()
    assert harness.upstream.requests == []
    assert (record.end, record.status, record.code) == (End.REFUSED, status, code)


async def test_a_stranger_is_turned_away_before_its_body_is_read() -> None:
    incoming = FakeIncoming(BODY, local=False)
    await GatewayHarness().serve(incoming)
    assert incoming.limits is None


async def test_the_bodys_limits_are_the_settings() -> None:
    incoming = FakeIncoming(b"{")
    await GatewayHarness(chukei_server__max_body_bytes="2048", chukei_server__body_seconds="7").serve(incoming)
    assert incoming.limits == (2048, 7.0)


async def test_options_that_no_page_asks_for() -> None:
    reply, record = await GatewayHarness().serve(FakeIncoming(method="OPTIONS"))
    assert (reply.status, record.end) == (204, End.COMPLETED)
    assert (b"allow", b"GET, HEAD, POST, OPTIONS") in reply.headers


async def test_a_preflight() -> None:
    harness = GatewayHarness(chukei_server__cors_origins="https://app.example")
    headers = [(b"host", b"localhost"), (b"origin", b"https://app.example")]
    reply, record = await harness.serve(FakeIncoming(method="OPTIONS", headers=headers))
    assert (reply.status, reply.body, record.status) == (204, b"", 204)
    assert (b"access-control-allow-origin", b"https://app.example") in reply.headers


async def test_without_a_token_nothing_is_sent() -> None:
    harness = GatewayHarness(
        credential=FakeCredential(UpstreamError("upstream_identity_unavailable", "x", end=End.CONNECT_ERROR))
    )
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert (reply.status, record.end, record.usage) == (502, End.CONNECT_ERROR, None)
    assert harness.upstream.requests == []


# Breaks.


async def test_a_break_before_output_is_a_status() -> None:
    answer = FakeAnswer([ROLE, LOST])
    reply, record = await GatewayHarness(answer).serve(FakeIncoming(BODY))
    assert (reply.status, record.status, record.end) == (502, 502, End.UPSTREAM_LOST)
    assert record.usage is not None
    assert record.usage.estimated
    assert answer.aborted


BREAKS = [
    pytest.param([CONTENT, CONTENT[:9], LOST], CONTENT, End.TRUNCATED, id="inside an event"),
    pytest.param([CONTENT, LOST], CONTENT, End.TRUNCATED, id="between events"),
    pytest.param([CONTENT, b""], CONTENT, End.TRUNCATED, id="a clean end"),
    pytest.param([CONTENT, FINISH, LOST], CONTENT + FINISH, End.TRUNCATED_AFTER_FINISH, id="after the finish"),
]


@rows(("reads", "prefix", "end"), BREAKS)
async def test_a_break_after_output_is_an_error_event_and_never_done(
    reads: list[bytes | UpstreamError], prefix: bytes, end: End
) -> None:
    answer = FakeAnswer(reads)
    reply, record = await GatewayHarness(answer).serve(FakeIncoming(BODY))
    assert reply.status == 200
    assert reply.body.startswith(prefix)
    [event] = sse.split(reply.body.removeprefix(prefix))
    assert json.loads(sse.data_of(event))["error"]["code"] == "stream_incomplete"
    assert not event.startswith(b"event:")
    assert sse.DONE not in reply.body
    assert reply.finished
    assert answer.aborted
    assert (record.end, record.code, record.status) == (end, "stream_incomplete", 200)
    assert record.usage is not None
    assert record.usage.estimated


@rows("until_close", [False, True])
async def test_a_finished_chat_is_complete_as_it_came_if_its_body_has_an_end_of_its_own(until_close: bool) -> None:
    answer = FakeAnswer([ROLE + CONTENT, FINISH, b""])
    answer.until_close = until_close
    reply, record = await GatewayHarness(answer).serve(FakeIncoming(BODY))
    if until_close:
        assert (record.end, record.code) == (End.TRUNCATED_AFTER_FINISH, "stream_incomplete")
    else:
        assert (reply.body, reply.finished) == (ROLE + CONTENT + FINISH, True)
        assert (record.end, record.code, answer.finished) == (End.COMPLETED, None, True)
    assert record.usage is not None
    assert record.usage.estimated, "the usage that was asked for never came"


async def test_the_simple_form_of_a_chat_without_done_ends_as_ever() -> None:
    answer = FakeAnswer([ROLE + CONTENT, FINISH, USAGE, b""])
    reply, record = await GatewayHarness(answer).serve(FakeIncoming(BODY, path="/api/chat-stream"))
    assert reply.body.endswith(b'"completion_tokens":3,"total_tokens":12}}\n\n' + sse.DONE)
    assert record.end is End.COMPLETED


async def test_the_simple_form_and_other_apis_name_their_error_events() -> None:
    simple = FakeIncoming(BODY, path="/api/chat-stream")
    reply, _ = await GatewayHarness(FakeAnswer([CONTENT, LOST])).serve(simple)
    assert reply.body.startswith(b"data: hi\n\nevent: error\ndata: {")
    delta = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta"}\n\n'
    responses = FakeIncoming(b'{"input":"x","stream":true}', path="/v1/responses")
    reply, _ = await GatewayHarness(FakeAnswer([delta, LOST])).serve(responses)
    assert reply.body.startswith(delta + b'event: error\ndata: {"type":"error","sequence_number":1,')
    assert b'\n\nevent: response.failed\ndata: {"type":"response.failed","sequence_number":2,' in reply.body


async def test_the_upstreams_own_error_event_is_the_last_word() -> None:
    error = b'data: {"error":{"message":"Sorry"}}\n\n'
    answer = FakeAnswer([CONTENT, error + CONTENT, sse.DONE])
    reply, record = await GatewayHarness(answer).serve(FakeIncoming(BODY))
    assert reply.body == CONTENT + error
    assert record.end is End.UPSTREAM_ERROR
    assert answer.aborted


async def test_a_giant_event_ends_the_stream() -> None:
    harness = GatewayHarness(FakeAnswer([CONTENT, b"data: " + b"x" * 5000]), chukei_stream__max_event_bytes="4096")
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert record.end is End.EVENT_TOO_LARGE
    assert b'"code":"event_too_large"' in reply.body


async def test_a_broken_image_stream_is_not_complete() -> None:
    part = b'event: image_generation.partial_image\ndata: {"type":"image_generation.partial_image"}\n\n'
    incoming = FakeIncoming(b'{"prompt":"x","stream":true}', path="/v1/images/generations")
    reply, record = await GatewayHarness(FakeAnswer([part, LOST])).serve(incoming)
    assert record.end is End.TRUNCATED
    assert b"event: error" in reply.body
    incoming = FakeIncoming(b'{"prompt":"x","stream":true}', path="/v1/images/generations")
    reply, record = await GatewayHarness(FakeAnswer([part, b""])).serve(incoming)
    assert (record.end, reply.body) == (End.COMPLETED, part)


# The clock.


async def test_comments_go_out_while_the_first_output_is_awaited_and_then_the_stream() -> None:
    answer = FakeAnswer([ROLE])
    harness = GatewayHarness(answer, chukei_stream__heartbeat_seconds="0.01")
    reply, task = harness.start(FakeIncoming(BODY))
    await reply.until(lambda body: body.count(sse.HEARTBEAT) >= 2)
    assert reply.body == sse.HEARTBEAT * len(reply.sent)
    for read in (CONTENT, FINISH, sse.DONE):
        answer.put(read)
    await task
    assert reply.body.replace(sse.HEARTBEAT, b"") == ROLE + CONTENT + FINISH + sse.DONE
    assert (reply.status, harness.record.status) == (200, 200)


async def test_an_error_after_comments_is_an_event() -> None:
    answer = FakeAnswer([ROLE])
    harness = GatewayHarness(answer, chukei_stream__heartbeat_seconds="0.01")
    reply, task = harness.start(FakeIncoming(BODY))
    await reply.until(lambda body: sse.HEARTBEAT in body)
    answer.put(LOST)
    await task
    assert b'data: {"error":' in reply.body
    assert (reply.status, harness.record.status) == (200, 200)
    assert harness.record.end is End.UPSTREAM_LOST


async def test_comments_fill_a_pause_at_event_boundaries_only() -> None:
    answer = FakeAnswer([CONTENT, CONTENT[:20]])
    harness = GatewayHarness(answer, chukei_stream__heartbeat_seconds="0.02")
    reply, task = harness.start(FakeIncoming(BODY))
    await reply.until(lambda body: body.count(sse.HEARTBEAT) >= 2)
    answer.put(CONTENT[20:] + FINISH + sse.DONE)
    await task
    assert reply.body.replace(sse.HEARTBEAT, b"") == CONTENT * 2 + FINISH + sse.DONE
    assert harness.record.end is End.COMPLETED


async def test_silence_after_output_ends_the_stream() -> None:
    answer = FakeAnswer([CONTENT])
    harness = GatewayHarness(answer, chukei_stream__idle_seconds="0.03")
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert record.end is End.TIMEOUT
    assert b'"code":"upstream_timeout"' in reply.body
    assert answer.aborted


async def test_no_output_in_time_is_a_504() -> None:
    harness = GatewayHarness(chukei_stream__first_token_seconds="0.02")
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert (reply.status, record.end) == (504, End.TIMEOUT)
    assert harness.upstream.cancelled


async def test_a_client_that_stops_reading_is_given_up() -> None:
    answer = FakeAnswer([CONTENT] * 10)
    harness = GatewayHarness(answer, chukei_stream__write_seconds="0.02")
    reply, task = harness.start(FakeIncoming(BODY))
    reply.reading.clear()
    async with asyncio.timeout(60):
        await task
    assert reply.aborted
    assert answer.aborted
    assert harness.record.end is End.CLIENT_STALLED


# The client leaves.


async def test_a_client_that_leaves_before_the_answer_stops_the_upstream() -> None:
    incoming, harness = FakeIncoming(BODY), GatewayHarness()
    reply, task = harness.start(incoming)
    await harness.upstream.asked.wait()
    incoming.leave()
    await task
    assert harness.upstream.cancelled
    assert harness.record.end is End.CLIENT_ABORTED
    assert not reply.started


async def test_a_client_that_leaves_while_nothing_has_come_yet_stops_the_upstream() -> None:
    answer = FakeAnswer([ROLE])
    incoming, harness = FakeIncoming(BODY), GatewayHarness(answer)
    _, task = harness.start(incoming)
    await answer.silent.wait()
    incoming.leave()
    await task
    assert answer.aborted
    assert harness.record.end is End.CLIENT_ABORTED


async def test_a_client_that_leaves_in_mid_stream_stops_the_upstream_and_is_charged_for_what_it_got() -> None:
    answer = FakeAnswer([NAMED, CONTENT, CONTENT, CONTENT])
    incoming, harness = FakeIncoming(BODY), GatewayHarness(answer)
    reply, task = harness.start(incoming)
    await answer.silent.wait()
    incoming.leave()
    await task
    assert answer.aborted
    assert reply.aborted
    assert harness.record.end is End.CLIENT_ABORTED
    assert harness.record.usage == Usage(PROMPT, 3 + UNSEEN, estimated=True)


TAIL = [USAGE, sse.DONE]


@rows(
    ("before", "after"),
    [
        pytest.param([ROLE, CONTENT, FINISH], TAIL, id="whole events"),
        pytest.param([ROLE, CONTENT, FINISH + USAGE[:9]], [USAGE[9:]], id="in two"),
        pytest.param([ROLE, CONTENT, FINISH], [USAGE, LOST], id="and then a break"),
    ],
)
async def test_usage_is_awaited_for_a_client_that_leaves_when_all_has_been_generated(
    before: list[bytes], after: list[bytes | UpstreamError]
) -> None:
    answer = FakeAnswer(before)
    incoming, harness = FakeIncoming(BODY), GatewayHarness(answer)
    reply, task = harness.start(incoming)
    await answer.silent.wait()
    answer.silent.clear()
    incoming.leave()
    await answer.silent.wait()  # it reads on
    for read in after:
        answer.put(read)
    await task
    assert harness.record.end is End.CLIENT_ABORTED
    assert harness.record.usage == Usage(9, 3)
    assert answer.finished is (after == TAIL)
    assert USAGE not in reply.body


async def test_usage_is_awaited_on_the_responses_api_too() -> None:
    delta = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"hi"}\n\n'
    item = b'event: response.output_item.done\ndata: {"type":"response.output_item.done"}\n\n'
    last = b'event: response.completed\ndata: {"type":"response.completed","response":{"usage":{"input_tokens":7}}}\n\n'
    answer = FakeAnswer([delta, item])
    incoming, harness = FakeIncoming(b'{"input":"x","stream":true}', path="/v1/responses"), GatewayHarness(answer)
    _, task = harness.start(incoming)
    await answer.silent.wait()
    incoming.leave()
    answer.put(last)
    await task
    assert (harness.record.end, harness.record.usage) == (End.CLIENT_ABORTED, Usage(7))


@rows(
    "reads",
    [
        pytest.param([ROLE, CONTENT], id="not finished"),
        pytest.param([CONTENT, CONTENT.replace(b'"index":0', b'"index":1'), FINISH], id="one of two choices"),
    ],
)
async def test_nothing_is_awaited_while_more_would_be_generated(reads: list[bytes]) -> None:
    answer = FakeAnswer(reads)
    incoming, harness = FakeIncoming(BODY), GatewayHarness(answer)
    _, task = harness.start(incoming)
    await answer.silent.wait()
    answer.silent.clear()
    incoming.leave()
    await task
    assert answer.aborted
    assert not answer.silent.is_set()


async def test_a_shutdown_awaits_no_usage() -> None:
    answer = FakeAnswer([ROLE, CONTENT, FINISH])
    harness = GatewayHarness(answer)
    _, task = harness.start(FakeIncoming(BODY))
    await answer.silent.wait()
    answer.silent.clear()
    harness.gateway.stop_all()
    await task
    assert harness.record.end is End.SERVER_SHUTDOWN
    assert not answer.silent.is_set()


async def test_what_a_model_was_counted_to_do_tells_whether_it_may_reason() -> None:
    """A model of another name than Azure's families: at first it may, then often it did not, then it once did."""
    thought = USAGE.replace(b'_tokens":3}', b'_tokens":3,"completion_tokens_details":{"reasoning_tokens":2}}')
    broken: list[bytes | UpstreamError] = [ROLE, CONTENT, LOST]
    counted: list[bytes | UpstreamError] = [ROLE, CONTENT, FINISH, USAGE, sse.DONE]
    reasoned: list[bytes | UpstreamError] = [ROLE, CONTENT, FINISH, thought, sse.DONE]
    streams = [broken, *[counted] * ENOUGH, broken, reasoned, counted, broken]
    harness = GatewayHarness(*(FakeAnswer(reads) for reads in streams))
    seen = []
    for _ in streams:
        await harness.serve(FakeIncoming(BODY))
        usage = harness.hook.records.pop().usage
        assert usage is not None
        seen.append(usage.output)
    assert seen == [500, *[3] * ENOUGH, 1 + UNSEEN, 3, 3, 500]


async def test_a_client_that_leaves_during_a_whole_answer_stops_the_upstream() -> None:
    answer = FakeAnswer([b"{"], headers=JSON)
    incoming, harness = FakeIncoming(WHOLE), GatewayHarness(answer)
    _, task = harness.start(incoming)
    await answer.silent.wait()
    incoming.leave()
    await task
    assert answer.aborted
    assert harness.record.end is End.CLIENT_ABORTED


async def test_a_client_that_leaves_before_its_body_is_complete() -> None:
    reply, record = await GatewayHarness().serve(FakeIncoming(None))
    assert record.end is End.CLIENT_ABORTED
    assert not reply.started


# Shutdown.


async def test_a_draining_relay_takes_no_new_calls_but_shows_that_it_lives() -> None:
    harness = GatewayHarness()
    harness.gateway.drain()
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert (reply.status, record.end, record.code) == (503, End.SERVER_SHUTDOWN, "server_shutdown")
    harness.hook.records.clear()
    reply, _ = await harness.serve(FakeIncoming(method="GET", path="/health/live"))
    assert reply.status == 200
    harness.hook.records.clear()
    reply, _ = await harness.serve(FakeIncoming(method="GET", path="/health/ready"))
    assert reply.status == 503


async def test_a_stream_that_is_stopped_gets_an_error_event() -> None:
    answer = FakeAnswer([CONTENT])
    harness = GatewayHarness(answer)
    reply, task = harness.start(FakeIncoming(BODY))
    await answer.silent.wait()
    assert harness.gateway.live == 1
    harness.gateway.stop_all()
    await task
    assert reply.body.startswith(CONTENT + b'data: {"error":')
    assert reply.finished
    assert sse.DONE not in reply.body
    assert answer.aborted
    assert harness.record.end is End.SERVER_SHUTDOWN


async def test_a_waiting_client_that_is_stopped_gets_a_503() -> None:
    harness = GatewayHarness()
    reply, task = harness.start(FakeIncoming(BODY))
    await harness.upstream.asked.wait()
    harness.gateway.stop_all()
    await task
    assert reply.status == 503
    assert harness.upstream.cancelled


async def test_the_hosts_own_cancelling_is_passed_on() -> None:
    answer = FakeAnswer([CONTENT])
    harness = GatewayHarness(answer)
    _, task = harness.start(FakeIncoming(BODY))
    await answer.silent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answer.aborted
    assert harness.record.end is End.SERVER_SHUTDOWN


async def test_a_stalled_client_gets_no_second_wait_when_the_upstream_breaks() -> None:
    answer = FakeAnswer([CONTENT])
    harness = GatewayHarness(answer, chukei_stream__write_seconds="0.02")
    reply, task = harness.start(FakeIncoming(BODY))
    await answer.silent.wait()
    reply.reading.clear()
    answer.put(LOST)
    async with asyncio.timeout(60):
        await task
    assert reply.aborted
    assert harness.record.end is End.TRUNCATED


async def test_a_stalled_client_does_not_hold_up_a_shutdown() -> None:
    answer = FakeAnswer([CONTENT])
    harness = GatewayHarness(answer)
    reply, task = harness.start(FakeIncoming(BODY))
    await answer.silent.wait()
    reply.reading.clear()
    harness.gateway.stop_all()
    async with asyncio.timeout(60):
        await task
    assert reply.aborted
    assert answer.aborted
    assert harness.record.end is End.SERVER_SHUTDOWN


@rows("status", [401, 429, 500])
async def test_what_the_upstream_refuses_costs_nothing(status: int) -> None:
    answer = FakeAnswer([b'{"error":{"message":"no"}}', b""], status=status, headers=JSON)
    _, record = await GatewayHarness(answer).serve(FakeIncoming(BODY))
    assert (record.end, record.usage) == (End.UPSTREAM_STATUS, None)


# Hooks and faults.


async def test_a_hook_that_fails_breaks_nothing_and_no_other_hook(caplog: pytest.LogCaptureFixture) -> None:
    harness = GatewayHarness(FakeAnswer([CONTENT, FINISH, sse.DONE]), hooks=[FakeHook(RuntimeError("a broken hook"))])
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert reply.finished
    assert record.end is End.COMPLETED
    assert "a hook failed" in caplog.text


async def test_a_fault_of_our_own_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reply, record = await GatewayHarness(ZeroDivisionError("inner detail")).serve(FakeIncoming(BODY))
    assert (reply.status, record.end) == (500, End.INTERNAL_ERROR)
    assert b"inner detail" not in reply.body
    assert "inner detail" in caplog.text


async def test_logs_hold_no_prompt_no_completion_and_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret_answer = CONTENT.replace(b"hi", b"the-completion")
    endings: list[list[bytes | UpstreamError]] = [[secret_answer, FINISH, sse.DONE], [secret_answer, LOST], [LOST]]
    for reads in endings:
        harness = GatewayHarness(FakeAnswer(reads), chukei_api_key="relay-secret")
        headers = [
            (b"host", b"x"),
            (b"content-type", b"application/json"),
            (b"authorization", b"Bearer relay-secret"),
        ]
        _, record = await harness.serve(FakeIncoming(BODY, headers=headers))
        seen = caplog.text + repr(record)
        for secret in ("relay-secret", "upstream-secret", SECRET_PROMPT, "the-completion"):
            assert secret not in seen


async def test_durations_are_of_the_given_clock() -> None:
    answer = FakeAnswer([ROLE])
    harness = GatewayHarness(answer)
    _, task = harness.start(FakeIncoming(BODY))
    await answer.silent.wait()
    harness.clock.advance(2.5)
    answer.put(CONTENT)
    while harness.gateway.live and not answer.silent.is_set():
        await asyncio.sleep(0)
    for read in (FINISH, sse.DONE):
        answer.put(read)
    await task
    assert harness.record.first_token == 2.5
    assert harness.record.duration == 2.5


async def test_pages_are_served_to_all_and_lists_to_callers() -> None:
    reply, record = await GatewayHarness().serve(FakeIncoming(method="GET", path="/", local=False))
    assert (reply.status, reply.body, record.operation) == (200, b"page", "chat_page")
    for path in ("/v1/models", "/health/deployments"):
        reply, _ = await GatewayHarness().serve(FakeIncoming(method="GET", path=path, local=False))
        assert reply.status == 401


async def test_what_became_of_a_request_shows_in_its_deployments_state() -> None:
    harness = GatewayHarness(FakeAnswer([CONTENT, FINISH, sse.DONE]), FakeAnswer([CONTENT, LOST]))
    for _ in range(2):
        await harness.serve(FakeIncoming(BODY))
        harness.hook.records.clear()
    reply, record = await harness.serve(FakeIncoming(method="GET", path="/health/deployments"))
    assert (reply.status, record.operation, record.caller) == (200, "deployments", "local")
    [shown] = json.loads(reply.body)["models"]["gpt-4o"]
    assert (shown["answered"], shown["failed"], shown["last_error"]) == (2, 1, "stream_incomplete")
    assert (shown["status"], shown["outstanding"], shown["outstanding_tokens"]) == ("ready", 0, 0)
    assert b"r.openai.azure.com" not in reply.body
    assert b"upstream-secret" not in reply.body


async def test_a_deployment_that_fails_in_a_row_is_left_alone_and_says_for_how_long() -> None:
    harness = GatewayHarness(LOST, LOST, LOST, FakeAnswer([CONTENT, FINISH, sse.DONE]))
    for _ in range(3):
        reply, record = await harness.serve(FakeIncoming(BODY))
        assert (reply.status, record.code, record.deployment) == (502, "upstream_lost", "azure")
        harness.hook.records.clear()
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert (reply.status, record.end, record.code) == (503, End.NO_DEPLOYMENT, "no_deployment_available")
    assert (record.deployment, record.usage, record.tries) == (None, None, [])
    assert len(harness.upstream.requests) == 3
    harness.clock.advance(int(dict(reply.headers)[b"retry-after-ms"]) / 1000)
    harness.hook.records.clear()
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert (reply.status, record.end, record.deployment) == (200, End.COMPLETED, "azure")


@rows("shown", [True, False])
async def test_who_answered_is_told_where_that_is_wanted(shown: bool) -> None:
    for body, answer in (
        (BODY, FakeAnswer([CONTENT, FINISH, sse.DONE])),
        (WHOLE, FakeAnswer([b"{}", b""], headers=JSON)),
    ):
        harness = GatewayHarness(answer, chukei_pool__deployment_header=str(shown).lower())
        reply, _ = await harness.serve(FakeIncoming(body))
        assert dict(reply.headers).get(b"x-chukei-deployment") == (b"azure" if shown else None)


# Accounts: what is reserved is settled once, whatever becomes of the request.

LIMITED = {"CHUKEI_GROUPS__EVERYBODY__LIMITS__TOKENS_PER_MINUTE": "100000"}
HALF = b'data: {"choices":[{"delta":{"content":"hi'


class Accounts(FakeQuota):
    """Accounts that check that each reservation is settled, and settled once."""

    def check(self, used: Amounts) -> None:
        [(reserved, _, estimate)] = self.reserved
        assert self.settled == [(reserved, used)]
        assert estimate.tokens > 500

    def untouched(self) -> None:
        assert (self.reserved, self.settled) == ([], [])


async def accounted(
    incoming: FakeIncoming, *answers: FakeAnswer | Exception, environment: Mapping[str, str] | None = None
) -> tuple[Accounts, RequestRecord]:
    accounts = Accounts()
    harness = GatewayHarness(*answers, quotas=accounts, environment={**LIMITED, **(environment or {})})
    _, record = await harness.serve(incoming)
    await harness.gateway.settled()
    return accounts, record


WHOLE_ANSWER = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
BAD_STATUS = b'{"error":{"message":"no"}}'

# What the deployment does, and what the request has used then.
OUTCOMES = [
    pytest.param(BODY, [ROLE, CONTENT, FINISH, USAGE + sse.DONE], End.COMPLETED, Amounts(12), id="counted"),
    pytest.param(BODY, [NAMED, CONTENT, FINISH, sse.DONE], End.COMPLETED, Amounts(PROMPT + 2), id="not counted"),
    pytest.param(BODY, [NAMED, CONTENT * 9, LOST], End.TRUNCATED, Amounts(PROMPT + 9 + UNSEEN), id="broken"),
    pytest.param(BODY, [NAMED, LONG, LOST], End.TRUNCATED, Amounts(PROMPT + 1334), id="broken, many tokens an event"),
    pytest.param(
        REASONING, [NAMED, CONTENT, LOST], End.TRUNCATED, Amounts(prompt_of(REASONING) + 500), id="asked to reason"
    ),
    pytest.param(BODY, [ROLE, CONTENT, LOST], End.TRUNCATED, RESERVED, id="broken, and it may have reasoned"),
    pytest.param(BODY, [ROLE, LONG, LOST], End.TRUNCATED, Amounts(PROMPT + 1334), id="more than was reserved"),
    pytest.param(BODY, [HALF, LOST], End.UPSTREAM_LOST, RESERVED, id="broken before output"),
    pytest.param(BODY, [CONTENT, b"data: " + b"x" * 5000], End.EVENT_TOO_LARGE, RESERVED, id="a giant event"),
    pytest.param(BODY, [CONTENT], End.TIMEOUT, RESERVED, id="silence"),
    pytest.param(BODY, [ROLE], End.TIMEOUT, RESERVED, id="silence before output"),
]


@rows(("body", "reads", "end", "used"), OUTCOMES)
async def test_a_reservation_is_settled_once_however_a_stream_ends(
    body: bytes, reads: list[bytes | UpstreamError], end: End, used: Amounts
) -> None:
    limits = {
        "CHUKEI_STREAM__MAX_EVENT_BYTES": "4096",
        "CHUKEI_STREAM__IDLE_SECONDS": "0.02",
        "CHUKEI_STREAM__FIRST_TOKEN_SECONDS": "0.02",
        "CHUKEI_STREAM__THINKING_SECONDS": "0.02",
    }
    accounts, record = await accounted(FakeIncoming(body), FakeAnswer(reads), environment=limits)
    assert record.end is end
    accounts.check(used)


async def test_a_whole_answers_reservation_is_settled_once() -> None:
    accounts, _ = await accounted(FakeIncoming(WHOLE), FakeAnswer([WHOLE_ANSWER, b""], headers=JSON))
    accounts.check(Amounts(3))


@rows("body", [BODY, WHOLE])
@rows("status", [400, 401, 404, 429, 500])
async def test_what_the_upstream_refuses_is_given_back(status: int, body: bytes) -> None:
    answer = FakeAnswer([BAD_STATUS, b""], status=status, headers=JSON)
    accounts, record = await accounted(FakeIncoming(body), answer)
    assert record.usage is None
    accounts.check(Amounts())


@rows("failure", [LOST, ZeroDivisionError("a fault")], ids=["the upstream's", "our own"])
async def test_a_failure_settles_too(failure: Exception) -> None:
    accounts, record = await accounted(FakeIncoming(BODY), failure)
    assert record.end in (End.UPSTREAM_LOST, End.INTERNAL_ERROR)
    accounts.check(Amounts(usage_of(record)))


def usage_of(record: RequestRecord) -> int:
    """Return the tokens that a request without output is recorded with: sent perhaps, counted by nobody."""
    return record.usage.input + record.usage.output if record.usage is not None else 0


async def test_without_a_deployment_nothing_is_kept() -> None:
    accounts = Accounts()
    harness = GatewayHarness(LOST, LOST, LOST, quotas=accounts, environment=LIMITED)
    for _ in range(4):
        await harness.serve(FakeIncoming(BODY))
        last = harness.hook.records.pop()
    await harness.gateway.settled()
    assert last.end is End.NO_DEPLOYMENT
    assert [id for id, _, _ in accounts.reserved] == [id for id, _ in accounts.settled]
    assert accounts.settled[-1][1] == Amounts()


PHASES = [
    pytest.param(None, BODY, id="waiting"),
    pytest.param([ROLE], BODY, id="before output"),
    pytest.param([CONTENT], BODY, id="in mid-stream"),
    pytest.param([b"{"], WHOLE, id="in a whole answer"),
]


async def interrupted(reads: Sequence[bytes] | None, body: bytes, how: str) -> tuple[Accounts, RequestRecord]:
    """Serve a request until the deployment falls silent, and end it then."""
    answers = [] if reads is None else [FakeAnswer(reads, headers=JSON if body is WHOLE else None)]
    accounts, incoming = Accounts(), FakeIncoming(body)
    harness = GatewayHarness(*answers, quotas=accounts, environment=LIMITED)
    _, task = harness.start(incoming)
    async with asyncio.timeout(60):
        await (answers[0].silent if answers else harness.upstream.asked).wait()
        assert accounts.settled == []
        match how:
            case "the client leaves":
                incoming.leave()
            case "shutdown":
                harness.gateway.stop_all()
            case "the host":
                task.cancel()
        await asyncio.wait({task})
    await harness.gateway.settled()
    return accounts, harness.record


@rows("how", ["the client leaves", "shutdown", "the host"])
@rows(("reads", "body"), PHASES)
async def test_whoever_ends_a_request_when_it_is_settled_once(
    reads: Sequence[bytes] | None, body: bytes, how: str
) -> None:
    accounts, record = await interrupted(reads, body, how)
    assert record.end is (End.CLIENT_ABORTED if how == "the client leaves" else End.SERVER_SHUTDOWN)
    accounts.check(Amounts(usage_of(record)))
    assert usage_of(record) >= len(BODY) // 4, "what was sent may be charged"


async def test_a_client_that_stops_reading_is_settled() -> None:
    accounts = Accounts()
    harness = GatewayHarness(
        FakeAnswer([CONTENT] * 10), quotas=accounts, environment=LIMITED, chukei_stream__write_seconds="0.02"
    )
    reply, task = harness.start(FakeIncoming(BODY))
    reply.reading.clear()
    async with asyncio.timeout(60):
        await task
    await harness.gateway.settled()
    assert harness.record.end is End.CLIENT_STALLED
    accounts.check(Amounts(usage_of(harness.record)))


@rows("incoming", [param.values[0] for param in REFUSALS], ids=[str(param.id) for param in REFUSALS])
async def test_what_is_refused_before_it_is_admitted_reserves_nothing(incoming: FakeIncoming) -> None:
    accounts, _ = await accounted(incoming)
    accounts.untouched()


async def test_a_client_that_leaves_before_its_body_reserves_nothing() -> None:
    accounts, record = await accounted(FakeIncoming(None))
    assert record.end is End.CLIENT_ABORTED
    accounts.untouched()


async def test_a_model_that_is_not_the_callers_is_refused_by_name_before_anything_is_reserved() -> None:
    accounts, record = await accounted(FakeIncoming(BODY), environment={"CHUKEI_GROUPS__EVERYBODY__MODELS": "gpt-5"})
    assert (record.status, record.code, record.end) == (403, "model_not_allowed", End.REFUSED)
    assert record.model == "gpt-4o"
    accounts.untouched()


@rows(
    ("answer", "status", "code"),
    [
        (Refusal("caller:local", Limit.TOKENS_PER_MINUTE, 9, 9, 1, 2.0), 429, "rate_limit_exceeded"),
        (Refusal("caller:local", Limit.TOKENS_PER_DAY, 9, 9, 1, 2.0), 403, "insufficient_quota"),
        (StoreAway("away"), 503, "quota_unavailable"),
    ],
)
async def test_what_the_accounts_refuse_goes_nowhere(answer: Refusal | StoreAway, status: int, code: str) -> None:
    accounts = Accounts(answer)
    harness = GatewayHarness(quotas=accounts, environment=LIMITED)
    reply, record = await harness.serve(FakeIncoming(BODY))
    await harness.gateway.settled()
    assert (reply.status, record.status, record.code, record.end) == (status, status, code, End.REFUSED)
    assert int(dict(reply.headers)[b"retry-after"]) >= 2
    assert (record.model, record.cost, record.tries) == ("gpt-4o", None, [])
    assert len(accounts.reserved) == 1
    assert accounts.settled == []
    assert harness.upstream.requests == []


async def test_full_books_refuse_before_anything_is_reserved() -> None:
    accounts = Accounts()
    harness = GatewayHarness(quotas=accounts, ledger_full=True, environment=LIMITED)
    reply, record = await harness.serve(FakeIncoming(BODY))
    assert (reply.status, record.code, record.caller) == (503, "ledger_full", "local")
    accounts.untouched()
    harness.hook.records.clear()
    reply, _ = await harness.serve(FakeIncoming(method="GET", path="/v1/models"))
    assert reply.status == 200


@rows("body", [BODY, WHOLE])
async def test_a_callers_own_limits_take_the_place_of_azures(body: bytes) -> None:
    azures: Headers = [(b"x-ratelimit-remaining-tokens", b"9"), (b"x-ratelimit-limit-requests", b"8")]
    left = (Headroom("caller:local", Limit.TOKENS_PER_MINUTE, 100, 60, 24.0),)
    for accounts, shown in ((Accounts(left), b"60"), (None, b"9")):
        answer = FakeAnswer([CONTENT, FINISH, sse.DONE]) if body is BODY else FakeAnswer([b"{}", b""], headers=JSON)
        answer.headers = [*answer.headers, *azures]
        harness = GatewayHarness(answer, quotas=accounts, environment=LIMITED)
        reply, _ = await harness.serve(FakeIncoming(body))
        fields = [value for name, value in reply.headers if name == b"x-ratelimit-remaining-tokens"]
        assert fields == [shown]
        assert (b"x-ratelimit-limit-requests" in dict(reply.headers)) is (accounts is None)


async def test_a_caller_may_be_kept_from_seeing_who_answered() -> None:
    for see, wanted in ((True, b"azure"), (False, None)):
        harness = GatewayHarness(
            FakeAnswer([CONTENT, FINISH, sse.DONE]),
            chukei_pool__deployment_header=str(not see).lower(),
            chukei_callers__local__see_deployment=str(see).lower(),
        )
        reply, _ = await harness.serve(FakeIncoming(BODY))
        assert dict(reply.headers).get(b"x-chukei-deployment") == wanted


@rows(
    ("path", "kind", "body", "event"),
    [
        (
            "images/generations",
            b"application/json",
            b'\n{"data": [],\n"created":1}\n',
            b'data: {"data": [],\ndata: "created":1}\n\n',
        ),
        ("audio/transcriptions", b"text/plain; charset=utf-8", b"hi\n", b'data: {"text":"hi\\n"}\n\n'),
        ("audio/transcriptions", b"application/json", b'{"text":"hi"}', b'data: {"text":"hi"}\n\n'),
    ],
)
async def test_a_whole_answer_to_a_stream_that_has_been_opened_is_one_event(
    path: str, kind: bytes, body: bytes, event: bytes
) -> None:
    answer = FakeAnswer([], headers=[(b"content-type", kind)])
    harness = GatewayHarness(answer, chukei_stream__heartbeat_seconds="0.02")
    form = b'--b\r\ncontent-disposition: form-data; name="stream"\r\n\r\ntrue\r\n--b--\r\n'
    sound = path.startswith("audio")
    headers = [
        (b"host", b"localhost:7221"),
        (b"content-type", b"multipart/form-data; boundary=b" if sound else b"application/json"),
    ]
    sent = form if sound else b'{"prompt":"a river","stream":true}'
    reply, task = harness.start(FakeIncoming(sent, path=f"/v1/{path}", headers=headers))
    await reply.until(lambda shown: shown.count(sse.HEARTBEAT) >= 2)
    for part in (body, b""):
        answer.put(part)
    await task
    assert reply.body.replace(sse.HEARTBEAT, b"") == event
    assert (reply.finished, harness.record.end) == (True, End.COMPLETED)


async def test_sound_cannot_follow_a_stream_that_has_been_opened() -> None:
    answer = FakeAnswer([], headers=[(b"content-type", b"audio/mpeg")])
    harness = GatewayHarness(answer, chukei_stream__heartbeat_seconds="0.02")
    sent = b'{"input":"a","voice":"b","stream":true}'
    reply, task = harness.start(FakeIncoming(sent, path="/v1/audio/speech"))
    await reply.until(lambda shown: sse.HEARTBEAT in shown)
    answer.put(b"ID3")
    await task
    assert b'"code":"not_a_stream"' in reply.body
    assert b"ID3" not in reply.body


async def test_an_error_keeps_its_whole_type_and_nothing_of_azures_limits() -> None:
    kind = (b"content-type", b"application/json; charset=utf-8")
    azures: Headers = [kind, (b"x-ratelimit-remaining-tokens", b"9"), (b"retry-after", b"7")]
    for accounts in (None, Accounts((Headroom("caller:local", Limit.TOKENS_PER_MINUTE, 100, 60, 24.0),))):
        answer = FakeAnswer([b'{"error":{"message":"No."}}', b""], status=400, headers=azures)
        reply, _ = await GatewayHarness(answer, quotas=accounts, environment=LIMITED).serve(FakeIncoming(WHOLE))
        assert reply.headers.count(kind) == 1
        assert (b"retry-after", b"7") in reply.headers
        assert ((b"x-ratelimit-remaining-tokens", b"9") in reply.headers) is (accounts is None)


async def test_thinking_is_waited_for_longer_than_silence() -> None:
    answer = FakeAnswer([ROLE])
    harness = GatewayHarness(answer, chukei_stream__first_token_seconds="0.02")
    reply, task = harness.start(FakeIncoming(BODY))
    await answer.silent.wait()
    await asyncio.sleep(0.05)
    for part in (CONTENT, FINISH, sse.DONE):
        answer.put(part)
    await task
    assert reply.body == ROLE + CONTENT + FINISH + sse.DONE


async def test_a_picture_may_take_as_long_as_a_whole_answer() -> None:
    harness = GatewayHarness(chukei_stream__first_token_seconds="0.02", chukei_upstream__answer_seconds="0.06")
    reply, _ = await harness.serve(FakeIncoming(b'{"prompt":"a","stream":true}', path="/v1/images/generations"))
    assert reply.status == 504
    assert b"within 0.06 s" in reply.body


async def test_a_caller_s_trace_is_passed_on_once_and_recorded() -> None:
    context: Headers = [(b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"), (b"tracestate", b"a=1")]
    harness = GatewayHarness(FakeAnswer([b'{"choices":[]}', b""], headers=JSON))
    _, record = await harness.serve(FakeIncoming(WHOLE, headers=[*FakeIncoming().headers, *context]))
    sent = harness.upstream.requests[0][2]
    assert [field for field in sent if field[0] in (b"traceparent", b"tracestate")] == context
    assert record.trace is not None
    assert (record.trace.trace_id, record.trace.foreign) == ("a" * 32, True)
    assert record.tries[0].span_id is None


async def test_when_an_attempt_began_and_which_status_it_got() -> None:
    answer = FakeAnswer([b'{"error":{"message":"No."}}', b""], status=400, headers=JSON)
    _, record = await GatewayHarness(answer).serve(FakeIncoming(WHOLE))
    assert [(attempt.started, attempt.status) for attempt in record.tries] == [(0.0, 400)]
    assert record.arrived == 1000.0
