"""Less than a core for a process: a CPU quota of a control group (cgroups(7)), where the system lets this one set it.

With it the number of workers limits a relay, and not the cores that it shares with its upstream and clients.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

PERIOD = 20_000
"""Microseconds; a quota is spent within each."""

_numbers = itertools.count()


def _groups() -> tuple[Path, bool] | None:
    """Return the folder of this process's CPU group, and whether it is of the unified hierarchy; None without one."""
    mine: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mine |= dict.fromkeys(controllers.split(","), path)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(",") and "cpu" in mine:
            return Path(place) / mine["cpu"].lstrip("/"), False
        if kind == "cgroup2" and "" in mine:
            folder = Path(place) / mine[""].lstrip("/")
            with contextlib.suppress(OSError):
                if "cpu" in (folder / "cgroup.controllers").read_text().split():
                    return folder, True
    return None


@contextlib.contextmanager
def limited(pids: list[int], share: float) -> Iterator[None]:
    """Let each of these processes have so much of a core, until they have ended or this is left.

    Raises:
        OSError: the system does not allow it.
    """
    found = _groups()
    if found is None:
        raise FileNotFoundError("there is no control group for CPU time")
    parent, unified = found
    if unified:
        (parent / "cgroup.subtree_control").write_text("+cpu")
    made: list[Path] = []
    try:
        for pid in pids:
            group = parent / f"chukei-benchmark-{os.getpid()}-{next(_numbers)}"
            group.mkdir()
            made.append(group)
            quota = int(PERIOD * share)
            if unified:
                (group / "cpu.max").write_text(f"{quota} {PERIOD}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in made:
            for member in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (parent / "cgroup.procs").write_text(member)
            with contextlib.suppress(OSError):
                group.rmdir()
