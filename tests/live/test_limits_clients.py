"""OpenAI's Python client under limits that are counted in the memory of one process."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import openai
import pytest
from openai import AsyncOpenAI
from tests.live.callers import (
    ENVIRONMENT,
    CountingUpstream,
    Table,
    ask,
    clear_of_midnight,
    config,
    count,
    hammer,
    key_of,
)
from tests.live.relays import RelayProcess, eventually

pytestmark = pytest.mark.anyio

CALLERS: dict[str, Table] = {
    "requests": {"limits": {"requests_per_minute": 10}},
    "tokens": {"limits": {"tokens_per_minute": 3000}},
    "slots": {"limits": {"concurrent": 3}},
    "one": {"limits": {"concurrent": 1}},
    "spent": {"limits": {"tokens_per_day": 150}},
    "never": {"limits": {"tokens_per_minute": 200}},
    "soon": {"limits": {"requests_per_minute": 1}},
}


@dataclass(frozen=True)
class Setup:
    """A relay and its upstream."""

    url: str
    upstream: CountingUpstream

    def client(self, caller: str, **options: int) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key_of(caller), timeout=90, **options)  # type: ignore[arg-type]

    async def complete(self, caller: str, **options: int) -> str | None:
        """Ask as users of the package do."""
        async with self.client(caller, **options) as client:
            answer = await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": f"for {caller}."}], max_tokens=100
            )
        return answer.choices[0].message.content


@pytest.fixture(scope="module")
async def setup(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setup]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(CountingUpstream())
        file = str(config(tmp_path_factory.mktemp("hosts") / "chukei.toml", upstream.url, CALLERS))
        url = stack.enter_context(RelayProcess(ENVIRONMENT, "--config", file)).url
        yield Setup(url, upstream)


async def test_hammering(setup: Setup) -> None:
    urls = [setup.url]
    assert count(await hammer(urls, "requests", each=1)) == (10, 0)
    assert setup.upstream.requests["requests"] == 10
    assert count(await hammer(urls, "tokens", each=1, stream=True, max_tokens=100)).granted
    while (await ask(setup.url, "tokens", stream=True, max_tokens=100)).status == 200:
        pass
    assert 2800 < setup.upstream.tokens["tokens"] <= 3000
    setup.upstream.holding.add("slots")
    hammering = asyncio.create_task(hammer(urls, "slots", each=1, connections=20))
    await eventually(lambda: setup.upstream.requests["slots"] == 3)
    assert (await ask(setup.url, "slots")).status == 429
    for visit in setup.upstream.held("slots"):
        visit.release()
    assert count(await hammering).granted == 3
    assert setup.upstream.requests["slots"] == 3


async def test_openais_client_waits_for_as_long_as_it_is_told(setup: Setup) -> None:
    """While the only place is taken it is told to come back in a second, and does, until it is served."""
    setup.upstream.holding.add("one")
    first = asyncio.create_task(setup.complete("one"))
    await eventually(lambda: setup.upstream.requests["one"] == 1)
    began = time.monotonic()
    second = asyncio.create_task(setup.complete("one", max_retries=5))
    await asyncio.sleep(0.5)
    assert not second.done()
    setup.upstream.holding.discard("one")
    setup.upstream.held("one")[0].release()
    assert await first == await second == "Hello"
    assert time.monotonic() - began >= 1
    assert setup.upstream.requests["one"] == 2


async def test_it_tries_no_used_up_quota_again(setup: Setup) -> None:
    await clear_of_midnight()
    assert await setup.complete("spent") == "Hello"
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await setup.complete("spent", max_retries=5)
    assert refused.value.code == "insufficient_quota"
    assert "callers.spent.limits.tokens_per_day" in refused.value.message
    assert setup.upstream.requests["spent"] == 1


async def test_it_gives_up_what_could_never_be_granted(setup: Setup) -> None:
    async with setup.client("never") as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "for never."}], max_tokens=5000
            )
    assert refused.value.code == "request_exceeds_limit"
    assert setup.upstream.requests["never"] == 0


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "deep", reason="takes a minute; the deep profile waits")
async def test_it_waits_out_a_minute(setup: Setup) -> None:
    """As long as the relay says, up to 63 seconds, and then it is served."""
    assert await setup.complete("soon") == "Hello"
    began = time.monotonic()
    assert await setup.complete("soon", max_retries=1) == "Hello"
    assert time.monotonic() - began > 55
