"""A worker's end of the pipe to its parent."""

import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection

from chukei.config import Settings
from chukei.hosts.leaving import Leave
from chukei.hosts.workers.channel import Channel
from chukei.hosts.workers.messages import Answers, InForce, Last, Now, Ping, Progress, Question, Reload, Serves
from chukei.hosts.workers.peers import Linked
from chukei.ports import Peers

FLUSH_SECONDS = 2.0
"""How long a worker that ends waits for a parent that does not read."""


class Link:
    """Connects a worker with its parent, and through it with the other workers (``peers``).

    ``kept`` are the pickled settings of the other workers, for a worker that must not fail because of the configuration
    on disk.
    """

    def __init__(self, pipe: Connection, kept: bytes | None = None) -> None:
        self.kept = kept
        self._channel = Channel(pipe, "chukei-parent")
        self._progress: Progress | None = None
        self._linked = Linked(self._channel.send)
        self.peers: Peers = self._linked

    def serves(self) -> None:
        """Report that connections are accepted. Called in the event loop, which answers from now on."""
        self._linked.start()
        self._channel.send(Serves())

    def in_force(self, settings: Settings) -> None:
        """Report the settings of this worker."""
        self._channel.send(InForce(pickle.dumps(settings)))

    def progress(self, running: int, stopped: int) -> None:
        """Report a change of how many requests are running, and how many were ended early."""
        progress = Progress(running, stopped)
        if progress != self._progress:
            self._progress = progress
            self._channel.send(progress)

    def follow(
        self,
        leave: Callable[[Leave], None],
        now: Callable[[], None],
        reload: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        """Call one of these from a thread when the parent tells how to leave, to end at once, to read the configuration
        again, or has ended."""

        def received(message: object) -> None:
            match message:
                case Question() | Answers() | Ping():
                    self._linked.heard(message)
                case Leave():
                    leave(message)
                case Now():
                    now()
                case Reload():
                    reload()

        def ended() -> None:
            self._linked.lost()
            lost()

        self._channel.receive(received, ended)

    def close(self) -> None:
        """Leave the last answers to the parent. The event loop must have ended."""
        self._channel.send(Last(self._linked.last()))
        self._channel.flush(FLUSH_SECONDS)
