"""Worker processes that serve one listening socket, and their supervisor.

A pipe connects each worker to its parent. The worker reports when it accepts connections, and the parent tells it to
shut down. The pipe closes when either process dies, so a worker also shuts down in order when its parent is dead.
"""

import logging
import multiprocessing
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.context import SpawnProcess

logger = logging.getLogger(__name__)

Work = Callable[[socket.socket, "Link"], int]
"""A worker's function: it serves a socket, reports that, and returns the exit status of its process."""

RESTART_SECONDS = 1.0
"""Seconds before a worker that ended early is replaced, so that a permanent fault causes little load."""

SOON_SECONDS = 10.0
"""Seconds that a worker must have run to be replaced at once."""

_END, _NOW = "end", "now"
INTERRUPTED = 130
"""The exit status after an interrupt from the keyboard (128 and the signal's number)."""

_spawn = multiprocessing.get_context("spawn")
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""The signals for an orderly shutdown. SIGHUP is sent when the terminal closes."""


@contextmanager
def handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle the signals for a shutdown, except a SIGHUP that the parent process ignores (nohup)."""
    numbers = [number for number in ENDING if not _is_ignored(number)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def _is_ignored(number: int) -> bool:
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


class Supervisor:
    """Runs ``count`` workers, replaces those that die, and shuts all down on a signal.

    ``seconds`` limits the orderly shutdown of a worker. A new worker calls ``first`` before it imports anything else.
    """

    def __init__(
        self, work: Work, listener: socket.socket, count: int, *, seconds: float, first: Callable[[], None]
    ) -> None:
        self._work = (first, pickle.dumps(work))
        self._listener = listener
        self._count = count
        self._seconds = seconds
        self._workers: list[_Worker] = []
        self._due: list[float] = []  # times at which further workers are started
        self._interrupts = 0
        self._ending = False
        self._heard, self._bell = Pipe(duplex=False)

    def run(self, ready: Callable[[], None]) -> int:
        """Serve until a signal; return the exit status. ``ready`` is called when all workers serve.

        If a worker ends before that, all are shut down: a replacement would fail for the same reason.
        """
        with handled(self._signalled):
            self._due = [0.0] * self._count
            status = self._start(ready)
            if status is None:
                while not self._ending:
                    failed = self._step()
                    if failed is not None:
                        logger.error("worker %d ended before it served (%s)", failed.pid, failed.end)
                status = 0
            self._end()
        return INTERRUPTED if self._interrupts > 1 else status

    def _signalled(self, number: int, _: object) -> None:
        self._interrupts += number == signal.SIGINT
        self._bell.send(number)

    def _start(self, ready: Callable[[], None]) -> int | None:
        while not self._ending:
            failed = self._step()
            if failed is not None:
                logger.error("worker %d ended before it served (%s)", failed.pid, failed.end)
                return failed.status or 1
            if len(self._workers) == self._count and all(worker.serves for worker in self._workers):
                ready()
                return None
        return 0

    def _step(self) -> "_Worker | None":
        """Start workers that are due, and wait for an event; return a worker that ended before it served."""
        now = time.monotonic()
        for moment in [moment for moment in self._due if moment <= now]:
            self._due.remove(moment)
            self._workers.append(_Worker(self._work, self._listener))
        events: dict[object, _Worker | None] = {self._heard: None}
        for worker in self._workers:
            events |= dict.fromkeys(worker.events, worker)
        timeout = min(self._due) - now if self._due else None
        failed = None
        for event in wait(list(events), timeout):  # type: ignore[arg-type]
            found = events[event]
            if found is None:
                self._ending = self._heard.recv() is not None
            elif found.is_over():
                failed = failed or self._replace(found)
        return failed

    def _replace(self, worker: "_Worker") -> "_Worker | None":
        if worker not in self._workers:
            return None
        self._workers.remove(worker)
        now = time.monotonic()
        self._due.append(now + (0.0 if now >= worker.started + SOON_SECONDS else RESTART_SECONDS))
        if not worker.serves:
            return worker
        logger.error("worker %d ended (%s), and another takes its place", worker.pid, worker.end)
        return None

    def _end(self) -> None:
        """Shut all workers down in order; kill those that take too long."""
        self._listener.close()  # else new connections would wait for an answer
        for worker in self._workers:
            worker.tell(_END)
        deadline = time.monotonic() + self._seconds
        forced = False
        while left := [worker for worker in self._workers if worker.process.is_alive()]:
            wait([self._heard, *(worker.process.sentinel for worker in left)], max(deadline - time.monotonic(), 0.0))
            while self._heard.poll():
                self._heard.recv()
            if self._interrupts > 1 and not forced:
                forced = True
                for worker in left:
                    worker.tell(_NOW)
            if time.monotonic() >= deadline:
                for worker in left:
                    logger.error("worker %d does not end and is killed", worker.pid)
                    worker.process.kill()
                    worker.process.join()


class _Worker:
    """One process, and this end of its pipe."""

    def __init__(self, work: tuple[Callable[[], None], bytes], listener: socket.socket) -> None:
        self._pipe, theirs = Pipe()
        self.serves = False
        self.started = time.monotonic()
        self.process: SpawnProcess = _spawn.Process(target=_run, args=(*work, listener, theirs))
        with _signals_held_back():
            self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    @property
    def events(self) -> Mapping[object, None]:
        """The objects to wait for: the process, and its pipe while that is open."""
        return dict.fromkeys((self.process.sentinel, *((self._pipe,) if not self._pipe.closed else ())))

    def is_over(self) -> bool:
        """Read the pipe; return whether the process has ended."""
        try:
            while not self._pipe.closed and self._pipe.poll():
                self.serves = bool(self._pipe.recv())
        except (EOFError, OSError):
            self._pipe.close()
            self.process.join()  # its end of the pipe is closed by its death
        return not self.process.is_alive()

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

    def tell(self, what: str) -> None:
        """Tell the worker to shut down."""
        with suppress(OSError):  # it is dead
            self._pipe.send(what)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Block signals in a process that is being started, until it can handle them: it inherits the mask."""
    mask = getattr(signal, "pthread_sigmask", None)
    if mask is None:
        yield
        return
    before = mask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        mask(signal.SIG_SETMASK, before)


def _run(first: Callable[[], None], work: bytes, listener: socket.socket, pipe: Connection) -> None:
    """Run a worker process. ``work`` is pickled, so that its imports come after ``first``, which starts the log."""
    first()
    for number in ENDING:
        if not _is_ignored(number):
            signal.signal(number, _leave)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        status = pickle.loads(work)(listener, Link(pipe))  # noqa: S301 - the parent process made it
    except Exception:
        logger.critical("a worker ends by an error", exc_info=True)
        status = 1
    sys.exit(status)


def _leave(*_: object) -> None:
    """Exit at once, before the server has started."""
    raise SystemExit(0)


class Link:
    """A worker's end of the pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def serves(self) -> None:
        """Report that connections are accepted."""
        with suppress(OSError):  # the parent is dead, which the other thread hears too
            self._pipe.send(True)

    def follow(self, now: Callable[[], None]) -> None:
        """Raise SIGTERM when the parent asks for it or is dead; call ``now`` from a thread for an immediate end."""
        threading.Thread(target=self._follow, args=(now,), name="chukei-parent", daemon=True).start()

    def _follow(self, now: Callable[[], None]) -> None:
        try:
            while self._pipe.recv() != _NOW:
                signal.raise_signal(signal.SIGTERM)
            now()
        except (EOFError, OSError):
            signal.raise_signal(signal.SIGTERM)
