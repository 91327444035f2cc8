"""The answer to one request of a session, made of the messages that an upstream's socket receives."""

import asyncio
import re
from collections.abc import Callable

import msgspec

from chukei.azure import EVENT_STREAM
from chukei.errors import UpstreamError
from chukei.model import Headers
from chukei.ports import Taker
from chukei.usage import DECODE_ERRORS

UNREAD_BYTES = 64 * 1024
"""Bytes of one answer from which its socket is not read, so that TCP slows the upstream."""

AFTER_ERROR_SECONDS = 1.0
"""How long the upstream may take to send a response's last event after an error event."""

_ERROR = re.compile(rb'"type"[ \t\r\n]{0,8}:[ \t\r\n]{0,8}"error"')
_JSON: Headers = [(b"content-type", b"application/json")]


class Message(msgspec.Struct):
    """The members of a message that tell to which request it belongs, and whether it is an error."""

    type: str = ""
    stream_id: str | None = None
    status: int | None = None
    status_code: int | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")
    headers: dict[str, object] | None = None


def read(message: bytes) -> Message:
    """Decode a message; all members are empty if it cannot be decoded."""
    try:
        return msgspec.json.decode(message, type=Message)
    except DECODE_ERRORS:
        return Message()


class SocketAnswer:
    """Implements the Answer port for the events of one request.

    ``released`` is called when it is over, and ``cut`` closes the socket.
    """

    until_close = False

    def __init__(self, released: Callable[["SocketAnswer"], None], cut: Callable[[], None]) -> None:
        self.status = 200
        self.headers: Headers = [EVENT_STREAM]
        self.over = False
        self._released = released
        self._cut = cut
        self._parts: list[bytes] = []
        self._size = 0
        self._error: UpstreamError | None = None
        self._ended = False
        self._begun = asyncio.Event()
        self._taken = asyncio.Event()
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Taker | None = None
        self._timer: asyncio.TimerHandle | None = None

    # The socket's side.

    def take(self, message: bytes) -> bool:
        """Pass a message on without waking a task, if the reader allows that; return whether it was passed on."""
        if self._waiter is None or self._waiter.done() or self._taker is None or _ERROR.search(message):
            return False
        if not self._taker.some(_framed(message)):
            self.wake()
        return True

    async def arrive(self, message: bytes) -> None:
        """Add a message, and wait while too many are unread."""
        if _ERROR.search(message) and (event := read(message)).type == "error":
            self._failed(message, event)
        else:
            self._add(_framed(message))
        while self._size > UNREAD_BYTES and not self._ended:
            self._taken.clear()
            await self._taken.wait()

    def broke(self, error: UpstreamError) -> None:
        """Note that the socket is closed."""
        self.over = True
        if not self._ended and self._error is None:
            self._error = error
        self._begun.set()
        self.wake()

    async def begun(self) -> None:
        """Wait for the first message.

        Raises:
            UpstreamError: the socket was closed before.
        """
        await self._begun.wait()
        if self._error is not None and not self._parts:
            raise self._error

    def _failed(self, message: bytes, event: Message) -> None:
        """Take an error event: before any other it is the answer's status, else the stream's end is near."""
        status = event.status or event.status_code
        if not self._begun.is_set() and status is not None and 400 <= status < 600:
            fields = [(name.lower(), value) for name, value in (event.headers or {}).items()]
            told = [(name.encode(), str(value).encode("latin-1", "replace")) for name, value in fields]
            self.status, self.headers = status, [*_JSON, *(each for each in told if each[0] != b"content-type")]
            self._finish(b'{"error":' + bytes(event.error) + b"}")
            return
        self._add(_framed(message))
        self._timer = asyncio.get_running_loop().call_later(AFTER_ERROR_SECONDS, self._finish)

    def _finish(self, last: bytes = b"") -> None:
        self.over = self._ended = True
        self._add(last)

    def _add(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._size += len(data)
        self._begun.set()
        self.wake()

    # The Answer port.

    async def read(self) -> bytes | None:
        """See the Answer port."""
        if not self._parts and not self._ended and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._parts:
            data, self._parts, self._size = b"".join(self._parts), [], 0
            self._taken.set()
            return data
        if self._error is not None:
            raise self._error
        return b"" if self._ended else None

    def wake(self) -> None:
        """See the Answer port."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def divert(self, taker: Taker | None) -> None:
        """See the Answer port."""
        self._taker = taker

    def finish(self) -> None:
        """See the Answer port. The socket stays open for the next request."""
        self.over = True
        self._release()

    def abort(self) -> None:
        """See the Answer port. Only the end of its socket stops a response."""
        if not self.over:
            self._cut()
        self._release()

    def _release(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._taken.set()
        self._released(self)


def _framed(message: bytes) -> bytes:
    """Return a message as a server-sent event. JSON has line breaks only between its tokens."""
    if b"\n" in message or b"\r" in message:
        message = message.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"data: " + message + b"\n\n"
