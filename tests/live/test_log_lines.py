"""Many log lines are written in one batch; an orderly shutdown loses none."""

import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.live.processes import end, running
from tests.live.relays import RelayProcess, clean_environment

REQUESTS = 50


def ask(address: str) -> str:
    """Ask for the list of models and return the request's id."""
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request("GET", "/v1/models")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200
    return str(answer.getheader("x-request-id"))


def wait_for(address: str) -> None:
    """Wait until a worker listens; the process that starts them has told the address before."""
    end = time.monotonic() + 60
    while True:
        try:
            ask(address)
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize(("workers", "how"), [("1", signal.SIGTERM), ("2", signal.SIGINT)])
def test_whoever_was_answered_before_a_signal_is_in_the_log(workers: str, how: signal.Signals) -> None:
    with RelayProcess({"CHUKEI_LOG__FORMAT": "json"}, "--workers", workers) as relay:
        address = urlsplit(relay.url).netloc
        wait_for(address)
        asked = [ask(address) for _ in range(REQUESTS)]
        relay.stop(how)
        lines = [json.loads(line) for line in relay.log if line.startswith("{")]
    logged = [line for line in lines if line.get("operation") == "models"]
    assert sum(line.get("count", 1) for line in logged) == len(asked) + 1
    assert {line["request_id"] for line in logged if "count" not in line} & set(asked)


def test_a_log_that_nobody_reads_stops_neither_the_relay_nor_its_end() -> None:
    """As where a service manager or a log shipper hangs. The pipe takes 64 KiB, and each line has some 300 bytes."""
    environment = clean_environment({"CHUKEI_LOG__FORMAT": "json", "CHUKEI_LOG__LEVEL": "debug"})
    command = [sys.executable, "-m", "chukei", "serve", "--port", "0"]
    with running(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = ""
        while not url:
            url = json.loads(process.stderr.readline()).get("url", "")
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        for _ in range(1500):
            connection.request("GET", "/health/live")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"live"}')
        connection.close()
        assert end(process) == 0
        lines = process.stderr.read().splitlines()
    assert 0 < len(lines) < 1500


def test_an_administrator_changes_the_level_while_the_relay_runs(tmp_path: Path) -> None:
    environment = {
        "CHUKEI_LOG__FORMAT": "json",
        "CHUKEI_LOG__LEVEL": "error",
        "CHUKEI_ADMIN__API_KEY": "the-administrators-key",
        "CHUKEI_STORES__LEDGER": f"sqlite:///{tmp_path}/ledger.db",
    }
    with RelayProcess(environment) as relay:
        address = urlsplit(relay.url).netloc

        def ask_admin(method: str, body: str | None = None) -> dict[str, object]:
            connection = http.client.HTTPConnection(address, timeout=30)
            connection.request(method, "/admin/log-level", body, {"authorization": "Bearer the-administrators-key"})
            answer = json.loads(connection.getresponse().read())
            connection.close()
            [row] = [row for row in answer["workers"][0]["levels"] if row["logger"] == "chukei"]
            assert answer["workers"][0]["process"] == relay.process.pid
            return dict(row)

        before = ask(address)
        assert ask_admin("GET")["level"] == "error"
        changed = ask_admin("PUT", '{"level": "info", "seconds": 3600}')
        assert (changed["level"], changed["configured"], changed["changed"]) == ("info", "error", True)
        meanwhile = ask(address)
        assert ask_admin("PUT", '{"level": null}')["level"] == "error"
        after = ask(address)
        relay.stop()
    lines = [json.loads(line) for line in relay.log]
    logged = {line.get("request_id") for line in lines}
    assert meanwhile in logged
    assert not {before, after} & logged
    told = [line["event"] for line in lines if line["logger"] == "chukei.log"]
    assert told == [
        "an administrator set the level of chukei to info for 3600 s",
        "an administrator set the level of chukei to the configured one",
    ]
