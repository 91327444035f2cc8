"""From the first event to the last: bytes in, bytes out, and the clock that watches both sides.

One timer watches a stream. It is not re-armed for each read: it fires when the earliest limit could have been
reached, looks at when something last happened, and sleeps again for what is left.
"""

import asyncio
from collections.abc import Coroutine

import msgspec

from chukei import sse, usage, wire
from chukei.config import StreamSettings
from chukei.connect import Opened
from chukei.errors import UpstreamError, event_too_large
from chukei.exchange import Exchange
from chukei.model import Dialect, End, Headers
from chukei.plaintext import PlainText
from chukei.ports import Answer, Reply
from chukei.refusals import media_type
from chukei.relay import State, Stream


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
        self._broke_open = False
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
        finally:
            self._timer.cancel()
            self._answer.divert(None)
            self._exchange.record.answer_bytes += self._passed

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
            out += stream.feed(data) if data else stream.finish()
            if not data and (self._broke_open or not stream.ended):
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
        events = stream.alike(framed, begin, end)
        if not (events and self._reply.send_now(framed, begin)):
            return False
        stream.events += events
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
            self._broke_open = self._stream.dialect is Dialect.OPEN  # there only a clean end of the body says it
            return b""

    def _incomplete(self) -> UpstreamError:
        finished = self._stream.state is State.FINISHED
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
    """Pass on an answer that is no stream of events.

    Raises:
        UpstreamError: the upstream broke or fell silent before the end.
    """
    record, answer, body = exchange.record, opened.answer, opened.first
    down = wire.headers_down(answer.headers, limits=not exchange.own_limits)
    record.usage = None
    data = b"" if opened.whole else await _next_part(answer, settings.idle_seconds)
    if data == b"":
        record.usage = usage.of_answer(body) if body[:1] == b"{" else None
        down.append((b"content-length", str(len(body)).encode()))
    record.status = 200
    await reply.start(200, [*down, *headers])
    while data != b"":
        record.answer_bytes += len(body)
        await _in_time(exchange, reply.send(body), settings.write_seconds)
        body = data or b""
        data = await _next_part(answer, settings.idle_seconds)
    record.answer_bytes += len(body)
    await _in_time(exchange, reply.finish(body), settings.write_seconds)
    answer.finish()
    record.end = End.COMPLETED


MAX_EVENT_BYTES = 16 * 1024 * 1024
"""So much of an answer fits into one event."""


async def deliver_as_event(exchange: Exchange, opened: Opened, reply: Reply, settings: StreamSettings) -> None:
    """Pass on an answer that is no stream to a client whose stream has already been opened by a heartbeat.

    JSON becomes one event; text becomes the ``text`` of one, as it is in the JSON form of a transcription.

    Raises:
        UpstreamError: the upstream broke or fell silent, or its answer cannot be an event.
    """
    record, answer = exchange.record, opened.answer
    record.stream, record.usage = True, None
    content_type = media_type(answer.headers)
    is_json = content_type.endswith(b"json")
    if not (is_json or content_type.startswith(b"text/")):
        message = "The upstream answered as a whole after the stream had been opened; leave 'stream' out."
        raise UpstreamError("not_a_stream", message, end=End.UNEXPECTED_ANSWER)
    parts, ended = [opened.first], opened.whole
    while not ended:
        data = await _next_part(answer, settings.idle_seconds)
        ended = data == b""
        parts.append(data or b"")
        if sum(map(len, parts)) > MAX_EVENT_BYTES:
            raise event_too_large()
    body = b"".join(parts)
    if is_json:
        record.usage = usage.of_answer(body)
    else:
        body = msgspec.json.encode({"text": body.decode("utf-8", "replace")})
    event = sse.write(body.strip(b" \t\r\n"))
    record.answer_bytes += len(event)
    await _in_time(exchange, reply.finish(event), settings.write_seconds)
    answer.finish()
    record.end = End.COMPLETED


async def _next_part(answer: Answer, seconds: float) -> bytes | None:
    """Read more of a long answer, for which the time that the whole may take is no measure."""
    try:
        async with asyncio.timeout(seconds):
            return await answer.read()
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
