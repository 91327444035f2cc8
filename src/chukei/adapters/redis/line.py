"""A connection to Redis for all requests of a process. Concurrent commands are sent in one write, and their answers
come in the same order (pipelining).

A client library gives a connection to one caller at a time and sets a time limit for every step, which costs several
times as much as the kernel and the parser. Here one timer watches all commands; hiredis parses the answers. A
connection that subscribes works in the same way, and receives messages between the answers.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Never, cast

from hiredis import HiredisError, Reader, ReplyError

from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.address import Address
from chukei.adapters.redis.commands import PendingCommand, command

COMMAND_SECONDS = 1.0
"""Time limit of connecting, and of one answer."""

LOOKS, LOOK_SECONDS = 3, 0.005
"""Further checks before a timeout, and seconds between them, because this process itself may have been busy."""

# A load balancer drops idle connections after minutes (Azure's after 4), without a notice.
KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}

_OF_A_SCRIPT = frozenset({"ERR", "WRONGTYPE"})
"""Errors of one call. Any other is the server's: a read-only replica, full memory, missing rights."""

_OF_A_SESSION = frozenset({"LOADING", "NOAUTH", "WRONGPASS"})
"""Errors that every command would get. They end the line even if the command is ``refusable``."""

_MORE = object()


class RefusedError(Exception):
    """Redis answered with an error. Only its code is kept, because some messages repeat the command's arguments."""


class Line(asyncio.Protocol):
    """A connection. It lasts until the future ``ended``, whose result is the reason; then nothing more is sent.

    ``patience`` is the number of seconds for which a request waits while nothing is answered. Other commands may take
    a second. ``failed`` is called when a single script fails, ``message`` with each published message.
    """

    def __init__(
        self,
        patience: float = COMMAND_SECONDS,
        failed: Callable[[], None] | None = None,
        message: Callable[[object], None] | None = None,
    ) -> None:
        self._patience = patience
        self._failed = failed
        self._message = message
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._reader = Reader(notEnoughData=_MORE)
        self._next: list[PendingCommand] = []  # is sent at the end of this iteration of the event loop
        self._asked: deque[PendingCommand] = deque()
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._looks = LOOKS
        self._closed = asyncio.Event()
        self.ended: asyncio.Future[Exception] = self._loop.create_future()

    def submit(self, call: PendingCommand) -> None:
        """Send a command at the end of this iteration of the event loop."""
        if not self._next:
            self._loop.call_soon(self._flush)
        self._next.append(call)

    def call(self, call: PendingCommand) -> asyncio.Future[object]:
        """Send a command for which a request waits; return a future of the answer, or StoreAway."""
        call.hurry = True
        call.future = future = self._loop.create_future()
        self.submit(call)
        return future

    async def ask(self, *calls: PendingCommand) -> list[object]:
        """Send commands together and wait for their answers, for a second at most.

        Raises:
            Exception: the line has ended, for this reason.
            StoreAway: a script failed.
        """
        answers = []
        for call in calls:
            call.future = self._loop.create_future()
            answers.append(call.future)
            self.submit(call)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return await asyncio.gather(*answers)
        except StoreAway:
            if self.ended.done():
                raise self.ended.result() from None
            raise

    async def until_ended(self) -> Never:
        """Wait until the line ends, and raise the reason."""
        await asyncio.wait({self.ended})
        raise self.ended.result()

    def end(self, why: Exception) -> None:
        """End the line: fail all waiting commands, and send no more."""
        if self.ended.done():
            return
        self.ended.set_result(why)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._give_up()

    async def aclose(self) -> None:
        """End, and wait until the connection is closed, for a second at most."""
        self.end(ConnectionError("closed"))
        with suppress(TimeoutError):
            async with asyncio.timeout(COMMAND_SECONDS):
                await self._closed.wait()

    def _give_up(self) -> None:
        calls = [*self._asked, *self._next]
        self._asked.clear()
        self._next.clear()
        for call in calls:
            call.fail("Redis is away")

    def _flush(self) -> None:
        if self._transport is None or self.ended.done():
            self._give_up()
            return
        now, parts, asked = time.monotonic(), [], self._asked
        for call in self._next:
            if not call.given_up:
                call.sent, call.since = True, now
                parts.append(call.command)
                asked.append(call)
        self._next.clear()
        if parts:
            self._transport.write(b"".join(parts) if len(parts) > 1 else parts[0])
            if self._timer is None:
                self._look_in(self._patience)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implement asyncio.Protocol."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Implement asyncio.Protocol."""
        self._heard = time.monotonic()
        reader, asked, message = self._reader, self._asked, self._message
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not _MORE:
                if message is not None and isinstance(answer, list) and answer[:1] == [b"message"]:
                    message(answer[-1])
                    continue
                if not asked:
                    self.end(ConnectionError("an answer to nothing"))
                    return
                call = asked.popleft()
                if isinstance(answer, ReplyError):
                    self._refused(call, str(answer).partition(" ")[0])
                else:
                    call.succeed(answer)
        except HiredisError:
            self.end(ConnectionError("not what Redis speaks"))

    def connection_lost(self, error: Exception | None) -> None:
        """Implement asyncio.Protocol."""
        self._closed.set()
        self.end(error or ConnectionError("closed by Redis"))

    def _refused(self, call: PendingCommand, code: str) -> None:
        script = call.script
        whole = script.whole(call.command) if script is not None and code == "NOSCRIPT" else call.command
        refusal = RefusedError(code if code.isupper() and code.isalpha() else "?")
        if whole != call.command:
            call.command = whole
            self.submit(call)
        elif script is not None and code in _OF_A_SCRIPT:
            if self._failed is not None:
                self._failed()
            call.fail("a script failed")
        elif call.refusable and code not in _OF_A_SESSION:
            call.succeed(refusal)
        else:
            call.fail("Redis refuses")
            self.end(refusal)

    def _look_in(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """End the line if a command has had no answer for its time, and no other was answered in that time."""
        self._timer = None
        if not self._asked:
            return
        waiting = next((call for call in self._asked if call.hurry and not call.over), None)
        since, patience = (self._asked[0].since, COMMAND_SECONDS)
        if waiting is not None:
            since, patience = waiting.since, self._patience
        wait = patience - (time.monotonic() - max(since, self._heard))
        if wait > 0:
            self._looks = LOOKS
            self._look_in(min(max(wait, LOOK_SECONDS), self._patience))
        elif self._looks:
            self._looks -= 1
            self._look_in(LOOK_SECONDS)
        else:
            self.end(TimeoutError("no answer in time"))


async def connect(address: Address, make: Callable[[], Line] = Line) -> Line:
    """Return a connected line.

    Raises:
        OSError: there is no connection.
        TimeoutError: it took longer than a second.
        RefusedError: Redis refuses this user or this database.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(COMMAND_SECONDS):
        transport, line = await loop.create_connection(make, address.host, address.port, ssl=address.tls())
    try:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        for arguments in address.greeting:
            await line.ask(PendingCommand(command(*arguments)))
    except BaseException:
        await line.aclose()
        raise
    return line
