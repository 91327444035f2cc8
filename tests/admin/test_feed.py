"""The feed: one computation for all viewers, the latest event for slow ones, an end for all at a shutdown."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from tests.fakes import FakeIncoming, FakeReply
from tests.liveview.records import Watched, record

from chukei.admin.feed import MOST_VIEWERS, SUBJECT, Feed
from chukei.errors import Unavailable
from chukei.hosts.workers.peers import Alone
from chukei.liveview import worker
from chukei.liveview.schema import Live

pytestmark = pytest.mark.anyio


class Relay:
    """A feed of one process that has served a request. ``asked`` counts how often the process was asked."""

    def __init__(self, seconds: float = 0.001) -> None:
        self.asked = 0
        self.broken = False
        self.watched = Watched().heard(record())
        peers = Alone()
        peers.answer(SUBJECT, self.answer)
        self.feed = Feed(peers, lambda: datetime.now(UTC), seconds=seconds)
        self.tasks: list[asyncio.Task[None]] = []

    def answer(self, argument: bytes) -> bytes:
        self.asked += 1
        if self.broken:
            return b"nonsense"
        return worker.encode(self.watched.window.part([], {}))

    def view(self, method: str = "GET") -> tuple[FakeIncoming, FakeReply]:
        incoming, reply = FakeIncoming(method=method), FakeReply()
        self.tasks.append(asyncio.create_task(self.feed.serve(incoming, reply, [(b"x-request-id", b"r")])))
        return incoming, reply

    async def ended(self) -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*self.tasks)


def events(reply: FakeReply) -> list[Live]:
    return [json.loads(event.partition(b"data: ")[2]) for event in reply.body.split(b"\n\n") if event]


def has(count: int) -> Callable[[bytes], bool]:
    return lambda body: body.count(b"\n\n") >= count


async def test_events_come_until_the_viewer_leaves() -> None:
    relay = Relay()
    incoming, reply = relay.view()
    await reply.until(has(3))
    incoming.leave()
    await relay.ended()
    assert (reply.status, reply.finished) == (200, False)
    assert dict(reply.headers)[b"content-type"].startswith(b"text/event-stream")
    assert (b"x-request-id", b"r") in reply.headers
    assert reply.body.startswith(b"event: live\ndata: {")
    asked = relay.asked
    await asyncio.sleep(0.02)
    assert relay.asked == asked, "nobody looks any more"


async def test_a_view_is_computed_once_for_all_viewers() -> None:
    relay = Relay(seconds=60.0)
    views = [relay.view() for _ in range(5)]
    for _, reply in views:
        await reply.until(has(1))
    assert relay.asked == 1
    assert len({reply.body for _, reply in views}) == 1
    for incoming, _ in views:
        incoming.leave()
    await relay.ended()


async def test_a_slow_viewer_gets_the_latest_event_and_holds_nobody_up() -> None:
    relay = Relay()
    slow_incoming, slow = relay.view()
    slow.reading.clear()
    incoming, reply = relay.view()
    await reply.until(has(20))
    assert len(slow.sent) == 1
    slow.reading.set()
    await slow.until(has(2))
    assert len(slow.sent) < len(reply.sent)
    for each in (incoming, slow_incoming):
        each.leave()
    await relay.ended()


async def test_at_a_shutdown_all_streams_end_properly() -> None:
    relay = Relay(seconds=60.0)
    views = [relay.view() for _ in range(3)]
    for _, reply in views:
        await reply.until(has(1))
    relay.feed.close()
    await relay.ended()
    assert all(reply.finished for _, reply in views)
    with pytest.raises(Unavailable, match="shutting down"):
        await relay.feed.serve(FakeIncoming(method="GET"), FakeReply(), [])


async def test_viewers_are_bounded() -> None:
    relay = Relay(seconds=60.0)
    views = [relay.view() for _ in range(MOST_VIEWERS)]
    for _, reply in views:
        await reply.until(has(1))
    with pytest.raises(Unavailable) as caught:
        await relay.feed.serve(FakeIncoming(method="GET"), FakeReply(), [])
    assert (caught.value.status, caught.value.code) == (503, "too_many_viewers")
    views[0][0].leave()
    await relay.tasks[0]
    _, late = relay.view()
    await late.until(has(1))
    relay.feed.close()
    await relay.ended()


async def test_a_stream_ends_with_its_viewers_token() -> None:
    relay = Relay()
    incoming, reply = FakeIncoming(method="GET"), FakeReply()
    await relay.feed.serve(incoming, reply, [], seconds=0.05)
    assert reply.status == 200
    late, over = FakeIncoming(method="GET"), FakeReply()
    await relay.feed.serve(late, over, [], seconds=-1.0)
    assert over.status == 200


async def test_head_has_no_events() -> None:
    relay = Relay()
    _, reply = relay.view("HEAD")
    await relay.ended()
    assert (reply.status, reply.finished, reply.body, relay.asked) == (200, True, b"", 0)


async def test_a_view_that_cannot_be_computed_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    relay = Relay()
    relay.broken = True
    incoming, reply = relay.view()
    while relay.asked < 3:
        await asyncio.sleep(0.001)
    relay.broken = False
    await reply.until(has(1))
    assert "could not be computed" in caplog.text
    incoming.leave()
    await relay.ended()
