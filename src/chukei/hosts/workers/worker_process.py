"""One worker process, as its parent sees it and as it starts."""

import logging
import multiprocessing
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import SpawnProcess

from chukei.hosts.hangup import HANGUP
from chukei.hosts.leaving import Leave
from chukei.hosts.signals import RESTARTING, handle, held_back, let_through
from chukei.hosts.workers.channel import Channel, Inbox
from chukei.hosts.workers.link import Link
from chukei.hosts.workers.messages import Ping
from chukei.hosts.workers.questions import Member

logger = logging.getLogger(__name__)

Work = Callable[[socket.socket, Link], int]
"""A worker's function: it serves a socket, reports that, and returns the exit status of its process."""

READING_SECONDS = 1.0
"""How long to read the pipe of an ended worker. Longer only if a process that it started holds the pipe open."""

START_SECONDS = 120.0
"""How long a worker may take until it serves. What it waits for at its start has shorter limits of its own."""

_spawn = multiprocessing.get_context("spawn")


class WorkerProcess:
    """One process, and the parent's end of its pipe. Its messages come to the inbox, with this object.

    ``kept`` are the settings to start with if those on disk have mistakes (``Link``).
    """

    def __init__(
        self,
        work: tuple[Callable[[], None], bytes],
        listener: socket.socket,
        inbox: "Inbox[tuple[WorkerProcess | None, object]]",
        kept: bytes | None = None,
    ) -> None:
        pipe, theirs = Pipe()
        self.serves = False
        self.leaving = False
        self.running: int | None = None  # its requests, once it leaves
        self.stopped = 0  # requests that it has ended early
        self.started = time.monotonic()
        self.deadline: float | None = self.started + START_SECONDS  # by which it must serve, or have ended
        self._unanswered = 0
        self.process: SpawnProcess = _spawn.Process(target=_run, args=(*work, listener, theirs, kept))
        with held_back():  # also from the threads: only the main thread can handle a signal
            self.process.start()
            theirs.close()
            self._channel = Channel(pipe, f"chukei-worker-{self.pid}")
            self._channel.receive(lambda message: inbox.put((self, message)), lambda: None)
        self.member = Member(self._channel.send)
        self.tell = self._channel.send

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid or 0

    def serve(self) -> None:
        """Record that it serves."""
        self.serves = True
        if not self.leaving:
            self.deadline = None

    def leave(self, how: Leave, deadline: float) -> None:
        """Tell it to leave, and to have ended by then."""
        self.leaving = True
        self.deadline = deadline
        self.tell(how)

    def ping(self) -> int:
        """Ask for a sign of life, and return how many times that was in vain before."""
        before = self._unanswered
        self._unanswered += 1
        if not before:
            self.tell(Ping())
        return before

    def is_alive(self) -> None:
        """Record a sign of life."""
        self._unanswered = 0

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        """Read what the process has sent before it ended."""
        self.process.join()
        self._channel.close(READING_SECONDS)

    @property
    def status(self) -> int:
        """The exit status, as a shell would show it."""
        code = self.process.exitcode or 0
        return 128 - code if code < 0 else code

    @property
    def end(self) -> str:
        """The exit status or the signal, in words."""
        code = self.process.exitcode or 0
        return f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _run(first: Callable[[], None], work: bytes, listener: socket.socket, pipe: Connection, kept: bytes | None) -> None:
    """Run a worker process. ``work`` is pickled, so that its imports come after ``first``, which starts the log."""
    first()
    handle(_leave)
    handle(lambda *_: None, RESTARTING)  # a signal to the whole group is meant for the parent
    let_through()
    link = Link(pipe, kept)
    try:
        status = pickle.loads(work)(listener, link)  # noqa: S301 - the parent process made it
    except Exception:
        logger.critical("a worker ends by an error", exc_info=True)
        status = 1
    link.close()
    sys.exit(status)


def _leave(number: int, _: object) -> None:
    """Exit at once, before the server has started. What a SIGHUP to the whole group means, the parent says."""
    if number != HANGUP:
        raise SystemExit(0)
