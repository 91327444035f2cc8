"""Turns on WebSockets: what is spoken there, and how the steps of a reply become messages."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Break, Close, Deafness, Event, Exchange, Head, Mute, Raw, Reply, Step
from chukei.simulator.sending import Sender
from chukei.simulator.settings import SimulatorSettings
from chukei.simulator.sockets import Socket

_log = logging.getLogger(__name__)


class Turns(Protocol):
    """Answers the turns of sockets; see ``Simulator``."""

    settings: SimulatorSettings

    def answer(
        self, head: Head, body: bytes, memory: dict[str, Any] | None = ..., socket: Exchange | None = ...
    ) -> tuple[Exchange, Reply]:
        """Answer a turn that is like a request over HTTP."""

    def turn(
        self, socket: Exchange, operation: str, body: bytes, operate: Callable[[Call], Reply]
    ) -> tuple[Exchange, Reply]:
        """Answer another turn."""

    def finished(self) -> None:
        """Note the end of an answer."""


class Talk(ABC):
    """What is spoken on a socket: the client's events are heard one after another, and turns run beside them."""

    limit: tuple[bytes, Close]  # what the client gets when the socket has been open for too long

    def __init__(self, simulator: Turns, socket: Socket) -> None:
        self.simulator = simulator
        self.socket = socket
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def begin(self) -> None:
        """Send what a new socket begins with."""

    @abstractmethod
    async def hear(self, message: bytes) -> None:
        """Handle a message of the client."""

    async def hold(self) -> None:
        """Speak until the socket closes or has been open for too long."""
        try:
            async with asyncio.timeout(self.socket.settings.socket_seconds):
                await self.begin()
                while (message := await self.socket.receive()) is not None:
                    await self.hear(message)
        except TimeoutError:
            message, close = self.limit
            await self.socket.send(message)
            self.socket.close(close.code, close.reason)
        finally:
            await self.stop()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside the hearing, until the socket closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the simulator failed in a turn", exc_info=error)
            self.socket.transport.abort()

    async def stop(self) -> None:
        """End what was started, and wait for it."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def play(
        self, exchange: Exchange, reply: Reply, change: Callable[[bytes], bytes] | None = None
    ) -> bytes | None:
        """Send the events of a turn, and return the last one; None if a step ended the connection."""
        sender = TurnSender(self.socket, exchange, change)
        whole = False
        try:
            if reply.hold != 0:
                await sender.wait_for(reply.hold)
            whole = await sender.play(reply.steps)
            exchange.settle(reply.ending if whole else "fault")
        finally:
            exchange.settle("fault" if self.socket.faulted else "client_left")
            self.simulator.finished()
        return sender.last if whole else None


class TurnSender(Sender):
    """Sends the steps of a turn: each event of the stream is a message, without the framing of server-sent events."""

    def __init__(self, socket: Socket, exchange: Exchange, change: Callable[[bytes], bytes] | None) -> None:
        super().__init__(socket.transport, socket.writable, exchange, socket.settings.record_sent)
        self.last = b""
        self._socket = socket
        self._change = change
        self._buffer = b""

    async def wait_for(self, seconds: float | None) -> None:
        """Wait for some seconds, or for ever."""
        await self._stall(seconds)

    async def _do(self, step: Step) -> bool:
        match step:
            case Close(code, reason):
                self._socket.faulted = True
                self._socket.close(code, reason)
                return False
            case Mute():
                self._socket.mute()
            case Deafness(seconds):
                self._socket.deafen(seconds)
            case Raw():
                pass  # there is no framing to break
            case Break():
                self._socket.faulted = True
                if self._buffer:
                    await self._socket.send(self._buffer.removeprefix(b"data: "), whole=False)
                return await super()._do(step)
            case _:
                return await super()._do(step)
        return True

    async def _event(self, event: Event) -> None:
        if self._record:
            self._exchange.sent += event.data
        self._exchange.events += event.events
        self._exchange.completion_tokens += event.tokens
        *blocks, self._buffer = (self._buffer + event.data).replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            data = b"".join(line[6:] for line in block.split(b"\n") if line.startswith(b"data: "))
            if data:
                self.last = data
                await self._socket.send(self._change(data) if self._change else data)


def event_of(message: bytes) -> dict[str, Any] | None:
    """Return the event in a client's message; None if it is not a JSON object."""
    try:
        event = msgspec.json.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
