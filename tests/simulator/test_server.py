"""Connections: keeping them, losing them, and refusing what is no HTTP."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator

import pytest
import trustme
from tests.simulator.conftest import Simulate
from tests.simulator.wire import CHAT, Connection, ask, get, post, question

from chukei.simulator import Exchange, Simulator, SimulatorSettings
from chukei.simulator.exchanges import Event, Head, Reply, stream

pytestmark = pytest.mark.anyio

PATH = CHAT.format("gpt-4o")
BODY = json.dumps(question()).encode()
ENDLESS = json.dumps(question("write 20000 words")).encode()


async def test_a_connection_serves_many_requests(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        for _ in range(3):
            connection.send("POST", PATH, BODY)
            answer = await connection.answer()
            assert (answer.text, answer.end) == ("one two three", "complete")
            assert "connection" not in answer.headers
        assert sim.open_connections == 1
    assert sim.requests == 3


async def test_pipelined_requests_are_answered_in_order(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        for number in range(5):
            connection.send("POST", PATH, json.dumps(question(f"repeat: number {number}")).encode())
        answers = [await connection.answer() for _ in range(5)]
    assert [answer.text for answer in answers] == [f"number {number}" for number in range(5)]


async def test_a_connection_is_closed_when_the_client_asks(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        connection.send("POST", PATH, BODY, connection="close")
        answer = await connection.answer()
        assert answer.headers["connection"] == "close"
        assert await connection.reader.read() == b""


async def test_http_1_0_gets_a_body_that_ends_with_the_connection(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        head = f"POST {PATH} HTTP/1.0\r\napi-key: x\r\ncontent-length: {len(BODY)}\r\n\r\n"
        connection.writer.write(head.encode() + BODY)
        answer = await connection.answer()
    assert "transfer-encoding" not in answer.headers
    assert answer.text == "one two three"


async def test_a_body_may_come_in_chunks_byte_by_byte(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\napi-key: x\r\ntransfer-encoding: chunked\r\n\r\n"
        raw = head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
        for at in range(len(raw)):
            connection.writer.write(raw[at : at + 1])
            await connection.writer.drain()
        assert (await connection.answer()).text == "one two three"
    assert sim.exchanges[-1].body == BODY


async def test_a_client_may_ask_before_it_sends_its_body(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\napi-key: x\r\ncontent-length: {len(BODY)}\r\n"
        connection.writer.write(head.encode() + b"expect: 100-continue\r\n\r\n")
        assert (await connection.head()).status == 100
        connection.writer.write(BODY)
        assert (await connection.answer()).text == "one two three"


async def test_a_client_that_leaves_stops_the_answer(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=0.01)
    async with await Connection.open(sim.url) as connection:
        connection.send("POST", PATH, ENDLESS)
        await connection.head()
        for _ in range(5):
            await connection.chunk()
        assert sim.running == 1
    exchange = sim.exchanges[-1]
    assert await exchange.finished(timeout=120) == "client_left"
    assert exchange.completion_tokens < 100
    await sim.idle(timeout=120)
    assert sim.running == 0


async def test_a_half_close_is_a_departure(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=0.01)
    async with await Connection.open(sim.url) as connection:
        connection.send("POST", PATH, ENDLESS)
        await connection.head()
        connection.writer.write_eof()
        assert await sim.exchanges[-1].finished(timeout=120) == "client_left"


async def test_a_client_that_leaves_before_the_first_byte(simulate: Simulate) -> None:
    sim = await simulate(first_token_seconds=60, jitter=0)
    async with await Connection.open(sim.url) as connection:
        connection.send("POST", PATH, BODY)
        exchange = await sim.arrived()
    assert await exchange.finished(timeout=120) == "client_left"
    assert (exchange.events, exchange.status) == (0, 200)


async def test_a_client_that_does_not_read_holds_the_model_up(simulate: Simulate) -> None:
    sim = await simulate(send_buffer_bytes=16 * 1024)
    async with await Connection.open(sim.url) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection.send("POST", PATH, ENDLESS)
        exchange = await sim.arrived()
        sent = -1
        while sent != exchange.events:  # until it moves no more
            sent = exchange.events
            await asyncio.sleep(0.2)
        assert 0 < exchange.completion_tokens < 20_000
        assert exchange.ended is None
    assert await exchange.finished() == "client_left"


async def test_stopping_ends_everything_at_once(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=0.01)
    async with await Connection.open(sim.url) as idle, await Connection.open(sim.url) as busy:
        busy.send("POST", PATH, ENDLESS)
        await busy.head()
        await sim.stop()
        assert sim.exchanges[-1].ended == "stopped"
        assert (sim.open_connections, sim.running) == (0, 0)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await busy.reader.readexactly(10**7)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", int(sim.url.rpartition(":")[2]))
        assert idle.reader.at_eof() or await idle.reader.read() == b""
    await sim.stop()


async def test_it_can_be_started_again_but_not_twice() -> None:
    sim = Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0))
    await sim.start()
    with pytest.raises(RuntimeError, match="already listening"):
        await sim.start()
    await sim.stop()
    async with sim:
        assert (await ask(sim.url)).text == "one two three"


async def test_tls(simulate: Simulate) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    sim = Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0))
    url = await sim.start(ssl_context=server)
    try:
        assert url.startswith("https://127.0.0.1:")
        for fault, end in (("", "complete"), ("--truncate-3", "cut"), ("--reset-3", "reset")):
            async with await Connection.open(url, tls=client) as connection:
                connection.send("POST", CHAT.format(f"gpt-4o{fault}"), BODY)
                answer = await connection.answer()
                assert answer.end == end
                assert answer.end != "complete" or answer.text == "one two three"
    finally:
        await sim.stop()


NO_HTTP: list[tuple[bytes, int]] = [
    (b"hello\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 40_000 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000, 431),
    (b"GET /" + b"y" * 200_000, 431),
]


async def test_what_is_no_http_is_refused(sim: Simulator) -> None:
    for raw, status in NO_HTTP:
        async with await Connection.open(sim.url) as connection:
            connection.writer.write(raw)
            answer = await connection.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close"), raw
            assert answer.json["error"]["message"], raw
        assert (await ask(sim.url)).status == 200, "and the next client is served"


async def test_a_body_over_the_limit_is_refused(simulate: Simulate) -> None:
    sim = await simulate(max_body_bytes=1000)
    assert (await post(sim.url, PATH, b"x" * 1001)).status == 413
    assert (await post(sim.url, PATH, question("repeat: x"))).status == 200


async def test_a_large_body_in_one_piece_with_its_head_is_no_large_head(sim: Simulator) -> None:
    assert (await ask(sim.url, text="x" * 150_000)).status == 200


async def test_the_end_of_a_large_body_is_no_part_of_the_next_head(sim: Simulator) -> None:
    body = json.dumps(question("repeat: x" + " " * 150_000)).encode()
    async with await Connection.open(sim.url) as connection:
        for _ in range(5):  # the second is refused if the first one's body counts
            connection.send("POST", PATH, body)
            assert (await connection.answer()).status == 200


async def test_an_upgrade_is_ignored(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        connection.send("GET", "/openai/v1/models", b"", connection="Upgrade", upgrade="h2c")
        assert (await connection.answer()).status == 200


async def test_too_many_requests_at_once_end_the_connection(simulate: Simulate) -> None:
    sim = await simulate(first_token_seconds=60, jitter=0)
    async with await Connection.open(sim.url) as connection:
        for _ in range(20):
            connection.send("POST", PATH, BODY)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await connection.head()


async def test_repeated_headers_are_joined(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        connection.writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
        await connection.answer()
    assert sim.exchanges[-1].headers["x-a"] == "1, 2"


async def test_a_head_has_no_body(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        connection.send("HEAD", "/", b"", connection="close")
        assert int((await connection.head()).headers["content-length"]) > 0
        assert await connection.reader.read() == b""


async def test_a_name_cannot_smuggle_a_header(sim: Simulator) -> None:
    answer = await ask(sim.url, "a%0d%0ax-evil:%201%00%E4%B8%96")

    assert "x-evil" not in answer.headers
    assert answer.headers["x-ms-deployment-name"] == "a  x-evil: 1 ?"


class Broken(Simulator):
    """Has a mistake in it: before the answer, or in the middle of it."""

    def _reply(self, head: Head, exchange: Exchange) -> Reply:
        if head.path == "/before":
            raise ZeroDivisionError("a mistake")

        def steps() -> Iterator[Event]:
            yield Event(b"data: 1\n\n")
            raise ZeroDivisionError("a mistake")

        return stream(steps(), prompt_tokens=0)


async def test_a_mistake_of_its_own_is_no_traceback_for_the_client(caplog: pytest.LogCaptureFixture) -> None:
    async with Broken() as sim:
        answer = await get(sim.url, "/before")
        assert (answer.status, answer.json["error"]["type"]) == (500, "server_error")
        assert b"mistake" not in answer.body
        cut = await get(sim.url, "/in-the-middle")
        assert cut.end in ("cut", "reset")
        assert [exchange.ended for exchange in sim.exchanges] == ["completed", "fault"]
        assert sim.running == 0
    assert caplog.text.count("ZeroDivisionError: a mistake") == 2


async def test_many_clients_at_once(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=0.001)

    answers = await asyncio.gather(*(ask(sim.url, text=f"repeat: this is number {n} of many") for n in range(100)))

    assert [answer.text for answer in answers] == [f"this is number {n} of many" for n in range(100)]
    assert sim.requests == 100
    await sim.idle()


async def test_the_front_page_says_what_it_is(sim: Simulator) -> None:
    assert b"simulator" in (await get(sim.url, "/")).body
