"""The command line as a process: what it prints where, how it exits, and what it does not import."""

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from tests.live.processes import running
from tests.live.relays import clean_environment
from tests.rows import rows

from chukei import __version__

SECRET = "sk-very-secret-0123"


def chukei(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chukei", *arguments]
    return subprocess.run(command, env=clean_environment(environment), capture_output=True, text=True, timeout=120)


def imported_by(code: str, *arguments: str) -> set[str]:
    """Return the modules that a fresh process has imported after running some code."""
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=clean_environment(), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stderr.split()} | set(done.stderr.split())


def test_help_and_version() -> None:
    found = chukei("--help")
    assert found.returncode == 0
    assert found.stderr == ""
    for command in ("serve", "simulate", "check", "doctor"):
        assert re.search(rf"^  {command}\b", found.stdout, re.MULTILINE)
    version = chukei("--version")
    assert version.stdout.strip().endswith(__version__)
    assert (version.returncode, version.stderr) == (0, "")


def test_help_imports_nothing_heavy() -> None:
    found = imported_by("from chukei.cli import main; main(['serve', '--help'])")
    heavy = {"asyncio", "ssl", "uvicorn", "httptools", "uvloop", "msgspec", "chukei.hosts", "chukei.config", "azure"}
    assert found & heavy == set()
    assert "click" in found


def test_the_serving_path_imports_no_toolkit() -> None:
    found = imported_by("import chukei.hosts.asgi")
    heavy = {
        "starlette",
        "fastapi",
        "pydantic",
        "aiohttp",
        "azure",
        "httpx",
        "requests",
        "uvicorn",
        "prometheus_client",
    }
    assert found & heavy == set()
    assert "chukei.simulator" not in found
    assert {"chukei.gateway.gateway", "msgspec", "httptools"} <= found


def test_the_package_itself_imports_nothing() -> None:
    found = imported_by("import chukei")
    assert {name for name in found if name.startswith("chukei")} == {"chukei"}


@rows(
    "arguments",
    [
        ["nonsense"],
        ["serve", "--port", "99999"],
        ["serve", "--nonsense"],
        ["serve", "--workers", "0"],
        ["doctor", "ftp://x"],
        ["doctor", "--idle", "1"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    found = chukei(*arguments)
    assert found.returncode == 2
    assert found.stdout == ""
    assert "Usage:" in found.stderr


BROKEN = '[server]\nprot = 1\n[auth]\napi_key = "sk-very-secret-0123"\n'


@rows("command", ["check", "serve", "simulate"])
def test_a_wrong_configuration_exits_with_3_and_names_every_problem(command: str, tmp_path: Path) -> None:
    path = tmp_path / "chukei.toml"
    path.write_text(BROKEN)
    found = chukei(command, "--config", str(path))
    assert found.returncode == 3
    assert found.stdout == ""
    assert "2 problems" in found.stderr
    assert f"{path}: server.prot: is not a known key; did you mean port?" in found.stderr
    assert f"{path}: auth.api_key: " in found.stderr
    assert SECRET not in found.stderr
    assert "Traceback" not in found.stderr


def test_doctors_findings_about_a_wrong_configuration_are_data(tmp_path: Path) -> None:
    path = tmp_path / "chukei.toml"
    path.write_text(BROKEN)
    found = chukei("doctor", "--config", str(path))
    assert (found.returncode, found.stderr) == (3, "")
    assert found.stdout.rstrip().endswith("2 failed")
    assert SECRET not in found.stdout


def test_a_missing_file_exits_with_3(tmp_path: Path) -> None:
    found = chukei("check", "--config", str(tmp_path / "none.toml"))
    assert found.returncode == 3
    assert "there is no such file" in found.stderr


def test_check_says_what_would_be_served() -> None:
    found = chukei("check")
    assert found.returncode == 0
    assert "simulator" in found.stdout
    found = chukei(
        "check",
        AZURE_OPENAI_ENDPOINT="https://r.openai.azure.com",
        AZURE_OPENAI_API_KEY=SECRET,
        AZURE_OPENAI_DEPLOYMENT="gpt-4o",
    )
    assert found.returncode == 0
    assert "gpt-4o (default) -> azure (https://r.openai.azure.com)" in found.stdout
    assert found.stdout.endswith("The configuration is valid.\n")
    assert SECRET not in found.stdout + found.stderr


def test_check_reads_a_file_and_puts_notices_aside(tmp_path: Path) -> None:
    path = tmp_path / "chukei.toml"
    text = '[deployments.{0}]\nendpoint = "https://{0}.example"\napi_key = {{ env = "K" }}\n'
    path.write_text(text.format("a") + text.format("b") + '[models.chat]\ndeployments = ["a"]\n')
    found = chukei("check", CHUKEI_CONFIG=str(path), K=SECRET)
    assert found.returncode == 0
    assert "chat (default) -> a (https://a.example)" in found.stdout
    assert "note: deployment b serves no model" in found.stderr


def test_check_lists_a_models_deployments_best_first_and_never_a_redis_password(tmp_path: Path) -> None:
    path = tmp_path / "chukei.toml"
    text = '[deployments.{0}]\nendpoint = "https://{0}.example"\napi_key = {{ env = "K" }}\npriority = {1}\n'
    model = '[models.chat]\ndeployments = ["a", "b"]\n[stores]\nquota = { env = "REDIS" }\n'
    path.write_text(text.format("a", 2) + text.format("b", 1) + model)
    found = chukei("check", "--config", str(path), K="key", REDIS=f"redis://:{SECRET}@cache:6379/0")
    assert found.returncode == 0
    assert "chat (default) -> b (https://b.example), a (https://a.example)" in found.stdout
    assert SECRET not in found.stdout + found.stderr
    refused = chukei("check", "--config", str(path), K="key", REDIS=f"http://:{SECRET}@cache:6379/0")
    assert refused.returncode == 3
    assert "stores.quota: must be " in refused.stderr
    assert SECRET not in refused.stdout + refused.stderr


@rows("command", ["serve", "simulate"])
def test_a_port_in_use_exits_with_1_and_says_so(command: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = chukei(command, "--port", str(port))
    assert found.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in found.stderr
    assert "Traceback" not in found.stderr


def first_lines(last: str, **environment: str) -> list[str]:
    """Return what a relay on the simulator says at its start, up to the line that has ``last``."""
    command = [sys.executable, "-m", "chukei", "serve", "--port", "0"]
    with running(command, env=clean_environment(environment), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        while not lines or last not in lines[-1]:
            lines.append(process.stderr.readline().removesuffix("\n"))
            assert lines[-1], lines
        return lines


def test_people_are_told_how_to_begin() -> None:
    lines = first_lines("for a real model", CHUKEI_LOG__FORMAT="text")
    assert all(line.startswith("chukei: ") for line in lines)
    simulator, listening, page, example, connect = (line.removeprefix("chukei: ") for line in lines)
    url = listening.removeprefix("listening on ")
    assert "the built-in simulator answers" in simulator
    assert page == f"chat page (simulator) {url}/ · OpenAI base URL {url}/v1"
    assert "AZURE_OPENAI_ENDPOINT" in connect
    assert connect.endswith("chukei init")
    words = shlex.split(example.removeprefix("try: "))
    assert words[:3] == ["curl", "-N", f"{url}/api/chat-stream"]
    assert json.loads(words[-1])["messages"][0]["role"] == "user"


def test_an_example_that_would_be_refused_is_not_shown() -> None:
    lines = first_lines("for a real model", CHUKEI_LOG__FORMAT="text", CHUKEI_API_KEY="k" * 32)
    assert not any("curl" in line for line in lines)


def test_a_log_for_machines_has_no_advice() -> None:
    lines = first_lines("OpenAI base URL", CHUKEI_LOG__FORMAT="json")
    assert [json.loads(line)["event"].split(" ")[0] for line in lines] == ["no", "listening", "chat"]
