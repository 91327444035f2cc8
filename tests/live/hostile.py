"""One caller that runs many attacks at once, and ten callers with ordinary requests.

Each attack is a coroutine that plays one round; ``ATTACKS`` lists them. What answers they get does not matter here,
only what becomes of the others.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

from tests.live.callers import bearer
from tests.live.fault_scripts import LAST_CHUNK, chunk, head
from tests.live.recordings import CHAT, DONE, FINISH, ROLE, USAGE, delta
from tests.live.stream_upstream import StreamUpstream, read_body

MEGABYTE = 1 << 20
MALLORY = "mallory"
WORKERS = tuple(f"worker-{number}" for number in range(10))
_NUMBERS = count()


class Upstream(StreamUpstream):
    """Works for everybody. What a prompt begins with says what it answers: slowly, oddly, at length, not at all."""

    buffer = 4 * MEGABYTE

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                body = await read_body(reader)
                writer.write(await self._answer(body))
                await writer.drain()
        writer.close()

    async def _answer(self, body: bytes) -> bytes:
        if b"be slow" in body:
            await asyncio.sleep(6)
        if b"be odd" in body:
            page = b"<html>nothing here</html>"
            return head("text/html", length=len(page)) + page
        if b"be strict" in body:
            said = b'{"detail":"that is wrong"}'
            return head("application/json", status="422 Unprocessable Entity", length=len(said)) + said
        if b"be absent" in body:
            said = b'{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}'
            return head("application/json", status="404 Not Found", length=len(said)) + said
        if b"be long" in body:
            said = b'{"choices":[{"message":{"content":"' + b"x" * 4 * MEGABYTE + b'"}}]}'
            return head("application/json", length=len(said)) + said
        words = b"".join(chunk(delta(f"word {number} ")) for number in range(20))
        return head() + chunk(ROLE) + words + chunk(FINISH + USAGE + DONE) + LAST_CHUNK


def question(text: str, **fields: object) -> bytes:
    """Write a request, no two of them alike."""
    content = f"{text} {next(_NUMBERS)}"
    return json.dumps({"messages": [{"role": "user", "content": content}], "stream": True, **fields}).encode()


@dataclass
class Door:
    """The way to the relay for one caller."""

    url: str
    caller: str

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = urlsplit(self.url)
        return await asyncio.open_connection(address.hostname, address.port, limit=8 * MEGABYTE)

    def head(self, path: str, *fields: str, method: str = "POST") -> bytes:
        """Write a request's head."""
        name, value = bearer(self.caller)
        lines = [f"{method} {path} HTTP/1.1", "host: relay.example", f"{name}: {value}", *fields]
        return "\r\n".join([*lines, "", ""]).encode()

    async def send(self, path: str, body: bytes, *fields: str, content_type: str = "application/json") -> bytes:
        """Send a request on a connection of its own; return all that comes back."""
        reader, writer = await self.open()
        with contextlib.closing(writer):
            closing = "connection: close"
            told = (f"content-type: {content_type}", f"content-length: {len(body)}", closing, *fields)
            writer.write(self.head(path, *told) + body)
            return await reader.read()


Attack = Callable[[Door], Awaitable[object]]


async def _endless_key(door: Door) -> None:
    await door.send(CHAT, b'{"' + b"k" * 15 * MEGABYTE + b'":1,"messages":[{"role":"user","content":"x"}]}')


async def _escapes(door: Door) -> None:
    await door.send(CHAT, b'{"' + rb"\u0041" * (2 * MEGABYTE) + b'":1}')


async def _endless_part_name(door: Door) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="' + b"n" * 15 * MEGABYTE + b'"\r\n\r\nx\r\n--b--\r\n'
    await door.send("/v1/audio/transcriptions", part, content_type="multipart/form-data; boundary=b")


async def _many_parameters(door: Door) -> None:
    part = b"--b\r\nContent-Disposition: form-data" + b";a=b" * (3 * MEGABYTE) + b"\r\n\r\nx\r\n--b--\r\n"
    await door.send("/v1/audio/transcriptions", part, content_type="multipart/form-data; boundary=b")


async def _tiny_chunks(door: Door) -> None:
    reader, writer = await door.open()
    with contextlib.closing(writer):
        writer.write(door.head(CHAT, "content-type: application/json", "transfer-encoding: chunked"))
        for _ in range(256):
            writer.write(b"2\r\n  \r\n" * 8192)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")


async def _endless_query(door: Door) -> None:
    await door.send("/openai/deployments/chat/chat/completions?" + "a&" * 30_000, question("hello"))


async def _other_deployment(door: Door) -> None:
    await door.send(CHAT, question("be absent"), "x-ms-oai-image-generation-deployment: nothing")


async def _many_bodies(door: Door) -> None:
    """Begin twenty large bodies, and end none."""
    opened = await asyncio.gather(*(door.open() for _ in range(20)))
    try:
        for _, writer in opened:
            writer.write(door.head(CHAT, "content-type: application/json", f"content-length: {15 * MEGABYTE}"))
            writer.write(b'{"messages":[' + b" " * 8 * MEGABYTE)
        await asyncio.sleep(1)
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def _refusals(door: Door) -> None:
    for _ in range(200):
        await door.send(CHAT, b'{"model":"not-there","messages":[{"role":"user","content":"x"}]}')


async def _failures(door: Door) -> None:
    manners = ("be slow", "be odd", "be strict", "be absent")
    await asyncio.gather(*(door.send(CHAT, question(manner)) for manner in manners for _ in range(3)))


async def _unread_answers(door: Door) -> None:
    opened = await asyncio.gather(*(door.open() for _ in range(10)))
    try:
        for _, writer in opened:
            body = question("be long", stream=False)
            fields = ("content-type: application/json", f"content-length: {len(body)}")
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(door.head(CHAT, *fields) + body)
        await asyncio.sleep(2)
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def _unread_pages(door: Door) -> None:
    opened = await asyncio.gather(*(door.open() for _ in range(10)))
    try:
        for _, writer in opened:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(door.head("/", method="GET") * 1000)
        await asyncio.sleep(2)
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def _upgrades(door: Door) -> None:
    reader, writer = await door.open()
    with contextlib.closing(writer):
        writer.write(door.head(CHAT, "upgrade: x", "connection: upgrade", "transfer-encoding: gzip"))
        await reader.read()


async def _wrong_keys(door: Door) -> None:
    stranger = Door(door.url, "nobody")
    for _ in range(50):
        await stranger.send(CHAT, question("hello"))


ATTACKS: tuple[Attack, ...] = (
    _endless_key,
    _escapes,
    _endless_part_name,
    _many_parameters,
    _tiny_chunks,
    _endless_query,
    _other_deployment,
    _many_bodies,
    _refusals,
    _failures,
    _unread_answers,
    _unread_pages,
    _upgrades,
    _wrong_keys,
)


@dataclass
class Seen:
    """What the workers saw: seconds to the first token of each answer, and what went wrong."""

    first_tokens: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float) -> float:
        """Return the time within which this share of the answers had begun."""
        ordered = sorted(self.first_tokens)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def work(door: Door, over: asyncio.Event, seen: Seen) -> None:
    """Ask for one stream after the other, at a person's pace."""
    loop = asyncio.get_running_loop()
    while not over.is_set():
        began = loop.time()
        reader, writer = await door.open()
        with contextlib.closing(writer):
            body = question("hello")
            fields = ("content-type: application/json", f"content-length: {len(body)}", "connection: close")
            writer.write(door.head(CHAT, *fields) + body)
            answer = b""
            while part := await reader.read(65536):
                if not answer.count(b'"content":"word') and b'"content":"word' in part:
                    seen.first_tokens.append(loop.time() - began)
                answer += part
        if b" 200 " not in answer[:16] or DONE not in answer:
            seen.errors[answer[:400].decode("latin-1")] += 1
        await asyncio.sleep(0.1)


async def attack(door: Door, played: Attack, over: asyncio.Event, rounds: Counter[str]) -> None:
    """Play one attack again and again."""
    while not over.is_set():
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await played(door)
        rounds[played.__name__] += 1
        await asyncio.sleep(0.05)
