"""The benchmark runs, and loses nothing; how long anything takes is not judged here."""

import contextlib
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from benchmarks import bars, events, load, relays, report, starts, targets, workers
from benchmarks.measure import Result, measure
from benchmarks.process import cpu_by_process, cpu_seconds
from benchmarks.quota import limited
from benchmarks.server import Upstream
from benchmarks.workloads import Workload, workloads
from tests.adapters.servers import Handler, LocalServer, Peer
from tests.rows import rows

ROOT = Path(__file__).parents[1]
PACED = Workload("A", "paced", 5, 2, events=20, gap=2000)


# The whole command.


def test_a_quick_run_measures_every_relay_and_loses_nothing(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--no-start", "--no-litellm", "--json", str(results)]
    command += ["--workload", "B", "--workload", "B-TLS"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "µs CPU per" in ran.stdout
    assert "lost, repeated or disordered events" in ran.stdout
    found = msgspec.json.decode(results.read_bytes(), type=list[Result])
    assert {(relay, name) for relay in ("chukei", "direct") for name in ("B", "B-TLS")} <= {
        (result.relay, result.workload) for result in found
    }
    assert all(result.tally.requests for result in found)
    assert [(result.tally.lost, result.tally.failed) for result in found] == [(0, 0)] * len(found)


# Clients and upstream.


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with Upstream(tmp_path_factory.mktemp("upstream")) as upstream:
        yield upstream


@rows("tls", [False, True])
@rows("events", [0, 20])
@rows("gap", [0, 2000])
def test_clients_and_upstream_understand_each_other(tls: bool, events: int, gap: int, upstream: Upstream) -> None:
    workload = replace(PACED, tls=tls, events=events, gap=gap, prompt_bytes=100_000)
    found = measure(workload, None, upstream).tally
    assert (found.requests, found.events, found.lost, found.failed) == (10, 10 * events, 0, 0)


@pytest.mark.parametrize("tls", [False, True])
def test_the_relay_that_is_measured_has_everything_on(tls: bool, upstream: Upstream, tmp_path: Path) -> None:
    relay = relays.chukei("chukei", upstream, tmp_path, tls=tls, callers=3, deployments=2)
    assert relay.keys is not None
    with relay:
        found = measure(replace(PACED, callers=3, tls=tls), relay, upstream).tally
        relay.keys.write_text("nobody's")
        refused = measure(PACED, relay, upstream).tally
    assert (found.requests, found.events, found.lost, found.failed) == (10, 200, 0, 0)
    assert (refused.requests, refused.failed) == (10, 10)
    place = relay.keys.parent
    with contextlib.closing(sqlite3.connect(place / "ledger.db")) as ledger:
        kept = ledger.execute("SELECT caller, deployment, output_tokens, cost FROM chukei_entries WHERE status = 200")
        callers, deployments, tokens, costs = map(set, zip(*kept, strict=True))
    assert callers == {"caller-0", "caller-1", "caller-2"}
    assert deployments <= {"d0", "d1"}
    assert tokens == {400}
    assert min(costs) > 0
    logged = [msgspec.json.decode(line) for line in (place / "log").read_text().splitlines() if line.startswith("{")]
    assert sum(line.get("event") == "request" for line in logged) >= 10


def test_time_that_is_up_ends_the_clients_after_their_answers(upstream: Upstream) -> None:
    found = measure(Workload("B", "short", 2, 1_000_000, seconds=0.2), None, upstream).tally
    assert found.requests >= 2
    assert found.failed == 0


@pytest.mark.anyio
async def test_requests_take_the_keys_in_turn_and_have_prompts_as_long_as_asked(tmp_path: Path) -> None:
    shown: list[str] = []
    lengths: list[int] = []

    async def answer(peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            found = re.search(rb"api-key: (\w+)\r\n", head)
            assert found is not None
            shown.append(found[1].decode())
            lengths.append(len(msgspec.json.decode(body)["messages"][0]["content"]))
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    keys = tmp_path / "keys"
    keys.write_text("one\ntwo\nthree\n")
    async with LocalServer(answer) as server:
        order = load.Order(server.port, clients=1, requests=7, prompt_bytes=5000, keys=str(keys))
        await load.main(load.Load(order))
    assert shown == ["one", "two", "three", "one", "two", "three", "one"]
    assert min(lengths) >= 5000


def streamed(*parts: bytes) -> Handler:
    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for part in parts:
            await peer.send(events.chunk(part))
        await peer.send(b"0\r\n\r\n")
        await peer.eof()

    return answer


@pytest.mark.anyio
@rows(
    ("numbers", "done", "lost", "failed"),
    [
        ([0, 1, 2], True, 0, 0),
        ([0, 2], True, 1, 0),
        ([2], True, 2, 0),
        ([0, 2, 1], True, 3, 1),
        ([0, 1, 1, 2], True, 1, 0),
        ([0, 1, 2], False, 0, 1),
        ([0], False, 2, 1),
    ],
    ids=["well", "one is missing", "two are missing", "out of order", "one comes twice", "no end", "cut off"],
)
async def test_what_goes_wrong_in_a_stream_is_counted(
    numbers: Sequence[int], done: bool, lost: int, failed: int
) -> None:
    parts = [events.content(0, number, time.monotonic_ns()) for number in numbers]
    async with LocalServer(streamed(*parts, *([events.DONE] if done else []))) as server:
        clients = load.Load(load.Order(server.port, clients=1, requests=1, events=3))
        await load.main(clients)
    assert (clients.tally.lost, clients.tally.failed) == (lost, failed)
    assert clients.tally.events == len(numbers)


# The operating system.


def test_cpu_time_is_that_of_a_whole_tree_with_what_has_ended(tmp_path: Path) -> None:
    busy, parent = tmp_path / "busy.py", tmp_path / "parent.py"
    busy.write_text("import sys, time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\nsys.stdin.read()\n")
    parent.write_text(
        f"import subprocess, sys\ncommand = [sys.executable, {str(busy)!r}]\n"
        "subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)\nsubprocess.run(command)\n"
    )
    with subprocess.Popen([sys.executable, parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        found = cpu_by_process(process.pid)
        assert len(found) == 2
        assert min(found.values()) >= 0.18  # of what has ended only hundredths of a second are known
        assert cpu_seconds(process.pid) >= 0.38
        process.stdin.close()


def test_a_quota_holds_a_process_to_its_share() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            with limited([process.pid], 0.2):
                before, began = cpu_seconds(process.pid), time.monotonic()
                time.sleep(1.0)
                spent, passed = cpu_seconds(process.pid) - before, time.monotonic() - began
        except OSError as error:
            pytest.skip(f"no quotas here: {error}")
        finally:
            process.kill()
    assert spent <= 0.4 * passed


# Tables.


def result(relay: str, workload: str, microseconds: float, **others: float) -> Result:
    tally = load.Tally(requests=10, events=1000, seconds=2.0, cpu=0.5, open=4)
    tally.delay = (others.get("p50", 0.1), others.get("p99", 0.3), 1.0)
    return Result(
        relay=relay,
        workload=workload,
        tally=tally,
        relay_cpu=microseconds * 1000 / 1e6,
        upstream_cpu=1.0,
        grown=int(others.get("grown", 0)),
        clients=int(others.get("clients", 100)),
    )


ROUNDS = [
    *(result("chukei", "A", cost, p50=0.2) for cost in (30.0, 40.0, 36.0)),
    *(result("nginx", "A", cost) for cost in (15.0, 16.0, 18.0)),
    *(result("Envoy", "A", cost) for cost in (30.0, 50.0, 30.0)),
    *(result("LiteLLM", "A", cost, clients=10) for cost in (900.0, 1000.0, 1100.0)),
    *(result("direct", "A", 0.0, p50=0.05) for _ in range(3)),
    result("chukei", "D", 100.0, grown=4 * 31 * 1024, clients=4),
]


def cells(text: str, row: str) -> list[str]:
    """Return a row of the first table that has it."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_taken_within_each_round() -> None:
    text = report.workload_tables(workloads(quick=True)["A"], ROUNDS)
    assert cells(text, "chukei") == [
        "chukei", "36.0 (30.0–40.0)", "2.00 (2.00–2.50)", "1.00 (0.80–1.20)", "500 (500–500)", "0 / 0",
    ]  # fmt: skip
    assert cells(text, "no relay")[1:4] == ["–", "–", "–"]
    assert "LiteLLM: only 10 streams" in text


def test_added_delay_is_beyond_that_of_no_relay() -> None:
    text = report.workload_tables(workloads(quick=True)["A"], ROUNDS).split("\n\n")[2]
    assert cells(text, "chukei")[1:3] == ["0.20 (0.20–0.20)", "0.15 (0.15–0.15)"]


def verdicts(results: Sequence[Result]) -> dict[str, tuple[str, str, bool]]:
    start = starts.Start(0.1, 70 * 2**20)
    found = targets.Findings(results, start, {"the server": starts.Imports(310.0, 300.0, 400)}, [])
    return {what: (target, measured, met) for what, target, measured, met in targets.lines(found)}


def test_targets_are_met_or_not_and_left_out_where_nothing_was_measured() -> None:
    found = verdicts(ROUNDS)
    assert found["A: CPU per event, beside nginx"] == ("≤ 2 ×", "2.00 ×", True)
    assert found["A: CPU per event, beside Envoy"] == ("≤ 1 ×", "1.00 ×", True)
    assert found["A: LiteLLM's CPU per event, beside the relay's"] == ("≥ 25 ×", "30.00 ×", True)
    assert found["D: memory of each of 4 open streams"] == ("≤ 32 KiB", "31.0 KiB", True)
    assert found["idle memory"] == ("≤ 60 MB", "70 MB", False)
    assert found["import of the server"] == ("≤ 300 ms", "310 ms", False)
    assert not any(what.startswith(("B", "C", "two")) for what in found)


def test_two_workers_are_compared_with_one_of_the_same_round() -> None:
    def sample(number: int, requests: int, parts: list[float]) -> workers.Sample:
        one = result("chukei", "B", 1.0)
        one.tally = load.Tally(requests=requests, seconds=1.0)
        one.parts = parts
        return workers.Sample("chukei", number, workers.SHARE, one)

    samples = [
        sample(1, 100, [0.15]),
        sample(2, 190, [0.2, 0.1, 0.0]),
        sample(1, 50, [0.15]),
        sample(2, 100, [0.1, 0.1]),
    ]
    assert workers.gains(samples, "chukei", "B") == [1.9, 2.0]
    assert samples[1].busiest == pytest.approx(2 / 3)
    assert cells(workers.tables(samples), "chukei, short, limited, requests/s")[3] == "1.95 (1.90–2.00)"


def test_bars_are_medians_of_the_ratios(tmp_path: Path) -> None:
    assert bars.heights(ROUNDS) == {
        "chukei": {"A": 2.0},
        "Envoy": {"A": 2.0},
        "LiteLLM": {"A": pytest.approx(61.1, abs=0.1)},
    }
    pytest.importorskip("matplotlib")
    bars.draw(tmp_path / "one.svg", ROUNDS)
    bars.draw(tmp_path / "two.svg", ROUNDS)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    bars.draw(tmp_path / "three.svg", [result("chukei", "A", 30.0)])
    assert not (tmp_path / "three.svg").exists()


def test_a_machine_that_allows_few_files_gets_fewer_streams() -> None:
    assert workloads(quick=False)["D"].clients == 5000
    assert workloads(quick=False, files=4096)["D"].clients == 1948
