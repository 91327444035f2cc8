"""Worker processes that serve one listening socket, and their supervisor.

A pipe connects each worker to its parent. The worker reports when it accepts connections, and the parent tells it to
shut down. The pipe closes when either process dies, so a worker also shuts down in order when its parent is dead. What
workers ask each other goes through the parent (``questions``).
"""

import logging
import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import SpawnProcess

from chukei.hosts.channel import Channel, Inbox
from chukei.hosts.link import END, NOW, Link
from chukei.hosts.messages import Answer, Ask, Last, Serves
from chukei.hosts.questions import Fold, Member, Questions

logger = logging.getLogger(__name__)

Work = Callable[[socket.socket, Link], int]
"""A worker's function: it serves a socket, reports that, and returns the exit status of its process."""

RESTART_SECONDS = 1.0
"""Seconds before a worker that ended early is replaced, so that a permanent fault causes little load."""

SOON_SECONDS = 10.0
"""Seconds that a worker must have run to be replaced at once."""

CLOSING_SECONDS = 1.0
"""How long to read the pipe of an ended worker. Longer only if a process that it started holds the pipe open."""

NO_FOLDS: Mapping[str, Fold] = {}

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

    ``seconds`` limits the orderly shutdown of a worker. ``folds`` makes one of the answers that ended workers left, by
    the subject (``questions``).
    """

    def __init__(
        self, work: Work, listener: socket.socket, count: int, *, seconds: float, folds: Mapping[str, Fold] = NO_FOLDS
    ) -> None:
        self._work = work
        self._listener = listener
        self._count = count
        self._seconds = seconds
        self._workers: list[_Worker] = []
        self._due: list[float] = []  # times at which further workers are started
        self._interrupts = 0
        self._ending = False
        self._questions = Questions(folds)
        self._inbox: Inbox[tuple[_Worker | None, object]] = Inbox()

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
        self._inbox.put((None, signal.Signals(number)))

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
            self._workers.append(_Worker(self._work, self._listener, self._inbox))
        failed = None
        for worker in self._wait(min(self._due, default=None)):
            failed = self._replace(worker) or failed
        return failed

    def _wait(self, until: float | None) -> "list[_Worker]":
        """Wait for an event and process the messages; return the workers that have ended."""
        now = time.monotonic()
        times = [each for each in (until, self._questions.due()) if each is not None]
        sentinels = {worker.process.sentinel: worker for worker in self._workers}
        found = self._inbox.wait(list(sentinels), max(min(times) - now, 0.0) if times else None)
        ended = [sentinels[each] for each in found]
        for worker in ended:
            worker.close()
        for sender, message in self._inbox.take():
            self._process(sender, message)
        for worker in ended:
            self._workers.remove(worker)
            self._questions.gone(worker.member)
        self._questions.expire(time.monotonic())
        return ended

    def _process(self, sender: "_Worker | None", message: object) -> None:
        if sender is None:
            self._ending = True
            return
        match message:
            case Serves():
                sender.serves = True
            case Ask():
                members = [worker.member for worker in self._workers if worker.serves]
                self._questions.ask(sender.member, message, members, time.monotonic())
            case Answer():
                self._questions.answer(sender.member, message)
            case Last():
                self._questions.last(sender.member, message.answers)

    def _replace(self, worker: "_Worker") -> "_Worker | None":
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
            worker.tell(END)
        deadline = time.monotonic() + self._seconds
        forced = False
        while self._workers:
            self._wait(deadline)
            if self._interrupts > 1 and not forced:
                forced = True
                for worker in self._workers:
                    worker.tell(NOW)
            if time.monotonic() >= deadline:
                for worker in self._workers:
                    logger.error("worker %d does not end and is killed", worker.pid)
                    worker.process.kill()
                    worker.process.join()


class _Worker:
    """One process, and this end of its pipe."""

    def __init__(self, work: Work, listener: socket.socket, inbox: "Inbox[tuple[_Worker | None, object]]") -> None:
        pipe, theirs = Pipe()
        self.serves = False
        self.started = time.monotonic()
        self.process: SpawnProcess = _spawn.Process(target=_run, args=(work, listener, theirs))
        with _signals_held_back():  # also from the threads: only the main thread can handle a signal
            self.process.start()
            theirs.close()
            self._channel = Channel(pipe, f"chukei-worker-{self.pid}")
            self._channel.receive(lambda message: inbox.put((self, message)), lambda: None)
        self.member = Member(self._channel.send)
        self.tell = self._channel.send

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def close(self) -> None:
        """Read what the process has sent before it ended."""
        self.process.join()
        self._channel.close(CLOSING_SECONDS)

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


def _run(work: Work, listener: socket.socket, pipe: Connection) -> None:
    """Run a worker process."""
    for number in ENDING:
        if not _is_ignored(number):
            signal.signal(number, _leave)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    link = Link(pipe)
    status = work(listener, link)
    link.close()
    sys.exit(status)


def _leave(*_: object) -> None:
    """Exit at once, before the server has started."""
    raise SystemExit(0)
