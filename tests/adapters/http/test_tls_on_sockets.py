"""The relay's own TLS on the transports of both event loops: ends, breaks, flow control and leftovers."""

import asyncio
import gc
import shutil
import socket
import ssl
import struct
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.adapters.http.tls_sides import Above, Ends, Records, serving
from tests.adapters.servers import LocalServer, Peer

from chukei.adapters.http.dial import tls_context
from chukei.adapters.http.tls import READ_BYTES, TlsTransport

pytestmark = pytest.mark.anyio

DESCRIPTORS = Path("/proc/self/fd")
BUFFER = memoryview(bytearray(READ_BYTES))
RST = struct.pack("ii", 1, 0)


@pytest.fixture
def ends(authority: trustme.CA, ca_file: str) -> Ends:
    return Ends(tls_context(ca_file), serving(authority))


class Far(Records):
    """The server's side of a connection."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.peer = peer

    async def more(self) -> None:
        data = await self.peer.reader.read(65536)
        if not data:
            raise ConnectionResetError
        self.take(data)

    async def shaken(self) -> None:
        """Shake hands, and send TLS 1.3's tickets."""
        last = False
        while not last:
            await self.more()
            flight, last = self.shake()
            await self.peer.send(flight)

    def reset(self) -> None:
        self.peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        self.peer.reset()


def playing(context: ssl.SSLContext, script: Callable[[Far], Awaitable[None]]) -> LocalServer:
    """Return a server that shakes hands, plays a script and waits for the client's end."""

    async def play(peer: Peer) -> None:
        far = Far(peer, context)
        await far.shaken()
        await script(far)

    return LocalServer(play)


async def dial(port: int, context: ssl.SSLContext, above: Above) -> TlsTransport:
    transport, tls = await asyncio.get_running_loop().create_connection(
        lambda: TlsTransport(context, "localhost", BUFFER), "127.0.0.1", port
    )
    try:
        async with asyncio.timeout(60):
            await tls.secure(above)
    except BaseException:
        transport.abort()
        raise
    return tls


def sockets() -> int:
    """Count this process's sockets."""
    count = 0
    for entry in DESCRIPTORS.iterdir():
        with suppress(OSError):  # closed meanwhile
            count += str(entry.readlink()).startswith("socket:")
    return count


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Afterwards there are as many tasks and descriptors as before, and the loop has nothing to complain of."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    tasks, before = len(asyncio.all_tasks()), sockets()
    yield
    async with asyncio.timeout(60):
        while len(asyncio.all_tasks()) > tasks or sockets() > before:
            await asyncio.sleep(0.01)
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert complaints == []


async def test_a_flood_stands_while_reading_is_paused(ends: Ends) -> None:
    pieces = [number.to_bytes(4) * 4096 for number in range(320)]

    async def script(far: Far) -> None:
        for piece in pieces:
            await far.peer.send(far.record(piece))
        await far.peer.send(far.goodbye())

    above = Above()
    async with nothing_left(), playing(ends.server, script) as there:
        tls = await dial(there.port, ends.client, above)
        above.on_data = lambda data: tls.pause_reading()
        await above.until(1)
        while not above.lost.is_set():
            tls.pause_reading()
            above.news.clear()
            count = len(above.parts)
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(above.parts) == count
            tls.resume_reading()
            async with asyncio.timeout(60):
                await above.news.wait()
    assert above.data == b"".join(pieces)
    assert above.calls == ["made", "data", "eof", "lost"]


@pytest.mark.parametrize(
    ("way", "half"),
    [("fin", b""), ("fin", b"half"), ("reset", b""), ("reset", b"half"), ("garbage", b""), ("goodbye", b"")],
)
async def test_all_but_a_goodbye_is_a_break(ends: Ends, way: str, half: bytes) -> None:
    """Between two records, and within one. After the goodbye the client closes, which the server waits for."""

    async def script(far: Far) -> None:
        await arrived.wait()
        await far.peer.send(far.record(b"whole") + (far.record(half)[:20] if half else b""))
        await above.until(5)
        if way == "reset":
            far.reset()
        elif way != "fin":
            await far.peer.send(far.goodbye() if way == "goodbye" else b"HTTP/1.1 500 no TLS at all\r\n\r\n" * 10)
            await far.peer.eof()

    above, arrived = Above(), asyncio.Event()
    async with nothing_left(), playing(ends.server, script) as there:
        tls = await dial(there.port, ends.client, above)
        arrived.set()
        await above.over()
        assert tls.is_closing()
        tls.write(b"to nobody")
        tls.pause_reading()
        tls.resume_reading()
        tls.abort()
    assert above.data == b"whole"
    assert above.calls == ["made", "data", *(["eof"] if way == "goodbye" else []), "lost"]


async def test_an_exception_above_is_a_break_and_is_told_to_the_loop(ends: Ends) -> None:
    go = asyncio.Event()

    async def script(far: Far) -> None:
        await go.wait()
        await far.peer.send(far.record(b"whole"))
        await far.peer.eof()

    def fail(data: bytes) -> None:
        raise ZeroDivisionError

    above = Above()
    above.on_data = fail
    told: list[dict[str, Any]] = []
    async with playing(ends.server, script) as there:
        await dial(there.port, ends.client, above)
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        go.set()
        await above.over()
        asyncio.get_running_loop().set_exception_handler(None)
    assert above.calls == ["made", "data", "lost"]
    assert isinstance(above.error, ZeroDivisionError)
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


async def test_nothing_of_a_lost_connection_stays_in_memory(ends: Ends) -> None:
    """Collecting garbage is put off for as long as possible."""

    async def script(far: Far) -> None:
        await far.peer.send(far.record(b"whole") + far.goodbye())
        await far.peer.eof()

    async def visit(port: int) -> weakref.ref[TlsTransport]:
        above = Above()
        tls = await dial(port, ends.client, above)
        await above.over()
        return weakref.ref(tls)

    async with playing(ends.server, script) as there:
        gc.collect()
        gc.disable()
        try:
            left = await visit(there.port)
            async with asyncio.timeout(60):
                while left() is not None:
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


async def test_a_part_that_has_not_left_is_told_and_so_is_its_leaving(ends: Ends) -> None:
    body = b"".join(b"%07d\n" % number for number in range(1_000_000))
    got, go = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def script(far: Far) -> None:
        await go.wait()
        data = [far.read()]  # may have come with the end of the handshake
        while sum(map(len, data)) <= len(body):
            await far.more()
            data.append(far.read())
        got.set_result(b"".join(data))
        await far.peer.eof()

    above = Above()
    async with nothing_left(), playing(ends.server, script) as there:
        tls = await dial(there.port, ends.client, above)
        tls.set_write_buffer_limits(high=0)
        tls.write(b"1")
        assert above.writing == []
        tls.write(body)
        assert above.writing == ["paused"]
        go.set()
        async with asyncio.timeout(60):
            assert await got == b"1" + body
            while above.writing[-1:] == ["paused"]:
                await asyncio.sleep(0)
        tls.abort()
        await above.over()
    assert above.calls == ["made", "lost"]


# The handshake.


HELLO = b"\x16\x03\x03\x02\x00\x02\x00\x01\xfc\x03\x03".ljust(200, b"x")
"""The beginning of a server's."""


@pytest.mark.parametrize(
    ("way", "error"),
    [
        ("garbage", ssl.SSLError),
        ("fin", ConnectionResetError),
        ("reset", ConnectionError),
        ("cancelled", asyncio.CancelledError),
    ],
)
async def test_a_handshake_that_fails_or_is_given_up(ends: Ends, way: str, error: type[BaseException]) -> None:
    hangs = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(5)
        hello = HELLO[: sizes.pop()]
        if way == "reset":
            Far(peer, ends.server).reset()
        elif way != "fin":
            await peer.send(hello if way == "cancelled" else b"HTTP/1.1 400 Bad Request\r\n\r\n")
            hangs.set()
            await peer.eof()

    sizes = [0, 3, 200] if way == "cancelled" else [0]
    while sizes:
        hangs.clear()
        above = Above()
        async with nothing_left(), LocalServer(script) as there:
            task = asyncio.create_task(dial(there.port, ends.client, above))
            async with asyncio.timeout(60):
                if way == "cancelled":
                    await hangs.wait()
                    task.cancel()
                with pytest.raises(error):
                    await task
                await there.peers[0].closed.wait()
        assert above.calls == []


# What only OpenSSL's program can ask for.


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("protocol", "command"), [("-tls1_3", b"K\n"), ("-tls1_2", b"r\n")], ids=["key", "handshake"])
async def test_a_new_key_or_handshake_is_agreed_upon_and_nothing_is_lost(
    authority: trustme.CA, ends: Ends, tmp_path: Path, protocol: str, command: bytes
) -> None:
    """Python's own server can ask for neither (RFC 8446 §4.6.3, RFC 5246 §7.4.1.1); OpenSSL's program can.

    What the client answers is held back, so that its next write comes while the new handshake is under way.
    """
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs OpenSSL's program")
    pem = tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    free, held, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    free.set()

    async def between(peer: Peer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        back = asyncio.create_task(_pump(reader, peer.writer, asked))
        try:
            while data := await peer.reader.read(65536):
                held.set()
                await free.wait()
                writer.write(data)
        finally:
            writer.close()
            await back

    process = await asyncio.create_subprocess_exec(
        *(program, "s_server", "-accept", "127.0.0.1:0", "-cert", str(pem), protocol),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, told = process.stdin, process.stdout
    assert said is not None
    assert told is not None
    above = Above()
    try:
        async with asyncio.timeout(60):
            while not (line := await told.readline()).startswith(b"ACCEPT "):
                pass
            port = int(line.rpartition(b":")[2])
            async with LocalServer(between) as there:
                tls = await dial(there.port, ends.client, above)
                said.write(b"before\n")
                await above.until(7)
                tls.write(b"first\n")
                await told.readuntil(b"first\n")
                for event in (free, held, asked):
                    event.clear()
                said.write(command)
                await asked.wait()
                if command == b"r\n":
                    await held.wait()
                else:  # a request for a new key may be answered with the next write
                    said.write(b"renewed\n")
                    await above.until(15)
                tls.write(b"second\n")
                free.set()
                await told.readuntil(b"second\n")
                said.write(b"after\n")
                await above.until(13 if command == b"r\n" else 21)
                tls.write(b"third\n")
                await told.readuntil(b"third\n")
                tls.abort()
    finally:
        process.kill()
        await process.communicate()
    assert above.data.replace(b"renewed\n", b"") == b"before\nafter\n"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            passed.set()
