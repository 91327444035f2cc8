"""Large files through a relay's process: they flow, whatever their size, and its memory does not follow it."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from tests.adapters.servers import LocalServer, Peer
from tests.live.callers import ENVIRONMENT, config, key_of
from tests.live.plain_http import connection
from tests.live.relays import RelayProcess

pytestmark = pytest.mark.anyio

SIZE = 200 * 1024 * 1024
PART = b"x" * 256 * 1024
MOST_GROWTH = 48 * 1024
"""Kilobytes that a relay may grow by: buffers on both sides, and what it had not imported yet."""


def peak(relay: RelayProcess) -> int:
    """Return the most memory that a relay's process has had, in kilobytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{relay.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


async def discard(reader: asyncio.StreamReader, size: int) -> None:
    while size:
        size -= len(await reader.read(1 << 20))


async def keep(peer: Peer) -> None:
    """Take an upload, or give a large file."""
    while True:
        head = await peer.head()
        if head.startswith(b"GET"):
            if b"/content" not in head:
                await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                continue
            await peer.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n" % SIZE
            )
            for _ in range(SIZE // len(PART)):
                await peer.send(PART)
            continue
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        await discard(peer.reader, int(length[1]))
        answer = b'{"id":"file-1","object":"file"}'
        typed = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
        await peer.send(b"HTTP/1.1 200 OK\r\n" + typed + answer)


async def test_memory_does_not_follow_the_size_of_a_file(tmp_path: Path) -> None:
    async with LocalServer(keep) as resource:
        path = config(tmp_path / "relay.toml", resource.url, {"ann": {}}, objects={"model": "chat"})
        with RelayProcess(ENVIRONMENT, "--config", str(path)) as relay:
            fields = f"Host: localhost\r\napi-key: {key_of('ann')}\r\n"
            async with connection(relay.url) as (reader, writer):
                form = f"POST /v1/files HTTP/1.1\r\n{fields}Content-Type: multipart/form-data; boundary=b\r\n"
                for size in (1, SIZE):  # the first one imports what is needed
                    writer.write(f"{form}Content-Length: {size}\r\n\r\n".encode())
                    before = peak(relay)
                    for begin in range(0, size, len(PART)):
                        writer.write(PART[: min(len(PART), size - begin)])
                        await writer.drain()
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200"), head
                    assert json.loads(await reader.readuntil(b"}"))["id"] == "file-1"
                assert peak(relay) - before < MOST_GROWTH
                before = peak(relay)
                writer.write(f"GET /v1/files/file-1/content HTTP/1.1\r\n{fields}\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                await discard(reader, SIZE)
                assert peak(relay) - before < MOST_GROWTH
