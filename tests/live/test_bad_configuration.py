"""Configurations with mistakes: all of them are named at once, with file, key and remedy, and nothing starts."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.both_hosts import Hosts, Setup
from tests.live.plain_http import CHAT, ask
from tests.live.relays import clean_environment, in_process

pytestmark = pytest.mark.anyio


def chukei(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command; return its exit status and what it wrote to standard error."""
    command = [sys.executable, "-m", "chukei", *arguments]
    done = subprocess.run(command, env=clean_environment(environment), capture_output=True, text=True, timeout=120)
    assert done.stdout == "", "nothing is announced before the configuration is known to be right"
    return done.returncode, done.stderr


MISTAKES = """
[server]
prot = 8000
host = ""
max_body_bytes = "16 MB"
header_seconds = -1
cors_origins = ["app.example/path"]

[defaults]
model = "chatt"

[models.chat]
deployments = ["eastus", "westus"]
parameters = { stream = true }
caps = { max_tokens = "many" }

[models.none]
deployments = []

[deployments.eastus]
endpoint = "contoso.openai.azure.com"
api_key = "0123456789abcdef"
api_version = "newest"

[deployments.sweden]
endpoint = "http://contoso.openai.azure.com"
api_key = { env = "TEST_MISSING_KEY" }
identity = true

[stream]
idle_seconds = true

[auth]
anonymous = "yes"

[nonsense]
x = 1
"""
FOUND = {
    "server.prot": "did you mean port?",
    "server.host": "must not be empty",
    "server.max_body_bytes": "must be a whole number",
    "server.header_seconds": "must be between",
    "server.cors_origins": "https://app.example.com",
    "defaults.model": "'chatt'",
    "models.chat.deployments": "'westus'",
    "models.chat.parameters": "stream",
    "models.chat.caps": "max_tokens",
    "models.none.deployments": "is empty",
    "deployments.eastus.endpoint": "https://NAME.openai.azure.com",
    "deployments.eastus.api_key": '{ env = "NAME" }',
    "deployments.eastus.api_version": "2024-10-21",
    "deployments.sweden.endpoint": "plain http",
    "deployments.sweden.api_key": "TEST_MISSING_KEY is not set",
    "deployments.sweden.identity": "keep one of the two",
    "stream.idle_seconds": "number of seconds",
    "auth.anonymous": "true or false",
    "nonsense": "is not a known key",
}


class TestConfiguration:
    @pytest.mark.parametrize("command", ["check", "serve"])
    def test_all_mistakes_at_once(self, tmp_path: Path, command: str) -> None:
        path = tmp_path / "chukei.toml"
        path.write_text(MISTAKES)
        text_log = {"CHUKEI_LOG__FORMAT": "text"}
        extra = {"CHUKEI_SERVER__PORT": "99999", "CHUKEI_STREAM__HEARTBEATS": "1", "CHUKEI_SERVR__PORT": "80"}
        foreign = {"CHUKEI_PORT": "tcp://10.0.0.1:80", "CHUKEI_SERVICE_HOST": "10.0.0.1"}  # of a Kubernetes Service
        status, text = chukei(command, "--config", str(path), environment=extra | foreign | text_log)
        assert status == 3
        lines = text.splitlines()
        assert lines[0] == f"chukei: the configuration has {len(FOUND) + 3} problems:"
        assert len(lines) == len(FOUND) + 4
        for key, remedy in FOUND.items():
            (line,) = (line for line in lines if line.startswith(f"  - {path}: {key}: "))
            assert remedy in line
        for variable in extra:
            assert any(line.startswith(f"  - {variable}: ") for line in lines), variable
        assert "0123456789abcdef" not in text

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"[server\nport = 1", "is not valid TOML"),
            (b"port = 1\nport = 2", "is not valid TOML"),
            (b"\xff\xfe", "is not UTF-8 text"),
            (None, "there is no such file"),
        ],
    )
    def test_files_that_are_none(self, tmp_path: Path, content: bytes | None, reason: str) -> None:
        path = tmp_path / "chukei.toml"
        if content is not None:
            path.write_bytes(content)
        status, text = in_process("check", environment={"CHUKEI_CONFIG": str(path)})
        assert status == 3
        assert str(path) in text
        assert reason in text
        assert "Traceback" not in text

    @pytest.mark.parametrize(
        ("environment", "reason"),
        [
            (
                {"AZURE_OPENAI_ENDPOINT": "contoso.openai.azure.com"},
                "AZURE_OPENAI_ENDPOINT: is not an https:// address",
            ),
            ({"AZURE_OPENAI_API_KEY": "k"}, "AZURE_OPENAI_API_KEY: is set without AZURE_OPENAI_ENDPOINT"),
            (
                {"AZURE_OPENAI_ENDPOINT": "https://a.openai.azure.com", "AZURE_OPENAI_API_KEY": ""},
                "AZURE_OPENAI_API_KEY is empty",
            ),
            ({"CHUKEI_API_KEY": ""}, "CHUKEI_API_KEY is empty"),
            ({"CHUKEI_API_KEY": " spaced "}, "spaces around it"),
            ({"CHUKEI_API_KEY": "k", "CHUKEI_AUTH__ANONYMOUS": "true"}, "drop one of them"),
        ],
    )
    def test_variables(self, environment: dict[str, str], reason: str) -> None:
        status, text = in_process("check", environment=environment)
        assert status == 3
        assert reason in text

    async def test_functions_serve_an_error_and_log_the_mistakes(self, hosts: Hosts, tmp_path: Path) -> None:
        """Without a function the platform would show a bare 404; so there is one, which says whom to turn to."""
        path = tmp_path / "mistakes.toml"
        path.write_text(MISTAKES)
        host = hosts.get("functions", Setup("misconfigured", {"CHUKEI_CONFIG": str(path)}))
        for method, target in (("POST", "/v1/chat/completions"), ("GET", "/health/live"), ("GET", "/")):
            answer = await ask(host.url, method, target, body=CHAT if method == "POST" else b"")
            assert (answer.status, answer.error["code"]) == (500, "misconfigured")
            assert answer.header("x-request-id")
            assert "deployments.eastus.api_key" not in answer.body.decode()
        for key in FOUND:
            assert f"{path}: {key}: " in host.log()
