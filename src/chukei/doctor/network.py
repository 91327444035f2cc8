"""The way to one address: proxy, name, connection, certificate. Each stage is a check with its time."""

import asyncio
import base64
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from chukei.adapters.http.proxies import proxy_for
from chukei.doctor.certificates import Certificate, explained, presented, verdict
from chukei.doctor.finding import Finding, Subject, milliseconds
from chukei.ports import Clock

DNS_SECONDS = 5.0
TLS_SECONDS = 10.0
MAX_ADDRESSES = 4
"""Addresses of a name that are tried, one after the other."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach addresses.

    ``trust`` names the setting for further certificate authorities. ``seconds`` is the time limit of a connection.
    ``wall`` is Unix time, by which certificates expire.
    """

    tls: Callable[[], ssl.SSLContext]
    trust: str
    clock: Clock
    wall: Clock
    seconds: float = 5.0
    proxies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reached:
    """A connection, and the seconds that its stages took: ``dns``, ``connect``, ``tls``.

    ``absolute`` precedes the path of a request to a proxy without a tunnel (RFC 9112 §3.2.2).
    """

    streams: Streams
    seconds: Mapping[str, float]
    absolute: str = ""

    def close(self) -> None:
        """Close the connection at once."""
        self.streams[1].transport.abort()


REFUSALS: tuple[tuple[type[OSError], str, str], ...] = (
    (
        ConnectionRefusedError,
        "nothing listens on port {port} of {host}",
        "correct the port, or start what should listen there; a relay is started with chukei serve",
    ),
    (
        TimeoutError,
        "{host} does not answer on port {port}: packets are dropped",
        "open outgoing TCP port {port} to {host} in firewalls and network security groups; if only a proxy may go out, "
        "set HTTPS_PROXY",
    ),
    (
        ConnectionResetError,
        "{host} closed the connection on port {port}",
        "look at what stands in between: a firewall that filters by name, or a proxy without its own target",
    ),
    (
        BrokenPipeError,
        "{host} closed the connection on port {port}",
        "look at what stands in between: a firewall that filters by name, or a proxy without its own target",
    ),
)
"""Errors of a connection, what they mean, and the remedy."""


ANOTHER_PROXY = "correct the proxy's address in HTTPS_PROXY or HTTP_PROXY, or name the target's host in NO_PROXY"


def refusal(error: OSError, host: str, port: int) -> tuple[str, str]:
    """Return what an error of a connection means, and its remedy."""
    for kind, seen, remedy in REFUSALS:
        if isinstance(error, kind):
            return seen.format(host=host, port=port), remedy.format(host=host, port=port)
    reason = error.strerror or str(error) or type(error).__name__
    return f"{host} cannot be reached on port {port}: {reason}", "look at this machine's routes and network interfaces"


async def reach(subject: Subject, url: str, way: Way) -> tuple[list[Finding], Reached | None]:
    """Connect to an address, stage by stage. Return the findings, and the connection if all stages succeeded."""
    target = urlsplit(url)
    proxy = proxy_for(target, way.proxies)
    next_hop = target if proxy is None else proxy
    host, port = _place(next_hop)
    findings = []
    if proxy is not None:
        findings.append(subject.ok("proxy", f"goes through the proxy {host}:{port} (HTTPS_PROXY, HTTP_PROXY)"))
    begun = way.clock()
    try:
        addresses = await resolve(host, port)
    except OSError as error:
        findings.append(_unresolved(subject, host, error))
        return findings, None
    times = {"dns": way.clock() - begun}
    private = any(ipaddress.ip_address(address).is_private for address in addresses)
    kind = "private" if private else "public"
    shown = ", ".join(addresses[:MAX_ADDRESSES])
    named = f"{host} is {shown}" if addresses != [host] else f"{host} needs no look-up"
    findings.append(subject.ok("dns", f"{named} ({kind})", dns_ms=milliseconds(times["dns"]), network=kind))
    begun = way.clock()
    streams, silent = await _connected(addresses, port, way.seconds)
    times["connect"] = way.clock() - begun
    if streams is None:
        seen, remedy = refusal(silent[-1][1], host, port)
        findings.append(subject.failed("connect", seen, remedy if proxy is None else ANOTHER_PROXY))
        return findings, None
    findings.append(_connection(subject, host, port, times["connect"], silent))
    if target.scheme != "https":
        return findings, Reached(streams, times, f"http://{target.netloc}" if proxy is not None else "")
    begun = way.clock()
    finding, secured = await _secured(subject, target, proxy, streams, way)
    times["tls"] = way.clock() - begun
    findings.append(finding)
    return findings, None if secured is None else Reached(secured, times)


def _place(target: SplitResult) -> tuple[str, int]:
    return target.hostname or "", target.port or (443 if target.scheme == "https" else 80)


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name.

    The look-up runs in a thread of its own that the process does not wait for at its end: the system's resolver cannot
    be interrupted.

    Raises:
        OSError: there is no address.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str] | OSError] = loop.create_future()

    def settle(result: list[str] | OSError) -> None:
        if not answer.done():
            answer.set_result(result)

    def look_up() -> None:
        result: list[str] | OSError
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
        except (OSError, UnicodeError) as error:
            result = error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, "not a name")
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=look_up, daemon=True).start()
    async with asyncio.timeout(DNS_SECONDS):
        result = await answer
    if isinstance(result, OSError):
        raise result
    return result


def _unresolved(subject: Subject, host: str, error: OSError) -> Finding:
    if isinstance(error, TimeoutError):
        remedy = "look at the name servers of this machine (/etc/resolv.conf) and whether UDP port 53 is open"
        return subject.failed("dns", f"no name server answered for {host} within {DNS_SECONDS:g} s", remedy)
    if error.errno == getattr(socket, "EAI_AGAIN", None):
        remedy = "look at the name servers of this machine (/etc/resolv.conf) and whether they can be reached"
        return subject.failed("dns", f"the name servers cannot look up {host} now", remedy)
    remedy = "correct the name; for a private endpoint, link its private DNS zone to this network"
    return subject.failed("dns", f"there is no host {host}", remedy)


async def _connected(
    addresses: list[str], port: int, seconds: float
) -> tuple[Streams | None, list[tuple[str, OSError]]]:
    """Connect to the first address that answers; also return those that did not."""
    silent: list[tuple[str, OSError]] = []
    for address in addresses[:MAX_ADDRESSES]:
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.open_connection(address, port), silent
        except OSError as error:
            silent.append((address, error))
    return None, silent


def _connection(subject: Subject, host: str, port: int, seconds: float, silent: list[tuple[str, OSError]]) -> Finding:
    spent = milliseconds(seconds)
    silent = [each for each in silent if isinstance(each[1], TimeoutError)]  # a refusal costs no time
    if not silent:
        return subject.ok("connect", f"{host} accepts connections on port {port} ({spent:g} ms)", connect_ms=spent)
    seen = f"connected after {spent:g} ms, but not to {', '.join(address for address, _ in silent)}"
    remedy = "remove that address from the name, or mend the route to it: every new connection may lose time on it"
    return subject.warning("connect", seen, remedy, connect_ms=spent)


async def _secured(
    subject: Subject, target: SplitResult, proxy: SplitResult | None, streams: Streams, way: Way
) -> tuple[Finding, Streams | None]:
    """Do the handshake. Without a valid certificate, look again at what was presented."""
    host, port = _place(target)
    begun = way.clock()
    try:
        async with asyncio.timeout(TLS_SECONDS):
            await _handshake(target, proxy, streams, way.tls())
    except ssl.SSLCertVerificationError as error:
        streams[1].transport.abort()
        shown = await _shown(target, proxy, way)
        return subject.failed("tls", *explained(error, host, shown, way.trust)), None
    except _ProxyRefused as error:
        streams[1].transport.abort()
        remedy = "let the proxy open tunnels (CONNECT) to this host, or name the host in NO_PROXY"
        if error.status == 407:
            remedy = "write the user and the password of the proxy into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT"
        return subject.failed("tls", f"the proxy refuses a tunnel to {host}:{port}: {error}", remedy), None
    except ssl.SSLError as error:
        streams[1].transport.abort()
        return subject.failed("tls", *_not_tls(error, host, port)), None
    except OSError as error:
        streams[1].transport.abort()
        return subject.failed("tls", *refusal(error, host, port)), None
    spent = milliseconds(way.clock() - begun)
    tls: ssl.SSLObject = streams[1].get_extra_info("ssl_object")
    version = tls.version() or "TLS"
    level, seen, remedy, days = verdict(Certificate(tls.getpeercert() or {}), host, way.wall())
    text = f"{version} in {spent:g} ms, {seen}"
    measured: dict[str, float | str] = {"tls_ms": spent, "version": version, "expires_days": days}
    return Finding(subject.kind, subject.name, "tls", level, text, remedy, measured), streams


async def _shown(target: SplitResult, proxy: SplitResult | None, way: Way) -> Certificate | None:
    """Return the certificate that a server presents, whatever is wrong with it; None if it presents none now."""
    host, port = _place(target if proxy is None else proxy)
    try:
        async with asyncio.timeout(TLS_SECONDS):
            raw: bytes | None = None
            for make in (lambda _: presented(None), presented):
                streams = await asyncio.open_connection(host, port)
                try:
                    await _handshake(target, proxy, streams, make(raw))
                    tls = streams[1].get_extra_info("ssl_object")
                    if raw is None:
                        raw = tls.getpeercert(binary_form=True)
                    else:
                        return Certificate(tls.getpeercert() or {})
                finally:
                    streams[1].transport.abort()
    except (OSError, _ProxyRefused):
        pass
    return None


class _ProxyRefused(Exception):
    """The proxy did not open a tunnel. ``status`` is that of its answer; 0 if it sent none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


async def _handshake(target: SplitResult, proxy: SplitResult | None, streams: Streams, context: ssl.SSLContext) -> None:
    reader, writer = streams
    host, port = _place(target)
    if proxy is not None:
        name = f"[{host}]" if ":" in host else host
        fields = [f"CONNECT {name}:{port} HTTP/1.1", f"Host: {name}:{port}"]
        if proxy.username is not None:
            pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            fields.append("Proxy-Authorization: Basic " + base64.b64encode(pair.encode()).decode())
        writer.write("\r\n".join([*fields, "", ""]).encode())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise _ProxyRefused("it sent no answer") from None
        status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        if status is None or not status[1].startswith(b"2"):
            if status is None:
                raise _ProxyRefused("it does not speak HTTP")
            raise _ProxyRefused(f"status {status[1].decode()}", int(status[1]))
    await writer.start_tls(context, server_hostname=host)


def _not_tls(error: ssl.SSLError, host: str, port: int) -> tuple[str, str]:
    reason = error.reason or ""
    if "VERSION" in reason and "WRONG" not in reason:
        return f"{host} speaks only an old version of TLS ({reason})", "let the server or proxy speak TLS 1.2 or 1.3"
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return f"{host} refuses the handshake ({reason})", "go around the gateway that demands a client's certificate"
    remedy = "write http:// if this port has no TLS, or correct the port"
    return f"{host} does not speak TLS on port {port} ({reason or 'no reason given'})", remedy
