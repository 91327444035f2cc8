"""OpenAI's npm package, of two generations. Skipped where there is no Node or no way to get it.

Here is what the package does itself: reading streams, leaving, uploads, its classes of errors. What the relay answers
is in test_openai_python.py.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.live.both_hosts import CLIENT_KEY, OPEN, UPSTREAM_KEY, Hosts
from tests.live.client_packages import NODE, npm_packages
from tests.live.simulated import Upstream

TEXT = "Streams flow,\n 中継 \U0001f30a."


class NodeProcess:
    """One Node process with one generation of the package: a line in, a line out."""

    def __init__(self, package: str) -> None:
        self._process = subprocess.Popen(
            ["node", "client.mjs", package], cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, task: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        self._process.communicate(timeout=120)


@pytest.fixture(scope="session")
def packages() -> None:
    """Install the packages once, from the lock."""
    npm_packages()


@dataclass(frozen=True)
class Client:
    """A client of one class for one relay."""

    node: NodeProcess
    name: str
    options: dict[str, Any]

    def run(self, scenario: str, model: str = "gpt-4o", *, maxRetries: int = 0, **more: Any) -> dict[str, Any]:  # noqa: N803
        options = {**self.options, "maxRetries": maxRetries}
        return self.node.run({"client": self.name, "options": options, "scenario": scenario, "model": model, **more})

    def value(self, scenario: str, model: str = "gpt-4o", **more: Any) -> Any:
        answer = self.run(scenario, model, **more)
        assert "error" not in answer, answer
        return answer["value"]

    def error(self, scenario: str, model: str) -> dict[str, Any]:
        error: dict[str, Any] = self.run(scenario, model)["error"]
        return error


@pytest.fixture(
    scope="module",
    # Generations, classes and hosts do not know of one another, so each is met once.
    params=[("openai-6", "AzureOpenAI", "functions"), ("openai", "OpenAI", "server")],
    ids=lambda each: "-".join(each),
)
def made(request: pytest.FixtureRequest, packages: None, hosts: Hosts) -> Iterator[Client]:
    package, name, kind = request.param
    host = hosts.get(kind, OPEN)
    options = {"apiKey": CLIENT_KEY, "baseURL": host.base_url}
    if name == "AzureOpenAI":
        options = {"apiKey": CLIENT_KEY, "endpoint": host.url, "apiVersion": "2025-04-01-preview"}
    process = NodeProcess(package)
    yield Client(process, name, options)
    process.stop()


@pytest.fixture
def client(made: Client, upstream: Upstream) -> Iterator[Client]:
    """A client; afterwards its key must not have gone up."""
    yield made
    for exchange in upstream.exchanges:
        assert CLIENT_KEY not in f"{exchange.headers} {exchange.path} {exchange.query}"
        assert exchange.headers["api-key"] == UPSTREAM_KEY


def test_chat(client: Client) -> None:
    answer = client.value("chat")
    assert answer["text"] == TEXT
    assert answer["requestId"].startswith("req_")
    assert answer["headers"]["x-ms-region"] == "East US 2"
    assert answer["headers"]["x-ratelimit-limit-requests"] == "120"
    assert UPSTREAM_KEY not in json.dumps(answer)


def test_chat_stream(client: Client) -> None:
    answer = client.value("stream")
    assert answer["text"] == TEXT
    assert answer["reasons"] == ["stop"]
    assert answer["usages"] == 0
    assert client.value("stream", usage=True)["usages"] == 1


def test_responses_stream(client: Client) -> None:
    answer = client.value("responses")
    assert answer["text"] == TEXT
    assert answer["types"][-1] == "response.completed"


def test_embeddings(client: Client) -> None:
    answer = client.value("embeddings", "text-embedding-3-small")
    assert answer["packed"] == pytest.approx(answer["plain"], abs=1e-6)


def test_transcription(client: Client) -> None:
    assert "5,000 bytes" in client.value("transcription", "whisper")


def test_models(client: Client) -> None:
    assert client.value("models") == ["gpt-4o"]


# Whether a stream was asked for makes no difference to an error that comes as a status.
ERRORS = [
    ("chat", "401", "InternalServerError", 502, "upstream_unauthorized"),
    ("stream", "404", "NotFoundError", 404, "DeploymentNotFound"),
    ("chat", "429-3", "RateLimitError", 429, "RateLimitReached"),
    ("stream", "500", "InternalServerError", 500, None),
    ("stream", "html", "InternalServerError", 502, "unexpected_content_type"),
]


def test_errors_before_output(client: Client) -> None:
    for scenario, fault, kind, status, code in ERRORS:
        answer = client.run(scenario, f"fault-{fault}")
        error = answer.get("error") or answer["value"]["error"]
        assert (error["class"], error["status"], error["code"]) == (kind, status, code)
        assert error["requestId"].startswith("req_")


def test_it_tries_again_as_it_is_told(client: Client, upstream: Upstream) -> None:
    model = f"node-{client.name.lower()}--429-0.01-times-1"
    assert client.value("chat", model, maxRetries=1)["text"] == TEXT
    assert [exchange.status for exchange in upstream.exchanges] == [429, 200]
    assert client.run("chat", "fault-401", maxRetries=2)["error"]["code"] == "upstream_unauthorized"
    assert len(upstream.exchanges) == 3, "x-should-retry says that it is of no use"


def test_details_of_the_content_filter_arrive(client: Client) -> None:
    error = client.error("chat", "fault-filter-prompt")
    assert error["class"] == "BadRequestError"
    assert error["inner"]["content_filter_result"]["jailbreak"] == {"filtered": True, "detected": True}


@pytest.mark.parametrize("fault", ["error-event-6", "truncate-6", "truncate-clean-6", "reset-6"])
def test_a_broken_stream_never_ends_silently(client: Client, fault: str) -> None:
    answer = client.value("stream", f"fault-{fault}")
    assert answer["error"]["class"] == "APIError"
    assert TEXT.startswith(answer["text"])
    assert answer["text"]


def test_a_stream_that_finished_without_saying_so_is_whole(client: Client) -> None:
    answer = client.value("stream", "fault-no-done")
    assert answer == client.value("stream", "gpt-4o")


@pytest.mark.parametrize("fault", ["truncate-6", "no-done"])
def test_a_broken_responses_stream(client: Client, fault: str) -> None:
    answer = client.value("responses", f"fault-{fault}")
    assert answer["error"]["class"] == "APIError"
    assert "response.completed" not in answer["types"]


def test_aborting_in_mid_stream_stops_the_upstream(client: Client, upstream: Upstream) -> None:
    assert client.value("abort", "left--stall-6") is True
    assert upstream.ending() == "client_left"
