"""One run of a sweep: a relay at a size."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from benchmarks.growth_report import Sample
from benchmarks.growth_sweeps import STILL_SECONDS, WINDOW_SECONDS, Sweep
from benchmarks.load import Order, Tally
from benchmarks.measure import measure
from benchmarks.process import cpu_seconds, resident_bytes, tree
from benchmarks.server import Server, Upstream
from benchmarks.workloads import Workload

_WARM_UP = Workload("warm up", "", clients=10, requests=2, events=3)


def _reset_peak(pid: int) -> None:
    """Forget the most memory that a process and its descendants have had (proc(5), clear_refs)."""
    for member in tree(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5")


def _peak(pid: int) -> int:
    """Return the most resident memory since then in bytes, that of each process by itself."""
    most = 0
    for member in tree(pid):
        status = Path(f"/proc/{member}/status").read_text()
        most += int(status.partition("VmHWM:")[2].split(None, 1)[0]) * 1024
    return most


def whole(workload: Workload, size: int, relay: Server, upstream: Upstream) -> Sample:
    """Measure everything from the first request to the last, and the most memory meanwhile."""
    _reset_peak(relay.pid)
    result = measure(workload, relay, upstream)
    tally = result.tally
    return Sample(relay.name, size, result.unit_microseconds, _peak(relay.pid), tally.lost, tally.failed)


def while_open(workload: Workload, size: int, relay: Server, effort: float) -> Sample | None:
    """Measure for WINDOW_SECONDS, times ``effort``, in which all streams are open, and what memory they added.

    Returns None where the first stream may have ended before: on a machine that is slow to open them.
    """
    order = Order(
        relay.port, workload.clients, workload.requests, workload.events, workload.gap, workload.ramp,
        keys=str(relay.keys) if relay.keys else None,
    )  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.load", msgspec.json.encode(order).decode()]
    before, began = resident_bytes(relay.pid), time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != "open\n":
            raise RuntimeError(f"not every stream began: {line}")
        time.sleep(STILL_SECONDS * effort)
        grown = resident_bytes(relay.pid) - before
        spent, start = cpu_seconds(relay.pid), time.monotonic()
        time.sleep(WINDOW_SECONDS * effort)
        spent, end = cpu_seconds(relay.pid) - spent, time.monotonic()
        tally = msgspec.json.decode(process.stdout.readline(), type=Tally)
    if end - began > workload.events * workload.gap / 1e6:
        return None
    events = workload.clients * (end - start) * 1e6 / workload.gap
    return Sample(relay.name, size, spent / events * 1e6, grown, tally.lost, tally.failed)


def sample(sweep: Sweep, size: int, relay: Server, upstream: Upstream, effort: float) -> Sample:
    """Measure a relay once at a size.

    Raises:
        RuntimeError: the machine is too slow to open the streams.
    """
    workload = sweep.workload(size, effort)
    for longer in (1, 2, 4):
        if sweep.fresh:
            relay.restart()
            measure(_WARM_UP, relay, upstream)
        if not sweep.open:
            return whole(workload, size, relay, upstream)
        found = while_open(replace(workload, events=longer * workload.events), size, relay, effort)
        if found is not None:
            return found
    raise RuntimeError(f"this machine is too slow to open {size} streams")
