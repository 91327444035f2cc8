"""A realtime session of a page in a real browser, which can send its key only as a subprotocol."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from playwright.async_api import Browser, Page
from tests.live.both_hosts import CLIENT_KEY, UPSTREAM_KEY, resource
from tests.live.relays import RelayProcess
from tests.live.simulated import SimulatorThread, Upstream

from chukei.simulator import SimulatorSettings

pytestmark = pytest.mark.anyio

ASK = """
([address, ...protocols]) => new Promise((resolve) => {
  const socket = new WebSocket(address, protocols);
  const seen = { protocol: null, text: "", code: null };
  const item = { type: "message", role: "user", content: [{ type: "input_text", text: "repeat: from a page" }] };
  socket.onopen = () => {
    seen.protocol = socket.protocol;
    for (const event of [
      { type: "session.update", session: { type: "realtime", output_modalities: ["text"] } },
      { type: "conversation.item.create", item },
      { type: "response.create" },
    ]) socket.send(JSON.stringify(event));
  };
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === "response.output_text.delta") seen.text += event.delta;
    if (event.type === "response.done") socket.close(1000, "thank you");
  };
  socket.onclose = ({ code }) => resolve({ ...seen, code });
})
"""


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0, record_sent=True)) as running:
        yield running


@pytest.fixture(scope="module")
def relay(simulator: SimulatorThread) -> Iterator[RelayProcess]:
    environment = resource({"AZURE_OPENAI_ENDPOINT": simulator.url, "CHUKEI_API_KEY": CLIENT_KEY})
    with RelayProcess(environment) as relay:
        yield relay


@pytest.fixture
async def page(browser: Browser, simulator: SimulatorThread) -> AsyncIterator[Page]:
    """A page of another origin, of which the relay's configuration does not know: whatever the simulator shows."""
    page = await browser.new_page()
    await page.goto(simulator.url)
    yield page
    await page.close()


async def ask(page: Page, relay: RelayProcess, key: str, *more: str) -> dict[str, Any]:
    """Ask over a WebSocket, as OpenAI's package for browsers opens it."""
    address = f"{relay.url.replace('http', 'ws', 1)}/v1/realtime?model=gpt-4o"
    seen: dict[str, Any] = await page.evaluate(ASK, [address, "realtime", f"openai-insecure-api-key.{key}", *more])
    return seen


ANSWERED = {"protocol": "realtime", "text": "from a page", "code": 1000}


async def test_the_key_is_read_and_goes_no_further(page: Page, relay: RelayProcess, simulator: SimulatorThread) -> None:
    upstream = Upstream(simulator)
    assert await ask(page, relay, CLIENT_KEY) == ANSWERED
    session = next(exchange for exchange in upstream.exchanges if exchange.operation == "realtime/socket")
    assert session.headers["api-key"] == UPSTREAM_KEY
    assert "origin" not in session.headers
    for exchange in upstream.exchanges:
        assert CLIENT_KEY not in f"{exchange.headers} {exchange.path} {exchange.query} {exchange.messages!r}"
    assert CLIENT_KEY not in "\n".join(relay.log)


async def test_an_ephemeral_key_is_one_of_the_relay(
    page: Page, relay: RelayProcess, simulator: SimulatorThread
) -> None:
    """The page's own server makes it. What the service made never reaches the page."""
    upstream = Upstream(simulator)
    async with AsyncOpenAI(base_url=f"{relay.url}/v1", api_key=CLIENT_KEY) as server:
        secret = await server.realtime.client_secrets.create(session={"type": "realtime", "model": "gpt-4o"})
    assert await ask(page, relay, secret.value) == ANSWERED
    for exchange in upstream.exchanges:
        assert secret.value.encode() not in bytes(exchange.sent)
        assert secret.value not in f"{exchange.headers} {exchange.path} {exchange.query} {exchange.messages!r}"


@pytest.mark.parametrize("key", ["wrong", "ek_0123456789abcdef"])
async def test_without_a_valid_key_there_is_no_session(page: Page, relay: RelayProcess, key: str) -> None:
    assert await ask(page, relay, key) == {"protocol": None, "text": "", "code": 1006}
