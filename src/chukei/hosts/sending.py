"""How a client's socket is written to."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

UNSENT_BYTES = 64 * 1024
"""How much the kernel may take for a client before it is sent; left alone it takes 4 MB for one that does not read."""

_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS have it


def send_at_once(connection: Any) -> None:
    """Give every later write to the client its own packet, and bound what the kernel holds back.

    asyncio leaves Nagle's algorithm on for sockets that were accepted from uvicorn's listener (it was made without
    naming TCP), which holds tokens back for the 40 ms of the client's delayed acknowledgement.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _NOTSENT_LOWAT is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)


def write_all(transport: Any) -> Callable[[Iterable[bytes]], None]:
    """Return what writes several parts. asyncio's own did without flow control once (CVE-2024-12254)."""
    if isinstance(transport, asyncio.Transport):
        return partial(_write_joined, transport)
    written: Callable[[Iterable[bytes]], None] = transport.writelines
    return written


def _write_joined(transport: asyncio.WriteTransport, parts: Iterable[bytes]) -> None:
    transport.write(b"".join(parts))
