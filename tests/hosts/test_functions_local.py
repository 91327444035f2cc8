"""What `scripts/functions-local` writes for `func start`; the requests of test.http, sent to the real worker code."""

import asyncio
import json
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hosts.clones import INTERPRETER, clone, run
from tests.live.functions_client import request
from tests.live.functions_host import ROOT, FunctionsHost

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The functions folder of a clone in which the program has run without options."""
    folder = clone(tmp_path_factory.mktemp("local") / "a clone")
    done = run(folder, "functions_local.py", "--settings-only")
    assert done.returncode == 0, done.stderr
    assert "The built-in simulator answers." in done.stdout
    return folder / "functions"


def values(functions: Path) -> dict[str, str]:
    settings = json.loads((functions / "local.settings.json").read_text())
    assert settings["IsEncrypted"] is False
    found: dict[str, str] = settings["Values"]
    return found


def test_the_settings_need_no_azure(prepared: Path) -> None:
    found = values(prepared)
    assert found.pop("CHUKEI_API_KEY")
    assert found == {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage": "",
        "AzureWebJobsDisableHomepage": "true",
        "PYTHON_ENABLE_INIT_INDEXING": "1",
    }


def test_each_clone_gets_a_key_of_its_own_which_only_the_owner_reads(prepared: Path, tmp_path: Path) -> None:
    other = clone(tmp_path / "other") / "functions"
    run(other.parent, "functions_local.py", "--settings-only")
    keys = {values(functions)["CHUKEI_API_KEY"] for functions in (prepared, other)}
    assert len(keys) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)
    for name in ("local.settings.json", ".env"):
        assert stat.S_IMODE((prepared / name).stat().st_mode) == 0o600
    assert (prepared / ".env").read_text() == f"CHUKEI_API_KEY={values(prepared)['CHUKEI_API_KEY']}\n"


def test_a_second_run_changes_nothing(prepared: Path) -> None:
    before = [(prepared / name).read_bytes() for name in ("local.settings.json", ".env")]
    assert run(prepared.parent, "functions_local.py", "--settings-only").returncode == 0
    refused = run(prepared.parent, "functions_local.py", "--settings-only", "--endpoint", "https://x.openai.azure.com")
    assert refused.returncode == 1
    assert "local.settings.json is there and is kept" in refused.stderr
    assert [(prepared / name).read_bytes() for name in ("local.settings.json", ".env")] == before


def test_a_resource_and_its_key_can_be_given(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    secret = {"AZURE_OPENAI_API_KEY": "a-key-of-azure"}
    options = ("--endpoint", "https://x.openai.azure.com", "--deployment", "gpt", "--settings-only")
    done = run(folder, "functions_local.py", *options, env=secret)
    assert "https://x.openai.azure.com answers." in done.stdout
    assert "a-key-of-azure" not in done.stdout + done.stderr
    found = values(folder / "functions")
    assert {name: value for name, value in found.items() if name.startswith("AZURE_")} == {
        "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com",
        "AZURE_OPENAI_DEPLOYMENT": "gpt",
        "AZURE_OPENAI_API_KEY": "a-key-of-azure",
    }


def test_settings_that_cannot_be_read_are_kept_and_named(tmp_path: Path) -> None:
    functions = clone(tmp_path / "clone") / "functions"
    (functions / "local.settings.json").write_text("{ half")
    done = run(functions.parent, "functions_local.py", "--settings-only")
    assert done.returncode == 1
    assert "functions/local.settings.json cannot be read" in done.stderr
    assert (functions / "local.settings.json").read_text() == "{ half"


def test_settings_that_an_editor_of_windows_wrote_are_read(tmp_path: Path) -> None:
    """It puts a byte order mark before the text, which Core Tools read too."""
    folder = clone(tmp_path / "clone")
    text = '{"IsEncrypted": false, "Values": {"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}}'
    (folder / "functions" / "local.settings.json").write_text(text, "utf-8-sig")
    done = run(folder, "functions_local.py", "--settings-only")
    assert (done.returncode, done.stderr) == (0, "")
    assert "https://x.openai.azure.com answers." in done.stdout


def test_several_runs_at_once_leave_one_key(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    command = [*INTERPRETER, str(folder / "scripts" / "functions_local.py"), "--settings-only"]
    runs = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert 0 in [each.wait(60) for each in runs]
    run(folder, "functions_local.py", "--settings-only")
    key = values(folder / "functions")["CHUKEI_API_KEY"]
    assert (folder / "functions" / ".env").read_text() == f"CHUKEI_API_KEY={key}\n"


def test_neither_git_nor_a_source_distribution_takes_what_was_written(prepared: Path) -> None:
    """Hatchling reads the .gitignore at the root alone."""
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"functions/local.settings.json", "functions/.env", ".venv*/"} <= set(ignored)
    written = {path.name for path in prepared.iterdir()} - {path.name for path in (ROOT / "functions").iterdir()}
    assert written <= {"local.settings.json", ".env", "__pycache__"}


# The requests of test.http.


def requests_of(functions: Path) -> Iterator[tuple[str, str, list[tuple[str, str]], bytes]]:
    """Method, target, header fields and body of each request, its variables put in."""
    text = (functions / "test.http").read_text()
    found = dict(re.findall(r"^@(\w+) = (.+)$", text, re.MULTILINE))
    dotenv = dict(line.split("=", 1) for line in (functions / ".env").read_text().splitlines())
    for part in text.split("\n###")[1:]:
        part = re.sub(r"{{(\w+)}}", lambda match: found[match[1]], part.partition("\n")[2])
        part = re.sub(r"{{\$dotenv (\w+)}}", lambda match: dotenv[match[1]], part)
        head, _, body = part.partition("\n\n")
        first, *fields = head.strip().splitlines()
        method, address = first.split(" ")
        headers = [(name, value) for name, _, value in (field.partition(": ") for field in fields)]
        yield method, address.removeprefix("http://localhost:7071"), headers, body.strip().encode()


@pytest.fixture(scope="module")
def app(prepared: Path) -> Iterator[FunctionsHost]:
    """The clone's function app with the settings that were written, as Core Tools puts them into the environment."""
    fast = {"CHUKEI_SIMULATOR__FIRST_TOKEN_SECONDS": "0", "CHUKEI_SIMULATOR__INTER_TOKEN_SECONDS": "0"}
    source = {"PYTHONPATH": str(prepared.parent / "src")}
    with FunctionsHost(prepared, {**values(prepared), **fast, **source}) as running:
        yield running


async def test_every_request_of_test_http_is_answered(prepared: Path, app: FunctionsHost) -> None:
    async def send(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> tuple[str, int, str]:
        async with request(app, method, target, headers=headers, body=body) as exchange:
            response = await exchange.response()
            kind = dict(response.headers.raw_items()).get(b"content-type", b"").split(b";")[0].decode()
            if target == "/api/test-stream":  # it takes four seconds, and its beginning says enough
                assert await exchange.part()
            else:
                assert (await exchange.rest()).endswith(b"data: [DONE]\n\n") == (kind == "text/event-stream")
            return target, response.status_code, kind

    answers = await asyncio.gather(*(send(*each) for each in requests_of(prepared)))
    assert answers == [
        ("/health/live", 200, "application/json"),
        ("/health/ready", 200, "application/json"),
        ("/v1/models", 200, "application/json"),
        ("/api/test-stream", 200, "text/event-stream"),
        ("/v1/chat/completions", 200, "application/json"),
        ("/v1/chat/completions", 200, "text/event-stream"),
        ("/api/chat-stream", 200, "text/event-stream"),
    ]


async def test_without_the_key_the_local_app_refuses_too(app: FunctionsHost) -> None:
    async with request(app, "GET", "/v1/models") as exchange:
        assert (await exchange.response()).status_code == 401
