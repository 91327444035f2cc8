"""The bench on which the failure matrix is played: upstreams, relays of different patience, and what must be left."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from tests.live.fault_scripts import LAST_CHUNK, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.harness import disconnected, nothing_leaked, server_context
from tests.live.loopback import black_hole, refusing_port
from tests.live.matrix_cells import Cell, Fault, Phase
from tests.live.matrix_forms import CHAT, MAX_EVENT, SECURE, UPSTREAM_KEY, Form
from tests.live.raw_client import RawClient
from tests.live.relays import STEADY, InProcessRelay

from chukei.adapters.logs.formats import JsonFormatter
from chukei.config import load

HEARTBEAT = b": keep-alive"
SHORT = 0.4
"""Seconds of the timeouts under test."""
LONG = 30
"""Seconds of the timeouts that must not strike."""

CONFIG = """
[stream]
heartbeat_seconds = {heartbeat}
first_token_seconds = {first}
thinking_seconds = {first}
idle_seconds = {timeout}
max_event_bytes = {max_event}
[upstream]
connect_seconds = {timeout}
ca_file = "{ca_file}"
[defaults]
model = "scripted"
[deployments]
scripted = {{ endpoint = "{scripted}", api_key = {{ env = "KEY" }} }}
secure = {{ endpoint = "{secure}", api_key = {{ env = "KEY" }} }}
refusing = {{ endpoint = "{refusing}", api_key = {{ env = "KEY" }} }}
black-hole = {{ endpoint = "{black_hole}", api_key = {{ env = "KEY" }} }}
handshake = {{ endpoint = "{handshake}", api_key = {{ env = "KEY" }} }}
untrusted = {{ endpoint = "{untrusted}", api_key = {{ env = "KEY" }} }}
"""


class _Lines(logging.Handler):
    """Keeps everything that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class MatrixBench:
    """The upstreams of all cells, and relays in front of them that differ in their patience."""

    scripted: FaultUpstream
    secure: FaultUpstream
    handshake: FaultUpstream
    config: Path
    addresses: dict[str, str]
    log: _Lines
    relays: dict[tuple[bool, bool], InProcessRelay] = field(default_factory=dict)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def upstream(self, form: Form, cell: Cell) -> FaultUpstream:
        """Return the upstream that a cell's request reaches, if it gets so far."""
        if cell.phase is Phase.TLS:
            return self.handshake
        return self.secure if form is SECURE else self.scripted

    async def relay(self, cell: Cell) -> InProcessRelay:
        """Return the relay for a cell: with short timeouts for stalls, with quick heartbeats to commit early."""
        kind = (cell.fault is Fault.STALL, cell.committed)
        if kind not in self.relays:
            path = self.config / f"{kind[0]}-{kind[1]}.toml"
            heartbeat = 0.02 if cell.committed else LONG
            timeout = SHORT if kind[0] else LONG
            path.write_text(
                CONFIG.format(
                    heartbeat=heartbeat,
                    timeout=timeout,
                    first=timeout * 1.2,
                    max_event=MAX_EVENT,
                    **self.addresses,
                )
            )
            relay = InProcessRelay(load(path, STEADY | {"KEY": UPSTREAM_KEY}))
            self.relays[kind] = await self.stack.enter_async_context(relay)
        return self.relays[kind]


@asynccontextmanager
async def open_bench(directory: Path) -> AsyncIterator[MatrixBench]:
    """Start every upstream, and listen to what is logged."""
    log = _Lines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context, strange = server_context(authority), server_context(trustme.CA())
    with black_hole() as hole:
        async with (
            FaultUpstream() as scripted,
            FaultUpstream(tls=context) as secure,
            FaultUpstream() as handshake,
            FaultUpstream(tls=strange) as untrusted,
        ):
            addresses = {
                "scripted": scripted.url,
                "secure": secure.url,
                "ca_file": str(directory / "ca.pem"),
                "refusing": f"http://127.0.0.1:{refusing_port()}",
                "black_hole": f"http://127.0.0.1:{hole}",
                "handshake": f"https://127.0.0.1:{handshake.port}",
                "untrusted": untrusted.url,
            }
            bench = MatrixBench(scripted, secure, handshake, directory, addresses, log)
            async with bench.stack:
                yield bench
    root.setLevel(level)
    root.removeHandler(log)


def without_heartbeats(body: bytes) -> bytes:
    """Return a body without the comments that stand between its events."""
    events = body.split(b"\n\n")
    return b"\n\n".join(event for event in events if event != HEARTBEAT)


@asynccontextmanager
async def nothing_left(relay: InProcessRelay, bench: MatrixBench) -> AsyncIterator[None]:
    """Check that a cell leaves no connection, task or descriptor, and that the next request succeeds."""
    await quiet(relay, bench)
    async with nothing_leaked():
        yield
        bench.scripted.script = GOOD
        async with RawClient(relay.url) as client:
            await client.post(CHAT.path, CHAT.request)
            assert await client.head() == 200
            assert without_heartbeats(await client.rest()) == ANSWER
        await quiet(relay, bench)


async def quiet(relay: InProcessRelay, bench: MatrixBench) -> None:
    """Wait until every connection is gone, on both sides."""
    await disconnected(relay, (bench.scripted, bench.secure, bench.handshake))


ANSWER = b"".join((*CHAT.preamble, *CHAT.outputs, CHAT.finish, CHAT.usage, CHAT.terminal))
GOOD = [Send(head() + chunk(ANSWER) + LAST_CHUNK)]
