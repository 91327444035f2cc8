"""The main path on real sockets: a client, the relay, the simulator."""

import asyncio

import pytest
from tests.live.relays import InProcessRelay, RelayProcess, settings_for

from chukei.model import End
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

REQUEST = b'{"messages":[{"role":"user","content":"repeat: one two"}],"stream":true}'


async def post(url: str, path: str, body: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_stream_arrives_and_is_accounted() -> None:
    simulator = Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0))
    async with InProcessRelay(settings_for(await simulator.start())) as relay:
        answer = await post(relay.url, "/v1/chat/completions", REQUEST)
        record = await relay.record()
    await simulator.stop()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"data: [DONE]\n\n" in answer
    assert b'"usage":{' not in answer
    assert record.end is End.COMPLETED
    assert record.usage is not None
    assert not record.usage.estimated
    assert record.finish_reasons == {0: "stop"}


async def test_the_process_serves_the_simulator() -> None:
    with RelayProcess() as relay:
        answer = await post(relay.url, "/api/chat-stream", REQUEST.replace(b',"stream":true', b""))
    assert b"data: one\n\n" in answer
    assert b"data:  two\n\n" in answer
    assert answer.rstrip().endswith(b"data: [DONE]\n\n\r\n0")
