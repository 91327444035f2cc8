"""No failover: output has begun, or the request itself is at fault. Exactly one deployment gets the request."""

import json
from collections.abc import AsyncIterator
from itertools import cycle
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from tests.live.failover_bench import LONG, SHORT, FailoverBench, answer_of, deployments, open_bench
from tests.live.failover_cases import CHAT, COMPLETION, RESPONSES, SIMPLE, Ask
from tests.live.fault_scripts import LAST_CHUNK, Close, Hold, Reset, Script, Send, Stall, Step, chunk, head
from tests.live.matrix_bench import HEARTBEAT, without_heartbeats
from tests.live.matrix_forms import CHAT as EVENTS
from tests.live.matrix_forms import RESPONSES as RESPONSE_EVENTS
from tests.live.raw_client import RawClient

from chukei.model import End
from chukei.pool.member import Status
from chukei.usage import Usage

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FailoverBench]:
    async with open_bench(tmp_path_factory.mktemp("after-output")) as bench:
        yield bench


_PREAMBLE = b"".join(EVENTS.preamble)
_FIRST, _SECOND, _THIRD = EVENTS.outputs
PHASES: dict[str, tuple[bytes, bytes]] = {
    "inside-an-event": (_PREAMBLE + _FIRST + _SECOND, _THIRD[:60]),
    "between-events": (_PREAMBLE + _FIRST + _SECOND, b""),
    "after-the-finish": (_PREAMBLE + _FIRST + _SECOND + _THIRD + EVENTS.finish, b""),
}
"""The whole events that have been sent, and the part of one that has not."""

FAULTS: dict[str, tuple[Step, str]] = {
    "reset": (Reset(), "stream_incomplete"),
    "close": (Close(), "stream_incomplete"),
    "clean-end": (Send(LAST_CHUNK), "stream_incomplete"),
    "bad-chunk": (Send(b"no size\r\n"), "stream_incomplete"),
    "stall": (Stall(), "upstream_timeout"),
    "error-event": (Send(chunk(EVENTS.error) + LAST_CHUNK), "server_error"),
}


@pytest.mark.parametrize(
    ("phase", "fault"),
    [(phase, fault) for phase in PHASES for fault in FAULTS if (phase, fault) != ("after-the-finish", "clean-end")],
)
async def test_a_failure_after_output_is_an_event_and_nobody_else_is_asked(
    phase: str, fault: str, bench: FailoverBench
) -> None:
    whole, part = PHASES[phase]
    step, code = FAULTS[fault]
    if fault == "error-event":
        part = b""  # an error cannot stand inside an event
    limit = SHORT if fault == "stall" else LONG
    async with bench.relay(limit=limit, pool="breaker_failures = 1") as relay:
        bench.heal(CHAT)
        bench.first.script = [Send(head()), Send(chunk(whole)), *([Send(chunk(part))] if part else []), Hold(), step]
        async with RawClient(relay.url) as client:
            await client.post(CHAT.path, CHAT.of("chat"))
            visit = await bench.first.visit()
            await visit.holding()
            await client.until(whole)
            visit.release()
            body = await client.rest()
        assert client.status == 200
        assert body.startswith(whole)
        [event] = body.removeprefix(whole).strip().split(b"\n\n")
        assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == code
        assert b"[DONE]" not in body
        assert bench.asked == (1, 0, 0)
        record = await relay.record()
        assert [(attempt.deployment, attempt.code) for attempt in record.tries] == [("a", code)]
        assert record.end is not End.COMPLETED
        known = deployments(relay)["a"]
        assert (known.left_out_for, known.last_error, known.failed) == (1, code, 1)


@pytest.mark.parametrize("ask", [CHAT, SIMPLE], ids=lambda ask: str(ask.name))
@pytest.mark.parametrize("tail", [b"", b"data:[DONE]", b"data: [DONE]\r\n"])
async def test_a_finished_answer_whose_body_ends_properly_is_complete(
    tail: bytes, ask: Ask, bench: FailoverBench
) -> None:
    whole = _PREAMBLE + _FIRST + _SECOND + _THIRD + EVENTS.finish + EVENTS.usage
    async with bench.relay(pool="breaker_failures = 1") as relay:
        bench.heal(ask)
        bench.first.script = [Send(head() + chunk(whole + tail) + LAST_CHUNK)]
        client = await answer_of(relay, ask)
        if ask is SIMPLE:
            assert client.body.endswith(b'"completion_tokens":3,"total_tokens":10}}\n\ndata: [DONE]\n\n')
        else:
            assert client.body == whole + (tail.rstrip() + b"\n\n" if tail else b"")
        record = await relay.record()
        assert (record.end, record.code, record.finish_reasons) == (End.COMPLETED, None, {0: "stop"})
        assert record.usage == Usage(input=7, output=3)
        assert deployments(relay)["a"].status is Status.READY


async def test_a_stock_client_reads_an_answer_without_done(bench: FailoverBench) -> None:
    async with bench.relay() as relay:
        bench.heal(CHAT)
        whole = _PREAMBLE + _FIRST + _SECOND + _THIRD + EVENTS.finish
        bench.first.script = [Send(head() + chunk(whole) + LAST_CHUNK)]
        async with AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="x", max_retries=0) as client:
            chunks: Any = await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "a"}], stream=True
            )
            reasons = [choice.finish_reason async for event in chunks for choice in event.choices]
        assert reasons[-1] == "stop"


@pytest.mark.parametrize(
    ("ask", "whole", "code"),
    [
        pytest.param(RESPONSES, RESPONSE_EVENTS.preamble[0] + RESPONSE_EVENTS.outputs[0], "server_error", id="error"),
        pytest.param(SIMPLE, _PREAMBLE + _FIRST, "stream_incomplete", id="simple-cut"),
    ],
)
async def test_other_forms_after_output(ask: Ask, whole: bytes, code: str, bench: FailoverBench) -> None:
    failing: Script = [Send(chunk(ask.error) + LAST_CHUNK)] if code == "server_error" else [Reset()]
    async with bench.relay(pool="breaker_failures = 1") as relay:
        bench.heal(ask)
        bench.first.script = [Send(head() + chunk(whole)), *failing]
        body = (await answer_of(relay, ask)).body
        assert code.encode() in body
        assert body.count(b"one") == 1, "a token came twice"
        assert b"two" not in body, "a token came from elsewhere"
        assert bench.asked == (1, 0, 0)
        known = deployments(relay)["a"]
        assert (known.left_out_for, known.last_error, known.failed) == (1, code, 1)


async def test_a_deployment_that_always_breaks_off_is_left_alone_in_the_end(bench: FailoverBench) -> None:
    """Each beginning counts for it and each break against it, so it takes ten outcomes: half of them failed."""
    async with bench.relay() as relay:
        bench.heal(CHAT)
        bench.first.script = [Send(head() + chunk(_PREAMBLE + _FIRST)), Reset()]
        for _ in range(5):
            assert b"stream_incomplete" in (await answer_of(relay, CHAT)).body
        assert deployments(relay)["a"].status is Status.OPEN
        assert (await answer_of(relay, CHAT)).body == CHAT.shown
        assert bench.asked == (5, 1, 0)


async def test_a_stock_client_hears_of_a_break_once(bench: FailoverBench) -> None:
    async with bench.relay() as relay:
        bench.heal(CHAT)
        bench.first.script = [Send(head() + chunk(_PREAMBLE + _FIRST + _SECOND)), Close()]
        told: list[str] = []

        async def read(chunks: Any) -> None:
            async for event in chunks:
                told.extend(choice.delta.content for choice in event.choices if choice.delta.content)

        async with AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="x", max_retries=2) as client:
            chunks: Any = await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "a"}], stream=True
            )
            with pytest.raises(openai.APIError, match="broke off"):
                await read(chunks)
        assert told == ["planted-completion-secret one", " two"]
        assert bench.asked == (1, 0, 0)


@pytest.mark.parametrize("ask", [CHAT, SIMPLE, RESPONSES], ids=lambda ask: str(ask.name))
async def test_when_all_fail_after_heartbeats_it_is_an_event_too(ask: Ask, bench: FailoverBench) -> None:
    """The status has been sent, so the refusal that says when to come back can only be an event."""
    async with bench.relay(heartbeat=0.02, pool="breaker_failures = 1") as relay:
        for upstream in (bench.first, bench.second, bench.third):
            upstream.script = [Hold(), Reset()]
        async with RawClient(relay.url) as client:
            await client.post(ask.path, ask.of("chat"))
            for upstream in (bench.first, bench.second, bench.third):
                visit = await upstream.visit()
                await visit.holding()
                await client.until(HEARTBEAT + b"\n\n")
                visit.release()
            body = without_heartbeats(await client.rest())
        assert client.status == 200
        event, *failed = body.strip().split(b"\n\n")
        assert [each.startswith(b"event: response.failed\n") for each in failed] == [True] * (ask is RESPONSES)
        *name, data = event.split(b"\n")
        assert name == ([] if ask is CHAT else [b"event: error"])
        assert json.loads(data.removeprefix(b"data: "))["error"]["code"] == "no_deployment_available"
        record = await relay.record()
        assert (record.status, record.end) == (200, End.NO_DEPLOYMENT)
        assert [attempt.code for attempt in record.tries] == ["upstream_lost"] * 3


# The caller's own mistakes.


def _refusal(status: str, code: str, more: str = "") -> tuple[str, bytes]:
    body = f'{{"error": {{"message": "No. 中継", "type": "invalid_request_error", "code": "{code}"{more}}}}}\n'
    return status, body.encode()


REFUSALS = [
    _refusal("400 Bad Request", "content_filter", ', "innererror": {"code": "ResponsibleAIPolicyViolation"}'),
    _refusal("400 Bad Request", "invalid_value", ', "param": "temperature"'),
    _refusal("404 Not Found", "not_found"),
    _refusal("409 Conflict", "conflict"),
    _refusal("413 Content Too Large", "too_large"),
    _refusal("415 Unsupported Media Type", "unsupported"),
    _refusal("422 Unprocessable Content", "unprocessable"),
]


# A refusal is passed on unread, whatever was asked for.
@pytest.mark.parametrize(
    ("ask", "status", "body"),
    [(ask, *refusal) for ask, refusal in zip(cycle((CHAT, COMPLETION, RESPONSES)), REFUSALS, strict=False)],
    ids=[f"{status[:3]}-{len(body)}" for status, body in REFUSALS],
)
async def test_the_callers_fault_passes_through(ask: Ask, status: str, body: bytes, bench: FailoverBench) -> None:
    async with bench.relay(pool="breaker_failures = 1\nmisconfigured_seconds = 9") as relay:
        bench.heal(ask)
        bench.first.script = [Send(head("application/json", status=status, length=len(body)) + body)]
        client = await answer_of(relay, ask)
        assert (client.status, client.body) == (int(status[:3]), body)
        assert client.headers["x-should-retry"] == "false"
        assert "retry-after" not in client.headers
        assert bench.asked == (1, 0, 0)
        assert deployments(relay)["a"].status is Status.READY
        [attempt] = (await relay.record()).tries
        assert attempt.code == f"upstream_{status[:3]}"
        assert (attempt.usage is None) is (b"content_filter" not in body), "a prompt that was judged is billed"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(head() + chunk(b"data: " + b"x" * 10_000), "event_too_large", id="event"),
        pytest.param(head() + chunk(_PREAMBLE + b"data: " + b"x" * 10_000), "event_too_large", id="event-after-role"),
        pytest.param(head("application/json", length=2) + b"{}", "not_a_stream", id="no-stream"),
    ],
)
async def test_what_any_deployment_would_do_is_asked_of_one_only(
    answer: bytes, code: str, bench: FailoverBench
) -> None:
    """An event beyond the cap and a model that does not stream are nothing that another deployment does better."""
    async with bench.relay(pool="breaker_failures = 1") as relay:
        bench.heal(CHAT)
        bench.first.script = [Send(answer)]
        client = await answer_of(relay, CHAT)
        assert (client.status, json.loads(client.body)["error"]["code"]) == (502, code)
        assert bench.asked == (1, 0, 0)
        assert deployments(relay)["a"].status is Status.READY
