"""The cost of a cold start: ``python -m benchmarks.cold_start``, about two minutes. It prints two tables.

The first table has imports in a fresh process. Each row excludes what earlier rows of its group have imported. The
second has whole starts, until the first connection is accepted and until the first request is answered, by an upstream
that answers at once. Both are with bytecode, as after a first start, and without, including Python's own.

The Functions host is the tests' stand-in: Microsoft's worker code without gRPC and without the platform, whose start
takes seconds more.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from tests.live.functions_host import FunctionsHost

from benchmarks.bursts import Asked, Client, Upstream, short
from benchmarks.guard import ROOT, Relay, configuration, plain_environment
from benchmarks.process import cpu_seconds, free_port, new_loop, resident_bytes
from benchmarks.report import table

TIMES = 5
SETTLE_SECONDS = 0.3

GROUPS: dict[str, dict[str, str]] = {
    "server": {"the server": "import chukei.cli, chukei.hosts.server, chukei.hosts.http.protocol"},
    "core": {"the relay without a server": "import chukei.hosts.asgi"},
    "functions": {
        "Functions: the worker": "import azure_functions_runtime",
        "Functions: its library, and the HTTP extension with FastAPI and pydantic": (
            "import azure.functions, azurefunctions.extensions.http.fastapi"
        ),
        "Functions: the app, which is the relay": "import function_app",
    },
}
"""The imports, in order; each group has its own process."""

_STAGES = """
import sys, time, json
def state():
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return time.perf_counter() * 1000, time.process_time() * 1000, len(sys.modules), pages / 256
rows = []
for statement in STATEMENTS:
    before = state()
    exec(statement)
    rows.append([after - first for first, after in zip(before, state())])
print(json.dumps(rows))
"""


class Import(msgspec.Struct, array_like=True, frozen=True):
    """The cost of one import of a group. ``memory`` is resident memory in MiB, in pages of 4 KiB."""

    milliseconds: float
    cpu_milliseconds: float
    modules: float
    memory: float


class Start(msgspec.Struct, frozen=True):
    """One start: seconds from the process's start, seconds of CPU until the answer, MiB resident while idle."""

    accepted: float
    answered: float
    cpu: float
    idle: float


def imports(group: str, environment: Mapping[str, str]) -> dict[str, Import]:
    """Import a group's modules in a fresh process."""
    steps = GROUPS[group]
    program = f"STATEMENTS = {list(steps.values())!r}{_STAGES}"
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return dict(zip(steps, msgspec.json.decode(said, type=list[Import]), strict=True))


async def server_start(upstream: int, asked: Asked, environment: Mapping[str, str]) -> Start:
    """Start ``chukei serve``."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = {**environment, **configuration(upstream, folder)}
        relay = Relay("relay", ["chukei", "serve", "--port", str(port)], port, variables, folder)
        began = time.monotonic()
        with relay:
            await relay.connect()
            return await _first_answer(relay.client, asked, relay.pid, began)


async def functions_start(upstream: int, asked: Asked, environment: Mapping[str, str]) -> Start:
    """Start the stand-in for the Functions host with the app in ``functions/``."""
    with tempfile.TemporaryDirectory() as name:
        variables = {**environment, **configuration(upstream, Path(name)), "NO_PROXY": "127.0.0.1"}
        host = FunctionsHost(ROOT / "functions", variables)
        began = time.monotonic()
        url = urlsplit(await asyncio.to_thread(host.start))
        try:
            _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", url.port or 80)
            return await _first_answer(client, asked, host.pid, began)
        finally:
            await asyncio.to_thread(host.stop)


async def _first_answer(client: Client, asked: Asked, pid: int, began: float) -> Start:
    accepted = time.monotonic() - began
    await short(1)(client, asked, lambda: 0.0)
    answered, cpu = time.monotonic() - began, cpu_seconds(pid)
    await asyncio.sleep(SETTLE_SECONDS)
    idle = resident_bytes(pid) / 2**20
    client.transport.close()
    return Start(accepted, answered, cpu, idle)


Begin = Callable[[int, Asked, Mapping[str, str]], Awaitable[Start]]

STARTS: dict[str, Begin] = {"the server": server_start, "Functions, in the stand-in for its host": functions_start}


async def starts(times: int, environments: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], list[Start]]:
    """Start everything several times, alternating, in each of the environments."""
    asked: Asked = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(asked), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    found: dict[tuple[str, str], list[Start]] = {}
    for _ in range(times):
        for name, begin in STARTS.items():
            for kind, environment in environments.items():
                found.setdefault((name, kind), []).append(await begin(port, asked, environment))
    server.close()
    return found


def _median(found: Sequence[object], field: str) -> float:
    numbers: list[float] = [getattr(one, field) for one in found]
    return statistics.median(numbers)


def import_table(times: int, environments: Mapping[str, Mapping[str, str]]) -> str:
    """Import everything several times, alternating, and return the medians as a table."""
    found: dict[tuple[str, str], list[Import]] = {}
    for _ in range(times):
        for group in GROUPS:
            for kind, environment in environments.items():
                for step, cost in imports(group, environment).items():
                    found.setdefault((step, kind), []).append(cost)
    rows = []
    for step in [step for steps in GROUPS.values() for step in steps]:
        first = found[step, next(iter(environments))]
        cpu = [f"{_median(found[step, kind], 'cpu_milliseconds'):.0f}" for kind in environments]
        others = (f"{_median(first, field):.0f}" for field in ("modules", "memory"))
        rows.append([step, f"{_median(first, 'milliseconds'):.0f}", *cpu, *others])
    return table(["imports of", "ms", *(f"ms CPU, {kind}" for kind in environments), "modules", "MB"], rows)


def start_table(found: Mapping[tuple[str, str], Sequence[Start]]) -> str:
    """Return the medians of starts as a table."""
    rows = [
        [
            f"{name}, {kind}",
            *(f"{_median(those, field):.2f}" for field in ("accepted", "answered", "cpu")),
            f"{_median(those, 'idle'):.0f}",
        ]
        for (name, kind), those in found.items()
    ]
    return table(["start of", "s to a connection", "s to an answer", "s CPU until then", "MB idle"], rows)


def environments_in(folder: str) -> dict[str, dict[str, str]]:
    """Return the environments of the starts, by kind. ``folder`` is an empty cache of bytecode."""
    plain = plain_environment() | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "functions")))}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    return {
        "with bytecode": plain,
        "without": {**plain, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": "1"},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description="Measure cold starts.")
    parser.add_argument("--times", type=int, default=TIMES, help=f"how often each is started (default: {TIMES})")
    times: int = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        environments = environments_in(folder)
        configured = {kind: {**one, **configuration(9, Path(folder))} for kind, one in environments.items()}
        for group in GROUPS:
            imports(group, configured["with bytecode"])  # which writes it
        print(import_table(times, configured), end="\n\n", flush=True)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            print(start_table(runner.run(starts(times, environments))))


if __name__ == "__main__":
    main()
