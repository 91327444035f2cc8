"""A command that cannot start prints the reason in one line, and exits with the code of commands.md."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.relays import RelayProcess, clean_environment


def chukei(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chukei", *arguments]
    return subprocess.run(command, env=clean_environment(variables), capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", [["serve", "--workers", "2"], ["simulate"]], ids=" ".join)
def test_a_port_in_use_is_a_failure_that_names_it(command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = chukei(*command, "--port", str(port), CHUKEI_LOG__FORMAT="text")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"chukei: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_host_name_that_does_not_exist_is_a_failure() -> None:
    result = chukei("serve", "--port", "0", "--host", "nowhere.invalid", CHUKEI_LOG__FORMAT="text")
    assert result.returncode == 1
    assert "chukei: cannot listen on nowhere.invalid:0: " in result.stderr


@pytest.mark.parametrize("command", ["check", "simulate"])
def test_faults_are_checked_beside_deployments_too(command: str, tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(
        '[deployments.a]\nendpoint = "https://a.openai.azure.com"\napi_key = { env = "KEY" }\n'
        '[simulator]\nfaults = { a = "nonsense" }\n',
        "utf-8",
    )
    found = chukei(command, "--config", str(file), KEY="any")
    assert found.returncode == 3
    assert "unknown fault 'nonsense'" in found.stderr


JSON = {"CHUKEI_LOG__FORMAT": "json"}


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "said"),
    [
        (["--host", "nowhere.invalid"], JSON, 1, "cannot listen on nowhere.invalid:0"),
        (["--config", "none.toml"], JSON, 3, "there is no such file"),
        ([], {**JSON, "CHUKEI_SERVER__BODY_SECONDS": "long", "CHUKEI_AUTH__ANONYMOUS": "perhaps"}, 3, "2 problems"),
    ],
)
def test_where_the_log_is_json_so_is_what_keeps_it_from_starting(
    arguments: list[str], variables: dict[str, str], status: int, said: str
) -> None:
    found = chukei("serve", "--port", "0", *arguments, **variables)
    *notices, fields = [json.loads(line) for line in found.stderr.splitlines()]
    assert all(notice["level"] in ("info", "warning") for notice in notices)
    assert (found.returncode, fields["level"]) == (status, "critical")
    assert said in fields["event"]


def test_a_format_in_a_file_with_mistakes_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text('[log]\nformat = "json"\n[server]\nprot = 1\n')
    found = chukei("serve", "--config", str(path))
    assert found.returncode == 3
    assert "did you mean port?" in json.loads(found.stderr)["event"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_where_the_log_is_json_so_is_the_start(workers: str) -> None:
    variables = JSON | {"CHUKEI_AUTH__ANONYMOUS": "true", "CHUKEI_LOG__LEVEL": "error"}
    with RelayProcess(variables, "--workers", workers) as relay:
        relay.stop()
    lines = [json.loads(line) for line in relay.log]
    assert [line["url"] for line in lines if "url" in line] == [relay.url]
    assert any(line["level"] == "warning" and "auth.anonymous" in line["event"] for line in lines)


def test_a_signal_before_it_serves_ends_it_in_order(tmp_path: Path) -> None:
    (tmp_path / "ending.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nredact = None\n")
    audit = {"CHUKEI_AUDIT__FOLDER": str(tmp_path / "audit"), "CHUKEI_AUDIT__REDACT": "ending:redact"}
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    found = chukei("serve", "--port", "0", PYTHONPATH=path, **audit)
    assert (found.returncode, found.stderr) == (0, "")


DROPPING = """
import os, signal, sys

class Dropping:
    def find_spec(self, name, path=None, target=None):
        if name == "chukei.hosts.server":
            sys.meta_path.remove(self)
            Signalled()

class Signalled:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Dropping())
"""


def test_a_signal_ends_it_even_where_python_drops_exceptions(tmp_path: Path) -> None:
    """As where a weak reference ends, or where the compiler folds constants: no exception comes out of either."""
    (tmp_path / "sitecustomize.py").write_text(DROPPING)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), *sys.path[1:]])
    found = chukei("serve", "--port", "0", PYTHONPATH=path)
    assert (found.returncode, found.stderr.count("listening")) == (0, 0)
