"""Ports for servers that must be told theirs."""

import secrets
import socket


def free_port() -> int:
    """Return a port of the loopback interface that is free now.

    Systems give connections ports from 32768 on (Linux) or 49152 on (others) as their own ends. One of those could be
    taken before its server listens, or while its server is restarted, so this is a lower one.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
