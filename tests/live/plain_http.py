"""A plain HTTP client that sends given bytes and reads answers strictly: a truncated body is an error."""

import asyncio
import contextlib
import io
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

# Far above what anything here takes, so that only a hang meets it.
DEADLINE = 60

JSON = ("content-type", "application/json")
CHAT = b'{"messages":[{"role":"user","content":"repeat: one two"}]}'
STREAM = b'{"messages":[{"role":"user","content":"repeat: one two"}],"stream":true}'


@dataclass(frozen=True)
class Answer:
    """A whole answer; ``headers`` have lower-case names."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the one value of a field, or None; two are an error."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        """The names of its header fields."""
        return {name for name, _ in self.headers}

    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, whose shape is checked: message, type, param, code, as OpenAI's clients read them."""
        assert self.header("content-type") == "application/json"
        body = self.json()
        assert set(body) == {"error"}, body
        error: dict[str, Any] = body["error"]
        assert {"message", "type", "param", "code"} <= set(error), error
        assert isinstance(error["message"], str)
        assert error["message"]
        return error


class _Bytes:
    """Stands in for the socket of which ``HTTPResponse`` wants a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def parse(data: bytes, method: str = "GET") -> Answer:
    """Read the first answer in these bytes; HTTPException where it is cut short or no HTTP."""
    response = HTTPResponse(_Bytes(data), method=method)  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return Answer(response.status, [(name.lower(), value) for name, value in response.getheaders()], body)


def request(
    url: str, method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"", version: str = "1.1"
) -> bytes:
    """Write a request. Host, Content-Length and ``Connection: close`` are added where ``headers`` lack them."""
    names = {name.lower() for name, _ in headers}
    fields = list(headers)
    if "host" not in names:
        fields.insert(0, ("host", urlsplit(url).netloc))
    if body and not names & {"content-length", "transfer-encoding"}:
        fields.append(("content-length", str(len(body))))
    if "connection" not in names:
        fields.append(("connection", "close"))
    lines = [f"{method} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@contextlib.asynccontextmanager
async def connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection, and close it afterwards; TimeoutError when it is held for longer than anything should take."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024 * 1024)
    try:
        async with asyncio.timeout(DEADLINE):
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send bytes; where they are refused halfway, the answer is what matters."""
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Read until the connection closes; what a reset cut off is lost."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65536):
            received += part
    return bytes(received)


async def receive(reader: asyncio.StreamReader, method: str = "GET") -> bytes:
    """Read one answer and no more, as its framing says (RFC 9112 §6.3); without framing, to the connection's end."""
    received = await reader.readuntil(b"\r\n\r\n")
    head = received.lower()
    length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
    if method == "HEAD" or head.startswith((b"http/1.1 204", b"http/1.1 304")):
        return received
    if length is not None:
        return received + await reader.readexactly(int(length[1]))
    if b"\r\ntransfer-encoding: chunked\r\n" not in head:
        return received + await rest(reader)
    while True:
        line = await reader.readuntil(b"\r\n")
        received += line + await reader.readexactly(int(line, 16) + 2)
        if int(line, 16) == 0:
            return received


async def raw(url: str, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the connection closes."""
    async with connection(url) as (reader, writer):
        await send(writer, data)
        return await rest(reader)


async def ask(
    url: str,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    version: str = "1.1",
) -> Answer:
    """Send one request on a connection of its own and return the answer."""
    async with connection(url) as (reader, writer):
        sending = asyncio.create_task(send(writer, request(url, method, target, headers, body, version)))
        try:
            return parse(await receive(reader, method), method)
        finally:
            sending.cancel()


async def post(url: str, target: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """Post JSON."""
    names = {name.lower() for name, _ in headers}
    return await ask(url, "POST", target, headers if "content-type" in names else [*headers, JSON], body)


async def assert_serves(url: str, headers: Sequence[tuple[str, str]] = ()) -> None:
    """Check that a relay still does its work."""
    answer = await post(url, "/v1/chat/completions", CHAT, headers)
    assert answer.status == 200, answer
    assert answer.json()["choices"][0]["message"]["content"] == "one two"
