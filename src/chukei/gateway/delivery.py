"""From the first event to the last: bytes in, bytes out, and the clock that watches both sides.

One timer watches a stream. It is not re-armed for each read: it fires when the earliest limit could have been
reached, looks at when something last happened, and sleeps again for what is left.
"""

import asyncio
import contextlib
from collections.abc import Coroutine

import msgspec

from chukei import azure
from chukei.config import StreamSettings
from chukei.errors import UpstreamError, event_too_large
from chukei.gateway.exchange import Exchange
from chukei.model import End, Headers, header
from chukei.ports import Answer, Reply
from chukei.record import RequestRecord
from chukei.stream import sse
from chukei.stream.plaintext import PlainText
from chukei.stream.stream import Stream
from chukei.stream.whole_answer import Reader, Said
from chukei.upstream.connect import Opened
from chukei.upstream.refusals import media_type

SLICE_BYTES = 64 * 1024
"""How much of an answer is given to the client at once, so that one which takes a little all the time is not cut."""

READ_ON_SECONDS = 1.0
"""How long an upstream that has generated all may take to report usage after the client has left."""


class Delivery:
    """One stream on its way to its client."""

    def __init__(
        self,
        exchange: Exchange,
        opened: Opened,
        stream: Stream,
        reply: Reply,
        settings: StreamSettings,
        *,
        simple: bool,
    ) -> None:
        self._exchange = exchange
        self._answer = opened.answer
        self._stream = stream
        self._reply = reply
        self._settings = settings
        self._plain = PlainText() if simple else None
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._last_read = now
        self._last_sent = now
        self._sending_since: float | None = None
        self._broke = False
        self._timer: asyncio.TimerHandle | None = None
        self._left_over = b""
        self._passed = 0  # bytes that left while the task slept

    async def run(self, first: bytes) -> None:
        """Pass the stream through to its end.

        Raises:
            UpstreamError: the upstream broke; whole events before the break have been sent.
        """
        self._timer = self._loop.call_at(self._due(), self._tick)
        if self._plain is None:
            self._answer.divert(self)
        try:
            await self._pass(first)
        except asyncio.CancelledError:
            if self._exchange.deserted and self._stream.finished and self._stream.usage is None:
                self._end_watch()
                await self._read_on()
            raise
        finally:
            self._end_watch()
            self._exchange.record.answer_bytes += self._passed

    def _end_watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._answer.divert(None)

    async def _read_on(self) -> None:
        """Read without a client until usage is reported. All has been generated, so this costs nothing."""
        self._exchange.resume()
        stream = self._stream
        with contextlib.suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(READ_ON_SECONDS):
                while not (stream.ended or stream.overflowed):
                    data = await self._answer.read()
                    if data == b"":
                        break
                    stream.feed(data or b"")
        if stream.complete:
            self._answer.finish()

    async def _pass(self, out: bytes) -> None:
        stream = self._stream
        if self._plain is not None or not out:
            await self._write(b"")  # the answer's head, for it may be long until there is more
        while not stream.ended:
            if out:
                await self._send(out)
            if stream.overflowed:
                raise event_too_large()
            data = await self._read()
            # What was left over came before what was read now: several reads may arrive before this task runs.
            out, self._left_over = self._left_over, b""
            if self._stream.ended:
                break  # by what was left over; what came behind that does not count
            if data is None:
                if not out:
                    await self._wakened()
                continue
            self._last_read = self._loop.time()
            out += stream.feed(data) if data else stream.finish(proper=not (self._broke or self._answer.until_close))
            if not data and not stream.ended:
                await self._send(out)
                raise self._incomplete()
        await self._finish(out)
        if stream.complete:
            self._answer.finish()
        else:
            self._answer.abort()

    def whole(self, framed: bytes, begin: int) -> bool:
        """See the Taker port: what most of a stream is. The loop above stays asleep, whose waking costs as much."""
        stream = self._stream
        end = len(framed) - 2
        events, made = stream.alike(framed, begin, end)
        if not (events and self._reply.send_now(framed, begin)):
            return False
        stream.events += events
        stream.made += made
        self._passed += end - begin
        self._last_read = self._last_sent = self._loop.time()
        return True

    def some(self, data: bytes) -> bool:
        """See the Taker port. For whatever is more than passing on, ``_left_over`` holds what still has to leave."""
        stream = self._stream
        out = stream.feed(data)
        self._last_read = now = self._loop.time()
        if stream.ended or stream.overflowed:
            self._left_over = out
            return False
        if out:
            if not self._reply.send_now(out, 0):
                self._left_over = out
                return False
            self._passed += len(out)
            self._last_sent = now
        return True

    async def _read(self) -> bytes | None:
        """Read; a break counts as the end, whose completeness is judged by what was said before."""
        try:
            return await self._answer.read()
        except UpstreamError:
            self._broke = True
            return b""

    def _incomplete(self) -> UpstreamError:
        finished = self._stream.finished
        return UpstreamError(
            "stream_incomplete",
            "The upstream broke off before its answer was complete.",
            end=End.TRUNCATED_AFTER_FINISH if finished else End.TRUNCATED,
        )

    async def _send(self, out: bytes) -> None:
        if self._plain is not None:
            out = self._plain.rewrite(out)
        if out:
            await self._write(out)

    async def _write(self, out: bytes, *, last: bool = False) -> None:
        self._exchange.record.answer_bytes += len(out)
        self._sending_since = self._loop.time()
        await (self._reply.finish(out) if last else self._reply.send(out))
        self._sending_since = None
        self._last_sent = self._loop.time()

    async def _finish(self, out: bytes) -> None:
        stream = self._stream
        if self._plain is not None:
            out = self._plain.rewrite(out)
            if stream.failure is not None:
                out += sse.write(b'{"error":' + stream.failure + b"}", "error")
            else:
                out += self._plain.finish(stream.finish_reasons, stream.usage)
        await self._write(out, last=True)

    # The clock.

    def _due(self) -> float:
        """Return when the next limit is reached if nothing happens until then."""
        if self._sending_since is not None:
            return self._sending_since + self._settings.write_seconds
        idle = self._last_read + self._settings.idle_seconds
        soonest = self._loop.time() + self._settings.write_seconds  # if a send began now
        return min(idle, self._last_sent + self._settings.heartbeat_seconds, soonest)

    def _tick(self) -> None:
        now = self._loop.time()
        if now >= self._due():
            if self._sending_since is not None:
                self._exchange.stop(End.CLIENT_STALLED)
                return
            self._answer.wake()
        # A woken reader acts in the same turn of the loop; until then the limit just reached must not fire again.
        self._timer = self._loop.call_at(max(self._due(), now + 0.01), self._tick)

    async def _wakened(self) -> None:
        """Do what a limit calls for: send a heartbeat, or end.

        Raises:
            UpstreamError: the upstream has been silent for too long.
        """
        now = self._loop.time()
        if now - self._last_read >= self._settings.idle_seconds:
            raise _silent(self._settings.idle_seconds)
        if now - self._last_sent >= self._settings.heartbeat_seconds:
            await self._write(sse.HEARTBEAT)


async def deliver_whole(
    exchange: Exchange, opened: Opened, reply: Reply, headers: Headers, settings: StreamSettings
) -> None:
    """Pass on an answer that is no stream of events, as it comes, and put on the record what it says of itself.

    Where it reports no usage, that of the record stays the estimate which it is.

    Raises:
        UpstreamError: the upstream broke or fell silent before the end.
    """
    record, answer, reader = exchange.record, opened.answer, Reader()
    try:
        await _pass_whole(exchange, opened, reply, headers, settings, reader)
    except asyncio.CancelledError:
        if exchange.deserted and reader.reads:  # a JSON answer has been generated before it is sent
            exchange.resume()
            with contextlib.suppress(UpstreamError, TimeoutError):
                async with asyncio.timeout(READ_ON_SECONDS):
                    while data := await answer.read():
                        reader.feed(data)
        raise
    finally:
        said = reader.said()
        _note(record, said)
    record.end = said.end
    answer.finish()


def _note(record: RequestRecord, said: Said) -> None:
    """Put on the record what a whole answer says of itself."""
    record.served_model, record.service_tier = said.model, said.service_tier
    record.usage, record.finish_reasons = said.usage or record.usage, said.finish_reasons


MAX_EVENT_BYTES = 16 * 1024 * 1024
"""So much of an answer fits into one event."""


async def deliver_as_event(exchange: Exchange, opened: Opened, reply: Reply, settings: StreamSettings) -> None:
    """Pass on an answer that is no stream to a client whose stream has already been opened by a heartbeat.

    JSON becomes one event; text becomes the ``text`` of one, as it is in the JSON form of a transcription.

    Raises:
        UpstreamError: the upstream broke or fell silent, or its answer cannot be an event.
    """
    record, answer = exchange.record, opened.answer
    record.stream = True
    content_type = media_type(answer.headers)
    is_json = content_type.endswith(b"json")
    if not (is_json or content_type.startswith(b"text/")):
        message = "The upstream answered as a whole after the stream had been opened; leave 'stream' out."
        raise UpstreamError("not_a_stream", message, end=End.UNEXPECTED_ANSWER)
    parts, size, ended = [opened.first], len(opened.first), opened.whole
    while not ended:
        data = await _next_part(answer, settings.idle_seconds)
        ended = data == b""
        parts.append(data)
        size += len(data)
        if size > MAX_EVENT_BYTES:
            raise event_too_large()
    body = b"".join(parts)
    if is_json:
        _note(record, Said.of(body))
    else:
        body = msgspec.json.encode({"text": body.decode("utf-8", "replace")})
    event = sse.write(body.strip(b" \t\r\n"))
    record.answer_bytes += len(event)
    await _in_time(exchange, reply.finish(event), settings.write_seconds)
    answer.finish()
    record.end = End.COMPLETED


async def _pass_whole(
    exchange: Exchange, opened: Opened, reply: Reply, headers: Headers, settings: StreamSettings, reader: Reader
) -> None:
    answer, ended, data = opened.answer, opened.whole, opened.first
    down = azure.headers_down(answer.headers, limits=not exchange.own_limits)
    length = b"%d" % len(data) if ended else header(answer.headers, b"content-length")
    if length is not None:
        down.append((b"content-length", length))
    exchange.record.status = 200
    await reply.start(200, [*down, *headers])
    reader.feed(data)
    while not ended:
        await _send_whole(exchange, reply, data, settings.write_seconds)
        data = await _next_part(answer, settings.idle_seconds)
        reader.feed(data)
        ended = not data
    await _send_whole(exchange, reply, data, settings.write_seconds, last=True)


async def _send_whole(exchange: Exchange, reply: Reply, data: bytes, seconds: float, *, last: bool = False) -> None:
    """Send a part in slices, each of which the client has to take in time."""
    for begin in range(0, len(data) or 1, SLICE_BYTES):
        part = data[begin : begin + SLICE_BYTES]
        exchange.record.answer_bytes += len(part)
        final = last and begin + SLICE_BYTES >= len(data)
        await _in_time(exchange, reply.finish(part) if final else reply.send(part), seconds)


async def _next_part(answer: Answer, seconds: float) -> bytes:
    """Read more of an answer, for which the time that the whole may take is no measure; nothing at its end."""
    try:
        async with asyncio.timeout(seconds):
            while (data := await answer.read()) is None:
                pass
            return data
    except TimeoutError:
        raise _silent(seconds) from None


async def _in_time(exchange: Exchange, sending: Coroutine[None, None, None], seconds: float) -> None:
    """Give up a client that does not read what is sent."""
    late = asyncio.get_running_loop().call_later(seconds, exchange.stop, End.CLIENT_STALLED)
    try:
        await sending
    finally:
        late.cancel()


def _silent(seconds: float) -> UpstreamError:
    message = f"The upstream fell silent for {seconds:g} seconds."
    return UpstreamError("upstream_timeout", message, end=End.TIMEOUT, status=504)
