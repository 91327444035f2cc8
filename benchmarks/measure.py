"""One workload through one relay, and how a relay starts."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from benchmarks.load import Tally
from benchmarks.process import cpu_seconds, resident_bytes
from benchmarks.relays import Server
from benchmarks.workloads import Workload

SETTLE_SECONDS = 0.3
"""Between two measurements, for connections to close."""

_STILL_SECONDS = 1.0
"""After the last client's first event, before memory is read."""

_WARM_UP = Workload("warm up", "", clients=10, requests=2, events=3)


class Result(msgspec.Struct):
    """What one run showed. ``relay_cpu`` is seconds of CPU of the relay's whole tree, ``grown`` bytes of memory."""

    relay: str
    workload: str
    tally: Tally
    relay_cpu: float
    upstream_cpu: float
    grown: int = 0

    @property
    def unit_microseconds(self) -> float:
        """CPU of the relay for each content event, or for each answer where there are none."""
        units = self.tally.events or self.tally.requests
        return self.relay_cpu / units * 1e6 if units else 0.0


def measure(workload: Workload, relay: Server | None, upstream: Server) -> Result:
    """Run a workload through a relay, or straight to the upstream. A relay whose memory is asked for starts afresh."""
    if workload.still and relay is not None:
        relay.restart()
        measure(_WARM_UP, relay, upstream)
    time.sleep(SETTLE_SECONDS)
    port = upstream.port if relay is None else relay.port
    spent: Callable[[], float] = (lambda: 0.0) if relay is None else (lambda: cpu_seconds(relay.pid))
    before_memory = 0 if relay is None else resident_bytes(relay.pid)
    before, upstream_before = spent(), cpu_seconds(upstream.pid)
    numbers = (port, workload.clients, workload.requests, workload.events, workload.gap, workload.ramp)
    command = [sys.executable, "-m", "benchmarks.load", *(str(number) for number in numbers)]
    grown = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line == "open\n":
            if workload.still and relay is not None:
                time.sleep(_STILL_SECONDS)
                grown = resident_bytes(relay.pid) - before_memory
            line = process.stdout.readline()
    if process.returncode:
        raise RuntimeError(f"the clients failed, see above ({workload.name})")
    tally = msgspec.json.decode(line, type=Tally)
    return Result(
        relay="direct" if relay is None else relay.name,
        workload=workload.name,
        tally=tally,
        relay_cpu=spent() - before,
        upstream_cpu=cpu_seconds(upstream.pid) - upstream_before,
        grown=grown,
    )


@dataclass(frozen=True, slots=True)
class Start:
    """How a relay starts: seconds until the first accepted connection, bytes in memory when idle."""

    seconds: float
    idle: int


def start(make: Callable[[], Server], times: int) -> Start:
    """Start a relay several times; the medians."""
    seconds, idle = [], []
    for _ in range(times):
        with make() as server:
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


def processor() -> str:
    """Return the processor's name and how many cores of it this process may use."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    return f"{found[1] if found else 'processor'}, {len(os.sched_getaffinity(0))} cores"
