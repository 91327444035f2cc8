"""A client that reads only on request, and disconnects in every possible way."""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11

DEADLINE = 60


class Cut(Exception):
    """The answer's body ended before its framing said so."""


class RawClient:
    """One connection to a relay."""

    def __init__(self, url: str, *, receive_buffer: int | None = None) -> None:
        address = urlsplit(url)
        self._address = (address.hostname, address.port)
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._http = h11.Connection(h11.CLIENT)
        self._loop = asyncio.get_running_loop()
        self.body = b""
        self.status: int | None = None
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._loop.sock_connect(self._socket, self._address)
        except BaseException:
            self._socket.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._loop.sock_sendall(self._socket, data)

    async def request(self, method: str, path: str, body: bytes = b"", *fields: tuple[str, str]) -> None:
        """Send a whole request; a second one on this connection once the first answer was read whole."""
        if self._http.our_state is not h11.IDLE:
            self._http.start_next_cycle()
            self.body, self.status = b"", None
        headers = [("host", f"127.0.0.1:{self._address[1]}"), *fields]
        if method == "POST":
            headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
        data = self._http.send(h11.Request(method=method, target=path, headers=headers)) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        await self.send(data)

    def sent(self, method: str) -> None:
        """Take note of a request without a body that ``send`` is about to send as it is."""
        self._http.send(h11.Request(method=method, target="/", headers=[("host", "relay")]))
        self._http.send(h11.EndOfMessage())

    async def post(self, path: str, body: bytes, *fields: tuple[str, str]) -> None:
        """Post JSON."""
        await self.request("POST", path, body, *fields)

    async def head(self) -> int:
        """Wait for status and headers; return the status."""
        event = await self._event()
        assert isinstance(event, h11.Response), event
        self.status = event.status_code
        self.headers = {name.decode(): value.decode() for name, value in event.headers}
        return self.status

    async def part(self) -> bytes:
        """Return the next piece of the body, ``b""`` at its clean end; Cut where it breaks off."""
        if self.status is None:
            await self.head()
        event = await self._event()
        if isinstance(event, h11.Data):
            self.body += bytes(event.data)
            return bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event
        return b""

    async def until(self, text: bytes) -> bytes:
        """Read until the body ends with ``text``; return the body so far."""
        while not self.body.endswith(text):
            assert await self.part(), f"the body ended without {text!r}: {self.body!r}"
        return self.body

    async def rest(self) -> bytes:
        """Read to the clean end and return the whole body."""
        while await self.part():
            pass
        return self.body

    async def _event(self) -> h11.Event:
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    event = self._http.next_event()
                    if event is h11.NEED_DATA:
                        self._http.receive_data(await self._loop.sock_recv(self._socket, 65536))
                        continue
                except (h11.RemoteProtocolError, ConnectionError) as error:
                    raise Cut(str(error)) from None
                assert isinstance(event, h11.Event), event
                return event

    async def closed(self) -> bool:
        """Wait until the other side has closed; return whether it did so without sending anything more."""
        async with asyncio.timeout(DEADLINE):
            try:
                return not await self._loop.sock_recv(self._socket, 65536)
            except ConnectionError:
                return True

    def widen(self) -> None:
        """Read at full speed from now on, after a ``receive_buffer`` that was small."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on listening."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave abruptly, as a process that dies does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Leave."""
        self._socket.close()
