"""TLS between the event loop's transport and a connection.

The event loops have TLS of their own, but it allocates 256 KiB for each read, and reads until OpenSSL raises an
exception at the end of the data. Here all reads share one buffer, and a read ends when the data is used up.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

RECORD_BYTES = 16 * 1024
"""The largest plaintext of a TLS record (RFC 8446 §5.1)."""

READ_BYTES = 64 * 1024
"""The largest read from the socket, the same as uvloop's."""


class TlsTransport(asyncio.BufferedProtocol):
    """The protocol of the transport below, and after ``secure`` the transport of the protocol above.

    The loop reads into ``buffer``, which has ``READ_BYTES``. All connections of one loop may share it, because every
    read is processed before the loop's next call.
    """

    def __init__(self, context: ssl.SSLContext, host: str, buffer: memoryview) -> None:
        self._buffer = buffer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._below: Any = None  # uvloop's transports do not inherit from asyncio's
        self._above: asyncio.Protocol | None = None
        self._handshake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unsent: deque[bytes] = deque()  # pending during a renegotiation
        self._lost = False

    async def secure(self, above: asyncio.Protocol) -> None:
        """Wait for the end of the handshake, then connect ``above`` to this transport.

        Raises:
            ssl.SSLError: the server's certificate (ssl.SSLCertVerificationError) or protocol is not accepted.
            OSError: the connection broke.
        """
        await self._handshake
        if self._lost:  # before there was a protocol to notify
            raise ConnectionResetError("the connection was closed after the handshake")
        self._above = above
        above.connection_made(self)  # type: ignore[arg-type]
        self._read()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._below = transport
        self._do_handshake()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that the loop reads into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt one read."""
        self._incoming.write(self._buffer[:nbytes])
        if self._above is not None:
            self._read()
        elif not self._handshake.done():
            self._do_handshake()

    def pause_writing(self) -> None:
        """Pass on that the socket's write buffer is full."""
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the socket's write buffer has room again."""
        if self._above is not None:
            self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection is lost. Only ``close_notify`` counts as a clean end."""
        if not self._handshake.done():
            self._handshake.set_exception(exc or ConnectionResetError("the connection was closed in the handshake"))
            self._handshake.exception()  # marks it as retrieved: there may be no waiter
        self._lost = True
        above, self._above = self._above, None  # breaks the reference cycle
        if above is not None:
            above.connection_lost(exc)

    def _do_handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._handshake.set_exception(error)
            self._handshake.exception()
        else:
            self._handshake.set_result(None)
        self._flush()

    def _read(self) -> None:
        """Pass on all data that can be decrypted, in one piece."""
        incoming, tls, parts = self._incoming, self._tls, []
        last: Callable[[asyncio.Protocol], None] | None = None
        try:
            while incoming.pending or tls.pending():
                part = tls.read(RECORD_BYTES)
                if not part:
                    last = self._end
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass  # an incomplete record, or one without application data
        except ssl.SSLError:
            last = self._break
        above = self._above
        assert above is not None
        if parts:
            above.data_received(parts[0] if len(parts) == 1 else b"".join(parts))
        if last is not None:
            last(above)
        elif self._unsent or self._outgoing.pending:
            self._encrypt()

    def _end(self, above: asyncio.Protocol) -> None:
        """Process the server's ``close_notify`` and answer it (RFC 8446 §6.1, RFC 5246 §7.2.1)."""
        if not self._below.is_closing():
            above.eof_received()
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self._below.close()

    def _break(self, _: asyncio.Protocol) -> None:
        """Close after invalid TLS, or after the server's alert (RFC 8446 §6.2)."""
        self._flush()
        self._below.abort()

    def _encrypt(self) -> None:
        unsent = self._unsent
        with suppress(ssl.SSLWantReadError):  # during a renegotiation (TLS 1.2) data cannot be sent
            while unsent:
                self._tls.write(unsent[0])
                unsent.popleft()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    # What the protocol above calls.

    def write(self, data: bytes) -> None:
        """Encrypt and send. Data for a connection that is closing is dropped."""
        if not self._below.is_closing():
            self._unsent.append(data)
            self._encrypt()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the numbers of unsent bytes at which writing is paused and resumed."""
        self._below.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Pause reading."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading."""
        self._below.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return the number of unsent bytes, encrypted."""
        size: int = self._below.get_write_buffer_size()
        return size

    def can_write_eof(self) -> bool:
        """Whether one direction can be closed alone: not with TLS before 1.3, so never."""
        return False

    def set_protocol(self, above: asyncio.Protocol) -> None:
        """Connect another protocol to this transport."""
        self._above = above

    def is_closing(self) -> bool:
        """Whether the connection is closing."""
        closing: bool = self._below.is_closing()
        return closing

    def abort(self) -> None:
        """Close at once, and drop unsent bytes."""
        self._below.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection: ``ssl_object``, or any name of the transport below."""
        return self._tls if name == "ssl_object" else self._below.get_extra_info(name, default)
