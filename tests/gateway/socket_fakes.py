"""A WebSocket's end for tests, and an upstream that hands such ends out."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.fakes import FakeAnswer, FakeReply, FakeUpstream

from chukei.errors import UpstreamError
from chukei.model import Headers
from chukei.ports import Frame, Socket, SocketLimits


class FakeSocket:
    """Keeps what is sent, and gives what is put. ``leave`` is the peer going away."""

    def __init__(self, subprotocol: str | None = None) -> None:
        self.subprotocol = subprotocol
        self.code: int | None = None
        self.reason = ""
        self.sent: list[Frame] = []
        self.aborted = False
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was sent, decoded."""
        return [json.loads(frame.data) for frame in self.sent]

    def put(self, *events: object) -> None:
        """Let events arrive."""
        for event in events:
            self._frames.put_nowait(Frame(1, json.dumps(event, separators=(",", ":")).encode()))

    def frames(self, *frames: Frame) -> None:
        """Let frames arrive."""
        for frame in frames:
            self._frames.put_nowait(frame)

    def leave(self, code: int = 1000, reason: str = "") -> None:
        if self.code is None:
            self.code, self.reason = code, reason
            self._frames.put_nowait(None)

    async def receive(self) -> Frame | None:
        if self.code is not None and self._frames.empty():
            return None
        return await self._frames.get()

    def divert(self, taker: Callable[[Frame], bool] | None) -> None:
        return None

    async def send(self, frame: Frame) -> None:
        if self.code is None:
            self.sent.append(frame)

    def send_now(self, frame: Frame) -> bool:
        return False

    async def close(self, code: int, reason: str = "") -> None:
        self.leave(code, reason)

    def abort(self) -> None:
        self.aborted = True
        self.leave(1006)


class FakeSocketUpstream(FakeUpstream):
    """Hands out prepared answers and prepared sockets, or the errors in their place."""

    def __init__(self, *answers: FakeAnswer | Exception, sockets: Sequence[FakeSocket | UpstreamError] = ()) -> None:
        super().__init__(*answers)
        self.sockets = [*sockets]
        self.opened: list[tuple[str, str, Headers]] = []

    async def open_socket(
        self, endpoint: str, target: str, headers: Headers, subprotocols: Sequence[str], limits: SocketLimits
    ) -> Socket:
        self.opened.append((endpoint, target, headers))
        socket = self.sockets.pop(0)
        if isinstance(socket, UpstreamError):
            raise socket
        return socket


class FakeSocketReply(FakeReply):
    """A client whose handshake can be accepted with ``socket``."""

    def __init__(self, socket: FakeSocket) -> None:
        super().__init__()
        self.socket = socket

    async def upgrade(self, subprotocol: str | None, headers: Headers, limits: SocketLimits) -> Socket:
        self.started, self.status, self.headers = True, 101, headers
        self.socket.subprotocol = subprotocol
        return self.socket
