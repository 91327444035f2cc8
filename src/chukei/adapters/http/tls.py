"""TLS between the loop's transport and a connection.

The event loops bring their own, but for each read they allocate 256 KiB, and they read until OpenSSL says with an
exception that there is no more. Here reads share one buffer, and a read ends when no byte is left over.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

RECORD_BYTES = 16 * 1024
"""The most that one record of TLS can hold (RFC 8446 §5.1)."""

READ_BYTES = 64 * 1024
"""The most that one read takes from the socket, as much as uvloop takes."""


class TlsTransport(asyncio.BufferedProtocol):
    """A protocol to the transport below, and once ``secure`` has returned the transport of the protocol above.

    ``buffer`` is where the loop reads to, ``READ_BYTES`` of it. All connections of one loop may share it: nothing stays
    in it from one call of the loop to the next.
    """

    def __init__(self, context: ssl.SSLContext, host: str, buffer: memoryview) -> None:
        self._buffer = buffer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._below: Any = None  # uvloop's transports are no subclasses of asyncio's
        self._above: asyncio.Protocol | None = None
        self._shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unsent: deque[bytes] = deque()  # what waits for a server that shakes hands anew
        self._lost = False

    async def secure(self, above: asyncio.Protocol) -> None:
        """Wait for the end of the handshake, then carry what ``above`` writes and hand it what comes.

        Raises:
            ssl.SSLError: the server's certificate or protocol will not do (ssl.SSLCertVerificationError).
            OSError: the connection broke.
        """
        await self._shaken
        if self._lost:  # before it could be told
            raise ConnectionResetError("the connection was closed after the handshake")
        self._above = above
        above.connection_made(self)  # type: ignore[arg-type]
        self._read()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._below = transport
        self._shake()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the loop reads to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt one read."""
        self._incoming.write(self._buffer[:nbytes])
        if self._above is not None:
            self._read()
        elif not self._shaken.done():
            self._shake()

    def pause_writing(self) -> None:
        """Hand on that something waits for the socket."""
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that nothing waits any more."""
        if self._above is not None:
            self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that it is over. Only a goodbye of TLS (``close_notify``) is an end, all else is a break."""
        if not self._shaken.done():
            self._shaken.set_exception(exc or ConnectionResetError("the connection was closed in the handshake"))
            self._shaken.exception()  # nobody may wait for it any more
        self._lost = True
        above, self._above = self._above, None  # the two would keep each other in memory
        if above is not None:
            above.connection_lost(exc)

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._shaken.set_exception(error)
            self._shaken.exception()
        else:
            self._shaken.set_result(None)
        self._flush()

    def _read(self) -> None:
        """Hand on all that can be decrypted, in one piece."""
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
            pass  # a part of a record, or one that is no data
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
        """Take the server's goodbye and answer it (RFC 8446 §6.1, RFC 5246 §7.2.1)."""
        if not self._below.is_closing():
            above.eof_received()
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self._below.close()

    def _break(self, _: asyncio.Protocol) -> None:
        """Close over what is no TLS, or over the server's alert (RFC 8446 §6.2)."""
        self._flush()
        self._below.abort()

    def _encrypt(self) -> None:
        unsent = self._unsent
        with suppress(ssl.SSLWantReadError):  # TLS 1.2 lets a server shake hands anew; until then nothing can be sent
            while unsent:
                self._tls.write(unsent[0])
                unsent.popleft()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    # What the protocol above calls.

    def write(self, data: bytes) -> None:
        """Encrypt and send, or drop what is written to a connection that is closing."""
        if not self._below.is_closing():
            self._unsent.append(data)
            self._encrypt()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set from how many unsent bytes on writing is paused, and until how few."""
        self._below.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._below.resume_reading()

    def is_closing(self) -> bool:
        """Whether it is closing."""
        closing: bool = self._below.is_closing()
        return closing

    def abort(self) -> None:
        """Close at once, dropping what is not yet sent."""
        self._below.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection: the TLS object, and all that the transport below knows."""
        return self._tls if name == "ssl_object" else self._below.get_extra_info(name, default)
