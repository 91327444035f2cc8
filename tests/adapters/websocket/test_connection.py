"""An open socket: against the library's own client, against raw bytes, and on a scripted transport."""

import asyncio
from contextlib import suppress
from functools import partial

import pytest
from tests.adapters.websocket.sides import (
    CLOSE,
    HANDSHAKE,
    LIMITS,
    PING,
    PONG,
    Piped,
    Raw,
    RawPeer,
    accepting,
    close_frame,
    echo,
    wire,
)
from tests.live.relays import eventually
from tests.rows import rows
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from chukei.adapters.websocket.connection import HIGH_WATER, MOST_JUDGED
from chukei.ports import Frame, Socket

pytestmark = pytest.mark.anyio

TEXT, BINARY, PART = 1, 2, 0
SNOWMAN = "☃".encode()


class Kept:
    """Handles a socket by keeping what arrives, and how it ended."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.socket: Socket | None = None
        self.ended = asyncio.Event()

    async def __call__(self, socket: Socket) -> None:
        self.socket = socket
        while (frame := await socket.receive()) is not None:
            self.frames.append(frame)
        self.ended.set()

    async def end(self) -> tuple[int | None, str]:
        async with asyncio.timeout(60):
            await self.ended.wait()
        assert self.socket is not None
        return self.socket.code, self.socket.reason


# Messages.


@rows("message", ["", "a", "ü" * 100, "x" * 70_000, b"", b"\xff" * 125, b"\xff" * 126, b"\x00" * 66_000])
async def test_messages_of_every_size_come_back_from_the_librarys_client(message: str | bytes) -> None:
    async with accepting(echo) as url, connect(url) as client:
        assert client.protocol.extensions == [], "frames are not compressed"
        for _ in range(3):
            await client.send(message)
            assert await client.recv() == message
    assert (client.close_code, client.close_reason) == (1000, "")


async def test_the_frames_of_a_message_are_not_joined() -> None:
    kept = Kept()

    async def handle(socket: Socket) -> None:
        while (frame := await socket.receive()) is not None:
            kept.frames.append(frame)
            await socket.send(frame)

    async with accepting(handle) as url, RawPeer(url) as peer:
        await peer.open()
        peer.writer.write(
            wire(TEXT, b"one ") + wire(0x80 | PING, b"?") + wire(PART, b"two ") + wire(0x80 | PART, b"three")
        )
        got = [await peer.frame() for _ in range(4)]
        assert sorted(got) == sorted([Raw(TEXT, b"one "), Raw(0x80 | PONG, b"?"), Raw(0, b"two "), Raw(0x80, b"three")])
        peer.writer.write(wire(0x80 | BINARY, b"x"))
        assert await peer.frame() == Raw(0x80 | BINARY, b"x")
    assert kept.frames == [
        Frame(TEXT, b"one ", False), Frame(PART, b"two ", False), Frame(PART, b"three"), Frame(BINARY, b"x"),
    ]  # fmt: skip


async def test_frames_are_the_same_however_reads_are_split() -> None:
    script = [
        (wire(0x80 | TEXT, b"hello"), Frame(TEXT, b"hello")),
        (wire(TEXT, SNOWMAN[:1]), Frame(TEXT, SNOWMAN[:1], False)),
        (wire(0x80 | PING, b"now"), None),
        (wire(0x80, SNOWMAN[1:]), Frame(PART, SNOWMAN[1:])),
        (wire(0x80 | BINARY, bytes(range(200))), Frame(BINARY, bytes(range(200)))),
        (wire(0x80 | TEXT, b"x" * 70), Frame(TEXT, b"x" * 70)),
    ]
    data = b"".join(frame for frame, _ in script)
    splits = [[data[:at], data[at:]] for at in range(len(data))] + [[data[at : at + 1] for at in range(len(data))]]
    for parts in splits:
        one = Piped()
        for part in parts:
            one.socket.data_received(part)
        got = [await one.socket.receive() for _ in range(5)]
        assert got == [frame for _, frame in script if frame is not None]
        assert one.pipe.written == wire(0x80 | PONG, b"now", masked=False)
        one.lose()


async def test_a_large_frame_that_arrives_in_tiny_parts_is_not_looked_at_again_for_each() -> None:
    data = wire(0x80 | BINARY, b"x" * 90_000)
    one = Piped()
    cuts = 0
    for at in range(len(data)):
        before = one.socket._wanted
        one.socket.data_received(data[at : at + 1])
        cuts += one.socket._wanted != before
    assert cuts <= 3
    assert await one.socket.receive() == Frame(BINARY, b"x" * 90_000)
    one.lose()


async def test_others_have_their_turn_amid_thousands_of_pings() -> None:
    one, pong, turns = Piped(), len(wire(0x80 | PONG, masked=False)), 0
    one.socket.data_received(wire(0x80 | PING) * 10_000 + wire(0x80 | TEXT, b"last"))
    while len(one.pipe.written) < 10_000 * pong:
        assert len(one.pipe.written) <= (turns + 1) * MOST_JUDGED * pong
        assert not one.pipe.reading()
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 10_000 // MOST_JUDGED
    assert await one.socket.receive() == Frame(TEXT, b"last")
    assert one.pipe.reading()
    one.lose()


async def test_a_socket_is_lost_amid_thousands_of_pings() -> None:
    one = Piped()
    one.socket.data_received(wire(0x80 | PING) * 10_000)
    one.lose()
    await asyncio.sleep(0)
    assert len(one.pipe.written) == MOST_JUDGED * len(wire(0x80 | PONG, masked=False))


# What a peer may not send.

MALFORMED = {
    "a reserved bit": (wire(0xC1, b"a"), 1002),
    "a reserved bit, before the payload": (wire(0xC1, b"a" * 1000)[:8], 1002),
    "no mask": (wire(0x81, b"a", masked=False), 1002),
    "an unknown opcode": (wire(0x83, b"a"), 1002),
    "an unknown control opcode": (wire(0x8B, b"a"), 1002),
    "a long ping": (wire(0x80 | PING, b"a" * 126), 1002),
    "a ping in parts": (wire(PING, b"a"), 1002),
    "a part of nothing": (wire(PART, b"a"), 1002),
    "a message amid another": (wire(TEXT, b"a") + wire(0x81, b"b"), 1002),
    "text that is not UTF-8": (wire(0x81, b"\xff"), 1007),
    "text that ends in mid-character": (wire(0x81, SNOWMAN[:2]), 1007),
    "text in parts that is not UTF-8": (wire(TEXT, SNOWMAN[:2]) + wire(PART, b"a"), 1007),
    "text in parts that ends in mid-character": (wire(TEXT, b"a") + wire(0x80, SNOWMAN[:2]), 1007),
    "a surrogate": (wire(0x81, b"\xed\xa0\x80"), 1007),
    "a large frame": (wire(0x82, b"a" * 100_001)[:14], 1009),
    "a huge frame": (b"\x82\xff\x7f" + b"\xff" * 7, 1009),
    "a large message": (wire(BINARY, b"a" * 99_000) + wire(0x80, b"a" * 60_000), 1009),
    "a close that is too short": (wire(0x80 | CLOSE, b"a"), 1002),
    "a close with a code that may not be sent": (close_frame(1006), 1002),
    "a close with a reason that is not UTF-8": (close_frame(1000, b"\xff"), 1007),
}


@rows("case", list(MALFORMED))
async def test_a_peer_that_breaks_the_rules_is_told_which(case: str) -> None:
    data, code = MALFORMED[case]
    kept = Kept()
    async with accepting(kept) as url, RawPeer(url) as peer:
        await peer.open()
        peer.writer.write(wire(0x81, b"fine") + data)
        first, told = await peer.frame()
        assert (first, int.from_bytes(told[:2])) == (0x80 | CLOSE, code)
        peer.writer.write(wire(0x81, b"too late"))
        assert (await kept.end())[0] == code
        await peer.eof()
    assert Frame(TEXT, b"too late") not in kept.frames
    assert kept.frames[0] == Frame(TEXT, b"fine")


async def test_a_client_refuses_masked_frames() -> None:
    one = Piped(client=True)
    one.socket.data_received(wire(0x81, b"a"))
    assert one.socket.code == 1002
    assert await one.socket.receive() is None
    one.lose()


async def test_characters_may_be_split_between_frames() -> None:
    kept = Kept()
    async with accepting(kept) as url, connect(url) as client:
        await client.send([SNOWMAN[:1], SNOWMAN[1:2], SNOWMAN[2:]], text=True)
    assert [frame.data for frame in kept.frames if frame.data] == [SNOWMAN[:1], SNOWMAN[1:2], SNOWMAN[2:]]


# Ends.


@rows(("code", "reason"), [(1000, "bye"), (1001, ""), (1011, "ü" * 60), (3000, "x"), (4999, "mine")])
async def test_a_peers_code_and_reason_are_told(code: int, reason: str) -> None:
    kept = Kept()
    async with accepting(kept) as url:
        client = await connect(url)
        await client.close(code, reason)
        assert await kept.end() == (code, reason)
        assert (client.close_code, client.close_reason) == (code, reason)


async def test_a_close_without_a_code_is_1005_and_answered_without_one() -> None:
    kept = Kept()
    async with accepting(kept) as url, RawPeer(url) as peer:
        await peer.open()
        peer.writer.write(wire(0x80 | CLOSE))
        assert await peer.frame() == Raw(0x80 | CLOSE, b"")
        assert await kept.end() == (1005, "")
        await peer.eof()


@rows(("code", "seen"), [(1000, 1000), (1013, 1013), (4000, 4000), (1005, 1005), (1006, 1005), (1015, 1005)])
async def test_the_sides_own_code_is_sent_if_it_may_be(code: int, seen: int) -> None:
    codes: list[int | None] = []

    async def handle(socket: Socket) -> None:
        await socket.close(code, "because")
        await socket.close(1011, "again")
        await socket.send(Frame(TEXT, b"behind the close"))
        codes.append(socket.code)

    async with accepting(handle) as url, connect(url) as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (seen, "because" if seen == code != 1005 else "")
    assert codes == [code]


async def test_a_long_reason_is_cut_between_characters() -> None:
    async def handle(socket: Socket) -> None:
        await socket.close(1011, "ü" * 100)

    async with accepting(handle) as url, connect(url) as client:
        await client.wait_closed()
        assert client.close_reason == "ü" * 61


async def test_frames_that_arrived_before_a_close_are_received() -> None:
    one = Piped()
    one.socket.data_received(wire(0x81, b"a") + wire(0x82, b"b") + close_frame(1000) + wire(0x81, b"c"))
    got = [await one.socket.receive() for _ in range(3)]
    assert got == [Frame(TEXT, b"a"), Frame(BINARY, b"b"), None]
    assert one.pipe.ended, "a server ends the connection first"
    one.lose()
    assert one.losses == 1


async def test_a_close_amid_a_message_keeps_the_peers_code() -> None:
    one = Piped()
    one.socket.data_received(wire(TEXT, b"a") + close_frame(1001))
    assert one.socket.code == 1001
    one.lose()


async def test_a_broken_connection_is_1006() -> None:
    kept = Kept()
    async with accepting(kept) as url, RawPeer(url) as peer:
        await peer.open()
        peer.writer.transport.abort()
        assert await kept.end() == (1006, "")
    kept = Kept()
    async with accepting(kept) as url, RawPeer(url) as peer:
        await peer.open(wire(0x81, b"half a frame")[:9])
        peer.writer.write_eof()
        assert await kept.end() == (1006, "")
    assert kept.frames == []


async def test_an_aborted_socket_ends_at_once() -> None:
    codes: list[int | None] = []

    async def handle(socket: Socket) -> None:
        waiting = asyncio.create_task(socket.receive())
        await asyncio.sleep(0)
        socket.abort()
        assert await waiting is None
        assert socket.send_now(Frame(TEXT, b"")), "dropped"
        codes.append(socket.code)

    async with accepting(handle) as url, RawPeer(url) as peer:
        await peer.open()
        with suppress(ConnectionError):
            await peer.eof()
    assert codes == [1006]


async def test_a_peer_that_does_not_answer_a_close_is_not_awaited_for_long() -> None:
    closed = asyncio.Event()

    async def handle(socket: Socket) -> None:
        await socket.close(1001, "going away")
        closed.set()

    async with accepting(handle, LIMITS._replace(close_seconds=0.05)) as url, RawPeer(url) as peer:
        await peer.open()
        assert await peer.frame() == Raw(0x80 | CLOSE, (1001).to_bytes(2) + b"going away")
        await closed.wait()


async def test_a_close_ends_a_pause() -> None:
    """The peer's answer may be behind more frames than are kept."""
    one = Piped()
    one.socket.data_received(wire(0x82, b"x" * 90_000) + wire(0x82, b"y"))
    assert not one.pipe.reading()
    closing = asyncio.create_task(one.socket.close(1000))
    await asyncio.sleep(0)
    assert one.pipe.reading()
    one.socket.data_received(close_frame(1000))
    await closing
    got = [await one.socket.receive() for _ in range(2)]
    assert got == [Frame(BINARY, b"x" * 90_000), None]
    one.lose()


# Time.


async def test_a_peer_that_gives_no_sign_of_life_is_broken_off() -> None:
    kept = Kept()
    async with accepting(kept, LIMITS._replace(ping_seconds=0.02, pong_seconds=0.02)) as url, RawPeer(url) as peer:
        await peer.open()
        assert await kept.end() == (1006, "")


async def test_a_peer_that_answers_pings_stays() -> None:
    kept = Kept()
    async with accepting(kept, LIMITS._replace(ping_seconds=0.02, pong_seconds=0.5)) as url, RawPeer(url) as peer:
        await peer.open()
        for _ in range(3):
            assert await peer.frame() == Raw(0x80 | PING, b"")
            peer.writer.write(wire(0x80 | PONG))
        assert kept.socket is not None
        assert kept.socket.code is None


async def test_a_side_that_does_not_read_expects_no_pong() -> None:
    one = Piped(LIMITS._replace(ping_seconds=0.01, pong_seconds=0.01))
    one.socket.data_received(wire(0x82, b"x" * 90_000))
    await eventually(lambda: one.pipe.written.count(wire(0x80 | PING, masked=False)) > 3)
    assert one.socket.code is None
    one.lose()


async def test_a_peer_that_never_reads_is_broken_off() -> None:
    ends: list[int | None] = []

    async def handle(socket: Socket) -> None:
        while socket.code is None:
            await socket.send(Frame(BINARY, b"x" * 60_000))
        ends.append(socket.code)

    async with accepting(handle, LIMITS._replace(write_seconds=0.1)) as url, RawPeer(url) as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.writer.write(HANDSHAKE)
        await eventually(lambda: bool(ends))
    assert ends == [1006]


async def test_a_peer_that_reads_slowly_stays() -> None:
    one = Piped(LIMITS._replace(write_seconds=0.02))
    one.pipe.unsent = 100
    one.socket.pause_writing()

    def replaced(timer: object) -> bool:
        return one.socket._slow is not timer

    for left in range(99, 94, -1):
        timer = one.socket._slow
        one.pipe.unsent = left
        await eventually(partial(replaced, timer))
    assert one.socket.code is None
    await eventually(lambda: one.socket.code == 1006)
    one.lose()


# Pressure.


async def test_frames_that_nobody_receives_stop_the_reading() -> None:
    one = Piped()
    frames = [b"%d" % number * 500 for number in range(400)]
    one.socket.data_received(b"".join(wire(0x82, frame) for frame in frames[:200]))
    assert not one.pipe.reading()
    assert one.socket._size < HIGH_WATER + 3000, "the rest is kept as it came"
    for frame in frames[200:]:
        one.socket.data_received(wire(0x82, frame))  # what was under way
    got = [await one.socket.receive() for _ in frames]
    assert [frame.data for frame in got if frame is not None] == frames
    assert one.pipe.reading()
    one.lose()


async def test_a_taker_gets_frames_while_receive_waits() -> None:
    one = Piped()
    taken: list[bytes] = []

    def take(frame: Frame) -> bool:
        taken.append(frame.data)
        return frame.data != b"no"

    one.socket.data_received(wire(0x81, b"early"))
    one.socket.divert(take)
    assert await one.socket.receive() == Frame(TEXT, b"early")
    one.socket.data_received(wire(0x81, b"nobody waits"))
    assert await one.socket.receive() == Frame(TEXT, b"nobody waits")
    waiting = asyncio.create_task(one.socket.receive())
    await asyncio.sleep(0)
    one.socket.data_received(wire(0x81, b"a") + wire(0x81, b"b") + wire(0x81, b"no") + wire(0x81, b"behind"))
    assert await waiting == Frame(TEXT, b"no")
    assert taken == [b"a", b"b", b"no"]
    assert await one.socket.receive() == Frame(TEXT, b"behind")
    one.socket.divert(None)
    waiting = asyncio.create_task(one.socket.receive())
    await asyncio.sleep(0)
    one.socket.data_received(wire(0x81, b"last"))
    assert await waiting == Frame(TEXT, b"last")
    one.lose()


async def test_senders_wait_for_a_slow_peer_and_go_on_in_order() -> None:
    one = Piped()
    one.socket.pause_writing()
    assert not one.socket.send_now(Frame(TEXT, b"a"))
    sending = [asyncio.create_task(one.socket.send(Frame(TEXT, data))) for data in (b"a", b"b", b"c")]
    await asyncio.sleep(0)
    sending[1].cancel()
    await asyncio.sleep(0)
    assert one.pipe.written == b""
    one.socket.resume_writing()
    await asyncio.wait(sending)
    assert one.pipe.written == wire(0x81, b"a", masked=False) + wire(0x81, b"c", masked=False)
    one.lose()


async def test_senders_do_not_wait_for_a_peer_that_is_gone() -> None:
    one = Piped()
    one.socket.pause_writing()
    sending = asyncio.create_task(one.socket.send(Frame(TEXT, b"a")))
    await asyncio.sleep(0)
    one.lose()
    await sending
    assert one.pipe.written == b""


async def test_of_many_pings_of_a_peer_that_does_not_read_the_last_is_answered() -> None:
    one = Piped()
    one.socket.pause_writing()
    for number in range(1000):
        one.socket.data_received(wire(0x80 | PING, b"%d" % number))
    assert one.pipe.written == b""
    one.socket.resume_writing()
    assert one.pipe.written == wire(0x80 | PONG, b"999", masked=False)
    one.lose()


async def test_each_frame_of_a_client_has_another_mask() -> None:
    one = Piped(client=True)
    for _ in range(20):
        assert one.socket.send_now(Frame(BINARY, b"\x00" * 4))
    sent = [one.pipe.written[at : at + 10] for at in range(0, 200, 10)]
    assert {frame[:2] for frame in sent} == {b"\x82\x84"}
    assert all(frame[2:6] == frame[6:] for frame in sent), "zeros masked are the mask"
    assert len({frame[2:6] for frame in sent}) > 1
    one.lose()


async def test_it_says_what_it_is() -> None:
    one = Piped()
    assert repr(one.socket) == "<SocketConnection open, 0 frames wait>"
    one.lose()
    assert repr(one.socket) == "<SocketConnection closed with 1006, 0 frames wait>"
