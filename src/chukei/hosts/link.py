"""A worker's end of the pipe to its parent."""

from collections.abc import Callable
from multiprocessing.connection import Connection

from chukei.hosts.channel import Channel
from chukei.hosts.messages import Answers, Last, Question, Serves
from chukei.hosts.peers import Linked

END, NOW = "end", "now"
"""What a parent tells: to shut down in order; not to wait any longer."""

FLUSH_SECONDS = 2.0
"""How long a worker that ends waits for a parent that does not read."""


class Link:
    """Connects a worker with its parent, and through it with the other workers (``peers``)."""

    def __init__(self, pipe: Connection) -> None:
        self._channel = Channel(pipe, "chukei-parent")
        self.peers = Linked(self._channel.send)

    def serves(self) -> None:
        """Report that connections are accepted. Called in the event loop, which answers from now on."""
        self.peers.start()
        self._channel.send(Serves())

    def follow(self, told: Callable[[str], None]) -> None:
        """Call ``told`` from a thread with END or NOW when the parent says so, and with END when it is dead."""

        def received(message: object) -> None:
            if isinstance(message, Question | Answers):
                self.peers.heard(message)
            else:
                told(str(message))

        def lost() -> None:
            self.peers.lost()
            told(END)

        self._channel.receive(received, lost)

    def close(self) -> None:
        """Leave the last answers to the parent. The event loop must have ended."""
        self._channel.send(Last(self.peers.last()))
        self._channel.flush(FLUSH_SECONDS)
