"""What the simulator remembers of each request, for tests to look at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

Ending = Literal["completed", "client_left", "fault", "stopped"]


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and how its answer ended.

    ``headers`` have lower-case names; repeated ones are joined by ``", "``. ``events``, ``completion_tokens``
    and ``sent`` grow while the answer runs. ``ended`` is None until then, and afterwards says why it ended: the
    answer was complete, the client went away, a fault ended it, or the simulator was stopped.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    operation: str | None = None
    deployment: str | None = None
    fault: str | None = None
    streamed: bool = False
    status: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    events: int = 0
    sent: bytearray = field(default_factory=bytearray)  # the body before framing; only with record_sent
    ended: Ending | None = None
    _finished: asyncio.Event = field(default_factory=asyncio.Event)

    def settle(self, ending: Ending) -> None:
        """Note the end, once: the first reason stands."""
        if self.ended is None:
            self.ended = ending
            self._finished.set()

    async def finished(self, timeout: float = 5.0) -> Ending:
        """Wait for the end of the answer and return why it ended; TimeoutError after so many seconds."""
        async with asyncio.timeout(timeout):
            await self._finished.wait()
        assert self.ended is not None
        return self.ended

    def __repr__(self) -> str:
        return (
            f"<Exchange {self.method} {self.path} {self.status or '-'} {self.ended or 'running'},"
            f" {self.events} events, {self.completion_tokens} tokens>"
        )
