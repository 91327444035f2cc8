"""From the first event to the last: bytes in, bytes out, and the clock that watches both sides.

One timer watches a stream. It is not re-armed for each read: it fires when the earliest limit could have been
reached, looks at when something last happened, and sleeps again for what is left.
"""

import asyncio

from chukei import sse
from chukei.config import StreamSettings
from chukei.connect import Opened
from chukei.errors import UpstreamError
from chukei.exchange import Exchange
from chukei.model import Dialect, End
from chukei.plaintext import PlainText
from chukei.ports import Reply
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

    async def run(self, first: bytes) -> None:
        """Pass the stream through to its end.

        Raises:
            UpstreamError: the upstream broke; whole events before the break have been sent.
        """
        self._timer = self._loop.call_at(self._due(), self._tick)
        try:
            await self._pass(first)
        finally:
            self._timer.cancel()

    async def _pass(self, out: bytes) -> None:
        stream = self._stream
        while not stream.ended:
            if out:
                await self._send(out)
            if stream.overflowed:
                message = "The upstream sent an event beyond the cap."
                raise UpstreamError("event_too_large", message, end=End.EVENT_TOO_LARGE)
            data = await self._read()
            if data is None:
                out = b""
                await self._wakened()
                continue
            self._last_read = self._loop.time()
            out = stream.feed(data) if data else stream.finish()
            if not data and (self._broke_open or not stream.ended):
                await self._send(out)
                raise self._incomplete()
        await self._finish(out)
        if stream.complete:
            self._answer.finish()
        else:
            self._answer.abort()

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
        return min(idle, self._last_sent + self._settings.heartbeat_seconds)

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
            message = f"The upstream fell silent for {self._settings.idle_seconds:g} seconds."
            raise UpstreamError("upstream_timeout", message, end=End.TIMEOUT, status=504)
        if now - self._last_sent >= self._settings.heartbeat_seconds:
            await self._write(sse.HEARTBEAT)
