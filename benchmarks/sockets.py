"""Measures the WebSocket transport beside a bare proxy: ``python -m benchmarks.sockets``.

An upstream echoes. A client process opens many sockets through a relay and lets frames go round. Two figures are taken
of the relay's process: the memory that an open pair of sockets needs, and the CPU time for each frame that it passes
on, there or back. ``--url`` and ``--pid`` measure another relay beside them, whose upstream is the echo at
``--echo-port``.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.process import cpu_seconds, free_port, new_loop, raise_file_limit, resident_bytes
from benchmarks.socket_sides import Frames, frame

SHAPES = ((250, 1), (250, 16), (5000, 1))
"""Size of a frame's text in bytes, and frames that are under way in each socket. A text's delta has about 250 bytes,
that of sound up to 5 kB."""


class Target(NamedTuple):
    """A relay under test."""

    name: str
    url: str
    pid: int
    fields: tuple[str, ...] = ()


@dataclass
class Sample:
    """One round of one relay."""

    bytes_each: float
    micros: dict[tuple[int, int], float]


class Client(asyncio.Protocol):
    """A client that sends frames again when their echo has arrived."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""
        self._frames = Frames()
        self._window = self._left = self._rounds = 0
        self._transport: Any = None
        self._sent = b""
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = transport
        parts = urlsplit(self._target.url)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        fields = ["Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13", *self._target.fields]
        self._transport.write("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", *fields, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        """Take the answer to the handshake, or echoes."""
        if not self.opened.done():
            self._head += data
            if b"\r\n\r\n" in self._head:
                if b" 101 " in self._head.partition(b"\r\n")[0]:
                    self.opened.set_result(None)
                else:
                    self.opened.set_exception(RuntimeError(self._head.decode("latin-1")))
            return
        count, _, pong = self._frames.feed(data)
        if pong:
            self._transport.write(pong)
        self._left -= count
        if self._left or not count or self._done is None:
            return
        self._rounds -= 1
        if self._rounds:
            self._left = self._window
            self._transport.write(self._sent)
        else:
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits."""
        for future in (self.opened, self._done):
            if future is not None and not future.done():
                future.set_exception(RuntimeError("the relay closed a socket"))

    async def exchange(self, size: int, window: int, rounds: int) -> None:
        """Let frames go round so many times."""
        self._sent = frame(size, masked=True) * window
        self._window = self._left = window
        self._rounds = rounds
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(self._sent)
        await self._done

    def close(self) -> None:
        """Close without a goodbye."""
        self._transport.abort()


async def measure(target: Target, sockets: int, frames: int) -> Sample:
    """Measure one relay once; ``frames`` are those of a shape that pass it in all."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(target.url)
    before = resident_bytes(target.pid)
    clients: list[Client] = []
    for _ in range(sockets):
        _, client = await loop.create_connection(lambda: Client(target), parts.hostname or "", parts.port or 80)
        await client.opened
        clients.append(client)
    each = (resident_bytes(target.pid) - before) / sockets
    micros = {}
    for size, window in SHAPES:
        rounds = max(frames // (2 * window * sockets), 1)
        begun = cpu_seconds(target.pid)
        await asyncio.gather(*(client.exchange(size, window, rounds) for client in clients))
        passed = 2 * window * sockets * rounds
        micros[size, window] = (cpu_seconds(target.pid) - begun) / passed * 1e6
    for client in clients:
        client.close()
    return Sample(each, micros)


@contextlib.contextmanager
def running(role: str, port: int, upstream: str = "") -> Iterator[Target]:
    """Run one side while it is measured."""
    command = [sys.executable, "-m", "benchmarks.socket_sides", role, str(port)]
    process = subprocess.Popen(command, env={**os.environ, "UPSTREAM": upstream})
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield Target(role, f"ws://127.0.0.1:{port}/", process.pid)
    finally:
        process.terminate()
        process.wait()


def run(arguments: argparse.Namespace) -> dict[str, list[Sample]]:
    """Measure every relay in turn, each in a fresh process if it is one of these here."""
    results: dict[str, list[Sample]] = {}
    with running("echo", arguments.echo_port or free_port()) as echo:
        upstream = echo.url.replace("ws", "http", 1).rstrip("/")
        for number in range(arguments.rounds):
            roles = ["ours", "bare", *(["url"] if arguments.url else [])]
            for role in roles[number % len(roles) :] + roles[: number % len(roles)]:
                with contextlib.ExitStack() as stack:
                    if role == "url":
                        target = Target(role, arguments.url, arguments.pid, tuple(arguments.header))
                    else:
                        target = stack.enter_context(running(role, free_port(), upstream))
                    print(f"round {number + 1} of {arguments.rounds}: {role}", file=sys.stderr, flush=True)
                    with asyncio.Runner(loop_factory=new_loop) as runner:
                        sample = runner.run(measure(target, arguments.sockets, arguments.frames))
                    results.setdefault(role, []).append(sample)
    return results


def table(results: dict[str, list[Sample]]) -> str:
    """Return the medians, with their range in parentheses."""

    def cell(values: list[float], form: str) -> str:
        return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"

    names = list(results)
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    memory = [cell([sample.bytes_each / 1024 for sample in results[name]], ".1f") for name in names]
    lines.append("| KiB for an open pair | " + " | ".join(memory) + " |")
    for size, window in SHAPES:
        cells = [cell([sample.micros[size, window] for sample in results[name]], ".1f") for name in names]
        lines.append(f"| µs CPU for a frame of {size} bytes, {window} under way | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sockets", description=__doc__.partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=1000, help="open sockets (default: 1000)")
    parser.add_argument("--frames", type=int, default=200_000, help="frames of each shape in a round")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--url", help="another relay's address, with ws://")
    parser.add_argument("--pid", type=int, help="its process")
    parser.add_argument("--header", action="append", default=[], help="a field that it needs, as 'Name: value'")
    parser.add_argument("--echo-port", type=int, help="port of the echo that is its upstream")
    arguments = parser.parse_args()
    if arguments.url and not (arguments.pid and arguments.echo_port):
        parser.error("--url needs --pid and --echo-port")
    raise_file_limit()
    print(table(run(arguments)))


if __name__ == "__main__":
    main()
