"""An upstream that plays a script byte for byte and write for write, to misbehave in ways that real servers do not.

A script is a sequence of steps, data to be read as a table. ``Send`` returns when the reader has taken every byte out
of its socket, so that two sends are two reads on the other side, without waiting for any time. That the reader has
taken them is known only for readers in this process; for others a send ends when their kernel has them.
"""

import asyncio
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from tests.live.fault_scripts import Close, Flood, Hold, Receive, Reset, Script, Send, Stall
from tests.live.loopback import descriptor_of_peer, queued

DEADLINE = 60
LEAVING_SECONDS = 25
"""In which a relay has left whom nobody listens to. Its own limits, of 30 seconds or more, end nothing sooner."""


@dataclass(eq=False)
class Visit:
    """One request, or one connection that never became one, and how far its script has come."""

    method: str = ""
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    left: Literal["close", "reset"] | None = None
    accepted: int = 0
    """Bytes of a flood that the kernel has taken so far."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def holding(self) -> None:
        """Wait until the script holds."""
        async with asyncio.timeout(DEADLINE):
            await self.held.wait()

    def release(self) -> None:
        """Let the script go on."""
        self.held.clear()
        self._released.set()

    async def full(self) -> None:
        """Wait until a flood has come to a halt: nothing more has been taken for a while."""
        async with asyncio.timeout(DEADLINE):
            before = -1
            while self.accepted != before or not before:
                before = self.accepted
                await asyncio.sleep(0.25)

    async def hold(self) -> None:
        self._released.clear()
        self.held.set()
        await self._released.wait()

    async def peer_left(self) -> str:
        """Wait until the other side has left and return how."""
        async with asyncio.timeout(LEAVING_SECONDS):
            await self.gone.wait()
        assert self.left is not None
        return self.left


class FaultUpstream:
    """Listens on a loopback port. ``script`` is what requests get, or what chooses it for each of them."""

    def __init__(
        self,
        script: Script | Callable[[Visit], Script] = (),
        *,
        tls: ssl.SSLContext | None = None,
        at_connect: Script | None = None,
    ) -> None:
        self.script = script
        self.at_connect = at_connect
        self.visits: list[Visit] = []
        self.connections: set[_Connection] = set()
        self.accepted = 0
        self._tls = tls
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self.drop()
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(self, reader, writer)
        self.connections.add(connection)
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)

    async def note(self, visit: Visit) -> None:
        """Tell the test of a request."""
        async with self._changed:
            self.visits.append(visit)
            self._changed.notify_all()

    async def visit(self, number: int = 1) -> Visit:
        """Wait for the request of that number, the first being 1."""
        async with asyncio.timeout(DEADLINE), self._changed:
            await self._changed.wait_for(lambda: len(self.visits) >= number)
        return self.visits[number - 1]

    async def drop(self) -> None:
        """Cut every connection and forget all visits."""
        self.visits.clear()
        tasks = [connection.task for connection in self.connections]
        for connection in tuple(self.connections):
            connection.cut()
        if tasks:
            await asyncio.wait(tasks)


class _Connection:
    """One connection from the relay."""

    def __init__(self, upstream: FaultUpstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._upstream = upstream
        self._reader = reader
        self._writer = writer
        self._inbox = bytearray()
        self._news = asyncio.Event()
        self._left: Literal["close", "reset"] | None = None
        self._visit = Visit()
        self._peer: int | None = None

    def cut(self) -> None:
        self.task.cancel()

    async def serve(self) -> None:
        listening = asyncio.create_task(self._listen())
        try:
            if self._upstream.at_connect is not None:
                await self._upstream.note(self._visit)
                await self._play(self._upstream.at_connect)
            while (visit := await self._next()) is not None:
                self._visit = visit
                await self._upstream.note(visit)
                script = self._upstream.script
                await self._play(script(visit) if callable(script) else script)
                visit.ended.set()
        except (asyncio.CancelledError, ConnectionError):
            pass  # cut by the test, or the other side has left while something was being sent
        finally:
            listening.cancel()
            self._writer.close()

    async def _listen(self) -> None:
        try:
            while data := await self._reader.read(65536):
                self._inbox += data
                self._news.set()
            self._left = "close"
        except OSError:
            self._left = "reset"
        self._visit.left = self._left
        self._visit.gone.set()
        self._news.set()

    async def _next(self) -> Visit | None:
        """Read one request; None when the other side has left instead."""
        while True:
            before, blank, rest = bytes(self._inbox).partition(b"\r\n\r\n")
            if blank:
                first, *lines = before.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                length = int(headers.get("content-length", "0"))
                if len(rest) >= length:
                    self._inbox[:] = rest[length:]
                    return Visit(method, target, headers, rest[:length])
            if self._left is not None:
                return None
            self._news.clear()
            await self._news.wait()

    async def _play(self, script: Script) -> None:
        for step in script:
            match step:
                case Send(data, each):
                    for start in range(0, len(data), each or len(data) or 1):
                        await self._send(data[start : start + (each or len(data))])
                case Flood():
                    await self._flood(step)
                case Receive():
                    while not self._inbox and self._left is None:
                        self._news.clear()
                        await self._news.wait()
                case Hold():
                    await self._visit.hold()
                case Reset():
                    self._writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    self._writer.transport.abort()
                    raise ConnectionAbortedError
                case Close():
                    self._writer.close()
                    raise ConnectionAbortedError
                case Stall():
                    await self._visit.gone.wait()
                    raise ConnectionAbortedError

    async def _send(self, data: bytes) -> None:
        if self._left is not None:
            raise ConnectionResetError
        self._writer.write(data)
        turns = 0
        while self._untaken() and self._left is None:
            turns += 1
            await asyncio.sleep(0 if turns < 100 else 0.001)  # a reader that has paused shall not cost a core

    async def _flood(self, flood: Flood) -> None:
        if flood.send_buffer is not None:
            connection = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, flood.send_buffer)
        transport = self._writer.transport
        transport.set_write_buffer_limits(0)
        visit, before = self._visit, self._visit.accepted
        for count in range(1, flood.times + 1):
            self._writer.write(flood.data)
            visit.accepted = before + count * len(flood.data) - transport.get_write_buffer_size()
            await self._writer.drain()
        visit.accepted = before + flood.times * len(flood.data)

    def _untaken(self) -> bool:
        """Whether some of what was written has not been read yet."""
        if self._writer.transport.get_write_buffer_size():
            return True
        if self._peer is None:
            self._peer = descriptor_of_peer(self._writer)
        if self._peer >= 0:
            return queued(self._peer, termios.FIONREAD) > 0
        return queued(self._writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ) > 0
