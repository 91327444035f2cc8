"""What the doctor says about a test stream, by streams that arrive at virtual times."""

from collections.abc import Sequence

import pytest
from tests.rows import rows

from chukei.doctor.exchange import Exchange
from chukei.doctor.finding import Finding, Status
from chukei.doctor.teststream import StreamTest
from chukei.gateway.pages import TEST_TEXT

pytestmark = pytest.mark.anyio

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "transfer-encoding": "chunked",
    "server": "nginx",
}
COUNT = len(TEST_TEXT)
STEADY = [place / 10 for place in range(COUNT)]


def answer(arrivals: Sequence[float], sent: Sequence[float] | None = None, *, cut: float | None = None) -> Exchange:
    """Return a stream whose events arrive at these seconds; ``cut`` ends it after them, without the rest."""
    times = arrivals if sent is None else sent
    pieces = [(at, b"id: %d\ndata: x\n\n" % (when * 1000)) for at, when in zip(arrivals, times, strict=False)]
    if cut is None:
        pieces.append((pieces[-1][0], b"data: [DONE]\n\n"))
    end = pieces[-1][0] if cut is None else cut
    broken = "" if cut is None else "closed"
    return Exchange(200, "1.1", dict(HEADERS), pieces, pieces[0][0], end, whole=cut is None, broken=broken)


async def judged(answers: Sequence[Exchange], idle: float = 0.0) -> tuple[dict[str, Finding], list[str]]:
    """Judge streams that come one after the other; return the findings by check, and what was asked."""
    coming, asked = iter(answers), []

    async def get(target: str, headers: Sequence[tuple[str, str]], seconds: float) -> Exchange:
        asked.append(target)
        return next(coming)

    found = await StreamTest(get, "relay.example", {"connect": 0.05}).run(idle)
    assert all(finding.remedy for finding in found if finding.status in (Status.FAILED, Status.WARNING))
    return {finding.check: finding for finding in found}, asked


def paused(seconds: float) -> list[float]:
    """Return the times of events with a pause in the middle."""
    return [at + (seconds if place >= COUNT // 2 else 0.0) for place, at in enumerate(STEADY)]


HALF = STEADY[: COUNT // 2]


@rows(
    ("stream", "status", "cut"),
    [
        (answer(paused(75)), Status.OK, None),
        (answer(HALF, cut=HALF[-1] + 10), Status.FAILED, 10.0),
        (answer(HALF, cut=HALF[-1] + 60), Status.WARNING, 60.0),
        (answer(STEADY), Status.SKIPPED, None),
    ],
    ids=["not cut", "cut before a heartbeat", "cut after heartbeats", "a relay that does not pause"],
)
async def test_a_silence(stream: Exchange, status: Status, cut: float | None) -> None:
    found, asked = await judged([answer(STEADY), stream], idle=75)
    assert asked == ["/api/test-stream", "/api/test-stream?silence=75"]
    assert found["idle"].status is status
    assert found["idle"].measured.get("cut_seconds") == cut
    assert cut is None or "proxy_read_timeout" in found["idle"].remedy


async def test_a_disturbed_stream_is_read_once_more() -> None:
    held = answer([9.0] * COUNT, STEADY)
    found, asked = await judged([held, answer(STEADY)])
    assert (found["buffering"].status, len(asked)) == (Status.OK, 2)
    found, asked = await judged([held, held])
    assert (found["buffering"].status, len(asked)) == (Status.FAILED, 2)
    assert "sent over 4.4 s" in found["buffering"].seen


async def test_events_in_groups_are_merged() -> None:
    groups = [place // 5 * 0.5 + 0.5 for place in range(COUNT)]
    found, _ = await judged([answer(groups, STEADY)] * 2)
    assert found["merging"].status is Status.FAILED
    assert found["merging"].remedy.startswith("probably nginx (server: nginx): set proxy_buffering off")


@rows(
    ("arrivals", "status"),
    [
        (STEADY, Status.OK),
        ([at + 0.9 for at in STEADY], Status.OK),
        ([at + 3.0 for at in STEADY], Status.WARNING),
        ([at + (0.0 if place < 9 else 0.6) for place, at in enumerate(STEADY)], Status.WARNING),
    ],
    ids=["at once", "a little later", "three seconds later", "most events later"],
)
async def test_latency(arrivals: list[float], status: Status) -> None:
    found, _ = await judged([answer(arrivals, STEADY)])
    assert found["latency"].status is status
    assert found["buffering"].status is Status.OK
