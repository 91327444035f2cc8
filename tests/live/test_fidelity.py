"""Byte fidelity on real sockets: the relay sends the bytes that it received, for every framing."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncAzureOpenAI
from tests.live.fault_scripts import LAST_CHUNK, Script, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, HARD, ROLE, USAGE, Recording, delta, parameters
from tests.live.relays import InProcessRelay, clean_environment, settings_for

from chukei.config import load
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

HEAD = head()
UNASKED = b'{"messages":[{"role":"user"}],"stream":true}'


@pytest.fixture
async def client(relay: InProcessRelay) -> AsyncIterator[RawClient]:
    async with RawClient(relay.url) as client:
        yield client


async def through(client: RawClient, scripted: FaultUpstream, script: Script, path: str, request: bytes) -> bytes:
    """Ask for a stream that is sent in the script's way; return its body."""
    scripted.script = script
    await client.post(path, request)
    assert await client.head() == 200
    return await client.rest()


def whole(stream: bytes) -> Script:
    return [Send(HEAD + chunk(stream) + LAST_CHUNK)]


@pytest.mark.parametrize("recording", parameters(limit=1_000_000))
async def test_in_one_read(recording: Recording, client: RawClient, scripted: FaultUpstream) -> None:
    body = await through(client, scripted, whole(recording.stream), recording.path, recording.request)
    assert body == recording.stream


@pytest.mark.parametrize("recording", parameters(limit=1_000_000))
async def test_event_by_event(recording: Recording, client: RawClient, scripted: FaultUpstream) -> None:
    script = [Send(HEAD), *(Send(chunk(event)) for event in recording.events), Send(LAST_CHUNK)]
    assert await through(client, scripted, script, recording.path, recording.request) == recording.stream


@pytest.mark.parametrize("recording", parameters(limit=15_000))
async def test_in_writes_of_one_byte(recording: Recording, client: RawClient, scripted: FaultUpstream) -> None:
    """The bytes of the HTTP framing too, so that its own lines are cut everywhere."""
    script = [Send(HEAD + chunk(recording.stream) + LAST_CHUNK, each=1)]
    assert await through(client, scripted, script, recording.path, recording.request) == recording.stream


@pytest.mark.parametrize("recording", parameters(limit=40_000))
async def test_cut_at_every_byte_of_one_event(
    recording: Recording, client: RawClient, scripted: FaultUpstream, relay: InProcessRelay
) -> None:
    """The first part has been read before the second is written. One connection on each side serves all."""
    events = recording.events
    before = b"".join(events[: recording.chosen])
    event = events[recording.chosen]
    after = b"".join(events[recording.chosen + 1 :])
    accepted = scripted.accepted
    for cut in range(1, len(event)):
        first, second = before + event[:cut], event[cut:] + after
        script = [Send(HEAD + chunk(first)), Send(chunk(second) + LAST_CHUNK)]
        body = await through(client, scripted, script, recording.path, recording.request)
        assert body == recording.stream, cut
    assert scripted.accepted <= accepted + 1
    assert relay.upstream.open_connections == 1


async def test_no_event_waits_for_an_acknowledgement(relay: InProcessRelay, client: RawClient) -> None:
    """With Nagle's algorithm on, every event behind the first waits 40 ms for a client that acknowledges late."""
    await client.request("GET", "/health/live")
    await client.rest()
    (connection,) = relay.server.server_state.connections
    ours = connection.transport.get_extra_info("socket")
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r", b"\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order-mark"])
async def test_other_line_ends(line_end: bytes, mark: bytes, client: RawClient, scripted: FaultUpstream) -> None:
    stream = mark + HARD.stream.replace(b"\n", line_end)
    for each in (0, 1):
        script = [Send(HEAD + chunk(stream) + LAST_CHUNK, each=each)]
        assert await through(client, scripted, script, CHAT, HARD.request) == stream


async def test_a_body_that_only_the_close_delimits(client: RawClient, scripted: FaultUpstream) -> None:
    """[DONE] proves that it is complete; see the failure matrix for one that lacks it."""
    script = [Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + HARD.stream)]
    assert await through(client, scripted, script, CHAT, HARD.request) == HARD.stream


async def test_a_request_that_asks_for_usage_goes_up_as_it_is(client: RawClient, scripted: FaultUpstream) -> None:
    await scripted.drop()
    request = HARD.request[:-1] + b', "model" : "gpt-4o" ,"x":1.50}'
    assert await through(client, scripted, whole(HARD.stream), CHAT, request) == HARD.stream
    assert (await scripted.visit()).body == request


@pytest.mark.parametrize("each", [0, 1, 7])
@pytest.mark.parametrize("asked", [b"", b',"stream_options":{}', b',"stream_options":{"include_usage":false}'])
async def test_only_the_usage_event_is_removed_where_it_was_not_asked_for(
    asked: bytes, each: int, client: RawClient, scripted: FaultUpstream, relay: InProcessRelay
) -> None:
    await scripted.drop()
    count = len(relay.records)
    script = [Send(HEAD + chunk(HARD.stream) + LAST_CHUNK, each=each)]
    body = await through(client, scripted, script, CHAT, UNASKED[:-1] + asked + b"}")
    assert body == HARD.stream.replace(USAGE, b"")
    assert b'"include_usage":true' in (await scripted.visit()).body
    usage = (await relay.record(count + 1)).usage
    assert usage is not None
    assert (usage.input, usage.output, usage.estimated) == (9, 5, False)


async def test_usage_that_comes_with_a_choice_is_kept(client: RawClient, scripted: FaultUpstream) -> None:
    """Some models send the counts so far with every chunk."""
    stream = b"".join((delta("a", usage={"prompt_tokens": 1}), delta("b", usage={"prompt_tokens": 1}), FINISH, DONE))
    assert await through(client, scripted, whole(stream), CHAT, UNASKED) == stream


SIMULATED = {
    "chat": (CHAT, b'"model":"gpt-4o"'),
    "chat-with-usage": (CHAT, b'"stream_options":{"include_usage":true}'),
    "chat-n2": (CHAT, b'"n":2'),
    "chat-tools": (
        CHAT,
        b'"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object",'
        b'"properties":{"city":{"type":"string"}}}}}],"tool_choice":"required"',
    ),
    "chat-async-filter": (CHAT, b'"model":"gpt-4o--filter-async"'),
    "chat-filtered": (CHAT, b'"model":"gpt-4o--filter-completion"'),
    "chat-bursts": (CHAT, b'"model":"gpt-4o--burst"'),
    "chat-cut-into-sevens": (CHAT, b'"model":"gpt-4o--split-7"'),
    "chat-bytewise": (CHAT, b'"model":"gpt-4o--bytewise"'),
    "chat-crlf": (CHAT, b'"model":"gpt-4o--crlf"'),
    "chat-comments": (CHAT, b'"model":"gpt-4o--comments"'),
    "chat-invalid-utf8": (CHAT, b'"model":"gpt-4o--invalid-utf8"'),
    "chat-classic": ("/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", b'"n":1'),
    "chat-before-usage": ("/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01", b'"n":1'),
    "completions": ("/v1/completions", b'"prompt":"Once upon a time"'),
    "responses": ("/v1/responses", b'"input":"Say something about rivers"'),
    "responses-tools": (
        "/v1/responses",
        b'"input":"weather?","tools":[{"type":"function","name":"weather","parameters":{"type":"object"}}],'
        b'"tool_choice":"required"',
    ),
}


@pytest.mark.parametrize("name", SIMULATED)
async def test_what_the_simulator_sends(name: str) -> None:
    path, fields = SIMULATED[name]
    messages = '"messages":[{"role":"user","content":"川について教えて"}],'.encode() if "chat" in path else b""
    request = b'{"stream":true,' + messages + fields + b"}"
    settings = SimulatorSettings(first_token_seconds=0, inter_token_seconds=0, record_sent=True)
    async with Simulator(settings) as simulator, InProcessRelay(settings_for(simulator.url)) as relay:
        async with RawClient(relay.url) as client:
            await client.post(path, request)
            assert await client.head() == 200
            body = await client.rest()
        exchange = simulator.exchanges[-1]
        sent = bytes(exchange.sent)
        record = await relay.record()
    asked_by_relay = b"include_usage" in exchange.body and b"include_usage" not in request
    assert asked_by_relay == (path not in ("/v1/responses",) and name not in ("chat-with-usage", "chat-before-usage"))
    if asked_by_relay:
        end = b"\r\n\r\n" if name == "chat-crlf" else b"\n\n"
        events = [event + end for event in sent.split(end)[:-1]]
        (usage,) = (event for event in events if b'"choices":[]' in event and b'"usage":{' in event)
        assert record.usage is not None
        sent = sent.replace(usage, b"")
    assert body == sent
    assert len(body) > 1000


TRIPPING = """
[deployments.a]
endpoint = "{url}"
api_key = {{ env = "TEST_KEY" }}
[models.plain]
deployments = ["a"]
[models.skipping]
deployments = ["a"]
skip_empty_choices = true
"""


@pytest.mark.parametrize("usage", [True, False])
async def test_code_that_reads_the_first_choice_of_each_chunk_can_be_helped(usage: bool, tmp_path: Path) -> None:
    """As tutorials have it; with Azure's first chunk it fails (https://github.com/langfuse/langfuse/issues/2833)."""
    told = b"".join([FILTER, ROLE, delta("Hel"), delta("lo"), FINISH, USAGE, DONE])
    async with FaultUpstream(whole(told)) as upstream:
        path = tmp_path / "chukei.toml"
        path.write_text(TRIPPING.format(url=upstream.url))
        environment = clean_environment({"TEST_KEY": "upstream-secret-key"})
        async with (
            InProcessRelay(load(str(path), environment)) as relay,
            AsyncAzureOpenAI(azure_endpoint=relay.url, api_key="x", api_version="2024-10-21") as client,
        ):

            async def text(model: str) -> str:
                more: Any = {"stream_options": {"include_usage": True}} if usage else {}
                chunks: Any = await client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "a"}], stream=True, **more
                )
                found = [event async for event in chunks]
                assert bool(usage) is (found[-1].usage is not None)
                return "".join(event.choices[0].delta.content or "" for event in found[: -1 if usage else None])

            assert await text("skipping") == "Hello"
            with pytest.raises(IndexError):
                await text("plain")
