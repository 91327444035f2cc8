"""Both ends of a WebSocket: the relay's own server with a handler of a test, and peers that send raw bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

from tests.hosts.scripted import Scripted, configured
from tests.live.relays import eventually
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from chukei.adapters.websocket.connection import SocketConnection
from chukei.hosts.http.protocol import StrictProtocol
from chukei.model import Headers
from chukei.ports import Incoming, Reply, Socket, SocketLimits

LIMITS = SocketLimits(
    frame_bytes=100_000,
    message_bytes=150_000,
    ping_seconds=3600,
    pong_seconds=3600,
    write_seconds=3600,
    close_seconds=3600,
)
HANDSHAKE = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPTED = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # for that key, RFC 6455 §1.3
MASK = b"\x01\x02\x03\x04"
CLOSE, PING, PONG = 8, 9, 10


class Raw(NamedTuple):
    """A frame as it is on the wire, with its first byte."""

    first: int
    data: bytes


def wire(first: int, data: bytes = b"", *, masked: bool = True) -> bytes:
    """Return the bytes of a frame."""
    size, bit = len(data), 0x80 if masked else 0
    head = bytes((first, bit | min(size, 126)))
    if size > 125:
        head = (
            bytes((first, bit | 126)) + size.to_bytes(2)
            if size < 1 << 16
            else bytes((first, bit | 127)) + size.to_bytes(8)
        )
    if not masked:
        return head + data
    return head + MASK + bytes(byte ^ MASK[number % 4] for number, byte in enumerate(data))


def close_frame(code: int, reason: bytes = b"", *, masked: bool = True) -> bytes:
    """Return the bytes of a close."""
    return wire(0x80 | CLOSE, code.to_bytes(2) + reason, masked=masked)


class RawPeer:
    """A client that sends and reads frames as bytes."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2].strip("/"))

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def head(self) -> bytes:
        """Read the head of an answer."""
        async with asyncio.timeout(60):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def open(self, behind: bytes = b"") -> bytes:
        """Do the handshake, with bytes right behind it."""
        self.writer.write(HANDSHAKE + behind)
        return await self.head()

    async def frame(self) -> Raw:
        """Read a frame of the server."""
        async with asyncio.timeout(60):
            first, size = await self.reader.readexactly(2)
            assert size < 128, "a server masks nothing"
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
            return Raw(first, await self.reader.readexactly(size))

    async def eof(self) -> None:
        """Wait until the server closes."""
        async with asyncio.timeout(60):
            while await self.reader.read(65536):
                pass


SocketHandler = Callable[[Socket], Awaitable[None]]
Handler = Callable[[Incoming, Reply], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[str, Scripted]]:
    """Run the relay's own server, and see that nothing of it is left."""
    application = Scripted(handler)
    config = configured(application)
    made: Callable[[], StrictProtocol] = lambda: StrictProtocol(config, application.state, None)  # noqa: E731
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", application
        await eventually(lambda: not application.state.connections)
        await eventually(lambda: not application.state.tasks)
        assert application.connections == 0
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def accepting(
    handle: SocketHandler, limits: SocketLimits = LIMITS, subprotocol: str | None = None, headers: Headers | None = None
) -> AsyncIterator[str]:
    """Run the relay's own server, which accepts every handshake."""

    async def serve(_: Incoming, reply: Reply) -> None:
        await handle(await reply.upgrade(subprotocol, headers or [], limits))

    async with serving(serve) as (url, _):
        yield url


async def echo(socket: Socket) -> None:
    """Send back every frame until the socket closes."""
    while (frame := await socket.receive()) is not None:
        await socket.send(frame)


class Pipe(asyncio.Transport):
    """A transport whose other end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.paused = self.resumed = 0
        self.ended = False
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def pause_reading(self) -> None:
        self.paused += 1

    def resume_reading(self) -> None:
        self.resumed = self.paused

    def reading(self) -> bool:
        return self.resumed == self.paused

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


class Piped:
    """A socket on a ``Pipe``: a server's, or a client's. ``losses`` counts its ends."""

    def __init__(self, limits: SocketLimits = LIMITS, *, client: bool = False) -> None:
        sizes = (limits.message_bytes, limits.frame_bytes)
        protocol = (
            ClientProtocol(parse_uri("ws://a"), state=State.OPEN, max_size=sizes)
            if client
            else ServerProtocol(state=State.OPEN, max_size=sizes)
        )
        self.losses = 0
        self.pipe = Pipe()
        self.socket = SocketConnection(protocol, limits, self._lost)
        self.socket.connection_made(self.pipe)

    def _lost(self, _: Exception | None) -> None:
        self.losses += 1

    def lose(self) -> None:
        """Let the connection end, as every test must: the socket has timers."""
        self.pipe.closing = True
        self.socket.connection_lost(None)
