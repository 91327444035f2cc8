"""What is imported on the way of a request: a cold start pays for each module, so none comes in unnoticed.

How long importing takes is measured by ``benchmarks/cold_start.py``; here modules are named and counted, which every
machine does alike.
"""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.live.processes import running
from tests.live.relays import clean_environment
from tests.live.simulated import SimulatorThread

from chukei.simulator import SimulatorSettings

KEY = "a-key-for-imports"
TARGET = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"

ONLY_WHERE_CONFIGURED = {
    "aiohttp", "asyncpg", "azure.core", "azure.identity", "cryptography", "hiredis", "jwt", "msal",
    "google.protobuf", "opentelemetry", "requests", "chukei.adapters.telemetry",
    "chukei.accounts.quota_fallback", "chukei.admin",
    "chukei.adapters.audit", "chukei.adapters.identity.entra", "chukei.adapters.identity.signing_keys",
    "chukei.adapters.ledger.postgres", "chukei.adapters.ledger.postgres_errors",
    "chukei.adapters.redis", "chukei.hosts.simulated", "chukei.simulator",
    "chukei.adapters.http.uploading", "chukei.adapters.websocket", "chukei.gateway.background",
    "chukei.gateway.objects", "chukei.gateway.sockets", "chukei.objects.errors", "chukei.objects.homes",
    "chukei.objects.job", "chukei.objects.looks",  # of stored objects, jobs and sockets: for the first request to them
    "importlib.resources",  # the chat page's
    "csv",  # the admin API's
}  # fmt: skip
"""Parts of the relay that a plain configuration does without, and what they need."""

NEVER = {
    "argparse", "concurrent.futures.process", "ctypes", "difflib", "doctest", "email.message", "email.parser", "html",
    "http.client", "http.server", "importlib.metadata", "multiprocessing.managers", "multiprocessing.pool", "optparse",
    "pdb", "pydoc", "unittest", "urllib.request", "xml", "zipfile",
    "chukei.configuring", "chukei.doctor", "fastapi", "h11", "httpx", "pkg_resources", "pydantic", "setuptools",
    "starlette", "websockets", "wsproto",
}  # fmt: skip
"""What takes milliseconds each and is for other work."""

ONLY_THE_SERVER = {
    "click", "uvicorn", "uvloop", "bz2", "configparser", "email", "logging.config", "lzma", "multiprocessing", "pickle",
    "socketserver", "tempfile",
    "chukei.cli", "chukei.hosts.http.protocol", "chukei.hosts.server", "chukei.ledger_commands",
}  # fmt: skip
"""What uvicorn brings, and the command line; other hosts have their own."""

LOOKING_UP_NAMES = {"encodings.idna", "stringprep", "unicodedata"}
"""What Python's own ``getaddrinfo`` imports when it is first called, which is in a thread; uvloop has another."""

SERVER_BUDGET = 446
"""Modules beyond those that Python starts with, and room for no library: pydantic has 60, aiohttp with what it needs
130. At the end of November 2026 there were 413. Stored objects brought a dozen that each response needs, and three more
(``object_writer``, ``objects_sql``, ``sqlite_objects``) where a database keeps them. Nouns of the console
(``changes``, ``outcomes``) and readers of its settings and of models' facts brought four more."""

CORE_BUDGET = 341
"""The same for the relay without a server, which had 311."""

FUNCTION_BUDGET = 196
"""And for what it adds to the process of Azure's worker, which were 168."""


class Modules:
    """Names of modules that a process has imported since it began."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)

    def among(self, unwanted: Iterable[str]) -> set[str]:
        """Return those of the unwanted, packages with all in them, that are here."""
        return {name for name in unwanted if any(one == name or one.startswith(f"{name}.") for one in self.names)}

    @property
    def of_others(self) -> set[str]:
        """Top-level names that are neither Python's nor the relay's.

        Cython registers helpers of its own, and a distributor of Python a module that says what it left out.
        """
        tops = (
            {name.partition(".")[0] for name in self.names}
            - sys.stdlib_module_names
            - {"chukei", "__mp_main__", "_missing_stdlib_info"}
        )
        return {name for name in tops if not re.match(r"_?cython_", name)}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with SimulatorThread(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)) as running:
        yield running.url


def environment_for(upstream: str, **others: str) -> dict[str, str]:
    """Return a plain configuration: one resource, one key. Measuring coverage would import more."""
    configured = {
        "AZURE_OPENAI_ENDPOINT": upstream,
        "AZURE_OPENAI_API_KEY": "upstream-key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_API_KEY": KEY,
    }
    environment = clean_environment(configured | others)
    return {name: value for name, value in environment.items() if not name.startswith(("COVERAGE", "COV_CORE"))}


SERVE = """
import os, sys
before = set(sys.modules)
import signal
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, " ".join(set(sys.modules) - before).encode() + b"\\n"))
from chukei.cli import main
main(["serve", "--port", "0"])
"""


class Serving:
    """``chukei serve`` in a process that tells on a signal what it has imported."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self._process = process
        self.port = port

    def modules(self) -> Modules:
        """Return what it has imported by now."""
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGUSR1)
        return Modules(self._process.stdout.readline().split())


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[Serving]:
    command = [sys.executable, "-c", SERVE]
    pipe = subprocess.PIPE
    with running(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                yield Serving(process, int(found[1]))
                break
        else:
            raise RuntimeError("the relay did not start")


def ask(port: int) -> None:
    """Ask for one stream and one answer that is none."""
    for stream in (True, False):
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "stream": stream})
        connection.request("POST", TARGET, body, {"api-key": KEY, "content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read()
        connection.close()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="asks the server by a signal that only Unix has")
@pytest.mark.parametrize("ledger", ["none", "sqlite"])
def test_the_server_imports_what_a_request_needs_and_no_more(ledger: str, upstream: str, tmp_path: Path) -> None:
    address = "none" if ledger == "none" else f"sqlite:///{tmp_path}/ledger.db"
    with serving(environment_for(upstream, CHUKEI_STORES__LEDGER=address)) as relay:
        with socket.create_connection(("127.0.0.1", relay.port)):
            ready = relay.modules()
        ask(relay.port)
        served = relay.modules()
    assert {"chukei.gateway.gateway", "chukei.hosts.http.protocol", "uvicorn"} <= ready.names
    assert served.among(ONLY_WHERE_CONFIGURED | NEVER) == set()
    assert ("sqlite3" in served.names) == (ledger == "sqlite")
    assert served.of_others <= {"click", "httptools", "msgspec", "typing_extensions", "uvicorn", "uvloop"}
    assert served.names - ready.names <= LOOKING_UP_NAMES, "the first request should not wait for an import"
    assert len(served.names) <= SERVER_BUDGET


# Other hosts: the application by itself, and in the process of Azure's worker, which has FastAPI before the app loads.

APPLICATION = """
from chukei.hosts.asgi import from_environment
application = from_environment(behind_platform=True)
"""

WORKER = "import azure_functions_runtime, azurefunctions.extensions.http.fastapi, azure.functions"

FUNCTION = """
from chukei.hosts.functions import create
[relay] = create().get_functions()
async def application(*call):
    response = await relay.get_user_function()(None)
    await response(*call)
"""

ONE_REQUEST = """
import asyncio, json, os
body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "stream": True}).encode()
key = os.environ["CHUKEI_API_KEY"].encode()
scope = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
    "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions", "query_string": b"", "root_path": "",
    "headers": [(b"host", b"relay"), (b"api-key", key), (b"content-type", b"application/json")],
    "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "extensions": {},
}
messages = [{"type": "http.request", "body": body}]
sent = []
async def receive():
    return messages.pop() if messages else await asyncio.Event().wait()
async def send(message):
    sent.append(message)
async def serve():
    await application(scope, receive, send)
asyncio.run(serve())
assert sent[0]["status"] == 200, sent
assert b"[DONE]" in b"".join(message.get("body", b"") for message in sent), sent
print(*(set(sys.modules) - before))
"""


def imported_after(worker: str, application: str, upstream: str) -> Modules:
    """Return what a process imports to serve one request, beyond what it had before."""
    program = f"import sys\n{worker}\nbefore = set(sys.modules)\n{application}\n{ONE_REQUEST}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment_for(upstream), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Modules(done.stdout.split())


def test_the_relay_without_a_server_imports_none(upstream: str) -> None:
    found = imported_after("", APPLICATION, upstream)
    assert {"chukei.gateway.gateway", "chukei.adapters.http.connection"} <= found.names
    assert found.among(ONLY_WHERE_CONFIGURED | NEVER | ONLY_THE_SERVER | {"sqlite3"}) == set()
    assert found.of_others <= {"httptools", "msgspec", "typing_extensions"}
    assert len(found.names) <= CORE_BUDGET


def test_a_function_app_adds_the_relay_to_its_worker_and_nothing_else(upstream: str) -> None:
    pytest.importorskip("azure_functions_runtime")
    found = imported_after(WORKER, FUNCTION, upstream)
    assert {"chukei.gateway.gateway", "chukei.hosts.functions"} <= found.names
    assert found.among(ONLY_WHERE_CONFIGURED | NEVER | ONLY_THE_SERVER | {"sqlite3"}) == set()
    assert found.of_others <= {"httptools", "msgspec"}
    assert len(found.names) <= FUNCTION_BUDGET
