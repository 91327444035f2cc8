"""Sockets to an upstream, against the library's own server and servers that a test controls."""

import asyncio
import http as http_status
import re
from contextlib import suppress
from typing import Any

import pytest
import trustme
from benchmarks.socket_sides import pass_on
from tests.adapters.conftest import server_context
from tests.adapters.servers import LocalServer, Peer, Proxy
from tests.adapters.websocket.sides import LIMITS, serving, wire
from tests.live.relays import eventually
from tests.rows import rows
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.utils import accept_key

from chukei.adapters.http.client import HttpClient
from chukei.config import UpstreamSettings
from chukei.errors import UpstreamError
from chukei.ports import Frame, Incoming, Reply, Socket

pytestmark = pytest.mark.anyio

TEXT = 1
SECRET = b"a-long-secret-key"
NAME = "contoso.openai.azure.invalid"  # which only the proxy resolves


async def open_socket(http: HttpClient, url: str, *subprotocols: str) -> Socket:
    async with asyncio.timeout(60):
        return await http.open_socket(url, "/v1/realtime?model=m", [(b"api-key", SECRET)], subprotocols, LIMITS)


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


def address(server: Server, scheme: str = "http") -> str:
    return f"{scheme}://localhost:{port_of(server)}"


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def echoes(socket: Socket) -> None:
    for data in (b"", b"hello", b"x" * 70_000):
        await socket.send(Frame(TEXT, data))
        assert await socket.receive() == Frame(TEXT, data)
    await socket.close(1000, "done")
    assert (socket.code, socket.reason) == (1000, "done")


async def test_the_librarys_server_gets_what_is_sent() -> None:
    requests: list[Request] = []

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        requests.append(connection.request)
        await echo(connection)

    http = HttpClient(UpstreamSettings())
    async with serve(handle, "127.0.0.1", 0, subprotocols=[Subprotocol("realtime")]) as server:
        socket = await open_socket(http, address(server), "other", "realtime")
        assert socket.subprotocol == "realtime"
        assert http.open_connections == 1
        await echoes(socket)
        await eventually(lambda: not http.open_connections)
    [request] = requests
    assert request.path == "/v1/realtime?model=m"
    assert request.headers["api-key"] == SECRET.decode()
    assert "sec-websocket-extensions" not in request.headers
    await http.close()


async def test_through_tls(authority: trustme.CA, ca_file: str) -> None:
    http = HttpClient(UpstreamSettings(ca_file=ca_file))
    context = server_context(authority.issue_cert("localhost"))
    async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        await echoes(await open_socket(http, address(server, "https")))
        await eventually(lambda: not http.open_connections)
    await http.close()


@rows("secure", [False, True])
async def test_through_a_proxys_tunnel(secure: bool, authority: trustme.CA, ca_file: str) -> None:
    context = server_context(authority.issue_cert(NAME)) if secure else None
    scheme = "https" if secure else "http"
    async with serve(echo, "127.0.0.1", 0, ssl=context) as server, Proxy(port_of(server)) as proxy:
        settings = UpstreamSettings(ca_file=ca_file, proxies={scheme: f"http://127.0.0.1:{proxy.port}"})
        http = HttpClient(settings)
        await echoes(await open_socket(http, f"{scheme}://{NAME}"))
        await eventually(lambda: not http.open_connections)
        await http.close()
    [head] = proxy.heads
    assert head.startswith(f"CONNECT {NAME}:{443 if secure else 80} ".encode())


# Refusals.


@rows(("status", "code"), [(429, "upstream_429"), (401, "upstream_unauthorized"), (404, "upstream_404")])
async def test_a_refusal_is_the_error_that_it_is_for_a_post(status: int, code: str) -> None:
    def refuse(connection: ServerConnection, _: Request) -> Response:
        message = '{"error":{"code":"x","message":"no more for ' + SECRET.decode() + '"}}'
        response = connection.respond(http_status.HTTPStatus(status), message)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        response.headers["Retry-After"] = "7"
        return response

    http = HttpClient(UpstreamSettings())
    async with serve(echo, "127.0.0.1", 0, process_request=refuse) as server:
        with pytest.raises(UpstreamError) as raised:
            await open_socket(http, address(server))
    error = raised.value
    assert error.code == code
    assert error.status == (502 if status == 401 else status)
    assert SECRET not in error.body
    if status == 429:
        assert error.retry_after == 7
        assert b"no more for" in error.body
    await eventually(lambda: not http.open_connections)


def scripted(answer: bytes) -> Any:
    async def handle(peer: Peer) -> None:
        head = await peer.head()
        key = re.search(rb"sec-websocket-key: (\S+)", head)
        assert key is not None
        await peer.send(answer.replace(b"ACCEPT", accept_key(key[1].decode()).encode()))
        await peer.eof()

    return handle


UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ACCEPT\r\n\r\n"
)


@rows(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "unexpected_status"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "unexpected_redirect"),
        (UPGRADED.replace(b"ACCEPT", b"wrong"), "unexpected_answer"),
        (UPGRADED.replace(b"Upgrade: websocket", b"Upgrade: h2c"), "unexpected_answer"),
        (UPGRADED.replace(b"Connection: Upgrade\r\n", b""), "unexpected_answer"),
        (
            UPGRADED.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
            "unexpected_answer",
        ),
        (b"nonsense\r\n\r\n", "unexpected_answer"),
    ],
)
async def test_a_wrong_answer_is_an_error(answer: bytes, code: str) -> None:
    http = HttpClient(UpstreamSettings())
    async with LocalServer(scripted(answer)) as server:
        with pytest.raises(UpstreamError) as raised:
            await open_socket(http, server.url)
        assert raised.value.code == code
        await eventually(lambda: not http.open_connections)


async def test_an_upstream_that_closes_instead_of_answering_is_lost() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()

    http = HttpClient(UpstreamSettings())
    async with LocalServer(handle) as server:
        with pytest.raises(UpstreamError) as raised:
            await open_socket(http, server.url)
        assert raised.value.code == "upstream_lost"
        await eventually(lambda: not http.open_connections)


async def test_frames_in_the_read_of_the_answer_are_received() -> None:
    early = wire(0x81, b"early", masked=False) + wire(0x82, b"x" * 70_000, masked=False)
    http = HttpClient(UpstreamSettings())
    async with LocalServer(scripted(UPGRADED + early)) as server:
        socket = await open_socket(http, server.url)
        assert await socket.receive() == Frame(TEXT, b"early")
        assert await socket.receive() == Frame(2, b"x" * 70_000)
        await http.close()
        assert await socket.receive() is None
        assert socket.code == 1006


async def test_cancelling_a_handshake_closes_its_connection() -> None:
    asked = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.eof()

    http = HttpClient(UpstreamSettings())
    async with LocalServer(handle) as server:
        opening = asyncio.create_task(open_socket(http, server.url))
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await eventually(lambda: not http.open_connections)


# Both sides.


async def test_messages_and_closes_pass_a_pair_of_sockets() -> None:
    """The library on both ends, and the relay's two transports between them."""
    http = HttpClient(UpstreamSettings())
    closes: list[tuple[int | None, str | None]] = []

    async def upstream(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # which the library raises for most codes
            async for message in connection:
                if message == "close":
                    await connection.close(4000, "as asked")
                else:
                    await connection.send([message[:3], message[3:]])
        closes.append((connection.close_code, connection.close_reason))

    async with serve(upstream, "127.0.0.1", 0) as server:

        async def relay(_: Incoming, reply: Reply) -> None:
            up = await open_socket(http, address(server))
            down = await reply.upgrade(None, [], LIMITS)
            await asyncio.gather(pass_on(down, up), pass_on(up, down))

        async with serving(relay) as (url, _):
            async with connect(url) as client:
                for message in ("hello", "ü☃𝄞 and more", b"\x00\xff\x00\xff", "x" * 90_000):
                    await client.send(message)
                    assert await client.recv() == message
                await client.send("close")
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                assert (client.close_code, client.close_reason) == (4000, "as asked")
            other = await connect(url)
            await other.close(3001, "enough")
            await eventually(lambda: len(closes) == 2)
    assert closes == [(4000, "as asked"), (3001, "enough")]
    await eventually(lambda: not http.open_connections)
