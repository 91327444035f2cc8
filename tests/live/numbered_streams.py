"""Streams that can be told apart to the event, in numbers: an upstream and clients on bare protocols, for speed."""

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

from tests.live.fault_scripts import LAST_CHUNK, chunk, head
from tests.live.plain_http import parse, request
from tests.live.recordings import CHAT, DONE, delta

_ASKED = re.compile(rb"stream (\d+) of (\d+) events")
PADDING = "x" * 300


def event(stream: int, number: int) -> bytes:
    """Write the event that can only be this one of this stream."""
    return delta(f"stream {stream} event {number} {PADDING}")


def body(stream: int, events: int) -> bytes:
    """Write the whole stream as a client must get it."""
    return b"".join(event(stream, number) for number in range(events)) + DONE


def question(stream: int, events: int) -> bytes:
    """Write the body of the request for a stream."""
    text = f'"messages":[{{"role":"user","content":"stream {stream} of {events} events"}}]'
    return f'{{{text},"stream":true,"stream_options":{{"include_usage":true}}}}'.encode()


class NumberedUpstream:
    """Answers every request with its numbered stream, but none before ``together`` requests are waiting."""

    def __init__(self, together: int) -> None:
        self._together = together
        self._waiting: list[asyncio.Future[None]] = []
        self.peak = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Streaming(self), "127.0.0.1", 0, backlog=2048)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def gather(self) -> None:
        """Wait until all are there."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.peak = max(self.peak, len(self._waiting))
        if len(self._waiting) == self._together:
            for waiting in self._waiting:
                waiting.set_result(None)
            self._waiting = []
        await turn


class _Streaming(asyncio.Protocol):
    def __init__(self, upstream: NumberedUpstream) -> None:
        self._upstream = upstream
        self._request = b""
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._request += data
        found = _ASKED.search(self._request)
        if found and self._request.endswith(b"}"):
            self._request = b""
            self._task = asyncio.create_task(self._stream(int(found[1]), int(found[2])))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _stream(self, stream: int, events: int) -> None:
        await self._upstream.gather()
        self._transport.write(head())
        for number in range(events):
            self._transport.write(chunk(event(stream, number)))
            await asyncio.sleep(0)
            await self._writable.wait()
        self._transport.write(chunk(DONE) + LAST_CHUNK)


class _Client(asyncio.Protocol):
    def __init__(self, message: bytes) -> None:
        self._message = message
        self.received = bytearray()
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._message)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


def _itself(client: _Client) -> _Client:
    return client


async def ask(url: str, streams: Sequence[int], events: int) -> list[bytes]:
    """Ask for these streams, all at once; return what came of each."""
    address, loop = urlsplit(url), asyncio.get_running_loop()
    json = [("content-type", "application/json")]
    clients = []
    for stream in streams:
        client = _Client(request(url, "POST", CHAT, json, question(stream, events)))
        await loop.create_connection(partial(_itself, client), str(address.hostname), address.port or 80)
        clients.append(client)
    await asyncio.gather(*(client.closed for client in clients))
    answers = [parse(bytes(client.received)) for client in clients]
    assert {answer.status for answer in answers} == {200}
    return [answer.body for answer in answers]
