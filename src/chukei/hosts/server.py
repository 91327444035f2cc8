"""The relay as a server: uvicorn with the relay's protocol, in one process or several that share a socket."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from uvicorn import Config, Server

from chukei.adapters.logs.process_log import start_log
from chukei.config import ServerSettings, Settings
from chukei.hosts.asgi import Application, from_environment
from chukei.hosts.workers import ENDING, INTERRUPTED, Link, Supervisor, handled

logger = logging.getLogger(__name__)

BACKLOG = 2048
GARBAGE = 50_000
"""So many new objects that might form cycles start a collection. A request leaves none behind: each of Python's usual
collections, one for every 700 or 2,000, would look through all that is being served and find nothing."""

MARGIN_SECONDS = 1.5
"""Seconds that a shutdown may take after the grace period: last events, settling, closing."""

CLOSING_SECONDS = 10.0
"""What closing may take besides, before a worker is killed: every part of it has a limit of its own."""


class RelayServer(Server):
    """A server that reports when it accepts connections, and shuts down in order.

    After the first signal running requests have the grace period; a second interrupt from the keyboard ends it
    (``forced``). uvicorn itself would then abandon requests and the ledger, and raise the signal again at the end. A
    worker gets interrupts from its parent (``alone`` is false).
    """

    def __init__(self, config: Config, ready: Callable[[], None], *, alone: bool = True) -> None:
        super().__init__(config)
        self._ready = ready
        self._alone = alone
        self._loop: asyncio.AbstractEventLoop | None = None
        self.forced = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs."""
        with handled(self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: object) -> None:
        """Handle a signal."""
        if self.should_exit and sig == signal.SIGINT and self._alone:
            self.force()
        self.should_exit = True

    def force(self) -> None:
        """End the grace period. Any thread may call this."""
        self.forced = True
        application = self.config.loaded_app
        if self._loop is not None and isinstance(application, Application):
            self._loop.call_soon_threadsafe(application.stop_all)

    def leave(self, *_: object) -> None:
        """Exit at once if the server has not started; afterwards do nothing."""
        if not self.started:
            raise SystemExit(0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and report it."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(settings: Settings, listener: socket.socket, *, workers: int, ready: Callable[[str], None]) -> int:
    """Serve on what ``listen`` returned until a signal comes; return the exit status. ``ready`` is told the address.

    Each process builds its application from the environment, so what differs from it must have been put there.
    """
    url = _url(listener)
    if workers > 1:
        seconds = settings.server.grace_seconds + MARGIN_SECONDS + CLOSING_SECONDS
        first = partial(start_log, settings.log)
        work = partial(_work, settings.server)
        return Supervisor(work, listener, workers, seconds=seconds, first=first).run(lambda: ready(url))
    server = RelayServer(_config(settings.server), lambda: ready(url))
    with handled(server.leave):
        return _run(server, listener)


def _work(server: ServerSettings, listener: socket.socket, link: Link) -> int:
    """Be one of several processes."""
    one = RelayServer(_config(server), link.serves, alone=False)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, one.leave)
    link.follow(one.force)
    return _run(one, listener)


def _run(server: RelayServer, listener: socket.socket) -> int:
    try:
        server.run(sockets=[listener])
    except Exception:
        logger.critical("the server ends by an error", exc_info=True)
        return 1
    return INTERRUPTED if server.forced else 0


def listen(host: str, port: int) -> socket.socket:
    """Bind an address. (uvicorn would end the process with the status of a wrong configuration.)

    Raises:
        OSError: the address is not available.
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


def _config(server: ServerSettings) -> Config:
    return Config(
        app="chukei.hosts.server:worker_application",
        factory=True,
        host=server.host,
        port=server.port,
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
    """Return the application of a worker process."""
    application = from_environment()
    start_log(application.settings.log)
    gc.freeze()  # imported objects stay for good, so the garbage collector can skip them
    gc.set_threshold(GARBAGE, 20, 100)
    return application
