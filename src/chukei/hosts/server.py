"""The relay as a server: uvicorn with the relay's protocol, in one process or several that share a socket."""

import asyncio
import gc
import logging
import math
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

from uvicorn import Config, Server

from chukei.adapters.logs.requests import configure_logging, is_text, log_crashes
from chukei.config import LogSettings, ServerSettings, Settings
from chukei.hosts.asgi import Application, from_environment
from chukei.hosts.awaited import Awaited
from chukei.hosts.hangup import HANGUP, Hangup
from chukei.hosts.leaving import Leave, Stopping, drained
from chukei.hosts.link import Link
from chukei.hosts.protocol import StrictProtocol
from chukei.hosts.questions import Fold
from chukei.hosts.signals import RESTARTING, handle, handled, ignore
from chukei.hosts.workers import Limits, Supervisor
from chukei.ports import Peers

logger = logging.getLogger(__name__)
announcer = logging.getLogger("chukei.start")
announcer.setLevel(logging.INFO)  # whatever the log's level: whoever starts a relay must learn where it is

BACKLOG = 2048
GARBAGE = 50_000
"""So many new objects that might form cycles start a collection. A request leaves none behind: each of Python's usual
collections, one for every 700 or 2,000, would look through all that is being served and find nothing."""

MARGIN_SECONDS = 1.5
"""Seconds that a shutdown may take after the grace period: last events, settling, closing."""

TICK_SECONDS = 0.1

REPORT_SECONDS = 0.25
"""The time between two reports of the requests that are running, after a signal."""

Progress = Callable[[int, int], None]

CLOSING_SECONDS = 10.0
"""What closing may take besides, before a worker is killed: every part of it has a limit of its own."""

NO_RESTART = "one process does not restart itself: use --workers, or several replicas"

FOLDS: Mapping[str, Fold] = {}
"""What ended workers leave on these subjects is kept, folded into one answer."""


class RelayServer(Server):
    """A server that reports when it accepts connections, and stops serving in the phases of ``leaving``.

    uvicorn itself would close its sockets and idle connections at once, abandon requests and the ledger on a second
    signal, and raise the signal again at the end. A worker (``alone`` is false) gets further signals from its parent.
    ``progress`` is told often how many requests are running, and how many were ended early, from the first signal on.
    """

    def __init__(
        self, config: Config, ready: Callable[[], None], stopping: Stopping, progress: Progress, *, alone: bool = True
    ) -> None:
        super().__init__(config)
        self.stopping = stopping
        self._ready = ready
        self._progress = progress
        self._alone = alone
        self._hangup = Hangup()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[socket.socket] = []
        self._reporting: asyncio.Task[None] | None = None

    @property
    def _application(self) -> Application:
        application = self.config.loaded_app
        assert isinstance(application, Application)
        return application

    @property
    def _connections(self) -> list[StrictProtocol]:
        return [each for each in self.server_state.connections if isinstance(each, StrictProtocol)]

    # Signals, and what a parent tells.

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs."""
        with handled(self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: object) -> None:
        """Handle a signal."""
        if sig == HANGUP and not self._hangup.ends:
            self.reload()
            return
        if self._alone or self.stopping.leave is None:
            self.stopping.signalled(sig)
        self.should_exit = True
        if self.stopping.at_once:
            self.force()

    def leave(self, how: Leave) -> None:
        """Stop serving. Any thread may call this."""
        self.stopping.leave = self.stopping.leave or how
        if self._loop is not None and self.started:
            self.should_exit = True
        else:
            signal.raise_signal(signal.SIGTERM)

    def force(self) -> None:
        """End what runs. Any thread may call this."""
        self.stopping.at_once = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._application.stop_all)

    def reload(self) -> None:
        """Read the configuration again, as a signal says to all workers. Any thread may call this."""
        if self._loop is not None and self.started:
            self._loop.call_soon_threadsafe(self._application.reloads.soon, "SIGHUP")

    def exit_early(self, sig: int, _: object) -> None:
        """Exit at once if the server has not started; afterwards do nothing."""
        if not self.started and (sig != HANGUP or self._hangup.ends):
            raise SystemExit(0)

    def cannot_restart(self, *_: object) -> None:
        """Say that a process without a successor does not restart."""
        if self._loop is not None:  # not here: the signal may have interrupted a logger
            self._loop.call_soon_threadsafe(logger.warning, NO_RESTART)

    # The life of the server.

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and report it."""
        self._loop = asyncio.get_running_loop()
        self._listeners = sockets or []
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def main_loop(self) -> None:
        """Serve until a signal, and on until calls are to be refused."""
        await super().main_loop()
        how = self.stopping.leave or Leave()
        self._application.leave(ready=how.ready)
        for connection in self._connections:
            connection.leave()
        self._reporting = asyncio.create_task(self._report())
        await self._serve_on(how.accepting)
        if not how.handing:
            self._application.drain()
        await self._stop_accepting()
        if how.handing:
            await self._serve_on(how.handing, lambda: not self.server_state.connections)
            for connection in self._connections:
                connection.close_idle()

    async def _serve_on(self, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        ticks = math.ceil(seconds / TICK_SECONDS)
        for tick in range(ticks):
            if self.stopping.at_once or over():
                return
            await self.on_tick(tick)  # for the date in answers
            await asyncio.sleep(TICK_SECONDS)

    async def _stop_accepting(self) -> None:
        """Close the sockets. What the kernel has accepted by then is served; it would be reset with the last socket.

        The loop closes its own sockets later. So copies stay open until that, and are closed right after a look.
        """
        copies = [listener.dup() for listener in self._listeners]
        for server in self.servers:
            server.close()
        for listener in self._listeners:
            listener.close()
        await asyncio.sleep(TICK_SECONDS)
        waiting = [connection for copy in copies for connection in _accepted(copy)]
        for connection in waiting:
            task = asyncio.create_task(self._adopt(connection))
            self.server_state.tasks.add(task)
            task.add_done_callback(self.server_state.tasks.discard)

    async def _adopt(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: StrictProtocol(self.config, self.server_state, self.lifespan.state), connection
        )

    async def _report(self) -> None:
        while True:
            self._progress(self._application.running, self._application.stopped)
            await asyncio.sleep(REPORT_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse calls, give running ones the grace period, and close everything."""
        await super().shutdown(sockets)
        if self._reporting is not None:
            self._reporting.cancel()
        self._progress(0, self._application.stopped)


def _accepted(listener: socket.socket) -> list[socket.socket]:
    """Accept all connections that wait, and close the socket."""
    listener.setblocking(False)
    waiting = []
    with listener, suppress(OSError):  # there is none
        while True:
            waiting.append(listener.accept()[0])
    for connection in waiting:
        connection.setblocking(False)
    return waiting


def serve(settings: Settings, listener: socket.socket, *, workers: int, ready: Callable[[str], None]) -> int:
    """Serve on what ``listen`` returned until a signal comes; return the exit status. ``ready`` is told the address.

    Each process builds its application from the environment, so what differs from it must have been put there.
    """
    server, url = settings.server, _url(listener)
    stopping = Stopping(server.drain_seconds)
    awaited = Awaited(
        partial(say, settings.log), terminal=_is_terminal() and is_text(settings.log.format, terminal=True)
    )
    if workers > 1:
        work = partial(_work, server, settings.log)
        limits = Limits(server.grace_seconds + MARGIN_SECONDS + CLOSING_SECONDS, server.hang_seconds)
        supervisor = Supervisor(work, listener, workers, stopping, awaited, limits, folds=FOLDS)
        status = supervisor.run(lambda: ready(url))
        ignore()
        return status
    one = RelayServer(_config(server, worker_application), lambda: ready(url), stopping, awaited.progress)
    handle(one.exit_early)
    handle(one.cannot_restart, RESTARTING)
    status = _run(one, listener)
    ignore()
    awaited.over()
    return status or stopping.status


def _work(server: ServerSettings, log: LogSettings, listener: socket.socket, link: Link) -> int:
    """Be one of several processes."""
    start_log(log)
    application = partial(worker_application, link.peers)
    stopping = Stopping(server.drain_seconds)
    one = RelayServer(_config(server, application), link.serves, stopping, link.progress, alone=False)
    handle(one.exit_early)
    link.follow(one.leave, one.force, one.reload, lost=lambda: one.leave(drained(server.drain_seconds)))
    return _run(one, listener)


def _run(server: RelayServer, listener: socket.socket) -> int:
    try:
        server.run(sockets=[listener])
    except Exception:
        logger.critical("the server ends by an error", exc_info=True)
        return 1
    return 0


def start_log(log: LogSettings) -> None:
    """Write everything that this process prints to standard error as lines of the log."""
    configure_logging(log.format, log.level, terminal=_is_terminal())
    log_crashes()


def say(log: LogSettings, level: int, text: str, **fields: object) -> None:
    """Tell the operator something about the start: in plain words where the log is for people, else as a line of it."""
    if is_text(log.format, terminal=_is_terminal()):
        word = f"{logging.getLevelName(level).lower()}: " if level > logging.INFO else ""
        sys.stderr.write(f"chukei: {word}{text}\n")
        sys.stderr.flush()
    else:
        announcer.log(level, "%s", text, extra={"fields": fields})


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


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


def _config(server: ServerSettings, application: Callable[[], Application]) -> Config:
    return Config(
        app=application,
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


def worker_application(peers: Peers | None = None) -> Application:
    """Return the application of a worker process. ``peers`` are all workers, if there are several."""
    application = from_environment(peers=peers)
    start_log(application.settings.log)
    gc.freeze()  # imported objects stay for good, so the garbage collector can skip them
    gc.set_threshold(GARBAGE, 20, 100)
    return application
