"""Where the log is for machines, everything on standard error is JSON: the start, crashes, workers, warnings.

Exceptions are what Python itself prints without asking (a fatal error, an invalid ``-W``, its processes' own watchers),
and the usage errors of the command line. On a terminal lines are text.
"""

import json
import os
import pty
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.live.processes import end, running
from tests.live.relays import RelayProcess, clean_environment

AUTO = {"CHUKEI_LOG__FORMAT": "auto"}


def lines_of(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    """Run Python; return its exit status and what it wrote to standard error, each line read as JSON."""
    found = subprocess.run(
        [sys.executable, *arguments], env=clean_environment(environment), capture_output=True, text=True, timeout=120
    )
    assert found.stdout == ""
    return found.returncode, [json.loads(line) for line in found.stderr.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "said"),
    [
        (["serve", "--port", "0"], {"CHUKEI_SERVER__PROT": "1"}, 3, "did you mean port?"),
        (["serve", "--port", "0"], {"CHUKEI_LOG__FORMAT": "jsonl"}, 3, "must be one of auto, json, text"),
        (["serve", "--port", "0", "--config", "missing.toml"], {}, 3, "there is no such file"),
        (["serve", "--port", "0", "--host", "nowhere.invalid"], {}, 1, "cannot listen"),
        (["simulate", "--port", "0", "--host", "nowhere.invalid"], {}, 1, "cannot listen"),
        (["simulate", "--port", "0"], {"CHUKEI_SIMULATOR__FAULTS": "{ a = 'x' }"}, 3, "unknown fault"),
        (["serve", "--port", "0"], {"CHUKEI_CONFIG": "no\udcff.toml"}, 3, "there is no such file"),
    ],
)
def test_so_is_what_keeps_a_server_from_starting(
    arguments: list[str], environment: dict[str, str], status: int, said: str
) -> None:
    """Also with ``auto``, since standard error is no terminal here."""
    found, lines = lines_of("-m", "chukei", *arguments, **(AUTO | environment))
    assert found == status
    assert lines[-1]["level"] == "critical"
    assert said in lines[-1]["event"]


CRASHES = """
import asyncio, logging, sys, threading, warnings
from chukei.adapters.logs.process_log import start_log
from chukei.config import LogSettings

start_log(LogSettings(format="json"))
warnings.warn("old")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
class Broken:
    def __del__(self):
        raise ValueError("in the end")
Broken()
async def main():
    asyncio.get_running_loop().call_soon(lambda: [].pop())
    task = asyncio.ensure_future(fail())
    await asyncio.sleep(0.01)
async def fail():
    raise LookupError("nobody asks for this task's result")
asyncio.run(main())
logging.getLogger("x").error("%d", "no number")
raise RuntimeError("the last")
"""


def test_so_is_a_crash_wherever_it_happens() -> None:
    status, lines = lines_of("-W", "always", "-c", CRASHES)
    assert status == 1
    shown = [line.get("exception", "") + line["event"] for line in lines]
    for text in ("UserWarning: old", "ZeroDivisionError", "in the end", "pop from empty", "nobody asks", "the last"):
        assert len([each for each in shown if text in each]) == 1, text
    assert any("cannot be shown" in each for each in shown)
    assert lines[-1]["level"] == "critical"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_so_is_a_whole_life_with_all_warnings(workers: str) -> None:
    """With ``-W always`` libraries warn while they are imported, in each worker too."""
    environment = {"PYTHONWARNINGS": "always", "PYTHONDEVMODE": "1", "CHUKEI_LOG__LEVEL": "debug"}
    with RelayProcess(environment | AUTO, "--workers", workers) as relay:
        with urllib.request.urlopen(f"{relay.url}/health/live", timeout=30) as answer:
            assert answer.status == 200
        assert relay.stop() == 0
    levels = {json.loads(line)["level"] for line in relay.log}
    assert {"info", "debug"} <= levels


SPOILT = """
import os
from chukei.hosts import server
from chukei.cli import main
os.environ["SPOIL"] = "1"
main(["serve", "--port", "0", "--workers", "2"])
"""


def test_so_is_a_worker_that_fails_to_import(tmp_path: Path) -> None:
    """As after an upgrade of the files below a running relay."""
    (tmp_path / "sitecustomize.py").write_text(
        'import os, sys\nif "SPOIL" in os.environ:\n    sys.modules["chukei.gateway.gateway"] = None\n'
    )
    path = os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path[1:]])
    status, lines = lines_of("-c", SPOILT, PYTHONPATH=path, **AUTO)
    assert status == 1
    assert any("chukei.gateway.gateway" in line.get("exception", "") for line in lines)
    assert any("ended before it served (exit status 1)" in line["event"] for line in lines)


def test_so_is_the_simulator() -> None:
    command = [sys.executable, "-m", "chukei", "simulate", "--port", "0"]
    with running(command, env=clean_environment(AUTO), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = json.loads(process.stderr.readline())
        end(process)
        assert [json.loads(each) for each in process.stderr.read().splitlines()] == []
    assert "simulator of Azure OpenAI on http://127.0.0.1:" in line["event"]


@pytest.mark.parametrize(("plain", "coloured"), [({"NO_COLOR": "1"}, False), ({}, True)])
def test_a_terminal_gets_text_and_colour_unless_it_is_unwanted(plain: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    without = {name: value for name, value in clean_environment(AUTO).items() if name != "NO_COLOR"}
    environment = without | {"TERM": "xterm-256color"} | plain
    command = [sys.executable, "-m", "chukei", "serve", "--port", "0"]
    with running(command, env=environment, stderr=theirs) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            shown = b""
            while not (found := re.search(rb"listening on (http:\S+)", shown)):
                shown += terminal.read(1000)
            with urllib.request.urlopen(f"{found[1].decode()}/v1/models", timeout=30) as answer:
                assert answer.status == 200
            while b"GET /v1/models" not in shown:
                shown += terminal.read(1000)
            assert end(process) == 0
    assert b"chukei: listening on http" in shown
    assert b'{"time"' not in shown
    assert (b"\x1b[32m200\x1b[0m" in shown) is coloured
    assert (b"\x1b" in shown) is coloured
