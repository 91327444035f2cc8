"""Handshakes with clients, on the relay's own server: accepted, refused, malformed, and what may be around them."""

import asyncio
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from tests.adapters.websocket.sides import (
    ACCEPTED,
    HANDSHAKE,
    LIMITS,
    Raw,
    RawPeer,
    accepting,
    close_frame,
    echo,
    serving,
    wire,
)
from tests.hosts.scripted import fields, get
from tests.live.relays import clean_environment, eventually
from tests.rows import rows
from websockets.asyncio.client import connect

from chukei.adapters.websocket.handshake import check, propose
from chukei.errors import CallerError, UpstreamError
from chukei.ports import Incoming, Reply, Socket

pytestmark = pytest.mark.anyio


def test_the_library_is_imported_only_at_a_handshake() -> None:
    modules = "chukei.wiring.build, chukei.cli, chukei.hosts.asgi, chukei.hosts.http.protocol"
    code = f"import sys, {modules}; sys.exit('websockets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=clean_environment(), check=True)


async def test_a_handshake_is_answered_with_the_fields_of_the_reply() -> None:
    named = accepting(echo, subprotocol="realtime", headers=[(b"x-request-id", b"req_1")])
    async with named as url, RawPeer(url) as peer:
        head = await peer.open()
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        names = dict(line.split(b": ", 1) for line in head.strip().split(b"\r\n")[1:])
        assert names[b"sec-websocket-accept"] == ACCEPTED
        assert names[b"x-request-id"] == b"req_1"
        assert (names[b"upgrade"], names[b"sec-websocket-protocol"]) == (b"websocket", b"realtime")
        assert b"sec-websocket-extensions" not in names
    async with accepting(echo, subprotocol="realtime") as url, connect(url, subprotocols=["x", "realtime"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "realtime"


async def answered(incoming: Incoming, reply: Reply) -> None:
    """Accept a handshake; answer an error as the gateway would, and other requests with their path."""
    if not incoming.upgrades:
        await incoming.body(1000, 5)
        await reply.start(200, fields(len(incoming.raw_path)))
        await reply.finish(incoming.raw_path.encode())
        return
    try:
        await echo(await reply.upgrade(None, [], LIMITS))
    except CallerError as error:
        assert not reply.started
        await reply.start(error.status, [*error.headers, *fields(len(error.body))])
        await reply.finish(error.body)


KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@rows(
    ("old", "new", "status", "code"),
    [
        (KEY, b"", 400, "invalid_websocket_handshake"),
        (KEY, b"Sec-WebSocket-Key: short\r\n", 400, "invalid_websocket_handshake"),
        (KEY, KEY + KEY, 400, "invalid_websocket_handshake"),
        (b"Sec-WebSocket-Version: 13\r\n", b"", 400, "invalid_websocket_handshake"),
        (b"Version: 13", b"Version: 8", 426, "websocket_version_not_supported"),
    ],
)
async def test_a_malformed_handshake_is_refused_and_the_connection_goes_on(
    old: bytes, new: bytes, status: int, code: str
) -> None:
    async with serving(answered) as (url, _), RawPeer(url) as peer:
        peer.writer.write(HANDSHAKE.replace(old, new))
        head = await peer.head()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert (b"sec-websocket-version: 13\r\n" in head) == (status == 426)
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = msgspec.json.decode(await peer.reader.readexactly(length))
        assert body["error"]["code"] == code
        await peer.open()
        peer.writer.write(wire(0x81, b"now"))
        assert await peer.frame() == Raw(0x81, b"now")


@rows(
    ("old", "new"),
    [
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        (b"keep-alive, Upgrade", b"keep-alive"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"GET", b"OPTIONS"),
        (b"Host", b"Content-Length: 0\r\nHost"),
    ],
)
async def test_what_upgrades_is_a_plain_get_for_a_websocket(old: bytes, new: bytes) -> None:
    seen: list[bool] = []

    async def handle(incoming: Incoming, reply: Reply) -> None:
        seen.append(incoming.upgrades)
        await incoming.body(1000, 5)
        await reply.start(200, fields(0))
        await reply.finish()

    async with serving(handle) as (url, _), RawPeer(url) as peer:
        peer.writer.write(HANDSHAKE.replace(old, new, 1))
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")
    assert seen == [b"Content-Length: 0" in new]


async def test_a_get_with_a_body_does_not_upgrade() -> None:
    seen: list[tuple[bool, bytes]] = []

    async def handle(incoming: Incoming, reply: Reply) -> None:
        seen.append((incoming.upgrades, await incoming.body(1000, 5)))
        await reply.start(200, fields(0))
        await reply.finish()

    async with serving(handle) as (url, _), RawPeer(url) as peer:
        peer.writer.write(HANDSHAKE.replace(b"Host", b"Content-Length: 4\r\nHost") + b"body" + get("/next"))
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")
    assert seen == [(False, b"body"), (False, b"")]


async def test_frames_in_the_handshakes_read_belong_to_the_socket() -> None:
    async with serving(answered) as (url, _), RawPeer(url) as peer:
        await peer.open(wire(0x81, b"early") + wire(0x82, b"x" * 70_000))
        assert await peer.frame() == Raw(0x81, b"early")
        assert await peer.frame() == Raw(0x82, b"x" * 70_000)


async def test_frames_that_arrive_before_the_answer_belong_to_the_socket() -> None:
    go = asyncio.Event()
    asked = asyncio.Event()

    async def handle(_: Incoming, reply: Reply) -> None:
        asked.set()
        await go.wait()
        await echo(await reply.upgrade(None, [], LIMITS))

    async with serving(handle) as (url, application), RawPeer(url) as peer:
        peer.writer.write(HANDSHAKE)
        await asked.wait()
        peer.writer.write(wire(0x81, b"one"))
        connection: Any = next(iter(application.state.connections))
        await eventually(lambda: bool(connection._held))
        peer.writer.write(wire(0x81, b"two"))
        go.set()
        assert b" 101 " in await peer.head()
        assert [await peer.frame(), await peer.frame()] == [Raw(0x81, b"one"), Raw(0x81, b"two")]


async def test_requests_around_a_refused_handshake_are_answered_in_order() -> None:
    async def handle(incoming: Incoming, reply: Reply) -> None:
        body = b"refused" if incoming.upgrades else incoming.raw_path.encode()
        await reply.start(401 if incoming.upgrades else 200, fields(len(body)))
        await reply.finish(body)

    async with serving(handle) as (url, _), RawPeer(url) as peer:
        peer.writer.write(get("/1") + HANDSHAKE + get("/2") + HANDSHAKE + get("/3"))
        got = []
        for _ in range(5):
            head = await peer.head()
            size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            got.append(await peer.reader.readexactly(size))
    assert got == [b"/1", b"refused", b"/2", b"refused", b"/3"]


async def test_a_handshake_behind_another_request_is_accepted() -> None:
    async with serving(answered) as (url, _), RawPeer(url) as peer:
        peer.writer.write(get("/1") + HANDSHAKE + wire(0x81, b"mine"))
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")
        assert await peer.reader.readexactly(2) == b"/1"
        assert b" 101 " in await peer.head()
        assert await peer.frame() == Raw(0x81, b"mine")
        peer.writer.write(close_frame(1000))
        assert await peer.frame() == Raw(0x88, (1000).to_bytes(2))
        await peer.eof()


async def test_a_client_that_leaves_before_the_answer_is_noticed() -> None:
    gone = asyncio.Event()

    async def handle(incoming: Incoming, _: Reply) -> None:
        incoming.watch(gone.set)
        await gone.wait()

    async with serving(handle) as (url, _), RawPeer(url) as peer:
        peer.writer.write(HANDSHAKE)
        await asyncio.sleep(0)
        peer.writer.transport.abort()
        await gone.wait()


async def test_an_open_socket_counts_as_a_connection_and_ends_with_its_task() -> None:
    opened: list[Socket] = []

    async def handle(_: Incoming, reply: Reply) -> None:
        opened.append(await reply.upgrade(None, [], LIMITS))
        await opened[0].receive()

    async with serving(handle) as (url, application), RawPeer(url) as peer:
        await peer.open()
        await eventually(lambda: bool(opened))
        connection: Any = next(iter(application.state.connections))
        assert (application.connections, application.state.total_requests) == (1, 1)
        assert str(connection).startswith("<StrictProtocol upgraded")
        connection.close_idle()
        connection.leave()
        connection.shutdown()
        peer.writer.write(wire(0x81, b"still there"))
        await peer.reader.read(1)  # the task has ended with the frame, and the socket with it
        assert opened[0].code == 1006


async def test_a_stopped_task_can_close_its_socket_properly() -> None:
    async def handle(_: Incoming, reply: Reply) -> None:
        socket = await reply.upgrade(None, [], LIMITS)
        try:
            await socket.receive()
        except asyncio.CancelledError:
            await socket.close(1001, "the relay is shutting down")
            raise

    async with serving(handle) as (url, application), connect(url) as client:
        await eventually(lambda: bool(application.state.connections))
        [task] = application.state.tasks
        task.cancel()
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1001, "the relay is shutting down")


@rows("field", [(b"sec-websocket-accept", b"wrong"), (b"upgrade", b"h2c"), (b"sec-websocket-extensions", b"x")])
async def test_an_upstream_must_answer_the_handshake_that_was_sent(field: tuple[bytes, bytes]) -> None:
    protocol, sent = propose(["realtime"], LIMITS)
    assert (b"sec-websocket-protocol", b"realtime") in sent
    answer = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", b"?")]
    with pytest.raises(UpstreamError) as raised:
        check(protocol, [each for each in answer if each[0] != field[0]] + [field])
    assert raised.value.code == "unexpected_answer"
