"""TLS of our own between a socket and a connection, against OpenSSL's server, whose every byte a test decides."""

import asyncio
import gc
import shutil
import socket
import ssl
import struct
import termios
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from tests.adapters.conftest import server_context
from tests.adapters.servers import LocalServer, Peer
from tests.live.loopback import descriptor_of_peer, queued

from chukei.adapters.http.dial import tls_context
from chukei.adapters.http.tls import RECORD_BYTES, TlsTransport

pytestmark = pytest.mark.anyio

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
DESCRIPTORS = Path("/proc/self/fd")
RST = struct.pack("ii", 1, 0)


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    found: ssl.TLSVersion = request.param
    return found


@pytest.fixture
def trusting(ca_file: str) -> ssl.SSLContext:
    """The relay's own context, as ``upstream.ca_file`` makes it."""
    return tls_context(ca_file)


class Above(asyncio.Protocol):
    """The protocol above: notes what it is told. ``on_data`` is done with each piece."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.calls: list[str] = []
        self.writing: list[str] = []
        self.news = asyncio.Event()
        self.lost = asyncio.Event()
        self.error: Exception | None = None
        self.on_data: Callable[[bytes], None] = lambda data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(TlsTransport, transport)
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.parts.append(data)
        self.news.set()
        self.on_data(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return False

    def pause_writing(self) -> None:
        self.writing.append("paused")

    def resume_writing(self) -> None:
        self.writing.append("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.error = exc
        self.lost.set()
        self.news.set()

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    async def until(self, count: int) -> None:
        """Wait for so many bytes."""
        async with asyncio.timeout(60):
            while sum(map(len, self.parts)) < count:
                self.news.clear()
                await self.news.wait()

    async def over(self) -> None:
        async with asyncio.timeout(60):
            await self.lost.wait()


class Secured:
    """The server's side of a connection: makes records, and sends them as the test cuts them."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self.peer = peer
        self._client = -1
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)

    async def shake(self, each: int = 0) -> bytes:
        """Shake hands up to the last flight, which is returned: of TLS 1.2 the end, of TLS 1.3 only tickets."""
        while True:
            try:
                self.tls.do_handshake()
                return self._out.read()
            except ssl.SSLWantReadError:
                await self.send(self._out.read(), each)
                self._in.write(await self._more())

    async def _more(self) -> bytes:
        data = await self.peer.reader.read(65536)
        if not data:
            raise ConnectionResetError
        return data

    def record(self, data: bytes) -> bytes:
        """Encrypt."""
        self.tls.write(data)
        return self._out.read()

    def goodbye(self) -> bytes:
        """Make a close_notify."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._out.read()

    async def read(self, count: int) -> bytes:
        """Decrypt so many bytes from the client."""
        data = b""
        while len(data) < count:
            try:
                data += self.tls.read(count - len(data))
            except ssl.SSLWantReadError:
                self._in.write(await self._more())
        return data

    async def send(self, data: bytes, each: int = 0) -> None:
        """Send, in pieces of so many bytes, and wait after each of them until it has been read."""
        for start in range(0, len(data), each or len(data) or 1):
            await self.peer.send(data[start : start + (each or len(data))])
            if each:
                await self._taken()

    async def _taken(self) -> None:
        if self._client < 0:
            self._client = descriptor_of_peer(self.peer.writer)
        async with asyncio.timeout(60):
            while queued(self._client, termios.FIONREAD):
                await asyncio.sleep(0)

    def reset(self) -> None:
        self.peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        self.peer.reset()


Script = Callable[[Secured], Awaitable[None]]


class Server(LocalServer):
    """Plays a script with each connection, after the handshake and TLS 1.3's tickets."""

    def __init__(self, context: ssl.SSLContext, script: Script, *, shake: bool = True) -> None:
        super().__init__(self._play)
        self.context = context
        self._script = script
        self._shake = shake
        self.over = asyncio.Event()

    async def _play(self, peer: Peer) -> None:
        secured = Secured(peer, self.context)
        try:
            if self._shake:
                await secured.send(await secured.shake())
            await self._script(secured)
        finally:
            self.over.set()


def serving(authority: trustme.CA, version: ssl.TLSVersion | None = None, name: str = "localhost") -> ssl.SSLContext:
    context = server_context(authority.issue_cert(name))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


async def dial(port: int, context: ssl.SSLContext, above: Above, host: str = "localhost") -> TlsTransport:
    transport, tls = await asyncio.get_running_loop().create_connection(
        lambda: TlsTransport(context, host), "127.0.0.1", port
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


async def stay(peer: Secured) -> None:
    await peer.peer.eof()


# Records and reads.

TEXT = b"".join(b"event %d\n" % number for number in range(6000))  # five records


async def test_a_record_is_a_read_and_reads_are_handed_on_whole(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    go = asyncio.Event()

    async def script(peer: Secured) -> None:
        await peer.send(peer.record(b"one"))
        await go.wait()
        await peer.send(peer.record(b"two") + peer.record(b"") + peer.record(b"three"))
        await stay(peer)

    above = Above()
    async with nothing_left(), Server(serving(authority, version), script) as server:
        tls = await dial(server.port, trusting, above)
        await above.until(3)
        go.set()
        await above.until(11)
        assert tls.get_extra_info("ssl_object").version() == version.name.replace("v1_", "v1.")
        tls.abort()
        assert tls.is_closing()
        await above.over()
    assert above.parts == [b"one", b"twothree"]
    assert above.calls == ["made", "data", "lost"]


@pytest.mark.parametrize("size", [1, 4, 5, 6, 1000, RECORD_BYTES, RECORD_BYTES + 30, 100_000])
async def test_records_may_be_cut_anywhere(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion, size: int
) -> None:
    text = TEXT if size > 6 else TEXT[:200]

    async def script(peer: Secured) -> None:
        await peer.send(b"".join(map(peer.record, (text[:5], text[5:30], text[30:]))), size)
        await peer.send(peer.goodbye(), size)

    above = Above()
    async with nothing_left(), Server(serving(authority, version), script) as server:
        await dial(server.port, trusting, above)
        await above.over()
    assert above.data == text
    assert above.calls == ["made", "data", "eof", "lost"]
    assert len(above.parts) > 1 or size > len(text)


async def test_the_largest_record_is_one_piece(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    async def script(peer: Secured) -> None:
        record = peer.record(b"x" * RECORD_BYTES)
        assert record[:3] == b"\x17\x03\x03"
        assert len(record) == 5 + int.from_bytes(record[3:5])
        await peer.send(record[:-1])
        await peer.send(record[-1:])
        await stay(peer)

    above = Above()
    async with nothing_left(), Server(serving(authority, version), script) as server:
        tls = await dial(server.port, trusting, above)
        await above.until(RECORD_BYTES)
        tls.abort()
    assert above.parts == [b"x" * RECORD_BYTES]


async def test_a_flood_stands_while_reading_is_paused(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    pieces = [number.to_bytes(4) * 4096 for number in range(320)]
    whole = b"".join(pieces)

    async def script(peer: Secured) -> None:
        for piece in pieces:
            await peer.send(peer.record(piece))
        await peer.send(peer.goodbye())

    above = Above()
    above.on_data = lambda data: above.transport.pause_reading()
    async with nothing_left(), Server(serving(authority, version), script) as server:
        await dial(server.port, trusting, above)
        await above.until(1)
        while not above.lost.is_set():
            above.news.clear()
            count = len(above.parts)
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(above.parts) == count
            above.transport.resume_reading()
            async with asyncio.timeout(60):
                await above.news.wait()
    assert above.data == whole
    assert above.calls == ["made", "data", "eof", "lost"]


@pytest.mark.parametrize(("protocol", "command"), [("-tls1_3", b"K\n"), ("-tls1_2", b"r\n")], ids=["key", "handshake"])
async def test_a_new_key_or_handshake_is_agreed_upon_and_nothing_is_lost(
    authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path, protocol: str, command: bytes
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
            async with LocalServer(between) as server:
                tls = await dial(server.port, trusting, above)
                said.write(b"before\n")
                await above.until(7)
                tls.write(b"first\n")
                await told.readuntil(b"first\n")
                free.clear()
                held.clear()
                asked.clear()
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


# Ends and breaks.


async def broken(
    port: int, context: ssl.SSLContext, expected: bytes = b"whole", calls: tuple[str, ...] = ("made", "data", "lost")
) -> None:
    above = Above()
    tls = await dial(port, context, above)
    await above.over()
    assert above.data == expected
    assert tuple(above.calls) == calls
    tls.write(b"to nobody")
    tls.pause_reading()
    tls.resume_reading()
    tls.abort()


@pytest.mark.parametrize("half", [b"", b"y" * 100], ids=["between", "within"])
@pytest.mark.parametrize("way", ["fin", "reset", "garbage", "altered", "alert"])
async def test_all_but_a_goodbye_is_a_break(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion, way: str, half: bytes
) -> None:
    async def script(peer: Secured) -> None:
        await peer.send(peer.record(b"whole"), 1000)
        if half:
            await peer.send(peer.record(half)[:50], 50)
        if way == "reset":
            peer.reset()
        elif way != "fin":
            await peer.send(
                {
                    "garbage": b"HTTP/1.1 500 no TLS at all\r\n\r\n" * 10,
                    "altered": peer.record(b"z" * 100)[:-1] + b"!" * 60,
                    "alert": b"\x15\x03\x03\x00\x02\x02\x50" + b"\x00" * 100,  # not encrypted, as anybody can
                }[way]
            )
            await stay(peer)

    async with nothing_left(), Server(serving(authority, version), script) as server:
        await broken(server.port, trusting)


async def test_a_break_keeps_what_came_before_it_in_the_same_read(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    async def script(peer: Secured) -> None:
        await peer.send(peer.record(b"who") + peer.record(b"le") + b"garbage")
        await stay(peer)

    async with nothing_left(), Server(serving(authority, version), script) as server:
        await broken(server.port, trusting)


async def test_a_goodbye_is_answered_and_nothing_is_sent_or_taken_after_it(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    said = asyncio.Event()

    async def script(peer: Secured) -> None:
        await peer.send(peer.record(b"whole") + peer.goodbye() + b"garbage")
        with pytest.raises(ssl.SSLZeroReturnError):
            await peer.read(1)
        assert await peer.peer.reader.read() == b""
        said.set()

    above = Above()
    async with nothing_left(), Server(serving(authority, version), script) as server:
        tls = await dial(server.port, trusting, above)
        await above.until(5)
        tls.write(b"too late")
        tls.write(b"too late")
        await above.over()
        tls.write(b"too late")
        async with asyncio.timeout(60):
            await said.wait()
    assert above.calls == ["made", "data", "eof", "lost"]


async def test_whoever_aborts_within_its_data_hears_of_no_end(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    async def script(peer: Secured) -> None:
        await peer.send(peer.record(b"whole") + peer.goodbye())
        await stay(peer)

    above = Above()
    above.on_data = lambda data: above.transport.abort()
    async with nothing_left(), Server(serving(authority, version), script) as server:
        await dial(server.port, trusting, above)
        await above.over()
    assert above.calls == ["made", "data", "lost"]


async def test_an_exception_above_is_a_break_and_is_told_to_the_loop(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    go = asyncio.Event()

    async def script(peer: Secured) -> None:
        await go.wait()
        await peer.send(peer.record(b"whole"))
        await stay(peer)

    def fail(data: bytes) -> None:
        raise ZeroDivisionError

    above = Above()
    above.on_data = fail
    told: list[dict[str, Any]] = []
    async with Server(serving(authority, version), script) as server:
        await dial(server.port, trusting, above)
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        go.set()
        await above.over()
        asyncio.get_running_loop().set_exception_handler(None)
    assert above.calls == ["made", "data", "lost"]
    assert isinstance(above.error, ZeroDivisionError)
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


async def test_nothing_of_a_lost_connection_stays_in_memory(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    """Collecting garbage is put off for as long as possible."""

    async def script(peer: Secured) -> None:
        await peer.send(peer.record(b"whole") + peer.goodbye())
        await stay(peer)

    async def visit(port: int) -> weakref.ref[TlsTransport]:
        above = Above()
        tls = await dial(port, trusting, above)
        await above.over()
        return weakref.ref(tls)

    async with Server(serving(authority, version), script) as server:
        gc.collect()
        gc.disable()
        try:
            left = await visit(server.port)
            async with asyncio.timeout(60):
                while left() is not None:
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


# Writing.


@pytest.mark.parametrize("size", [1, RECORD_BYTES, RECORD_BYTES + 1, 3_000_000])
async def test_a_write_of_any_size_arrives(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion, size: int
) -> None:
    body = (b"%07d\n" * (size // 8 + 1) % tuple(range(size // 8 + 1)))[:size]
    got = asyncio.get_running_loop().create_future()

    async def script(peer: Secured) -> None:
        got.set_result(await peer.read(2 * size + 6))
        await stay(peer)

    async with nothing_left(), Server(serving(authority, version), script) as server:
        above = Above()
        tls = await dial(server.port, trusting, above)
        tls.set_write_buffer_limits(high=0)
        tls.write(body)
        tls.write(b"")
        for part in (b"one", b"", body, b"two"):
            tls.write(part)
        async with asyncio.timeout(60):
            assert await got == body + b"one" + body + b"two"
            while above.writing[-1:] == ["paused"]:
                await asyncio.sleep(0)
        assert bool(above.writing) is (size == 3_000_000), "a part has not left, and later it has"
        tls.abort()


# The handshake.


async def test_data_that_comes_with_the_end_of_the_handshake(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    async def script(peer: Secured) -> None:
        await peer.send(await peer.shake() + peer.record(b"who") + peer.record(b"le") + peer.goodbye())
        await stay(peer)

    above = Above()
    async with nothing_left(), Server(serving(authority, version), script, shake=False) as server:
        await dial(server.port, trusting, above)
        await above.over()
    assert above.data == b"whole"
    assert above.calls == ["made", "data", "eof", "lost"]


async def test_a_handshake_and_tickets_byte_by_byte(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    async def script(peer: Secured) -> None:
        await peer.send(await peer.shake(1) + peer.record(b"whole") + peer.goodbye(), 1)
        await stay(peer)

    above = Above()
    async with nothing_left(), Server(serving(authority, version), script, shake=False) as server:
        await dial(server.port, trusting, above)
        await above.over()
    assert above.data == b"whole"
    assert above.calls == ["made", "data", "eof", "lost"]


ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # handshake_failure


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", ssl.SSLError), (ALERT, ssl.SSLError), (b"", ConnectionResetError)],
    ids=["garbage", "alert", "fin"],
)
async def test_a_handshake_that_fails(
    authority: trustme.CA, trusting: ssl.SSLContext, answer: bytes, error: type[Exception]
) -> None:
    async def script(peer: Secured) -> None:
        await peer.peer.reader.read(5)
        if answer:
            await peer.send(answer)
            await stay(peer)

    above = Above()
    async with nothing_left(), Server(serving(authority), script, shake=False) as server:
        with pytest.raises(error):
            await dial(server.port, trusting, above)
    assert above.calls == []


async def test_a_handshake_that_is_reset(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    async def script(peer: Secured) -> None:
        await peer.peer.reader.read(5)
        peer.reset()

    above = Above()
    async with nothing_left(), Server(serving(authority), script, shake=False) as server:
        with pytest.raises(ConnectionError):
            await dial(server.port, trusting, above)
    assert above.calls == []


@pytest.mark.parametrize("bytes_sent", [0, 3, 200])
async def test_a_handshake_that_hangs_can_be_given_up(
    authority: trustme.CA, trusting: ssl.SSLContext, bytes_sent: int
) -> None:
    hangs = asyncio.Event()

    async def script(peer: Secured) -> None:
        await peer.peer.reader.read(5)
        if bytes_sent:
            await peer.send(b"\x16\x03\x03\x02\x00\x02\x00\x01\xfc\x03\x03".ljust(bytes_sent, b"x")[:bytes_sent], 1000)
        hangs.set()
        await stay(peer)

    above = Above()
    async with nothing_left(), Server(serving(authority), script, shake=False) as server:
        task = asyncio.create_task(dial(server.port, trusting, above))
        async with asyncio.timeout(60):
            await hangs.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.over.wait()
    assert above.calls == []


async def test_a_connection_lost_before_anyone_was_told_is_an_error(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    """The handshake ends, then the connection does, and only then does the caller come to look."""

    async def script(peer: Secured) -> None:
        await peer.send(peer.record(b"whole"))

    class Watched(TlsTransport):
        gone = asyncio.Event()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.gone.set()

    Watched.gone = asyncio.Event()
    above = Above()
    async with nothing_left(), Server(serving(authority, version), script) as server:
        _, tls = await asyncio.get_running_loop().create_connection(
            lambda: Watched(trusting, "localhost"), "127.0.0.1", server.port
        )
        async with asyncio.timeout(60):
            await tls.gone.wait()
        with pytest.raises(ConnectionResetError):
            await tls.secure(above)
    assert above.calls == []


# Certificates and names.


async def sent_name(context: ssl.SSLContext, port_context: ssl.SSLContext, host: str) -> str | None:
    """Return the name that the server is told (RFC 6066 §3), having connected."""
    names: list[str | None] = []
    port_context.sni_callback = lambda tls, name, context: names.append(name)
    async with nothing_left(), Server(port_context, stay) as server:
        (await dial(server.port, context, Above(), host)).abort()
    [name] = names
    return name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("contoso.openai.azure.invalid", "contoso.openai.azure.invalid"),
        ("CONTOSO.openai.azure.invalid", "CONTOSO.openai.azure.invalid"),
        ("127.0.0.1", None),
        ("2001:db8::1", None),
    ],
)
async def test_a_name_is_sent_and_an_address_is_not_but_both_are_verified(
    authority: trustme.CA, trusting: ssl.SSLContext, host: str, name: str | None
) -> None:
    assert await sent_name(trusting, serving(authority, name=host.lower()), host) == name
    other = serving(authority, name="192.0.2.7")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        await sent_name(trusting, other, host)


@pytest.mark.parametrize("why", ["unknown authority", "expired", "other name"])
async def test_a_certificate_that_will_not_do(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion, why: str
) -> None:
    issuer = trustme.CA() if why == "unknown authority" else authority
    until = datetime(2020, 1, 1, tzinfo=UTC) if why == "expired" else None
    context = server_context(issuer.issue_cert("x.invalid" if why == "other name" else "localhost", not_after=until))
    context.minimum_version = context.maximum_version = version
    alerts: list[str] = []

    async def script(peer: Secured) -> None:
        try:
            await peer.shake()
            await peer.read(1)
        except ssl.SSLError as error:
            alerts.append(str(error.reason))

    above = Above()
    async with nothing_left(), Server(context, script, shake=False) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await dial(server.port, trusting, above)
        async with asyncio.timeout(60):
            await server.over.wait()
    assert above.calls == []
    assert len(alerts) == 1  # the server is told why (RFC 8446 §6.2)
    assert "ALERT" in alerts[0]
