"""The load of the guard: upstream and client in one process, step by step.

No clock sets the pace. The next data is sent when the previous data has arrived, so that each has its own wake-up on
fast and on busy machines.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import cast

import httptools
import msgspec

from benchmarks import events

KEY = "guard-key"

_BEGINNING = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(
    events.chunk(event) for event in events.PREAMBLE
)
_ENDING = b"".join(events.chunk(event) for event in events.ENDING) + b"0\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(events.ANSWER),
    events.ANSWER,
)


def _request(*, stream: bool) -> bytes:
    body = msgspec.json.encode({"messages": [{"role": "user", "content": "How late is it? " * 30}], "stream": stream})
    head = (
        "POST /openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21 HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"api-key: {KEY}\r\nuser-agent: guard\r\naccept: */*\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


Asked = asyncio.Queue[asyncio.Transport]
"""Connections of the upstream whose request waits for an answer."""


class Upstream(asyncio.Protocol):
    """Stands in for Azure OpenAI. It puts the connection of each complete request into a queue."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Collect a request."""
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if length is not None and len(body) == int(length[1]):
            self._received = b""
            self._asked.put_nowait(self._transport)


class Client(asyncio.Protocol):
    """A client's connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._arrived = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self.body = b""
        self._complete = False
        self.transport.write(request)

    async def has(self, part: bytes) -> None:
        """Wait until the body of the answer contains this part."""
        while part not in self.body:
            await self._more()

    async def whole(self) -> bytes:
        """Wait until the answer is complete, and return its body."""
        while not self._complete:
            await self._more()
        if self._parser.get_status_code() != 200:
            raise RuntimeError(f"status {self._parser.get_status_code()}: {self.body[:200]!r}")
        return self.body

    async def _more(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and wake the waiting task."""
        self._parser.feed_data(data)
        self._arrived.set()

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """Note the end."""
        self._complete = True


Spent = Callable[[], float]
"""Returns the CPU time that a relay has used."""

Burst = Callable[[Client, Asked, Spent], Awaitable[float]]
"""A load on a relay; it returns the cost of each event or request."""


def streamed(steps: int, block: int) -> Burst:
    """Return a load: a stream of ``steps`` writes of ``block`` events each, measured without its head and its end."""
    request = _request(stream=True)
    blocks = [[events.content(1, step * block + number, 0) for number in range(block)] for step in range(steps + 1)]
    writes = [b"".join(events.chunk(event) for event in events_of_block) for events_of_block in blocks]

    async def burst(client: Client, asked: Asked, spent: Spent) -> float:
        client.ask(request)
        upstream = await asked.get()
        upstream.write(_BEGINNING + writes[0])
        await client.has(blocks[0][-1])
        began = spent()
        for number in range(1, steps + 1):
            client.body = b""
            upstream.write(writes[number])
            await client.has(blocks[number][-1])
        cost = spent() - began
        upstream.write(_ENDING)
        if not (await client.whole()).endswith(events.DONE):
            raise RuntimeError("a stream did not end")
        return cost / steps / block

    return burst


def short(requests: int) -> Burst:
    """Return a load: consecutive requests without streaming."""
    request = _request(stream=False)

    async def burst(client: Client, asked: Asked, spent: Spent) -> float:
        began = spent()
        for _ in range(requests):
            client.ask(request)
            (await asked.get()).write(_ANSWER)
            if await client.whole() != events.ANSWER:
                raise RuntimeError(f"another answer: {client.body[:200]!r}")
        return (spent() - began) / requests

    return burst
