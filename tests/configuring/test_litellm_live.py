"""Relays with imported configurations ask the deployments that the other gateway would have asked, in the same way.

The relay is the real process; the upstream is a server on loopback that answers and notes each request.
"""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.configuring.imported import IMPORTS
from tests.configuring.imported import settings as accepted
from tests.live.relays import RelayProcess

from chukei.config import load
from chukei.configuring.import_draft import Imported
from chukei.configuring.import_source import read
from chukei.configuring.litellm import import_litellm
from chukei.configuring.powerproxy import import_powerproxy

CHAT = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
EMBEDDINGS = {"object": "list", "data": [], "usage": {"prompt_tokens": 1, "total_tokens": 1}}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that the upstream got."""

    path: str
    query: str
    key: str | None
    body: dict[str, Any]


@dataclass(slots=True)
class Upstream:
    """A resource on loopback. It answers a deployment with the status that ``statuses`` has for it, else 200."""

    statuses: dict[str, int] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def taken(self) -> list[Asked]:
        """Return what was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked

    def handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                path, _, query = self.path.partition("?")
                upstream.asked.append(Asked(path, query, self.headers["api-key"], body))
                name = path.split("/deployments/")[1].split("/")[0] if "/deployments/" in path else body["model"]
                status = upstream.statuses.get(name, 200)
                answer = EMBEDDINGS if path.endswith("embeddings") else CHAT
                content = json.dumps(
                    answer if status == 200 else {"error": {"message": "no", "code": str(status)}}
                ).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    server = ThreadingHTTPServer(("127.0.0.1", 0), made.handler())
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def text_of(name: str, upstream: Upstream, *hosts: str) -> bytes:
    """Return a source whose resources are the upstream, at a path of its own each."""
    text = (IMPORTS / f"{name}.yaml").read_text("utf-8")
    for host in hosts:
        text = text.replace(f"https://{host}.openai.azure.com", f"{upstream.url}/{host}")
    assert "openai.azure.com" not in text
    return text.encode()


@contextmanager
def relay(imported: Imported, folder: Path, keys: dict[str, str]) -> Iterator[RelayProcess]:
    assert imported.toml is not None
    file = folder / "relay.toml"
    file.write_text(imported.toml, "utf-8")
    assert set(keys) == set(imported.report.variables)
    with RelayProcess(keys, "--config", str(file)) as running:
        yield running


def ask(url: str, path: str, key: str, body: dict[str, Any]) -> int:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", "api-key": key})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def chat(model: str, **more: object) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}


def test_each_model_goes_to_its_deployments_with_their_versions_keys_and_parameters(
    upstream: Upstream, tmp_path: Path
) -> None:
    imported = import_litellm(read(text_of("regions", upstream, "fabrikam-east", "fabrikam-west")), "regions.yaml")
    names = list(imported.report.variables)
    keys = dict(zip(names, ["the-key-of-east", "the-key-of-west", "the-master-key"], strict=True))

    with relay(imported, tmp_path, keys) as running:
        statuses = [ask(running.url, "/v1/chat/completions", "the-master-key", chat("chat")) for _ in range(8)]
        balanced = upstream.taken()
        statuses += [
            ask(running.url, "/v1/chat/completions", "the-master-key", chat("gpt-4", temperature=1, max_tokens=9)),
            ask(running.url, "/v1/embeddings", "the-master-key", {"model": "embed", "input": "x"}),
        ]
        alias, embedding = upstream.taken()
        refused = ask(running.url, "/v1/chat/completions", "another-key", chat("chat"))

    assert (statuses, refused) == ([200] * 10, 401)
    east = "/fabrikam-east/openai/deployments/gpt-4o-east/chat/completions"
    west = "/fabrikam-west/openai/deployments/gpt-4o-west/chat/completions"
    assert Counter((each.path, each.query, each.key) for each in balanced) == {
        (east, "api-version=2024-10-21", "the-key-of-east"): 6,
        (west, "api-version=2024-06-01", "the-key-of-west"): 2,
    }
    assert {(each.body["temperature"], each.body["max_tokens"]) for each in balanced} == {(0.2, 256)}
    assert (alias.path in {east, west}, alias.body["temperature"], alias.body["max_tokens"]) == (True, 1, 9)
    assert (embedding.path, embedding.query) == ("/fabrikam-east/openai/v1/embeddings", "")
    assert embedding.body["model"] == "text-embedding-3-large"


def test_fallbacks_and_orders_are_asked_one_after_the_other(upstream: Upstream, tmp_path: Path) -> None:
    imported = import_litellm(read(text_of("fallbacks", upstream, "one", "two")), "fallbacks.yaml")

    with relay(imported, tmp_path, {"ONE": "1", "TWO": "2"}) as running:

        def asked(model: str) -> list[str]:
            assert ask(running.url, "/v1/chat/completions", "", chat(model)) == 200
            return [each.body["model"] for each in upstream.taken()]

        assert [asked(model) for model in ("big", "small", "task")] == [["big"], ["small"], ["big"]]
        upstream.statuses = {"big": 500}
        assert asked("big") == ["big", "small"]
        upstream.statuses = {"big": 500, "small": 429}
        assert asked("small") == ["small", "small-b"]
        assert asked("small") == ["small-b"]


def test_clients_of_powerproxy_keep_keys_models_and_the_order_of_endpoints(upstream: Upstream, tmp_path: Path) -> None:
    text = text_of("powerproxy", upstream, "fabrikam-east", "fabrikam-west")
    text = text.replace(b"/fabrikam-west\n", b"/fabrikam-west\n      key: literal-secret-west\n")
    text = text.replace(b"    redis: {", b"    ignored: {")
    imported = import_powerproxy(read(text), "powerproxy.yaml")
    key = "7c1f0e9d8b6a54321fedcba987654321"
    old = "/openai/deployments/{}/chat/completions?api-version=2024-06-01"

    with relay(imported, tmp_path, dict.fromkeys(imported.report.variables, "upstream-key")) as running:
        upstream.statuses = {"gpt-4o-ptu": 429}
        assert [ask(running.url, old.format("gpt-4o"), key, chat("")) for _ in range(2)] == [200, 200]
        asked = upstream.taken()
        assert ask(running.url, old.format("gpt-4o"), "an-unknown-key-of-some-length", chat("")) == 401
        assert ask(running.url, old.format("gpt-3"), key, chat("")) in {403, 404}

    paths = [each.path.split("/")[4] for each in asked]
    assert paths == ["gpt-4o-ptu", "gpt-4o-paygo", "gpt-4o-paygo"]
    assert {(each.query, each.key) for each in asked} == {("api-version=2024-06-01", "upstream-key")}


def test_variables_of_the_report_can_be_set_by_a_shell(tmp_path: Path) -> None:
    imported = import_litellm(read((IMPORTS / "unnamed.yaml").read_bytes()), "unnamed.yaml")
    exports = "".join(f"export {each.name}={each.value}\n" for each in imported.report.variables.values() if each.value)
    source = {
        "AZURE_MODEL": "azure/gpt-5",
        "AZURE_API_BASE": "https://contoso.openai.azure.com",
        "PATH": "/usr/bin:/bin",
    }
    ran = subprocess.run(["/bin/sh", "-c", f"{exports}env"], env=source, capture_output=True, text=True, check=True)
    variables = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    assert accepted(imported, tmp_path).models

    secrets = {name: "secret" for name, each in imported.report.variables.items() if each.secret}
    found = load(tmp_path / "imported.toml", secrets | variables)

    [deployment] = found.models["MODEL_NAME"].deployments
    assert (deployment.endpoint, deployment.deployment) == ("https://contoso.openai.azure.com", "gpt-5")
