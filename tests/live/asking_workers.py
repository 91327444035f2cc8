"""Workers that ask each other, as a program: each connection gives its worker commands, one a line, as JSON lists.

Run with the number of workers. It prints its port, and the parent's log goes to standard error. While there is a file
named by ``WAIT``, workers do not serve.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from chukei.config import load
from chukei.hosts.awaited import Awaited
from chukei.hosts.leaving import Stopping
from chukei.hosts.server import listen
from chukei.hosts.workers.link import Link
from chukei.hosts.workers.supervisor import Limits, Supervisor

LARGE = 3_000_000
"""Bytes of an answer that no pipe's buffer holds."""


class Worker:
    """Serves the commands."""

    def __init__(self, link: Link) -> None:
        self.peers = link.peers
        self.link = link
        self.count = 0
        self.reloads = 0
        self.peers.answer("reloads", lambda _: b"%d" % self.reloads)
        self.peers.answer("count", lambda _: b"%d" % self.count, last=True)
        self.peers.answer("process", lambda _: b"%d" % os.getpid())
        self.peers.answer("echo", lambda argument: argument)
        self.peers.answer("large", lambda _: b"x" * LARGE)
        self.peers.answer("death", lambda _: os._exit(9) if self.count else b"alive")
        self.peers.answer("error", lambda _: b"%d" % (1 // self.count))

    async def obey(self, command: str, *arguments: Any) -> object:
        """Do what a command says."""
        match command:
            case "process":
                return os.getpid()
            case "count":
                self.count += arguments[0]
            case "in force":
                self.link.in_force(load(None, {}))
            case "ask":
                subject, argument, times = arguments
                asked = (self.peers.ask(subject, argument.encode()) for _ in range(times))
                answers = await asyncio.gather(*asked)
                return [
                    sorted(f"{len(one)} bytes" if len(one) > 99 else one.decode() for one in all) for all in answers
                ]
        return None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        with suppress(asyncio.CancelledError):  # at the end
            while line := await reader.readline():
                writer.write(json.dumps(await self.obey(*json.loads(line))).encode() + b"\n")
                await writer.drain()
        writer.close()


def work(listener: socket.socket, link: Link) -> int:
    """Be a worker."""

    async def run() -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        worker = Worker(link)

        def leave(*_: object) -> None:
            loop.call_soon_threadsafe(end.set)

        def reload() -> None:
            worker.reloads += 1

        link.follow(leave, leave, reload, lost=leave)
        while Path(os.environ["WAIT"]).exists():
            time.sleep(0.01)
        server = await asyncio.start_server(worker.serve, sock=listener)
        link.serves()
        signal.signal(signal.SIGTERM, leave)
        await end.wait()
        link.progress(0, 0)
        server.close()

    asyncio.run(run())
    return 0


def fold(answers: list[bytes]) -> bytes:
    """Return the sum."""
    return b"%d" % sum(map(int, answers))


def first() -> None:
    """Start no log."""


if __name__ == "__main__":
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    awaited = Awaited(lambda *line, **fields: None, terminal=False)
    limits = Limits(ending=20.0)
    supervisor = Supervisor(
        work, listener, int(sys.argv[1]), Stopping(0.0), awaited, limits, first, folds={"count": fold}
    )

    def ready() -> None:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()

    sys.exit(supervisor.run(ready))
