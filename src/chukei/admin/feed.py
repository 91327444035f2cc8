"""The live view as server-sent events: computed once a second for all viewers of this process, while there are any."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

import msgspec

from chukei.azure import EVENT_STREAM, UNBUFFERED
from chukei.errors import Unavailable, come_back, shutting_down
from chukei.liveview import worker
from chukei.liveview.part import merged
from chukei.liveview.view import view_of
from chukei.model import End, Headers
from chukei.ports import Incoming, Peers, Reply

logger = logging.getLogger(__name__)

SUBJECT = "live"
"""What the processes of one relay ask each other."""

MOST_VIEWERS = 32
"""Viewers of one process. More would be a mistake: their cost is no longer small."""

STEP_SECONDS = 1.0
VIEWER_SECONDS = 10.0
"""How long a viewer may leave an event unread before it is disconnected."""


class _Viewer:
    """One viewer, who gets the latest event when it is ready for it: those between are left out."""

    __slots__ = ("gone", "wake")

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.gone = False

    def leave(self) -> None:
        self.gone = True
        self.wake.set()


class Feed:
    """Sends the live view. ``now`` returns the time in UTC."""

    def __init__(self, peers: Peers, now: Callable[[], datetime], *, seconds: float = STEP_SECONDS) -> None:
        self._peers = peers
        self._now = now
        self._seconds = seconds
        self._viewers: set[_Viewer] = set()
        self._computing: asyncio.Task[None] | None = None
        self._event = b""
        self._number = 0
        self._closed = False

    async def serve(self, incoming: Incoming, reply: Reply, headers: Headers, *, seconds: float | None = None) -> None:
        """Send events until the viewer leaves or the relay shuts down. HEAD gets the header fields only.

        ``seconds`` bounds the time, for a viewer whose access token ends.

        Raises:
            Unavailable: there are too many viewers, or the relay is shutting down.
        """
        if self._closed:
            raise shutting_down()
        if len(self._viewers) >= MOST_VIEWERS:
            message = f"{MOST_VIEWERS} viewers look at this process already; close one, or try again."
            raise Unavailable("too_many_viewers", message, end=End.REFUSED, headers=come_back(5.0))
        viewer = _Viewer()
        self._viewers.add(viewer)
        end = asyncio.get_running_loop().call_later(seconds, viewer.leave) if seconds is not None else None
        try:
            await reply.start(200, [EVENT_STREAM, *UNBUFFERED, *headers])
            if incoming.method != "HEAD":
                incoming.watch(viewer.leave)
                await self._send(viewer, reply)
            if not viewer.gone:
                await reply.finish()
        except TimeoutError:
            reply.abort()
        finally:
            if end is not None:
                end.cancel()
            self._viewers.discard(viewer)
            if not self._viewers:
                self._stop()

    async def _send(self, viewer: _Viewer, reply: Reply) -> None:
        if self._computing is None:
            self._computing = asyncio.create_task(self._compute())
        seen = 0
        while not (viewer.gone or self._closed):
            if self._event and self._number != seen:
                seen = self._number
                async with asyncio.timeout(VIEWER_SECONDS):
                    await reply.send(self._event)
                continue
            viewer.wake.clear()
            await viewer.wake.wait()

    async def _compute(self) -> None:
        while True:
            try:
                answers = await self._peers.ask(SUBJECT)
                self._event = await asyncio.to_thread(self._encoded, answers)
            except Exception:
                logger.exception("the live view could not be computed")
            self._number += 1
            self._wake()
            await asyncio.sleep(self._seconds)

    def _encoded(self, answers: list[bytes]) -> bytes:
        """Return the event. Decoding and adding many processes' parts takes long, so it runs in a thread."""
        live = view_of(merged([worker.decode(answer) for answer in answers]), self._now())
        return b"event: live\ndata: " + msgspec.json.encode(live) + b"\n\n"

    def _wake(self) -> None:
        for viewer in self._viewers:
            viewer.wake.set()

    def _stop(self) -> None:
        if self._computing is not None:
            self._computing.cancel()
            self._computing = None
        self._event = b""

    def close(self) -> None:
        """End all viewers' streams, properly; further viewers are refused."""
        self._closed = True
        self._wake()
