"""A request's body in parts, on both hosts: limits, time, a client that leaves, and backpressure."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from tests.hosts.http.test_cycle import serving
from tests.hosts.scripted import fields, post
from tests.live.plain_http import connection
from tests.live.relays import eventually
from tests.rows import rows

from chukei.errors import CallerError
from chukei.hosts.asgi import AsgiRequest
from chukei.hosts.http.cycle import UNREAD_BYTES
from chukei.ports import ClientGone, Incoming, Reply

pytestmark = pytest.mark.anyio

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/v1/files",
    "raw_path": b"/v1/files",
    "query_string": b"",
    "http_version": "1.1",
    "headers": [],
    "client": ("127.0.0.1", 1),
}


def asgi(messages: Sequence[dict[str, Any]], headers: list[tuple[bytes, bytes]] | None = None) -> AsgiRequest:
    """Return a request of a server that sends these messages, and then nothing."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return AsgiRequest({**SCOPE, "headers": headers or []}, receive, behind_platform=False)


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def collected(parts: AsyncIterator[bytes]) -> list[bytes]:
    return [each async for each in parts]


async def test_an_asgi_server_gives_its_parts_one_by_one() -> None:
    request = asgi([part(b"ab"), part(b""), part(b"cd", more=False)])
    assert await collected(request.parts(4, 5)) == [b"ab", b"cd"]


@rows(
    ("messages", "seconds", "status"),
    [([part(b"abcde")], 5.0, 413), ([part(b"ab"), part(b"cde")], 5.0, 413), ([part(b"ab")], 0.01, 408)],
)
async def test_an_asgi_body_is_bounded(messages: list[dict[str, Any]], seconds: float, status: int) -> None:
    with pytest.raises(CallerError) as caught:
        await collected(asgi(messages).parts(4, seconds))
    assert caught.value.status == status


async def test_an_announced_length_is_refused_at_once() -> None:
    with pytest.raises(CallerError, match=r"objects\.max_upload_bytes"):
        await collected(asgi([], [(b"content-length", b"5")]).parts(4, 5))


async def test_an_asgi_client_leaves() -> None:
    with pytest.raises(ClientGone):
        await collected(asgi([part(b"ab"), {"type": "http.disconnect"}]).parts(4, 5))


# The relay's own server.


async def test_the_own_server_gives_all_and_pauses_the_client_meanwhile() -> None:
    size = 400 * UNREAD_BYTES
    taken: list[int] = []
    proceed, waiting = asyncio.Event(), asyncio.Event()

    async def slow(incoming: Incoming, reply: Reply) -> None:
        async for each in incoming.parts(size, 30):
            taken.append(len(each))
            waiting.set()
            await proceed.wait()
        await reply.start(200, fields(2))
        await reply.finish(b"ok")

    async with serving(slow) as (url, _), connection(url) as (reader, writer):
        writer.write(post("/", b"x" * size))
        await waiting.wait()
        left = size
        while left != (left := writer.transport.get_write_buffer_size()):  # until the sockets are full
            await asyncio.sleep(0.2)
        assert left > size // 2
        proceed.set()
        assert await reader.readuntil(b"ok")
    assert sum(taken) == size
    assert max(taken) < size // 10


async def test_a_client_of_the_own_server_leaves() -> None:
    ended: list[BaseException] = []

    async def reading(incoming: Incoming, reply: Reply) -> None:
        try:
            await collected(incoming.parts(100, 30))
        except ClientGone as error:
            ended.append(error)

    async with serving(reading) as (url, _):
        async with connection(url) as (_, writer):
            writer.write(post("/", b"abc", length=10))
            await asyncio.sleep(0.01)
        await eventually(lambda: bool(ended))


async def test_an_early_answer_leaves_the_rest_unread() -> None:
    async def early(incoming: Incoming, reply: Reply) -> None:
        async for _ in incoming.parts(10_000_000, 30):
            break
        await reply.start(413, fields(2))
        await reply.finish(b"no")

    async with serving(early) as (url, _), connection(url) as (reader, writer):
        writer.write(post("/", b"x" * 1_000_000))
        assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 413")


async def test_too_much_for_the_own_server() -> None:
    refused: list[int] = []

    async def reading(incoming: Incoming, reply: Reply) -> None:
        try:
            await collected(incoming.parts(10, 30))
        except CallerError as error:
            refused.append(error.status)
        await reply.start(413, fields(0))
        await reply.finish()

    body = b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"
    async with serving(reading) as (url, _), connection(url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n" + body)
        await reader.readuntil(b"\r\n\r\n")
    assert refused == [413]
