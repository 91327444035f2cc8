"""Both hosts with the same configuration: the server as users run it and the Functions worker, each started once."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.live.functions_host import ROOT, FunctionsHost
from tests.live.relays import STEADY, RelayProcess

KINDS = ("server", "functions")

UPSTREAM_KEY = "upstream-key-that-must-not-come-down"
CLIENT_KEY = "client-key-that-must-not-go-up"

# Where a machine has proxies configured, they must not come between a relay and the simulator.
_NO_PROXIES = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")
SECRET = {"TEST_UPSTREAM_KEY": UPSTREAM_KEY}


@dataclass(frozen=True)
class Setup:
    """One configuration, in environment variables and TOML. ``{simulator}`` stands for the simulator's address."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    toml: str = ""


def resource(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a relay to the simulator that takes any model's name."""
    return {
        "AZURE_OPENAI_ENDPOINT": "{simulator}",
        "AZURE_OPENAI_API_KEY": UPSTREAM_KEY,
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        **extra,
    }


OPEN = Setup(
    "open",
    resource({"CHUKEI_AUTH__ANONYMOUS": "true", "CHUKEI_SERVER__CORS_ORIGINS": "https://app.example"}),
)
"""Serves everybody, any model, and one other site's pages."""

_DEPLOYMENT = 'endpoint = "{simulator}"\napi_key = { env = "TEST_UPSTREAM_KEY" }\n'

NAMED = Setup(
    "named",
    toml=f"""
[auth]
anonymous = true

[defaults]
model = "chat"

[models.zebra]
deployments = ["plain"]

[models.chat]
deployments = ["chat-on-azure"]
system = "You are a helpful assistant. 中継"
parameters = {{ temperature = 0.3, seed = 7, stop = ["\\n\\n"] }}
caps = {{ max_completion_tokens = 4096 }}

[models.plain]
deployments = ["plain"]

[models.v1]
deployments = ["v1"]

[models.classic]
deployments = ["classic"]

[models.old]
deployments = ["old"]

[models.capped]
deployments = ["plain"]
parameters = {{ max_tokens = 50 }}
caps = {{ max_tokens = 100, n = 2 }}

[models."team a/chat b"]
deployments = ["spaced"]

[deployments.chat-on-azure]
{_DEPLOYMENT}
[deployments.plain]
{_DEPLOYMENT}
[deployments.v1]
api_version = "v1"
{_DEPLOYMENT}
[deployments.classic]
api_version = "2024-10-21"
{_DEPLOYMENT}
[deployments.old]
api_version = "2024-06-01"
{_DEPLOYMENT}
[deployments.spaced]
deployment = "gpt 4o/β"
{_DEPLOYMENT}
""",
)
"""Names its models: what is filled in, capped and addressed differs between them."""


@dataclass(frozen=True)
class Host:
    """A running relay."""

    kind: str
    url: str
    log: Callable[[], str]

    @property
    def base_url(self) -> str:
        """What OpenAI's clients are given."""
        return f"{self.url}/v1"


class Hosts:
    """Starts relays when they are first asked for; ``close`` ends them all."""

    def __init__(self, simulator: str, directory: Path) -> None:
        self._simulator = simulator
        self._directory = directory
        self._running: dict[tuple[str, str], Host] = {}
        self._stack = ExitStack()

    def get(self, kind: str, setup: Setup) -> Host:
        """Return the host of that kind with that configuration."""
        key = (kind, setup.name)
        if key not in self._running:
            self._running[key] = self._start(kind, setup)
        return self._running[key]

    def _start(self, kind: str, setup: Setup) -> Host:
        environment = _NO_PROXIES | STEADY | {name: self._filled(value) for name, value in setup.environment.items()}
        if setup.toml:
            path = self._directory / f"{setup.name}.toml"
            path.write_text(self._filled(setup.toml))
            environment |= {**SECRET, "CHUKEI_CONFIG": str(path)}
        if kind == "server":
            relay = self._stack.enter_context(RelayProcess(environment))
            return Host(kind, relay.url, lambda: "\n".join(relay.log))
        functions = self._stack.enter_context(FunctionsHost(ROOT / "functions", environment))
        return Host(kind, functions.base_url, lambda: functions.logs)

    def _filled(self, text: str) -> str:
        return text.replace("{simulator}", self._simulator)

    def close(self) -> None:
        """Stop everything."""
        self._stack.close()
