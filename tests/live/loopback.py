"""The kernel's list of loopback connections, and addresses to which connecting fails."""

import asyncio
import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def queued(descriptor: int, request: int) -> int:
    """Return how many bytes a socket has unread (FIONREAD) or unacknowledged (TIOCOUTQ); 0 if it is closed."""
    try:
        answer = fcntl.ioctl(descriptor, request, bytes(4))
    except (OSError, ValueError):  # closed meanwhile; its descriptor is -1 then
        return 0
    return int(struct.unpack("i", answer)[0])


def descriptor_of_peer(writer: asyncio.StreamWriter) -> int:
    """Return the descriptor of a connection's other end where it is in this process, else -1."""
    ours, theirs = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            candidate = socket.socket(fileno=int(entry.name))
        except OSError:
            continue
        try:
            if candidate.getsockname() == theirs and candidate.getpeername() == ours:
                return int(entry.name)
        except OSError:
            pass
        finally:
            candidate.detach()
    return -1


@contextmanager
def black_hole() -> Iterator[int]:
    """Give a port on which connecting never ends: a listener whose queue is full, so that the kernel drops SYNs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        queued = []
        try:
            for _ in range(4):
                waiting = socket.socket()
                waiting.setblocking(False)
                queued.append(waiting)
                waiting.connect_ex(address)
            yield address[1]
        finally:
            for waiting in queued:
                waiting.close()


def refusing_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
