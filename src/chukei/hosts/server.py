"""The relay as a server: uvicorn with our strict protocol, in one process or several that share a socket."""

import gc
import signal
import socket
import sys
from collections.abc import Callable

from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from chukei.adapters.request_log import configure_logging
from chukei.config import Settings
from chukei.hosts.asgi import Application, from_environment

BACKLOG = 2048
GARBAGE = 50_000
"""So many new objects that might form cycles start a collection. A request leaves none behind: each of Python's usual
collections, one for every 700 or 2,000, would look through all that is being served and find nothing."""

MARGIN_SECONDS = 1.5
"""What a shutdown may take beyond the grace period: last events, settling, closing."""


class _AnnouncedServer(Server):
    """A server that says when it accepts connections."""

    def __init__(self, config: Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    def leave(self, *_: object) -> None:
        """End at once before the start. uvicorn shuts down in good order and then raises the signal once more."""
        if not self.started:
            raise SystemExit(0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(settings: Settings, listener: socket.socket, *, workers: int, ready: Callable[[str], None]) -> None:
    """Serve on what ``listen`` returned until a signal comes. ``ready`` is told the address.

    Each process builds its application from the environment, so what differs from it must have been put there.
    """
    config = _config(settings, workers)
    url = _url(listener)
    if workers == 1:
        server = _AnnouncedServer(config, lambda: ready(url))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.leave)
        server.run(sockets=[listener])
    else:
        ready(url)
        Multiprocess(config, sockets=[listener]).run()


def listen(host: str, port: int) -> socket.socket:
    """Bind an address. (uvicorn would end the process with the status of a wrong configuration.)

    Raises:
        OSError: the address cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(settings: Settings, workers: int) -> Config:
    server = settings.server
    return Config(
        app="chukei.hosts.server:worker_application",
        factory=True,
        host=server.host,
        port=server.port,
        workers=workers,
        http="chukei.hosts.protocol:StrictProtocol",
        ws="none",
        loop="auto",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(server.keepalive_seconds),
        timeout_graceful_shutdown=server.grace_seconds + MARGIN_SECONDS,  # type: ignore[arg-type]
    )


def worker_application() -> Application:
    """Return a worker's application, in a process that may have just begun."""
    application = from_environment()
    log = application.settings.log
    configure_logging(log.format, log.level, terminal=sys.stderr.isatty())
    gc.freeze()  # what the imports made stays for good, so collecting garbage need not look at it
    gc.set_threshold(GARBAGE, 20, 100)
    return application
