"""The relay with additional work for each event: ``python -m benchmarks.costly PORT``.

A test uses it to see the guard fail. It parses the JSON of every event. The relay itself searches for a few markers and
parses only the events that contain one.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any, cast

from uvicorn import Config, Server

from chukei.hosts.http.protocol import StrictProtocol


class _Parsing:
    """A transport that parses what is written to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Parse each event, and write."""
        for line in data.split(b"\n"):
            if line.startswith(b"data: {"):
                json.loads(line[6:])
        self._transport.write(data)

    def writelines(self, parts: Iterable[bytes]) -> None:
        """The same for several parts."""
        self.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CostlyProtocol(StrictProtocol):
    """One client connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Replace the transport by the one that parses."""
        super().connection_made(cast(asyncio.Transport, _Parsing(transport)))


def main(port: int) -> None:
    """Serve until a signal comes, configured by the environment."""
    config = Config(
        "chukei.hosts.server:worker_application",
        factory=True,
        port=port,
        http=CostlyProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    Server(config).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
