"""A server on streams, for the upstreams that read a request whole and then answer as they were told."""

import asyncio
import re
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"content-length: (\d+)")


class StreamUpstream:
    """Listens while it is entered.

    ``buffer`` bounds what is read ahead of a connection, in bytes; ``backlog`` how many may wait to be accepted.
    """

    buffer = 1 << 20
    backlog = 100
    url: str

    async def __aenter__(self) -> Self:
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=self.buffer, backlog=self.backlog)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        open_ = dict(self._open)
        for task, writer in open_.items():
            task.cancel()
            writer.transport.abort()
        if open_:
            await asyncio.wait(open_)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            del self._open[task]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        raise NotImplementedError


async def read_body(reader: asyncio.StreamReader) -> bytes:
    """Read one request; return its body."""
    before = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(before.lower())
    return await reader.readexactly(int(length[1]) if length else 0)
