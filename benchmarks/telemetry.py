"""What telemetry costs: ``python -m benchmarks.telemetry``, about a minute.

The same relay with and without it takes turns in short bursts, as in ``benchmarks.guard``, with this process for
upstream, client and collector. What counts is the CPU time of the relay's process with all its threads. Traces are
recorded of every request; metrics are sent every ten seconds, six times as often as by default.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from benchmarks.bursts import Asked, Upstream, short
from benchmarks.guard import BURSTS, WARM_UP, Relay, configuration, plain_environment
from benchmarks.process import free_port, new_loop
from benchmarks.report import table

SITTINGS = 5
ROUNDS = 15
PAUSE_SECONDS = 0.1
"""After each burst of requests, until their spans have been sent: that cost belongs to the burst."""

REQUESTS = 512
"""As many as a batch of spans has, so that each burst of requests causes one batch."""

_REQUEST = "a short request"
_LOADS = {**BURSTS, _REQUEST: short(REQUESTS)}


class _Collector(asyncio.Protocol):
    """Takes every request of OTLP over HTTP, and counts its bytes."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._inbox = b""

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._inbox += data
        while b"\r\n\r\n" in self._inbox:
            head, _, rest = self._inbox.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(rest) < length:
                return
            self._inbox = rest[length:]
            _Collector.received += length
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def _with(collector: int) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
        "OTEL_METRIC_EXPORT_INTERVAL": "10000",
    }


async def sitting(rounds: int, extra: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Start both relays anew, and return the medians of what each burst costs without and with telemetry, in µs."""
    asked: Asked = asyncio.Queue()
    loop = asyncio.get_running_loop()
    upstream = await loop.create_server(lambda: Upstream(asked), "127.0.0.1", 0)
    collector = await loop.create_server(_Collector, "127.0.0.1", 0)
    port, telemetry = upstream.sockets[0].getsockname()[1], collector.sockets[0].getsockname()[1]
    spent: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        own = plain_environment() | configuration(port, Path(folder))
        ports = free_port(), free_port()
        programs = [["chukei", "serve", "--port", str(each)] for each in ports]
        off = Relay("off", programs[0], ports[0], own, Path(folder))
        on = Relay("on", programs[1], ports[1], {**own, **_with(telemetry), **extra}, Path(folder))
        with off, on:
            await off.connect()
            await on.connect()
            for number in range(WARM_UP + rounds):
                for name, burst in _LOADS.items():
                    for one in (off, on) if number % 2 else (on, off):
                        before = one.cpu()
                        cost = await one.undergo(burst, asked)
                        if name == _REQUEST:
                            await asyncio.sleep(PAUSE_SECONDS)
                            cost = (one.cpu() - before) / REQUESTS
                        if number >= WARM_UP:
                            spent.setdefault((name, one.name), []).append(cost)
    upstream.close()
    collector.close()
    return {name: (statistics.median(spent[name, "off"]), statistics.median(spent[name, "on"])) for name in _LOADS}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description="Measure telemetry's cost.")
    parser.add_argument("--sittings", type=int, default=SITTINGS, help=f"new processes (default: {SITTINGS} times)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved rounds of each (default: {ROUNDS})")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the relay with telemetry")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and all that it starts
    extra = dict(each.split("=", 1) for each in arguments.set)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        found = [runner.run(sitting(arguments.rounds, extra)) for _ in range(arguments.sittings)]
    rows = []
    for name in _LOADS:
        off, on = sorted((one[name] for one in found), key=lambda cost: cost[1] / cost[0])[len(found) // 2]
        rows.append([name, f"{off:.1f}", f"{on:.1f}", f"{on / off:.2f}"])
    print(table(["µs CPU of", "without", "with", "ratio"], rows))
    print(f"{_Collector.received:,} bytes of telemetry received")


if __name__ == "__main__":
    main()
