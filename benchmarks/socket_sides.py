"""What ``benchmarks.sockets`` measures, each in a process of its own: ``python -m benchmarks.socket_sides ROLE PORT``.

``echo`` is the upstream. ``ours`` is the relay's transport with a pass-through in place of the gateway, ``bare`` the
same in a few lines with the ``websockets`` library. Both pass every socket on to ``UPSTREAM``, an address with
``http://``.
"""

import asyncio
import base64
import hashlib
import os
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from benchmarks.process import new_loop

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
PING = 9
MASK = b"\x0f\x1e\x2d\x3c"
_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
_DELTA = b'{"type":"response.output_audio.delta","event_id":"event_0123456789","delta":"'
_END = b'"}'


def frame(size: int, *, masked: bool) -> bytes:
    """Return a frame with a text of a size: sound, from a client ``masked``, else from the service.

    A mask of ASCII keeps it cheap to make, not to read.
    """
    begin = _APPEND if masked else _DELTA
    text = begin + b"QUJD" * (size // 4)
    text = text[: size - len(_END)] + _END
    bit = 0x80 if masked else 0
    head = bytes((0x81, bit | size)) if size < 126 else bytes((0x81, bit | 126)) + size.to_bytes(2)
    if not masked:
        return head + text
    return head + MASK + bytes(byte ^ MASK[number % 4] for number, byte in enumerate(text))


def _pong(ping: bytes) -> bytes:
    """Return the answer to a whole ping: the library breaks off a peer that does not return its payload."""
    if ping[1] & 0x80:  # from a client, so that the answer has no mask
        mask = ping[2:6]
        return bytes((0x8A, len(ping) - 6)) + bytes(byte ^ mask[number % 4] for number, byte in enumerate(ping[6:]))
    payload = bytes(byte ^ MASK[number % 4] for number, byte in enumerate(ping[2:]))
    return bytes((0x8A, 0x80 | len(payload))) + MASK + payload


class Frames:
    """Counts the frames that arrive, without a look at their data."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> tuple[int, int, bytes]:
        """Return the number of frames with data, the payload's size of the last one, and a pong if there was a ping."""
        data = self._rest + data
        at, count, last, pong = 0, 0, 0, b""
        while len(data) >= at + 10 or len(data) - at == 2 + (data[at + 1] & 0x7F if len(data) > at + 1 else 10):
            size, begin = data[at + 1] & 0x7F, at + 2
            if size == 126:
                size, begin = int.from_bytes(data[at + 2 : at + 4]), at + 4
            end = begin + (4 if data[at + 1] & 0x80 else 0) + size
            if end > len(data):
                break
            if data[at] & 0x0F == PING:
                pong = _pong(data[at:end])
            elif data[at] & 0x0F < PING:
                count, last = count + 1, size
            at = end
        self._rest = data[at:]
        return count, last, pong


class Echo(asyncio.Protocol):
    """An upstream that answers each frame with one of the same size, without a look at it."""

    def __init__(self) -> None:
        self._head = b""
        self._open = False
        self._frames = Frames()
        self._answer = (0, b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer the handshake or frames."""
        if not self._open:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            lines = (line.partition(b": ") for line in head.split(b"\r\n"))
            fields = {name.lower(): value for name, _, value in lines}
            accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + MAGIC).digest())
            answer = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
            self._transport.write(b"\r\n".join([*answer, b"Sec-WebSocket-Accept: " + accept, b"", b""]))
            self._open = True
        if data:
            self._count(data)

    def _count(self, data: bytes) -> None:
        count, size, pong = self._frames.feed(data)
        if count and size != self._answer[0]:
            self._answer = (size, frame(size, masked=False))
        if count or pong:
            self._transport.write(pong + self._answer[1] * count)


async def echo(port: int) -> None:
    """Serve as the upstream."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


async def pass_on(source: Any, target: Any) -> None:
    """Pass one direction of a socket on, until it closes: without a task where that is possible."""
    source.divert(target.send_now)
    while (each := await source.receive()) is not None:
        await target.send(each)
    await target.close(source.code, source.reason)


async def ours(port: int) -> None:
    """Serve with the relay's transport."""
    from uvicorn import Config
    from uvicorn.server import ServerState

    from chukei.adapters.http.client import HttpClient
    from chukei.config import load
    from chukei.hosts.asgi import Application
    from chukei.hosts.http.protocol import StrictProtocol
    from chukei.ports import Incoming, Reply, SocketLimits

    limits = SocketLimits(16 << 20, 16 << 20, 20, 20, 60, 10)
    settings = load(None, {})  # never used: the application below has no gateway
    client = HttpClient(settings.upstream)

    class PassingOn(Application):
        async def serve(self, incoming: Incoming, reply: Reply) -> None:
            upstream = await client.open_socket(os.environ["UPSTREAM"], incoming.raw_path, [], [], limits)
            down = await reply.upgrade(None, [], limits)
            await asyncio.gather(pass_on(down, upstream), pass_on(upstream, down))

    config = Config(
        PassingOn(settings), http=StrictProtocol, ws="none", lifespan="off", log_config=None, interface="asgi3"
    )
    config.load()
    config.loaded_app = config.app
    made = partial(StrictProtocol, config, ServerState(), None)
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


async def bare(port: int) -> None:
    """Serve with the library's own API, as its documentation shows it."""
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.asyncio.server import ServerConnection, serve

    async def copy(source: ClientConnection | ServerConnection, target: ClientConnection | ServerConnection) -> None:
        async for message in source:
            await target.send(message)
        await target.close()

    async def handle(down: ServerConnection) -> None:
        address = os.environ["UPSTREAM"].replace("http", "ws", 1)
        async with connect(address, compression=None, proxy=None, max_size=16 << 20) as upstream:
            await asyncio.gather(copy(down, upstream), copy(upstream, down))

    async with serve(handle, "127.0.0.1", port, compression=None, max_size=16 << 20, backlog=4096) as server:
        await server.serve_forever()


ROLES: dict[str, Callable[[int], Coroutine[Any, Any, None]]] = {"echo": echo, "ours": ours, "bare": bare}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ROLES[sys.argv[1]](int(sys.argv[2])))
