"""What keeps a command from starting is said in one line, with the exit code that commands.md gives it."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.relays import clean_environment


def chukei(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chukei", *arguments]
    return subprocess.run(command, env=clean_environment(variables), capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", [["serve"], ["serve", "--workers", "2"], ["simulate"]], ids=" ".join)
def test_a_port_in_use_is_a_failure_that_names_it(command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = chukei(*command, "--port", str(port))
    assert result.returncode == 1
    assert f"chukei: cannot listen on 127.0.0.1:{port}: Address already in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_host_name_that_does_not_exist_is_a_failure() -> None:
    result = chukei("serve", "--port", "0", "--host", "nowhere.invalid")
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
    result = chukei(command, "--config", str(file), KEY="any")
    assert result.returncode == 3
    assert "unknown fault 'nonsense'" in result.stderr
    assert "Traceback" not in result.stderr
