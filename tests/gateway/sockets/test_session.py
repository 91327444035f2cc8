"""The messages of a session, however many frames they come in."""

import tracemalloc

import pytest
from tests.gateway.socket_fakes import FakeSocket

from chukei.gateway.sockets.session import next_message
from chukei.ports import Frame

pytestmark = pytest.mark.anyio


class Fragments(FakeSocket):
    """Sends a message in ``count`` empty frames between its first and its last one."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count

    async def receive(self) -> Frame | None:
        self.left -= 1
        return Frame(0, b"}", True) if self.left < 0 else Frame(0 if self.sent else 1, b"", False)


async def test_empty_frames_take_no_memory() -> None:
    socket = Fragments(100_000)
    tracemalloc.start()
    try:
        message = await next_message(socket)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert message == (1, b"}")
    assert peak < 100_000, "less than a byte for each frame"
