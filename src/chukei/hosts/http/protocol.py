"""The relay's HTTP/1.1 server protocol: bounded heads, time limits, errors that OpenAI's clients can read.

uvicorn provides the process: signals, startup and shutdown. Its own protocols are not used. They accept megabytes of
headers, wait for the rest of them without a limit, answer malformed requests in plain text, and take half as much time
for a request as the whole relay.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from chukei.errors import CallerError
from chukei.hosts.asgi import Application, is_loopback
from chukei.hosts.http.cycle import Cycle, Successor, refusal
from chukei.hosts.http.deadline import Deadline
from chukei.hosts.http.parsing import Head, RequestParser, end_of_heads
from chukei.hosts.http.sending import send_at_once, write_all
from chukei.hosts.http.states import TRANSITIONS, Event, State
from chukei.request.head import request_id as request_id_of

logger = logging.getLogger(__name__)

PIPELINED = 16
"""Number of pipelined requests that are parsed ahead. The rest of a read is kept as bytes."""

LINGER_SECONDS = 2.0
"""Seconds for which the rest of a request is read after an early answer. Closing at once would send a reset, which can
destroy the answer in transit (RFC 9112 §9.6)."""


class StrictProtocol(asyncio.Protocol):
    """One client connection, as uvicorn's ``http`` setting makes them; a Client to its cycles. See ``states``."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: object,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        application = config.loaded_app
        assert isinstance(application, Application)
        self.state = State.NEW
        self._application = application
        self._settings = application.settings.server
        self._server = server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = RequestParser(self, self._settings.max_header_bytes)
        self.transport: Any = None  # uvloop's transports do not inherit from asyncio's
        self.local = False
        self.source = ""
        self.writable = True
        self._drained: asyncio.Future[None] | None = None
        self._reading = True
        self._cycle: Cycle | None = None  # whose answer is due, or was the last one
        self._arriving: Cycle | None = None  # whose body is arriving
        self._pipeline: deque[Cycle] = deque()
        self._handshake: Cycle | None = None  # a request for a WebSocket that has no answer yet
        self._held = b""  # bytes after the parsed requests
        self._date_fields: list[tuple[bytes, bytes]] | None = None  # those of `_date`
        self._date = b""
        self._unread = 0  # bytes that waited for the client when its time began
        self._deadline = Deadline(self._loop, self._overdue)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the first request's head its time."""
        self._server.connections.add(self)  # type: ignore[arg-type]
        self._application.connections += 1
        self.transport = transport
        self.write, self.write_all = self.transport.write, write_all(self.transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.source = str(peer[0])
            self.local = is_loopback(self.source)
        send_at_once(transport.get_extra_info("socket"))
        self._deadline.set(self._settings.header_seconds)

    def data_received(self, data: bytes) -> None:
        """Process one read. An incomplete head gets a time limit."""
        if self.state is State.LINGERING:
            return
        parser = self._parser
        begins = not parser.amid_head
        self._feed(data)
        # The first head's time began with the connection, that of one behind an answer begins with the answer's end.
        if begins and self.state is State.IDLE and parser.amid_head:
            self._deadline.set(self._settings.header_seconds)

    def _feed(self, data: bytes) -> None:
        """Parse a read, up to the limit of pipelined requests."""
        if self._held:
            self._held += data
            return
        while data and self.state is not State.LINGERING:
            if len(self._pipeline) >= PIPELINED or self._handshake is not None:
                self.hold(data)
                return
            end = end_of_heads(data, PIPELINED)
            self._parser.feed(data[:end] if end < len(data) else data)
            data = data[end:]

    def eof_received(self) -> None:
        """Treat a half-close as a disconnect, and abort: ``close`` would wait for a client that may not read."""
        if self._busy:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait for the client."""
        self._server.connections.discard(self)
        self._application.connections -= 1
        self._deadline.close()
        self.state = TRANSITIONS[self.state, Event.LOST]
        self._held = b""
        self.resume_writing()
        cycle, self._cycle, self._arriving = self._cycle, None, None  # which refers to this object as well
        if cycle is not None and not cycle.complete:
            cycle.leave()
        self._pipeline.clear()
        self._parser.close()

    def pause_writing(self) -> None:
        """Record that the client reads more slowly than the relay writes."""
        self.writable = False

    def resume_writing(self) -> None:
        """Record that the client has caught up."""
        self.writable = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # What the parser tells.

    def begin(self, head: Head) -> None:
        """See Receiver. The next request in line waits for the end of this one."""
        cycle = self._arriving = Cycle(self, head, keep_alive=head.keep_alive and not self._application.leaving)
        if head.upgrades:
            self._handshake = cycle
        if self.state is State.ANSWERING or self._pipeline:
            self._pipeline.append(cycle)
            self.let_read(False)
        else:
            self._start(cycle)

    def take(self, data: bytes) -> None:
        """See Receiver. An answered request's rest is dropped."""
        if self._arriving is not None and not self._arriving.complete:
            self._arriving.add_body(data)

    def end(self) -> None:
        """See Receiver."""
        arriving, self._arriving = self._arriving, None
        if arriving is None:
            return
        arriving.end_body()
        if arriving.complete:
            self._deadline.set(self._settings.keepalive_seconds)

    def hold(self, data: bytes) -> None:
        """See Receiver. Reading is paused, since more than that is not expected before the answer."""
        self._held += data
        self.let_read(True)

    def refuse(self, error: CallerError) -> None:
        """See Receiver. Where an earlier request's answer is still due, this one would be taken for it: cut.

        So would one to the rest of a request that has had its answer, by the client's next: close without a word.
        """
        request_id = request_id_of([])
        self._application.refused(error, request_id)
        cycle = self._cycle
        if cycle is not None and not cycle.complete:
            if cycle.started or cycle.received:
                self.transport.abort()
                return
            cycle.leave()
        if self._arriving is None or not self._arriving.complete:
            self.write(refusal(error, request_id))
        self._linger()

    def _linger(self) -> None:
        """Close after the written data has had time to arrive. Data that arrives until then is dropped."""
        self.state = TRANSITIONS[self.state, Event.REFUSED]
        self._held = b""
        self.let_read(True)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline.set(LINGER_SECONDS)

    # What a cycle calls.

    @property
    def _busy(self) -> bool:
        return self._cycle is not None and not self._cycle.complete

    def _start(self, cycle: Cycle) -> None:
        self.state = TRANSITIONS[self.state, Event.REQUEST]
        self._cycle = cycle
        self._deadline.lift()
        task = self._loop.create_task(self._serve(cycle))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _serve(self, cycle: Cycle) -> None:
        try:
            await self._application.serve(cycle, cycle)
        except Exception:
            logger.exception("an answer failed on its way to the client")
        finally:
            cycle.end()

    @property
    def date(self) -> bytes:
        """The header fields of every answer, as lines."""
        fields = self._server.default_headers  # uvicorn makes a new list each second
        if fields is not self._date_fields:
            self._date_fields = fields
            self._date = b"".join([name + b": " + value + b"\r\n" for name, value in fields])
        return self._date

    async def drained(self) -> None:
        """See Client. What may take less time is limited elsewhere; this is for errors and pages."""
        if self.writable:
            return
        late = self._loop.call_later(2 * self._application.settings.stream.write_seconds, self.transport.abort)
        try:
            while not self.writable:
                self._drained = self._loop.create_future()
                await self._drained
        finally:
            late.cancel()

    def let_read(self, reading: bool) -> None:
        """See Client. While pipelined requests are pending, reading stays paused."""
        reading = reading and not (self._pipeline or self._held)
        if reading != self._reading and not self.transport.is_closing():
            self._reading = reading
            self.transport.resume_reading() if reading else self.transport.pause_reading()

    def answered(self, cycle: Cycle) -> None:
        """Go on with the next request, or close.

        The client has taken most of this answer, which ``Cycle.finish`` waits for. Where the answer came before the end
        of the request's body, there is a moment for the rest of that.
        """
        self._server.total_requests += 1
        if cycle is self._handshake:
            self._handshake = None
        if not cycle.keep_alive:
            if cycle.received:
                self.transport.close()
            else:
                self._linger()
        if self.transport.is_closing():
            self._await_reader()
        elif self.state is not State.LINGERING:
            self.state = TRANSITIONS[self.state, Event.ANSWERED]
            self._go_on()

    def _go_on(self) -> None:
        """Begin the next request, or await it."""
        if self._pipeline:
            self._start(self._pipeline.popleft())
        if self._held and not self._pipeline and self._handshake is None:
            held, self._held = self._held, b""
            self._feed(held)
        if self.state is State.LINGERING:
            return
        if self.state is State.IDLE and self._cycle is not None:
            if not self._cycle.received:
                self._deadline.set(LINGER_SECONDS)
            elif self._parser.amid_head:
                self._deadline.set(self._settings.header_seconds)
            else:
                self._await_reader()
        self.let_read(True)

    def _await_reader(self) -> None:
        """Give the client its time: to read some of what waits for it, or else for its next request."""
        self._unread = self.transport.get_write_buffer_size()
        seconds = self._application.settings.stream.write_seconds if self._unread else self._settings.keepalive_seconds
        self._deadline.set(seconds)

    def hand_over(self, make: Callable[[Callable[[Exception | None], None]], Successor]) -> Successor:
        """See Client. This object still stands for the connection: it counts, and is told when it is lost."""
        self._server.total_requests += 1
        self.state = TRANSITIONS[self.state, Event.UPGRADED]
        self._deadline.lift()
        made = make(self.connection_lost)
        self.transport.set_protocol(made)
        made.connection_made(self.transport)
        held, self._held, self._handshake = self._held, b"", None
        self.let_read(True)
        if held:
            made.data_received(held)
        return made

    def close(self) -> None:
        """See Client."""
        self.transport.close()

    def abort(self) -> None:
        """See Client."""
        if self.transport is not None:
            self.transport.abort()

    # Limits of time, refusals, the end.

    def _overdue(self) -> None:
        """End a connection whose time limit has expired, without waiting for a client that does not read."""
        if self.transport.get_write_buffer_size() < self._unread:  # it does
            self._await_reader()
        elif self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self._parser.amid_head and self.state is not State.LINGERING:
            text = f"The request's headers did not arrive within {self._settings.header_seconds:g} seconds."
            self.refuse(CallerError(408, "request_timeout", text))
        else:
            self.transport.close()

    def leave(self) -> None:
        """Announce the connection's end in the answer that is due; if its head is written already, in the next one."""
        if self._cycle is not None and not self._cycle.started:
            self._cycle.keep_alive = False

    def close_idle(self) -> None:
        """Close, if the client has sent nothing since the last answer."""
        if self.state is State.IDLE and not self._parser.amid_head:
            self.transport.close()

    def shutdown(self) -> None:
        """Drain the application: uvicorn calls this on each connection when it shuts down.

        While other answers are running an idle connection stays open. A request that arrives on it then gets an error
        that asks the client to retry, instead of a closed connection.
        """
        self._application.drain()
        self._end() if self._busy else self._application.when_drained(self._end)

    def _end(self) -> None:
        if self._busy and self._cycle is not None:
            self._cycle.keep_alive = False
        else:
            self.transport.close()

    def __repr__(self) -> str:
        return f"<StrictProtocol {self.state}, {len(self._pipeline)} in line, {len(self._held)} bytes held>"
