"""Worker processes that serve one listening socket, and their supervisor.

A pipe connects each worker to its parent. The worker reports when it accepts connections, and the parent tells it to
shut down. The pipe closes when either process dies, so a worker also shuts down in order when its parent is dead. What
workers ask each other goes through the parent (``questions``).
"""

import logging
import pickle
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chukei.hosts.awaited import Awaited
from chukei.hosts.hangup import HANGUP, Hangup
from chukei.hosts.leaving import HAND_OVER, Leave, Stopping
from chukei.hosts.signals import RESTARTING, handle
from chukei.hosts.systemd import notify
from chukei.hosts.workers.backoff import Backoff
from chukei.hosts.workers.channel import Inbox
from chukei.hosts.workers.messages import Answer, Ask, InForce, Last, Now, Progress, Reload, Serves
from chukei.hosts.workers.questions import Fold, Questions
from chukei.hosts.workers.worker_process import Work, WorkerProcess

logger = logging.getLogger(__name__)

PINGS = 4
"""How many times a worker is asked for a sign of life before it is killed."""

NO_FOLDS: Mapping[str, Fold] = {}

_ROLL = object()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that workers have: ``ending`` for an orderly end after their phases of ``leaving``, ``hanging`` for an
    event loop that does not turn; 0 for no limit."""

    ending: float
    hanging: float = 0.0


class Supervisor:
    """Runs ``count`` workers, replaces those that die, and shuts all down on a signal.

    A new worker calls ``first`` before it imports anything else. ``folds`` makes one of the answers that ended workers
    left, by the subject (``questions``).
    """

    def __init__(
        self,
        work: Work,
        listener: socket.socket,
        count: int,
        stopping: Stopping,
        awaited: Awaited,
        limits: Limits,
        first: Callable[[], None],
        *,
        folds: Mapping[str, Fold] = NO_FOLDS,
    ) -> None:
        self._work = first, pickle.dumps(work)
        self._listener = listener
        self._count = count
        self._stopping = stopping
        self._awaited = awaited
        self._limits = limits
        self._workers: list[WorkerProcess] = []
        self._due: list[float] = []  # times at which further workers are started
        self._backoff = Backoff()
        self._old: list[WorkerProcess] = []  # to be replaced, one after the other
        self._outgoing: WorkerProcess | None = None  # the one that leaves next
        self._new: WorkerProcess | None = None  # takes its place
        self._in_force: bytes | None = None  # the settings of the worker that has last read valid ones
        self._stopped = 0  # requests that ended workers had ended early
        self._next_ping = time.monotonic() + limits.hanging / PINGS
        self._questions = Questions(folds)
        self._hangup = Hangup()
        self._inbox: Inbox[tuple[WorkerProcess | None, object]] = Inbox()

    def restart(self) -> None:
        """Replace all workers, one after the other, without refusing connections. Any thread may call this.

        A worker ends only when its successor serves. If a successor cannot start, the remaining workers stay.
        """
        self._inbox.put((None, _ROLL))

    def run(self, ready: Callable[[], None]) -> int:
        """Serve until a signal; return the exit status. ``ready`` is called when all workers serve.

        If a worker ends before that, all are shut down: a replacement would fail for the same reason.
        """
        handle(self._signalled)
        handle(lambda *_: self.restart(), RESTARTING)
        self._due = [0.0] * self._count
        try:
            status = self._start(ready)
            while status is None and self._stopping.leave is None:
                for failed in self._step():
                    logger.error("worker %d ended before it served (%s)", failed.pid, failed.end)
            self._end()
        except BaseException:  # such as a standard error that is closed; at its exit, a process waits for its workers
            self._shut_down()
            raise
        return status or self._stopping.status

    def _signalled(self, number: int, _: object) -> None:
        self._inbox.put((None, number))

    def _start(self, ready: Callable[[], None]) -> int | None:
        while self._stopping.leave is None:
            for failed in self._step():
                logger.error("worker %d ended before it served (%s)", failed.pid, failed.end)
                return failed.status or 1
            if len(self._workers) == self._count and all(worker.serves for worker in self._workers):
                ready()
                return None
        return 0

    # What happens while workers serve.

    def _step(self) -> list[WorkerProcess]:
        """Start workers that are due, and wait for an event; return the workers that ended before they served."""
        now = time.monotonic()
        for moment in [moment for moment in self._due if moment <= now]:
            self._due.remove(moment)
            self._workers.append(self._started(self._in_force))
        self._roll()
        return [worker for worker in self._wait(self._due) if self._replace(worker)]

    def _started(self, kept: bytes | None = None) -> WorkerProcess:
        return WorkerProcess(self._work, self._listener, self._inbox, kept)

    def _wait(self, until: list[float]) -> list[WorkerProcess]:
        """Wait for an event and process the messages; return the workers that have ended."""
        times = [*until, *(worker.deadline for worker in self._workers if worker.deadline is not None)]
        if (late := self._questions.due()) is not None:
            times.append(late)
        if self._limits.hanging:
            times.append(self._next_ping)
        sentinels = {worker.process.sentinel: worker for worker in self._workers}
        seconds = max(min(times) - time.monotonic(), 0.0) if times else None
        ended = [sentinels[each] for each in self._inbox.wait(list(sentinels), seconds)]
        for worker in ended:
            worker.close()
        for sender, message in self._inbox.take():
            if sender is None:
                self._process_signal(message)
            else:
                self._process(sender, message)
        for worker in ended:
            self._workers.remove(worker)
            self._stopped += worker.stopped
            self._questions.gone(worker.member)
        now = time.monotonic()
        self._questions.expire(now)
        self._kill(now)
        return ended

    def _process_signal(self, message: object) -> None:
        if message == HANGUP and not self._hangup.ends:
            for worker in self._workers:
                worker.tell(Reload())
        elif isinstance(message, int):
            self._stopping.signalled(message)
        else:
            self._old = [worker for worker in self._workers if not worker.leaving]
            logger.info("replacing the workers (%d), one after the other", len(self._old))

    def _process(self, sender: WorkerProcess, message: object) -> None:
        sender.is_alive()
        match message:
            case Serves():
                sender.serve()
            case Ask():
                members = [worker.member for worker in self._workers if worker.serves]
                self._questions.ask(sender.member, message, members, time.monotonic())
            case Answer():
                self._questions.answer(sender.member, message)
            case Last():
                self._questions.last(sender.member, message.answers)
            case InForce():
                self._in_force = message.settings
                if sender.serves:  # it has reloaded, and told those that serve; others may have read the file before
                    for worker in [worker for worker in self._workers if not worker.serves]:
                        worker.tell(Reload())
            case Progress():
                sender.running, sender.stopped = message.running, message.stopped

    def _kill(self, now: float) -> None:
        """Kill the workers that take too long to end, and those whose event loop has not turned for long.

        The latter are found by counting, and not by the time: this process may have been stopped itself.
        """
        for worker in self._workers:
            if worker.deadline is not None and now >= worker.deadline:
                logger.error("worker %d does not %s and is killed", worker.pid, "end" if worker.leaving else "start")
                worker.kill()
        if self._limits.hanging and now >= self._next_ping:
            self._next_ping = now + self._limits.hanging / PINGS
            for worker in [worker for worker in self._workers if worker.serves and not worker.leaving]:
                if worker.ping() >= PINGS:
                    logger.error("worker %d has not answered for %g s and is killed", worker.pid, self._limits.hanging)
                    worker.kill()

    def _replace(self, worker: WorkerProcess) -> bool:
        """Start another worker in the place of one that has ended; return whether that had failed to serve."""
        if worker in self._old:
            self._old.remove(worker)
        outgoing = self._outgoing
        if worker in (self._new, outgoing):
            self._outgoing = None
        if worker is self._new:
            logger.error("the restart of workers ends: a new one did not start, and the others go on")
            self._new, self._old = None, []
            if outgoing is not None:
                return True
        elif worker is outgoing:
            logger.error("worker %d ended (%s), and another is about to take its place", worker.pid, worker.end)
            return False
        elif worker.leaving:
            return False
        now = time.monotonic()
        self._due.append(now + self._backoff.delay(worker.started, now))
        if worker.serves:
            logger.error("worker %d ended (%s), and another takes its place", worker.pid, worker.end)
        return not worker.serves

    def _roll(self) -> None:
        """Go on with a restart: start a worker, and when it serves, let the first of the old ones leave."""
        if self._new is not None and self._new.serves:
            if self._outgoing is not None:
                logger.info("worker %d takes the place of worker %d", self._new.pid, self._outgoing.pid)
                self._tell(self._outgoing, HAND_OVER)
            self._new = self._outgoing = None
        if self._old and self._new is None and not any(worker.leaving for worker in self._workers):
            self._outgoing = self._old.pop(0)
            self._new = self._started()
            self._workers.append(self._new)

    def _tell(self, worker: WorkerProcess, leave: Leave) -> None:
        worker.leave(leave, time.monotonic() + leave.accepting + leave.handing + self._limits.ending)

    # The end.

    def _end(self) -> None:
        """Shut down, and tell of it."""
        notify("STOPPING=1")
        self._shut_down(self._progress)
        self._awaited.progress(0, self._stopped)
        self._awaited.over()

    def _progress(self) -> None:
        known = [worker.running for worker in self._workers if worker.running is not None]
        if len(known) == len(self._workers):
            self._awaited.progress(sum(known), self._stopped)

    def _shut_down(self, tell: Callable[[], None] = lambda: None) -> None:
        """Shut all workers down in order; kill those that take too long."""
        self._listener.close()  # else new connections would wait for an answer
        leave = self._stopping.leave or Leave()
        for worker in self._workers:
            self._tell(worker, leave)
        forced = False
        while self._workers:
            tell()
            self._wait([time.monotonic() + 1.0])
            if self._stopping.at_once and not forced:
                forced = True
                for worker in self._workers:
                    worker.tell(Now())
