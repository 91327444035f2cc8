"""The relay as a server: uvicorn with the relay's protocol, in one process or several that share a socket."""

import gc
import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial

from uvicorn import Config

from chukei.adapters.logs.formats import is_text
from chukei.adapters.logs.process_log import is_terminal, say, start_log
from chukei.config import ConfigError, ServerSettings, Settings
from chukei.gateway.scrape import COUNTS
from chukei.hosts.asgi import Application, from_environment
from chukei.hosts.awaited import Awaited
from chukei.hosts.leaving import Stopping, drained
from chukei.hosts.relay_server import RelayServer
from chukei.hosts.signals import RESTARTING, handle, ignore
from chukei.hosts.systemd import notify
from chukei.hosts.workers.link import Link
from chukei.hosts.workers.questions import Fold
from chukei.hosts.workers.supervisor import Limits, Supervisor
from chukei.metrics.snapshot import merge

logger = logging.getLogger(__name__)

BACKLOG = 2048
GARBAGE = 50_000
"""So many new objects that might form cycles start a collection. A request leaves none behind: each of Python's usual
collections, one for every 700 or 2,000, would look through all that is being served and find nothing."""

MARGIN_SECONDS = 1.5
"""Seconds that a shutdown may take after the grace period: last events, settling, closing."""

CLOSING_SECONDS = 10.0
"""What closing may take besides, before a worker is killed: every part of it has a limit of its own."""

FOLDS: Mapping[str, Fold] = {COUNTS: merge}
"""What ended workers leave on these subjects is kept, folded into one answer."""


def serve(settings: Settings, listener: socket.socket, *, workers: int, ready: Callable[[str], None]) -> int:
    """Serve on what ``listen`` returned until a signal comes; return the exit status. ``ready`` is told the address.

    Each process builds its application from the environment, so what differs from it must have been put there.
    """
    server = settings.server

    def serves() -> None:
        ready(_url(listener))
        notify("READY=1")

    stopping = Stopping(server.drain_seconds)
    awaited = Awaited(
        partial(say, settings.log), terminal=is_terminal() and is_text(settings.log.format, terminal=True)
    )
    if workers > 1:
        work = partial(_work, server)
        limits = Limits(server.grace_seconds + MARGIN_SECONDS + CLOSING_SECONDS, server.hang_seconds)
        supervisor = Supervisor(
            work, listener, workers, stopping, awaited, limits, partial(start_log, settings.log), folds=FOLDS
        )
        status = supervisor.run(serves)
        ignore()
        return status
    one = RelayServer(_config(server, worker_application), serves, stopping, awaited.progress)
    handle(one.exit_early)
    handle(one.cannot_restart, RESTARTING)
    status = _run(one, listener)
    ignore()
    awaited.over()
    return status or stopping.status


def _work(server: ServerSettings, listener: socket.socket, link: Link) -> int:
    """Be one of several processes."""
    application = partial(worker_application, link)
    stopping = Stopping(server.drain_seconds)
    one = RelayServer(_config(server, application), link.serves, stopping, link.progress, alone=False)
    handle(one.exit_early)
    link.follow(one.leave, one.force, one.reload, lost=lambda: one.leave(drained(server.drain_seconds)))
    return _run(one, listener)


def _run(server: RelayServer, listener: socket.socket) -> int:
    try:
        server.run(sockets=[listener])
    except ConfigError as error:
        logger.critical("%s", error)
        return 1
    except Exception:
        logger.critical("the server ends by an error", exc_info=True)
        return 1
    return 0


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
        http="chukei.hosts.http.protocol:StrictProtocol",
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


def worker_application(link: Link | None = None) -> Application:
    """Return the application of a process that serves; ``link`` connects it with the others, if there are several."""
    application = from_environment() if link is None else from_environment(workers=link)
    start_log(application.settings.log)
    gc.freeze()  # imported objects stay for good, so the garbage collector can skip them
    gc.set_threshold(GARBAGE, 20, 100)
    return application
