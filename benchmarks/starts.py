"""How a relay starts, and what importing it costs."""

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.measure import SETTLE_SECONDS
from benchmarks.process import resident_bytes
from benchmarks.report import table
from benchmarks.server import Server

SERVING = "chukei.cli, chukei.hosts.server, chukei.hosts.http.protocol"
"""What the server imports before it serves, and ``CORE`` what other hosts import."""

CORE = "chukei.hosts.asgi"


@dataclass(frozen=True, slots=True)
class Start:
    """How a relay starts: seconds until the first accepted connection, bytes in memory when idle."""

    seconds: float
    idle: int


def start(server: Server, times: int) -> Start:
    """Start a relay several times; the medians."""
    seconds, idle = [], []
    for _ in range(times):
        with server:
            time.sleep(SETTLE_SECONDS)
            seconds.append(server.ready)
            idle.append(resident_bytes(server.pid))
    return Start(statistics.median(seconds), int(statistics.median(idle)))


@dataclass(frozen=True, slots=True)
class Imports:
    """What importing modules costs in a fresh process, beyond Python's own start."""

    milliseconds: float
    cpu_milliseconds: float
    modules: int


_IMPORT = """
import sys, time
before = len(sys.modules)
began, cpu = time.perf_counter(), time.process_time()
import {modules}
print((time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000, len(sys.modules) - before)
"""


def imports(modules: str, times: int) -> Imports:
    """Import modules in fresh processes, once to write their bytecode and then several times; the medians."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    milliseconds, cpu, counts = [], [], []
    for _ in range(times + 1):
        said = subprocess.run(
            [sys.executable, "-c", _IMPORT.format(modules=modules)],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        milliseconds.append(float(said[0]))
        cpu.append(float(said[1]))
        counts.append(int(said[2]))
    return Imports(statistics.median(milliseconds[1:]), statistics.median(cpu[1:]), counts[-1])


def start_table(starts: dict[str, Start]) -> str:
    """Return a table of how relays start."""
    head = ["relay", "seconds to the first connection", "MB resident, idle"]
    return table(head, [[name, f"{one.seconds:.2f}", f"{one.idle / 2**20:.0f}"] for name, one in starts.items()])


def import_table(costs: dict[str, Imports]) -> str:
    """Return a table of what imports cost."""
    head = ["imports of", "ms", "of them CPU", "modules"]
    return table(
        head,
        [
            [what, f"{cost.milliseconds:.0f}", f"{cost.cpu_milliseconds:.0f}", str(cost.modules)]
            for what, cost in costs.items()
        ],
    )
