"""The least that a relay in Python can be, the guard's yardstick: ``python -m benchmarks.reference PORT UPSTREAM``.

It parses HTTP on both sides with httptools, keeps one connection to the upstream for each client, and passes on what
comes: no authentication, no look into a stream, no time limit. Events that arrive together leave with one write.
"""

import asyncio
import sys
from typing import cast

import httptools

from benchmarks.process import new_loop

_KEPT = (b"content-type", b"content-length", b"transfer-encoding")


class Client(asyncio.Protocol):
    """A client's connection: takes requests, one at a time."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._answer: Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._fields = b""
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """Take the target."""
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take what the upstream should know."""
        if name.lower() in _KEPT:
            self._fields += name + b": " + value + b"\r\n"

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Ask the upstream, on a new connection the first time."""
        head = b"POST " + self._url + b" HTTP/1.1\r\nhost: azure\r\napi-key: upstream-key\r\n" + self._fields + b"\r\n"
        request = head + b"".join(self._body)
        if self._answer is not None:
            self._answer.transport.write(request)
        else:
            self._connecting = asyncio.ensure_future(self._connect(request))

    async def _connect(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, self._answer = await loop.create_connection(lambda: Answer(self.transport), "127.0.0.1", self._upstream)
        self._answer.transport.write(request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the upstream too."""
        if self._answer is not None:
            self._answer.transport.close()


class Answer(asyncio.Protocol):
    """The upstream's connection: passes answers on."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[bytes] = []
        self._parts: list[bytes] = []
        self._chunked = self._complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what this brought of a body, in one chunk (RFC 9112 §7.1)."""
        self._parser.feed_data(data)
        if self._parts:
            part = b"".join(self._parts)
            self._parts.clear()
            self._client.write(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)
        if self._complete and self._chunked:
            self._complete = False
            self._client.write(b"0\r\n\r\n")

    def on_message_begin(self) -> None:
        """Expect a head."""
        self._chunked = self._complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take what the client should know."""
        self._fields.append(name + b": " + value + b"\r\n")
        self._chunked = self._chunked or name.lower() == b"transfer-encoding"

    def on_headers_complete(self) -> None:
        """Pass the head on."""
        head = b"HTTP/1.1 %d OK\r\n%b\r\n" % (self._parser.get_status_code(), b"".join(self._fields))
        self._fields.clear()
        self._client.write(head)

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Note the end."""
        self._complete = True


async def main(port: int, upstream: int) -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(lambda: Client(upstream), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2])))
