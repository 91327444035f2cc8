"""A client for tests of the Functions host: one request on a connection of its own, seen part by part."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h11
from tests.live.functions_front import Peer
from tests.live.functions_host import ROOT, FunctionsHost

# Far above what anything here takes, so that only a hang meets it.
DEADLINE = 60


class Exchange:
    """One request on a connection of its own, and its response part by part."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def send(self, event: h11.Event) -> None:
        async with asyncio.timeout(DEADLINE):
            await self._peer.send(event)

    async def response(self) -> h11.Response:
        event = await self._receive()
        while isinstance(event, h11.InformationalResponse):
            event = await self._receive()
        assert isinstance(event, h11.Response)
        return event

    async def part(self) -> bytes | None:
        """The next piece of the body, None at its clean end; RemoteProtocolError where it is cut."""
        event = await self._receive()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def rest(self) -> bytes:
        whole = b""
        while (part := await self.part()) is not None:
            whole += part
        return whole

    def leave(self) -> None:
        self._peer.writer.close()

    async def _receive(self) -> object:
        async with asyncio.timeout(DEADLINE):
            return await self._peer.receive()


@contextlib.asynccontextmanager
async def request(
    host: FunctionsHost,
    method: str,
    target: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = b"",
    receive_buffer: int | None = None,
) -> AsyncIterator[Exchange]:
    """Sends a request; with `body=None` its head alone."""
    address = urlsplit(host.base_url)
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (address.hostname, address.port))
    peer = Peer(h11.CLIENT, *await asyncio.open_connection(sock=connection, limit=4096))
    exchange = Exchange(peer)
    fields = [("host", address.netloc), *headers]
    if body:
        fields.append(("content-length", str(len(body))))
    try:
        await exchange.send(h11.Request(method=method, target=target, headers=fields))
        if body:
            await exchange.send(h11.Data(data=body))
        if body is not None:
            await exchange.send(h11.EndOfMessage())
        yield exchange
    finally:
        peer.writer.close()


async def call(host: FunctionsHost, target: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
    """A whole exchange: status and decoded JSON."""
    async with request(host, method, target, **options) as exchange:
        response = await exchange.response()
        return response.status_code, json.loads(await exchange.rest() or b"null")


def write_app(directory: Path, source: str, host_json: str | None = None) -> Path:
    """A function app directory with this function_app.py, and the real host.json unless another is given."""
    (directory / "function_app.py").write_text(source)
    (directory / "host.json").write_text(host_json or (ROOT / "functions" / "host.json").read_text())
    return directory
