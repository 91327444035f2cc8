"""Answers over real sockets, on both event loops: their framing, and protection against faulty applications."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.hosts.scripted import Handler, Scripted, configured, echo, fields, get, post
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.plain_http import connection, parse, raw, receive, rest
from tests.live.raw_client import RawClient
from tests.live.recordings import DONE, FINISH, delta
from tests.live.relays import InProcessRelay, eventually, settings_for
from tests.loops import LOOPS
from tests.rows import rows

from chukei.hosts.http.protocol import StrictProtocol
from chukei.ports import Incoming, Reply

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS.values(), ids=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[str, Scripted]]:
    application = Scripted(handler)
    state = application.state
    config = configured(application)
    server = await asyncio.get_running_loop().create_server(lambda: StrictProtocol(config, state, None), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", application
        await eventually(lambda: not state.connections)
        await eventually(lambda: not state.tasks)
    finally:
        server.close()
        await server.wait_closed()


async def test_a_large_answer_arrives_whole() -> None:
    parts = [bytes([65 + number]) * 100_000 for number in range(20)]

    async def large(incoming: Incoming, reply: Reply) -> None:
        await reply.start(200, [])
        for part in parts:
            if not reply.send_now(part, 0):
                await reply.send(part)
        await reply.finish()

    async with serving(large) as (url, _):
        received = await raw(url, get("/", b"Connection: close"))
    assert parse(received).body == b"".join(parts)


async def test_one_that_never_reads_is_cut() -> None:
    """These are pages, whose answers nothing else limits. A second one is not begun while the first is unread."""

    async def page(incoming: Incoming, reply: Reply) -> None:
        await reply.start(200, fields(8_000_000))
        await reply.finish(b"x" * 8_000_000)

    async with serving(page) as (url, application), connection(url) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get("/a") + get("/b"))
        await eventually(lambda: bool(application.paths))
        await eventually(lambda: not application.state.connections)
        assert application.paths == ["/a"]


async def test_a_request_that_waits_to_be_told() -> None:
    async with serving(echo) as (url, _), connection(url) as (reader, writer):
        writer.write(post("/a", b"", b"Expect: 100-continue", length=3))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"xyz")
        assert parse(await receive(reader)).body == b"/axyz"


async def test_http_1_0_is_never_told_to_continue() -> None:
    """RFC 9110 §10.1.1: it does not know interim answers."""
    async with serving(echo) as (url, _):
        received = await raw(url, post("/a", b"xyz", b"Expect: 100-continue", version=b"1.0"))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert parse(received).body == b"/axyz"


async def test_http_1_0_gets_no_chunks_and_the_end() -> None:
    async def parts(incoming: Incoming, reply: Reply) -> None:
        await reply.start(200, [])
        await reply.send(b"one ")
        assert not reply.send_now(b"never", 0)
        await reply.finish(b"two")

    async with serving(parts) as (url, _):
        received = await raw(url, get("/", b"Connection: keep-alive", version=b"1.0"))
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"one two"


async def test_answers_without_a_body_leave_the_connection_in_step() -> None:
    async def answer(incoming: Incoming, reply: Reply) -> None:
        await reply.start(204 if incoming.raw_path == "/none" else 200, [])
        if incoming.raw_path != "/none":
            await reply.send(b"")
            await reply.send(b"body")
        await reply.finish()

    async with serving(answer) as (url, _):
        closing = get("/b", b"Connection: close")
        received = await raw(url, get("/a").replace(b"GET", b"HEAD") + get("/none") + closing)
    first, second, third, body = received.split(b"\r\n\r\n", 3)
    assert [part.split(b"\r\n")[0] for part in (first, second, third)] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 200 OK",
    ]
    assert b"transfer-encoding" not in first + second
    assert body == b"4\r\nbody\r\n0\r\n\r\n"


@rows("size", [3, 5])
async def test_a_body_of_another_length_than_announced_ends_the_connection(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def lie(incoming: Incoming, reply: Reply) -> None:
        await reply.start(200, fields(size))
        await reply.finish(b"four")

    async with serving(lie) as (url, application):
        received = await raw(url, get("/a") + get("/b"))
    assert received.count(b"HTTP/1.1") == (size == 5)
    assert application.paths == ["/a"]
    assert "failed on its way" in caplog.text


@rows("value", [b"a\r\nset-cookie: b", b"a\nb: c", b"a\rb: c"])
async def test_a_field_with_a_line_end_does_not_leave(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    started = []

    async def inject(incoming: Incoming, reply: Reply) -> None:
        try:
            await reply.start(200, [(b"x-a", value)])
        except RuntimeError:
            started.append(reply.started)
            await reply.start(500, fields(0))
            await reply.finish()

    async with serving(inject) as (url, _):
        received = await raw(url, get("/a", b"Connection: close"))
    assert started == [False]
    assert parse(received).status == 500
    assert b"x-a" not in received


async def test_what_comes_behind_the_end_of_an_answer_does_not_leave(caplog: pytest.LogCaptureFixture) -> None:
    async def babble(incoming: Incoming, reply: Reply) -> None:
        await echo(incoming, reply)
        reply.abort()  # is the next one's connection by now
        with pytest.raises(RuntimeError):
            await reply.finish(b"more")

    async with serving(babble) as (url, _):
        received = await raw(url, get("/a") + get("/b", b"Connection: close"))
    assert re.findall(rb"\r\n\r\n(/.)", received) == [b"/a", b"/b"]
    assert b"more" not in received


async def test_an_application_that_fails_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(incoming: Incoming, reply: Reply) -> None:
        raise ValueError(incoming.raw_path)

    async with serving(fail) as (url, application):
        assert await raw(url, get("/a") + get("/b")) == b""
    assert application.paths == ["/a"]


@rows("target", ["http://a/x?q=1", "*"])
async def test_forms_of_targets(target: str) -> None:
    seen = []

    async def note(incoming: Incoming, reply: Reply) -> None:
        seen.append((incoming.raw_path, incoming.query))
        await echo(incoming, reply)

    async with serving(note) as (url, _):
        await raw(url, get(target, b"Connection: close").replace(b"GET", b"OPTIONS", 1))
    assert seen == [("*", "") if target == "*" else ("/x", "q=1")]


async def test_a_giant_target_in_one_read_is_refused() -> None:
    async with serving(echo) as (url, application):
        received = await raw(url, get("/" + "a" * 100_000, b"Connection: close"))
    assert parse(received).status == 431
    assert application.paths == []


async def test_a_half_close_while_an_answer_is_due() -> None:
    gone = asyncio.Event()

    async def wait(incoming: Incoming, reply: Reply) -> None:
        incoming.watch(gone.set)
        await gone.wait()

    async with serving(wait) as (url, application), connection(url) as (reader, writer):
        writer.write(get("/a"))
        await eventually(lambda: application.paths == ["/a"])
        writer.write_eof()
        assert await rest(reader) == b""
        assert gone.is_set()


async def test_the_head_of_a_stream_does_not_wait_for_its_text() -> None:
    """The simple form leaves out what is no text, which is all that there may be for a long time."""
    silent = chunk(delta("").replace(b'"content":""', b'"tool_calls":[{"index":0,"function":{"arguments":"x"}}]'))
    async with (
        FaultUpstream(
            [Send(head() + silent), Hold(), Send(chunk(delta("late") + FINISH + DONE) + LAST_CHUNK)]
        ) as upstream,
        InProcessRelay(settings_for(upstream.url)) as relay,
        RawClient(relay.url) as client,
    ):
        await client.post("/api/chat-stream", b'{"messages":[{"role":"user"}]}')
        visit = await upstream.visit()
        await visit.holding()
        assert await client.head() == 200
        visit.release()
        assert (await client.rest()).startswith(b"data: late\n\n")
