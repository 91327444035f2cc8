"""Two hundred clients that ask for one stream after the other, and look at every event that they get."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import urlsplit

from tests.live.plain_http import JSON, parse, request
from tests.live.recordings import CHAT, DONE, FINISH, ROLE
from tests.live.storm_upstream import EVENTS, event

_PLACE = re.compile(rb'"content":"([a-z]+) \d+ \d+ "')
_COMMENT = re.compile(rb"^:[^\n]*\n\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Told:
    """What one client was told. ``verdict`` is ``whole``, ``broken`` (events, then an error, and no end), or what is
    wrong; ``place`` who answered."""

    stream: int
    start: float
    end: float
    first: float | None
    verdict: str
    place: str | None


class _Client(asyncio.Protocol):
    def __init__(self, message: bytes) -> None:
        self._message = message
        self._loop = asyncio.get_running_loop()
        self.received = bytearray()
        self.first: float | None = None
        self.closed = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._message)

    def data_received(self, data: bytes) -> None:
        if self.first is None and b'"content":"' in data and b"\ndata: " in b"\n" + data:
            self.first = self._loop.time()
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


def _itself(client: _Client) -> _Client:
    return client


async def ask(url: str, stream: int) -> Told:
    """Ask for one stream on a connection of its own."""
    text = f'{{"messages":[{{"role":"user","content":"storm stream {stream}"}}],"stream":true,'
    body = f'{text}"stream_options":{{"include_usage":true}}}}'.encode()
    loop, address = asyncio.get_running_loop(), urlsplit(url)
    client = _Client(request(url, "POST", CHAT, [JSON], body))
    start = loop.time()
    await loop.create_connection(partial(_itself, client), str(address.hostname), address.port or 80)
    await client.closed
    verdict, place = judge(bytes(client.received), stream)
    return Told(stream, start, loop.time(), client.first, verdict, place)


def judge(received: bytes, stream: int) -> tuple[str, str | None]:
    """Return what a client makes of its answer, and the deployment from which it is."""
    try:
        answer = parse(received)
    except Exception as error:
        return f"no HTTP: {error!r} {received[:200]!r}", None
    if answer.status != 200:
        return f"{answer.status}: {answer.body[:300]!r}", None
    body = _COMMENT.sub(b"", answer.body)
    found = _PLACE.search(body)
    if found is None:
        return f"nothing but {body[:300]!r}", None
    place = found[1].decode()
    events = [ROLE, *(event(place, stream, number) for number in range(EVENTS)), FINISH, DONE]
    if body == b"".join(events):
        return "whole", place
    kept = 0
    while body and kept < len(events) - 1 and body.startswith(events[kept]):
        body = body.removeprefix(events[kept])
        kept += 1
    if kept > 1 and body.startswith(b'data: {"error":{') and body.count(b"\n\n") == 1 and b"[DONE]" not in body:
        return "broken", place
    return f"after {kept} events {body[:300]!r}", place


async def crowd(url: str, clients: int, until: Callable[[], bool], first: int = 0) -> list[Told]:
    """Have so many clients ask for streams, numbered from ``first``, one after the other until it is time."""
    told: list[Told] = []
    numbers = iter(range(first, 1_000_000_000))

    async def one() -> None:
        while not until():
            told.append(await ask(url, next(numbers)))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one())
    return told
