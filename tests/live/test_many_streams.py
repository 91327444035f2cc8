"""A thousand streams on one process: none lost, reordered or mixed up; memory that does not grow with their length."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.live.numbered_streams import NumberedUpstream, ask, body
from tests.live.relays import RelayProcess

pytestmark = pytest.mark.anyio

STREAMS = 1000
EVENTS = 20
DESCRIPTORS = 4 * STREAMS  # two for each stream in each process, and room

FEW = 50
SHORT, LONG = 200, 1500
GROWTH_KIB = 10 * 1024
"""What the relay's peak may grow by when its streams carry 28 MB instead of 4 MB. It may hold up to 190 KiB of each
stream while a client is slow; a relay that kept what it passes on would grow by more than 20 MB."""


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Allow as many descriptors as are needed, here and in the processes that are started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"the system allows {hard} descriptors; {DESCRIPTORS} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def relay_to(upstream: NumberedUpstream) -> RelayProcess:
    return RelayProcess(
        {"AZURE_OPENAI_ENDPOINT": upstream.url, "AZURE_OPENAI_API_KEY": "key", "AZURE_OPENAI_DEPLOYMENT": "gpt-4o"}
    )


def peak_kib(relay: RelayProcess, *, reset: bool) -> int:
    """Return the most memory that the process has held since the last reset, in KiB."""
    process = Path("/proc", str(relay.process.pid))
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    if reset:
        (process / "clear_refs").write_text("5")  # proc(5): resets the peak resident set size
    return int(lines["VmHWM"].split()[0])


async def test_none_is_lost_reordered_or_mixed_up() -> None:
    async with NumberedUpstream(together=STREAMS) as upstream:
        with relay_to(upstream) as relay:
            bodies = await ask(relay.url, range(STREAMS), EVENTS)
    assert upstream.peak == STREAMS
    for stream, received in enumerate(bodies):
        assert received == body(stream, EVENTS), stream


async def test_memory_does_not_grow_with_the_length_of_streams(record_property: Callable[[str, object], None]) -> None:
    async with NumberedUpstream(together=FEW) as upstream:
        with relay_to(upstream) as relay:
            await ask(relay.url, range(FEW), SHORT)
            peak_kib(relay, reset=True)
            await ask(relay.url, range(FEW), SHORT)
            short = peak_kib(relay, reset=True)
            bodies = await ask(relay.url, range(FEW), LONG)
            long = peak_kib(relay, reset=False)
    record_property("peak_kib", f"{short} for {SHORT} events, {long} for {LONG}")
    assert all(received == body(stream, LONG) for stream, received in enumerate(bodies))
    assert long - short < GROWTH_KIB
