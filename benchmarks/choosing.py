"""The cost of choosing a deployment: ``python -m benchmarks.choosing``, about a minute.

It measures the pool's CPU time for one request, from the choice to the release of the lease, with one to a thousand
deployments. It prints a table; ``--svg FILE`` draws a plot.
"""

import argparse
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from benchmarks.plot import lines
from benchmarks.report import table
from chukei.config import PoolSettings
from chukei.model import Deployment, Headers, Model
from chukei.pool import Fault, Lease, Pool, Verdict

SIZES = (1, 3, 10, 30, 100, 300, 1000)
IN_FLIGHT = 100
"""Concurrent requests."""

KEYS = 1000
"""Concurrent conversations, for requests with an affinity key."""

HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"apim-request-id", b"0d4f4f6c-2b7e-4a39-9a59-3f2f3b6e7c11"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains; preload"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-ms-region", b"Sweden Central"),
    (b"x-ms-rai-invoked", b"true"),
    (b"x-ratelimit-limit-requests", b"1000"),
    (b"x-ratelimit-remaining-requests", b"823"),
    (b"x-ratelimit-limit-tokens", b"100000"),
    (b"x-ratelimit-remaining-tokens", b"64210"),
    (b"x-ms-deployment-name", b"gpt-4o"),
    (b"date", b"Sun, 22 Nov 2026 12:00:00 GMT"),
]
"""An answer's, as Azure OpenAI sends them."""


class Traffic:
    """Requests on one pool. Its clock advances 0.01 ms for each, so that cool-downs do not end."""

    def __init__(self, weights: Sequence[int], *, cooling: int, keys: bool) -> None:
        deployments = tuple(
            Deployment(f"d{number}", f"https://r{number}.example", "gpt-4o", weight=weight)
            for number, weight in enumerate(weights)
        )
        draw = random.Random(7)
        pool = Pool({"chat": Model("chat", deployments)}, PoolSettings(), default="chat", open=None, draw=draw.random)
        self._pool = pool
        self._costs = [draw.randrange(500, 3000) for _ in range(KEYS)]
        self._keys = [draw.getrandbits(64) if keys else None for _ in range(KEYS)]
        self._number = count()
        refused: list[Lease] = []
        while len(refused) < cooling:
            lease = pool.choose(None, 0.0, tried=[earlier.member for earlier in refused])
            lease.failed(0.0, Verdict(Fault.BUSY, "rate_limit_exceeded", 300.0))
            lease.release(0.0)
            refused.append(lease)
        self._running = deque(self._begin(0.0) for _ in range(IN_FLIGHT))

    def _begin(self, now: float) -> Lease:
        number = next(self._number) % KEYS
        lease = self._pool.choose(None, now, cost=self._costs[number], key=self._keys[number])
        lease.answered(now, 0.35, HEADERS)
        return lease

    def run(self, requests: int) -> float:
        """Make some requests and return the CPU time of each, in microseconds."""
        running, begin = self._running, self._begin
        first = next(self._number)
        started = time.process_time()
        for number in range(first, first + requests):
            now = number * 1e-5
            running.append(begin(now))
            running.popleft().release(now)
        return (time.process_time() - started) / requests * 1e6


SCENARIOS: dict[str, Callable[[int], Traffic]] = {
    "equal weights": lambda size: Traffic([1] * size, cooling=0, keys=False),
    "all weights different": lambda size: Traffic(range(1, size + 1), cooling=0, keys=False),
    "half of them cooling": lambda size: Traffic([1] * size, cooling=size // 2, keys=False),
    "with an affinity key": lambda size: Traffic([1] * size, cooling=0, keys=True),
}


def measure(sizes: Sequence[int], *, rounds: int, requests: int) -> dict[str, list[tuple[float, float]]]:
    """Return medians of interleaved rounds: for each scenario, pairs of deployments and microseconds."""
    traffic = {(name, size): make(size) for name, make in SCENARIOS.items() for size in sizes}
    for one in traffic.values():
        one.run(requests)  # caches, and the ring, which is made when it is first needed
    found: dict[tuple[str, int], list[float]] = {place: [] for place in traffic}
    for _ in range(rounds):
        for place, one in traffic.items():
            found[place].append(one.run(requests))
    return {name: [(size, statistics.median(found[name, size])) for size in sizes] for name in SCENARIOS}


def in_a_table(found: dict[str, list[tuple[float, float]]]) -> str:
    """Return the microseconds as a Markdown table."""
    sizes = [f"{size:,.0f}" for size, _ in next(iter(found.values()))]
    rows = [[name, *(f"{cost:.1f}" for _, cost in points)] for name, points in found.items()]
    return table(["deployments", *sizes], rows)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choosing", description="Measure what a choice costs.")
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default: 15)")
    parser.add_argument("--requests", type=int, default=5000, help="requests in each round (default: 5000)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of deployments")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the figures; needs matplotlib")
    arguments = parser.parse_args(given)
    found = measure(arguments.sizes, rounds=arguments.rounds, requests=arguments.requests)
    print(in_a_table(found))
    if arguments.svg is not None:
        title = "CPU time of choosing, answering and giving back"
        lines(arguments.svg, title, "deployments of one priority", "µs for a request", found, log_x=True)


if __name__ == "__main__":
    main()
