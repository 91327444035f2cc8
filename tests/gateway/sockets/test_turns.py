"""How events and refusals become messages."""

import pytest
from tests.gateway.socket_fakes import FakeSocket

from chukei.gateway.sockets.turns import TurnReply


@pytest.mark.anyio
async def test_events_become_messages_and_comments_do_not() -> None:
    socket = FakeSocket()
    reply = TurnReply(socket, "lane")
    await reply.start(200, [])
    await reply.send(b': ping\n\ndata: {"a":1}\n\ndata: {"b":2}\n\n')
    await reply.finish(b'event: error\ndata: {"type":"error"}\n\n')
    assert socket.events == [{"a": 1}, {"b": 2}, {"stream_id": "lane", "type": "error"}]


@pytest.mark.anyio
async def test_an_upstreams_own_line_ends_and_comments_are_no_part_of_an_event() -> None:
    socket = FakeSocket()
    reply = TurnReply(socket, "lane")
    await reply.start(200, [])
    await reply.send(b': note\nevent: a\ndata: {"a":1}\n\nevent: b\r\ndata:{"b":2}\r\n\r\n')
    assert socket.events == [{"stream_id": "lane", "a": 1}, {"stream_id": "lane", "b": 2}]


@pytest.mark.anyio
async def test_a_refusal_becomes_an_event_with_what_clients_wait_for() -> None:
    socket = FakeSocket()
    reply = TurnReply(socket, None)
    await reply.start(429, [(b"retry-after", b"7"), (b"set-cookie", b"x"), (b"x-ratelimit-limit-tokens", b"9")])
    await reply.finish(b'{"error":{"code":"rate_limit_exceeded","message":"No."}}')
    assert socket.events == [
        {
            "type": "error",
            "status": 429,
            "error": {"code": "rate_limit_exceeded", "message": "No."},
            "headers": {"retry-after": "7", "x-ratelimit-limit-tokens": "9"},
        }
    ]
