"""A load of long streams and short requests that counts what it loses while relays restart."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from tests.live.fault_scripts import LAST_CHUNK, chunk, head
from tests.live.recordings import CHAT, DONE, delta
from tests.live.stream_upstream import StreamUpstream, read_body

EVENT_SECONDS = 0.2
EVENTS = 15
"""A stream lasts for their product."""

WHOLE = json.dumps(
    {
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "short"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
SHORT = b'{"messages":[{"role":"user","content":"x"}]}'
LONG = b'{"messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}'


class PacedUpstream(StreamUpstream):
    """Answers a stream at the pace of a model, and a short request at once."""

    backlog = 2048

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):  # the relay has left
            while True:
                if b'"stream":true' in await read_body(reader):
                    writer.write(head())
                    for _ in range(EVENTS):
                        writer.write(chunk(delta("token")))
                        await writer.drain()
                        await asyncio.sleep(EVENT_SECONDS)
                    writer.write(chunk(DONE) + LAST_CHUNK)
                else:
                    fields = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE)
                    writer.write(b"HTTP/1.1 200 OK\r\n" + fields + WHOLE)


class Load:
    """Keeps ``streams`` open all the time, each on a connection of its own, and sends ``rate`` short requests a second.

    The short ones reuse connections until an answer announces an end. ``counts`` has what came of all, ``first`` is set
    when every stream has begun once.
    """

    def __init__(self, url: str, streams: int, rate: float) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 0
        self._streams, self._rate = streams, rate
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._stopping = False
        self._begun = 0
        self.first = asyncio.Event()
        self.counts: Counter[str] = Counter()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port)

    async def _keep_streaming(self) -> None:
        begun = False
        while not self._stopping:
            try:
                reader, writer = await self._connected()
            except OSError:
                self.counts["stream refused"] += 1
                continue
            try:
                writer.write(_request(LONG, self._port))
                status = await _status(reader)
                if status != 200:
                    self.counts[f"stream {status}"] += 1
                    continue
                data = await reader.readuntil(b"\n\n")
                self._begun += not begun
                begun = True
                if self._begun == self._streams:
                    self.first.set()
                data += await _rest(reader)
                self.counts["stream whole" if b"[DONE]" in data else "stream cut"] += 1
            except (OSError, asyncio.IncompleteReadError):
                self.counts["stream lost"] += 1
            finally:
                writer.close()

    async def _short(self) -> None:
        while self._idle and self._idle[-1][0].at_eof():  # every client looks
            self._idle.pop()[1].close()
        try:
            reader, writer = self._idle.pop() if self._idle else await self._connected()
        except OSError:
            self.counts["short refused"] += 1
            return
        try:
            writer.write(_request(SHORT, self._port))
            heading = await reader.readuntil(b"\r\n\r\n")
            status = heading.split(None, 2)[1].decode()
            (length,) = [line.split(b":")[1] for line in heading.lower().split(b"\r\n") if b"content-length:" in line]
            await reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError):
            self.counts["short lost"] += 1
            writer.close()
            return
        self.counts[f"short {status}"] += 1
        if b"connection: close" in heading.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))

    async def _keep_asking(self) -> None:
        loop = asyncio.get_running_loop()
        begin, sent = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                for _ in range(min(int((loop.time() - begin) * self._rate) - sent, 50)):
                    group.create_task(self._short())
                    sent += 1
                await asyncio.sleep(0.005)

    async def more(self, count: int) -> None:
        """Wait until so many more short requests have been answered."""
        wanted = self.counts["short 200"] + count
        async with asyncio.timeout(60):
            while self.counts["short 200"] < wanted:
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run until the block ends, and wait for what has begun."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._streams):
                group.create_task(self._keep_streaming())
            group.create_task(self._keep_asking())
            async with asyncio.timeout(60):
                await self.first.wait()
            try:
                yield
            finally:
                self._stopping = True
        for _, writer in self._idle:
            writer.close()


def _request(body: bytes, port: int) -> bytes:
    fields = f"host: 127.0.0.1:{port}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"POST {CHAT} HTTP/1.1\r\n{fields}\r\n".encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    return int((await reader.readuntil(b"\r\n\r\n")).split(None, 2)[1])


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Read to the end of a chunked body."""
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n"):
        part = await reader.read(65536)
        if not part:
            break
        data += part
    return data
