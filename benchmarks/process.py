"""What the operating system knows of a process and its children (proc(5)), and small needs of every process here."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """Return user and system time that a process and its descendants, ended ones included, have used."""
    ticks = 0
    for member in tree(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return ticks * _TICK


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
