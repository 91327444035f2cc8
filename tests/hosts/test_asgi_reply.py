"""The Reply port under any ASGI server: the behaviour that it adds to a server's."""

import asyncio
import socket

import pytest
from tests.live.relays import eventually
from tests.rows import rows
from uvicorn import Config, Server

from chukei.hosts.asgi import AsgiReply, AsgiRequest, Receive, Scope, Send

pytestmark = pytest.mark.anyio

SIZE = 16_000_000


@rows("http", ["h11", "httptools"])
@rows("length", [True, False])
async def test_an_answer_is_not_over_before_its_client_has_taken_it(http: str, length: bool) -> None:
    over = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        reply = AsgiReply(send, AsgiRequest(scope, receive, behind_platform=False))
        await reply.start(200, [(b"content-length", b"%d" % SIZE)] if length else [])
        await reply.finish(b"x" * SIZE)
        over.set()

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = Config(application, http=http, ws="none", lifespan="off", log_config=None)
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started)
    reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=1024)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(20):
        await asyncio.sleep(0.005)
        assert not over.is_set()
    assert (await reader.read()).count(b"x") == SIZE
    await over.wait()
    writer.close()
    server.should_exit = True
    await serving


async def test_a_small_answer_is_one_message() -> None:
    sent = []

    async def send(message: Scope) -> None:
        sent.append(message)

    async def receive() -> Scope:
        raise AssertionError("nothing is read")

    scope = {"method": "GET", "path": "/", "query_string": b"", "http_version": "1.1", "headers": []}
    await AsgiReply(send, AsgiRequest(scope, receive, behind_platform=False)).finish(b"small")
    assert sent == [{"type": "http.response.body", "body": b"small", "more_body": False}]
