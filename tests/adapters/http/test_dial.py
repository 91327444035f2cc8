"""Opening connections: verified TLS, use of proxies, and cancellation without leftovers."""

import asyncio
import base64
import os
import socket
import ssl

import pytest
import trustme
from tests.adapters.conftest import server_context
from tests.adapters.http.test_client import OK, whole
from tests.adapters.servers import LocalServer, Peer, Proxy, answers
from tests.rows import rows

from chukei.adapters.http.answer import HttpAnswer
from chukei.adapters.http.client import HttpClient
from chukei.adapters.http.dial import tls_context
from chukei.config import UpstreamSettings
from chukei.errors import UpstreamError
from chukei.model import End

pytestmark = pytest.mark.anyio


async def post(http: HttpClient, url: str) -> HttpAnswer:
    async with asyncio.timeout(60):
        return await http.request("POST", url, "/p", [(b"api-key", b"k")], b"{}", lambda: None)


async def refused(http: HttpClient, url: str) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await post(http, url)
    assert http.open_connections == 0
    await http.close()
    return caught.value


# TLS.


async def test_a_private_authority_is_trusted_by_its_file(authority: trustme.CA, ca_file: str) -> None:
    async with LocalServer(answers(OK), server_context(authority.issue_cert("localhost"))) as server:
        http = HttpClient(UpstreamSettings(ca_file=ca_file))
        for _ in range(2):
            assert await whole(await post(http, server.url)) == b"hi"
        assert len(server.peers) == 1
        await http.close()


async def test_an_unknown_authority_is_refused_without_detail(authority: trustme.CA) -> None:
    async with LocalServer(answers(OK), server_context(authority.issue_cert("localhost"))) as server:
        error = await refused(HttpClient(UpstreamSettings()), server.url)
    assert (error.status, error.code, error.end) == (502, "tls_unverified", End.TLS_ERROR)
    assert "upstream.ca_file" in error.message
    for detail in ("self-signed", "CERTIFICATE_VERIFY", "trustme", "_ssl.c", "issuer"):
        assert detail not in error.body.decode()


async def test_where_and_why_is_told_to_the_operator_only(
    authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    async with LocalServer(answers(OK), server_context(authority.issue_cert("localhost"))) as server:
        errors = [await refused(HttpClient(UpstreamSettings()), server.url)]
    for url in ("http://no-such-host.invalid", "http://localhost:1"):
        errors.append(await refused(HttpClient(UpstreamSettings()), url))
    logged = [record.getMessage() for record in caplog.records]
    assert "certificate" in logged[0]
    assert logged[1].startswith("cannot connect to no-such-host.invalid:80: ")
    assert "refused" in logged[2] or "failed" in logged[2]
    for error in errors:
        assert "localhost" not in error.message
        assert ".invalid" not in error.message


async def test_another_hosts_certificate_is_refused(authority: trustme.CA, ca_file: str) -> None:
    async with LocalServer(answers(OK), server_context(authority.issue_cert("other.example"))) as server:
        error = await refused(HttpClient(UpstreamSettings(ca_file=ca_file)), server.url)
        assert server.requests == []
    assert (error.code, error.end) == ("tls_unverified", End.TLS_ERROR)
    assert "other.example" not in error.message


async def test_an_expired_certificate_is_refused(authority: trustme.CA, ca_file: str) -> None:
    from datetime import UTC, datetime

    expired = authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    async with LocalServer(answers(OK), server_context(expired)) as server:
        error = await refused(HttpClient(UpstreamSettings(ca_file=ca_file)), server.url)
    assert (error.code, error.end) == ("tls_unverified", End.TLS_ERROR)
    assert "expired" not in error.message


async def test_old_protocols_are_refused(authority: trustme.CA, ca_file: str) -> None:
    context = tls_context(ca_file)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_plain_text_where_tls_is_expected() -> None:
    async def handle(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.eof()

    async with LocalServer(handle) as server:
        error = await refused(HttpClient(UpstreamSettings()), server.url.replace("http:", "https:"))
    assert (error.status, error.end) == (502, End.TLS_ERROR)


async def silent(peer: Peer) -> None:
    await peer.eof()


async def test_a_handshake_that_stalls_is_a_timeout_and_leaves_nothing() -> None:
    async with LocalServer(silent) as server:
        http = HttpClient(UpstreamSettings(connect_seconds=1.0))
        error = await refused(http, server.url.replace("http:", "https:"))
        assert (error.status, error.code) == (504, "connect_timeout")
        async with asyncio.timeout(60):
            await server.peers[0].closed.wait()


async def test_cancelling_during_a_handshake_closes_the_connection() -> None:
    greeted = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.reader.read(5)
        greeted.set()
        await peer.eof()

    async with LocalServer(handle) as server:
        http = HttpClient(UpstreamSettings())
        task = asyncio.create_task(post(http, server.url.replace("http:", "https:")))
        await greeted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(60):
            await server.peers[0].closed.wait()
        assert http.open_connections == 0


async def test_a_body_cut_without_a_tls_goodbye_is_broken_where_only_the_end_delimits(
    authority: trustme.CA, ca_file: str
) -> None:
    """Anybody on the way could send that FIN."""

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhal")
        with socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno())) as below:
            below.shutdown(socket.SHUT_WR)
        await peer.eof()

    async with LocalServer(handle, server_context(authority.issue_cert("localhost"))) as server:
        http = HttpClient(UpstreamSettings(ca_file=ca_file))
        answer = await post(http, server.url)
        with pytest.raises(UpstreamError):
            await whole(answer)
        await http.close()


# Proxies. The upstream's name is one that only the proxy can resolve, so a direct connection would fail.

NAME = "contoso.openai.azure.invalid"


async def test_https_goes_through_a_tunnel_and_is_verified_end_to_end(authority: trustme.CA, ca_file: str) -> None:
    context = server_context(authority.issue_cert(NAME))
    async with LocalServer(answers(OK), context) as server, Proxy(server.port) as proxy:
        settings = UpstreamSettings(ca_file=ca_file, proxies={"https": f"http://us%40er:p%3Ass@127.0.0.1:{proxy.port}"})
        http = HttpClient(settings)
        for _ in range(2):
            assert await whole(await post(http, f"https://{NAME}")) == b"hi"
        await http.close()
    [head] = proxy.heads
    lines = head.split(b"\r\n")
    assert lines[:2] == [f"CONNECT {NAME}:443 HTTP/1.1".encode(), f"Host: {NAME}:443".encode()]
    assert b"proxy-authorization: Basic " + base64.b64encode(b"us@er:p:ss") in lines
    assert b"api-key" not in head


async def test_a_certificate_is_checked_through_a_tunnel_too(authority: trustme.CA, ca_file: str) -> None:
    context = server_context(authority.issue_cert("other.example"))
    async with LocalServer(answers(OK), context) as server, Proxy(server.port) as proxy:
        settings = UpstreamSettings(ca_file=ca_file, proxies={"https": f"127.0.0.1:{proxy.port}"})
        error = await refused(HttpClient(settings), f"https://{NAME}")
    assert error.end is End.TLS_ERROR


async def test_plain_http_asks_the_proxy_for_the_whole_address() -> None:
    async with LocalServer(answers(OK)) as server, Proxy(server.port) as proxy:
        http = HttpClient(UpstreamSettings(proxies={"http": f"http://user:pass@127.0.0.1:{proxy.port}"}))
        assert await whole(await post(http, f"http://{NAME}:8080")) == b"hi"
        await http.close()
    [head] = proxy.heads
    assert head.startswith(f"POST http://{NAME}:8080/p HTTP/1.1\r\nhost: {NAME}:8080\r\n".encode())
    assert b"proxy-authorization: Basic " + base64.b64encode(b"user:pass") in head


async def test_a_direct_upstream_never_sees_the_proxys_password() -> None:
    seen: list[bytes] = []

    async def handle(peer: Peer) -> None:
        seen.append((await peer.request())[0])
        await peer.send(OK)
        await peer.eof()

    async with LocalServer(handle) as server:
        http = HttpClient(UpstreamSettings(proxies={"http": "http://user:pass@127.0.0.1:1"}))
        await whole(await post(http, server.url))
        await http.close()
    assert b"proxy-authorization" not in seen[0]


REFUSALS = [
    b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    b"HTTP/1.1 403 Forbidden\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nand more",
    b"x" * 20_000,
    b"HTTP/1.1 200",
    b"",
]


@rows("answer", REFUSALS)
async def test_a_proxy_that_refuses_is_never_gone_round(answer: bytes) -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)

    async with LocalServer(handle) as proxy, LocalServer(answers(OK)) as target:
        http = HttpClient(UpstreamSettings(proxies={"https": f"http://user:secret@127.0.0.1:{proxy.port}"}))
        error = await refused(http, f"https://{NAME}")
        assert target.peers == []
        async with asyncio.timeout(60):
            await proxy.peers[0].closed.wait()
    assert (error.status, error.end) == (502, End.CONNECT_ERROR)
    assert "secret" not in error.message


async def test_a_proxy_that_stalls_is_a_timeout() -> None:
    async with LocalServer(silent) as proxy:
        settings = UpstreamSettings(connect_seconds=0.1, proxies={"https": f"http://127.0.0.1:{proxy.port}"})
        error = await refused(HttpClient(settings), f"https://{NAME}")
        async with asyncio.timeout(60):
            await proxy.peers[0].closed.wait()
    assert error.status == 504


async def test_cancelling_while_a_tunnel_opens_closes_it() -> None:
    asked = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.eof()

    async with LocalServer(handle) as proxy:
        http = HttpClient(UpstreamSettings(proxies={"https": f"http://127.0.0.1:{proxy.port}"}))
        task = asyncio.create_task(post(http, f"https://{NAME}"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(60):
            await proxy.peers[0].closed.wait()
        assert http.open_connections == 0


async def test_an_address_of_version_6_is_bracketed_for_the_proxy() -> None:
    heads: list[bytes] = []

    async def handle(peer: Peer) -> None:
        heads.append(await peer.head())

    async with LocalServer(handle) as proxy:
        settings = UpstreamSettings(proxies={"https": f"http://127.0.0.1:{proxy.port}"})
        await refused(HttpClient(settings), "https://[2001:db8::1]")
    assert heads[0].startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n")
