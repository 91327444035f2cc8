"""Messages of Claude on real sockets: every byte as the service wrote it, also in a recorded stream."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.gateway.test_messages import ANSWER, ASKED, BLOCK, END_OF_BLOCK, MESSAGE, STOP, delta, event
from tests.live.fault_scripts import LAST_CHUNK, Send, chunk
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import RawClient
from tests.live.recorded_exchanges import EXCHANGES, STREAMS
from tests.live.relays import InProcessRelay, eventually, settings_for

from chukei.usage import Usage

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
RECORDED = [each for each in (*EXCHANGES, *STREAMS) if each.path == "/v1/messages"]


@pytest.fixture(scope="module")
async def claude(scripted: FaultUpstream) -> AsyncIterator[InProcessRelay]:
    extra = {
        "CHUKEI_DEPLOYMENTS__CLAUDE__ENDPOINT": scripted.url,
        "CHUKEI_DEPLOYMENTS__CLAUDE__API": "anthropic",
        "CHUKEI_DEPLOYMENTS__CLAUDE__API_KEY": "upstream-secret-key",
    }
    async with InProcessRelay(settings_for(scripted.url, extra)) as relay:
        yield relay


async def ask(relay: InProcessRelay, path: str, body: bytes) -> RawClient:
    async with RawClient(relay.url) as client:
        client.sent("POST")
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        await client.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await client.head()
        await client.rest()
    return client


async def test_every_split_of_a_stream_comes_through(claude: InProcessRelay, scripted: FaultUpstream) -> None:
    whole = b"".join(ANSWER)
    for parts in (ANSWER, [whole], [whole[at : at + 37] for at in range(0, len(whole), 37)]):
        await scripted.drop()
        scripted.script = [Send(HEAD), *(Send(chunk(part)) for part in parts), Send(LAST_CHUNK)]
        client = await ask(claude, "/v1/messages", json.dumps({**ASKED, "stream": True}).encode())
        assert (client.status, client.body) == (200, whole)
        assert scripted.visits[0].target == "/anthropic/v1/messages"


async def test_a_compaction_and_what_is_stored_for_an_hour_are_charged(
    claude: InProcessRelay, scripted: FaultUpstream
) -> None:
    """pydantic/pydantic-ai#5065, earendil-works/pi#5737: alike in a stream and in a whole answer."""
    stored: dict[str, Any] = {"cache_creation_input_tokens": 50, "cache_creation": {"ephemeral_1h_input_tokens": 40}}
    left = {"input_tokens": 23, **stored, "output_tokens": 10}
    iterations = [{"type": "compaction", "input_tokens": 180, "output_tokens": 35}, {"type": "message", **left}]
    begin = event("message_start", message={**MESSAGE, "content": [], "usage": {**left, "output_tokens": 1}})
    end = event("message_delta", delta={"stop_reason": "end_turn"}, usage={**left, "iterations": iterations})
    streamed = [HEAD + chunk(begin + BLOCK + delta("Sunny.") + END_OF_BLOCK + end + STOP), LAST_CHUNK]
    body = json.dumps({**MESSAGE, "usage": {**left, "iterations": iterations}}).encode()
    whole = [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body), body]
    used = Usage(253, 45, cache_written=50, written_for_hour=40)
    for script, stream in ((streamed, True), (whole, False)):
        await scripted.drop()
        scripted.script = [Send(part) for part in script]
        await ask(claude, "/v1/messages", json.dumps({**ASKED, "stream": stream}).encode())
    await eventually(lambda: [each.usage for each in claude.records[-2:]] == [used, used])


@pytest.mark.parametrize("exchange", RECORDED, ids=lambda exchange: str(exchange.path))
async def test_what_was_recorded_comes_through(
    exchange: "object", claude: InProcessRelay, scripted: FaultUpstream
) -> None:
    [recorded] = [each for each in RECORDED if each is exchange]
    await scripted.drop()
    scripted.script = [Send(HEAD), Send(chunk(recorded.answer)), Send(LAST_CHUNK)]
    body = {**(recorded.asked or {}), "model": "claude"}
    client = await ask(claude, "/anthropic/v1/messages", json.dumps(body).encode())
    assert (client.status, client.body) == (200, recorded.answer)
