"""Checks that a relay and its scripted upstreams in one loop leave nothing behind after a request."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme
from tests.live.fault_upstream import FaultUpstream
from tests.live.relays import InProcessRelay, eventually


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """Return the TLS context of a server on the loopback address whose certificate this authority has issued."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def disconnected(relay: InProcessRelay, upstreams: Iterable[FaultUpstream]) -> None:
    """Cut the upstreams' connections, and wait until the relay has none either."""
    for upstream in upstreams:
        await upstream.drop()
    await eventually(lambda: relay.upstream.open_connections == 0 and not relay.server.server_state.connections)


@asynccontextmanager
async def nothing_leaked() -> AsyncIterator[None]:
    """Wait at the end until there are no more tasks and descriptors than before.

    What was there before may go meanwhile: it belongs to other tests' simulators in this process.
    """
    tasks, descriptors = _tasks(), dict(_descriptors())
    yield
    await eventually(lambda: _tasks() <= tasks and dict(_descriptors()).items() <= descriptors.items())


def _tasks() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if not task.done()}


def _descriptors() -> Iterator[tuple[str, str]]:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            yield name, str(Path("/proc/self/fd", name).readlink())
        except OSError:
            continue  # the listing's own
