"""What the test host's front does to an exchange as Microsoft's does it, and how the relay lives with that.

The real limit is 240 seconds of silence; the hosts here have one of two.
"""

import asyncio
import json
from collections.abc import Iterator

import h11
import pytest
from tests.live.functions_client import call, request, write_app
from tests.live.functions_host import ROOT, FunctionsHost

pytestmark = pytest.mark.anyio

PROBE = """
from chukei.hosts.functions import function_app
from tests.live.functions_probe import application
app = function_app(application)
"""
KEY = "a-key-for-callers"


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionsHost]:
    with FunctionsHost(write_app(tmp_path_factory.mktemp("probe"), PROBE), silence=2) as running:
        yield running


@pytest.fixture(scope="module")
def relay() -> Iterator[FunctionsHost]:
    """The relay, whose upstream is silent for longer than the front bears."""
    environment = {
        "CHUKEI_API_KEY": KEY,
        "CHUKEI_SIMULATOR__FIRST_TOKEN_SECONDS": "2.5",
        "CHUKEI_SIMULATOR__JITTER": "0",
        "CHUKEI_STREAM__HEARTBEAT_SECONDS": "0.1",
    }
    with FunctionsHost(ROOT / "functions", environment, silence=2) as running:
        yield running


async def test_an_answer_that_does_not_begin_in_time_becomes_504_and_a_stream_that_falls_silent_is_cut(
    probe: FunctionsHost,
) -> None:
    async def fall_silent() -> None:
        async with request(probe, "GET", "/idle/stream") as exchange:
            assert (await exchange.response()).status_code == 200
            assert await exchange.part() == b"data: first\n\n"
            with pytest.raises(h11.RemoteProtocolError):
                await exchange.part()

    answer, _ = await asyncio.gather(call(probe, "/headless/answer"), fall_silent())
    assert answer == (504, None)
    for name in ("answer", "stream"):  # the application learns of it
        assert await call(probe, f"/left/{name}") == (200, None)


async def test_a_redirect_goes_to_the_client_and_no_cookie_is_kept(probe: FunctionsHost) -> None:
    async with request(probe, "GET", "/moved") as exchange:
        response = await exchange.response()
        assert response.status_code == 302
        assert (b"location", b"/echo/moved") in response.headers
        assert (b"set-cookie", b"session=one; Path=/") in response.headers
    _, seen = await call(probe, "/echo/after")
    assert not [name for name, _ in seen["headers"] if name == "cookie"]
    _, seen = await call(probe, "/echo/after", headers=[("cookie", "own=1")])
    assert ["cookie", "own=1"] in seen["headers"]


async def test_heartbeats_carry_a_stream_over_a_silence_that_ends_a_plain_answer(relay: FunctionsHost) -> None:
    async def ask(stream: bool) -> tuple[int, bool]:
        body = json.dumps({"messages": [{"role": "user", "content": "say: hello"}], "stream": stream}).encode()
        headers = [("api-key", KEY), ("content-type", "application/json")]
        async with request(relay, "POST", "/v1/chat/completions", headers=headers, body=body) as exchange:
            response = await exchange.response()
            return response.status_code, (await exchange.rest()).endswith(b"data: [DONE]\n\n")

    streamed, plain = await asyncio.gather(ask(stream=True), ask(stream=False))
    assert streamed == (200, True)
    assert plain == (504, False)
