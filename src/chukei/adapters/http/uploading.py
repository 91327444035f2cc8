"""The body of a request that is sent in parts, while its answer is awaited."""

import asyncio
from collections.abc import AsyncIterator

from chukei.adapters.http.answer import HttpAnswer
from chukei.adapters.http.connection import Connection
from chukei.errors import UpstreamError
from chukei.model import End

STALLED_SECONDS = 60.0
"""Seconds for which an upstream may take nothing of a part; as for a client that does not read."""


async def upload(connection: Connection, answer: HttpAnswer, parts: AsyncIterator[bytes], length: int | None) -> None:
    """Send the parts and wait for the answer's head. An answer that begins earlier ends the sending.

    With a ``length`` the parts are sent as they are; without one each becomes a chunk (RFC 9112 §7.1).

    Raises:
        UpstreamError: the connection broke, or the upstream takes nothing.
        BaseException: whatever the parts raise.
    """
    sending = asyncio.create_task(_send(connection, parts, length))
    heading = asyncio.create_task(answer.head())
    try:
        await asyncio.wait((sending, heading), return_when=asyncio.FIRST_COMPLETED)
        if not heading.done():
            await sending  # which has ended: raise what it raised
        elif not sending.done() or sending.exception() is not None:
            connection.spoil()
        await heading
    finally:
        for task in (sending, heading):
            task.cancel()
        await asyncio.gather(sending, heading, return_exceptions=True)


async def _send(connection: Connection, parts: AsyncIterator[bytes], length: int | None) -> None:
    try:
        async for part in parts:
            await _in_time(connection, part if length is not None else b"%x\r\n%b\r\n" % (len(part), part))
        if length is None:
            await _in_time(connection, b"0\r\n\r\n")
    finally:
        closing = getattr(parts, "aclose", None)
        if closing is not None:
            await closing()


async def _in_time(connection: Connection, data: bytes) -> None:
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await connection.send_part(data)
    except TimeoutError:
        message = f"The upstream took nothing of the request's body for {STALLED_SECONDS:g} s."
        raise UpstreamError("upstream_timeout", message, end=End.TIMEOUT, status=504) from None
