"""Comments that keep a client's connection alive until the first event arrives.

Most streams begin before the first comment is due; they cost one timer.
"""

import asyncio
from typing import Self

from chukei import azure
from chukei.model import Headers
from chukei.ports import Reply
from chukei.record import RequestRecord
from chukei.stream import sse

STREAM_HEADERS: Headers = [*azure.UNBUFFERED, (b"x-content-type-options", b"nosniff")]
"""The header fields of every stream, except its content type."""


class Heartbeat:
    """Sends a comment every ``seconds`` while its block runs, and the answer's head before the first comment."""

    def __init__(self, reply: Reply, record: RequestRecord, headers: Headers, seconds: float) -> None:
        self._reply = reply
        self._record = record
        self._headers = headers
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._start)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop. No comment is cut in two: each is one write, and a cancelled task writes nothing more."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            if not self._reply.started:
                self._record.status = 200
                await self._reply.start(200, [azure.EVENT_STREAM, *STREAM_HEADERS, *self._headers])
            await self._reply.send(sse.HEARTBEAT)
            await asyncio.sleep(self._seconds)
