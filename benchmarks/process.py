"""What the operating system knows of a process and its children (proc(5)), and small needs of every process here."""

import asyncio
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def cpu_by_process(pid: int) -> dict[int, float]:
    """Return the CPU time that a process and each of its descendants has used, ended children included, in seconds."""
    return {member: _cpu(member) for member in tree(pid)}


def cpu_seconds(pid: int) -> float:
    """Return user and system time that a process and its descendants, ended ones included, have used."""
    return sum(cpu_by_process(pid).values())


def _cpu(pid: int) -> float:
    """The clock of a process counts nanoseconds; its ended children are only known in ticks of a hundredth of a second.

    How the clock's number is made of the process's is Linux's MAKE_PROCESS_CPUCLOCK, see clock_getcpuclockid(3).
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = sum(int(field) for field in fields[13:15]) * _TICK  # cutime, cstime
    return time.clock_gettime((~pid << 3) | 2) + ended


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants; pages that they share count for each."""
    pages = (int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in tree(pid))
    return sum(pages) * resource.getpagesize()


def new_loop() -> asyncio.AbstractEventLoop:
    """Return the cheapest event loop there is, for processes that are not what is measured."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def raise_file_limit() -> int:
    """Allow as many open files as the system lets this process have, for its children too; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
