"""Who may read the metrics, and one page from all worker processes."""

import hashlib
from collections.abc import Callable, Sequence

import pytest
from tests.fakes import FakeIncoming, FakeReply
from tests.rows import rows

from chukei.callers.operator_key import OperatorKey
from chukei.callers.throttle import Throttle
from chukei.errors import CallerError
from chukei.gateway.scrape import Scrape, wrong_key
from chukei.metrics.definitions import OPEN_REQUESTS, REQUESTS
from chukei.metrics.snapshot import Sample, Snapshot, combined, decoded
from chukei.model import End, Headers
from chukei.record import RequestRecord

pytestmark = pytest.mark.anyio

KEY = b"the operators' key"
OWN_HOST = (b"host", b"localhost:7221")


class FakePeers:
    """Worker processes whose answers are given by subject."""

    def __init__(self, **answers: list[bytes]) -> None:
        self._answers = answers

    def answer(self, subject: str, handler: Callable[[bytes], bytes], *, last: bool = False) -> None:
        raise AssertionError("the page only asks")

    async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
        return self._answers.get(subject, [])


def written(snapshots: Sequence[bytes], accept: str) -> tuple[str, bytes]:
    """Write a page of two numbers."""
    whole = combined([decoded(each) for each in snapshots])
    return f"text/plain; for={accept}", b"%d %d" % (whole.value(REQUESTS), whole.value(OPEN_REQUESTS))


def counted(requests: int) -> bytes:
    return Snapshot(100, {REQUESTS.name: [Sample(("chat", "gpt", "east", "200", "completed"), requests)]}).encoded()


def running(requests: int) -> bytes:
    return Snapshot(100, {OPEN_REQUESTS.name: [Sample(("chat",), requests)]}).encoded()


def scrape(*, failures: int = 0, key: bytes | None = None, open: bool = False) -> Scrape:
    throttle = Throttle(failures, lambda: 0.0)
    checked = OperatorKey(hashlib.sha256(key).digest(), throttle, wrong_key) if key is not None else None
    return Scrape(FakePeers(), written, key=checked, open=open)


async def ask(page: Scrape, headers: Headers | None = None, *, local: bool = True) -> tuple[FakeReply, RequestRecord]:
    reply, record = FakeReply(), RequestRecord("req_1", "GET", "/metrics")
    incoming = FakeIncoming(method="GET", path="/metrics", headers=headers or [OWN_HOST], local=local)
    await page.serve(incoming, reply, record)
    return reply, record


async def test_one_page_holds_what_all_workers_have_counted_also_those_that_ended() -> None:
    peers = FakePeers(metrics=[counted(3), counted(4), counted(5)], gauges=[running(1), running(2)])
    reply, record = await ask(Scrape(peers, written), [OWN_HOST, (b"accept", b"application/openmetrics-text")])
    assert reply.body == b"12 3"
    assert dict(reply.headers) == {
        b"content-type": b"text/plain; for=application/openmetrics-text",
        b"content-length": b"4",
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
        b"vary": b"accept",
        b"x-request-id": b"req_1",
    }
    assert (record.operation, record.status, record.end) == ("metrics", 200, End.COMPLETED)


BEARER = (b"authorization", b"Bearer " + KEY)
AWAY_HOST = (b"host", b"relay.example.com")


@rows(
    ("settings", "headers", "local", "code"),
    [
        ({}, [OWN_HOST], True, None),
        ({}, [OWN_HOST], False, "metrics_not_open"),
        ({}, [AWAY_HOST], True, "metrics_not_open"),
        ({}, [OWN_HOST, (b"x-forwarded-for", b"10.0.0.1")], True, "metrics_not_open"),
        ({}, [OWN_HOST, BEARER], False, "metrics_not_open"),
        ({"open": True}, [AWAY_HOST], False, None),
        ({"key": KEY}, [AWAY_HOST, BEARER], False, None),
        ({"key": KEY}, [AWAY_HOST], False, "invalid_metrics_key"),
        ({"key": KEY}, [OWN_HOST], True, "invalid_metrics_key"),
        ({"key": KEY}, [OWN_HOST, (b"api-key", KEY)], True, "invalid_metrics_key"),
    ],
)
async def test_who_may_read(settings: dict[str, object], headers: Headers, local: bool, code: str | None) -> None:
    page = scrape(**settings)  # type: ignore[arg-type]
    if code is None:
        assert (await ask(page, headers, local=local))[0].status == 200
        return
    with pytest.raises(CallerError) as caught:
        await ask(page, headers, local=local)
    assert caught.value.code == code
    assert caught.value.status == (401 if "key" in settings else 403)


async def test_guesses_are_limited() -> None:
    page = scrape(failures=1, key=KEY)
    codes = []
    for _ in range(2):
        with pytest.raises(CallerError) as caught:
            await ask(page, [OWN_HOST, (b"authorization", b"Bearer guess")])
        codes.append((caught.value.status, caught.value.code))
    assert codes == [(401, "invalid_metrics_key"), (429, "too_many_failures")]
