"""What telemetry costs: ``python -m benchmarks.telemetry``, about four minutes.

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
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from benchmarks.bursts import Asked, Upstream, short
from benchmarks.guard import BURSTS, WARM_UP, Relay, configuration, plain_environment
from benchmarks.process import free_port, new_loop
from benchmarks.report import table

SITTINGS = 9
ROUNDS = 8
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


NOTHING, COUNTED, SENT = "nothing", "counting", "all sent"
"""The relays: without metrics and traces; with the metrics of ``/metrics``; with these and traces sent over OTLP."""

Costs = dict[str, dict[str, float]]
"""µs of CPU by load, and by relay."""


async def sitting(rounds: int, extra: Mapping[str, str]) -> Costs:
    """Start the relays anew, and return the lower quartiles of what each burst costs.

    A quartile, since other work on the machine only makes a burst dearer. ``extra`` are variables of the last relay.
    """
    asked: Asked = asyncio.Queue()
    loop = asyncio.get_running_loop()
    upstream = await loop.create_server(lambda: Upstream(asked), "127.0.0.1", 0)
    collector = await loop.create_server(_Collector, "127.0.0.1", 0)
    port, telemetry = upstream.sockets[0].getsockname()[1], collector.sockets[0].getsockname()[1]
    spent: dict[str, dict[str, list[float]]] = {name: {} for name in _LOADS}
    kinds = {
        NOTHING: {"CHUKEI_METRICS__ENABLED": "false"},
        COUNTED: {},
        SENT: {**_with(telemetry), **extra},
    }
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        relays = []
        for name, variables in kinds.items():
            own, free = {**plain_environment(), **configuration(port, Path(folder)), **variables}, free_port()
            relay = Relay(name.replace(" ", "-"), ["chukei", "serve", "--port", str(free)], free, own, Path(folder))
            relays.append((name, running.enter_context(relay)))
            await relay.connect()
        for number in range(WARM_UP + rounds):
            for load, burst in _LOADS.items():
                for name, relay in relays[number % 3 :] + relays[: number % 3]:
                    before = relay.cpu()
                    cost = await relay.undergo(burst, asked)
                    if load == _REQUEST:
                        await asyncio.sleep(PAUSE_SECONDS)
                        cost = (relay.cpu() - before) / REQUESTS
                    if number >= WARM_UP:
                        spent[load].setdefault(name, []).append(cost)
    upstream.close()
    collector.close()
    return {
        load: {name: statistics.quantiles(costs)[0] for name, costs in of_load.items()}
        for load, of_load in spent.items()
    }


def main() -> None:
    """Measure and print medians of all sittings."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description="Measure telemetry's cost.")
    parser.add_argument("--sittings", type=int, default=SITTINGS, help=f"new processes (default: {SITTINGS} times)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved rounds of each (default: {ROUNDS})")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the last relay")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and all that it starts
    extra = dict(each.split("=", 1) for each in arguments.set)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        found = [runner.run(sitting(arguments.rounds, extra)) for _ in range(arguments.sittings)]
    rows = []
    for load in _LOADS:
        costs = [statistics.median(one[load][name] for one in found) for name in (NOTHING, COUNTED, SENT)]
        ratios = [
            statistics.median(one[load][after] / one[load][before] for one in found)
            for before, after in ((NOTHING, COUNTED), (COUNTED, SENT), (NOTHING, SENT))
        ]
        rows.append([load, *(f"{cost:.1f}" for cost in costs), *(f"{ratio:.2f}" for ratio in ratios)])
    heads = [NOTHING, COUNTED, SENT, "counting / nothing", "all / counting", "all / nothing"]
    print(table(["µs CPU of", *heads], rows))
    print(f"{_Collector.received:,} bytes of telemetry received")


if __name__ == "__main__":
    main()
