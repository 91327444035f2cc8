"""Connections to Redis whose every failure comes soon: time limits, and nothing tried again behind our back.

Left to itself redis-py tries a refused connection for seconds before it says so.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ResponseError

COMMAND_SECONDS = 1.0
"""How long connecting, or one answer, may take."""

CANCEL_AGAIN_SECONDS = 0.1
"""How long a cancelled task may take before it is cancelled again."""

CONNECTIONS = 8
"""How many connections a replica opens at most: one hears, the others ask and tell."""

# A load balancer on the way forgets connections that are silent for minutes (Azure's after 4), without telling.
KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


def pool_for(url: str) -> Callable[[], BlockingConnectionPool]:
    """Return what makes a pool of connections, each of which fails at once instead of being tried again."""
    make = partial(
        BlockingConnectionPool.from_url,
        url,
        max_connections=CONNECTIONS,
        timeout=COMMAND_SECONDS,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=COMMAND_SECONDS,
        socket_connect_timeout=COMMAND_SECONDS,
        socket_keepalive=True,
        socket_keepalive_options=KEEPALIVE,
    )
    # Neither urllib's nor the library's message is passed on: either may quote what it takes for the port.
    try:
        parts = urlsplit(url)
        options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        tls = parts.scheme == "rediss"
        place = parts.hostname and (parts.path.strip("/") or "0").isdecimal() and not parts.fragment
        usable = place and (tls or parts.scheme == "redis")
        if usable and all(tls and name.startswith("ssl_") for name in options):
            pool = make()
            pool.connection_class(**pool.connection_kwargs)  # would fail on an unknown option
            return make
    except (ValueError, TypeError):
        pass
    raise ValueError(
        "a Redis URL is redis://[user:password@]host[:port][/number], or rediss:// with TLS and its ssl_ options; "
        "special characters in the password must be percent-encoded"
    )


class Address(NamedTuple):
    """Where a URL leads, and the commands with which a connection there begins."""

    host: str
    port: int
    greeting: tuple[tuple[str | int, ...], ...]
    tls: Callable[[], ssl.SSLContext | None]
    """Makes a context anew, for the files that it is made of may have changed."""


def address_of(url: str) -> Address:
    """Return where a URL leads, as the library reads it.

    Raises:
        ValueError: the URL is not usable.
    """
    pool = pool_for(url)()

    def made() -> Connection:
        connection = pool.connection_class(**pool.connection_kwargs)
        assert isinstance(connection, Connection)
        return connection

    def tls() -> ssl.SSLContext | None:
        connection = made()
        return connection.ssl_context.get() if isinstance(connection, SSLConnection) else None

    known = made()
    greeting: list[tuple[str | int, ...]] = []
    if known.username:
        greeting.append(("AUTH", known.username, known.password or ""))
    elif known.password:
        greeting.append(("AUTH", known.password))
    if known.db:
        greeting.append(("SELECT", known.db))
    return Address(known.host, known.port, tuple(greeting), tls)


async def pipelined(client: Redis, commands: Iterable[tuple[str | bytes | int, ...]]) -> ResponseError | None:
    """Send commands in one round trip and return the first refusal."""
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        answers = await pipeline.execute(raise_on_error=False)
    return next((answer for answer in answers if isinstance(answer, ResponseError)), None)


def reason(error: BaseException) -> str:
    """Describe an error in a few words. A server's own words are left out: some repeat the command, with a password."""
    name = type(error).__name__
    text = "" if isinstance(error, ResponseError | AuthenticationError) else str(error)[:200]
    return f"{name}: {text}" if text else name


async def until_one_ends(*work: Coroutine[object, object, None]) -> None:
    """Run until one of several ends, stop the others, and raise what that one raised."""
    tasks = {asyncio.create_task(each) for each in work}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await undisturbed(stopped(tasks))
    for task in done:
        if task.cancelled():  # by nobody here; it must not pass for a cancellation of the caller
            raise ConnectionError("cancelled from within")
        task.result()


async def stopped(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: redis-py sends with ``asyncio.wait_for``, which before Python 3.12 loses a cancellation that
    comes together with the result (https://github.com/python/cpython/issues/86296).
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not complain that nobody did


async def undisturbed(work: Coroutine[object, object, None]) -> None:
    """Finish, also when cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def ended(close: Callable[[], Awaitable[object]]) -> None:
    """Wait for something to close, however badly it goes."""
    with suppress(Exception):
        await close()
