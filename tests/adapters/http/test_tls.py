"""The relay's own TLS against OpenSSL's server, in memory: a test controls each byte and each read."""

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
import trustme
from tests.adapters.conftest import server_context
from tests.adapters.http.tls_sides import TEXT, Above, Ends, Records, serving

from chukei.adapters.http.dial import tls_context
from chukei.adapters.http.tls import READ_BYTES, RECORD_BYTES, TlsTransport

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def ends(request: pytest.FixtureRequest, authority: trustme.CA, ca_file: str) -> Ends:
    """Both ends, with a server of each version."""
    return Ends(tls_context(ca_file), serving(authority, request.param))


@pytest.fixture
def trusting(ca_file: str) -> ssl.SSLContext:
    return tls_context(ca_file)


class Below(asyncio.Transport):
    """The transport below: keeps what is written, and how it was ended."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 443)})
        self.sent = b""
        self.calls: list[object] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.calls.append((high, low))

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls


class Session:
    """A connection: ``above`` and ``below`` are the client's, ``far`` is the server's TLS."""

    def __init__(self, context: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost") -> None:
        self.above, self.below, self.far = Above(), Below(), Records(server)
        self.tls = TlsTransport(context, host, memoryview(bytearray(READ_BYTES)))
        self.tls.connection_made(self.below)

    def feed(self, data: bytes, each: int = READ_BYTES) -> None:
        """Have the client read it, in reads of so many bytes at most."""
        each = min(each, READ_BYTES)
        for start in range(0, len(data), each):
            part = data[start : start + each]
            self.tls.get_buffer(-1)[: len(part)] = part
            self.tls.buffer_updated(len(part))

    def give(self) -> None:
        """Have the server take what the client has sent."""
        sent, self.below.sent = self.below.sent, b""
        self.far.take(sent)

    def shake(self, each: int = READ_BYTES) -> bytes:
        """Shake hands up to the server's last flight, which is returned."""
        while True:
            self.give()
            flight, last = self.far.shake()
            if last:
                return flight
            self.feed(flight, each)

    def refused(self) -> None:
        """Have the server find out that the client will not have it: in TLS 1.3 after its own last flight."""
        self.shake()
        self.far.read()

    async def secure(self) -> None:
        async with asyncio.timeout(60):
            await self.tls.secure(self.above)


async def secured(context: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost") -> Session:
    session = Session(context, server, host)
    session.feed(session.shake())
    await session.secure()
    return session


# Records and reads.


async def test_a_record_is_a_read_and_reads_are_handed_on_whole(ends: Ends) -> None:
    session = await secured(*ends)
    record = session.far.record
    session.feed(record(b"one"))
    session.feed(record(b"two") + record(b"") + record(b"three"))
    assert session.above.parts == [b"one", b"twothree"]
    assert session.above.calls == ["made", "data"]
    assert session.below.calls == []


async def test_records_may_be_cut_anywhere(ends: Ends) -> None:
    for size in (1, 4, 5, 6, 1000, RECORD_BYTES, RECORD_BYTES + 30, READ_BYTES):
        text = TEXT if size > 6 else TEXT[:200]
        session = await secured(*ends)
        session.feed(b"".join(map(session.far.record, (text[:5], text[5:30], text[30:]))), size)
        session.feed(session.far.goodbye(), size)
        assert session.above.data == text, size
        assert session.above.calls == ["made", "data", "eof"]
        assert session.below.calls == ["close"]


async def test_the_largest_record_is_one_piece(ends: Ends) -> None:
    session = await secured(*ends)
    record = session.far.record(b"x" * RECORD_BYTES)
    assert record[:3] == b"\x17\x03\x03"
    assert len(record) == 5 + int.from_bytes(record[3:5])
    session.feed(record, len(record) - 1)
    assert session.above.parts == [b"x" * RECORD_BYTES]


# Ends and breaks.


@pytest.mark.parametrize("way", ["garbage", "altered", "alert"])
async def test_what_is_no_record_is_a_break(ends: Ends, way: str) -> None:
    """Between two records, and within one."""
    for half in (b"", b"y" * 100):
        session = await secured(*ends)
        session.feed(session.far.record(b"whole"))
        if half:
            session.feed(session.far.record(half)[:50])
        record = session.far.record(b"z" * 100)
        sent = {
            "garbage": b"HTTP/1.1 500 no TLS at all\r\n\r\n" * 10,
            "altered": record[:-1] + bytes([record[-1] ^ 1]) + b"!" * 59,
            "alert": b"\x15\x03\x03\x00\x02\x02\x50" + b"\x00" * 100,  # not encrypted, as anybody can
        }
        session.feed(sent[way])
        assert session.above.parts == [b"whole"]
        assert session.above.calls == ["made", "data"]
        assert session.below.calls == ["abort"]


async def test_a_break_keeps_what_came_before_it_in_the_same_read(ends: Ends) -> None:
    session = await secured(*ends)
    session.feed(session.far.record(b"who") + session.far.record(b"le") + b"garbage")
    assert session.above.data == b"whole"
    assert session.below.calls == ["abort"]


async def test_a_goodbye_is_answered_and_nothing_is_sent_or_taken_after_it(ends: Ends) -> None:
    session = await secured(*ends)
    session.give()
    session.feed(session.far.record(b"whole") + session.far.goodbye() + b"garbage")
    assert session.above.calls == ["made", "data", "eof"]
    assert session.below.calls == ["close"]
    assert session.tls.is_closing()
    answer = session.below.sent
    session.tls.write(b"too late")
    assert session.below.sent == answer
    session.give()
    with pytest.raises(ssl.SSLZeroReturnError):
        session.far.read()


async def test_whoever_aborts_within_its_data_hears_of_no_end(ends: Ends) -> None:
    session = await secured(*ends)
    session.above.on_data = lambda data: session.tls.abort()
    session.feed(session.far.record(b"whole") + session.far.goodbye())
    assert session.above.calls == ["made", "data"]
    assert session.below.calls[0] == "abort"


# Writing.


async def test_a_write_of_any_size_arrives(ends: Ends) -> None:
    session = await secured(*ends)
    for size in (1, RECORD_BYTES, RECORD_BYTES + 1, 3_000_000):
        body = (TEXT * (size // len(TEXT) + 1))[:size]
        for part in (body, b"", b"one", b"", body, b"two"):
            session.tls.write(part)
        session.give()
        assert session.far.read() == body + b"one" + body + b"two"


async def test_what_the_transport_below_knows_and_does_is_handed_on(ends: Ends) -> None:
    session = Session(*ends)
    session.tls.pause_writing()
    session.tls.resume_writing()
    session.feed(session.shake())
    await session.secure()
    tls, above = session.tls, session.above
    tls.set_write_buffer_limits(high=0)
    tls.pause_reading()
    tls.resume_reading()
    assert session.below.calls == [(0, None), "pause", "resume"]
    tls.pause_writing()
    tls.resume_writing()
    assert above.writing == ["paused", "resumed"], "of the handshake nobody is told"
    assert tls.get_extra_info("peername") == ("192.0.2.7", 443)
    assert tls.get_extra_info("ssl_object").version() == ends.server.minimum_version.name.replace("v1_", "v1.")


# The handshake.


@pytest.mark.parametrize("each", [1, READ_BYTES], ids=["byte by byte", "whole"])
async def test_data_that_comes_with_the_end_of_the_handshake(ends: Ends, each: int) -> None:
    session = Session(*ends)
    end = session.shake(each)
    session.feed(end + session.far.record(b"who") + session.far.record(b"le") + session.far.goodbye(), each)
    await session.secure()
    assert session.above.data == b"whole"
    assert session.above.calls == ["made", "data", "eof"]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"], ids=["garbage", "alert"]
)
async def test_a_handshake_that_fails(ends: Ends, answer: bytes) -> None:
    session = Session(*ends)
    session.feed(answer)
    with pytest.raises(ssl.SSLError):
        await session.secure()
    assert session.above.calls == []


@pytest.mark.parametrize("shaken", [False, True], ids=["within", "after"])
async def test_a_connection_lost_before_anyone_was_told_is_an_error(ends: Ends, shaken: bool) -> None:
    """After: the handshake ends, then the connection does, and only then does the caller come to look."""
    session = Session(*ends)
    if shaken:
        session.feed(session.shake() + session.far.record(b"whole"))
    session.tls.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await session.secure()
    assert session.above.calls == []


# Certificates and names.


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
    """What the server is told is RFC 6066 §3's."""
    names: list[str | None] = []
    context = serving(authority, name=host.lower())
    context.sni_callback = lambda tls, name, context: names.append(name)
    await secured(trusting, context, host)
    assert names == [name]
    session = Session(trusting, serving(authority, name="192.0.2.7"), host)
    with pytest.raises(ssl.SSLError):
        session.shake()
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        await session.secure()


@pytest.mark.parametrize("why", ["unknown authority", "expired", "other name"])
@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
async def test_a_certificate_that_will_not_do(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion, why: str
) -> None:
    issuer = trustme.CA() if why == "unknown authority" else authority
    until = datetime(2020, 1, 1, tzinfo=UTC) if why == "expired" else None
    context = server_context(issuer.issue_cert("x.invalid" if why == "other name" else "localhost", not_after=until))
    context.minimum_version = context.maximum_version = version
    session = Session(trusting, context)
    with pytest.raises(ssl.SSLError, match="ALERT"):  # the server is told why (RFC 8446 §6.2)
        session.refused()
    with pytest.raises(ssl.SSLCertVerificationError):
        await session.secure()
    assert session.above.calls == []
