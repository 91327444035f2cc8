"""Opens a connection: TCP, then a proxy's CONNECT if one is configured, then TLS."""

import asyncio
import base64
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from chukei.adapters.http.connection import Connection
from chukei.adapters.http.proxies import proxy_for
from chukei.adapters.http.tls import READ_BYTES, TlsTransport
from chukei.errors import UpstreamError
from chukei.model import End, Headers

logger = logging.getLogger(__name__)

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address is tried beside a slow one (RFC 8305 §5)."""

RECEIVE_BYTES = 128 * 1024
"""SO_RCVBUF towards the upstream, which Linux doubles. By default the kernel buffers megabytes for a client that has
stopped reading. This value allows two megabytes a second at 100 ms: an image, or eighty streams of tokens."""

_MAX_PROXY_ANSWER = 16 * 1024


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies certificates against the system's authorities and those in ``ca_file``.

    Raises:
        OSError: the file cannot be read or holds no certificate (ssl.SSLError).
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Opens connections to one endpoint."""

    def __init__(
        self, endpoint: str, *, tls: Callable[[], ssl.SSLContext], proxies: Mapping[str, str], seconds: float
    ) -> None:
        self._endpoint = urlsplit(endpoint)
        self._tls = tls if self._endpoint.scheme == "https" else None
        self._proxy = proxy_for(self._endpoint, proxies)
        self._seconds = seconds
        self._buffer = memoryview(bytearray(READ_BYTES if self._tls else 0))  # shared by all TLS connections
        self.host = self._endpoint.hostname or ""
        self.port = self._endpoint.port or (443 if self._tls else 80)
        self.authority = self._endpoint.netloc.rpartition("@")[2].encode()
        self.prefix = self._endpoint.path
        # For plain HTTP a proxy gets the absolute address and no CONNECT (RFC 9112 §3.2.2).
        self.absolute = ""
        self.headers: Headers = []
        if self._proxy is not None and self._tls is None:
            self.absolute = f"http://{self._endpoint.netloc}"
            self.headers = _proxy_authorization(self._proxy)

    async def dial(self, factory: Callable[[], Connection], *, tunnel: bool = False) -> Connection:
        """Open a connection. With ``tunnel`` a proxy gets CONNECT for plain HTTP too.

        Raises:
            UpstreamError: 504 after the configured time, 502 for anything else.
        """
        try:
            async with asyncio.timeout(self._seconds):
                if self._proxy is None:
                    return await self._direct(factory)
                return await self._through(self._proxy, factory, tunnel=tunnel)
        except TimeoutError:
            self._log("no answer")
            message = f"The upstream could not be reached within {self._seconds:g} seconds."
            raise UpstreamError("connect_timeout", message, end=End.CONNECT_ERROR, status=504) from None
        except ssl.SSLCertVerificationError as error:
            self._log(error.verify_message)
            message = (
                "The upstream's certificate could not be verified. Behind a company's own certificate authority the "
                "relay's operator can set upstream.ca_file."
            )
            raise UpstreamError("tls_unverified", message, end=End.TLS_ERROR) from None
        except ssl.SSLError as error:
            self._log(error.reason)
            message = "No secure connection to the upstream could be made."
            raise UpstreamError("tls_error", message, end=End.TLS_ERROR) from None
        except (OSError, UnicodeError) as error:  # a name with an overlong part fails to encode (RFC 1035 §2.3.4)
            self._log(error)
            message = "The upstream could not be reached."
            raise UpstreamError("connect_error", message, end=End.CONNECT_ERROR) from None

    def _log(self, why: object) -> None:
        """Log the address and the reason for the operator. The caller's error has neither, since they are internal."""
        logger.warning("cannot connect to %s:%d: %s", self.host, self.port, why)

    async def _direct(self, factory: Callable[[], Connection]) -> Connection:
        loop = asyncio.get_running_loop()
        if self._tls is None:
            transport, connection = await loop.create_connection(factory, self.host, self.port, **self._eyeballs(loop))
            _bound_receive_buffer(transport)
            return connection
        made = partial(TlsTransport, self._tls(), self.host, self._buffer)
        transport, tls = await loop.create_connection(made, self.host, self.port, **self._eyeballs(loop))
        _bound_receive_buffer(transport)
        return await _secure(transport, tls, factory())

    def _eyeballs(self, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        """Race IPv6 against IPv4 if the loop supports it; uvloop tries one address after the other.

        A literal address does not need a race. There is also a reason to avoid it: if asyncio's race is cancelled at
        the moment when it is won, the connected socket stays open until it is garbage-collected.
        """
        known = isinstance(loop, asyncio.base_events.BaseEventLoop)
        return {"happy_eyeballs_delay": HAPPY_EYEBALLS_DELAY} if known and not _is_address(self.host) else {}

    async def _through(self, proxy: SplitResult, factory: Callable[[], Connection], *, tunnel: bool) -> Connection:
        loop = asyncio.get_running_loop()
        host, port = proxy.hostname or "", proxy.port or 80
        if self._tls is None and not tunnel:
            forward, plain = await loop.create_connection(factory, host, port)
            _bound_receive_buffer(forward)
            return plain
        transport, opening = await loop.create_connection(_Tunnel, host, port)
        _bound_receive_buffer(transport)
        try:
            host = f"[{self.host}]" if ":" in self.host else self.host
            transport.write(_connect_request(f"{host}:{self.port}", proxy))
            await opening.opened
            if transport.is_closing():
                raise ConnectionResetError("the proxy closed the tunnel")
            if self._tls is None:
                return _tunnelled(transport, factory())
            tls = TlsTransport(self._tls(), self.host, self._buffer)
        except BaseException:
            transport.abort()
            raise
        transport.set_protocol(tls)
        tls.connection_made(transport)
        return await _secure(transport, tls, factory())


def _tunnelled(transport: asyncio.Transport, connection: Connection) -> Connection:
    transport.set_protocol(connection)
    connection.connection_made(transport)
    return connection


async def _secure(transport: asyncio.BaseTransport, tls: TlsTransport, connection: Connection) -> Connection:
    """Complete the handshake, or close."""
    try:
        await tls.secure(connection)
    except BaseException:
        transport.abort()  # type: ignore[attr-defined]
        raise
    return connection


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bound_receive_buffer(transport: asyncio.BaseTransport) -> None:
    """Bound the kernel's receive buffer."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)


class _Tunnel(asyncio.Protocol):
    """Waits for a proxy's answer to CONNECT (RFC 9110 §9.3.6)."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer = b""

    def data_received(self, data: bytes) -> None:
        """Collect the proxy's answer up to its blank line."""
        self._answer += data
        if self.opened.done():
            return
        head, blank, rest = self._answer.partition(b"\r\n\r\n")
        if not blank and len(self._answer) <= _MAX_PROXY_ANSWER:
            return
        status = head.split(b" ", 2)[1:2]
        if blank and not rest and status and status[0].startswith(b"2") and head.startswith(b"HTTP/1."):
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ConnectionError("the proxy refused the tunnel"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail a tunnel that is still waiting."""
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("the proxy closed the connection"))


def _connect_request(authority: str, proxy: SplitResult) -> bytes:
    host = authority.encode()
    fields = [b"Host: " + host, *(name + b": " + value for name, value in _proxy_authorization(proxy))]
    return b"\r\n".join([b"CONNECT " + host + b" HTTP/1.1", *fields, b"", b""])


def _proxy_authorization(proxy: SplitResult) -> Headers:
    """Return the field that authenticates to a proxy whose address holds a user name (RFC 7617)."""
    if proxy.username is None:
        return []
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return [(b"proxy-authorization", b"Basic " + base64.b64encode(pair.encode()))]
