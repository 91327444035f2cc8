"""Compressed request bodies."""

import asyncio
from collections.abc import Callable

from chukei.errors import CallerError
from chukei.request import codings


async def decompressed(raw: bytes, coding: str, limit: int, reach: Callable[[int], None]) -> bytes:
    """Decompress a body, and yield to other tasks after each slice. ``reach`` is told the bytes in memory so far.

    Raises:
        CallerError: 413 above ``limit`` bytes, 400 if the body is damaged; or whatever ``reach`` raises.
    """
    made = bytearray()
    for part in codings.plain(raw, coding):
        if len(made) + len(part) > limit:
            message = f"The request's body is larger than {limit} bytes when it is no longer compressed."
            raise CallerError(413, "request_too_large", message)
        made += part
        reach(len(raw) + len(made))
        if len(part) == codings.SLICE:
            await asyncio.sleep(0)
    return bytes(made)
