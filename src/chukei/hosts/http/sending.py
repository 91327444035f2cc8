"""Socket options and write functions for a client's connection."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

UNSENT_BYTES = 64 * 1024
"""Unsent bytes that the kernel may buffer for a client; by default it buffers 4 MB for a client that does not read."""

_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS have it


def send_at_once(connection: Any) -> None:
    """Disable Nagle's algorithm, and bound the kernel's send buffer.

    asyncio leaves Nagle's algorithm on for sockets from uvicorn's listener, since that is created without a protocol
    number. Tokens would then wait for the client's delayed acknowledgement, 40 ms.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _NOTSENT_LOWAT is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)


def write_all(transport: Any) -> Callable[[Iterable[bytes]], None]:
    """Return a function that writes several parts. asyncio's writelines once lacked flow control (CVE-2024-12254)."""
    if isinstance(transport, asyncio.Transport):
        return partial(_write_joined, transport)
    written: Callable[[Iterable[bytes]], None] = transport.writelines
    return written


def _write_joined(transport: asyncio.WriteTransport, parts: Iterable[bytes]) -> None:
    transport.write(b"".join(parts))
