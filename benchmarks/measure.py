"""One workload through one relay."""

import os
import re
import subprocess
import sys
import time

import msgspec

from benchmarks.load import Order, Tally
from benchmarks.process import cpu_by_process, cpu_seconds, resident_bytes
from benchmarks.server import Server, Upstream
from benchmarks.workloads import Workload

SETTLE_SECONDS = 0.3
"""Between two measurements, for connections to close."""

_STILL_SECONDS = 1.0
"""After the last client's first event, before memory is read."""

_WARM_UP = (
    Workload("warm up", "", clients=10, requests=2, events=3),
    Workload("warm up", "", clients=10, requests=2),
)


class Result(msgspec.Struct):
    """What one run showed. ``relay_cpu`` is seconds of CPU of the relay's whole tree, ``grown`` bytes of memory.

    ``parts`` is the CPU of each process of the tree, the busiest first, and ``clients`` how many there were.
    """

    relay: str
    workload: str
    tally: Tally
    relay_cpu: float
    upstream_cpu: float
    grown: int = 0
    clients: int = 0
    parts: list[float] = []

    @property
    def unit_microseconds(self) -> float:
        """CPU of the relay for each content event, or for each answer where there are none."""
        units = self.tally.events or self.tally.requests
        return self.relay_cpu / units * 1e6 if units else 0.0


def measure(workload: Workload, relay: Server | None, upstream: Upstream) -> Result:
    """Run a workload through a relay, or straight to the upstream. A relay whose memory is asked for starts afresh."""
    if workload.still and relay is not None:
        relay.restart()
        warm_up(relay, upstream)
    time.sleep(SETTLE_SECONDS)
    before_memory = 0 if relay is None else resident_bytes(relay.pid)
    before = _spent(relay)
    upstream_before = cpu_seconds(upstream.pid)
    grown = 0
    order = msgspec.json.encode(_order(workload, relay, upstream)).decode()
    command = [sys.executable, "-m", "benchmarks.load", order]
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
    after = _spent(relay)
    parts = sorted((spent - before.get(pid, 0.0) for pid, spent in after.items()), reverse=True)
    return Result(
        relay="direct" if relay is None else relay.name,
        workload=workload.name,
        tally=msgspec.json.decode(line, type=Tally),
        relay_cpu=sum(parts),
        upstream_cpu=cpu_seconds(upstream.pid) - upstream_before,
        grown=grown,
        clients=workload.clients,
        parts=parts,
    )


def warm_up(relay: Server, upstream: Upstream) -> None:
    """Have a relay that has just started do what it does only once."""
    for workload in _WARM_UP:
        measure(workload, relay, upstream)


def _spent(relay: Server | None) -> dict[int, float]:
    return {} if relay is None else cpu_by_process(relay.pid)


def _order(workload: Workload, relay: Server | None, upstream: Upstream) -> Order:
    order = Order(
        port=upstream.port if relay is None else relay.port,
        clients=workload.clients,
        requests=workload.requests,
        events=workload.events,
        gap=workload.gap,
        ramp=workload.ramp,
        prompt_bytes=workload.prompt_bytes,
        seconds=workload.seconds,
    )
    if relay is None and workload.tls:
        order.port, order.ca = upstream.tls_port, str(upstream.ca)
    if relay is not None and relay.keys is not None:
        order.keys = str(relay.keys)
    return order


def processor() -> str:
    """Return the processor's name and how many cores of it this process may use."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    return f"{found[1] if found else 'processor'}, {len(os.sched_getaffinity(0))} cores"
