"""Encoding of commands to Redis (RESP, https://redis.io/docs/latest/develop/reference/protocol-spec/), and commands
that wait for their answers. Without I/O.

A script's command is encoded once for all callers if possible: encoding its arguments for each request would cost more
than sending it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1

from chukei.accounts.stores import StoreAway

Argument = str | bytes | int


def packed(arguments: Iterable[Argument]) -> bytes:
    """Encode arguments, each with its length."""
    # A lone surrogate is not valid UTF-8, but must not raise an error here.
    parts = [each if isinstance(each, bytes) else str(each).encode("utf-8", "surrogatepass") for each in arguments]
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def command(*arguments: Argument) -> bytes:
    """Return a whole command."""
    return b"*%d\r\n%b" % (len(arguments), packed(arguments))


class PendingCommand:
    """A command and its future answer.

    ``done`` is called with ``id`` when Redis has answered, even if nothing waits for the answer. ``sent`` says that
    the command may have been executed, ``since`` when, in seconds of ``time.monotonic``. ``hurry`` says that a request
    waits. For a ``refusable`` command a RefusedError is a normal answer.
    """

    __slots__ = ("command", "done", "future", "hurry", "id", "refusable", "script", "sent", "since")

    def __init__(
        self,
        command: bytes,
        script: "Script | None" = None,
        id: str = "",
        done: Callable[[str], None] | None = None,
        *,
        refusable: bool = False,
    ) -> None:
        self.command = command
        self.script = script
        self.id = id
        self.done = done
        self.refusable = refusable
        self.future: asyncio.Future[object] | None = None  # None if nothing waits for the answer
        self.hurry = False
        self.sent = False
        self.since = 0.0

    @property
    def over(self) -> bool:
        """Whether the waiting task has stopped waiting."""
        return self.future is not None and self.future.done()

    @property
    def given_up(self) -> bool:
        """Whether the answer is no longer needed."""
        return self.done is None and self.over

    def fail(self, why: str) -> None:
        """Fail the waiting task: there is no answer."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(StoreAway(why))
            self.future.exception()  # marks it as retrieved, as asyncio logs it if the waiting task has just left

    def succeed(self, answer: object) -> None:
        """Pass the answer to the waiting task."""
        if self.done is not None:
            self.done(self.id)
        if self.future is not None and not self.future.done():
            self.future.set_result(answer)


class Script:
    """A script that Redis caches by its digest. ``head`` is the beginning of its command after the argument count."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.head = packed(("EVALSHA", sha1(text.encode(), usedforsecurity=False).hexdigest()))
        self._whole = packed(("EVAL", text))

    def call(self, keys: Sequence[Argument], arguments: Sequence[Argument]) -> PendingCommand:
        """Return a call with its keys and arguments."""
        return PendingCommand(self.command(keys, arguments), self)

    def command(self, keys: Sequence[Argument], arguments: Sequence[Argument]) -> bytes:
        """Return the command of a call."""
        rest = (len(keys), *keys, *arguments)
        return b"*%d\r\n%b%b" % (2 + len(rest), self.head, packed(rest))

    def whole(self, command: bytes) -> bytes:
        """Return a command with the script's text, for a server that does not know its digest."""
        return command.replace(self.head, self._whole, 1)
