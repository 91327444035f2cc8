"""One HTTP exchange of the doctor's own, with the time of each read.

The relay's client hides what matters here: the version of HTTP, the framing, and how much arrives at once.
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from httptools import HttpParserError, HttpResponseParser

from chukei.doctor.network import Reached
from chukei.ports import Clock

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of an answer that are read; the test stream has less than two kilobytes."""

_DEFLATED = frozenset({"gzip", "x-gzip", "deflate"})


@dataclass(slots=True)
class Exchange:
    """An answer. Times are seconds since the request was sent.

    ``pieces`` are the parts of the body, one for each read. ``whole`` says that the body ended as its framing says.
    ``broken`` says how it ended otherwise: ``closed``, ``reset`` or ``silent``.
    """

    status: int = 0
    version: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    first_byte: float = 0.0
    ended: float = 0.0
    whole: bool = False
    broken: str = ""

    @property
    def body(self) -> bytes:
        """The body, decompressed if possible."""
        return b"".join(piece for _, piece in decompressed(self))

    @property
    def coding(self) -> str:
        """The content coding; empty if there is none."""
        coding = self.headers.get("content-encoding", "").strip().lower()
        return "" if coding == "identity" else coding

    @property
    def media_type(self) -> str:
        """The content type in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class _Reader:
    """The parser's callbacks."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.arrived: list[bytes] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers = self._exchange.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_body(self, body: bytes) -> None:
        self.arrived.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


async def get(
    reached: Reached, authority: str, target: str, headers: Sequence[tuple[str, str]], clock: Clock, seconds: float
) -> Exchange:
    """Send a GET request over a new connection and read the whole answer, for so many seconds at most.

    Raises:
        ValueError: what answers does not speak HTTP/1.
        ConnectionError: the connection ended before the head of the answer was complete.
    """
    reader, writer = reached.streams
    lines = [f"GET {reached.absolute}{target} HTTP/1.1", f"host: {authority}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    exchange = Exchange()
    callbacks = _Reader(exchange)
    parser = HttpResponseParser(callbacks)
    begun = clock()
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        async with asyncio.timeout(seconds):
            size = 0
            while not callbacks.complete and size < MAX_BYTES and (data := await reader.read(65_536)):
                now = clock() - begun
                exchange.first_byte = exchange.first_byte or now
                size += len(data)
                try:
                    parser.feed_data(data)
                finally:
                    if callbacks.arrived:
                        exchange.pieces.append((now, b"".join(callbacks.arrived)))
                        callbacks.arrived.clear()
        exchange.broken = "" if callbacks.complete else "closed"
    except HttpParserError as error:
        if not parser.get_status_code():
            raise ValueError(f"what answers does not speak HTTP: {type(error).__name__}") from None
        exchange.broken = "closed"
    except TimeoutError:
        exchange.broken = "silent"
    except OSError:
        exchange.broken = "reset"
    finally:
        reached.close()
    exchange.ended = clock() - begun
    exchange.whole = callbacks.complete
    exchange.status, exchange.version = parser.get_status_code(), parser.get_http_version()
    if not exchange.status:
        raise ConnectionError(f"no answer came: the connection is {exchange.broken or 'closed'}")
    return exchange


def decompressed(exchange: Exchange) -> list[tuple[float, bytes]]:
    """Return the pieces of a body without gzip or deflate. Of another coding, return the pieces as they are."""
    if exchange.coding not in _DEFLATED:
        return exchange.pieces
    coding = zlib.decompressobj(32 + zlib.MAX_WBITS)
    made = []
    for at, piece in exchange.pieces:
        try:
            made.append((at, coding.decompress(piece, MAX_BYTES)))
        except zlib.error:
            break
    return made


def readable(exchange: Exchange) -> bool:
    """Whether the doctor can read the events of a body."""
    return not exchange.coding or exchange.coding in _DEFLATED


def first_of(headers: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the header fields with these names."""
    return {name: headers[name] for name in names if name in headers}
