"""Delivery of an answer from its first event to its last, and the timer that watches both sides.

One timer watches a stream. It is not re-armed for each read. It fires when the earliest limit could have been
reached, compares the times of the last read and the last send, and sleeps again for the remaining time.
"""

import asyncio
import contextlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Protocol

import msgspec

from chukei import azure, usage
from chukei.config import StreamSettings
from chukei.errors import UpstreamError, event_too_large
from chukei.gateway.exchange import Exchange
from chukei.metrics.definitions import SECONDS
from chukei.model import End, Headers, header
from chukei.ports import Answer, Reply
from chukei.stream import sse
from chukei.stream.plaintext import PlainText
from chukei.stream.stream import Stream
from chukei.stream.whole_answer import AnswerReport, Reader
from chukei.upstream.connect import Opened
from chukei.upstream.refusals import media_type

SLICE_BYTES = 64 * 1024
"""Bytes sent to the client at a time. Each slice has its own time limit, so a slow but steady client is not cut off."""

READ_ON_SECONDS = 1.0
"""How long an upstream that has finished generating may take to report usage after the client has left."""


def patient(settings: StreamSettings) -> StreamSettings:
    """Return the limits for a stream of a background response, which may be silent for as long as a model may think."""
    return replace(settings, idle_seconds=max(settings.idle_seconds, settings.thinking_seconds))


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
        self._first_read = now
        self._last_read = now
        self._last_sent = now
        self._gaps = exchange.record.gaps
        self._sending_since: float | None = None
        self._broke = False
        self._timer: asyncio.TimerHandle | None = None
        self._left_over = b""
        self._passed = 0  # bytes sent by callbacks, without waking the task

    def progress(self) -> tuple[int, float, float | None]:
        """Return the estimated tokens so far, the time of the last read, and since when the client has not read."""
        made = usage.estimate(self._stream.generated_bytes, self._stream.events).output
        return made, self._last_read, self._sending_since

    async def run(self, first: bytes) -> None:
        """Pass the stream through to its end.

        Raises:
            UpstreamError: the upstream broke; whole events before the break have been sent.
        """
        self._timer = self._loop.call_at(self._due(), self._tick)
        self._exchange.progress = self.progress
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
            record = self._exchange.record
            record.answer_bytes += self._passed
            record.gap_seconds = self._last_read - self._first_read
            self._exchange.progress = None  # which refers to the exchange, and would be a cycle

    def _end_watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._answer.divert(None)

    async def _read_on(self) -> None:
        """Read without a client until usage is reported. Generation is complete, so no more tokens are billed."""
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
            await self._write(b"")  # sends the answer's head now: the first event may take long
        while not stream.ended:
            if out:
                await self._send(out)
            if stream.overflowed:
                raise event_too_large()
            data = await self._read()
            # The callbacks' leftover bytes precede this read: several reads may arrive before this task runs.
            out, self._left_over = self._left_over, b""
            if self._stream.ended:
                break  # the leftover bytes ended the stream; anything after its end is ignored
            if data is None:
                if not out:
                    await self._wakened()
                continue
            self._note_read(self._loop.time())
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
        """See the Taker port. Most reads end here; waking the loop above would double their cost."""
        stream = self._stream
        end = len(framed) - 2
        events, made = stream.count_known(framed, begin, end)
        if not (events and self._reply.send_now(framed, begin)):
            return False
        stream.events += events
        stream.generated_bytes += made
        self._passed += end - begin
        now = self._loop.time()
        if self._gaps is not None:
            self._gaps[bisect_left(SECONDS, now - self._last_read)] += 1
        self._last_read = self._last_sent = now
        return True

    def some(self, data: bytes) -> bool:
        """See the Taker port. If the loop has to act, ``_left_over`` holds the bytes that it still has to send."""
        stream = self._stream
        out = stream.feed(data)
        now = self._loop.time()
        self._note_read(now)
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

    def _note_read(self, now: float) -> None:
        """Count the gap since the last read. ``whole`` does it itself, since a call would double the cost."""
        if self._gaps is not None:
            self._gaps[bisect_left(SECONDS, now - self._last_read)] += 1
        self._last_read = now

    async def _read(self) -> bytes | None:
        """Read. A broken connection counts as the end; the events before it decide whether the answer is complete."""
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
        self._last_sent = self._loop.time()
        self._exchange.record.client_wait += self._last_sent - self._sending_since
        self._sending_since = None

    async def _finish(self, out: bytes) -> None:
        stream = self._stream
        if self._plain is not None:
            out = self._plain.rewrite(out)
            if stream.failure is not None:
                out += sse.write(b'{"error":' + stream.failure + b"}", "error")
            else:
                out += self._plain.finish(stream.finish_reasons, stream.usage)
        await self._write(out, last=True)

    # The timer.

    def _due(self) -> float:
        """Return the time of the next limit, provided that nothing is read or sent until then."""
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
        # A woken reader acts in the same turn of the loop; until then this limit must not fire again.
        self._timer = self._loop.call_at(max(self._due(), now + 0.01), self._tick)

    async def _wakened(self) -> None:
        """Act on the limit that was reached: send a heartbeat, or end the stream.

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
    """Pass on a whole answer as it arrives, and record the model, usage and finish reasons that it reports.

    If it reports no usage, the record keeps its estimate.

    Raises:
        UpstreamError: the upstream broke or fell silent before the end.
    """
    record, answer, reader = exchange.record, opened.answer, Reader()
    try:
        await pass_whole(exchange, opened, reply, headers, settings, reader)
    except asyncio.CancelledError:
        if exchange.deserted and reader.reads:  # a JSON answer is sent only when it is completely generated
            exchange.resume()
            with contextlib.suppress(UpstreamError, TimeoutError):
                async with asyncio.timeout(READ_ON_SECONDS):
                    while data := await answer.read():
                        reader.feed(data)
        raise
    finally:
        report = reader.report()
        _record_report(exchange, report)
    record.end = report.end
    answer.finish()


def _record_report(exchange: Exchange, report: AnswerReport) -> None:
    """Record the model, service tier, usage, finish reasons and items that a whole answer reports."""
    record, exchange.items = exchange.record, report.items
    record.served_model, record.service_tier = report.model, report.service_tier
    record.usage, record.finish_reasons = report.usage or record.usage, report.finish_reasons


MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Bytes of a whole answer that may become one event."""


async def deliver_as_event(exchange: Exchange, opened: Opened, reply: Reply, settings: StreamSettings) -> None:
    """Pass on a whole answer to a client whose stream was already opened by a heartbeat.

    JSON becomes one event. Text becomes an event's ``text`` member, as in the JSON form of a transcription.

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
    body = await gather(opened, settings.idle_seconds, MAX_EVENT_BYTES)
    if is_json:
        _record_report(exchange, AnswerReport.of(body))
    else:
        body = msgspec.json.encode({"text": body.decode("utf-8", "replace")})
    event = sse.write(body.strip(b" \t\r\n"))
    record.answer_bytes += len(event)
    await _in_time(exchange, reply.finish(event), settings.write_seconds)
    answer.finish()
    record.end = End.COMPLETED


class Listener(Protocol):
    """Is told each part of a whole answer as it passes."""

    def feed(self, data: bytes) -> None:
        """Take the next part; empty at the end."""
        ...


async def gather(opened: Opened, seconds: float, most: int) -> bytes:
    """Return a whole answer, of which each part must arrive within ``seconds``.

    Raises:
        UpstreamError: the upstream broke or fell silent, or the answer has more than ``most`` bytes.
    """
    parts, size = [], 0
    async for data in parts_of(opened, seconds):
        parts.append(data)
        size += len(data)
        if size > most:
            raise event_too_large()
    return b"".join(parts)


async def parts_of(opened: Opened, seconds: float) -> AsyncIterator[bytes]:
    """Yield a whole answer as it arrives. Each part must arrive within ``seconds``.

    Raises:
        UpstreamError: the upstream broke or fell silent.
    """
    yield opened.first
    ended = opened.whole
    while not ended:
        data = await _next_part(opened.answer, seconds)
        ended = data == b""
        yield data


async def pass_whole(
    exchange: Exchange, opened: Opened, reply: Reply, headers: Headers, settings: StreamSettings, reader: Listener
) -> None:
    """Pass on a whole answer as it arrives.

    Raises:
        UpstreamError: the upstream broke or fell silent before the end.
    """
    answer, ended, data = opened.answer, opened.whole, opened.first
    down = azure.headers_down(answer.headers, limits=not exchange.own_limits)
    length = b"%d" % len(data) if ended else header(answer.headers, b"content-length")
    if length is not None and answer.status != 204:
        down.append((b"content-length", length))
    exchange.record.status = answer.status
    await reply.start(answer.status, [*down, *headers])
    reader.feed(data)
    while not ended:
        await _send_whole(exchange, reply, data, settings.write_seconds)
        data = await _next_part(answer, settings.idle_seconds)
        reader.feed(data)
        ended = not data
    await _send_whole(exchange, reply, data, settings.write_seconds, last=True)


async def _send_whole(exchange: Exchange, reply: Reply, data: bytes, seconds: float, *, last: bool = False) -> None:
    """Send a part in slices. The client must take each slice within ``seconds``."""
    for begin in range(0, len(data) or 1, SLICE_BYTES):
        part = data[begin : begin + SLICE_BYTES]
        exchange.record.answer_bytes += len(part)
        final = last and begin + SLICE_BYTES >= len(data)
        await _in_time(exchange, reply.finish(part) if final else reply.send(part), seconds)


async def _next_part(answer: Answer, seconds: float) -> bytes:
    """Read more of an answer, waiting at most ``seconds`` for it; return no bytes at its end."""
    try:
        async with asyncio.timeout(seconds):
            while (data := await answer.read()) is None:
                pass
            return data
    except TimeoutError:
        raise _silent(seconds) from None


async def _in_time(exchange: Exchange, sending: Coroutine[None, None, None], seconds: float) -> None:
    """Send, and stop the exchange if the client does not read within ``seconds``."""
    late = asyncio.get_running_loop().call_later(seconds, exchange.stop, End.CLIENT_STALLED)
    try:
        await sending
    finally:
        late.cancel()


def _silent(seconds: float) -> UpstreamError:
    message = f"The upstream fell silent for {seconds:g} seconds."
    return UpstreamError("upstream_timeout", message, end=End.TIMEOUT, status=504)
