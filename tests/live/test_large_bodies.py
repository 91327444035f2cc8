"""Bodies that could use too much memory or time, or mislead another parser."""

import asyncio
import gzip
import re

import pytest
from tests.live.both_hosts import Host, Hosts, Setup, resource
from tests.live.plain_http import JSON, ask, assert_serves, connection, post, request, send
from tests.live.relays import eventually
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

TARGET = "/v1/chat/completions"
MEBIBYTE = 1024 * 1024
NARROW = Setup(
    "narrow",
    resource({"CHUKEI_AUTH__ANONYMOUS": "true", "CHUKEI_SERVER__MAX_BODIES_BYTES": str(2 * MEBIBYTE)}),
)
"""Has room for 2 MiB of bodies, half of it for one caller."""


@pytest.fixture
def narrow(hosts: Hosts) -> Host:
    return hosts.get("server", NARROW)


def chat(size: int, model: str = "gpt-4o") -> bytes:
    before = b'{"model":"%s","messages":[{"role":"user","content":"repeat: one two"}],"user":"' % model.encode()
    return before + b"a" * (size - len(before) - 2) + b'"}'


async def test_bodies_in_flight_of_one_caller_take_half_the_room(narrow: Host, upstream: Upstream) -> None:
    """While one is being served, another that does not fit beside it is told when to come back; a small one fits."""
    size = 700 * 1024
    async with connection(narrow.url) as (_, writer):
        await send(writer, request(narrow.url, "POST", TARGET, [JSON], chat(size, "fault-stall-before-headers")))
        await eventually(lambda: len(upstream.exchanges) == 1)
        refused = await post(narrow.url, TARGET, chat(size))
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert "bodies" in refused.error["message"]
        assert int(refused.header("retry-after") or 0) >= 1
        await assert_serves(narrow.url)
    async with asyncio.timeout(60):  # the client has left, and so its body
        while (await post(narrow.url, TARGET, chat(size))).status == 429:
            await asyncio.sleep(0.02)


async def test_a_small_body_that_becomes_a_large_one_is_stopped_at_the_limit(host: Host, upstream: Upstream) -> None:
    bomb = gzip.compress(chat(200 * MEBIBYTE), compresslevel=1)
    assert len(bomb) < MEBIBYTE
    answer = await post(host.url, TARGET, bomb, [("content-encoding", "gzip")])
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert upstream.exchanges == []
    await assert_serves(host.url)


async def test_a_form_goes_up_as_we_write_it(host: Host, upstream: Upstream) -> None:
    """Whoever reads it next finds what was read here: our boundary, no preamble, no fields of a part but the known."""
    part = b"--b\r\nX-Odd: 1\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n"
    form = b"a preamble\r\n" + part % (b'name="model"', b"whisper") + part % (b'name="file"; filename="a.wav"', b"RIFF")
    headers = [("content-type", "multipart/form-data; boundary=b")]
    answer = await ask(host.url, "POST", "/v1/audio/transcriptions", headers, form + b"--b--\r\nan epilogue")
    assert answer.status == 200, answer
    sent = upstream.only
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\S+)", sent.headers["content-type"])
    assert boundary is not None
    assert boundary[1] != "b"
    assert sent.body.startswith(b"--" + boundary[1].encode() + b"\r\n")
    assert sent.body.endswith(b"--" + boundary[1].encode() + b"--\r\n")
    for word in (b"preamble", b"epilogue", b"X-Odd", b"--b\r"):
        assert word not in sent.body
    assert b"RIFF" in sent.body
