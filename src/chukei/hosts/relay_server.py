"""A server that stops serving in phases: uvicorn's, with signals and an end of our own."""

import asyncio
import logging
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from uvicorn import Config, Server

from chukei.hosts.asgi import Application
from chukei.hosts.hangup import HANGUP, Hangup
from chukei.hosts.http.protocol import StrictProtocol
from chukei.hosts.leaving import Leave, Stopping
from chukei.hosts.signals import handled
from chukei.hosts.systemd import notify

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.1

REPORT_SECONDS = 0.25
"""The time between two reports of the requests that are running, after a signal."""

Progress = Callable[[int, int], None]

NO_RESTART = "one process does not restart itself: use --workers, or several replicas"


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
        self._changed = False  # the configuration, it may be, since this process has read it
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
        if self._alone and self.stopping.at_once:
            self.force()

    def leave(self, how: Leave) -> None:
        """Stop serving; before the start, as soon as that is over. Any thread may call this."""
        self.stopping.leave = self.stopping.leave or how
        self.should_exit = True

    def force(self) -> None:
        """End what runs. Any thread may call this."""
        self.stopping.at_once = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._application.stop_all)

    def reload(self) -> None:
        """Read the configuration again, as a signal says to all workers; before the start, as soon as that is over. Any
        thread may call this."""
        self._changed = True
        if self._loop is not None and self.started:
            self._loop.call_soon_threadsafe(self._application.reloads.soon, "SIGHUP")

    def exit_early(self, sig: int, _: object) -> None:
        """Exit at once if the server has not started; afterwards do nothing. Remember to reload, if that is meant.

        Python drops the exception where it cannot be raised, as in the bookkeeping of imports. Then the start goes on.
        """
        if sig == HANGUP and not self._hangup.ends:
            self._changed = True
        elif not self.started:
            self.should_exit = True
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
            if self._changed:
                self._application.reloads.soon("a request during the start", quiet=True)
            if not self._alone:
                self._application.join()

    async def main_loop(self) -> None:
        """Serve until a signal, and on until calls are to be refused."""
        await super().main_loop()
        how = self.stopping.leave or Leave()
        if self._alone:
            notify("STOPPING=1")
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
