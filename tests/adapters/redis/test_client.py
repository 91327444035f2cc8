"""Which URLs lead to Redis, what is said of a failure, and when the library is loaded."""

import asyncio
import subprocess
import sys

import pytest
from redis.exceptions import AuthenticationError, ConnectionError, ReadOnlyError
from tests.live.relays import clean_environment

from chukei.adapters.redis.client import ended, pool_for, reason, stopped, undisturbed, until_one_ends


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sesame",
        "http://:sesame@127.0.0.1",
        "redis://",
        "redis://:sesame@",
        "redis://:sesame/with@127.0.0.1",
        "redis://:sesame#with@127.0.0.1",
        "redis://:sesame@127.0.0.1:port",
        "redis://:sesame@127.0.0.1:99999",
        "redis://:sesame@127.0.0.1/one",
        "redis://:sesame@127.0.0.1?protocol=3",
        "redis://:sesame@127.0.0.1?ssl_ca_certs=x",
        "rediss://:sesame@127.0.0.1?ssl_unknown=x",
        "rediss://:sesame@127.0.0.1?socket_timeout=100",
        "unix:///sesame",
    ],
)
def test_a_url_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"^a Redis URL is redis://") as refusal:
        pool_for(url)
    assert "sesame" not in str(refusal.value)


def test_redis_is_imported_only_where_it_is_configured() -> None:
    code = "import sys, chukei.app, chukei.cli, chukei.hosts.asgi; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=clean_environment(), check=True)


@pytest.mark.parametrize(
    "url", ["redis://localhost", "redis://:secret@[::1]:7000/2", "rediss://user:a%2Fb@host:6380?ssl_cert_reqs=none"]
)
def test_a_usable_url_makes_connections_that_fail_soon(url: str) -> None:
    kept = pool_for(url)().connection_kwargs
    assert kept["socket_timeout"] == kept["socket_connect_timeout"] == 1.0
    assert kept["retry"].get_retries() == 0


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "TimeoutError"),
        (ConnectionError("Error 111"), "ConnectionError: Error 111"),
        (ConnectionError("x" * 1000), "ConnectionError: " + "x" * 200),
        (ReadOnlyError("by a server"), "ReadOnlyError"),
        (AuthenticationError("by a server"), "AuthenticationError"),
    ],
)
def test_a_reason_holds_no_words_of_the_server(error: Exception, words: str) -> None:
    assert reason(error) == words


@pytest.mark.anyio
async def test_a_task_that_loses_a_cancellation_is_stopped_all_the_same() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await stopped([task])
    assert task.cancelled()
    assert lost == 3


@pytest.mark.anyio
async def test_the_first_to_end_stops_the_others_and_says_why() -> None:
    waiting = asyncio.Event()
    ends: list[str] = []

    async def wait() -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("stopped")
            raise KeyError("lost on the way out")

    async def fail() -> None:
        await waiting.wait()
        raise OSError("first")

    with pytest.raises(OSError, match="first"):
        await until_one_ends(wait(), fail())
    assert ends == ["stopped"]


@pytest.mark.anyio
async def test_a_cancellation_from_within_is_a_failure_like_any_other() -> None:
    async def confused() -> None:
        raise asyncio.CancelledError

    with pytest.raises(OSError, match="from within"):
        await until_one_ends(confused())


@pytest.mark.anyio
async def test_what_is_undisturbed_ends_before_its_cancellation_goes_on() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def tidy() -> None:
        begun.set()
        await go_on.wait()
        done.append("tidied")

    task = asyncio.create_task(undisturbed(tidy()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["tidied"]


@pytest.mark.anyio
async def test_closing_may_fail() -> None:
    async def close() -> None:
        raise OSError("already closed")

    await ended(close)
