"""How the worker processes of one relay ask each other."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from chukei.hosts.workers.messages import Answer, Answers, Ask, Ping, Pong, Question

logger = logging.getLogger(__name__)

Handler = Callable[[bytes], bytes]

PARENT_SECONDS = 5.0
"""How long a worker waits for its parent, which limits the time for answers itself: longer only if it is stopped."""


class Alone:
    """Implements the Peers port for a relay with one process."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def answer(self, subject: str, handler: Handler, *, last: bool = False) -> None:
        """See the Peers port."""
        self._handlers[subject] = handler

    async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
        """See the Peers port."""
        handler = self._handlers.get(subject)
        return [handler(argument)] if handler is not None else []


class Linked:
    """Implements the Peers port for one of several workers. ``send`` sends to the parent, without waiting.

    The parent asks each worker, the asking one included (``questions``). Handlers are called in the event loop, as the
    code whose state they read is.
    """

    def __init__(self, send: Callable[[object], None]) -> None:
        self._send = send
        self._handlers: dict[str, Handler] = {}
        self._lasting: set[str] = set()
        self._waiting: dict[int, asyncio.Future[list[bytes] | None]] = {}
        self._count = 0
        self._lost = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Answer in the running event loop from now on."""
        self._loop = asyncio.get_running_loop()

    def answer(self, subject: str, handler: Handler, *, last: bool = False) -> None:
        """See the Peers port."""
        self._handlers[subject] = handler
        (self._lasting.add if last else self._lasting.discard)(subject)

    async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
        """See the Peers port. Without its parent a worker has only its own answer."""
        self._count = number = self._count + 1
        self._waiting[number] = future = self._future()
        try:
            if not self._lost:
                self._send(Ask(number, subject, argument))
                with suppress(TimeoutError):
                    async with asyncio.timeout(PARENT_SECONDS):
                        data = await future
                    if data is not None:
                        return data
        finally:
            del self._waiting[number]
        own = self._own(subject, argument)
        return [] if own is None else [own]

    def _future(self) -> asyncio.Future[list[bytes] | None]:
        return asyncio.get_running_loop().create_future()

    def last(self) -> dict[str, bytes]:
        """Return the answers that outlive this worker. The event loop must have ended, and with it all changes."""
        found = {subject: self._own(subject, b"") for subject in self._lasting}
        return {subject: data for subject, data in found.items() if data is not None}

    # What the link's thread calls.

    def heard(self, message: Question | Answers | Ping) -> None:
        """Take a message of the parent."""
        self._in_loop(self._heard, message)

    def lost(self) -> None:
        """Record that the parent has ended."""
        self._lost = True
        self._in_loop(self._release)

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed: the last answers replace this one
                self._loop.call_soon_threadsafe(call, *arguments)

    def _heard(self, message: Question | Answers | Ping) -> None:
        if isinstance(message, Question):
            self._send(Answer(message.number, self._own(message.subject, message.argument)))
        elif isinstance(message, Ping):
            self._send(Pong())
        elif (future := self._waiting.get(message.number)) is not None and not future.done():
            future.set_result(message.data)

    def _release(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    def _own(self, subject: str, argument: bytes) -> bytes | None:
        handler = self._handlers.get(subject)
        if handler is None:
            return None
        try:
            return handler(argument)
        except Exception:
            logger.exception("a question on %s could not be answered", subject)
            return None
