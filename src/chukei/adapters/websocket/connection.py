"""An open WebSocket on a transport: the Socket port for both sides.

The library's protocol judges frames, answers pings and closes. But it takes longer for a frame than the two system
calls that receive and send it. So a read is cut into frames here, and the most common ones, whole messages of text or
bytes, are unmasked, checked and passed on directly. All others are given to the library one by one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.frames import Frame as LibraryFrame
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from chukei.adapters.websocket.frames import (
    CONTROL,
    MASKED,
    OPCODE,
    WHOLE,
    WHOLE_TEXT,
    TextCheck,
    apply_mask,
    extent,
    fault_of,
    is_utf8,
    written,
)
from chukei.ports import Frame, SocketLimits

HIGH_WATER = 64 * 1024
"""Bytes of frames that wait for ``receive``, or of unsent frames, above which the other side has to wait."""

FRAME_COST = 128
"""Bytes that a waiting frame counts in addition to its data: the size of its objects in memory."""

MOST_JUDGED = 512
"""Frames of one read that the library judges at once, which takes some milliseconds: a read has ten thousand pings."""

LONGEST_REASON = 123
"""Bytes of a close's reason (RFC 6455 §5.5: a control frame has at most 125, of which the code takes two)."""

PROTOCOL_ERROR, NO_CODE, BROKEN, INVALID_DATA, NO_TLS = 1002, 1005, 1006, 1007, 1015
"""Codes of RFC 6455 §7.4.1."""

_UNSENDABLE = (NO_CODE, BROKEN, NO_TLS)
_frame = tuple.__new__  # a NamedTuple's own constructor takes three times as long


class SocketConnection(asyncio.Protocol):
    """Implements the Socket port. ``lost`` is called when the transport has closed."""

    __slots__ = (
        "_amid",
        "_frames",
        "_heard",
        "_largest",
        "_limits",
        "_loop",
        "_lost",
        "_masked",
        "_over",
        "_paused",
        "_pong",
        "_protocol",
        "_receiver",
        "_rest",
        "_sending_parts",
        "_size",
        "_slow",
        "_taker",
        "_text",
        "_timer",
        "_transport",
        "_unsent",
        "_waiting",
        "_wanted",
        "_writable",
        "code",
        "reason",
        "subprotocol",
    )

    def __init__(self, protocol: Protocol, limits: SocketLimits, lost: Callable[[Exception | None], None]) -> None:
        self.subprotocol: str | None = protocol.subprotocol
        self.code: int | None = None
        self.reason = ""
        self._protocol = protocol
        self._limits = limits
        self._lost = lost
        self._masked = MASKED if protocol.side is Side.SERVER else 0  # the bit in the frames that arrive
        self._largest = min(limits.frame_bytes, limits.message_bytes)
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None  # uvloop's transports do not inherit from asyncio's
        # What arrives.
        self._rest = bytearray()  # of a read: an incomplete frame, or frames behind a pause
        self._wanted = 0  # size that `_rest` needs for a complete frame, as far as known
        self._text = TextCheck()
        self._amid = False  # frames of a message are arriving
        self._frames: deque[Frame] = deque()
        self._size = 0
        self._paused = False
        self._heard = True
        self._over = False  # no further frame is processed
        self._taker: Callable[[Frame], bool] | None = None
        self._receiver: asyncio.Future[None] | None = None
        # What is sent.
        self._sending_parts = False  # the frames of a message
        self._writable = True
        self._unsent = 0
        self._pong: bytes | None = None  # waits until the peer reads
        self._waiting: list[asyncio.Future[None]] = []  # senders, and those who wait for the end
        self._slow: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None  # of the next ping, its pong, or the answer to a close

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin on a transport that has done the handshake."""
        self._transport = transport
        self._transport.set_write_buffer_limits(HIGH_WATER)
        self._timer = self._loop.call_later(self._limits.ping_seconds, self._ping)

    def data_received(self, data: bytes) -> None:
        """Process one read."""
        if self._over:
            return
        self._heard = True
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._wanted or self._paused:
                return
            data = bytes(rest)
            rest.clear()
        elif self._paused:
            rest += data
            return
        at = self._cut(data)
        if at < len(data):
            rest += data[at:]

    def eof_received(self) -> None:
        """Process the end of data. The transport closes by itself."""
        self._protocol.receive_eof()
        self._flush()
        self._end(BROKEN)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait for the peer."""
        self._over = True
        self._end(BROKEN)
        for timer in (self._timer, self._slow):
            if timer is not None:
                timer.cancel()
        self._wake()
        self._taker = None
        lost, self._lost = self._lost, _nothing
        lost(exc)

    def pause_writing(self) -> None:
        """Give a peer that does not read its time."""
        self._writable = False
        if self._slow is None:
            self._await_reader()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._writable = True
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._transport.write(pong)
        self._wake()

    # Frames that arrive.

    def _cut(self, data: bytes) -> int:
        """Process the frames of a read; return the offset of what is left over."""
        at, size, masked, judged = 0, len(data), self._masked, 0
        while at + 2 <= size and not (self._paused or self._over):
            head, second = data[at], data[at + 1]
            begin, end = extent(data, at)
            common = head in WHOLE and second & MASKED == masked and end - begin <= self._largest and not self._amid
            if not common and self._refuses(data[at:begin], end - begin):
                break
            if end > size or end == at:
                self._wanted = end - at
                return at
            if not common:
                self._judge(data[at:end])
                judged += 1
                if judged == MOST_JUDGED:
                    self._let_read(False)
                    self._loop.call_soon(self._go_on)
            elif masked:
                self._take(head, apply_mask(data[begin:end], data[begin - 4 : begin]))
            else:
                self._take(head, data[begin:end])
            at = end
        self._wanted = 0
        return size if self._over else at

    def _refuses(self, head: bytes, length: int) -> bool:
        """Refuse a frame by its head. The library would first wait for its end, except for the size."""
        fault = fault_of(head[0], head[1], length, self._masked) if head else ""
        if fault:
            self._fail(PROTOCOL_ERROR, fault)
        elif length > self._largest:
            self._protocol.receive_data(head)
            self._settle()
        return self._over

    def _take(self, head: int, payload: bytes) -> None:
        """Pass on a message in one frame."""
        if head == WHOLE_TEXT and not is_utf8(payload):
            self._fail(INVALID_DATA, "invalid UTF-8")
        else:
            self._pass_on(_frame(Frame, (head & OPCODE, payload, True)))

    def _judge(self, data: bytes) -> None:
        """Give one frame to the library, and process what it makes of it."""
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            assert isinstance(event, LibraryFrame)
            if event.opcode is Opcode.PING and not self._writable:  # the latest of several pongs suffices (§5.5.3)
                self._pong = b"".join(protocol.data_to_send())
            elif event.opcode < CONTROL:
                frame = Frame(int(event.opcode), bytes(event.data), event.fin)
                self._amid = not frame.final
                if not self._text.accepts(frame):
                    self._fail(INVALID_DATA, "invalid UTF-8")
                    return
                self._pass_on(frame)
        self._settle()

    def _pass_on(self, frame: Frame) -> None:
        """Give a frame to the taker, or keep it for the receiver."""
        if self.code is not None:
            return
        receiver = self._receiver
        if receiver is not None and not self._frames and self._taker is not None and self._taker(frame):
            return
        self._frames.append(frame)
        self._size += len(frame.data) + FRAME_COST
        if receiver is not None and not receiver.done():
            receiver.set_result(None)
        if self._size > HIGH_WATER:
            self._let_read(False)

    def _let_read(self, reading: bool) -> None:
        """Pause or resume reading. Frames that were read already come first."""
        self._paused = not reading
        self._heard = True  # what was sent meanwhile may still be on its way
        if reading and self._rest:
            data = bytes(self._rest)
            self._rest.clear()
            self._rest += data[self._cut(data) :]
        if not self._transport.is_closing():
            self._transport.pause_reading() if self._paused else self._transport.resume_reading()

    def _go_on(self) -> None:
        """Read on after others had their turn, unless frames wait for the receiver, which will then do so."""
        if self._paused and not self._frames:
            self._let_read(True)

    def divert(self, taker: Callable[[Frame], bool] | None) -> None:
        """See the Socket port."""
        self._taker = taker

    async def receive(self) -> Frame | None:
        """See the Socket port."""
        while not self._frames:
            if self.code is not None:
                return None
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        frame = self._frames.popleft()
        self._size -= len(frame.data) + FRAME_COST
        if self._paused and not self._frames:
            self._let_read(True)
        return frame

    # Frames that are sent.

    async def send(self, frame: Frame) -> None:
        """See the Socket port."""
        while not (self._writable or self.code is not None):
            await self._wait()
        self.send_now(frame)

    def send_now(self, frame: Frame) -> bool:
        """See the Socket port."""
        if self.code is not None:
            return True
        if not self._writable:
            return False
        opcode, data, final = frame
        if not final or not opcode or self._sending_parts:
            self._send_part(frame)
            return True
        self._transport.write(written(opcode, data, self._masked ^ MASKED))
        return True

    def _send_part(self, frame: Frame) -> None:
        """Send a frame of a message that has several."""
        protocol = self._protocol
        if frame.opcode == Opcode.CONT:
            protocol.send_continuation(frame.data, frame.final)
        elif frame.opcode == Opcode.TEXT:
            protocol.send_text(frame.data, frame.final)
        else:
            protocol.send_binary(frame.data, frame.final)
        self._sending_parts = not frame.final
        self._flush()

    def _flush(self) -> None:
        """Write what the library wants to be sent; an empty part ends the data."""
        for part in self._protocol.data_to_send():
            if part:
                self._transport.write(part)
            elif self._transport.can_write_eof():
                self._transport.write_eof()

    async def _wait(self) -> None:
        """Wait until the peer reads again, or the socket has closed."""
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiter)

    def _wake(self) -> None:
        for waiter in (*self._waiting, self._receiver):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    # Signs of life.

    def _ping(self) -> None:
        """Ask the peer for a sign of life. One that does not read has a limit of its own."""
        limits = self._limits
        if self._writable:
            self._heard = False
            self._protocol.send_ping(b"")
            self._flush()
            self._timer = self._loop.call_later(limits.pong_seconds, self._check_pong)
        else:
            self._timer = self._loop.call_later(limits.ping_seconds, self._ping)

    def _check_pong(self) -> None:
        """Break a connection on which nothing has arrived, unless this side does not read."""
        if not (self._heard or self._paused):
            self.abort()
        else:
            seconds = max(self._limits.ping_seconds - self._limits.pong_seconds, 0)
            self._timer = self._loop.call_later(seconds, self._ping)

    def _await_reader(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self._slow = self._loop.call_later(self._limits.write_seconds, self._check_reader)

    def _check_reader(self) -> None:
        """Break a connection whose peer has read nothing of what waits for it."""
        if self._transport.get_write_buffer_size() < self._unsent:
            self._await_reader()
        else:
            self.abort()

    # The end.

    async def close(self, code: int, reason: str = "") -> None:
        """See the Socket port."""
        if self.code is None:
            reason = "" if code in _UNSENDABLE else reason.encode()[:LONGEST_REASON].decode(errors="ignore")
            self._protocol.send_close(None if code in _UNSENDABLE else code, reason)
            self._flush()
            self._end(code, reason)
        while not (self._over or self._transport.is_closing()):
            await self._wait()

    def abort(self) -> None:
        """See the Socket port."""
        self._over = True
        self._end(BROKEN)
        self._transport.abort()

    def _fail(self, code: int, reason: str) -> None:
        """End a socket whose peer broke the rules."""
        self._protocol.fail(code, reason)
        self._flush()
        self._over = True
        self._end(code, reason)

    def _settle(self) -> None:
        """Write what the library wants to be sent. If it processes no more frames, the socket is over."""
        self._flush()
        protocol = self._protocol
        close = protocol.close_rcvd or protocol.close_sent
        if protocol.close_rcvd is not None or protocol.parser_exc is not None:
            self._over = True
            self._end(*((close.code, close.reason) if close is not None else (BROKEN, "")))
            self._wake()

    def _end(self, code: int, reason: str = "") -> None:
        """Record the end, once, and give the peer its time to close the connection."""
        if self.code is not None:
            return
        self.code, self.reason = int(code), reason
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._limits.close_seconds, self._transport.abort)
        if self._paused:
            self._let_read(True)
        self._wake()

    def __repr__(self) -> str:
        state = "open" if self.code is None else f"closed with {self.code}"
        return f"<SocketConnection {state}, {len(self._frames)} frames wait>"


def _nothing(_: Exception | None) -> None:
    return None
