"""A pipe between two processes, read and written by threads, so that neither process ever waits for the other."""

import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel:
    """One end of a pipe. Any thread may send, and a signal handler too; a message is any picklable object."""

    def __init__(self, pipe: Connection, name: str) -> None:
        self._pipe = pipe
        self._name = name
        self._outgoing: SimpleQueue[object] = SimpleQueue()
        self._broken = False
        self._reader: threading.Thread | None = None
        self._writer = self._thread(self._write)

    def _thread(self, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=self._name, daemon=True)
        thread.start()
        return thread

    def receive(self, received: Callable[[object], None], lost: Callable[[], None]) -> None:
        """Call ``received`` in a thread with each message, then ``lost`` once when the other process has ended."""

        def read() -> None:
            try:
                while True:
                    received(self._pipe.recv())
            except (EOFError, OSError):  # OSError also for an end amid a message
                lost()

        self._reader = self._thread(read)

    def send(self, message: object) -> None:
        """Send a message in the background; drop it if the other process has ended."""
        if not self._broken:
            self._outgoing.put(message)

    def _write(self) -> None:
        try:
            while (message := self._outgoing.get()) is not None:
                self._pipe.send(message)
        except OSError:
            self._broken = True

    def flush(self, seconds: float) -> None:
        """Wait until all messages are sent, at most so long. Nothing can be sent afterwards."""
        self._outgoing.put(None)
        self._writer.join(seconds)

    def close(self, seconds: float) -> None:
        """Read to the end and close. The other process must have ended; a process of its own may hold the pipe open."""
        self._outgoing.put(None)
        for thread in (self._reader, self._writer):
            if thread is not None:
                thread.join(seconds)
        if not (self._writer.is_alive() or (self._reader is not None and self._reader.is_alive())):
            self._pipe.close()


class Inbox(Generic[T]):
    """What several threads and signal handlers have put in, for one thread that also waits for processes to end."""

    def __init__(self) -> None:
        self._items: SimpleQueue[T] = SimpleQueue()
        self._heard, self._bell = Pipe(duplex=False)
        self._rung = False
        self._lock = threading.RLock()  # a signal handler may interrupt another one

    def put(self, item: T) -> None:
        """Put an item in. It never waits: the pipe holds at most one byte."""
        self._items.put(item)
        with self._lock:
            if not self._rung:
                self._rung = True
                self._bell.send_bytes(b"!")

    def wait(self, others: list[int], seconds: float | None) -> list[int]:
        """Wait for an item or one of ``others`` (process sentinels), at most so long; return those of ``others``."""
        try:
            found = wait([self._heard, *others], seconds)
        except InterruptedError:  # Windows, on Ctrl-C
            return []
        if self._heard in found:
            self._heard.recv_bytes()
            self._rung = False
        return [each for each in found if isinstance(each, int)]

    def take(self) -> list[T]:
        """Return all items."""
        return [self._items.get() for _ in range(self._items.qsize())]
