"""Checks of a relay by its URL, of whatever answers there; tests/live/test_doctor.py has real proxies."""

import gzip

import pytest
from tests.adapters.servers import Handler, LocalServer, Peer
from tests.doctor.ways import answer, answer_of, by_path, way
from tests.rows import rows

from chukei.doctor.finding import Finding, Status
from chukei.doctor.inspection import address, inspect
from chukei.doctor.report import Report
from chukei.gateway.pages import TEST_TEXT
from chukei.stream import sse

pytestmark = pytest.mark.anyio

LIVE = answer(200, b'{"status":"live"}')
READY = answer(200, b'{"status":"ready"}')
STATES = b'{"models":{"fast":[{"deployment":"east","status":"%b","why":"upstream_429"}]}}'
HEALTHY = {"/health/live": LIVE, "/health/ready": READY, "/health/deployments": answer(200, STATES % b"ready")}
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache, no-transform\r\n"
    b"transfer-encoding: chunked\r\n%b\r\n"
)
EVENTS = [b"id: %d\n" % (place * 10) + sse.write(each) for place, each in enumerate(TEST_TEXT)]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def inspected(handler: Handler, key: str | None = None) -> Report:
    async with LocalServer(handler) as server:
        return await inspect(f"http://127.0.0.1:{server.port}", key, way=way())


def stream(head: bytes, *parts: bytes, reset: bool = False) -> Handler:
    """A relay whose test stream consists of these parts."""

    async def handle(peer: Peer) -> None:
        request = await peer.head()
        if b"/api/test-stream" not in request:
            await peer.send(answer_of(request, HEALTHY))
            return
        for part in (head, *parts):
            await peer.send(part)
        if reset:
            peer.reset()

    return handle


def failed(report: Report) -> Finding:
    found = [finding for finding in report.findings if finding.status is Status.FAILED]
    assert len(found) == 1, report.text()
    assert found[0].remedy
    return found[0]


@rows(
    "url",
    ["ftp://x", "http://", "/relative", "http://a b", "http://[::1", "http://a:99999", "http://a..b", "http://a/b c"],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="is not an http"):
        address(url)


@rows(
    ("given", "url"),
    [
        ("relay.example", "http://relay.example"),
        ("https://relay.example/", "https://relay.example"),
        ("https://bücher.example:8443/ai/", "https://xn--bcher-kva.example:8443/ai"),
        ("http://[::1]:7221", "http://[::1]:7221"),
        ("http://user:password@relay.example", "http://relay.example"),
    ],
)
def test_addresses(given: str, url: str) -> None:
    assert address(given).geturl() == url


@rows("key", ["planted\n", "planted\r\nx: y", "planted…"])
async def test_a_key_that_no_header_can_hold_is_not_shown(key: str) -> None:
    report = await inspect("http://127.0.0.1:1", key, way=way())
    assert "line end" in failed(report).seen
    assert report.exit_code == 4
    assert "planted" not in report.json()


FOREIGN: dict[str, tuple[bytes, str, str]] = {
    "a redirect": (answer(302, b"", b"location: https://login.example/"), "to https://login.example/", "sign in"),
    "a page to sign in": (answer(200, b"<!DOCTYPE html>", kind=b"text/html"), "an HTML page answers", "sign in"),
    "a gateway without its relay": (answer(502, b"Bad Gateway", kind=b"text/plain"), "status 502", "start the relay"),
    "something else": (answer(200, b'{"ok":true}'), "this is not a relay", "correct the URL"),
    "not HTTP": (b"220 mail.example ESMTP\r\n", "does not speak HTTP", "listens there"),
    "nothing": (b"", "no answer came", "listens there"),
}


@rows(("raw", "seen", "advice"), FOREIGN.values(), ids=FOREIGN)
async def test_what_answers_in_a_relays_place(raw: bytes, seen: str, advice: str) -> None:
    report = await inspected(by_path({"/health/live": raw}))
    found = failed(report)
    assert (found.check, report.exit_code) == ("health", 4)
    assert seen in found.seen
    assert advice in found.remedy
    assert report.findings[-1].status is Status.SKIPPED


async def test_a_relay_that_is_not_ready() -> None:
    report = await inspected(by_path({"/health/live": LIVE, "/health/ready": answer(503, b"{}")}))
    assert "alive but not ready" in failed(report).seen


@rows(
    ("raw", "status", "seen"),
    [
        (answer(401, b"{}"), Status.FAILED, "asks for a key, and none was sent"),
        (answer(403, b"{}"), Status.SKIPPED, "may not see the deployments"),
        (answer(200, b"[]"), Status.FAILED, "no list of deployments"),
        (answer(200, STATES % b"open"), Status.WARNING, "east is open (upstream_429)"),
    ],
)
async def test_access(raw: bytes, status: Status, seen: str) -> None:
    report = await inspected(by_path({**HEALTHY, "/health/deployments": raw}))
    found = [finding for finding in report.findings if seen in finding.seen]
    assert [finding.status for finding in found] == [status], report.text()


async def test_a_key_that_the_relay_refuses_is_told_from_none() -> None:
    report = await inspected(by_path({**HEALTHY, "/health/deployments": answer(401, b"{}")}), key="a-wrong-key")
    assert "refuses the key in CHUKEI_API_KEY" in failed(report).seen
    assert "a-wrong-key" not in report.text()


async def test_deployments_are_a_table_and_a_list() -> None:
    report = await inspected(by_path(HEALTHY))
    assert report.table.splitlines()[1].split() == ["fast", "east", "1", "ready", "upstream_429", "0", "0", "0", "-"]
    assert [each["model"] for each in report.deployments if isinstance(each, dict)] == ["fast"]


ALL = b"".join(EVENTS) + sse.DONE
NGINX = HEAD % b"server: nginx\r\n"
ARRIVALS: dict[str, tuple[Handler, str, str]] = {
    "all at once": (stream(NGINX, chunk(ALL), b"0\r\n\r\n"), "buffering", "proxy_buffering off"),
    "cut in the middle": (stream(NGINX, chunk(b"".join(EVENTS[:20]))), "end", "time limits"),
    "reset in the middle": (stream(HEAD % b"", chunk(EVENTS[0]), reset=True), "end", "time limits"),
    "without the last event": (stream(HEAD % b"", *map(chunk, EVENTS[:9]), b"0\r\n\r\n"), "end", "time limits"),
    "another answer": (by_path({**HEALTHY, "/api/test-stream": answer(200, b"{}")}), "answer", "relay's place"),
    "no answer": (by_path({**HEALTHY, "/api/test-stream": b""}), "answer", "time limits"),
    "not allowed": (by_path({**HEALTHY, "/api/test-stream": answer(401, b"{}")}), "answer", "CHUKEI_API_KEY"),
}


@rows(("handler", "check", "advice"), ARRIVALS.values(), ids=ARRIVALS)
async def test_what_happens_to_the_stream(handler: Handler, check: str, advice: str) -> None:
    report = await inspected(handler)
    found = [finding for finding in report.findings if finding.check == check and finding.status is Status.FAILED]
    assert len(found) == 1, report.text()
    assert advice in found[0].remedy
    assert report.exit_code == 1


async def test_a_stream_with_a_length_was_collected() -> None:
    raw = answer(200, ALL, kind=b"text/event-stream; charset=utf-8")
    report = await inspected(by_path({**HEALTHY, "/api/test-stream": raw}))
    found = {finding.check: finding.status for finding in report.findings}
    assert (found["framing"], found["buffering"], found["headers"]) == (Status.FAILED, Status.FAILED, Status.WARNING)


async def test_an_answer_of_http_1_0_has_no_certain_end() -> None:
    old = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"transfer-encoding: chunked\r\n", b"") % b""
    report = await inspected(stream(old, ALL))
    found = {finding.check: finding.status for finding in report.findings}
    assert (found["framing"], found["end"]) == (Status.WARNING, Status.OK)


async def test_a_coding_that_the_doctor_cannot_read() -> None:
    """It asks once more, without offering any."""
    report = await inspected(stream(HEAD % b"content-encoding: br\r\n", chunk(b"?"), b"0\r\n\r\n"))
    found = {finding.check: finding.status for finding in report.findings}
    assert (found["compression"], found["pace"]) == (Status.FAILED, Status.SKIPPED)
    zipped = gzip.compress(ALL)
    report = await inspected(stream(HEAD % b"content-encoding: gzip\r\n", chunk(zipped), b"0\r\n\r\n"))
    found = {finding.check: finding.status for finding in report.findings}
    assert (found["compression"], found["end"]) == (Status.FAILED, Status.OK)
