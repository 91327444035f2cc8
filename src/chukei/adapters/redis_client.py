"""Connections to Redis whose every failure comes soon: time limits, and nothing tried again behind our back.

Left to itself redis-py tries a refused connection for seconds before it says so.
"""

import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ResponseError

COMMAND_SECONDS = 1.0
"""How long connecting, or one answer, may take."""

CONNECTIONS = 8
"""How many connections a replica opens at most: one hears, the others ask and tell."""

# A load balancer on the way forgets connections that are silent for minutes (Azure's after 4), without telling.
_KEEPALIVE = {
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
        socket_keepalive_options=_KEEPALIVE,
    )
    # Neither urllib's nor the library's message is passed on: either may quote what it takes for the port.
    try:
        parts = urlsplit(url)
        options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        tls = parts.scheme == "rediss"
        usable = (tls or parts.scheme == "redis") and parts.hostname and not parts.fragment
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


async def pipelined(client: Redis, commands: Iterable[tuple[str | bytes | int, ...]]) -> ResponseError | None:
    """Send commands in one round trip and return the first refusal."""
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        answers = await pipeline.execute(raise_on_error=False)
    return next((answer for answer in answers if isinstance(answer, ResponseError)), None)


def reason(error: BaseException) -> str:
    """Describe an error in a few words. A server's own words are left out: some repeat the command, with a password."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    name = type(error).__name__
    text = "" if isinstance(error, ResponseError | AuthenticationError) else str(error)[:200]
    return f"{name}: {text}" if text else name


async def ended(close: Callable[[], Awaitable[object]]) -> None:
    """Wait for something to close, however badly it goes."""
    with suppress(Exception):
        await close()
