"""A configuration of PowerProxy for Azure OpenAI as one of the relay, with a report of what became of each value."""

import hashlib
import re
from collections.abc import Iterable

from chukei.config.policies import CALLER_NAME
from chukei.config.upstreams import MODEL_NAME
from chukei.configuring.import_draft import Draft, Given, Imported, joined, target
from chukei.configuring.import_source import Node, Source
from chukei.configuring.litellm_endpoints import Address, address
from chukei.configuring.report import Report, Variable, quoted

DIGESTED = 24
"""Characters that a client's key must have for its digest to be kept: with fewer, trying all keys might find it."""

_TIER = (
    "PowerProxy asks endpoints, and stand-ins within them, in the order of the file; so do tiers, the next one only "
    "while none of the earlier is available"
)
_FRACTION = "the relay treats streams and whole answers alike; a deployment for streams only needs a model of its own"
_INFRASTRUCTURE = "describes where PowerProxy is deployed; the relay's own deployment is apart from its configuration"
_ENTRA = (
    "PowerProxy passes on tokens for Azure; the relay verifies tokens that are made for it: set [auth.entra], and give "
    "the caller user:TENANT/OBJECT or a group these limits"
)
_PER_DEPLOYMENT = "PowerProxy counts for each deployment; the relay counts a caller's tokens over all models"
_TOP = dict.fromkeys(("azure_subscription_id", "region", "resource_group", "unique_prefix"), _INFRASTRUCTURE) | {
    "fixed_client": "belongs to an earlier version; callers of the relay have keys or tokens",
    "FIXED_CLIENT": "belongs to an earlier version; callers of the relay have keys or tokens",
}
_LOGS = {
    "LogUsageToConsole": ("log", "each request has one line, with its tokens"),
    "LogUsageToCsvFile": ("stores.ledger", "the ledger has the usage: chukei usage --format csv"),
    "LogUsageToLogAnalytics": (
        "telemetry.connection_string",
        "metrics and traces go to Application Insights with its connection string; the ledger has the usage",
    ),
}


def import_powerproxy(source: Source, name: str, deployments: Iterable[str] = ()) -> Imported:
    """Translate a configuration.

    ``name`` is the file's, for the head of the result. ``deployments`` are names that clients use and that the file
    does not mention.
    """
    report = Report()
    draft = Draft(report)
    reading = _Reading(draft, source.root, tuple(deployments))
    reading.read()
    report.finish(source)
    return Imported(draft.render(name, "powerproxy") if reading.models else None, report)


class _Reading:
    def __init__(self, draft: Draft, root: Node, deployments: tuple[str, ...]) -> None:
        self._draft = draft
        self._report = draft.report
        self._root = root
        self._plugins = {
            plugin.table["name"].text: plugin for plugin in _list(root, "plugins") if "name" in plugin.table
        }
        self.models: dict[str, list[str]] = {model: [] for model in deployments}
        self._tier = 0

    def read(self) -> None:
        aoai = self._root.table.get("aoai")
        clients = _list(self._root, "clients")
        endpoints = _list(aoai, "endpoints") if aoai else []
        for model in _mentioned(clients, endpoints):
            if MODEL_NAME.fullmatch(model):
                self.models.setdefault(model, [])
        for endpoint in endpoints:
            self._endpoint(endpoint)
        self.models = {model: tables for model, tables in self.models.items() if tables}
        for model, tables in self.models.items():
            self._draft.set(("models", model), "deployments", tables)
        for client in clients:
            self._client(client)
        self._write_plugins()
        if aoai is not None and "mock_response" in aoai.table:
            self._report.dropped(aoai.table["mock_response"], "the relay has a simulator: chukei simulate")
        for key, reason in _TOP.items():
            if key in self._root.table:
                self._report.dropped(self._root.table[key], reason)
        self._identity()

    def _identity(self) -> None:
        node = self._root.table.get("user_assigned_managed_identity_client_id")
        if node is None:
            return
        tables = [path for path in self._draft.tables if self._draft.get(path, "identity")]
        for path in tables:
            if node.text:
                self._draft.set(path, "client_id", node.text)
        if tables and node.text:
            self._report.mapped(node, "deployments.*.client_id", "the identity of deployments without a key")
        else:
            self._report.dropped(node, "all deployments have keys")

    # endpoints

    def _endpoint(self, endpoint: Node) -> None:
        url = endpoint.table.get("url")
        where = address(url.text) if url is not None and url.text else Address(problem="is missing")
        credential = self._credential(endpoint, where)
        virtual = {name: each for each in _list(endpoint, "virtual_deployments") if (name := _name(each))}
        for model, tables in self.models.items():
            standins = _list(virtual[model], "standins") if model in virtual else []
            names = [name for each in standins if (name := _name(each))]
            for offset, deployment in enumerate(names or [model]):
                tables.append(self._deployment(endpoint, where, credential, deployment, self._tier + 1 + offset))
        self._tier += max([1, *(len(_list(each, "standins")) for each in virtual.values())])
        self._report_endpoint(endpoint, where)

    def _credential(self, endpoint: Node, where: Address) -> dict[str, str] | None:
        key = endpoint.table.get("key")
        if key is None or not key.text:
            self._report.extras.add("identity")
            return None
        label = where.label or _name(endpoint) or "AZURE"
        secret = self._draft.secret(key, f"{label}_API_KEY", "the key of a resource")
        message = "is not copied: it becomes a reference to a variable"
        self._report.mapped(key, "deployments.*.api_key", message)
        return secret

    def _deployment(
        self, endpoint: Node, where: Address, credential: dict[str, str] | None, deployment: str, tier: int
    ) -> str:
        name = self._draft.slug("deployments", f"{where.label or 'endpoint'} {deployment}")
        path = ("deployments", name)
        self._draft.table(*path).comments.append(f"from {endpoint.path}")
        if where.endpoint is not None:
            self._draft.set(path, "endpoint", where.endpoint)
        else:
            self._draft.from_variable(path, "endpoint", None, f"the resource's address for {name}")
        self._draft.set(path, "deployment", deployment)
        if credential is not None:
            self._draft.set(path, "api_key", credential)
        else:
            self._draft.set(path, "identity", True)
        self._draft.set(path, "priority", min(tier, 1000))
        return name

    def _report_endpoint(self, endpoint: Node, where: Address) -> None:
        url, name = endpoint.table.get("url"), endpoint.table.get("name")
        if url is not None and where.endpoint is not None:
            self._report.mapped(url, "deployments.*.endpoint", "the address of the resource")
        elif url is not None:
            self._report.approximated(
                url, "deployments.*.endpoint", f"what stands here {where.problem}; set the variable"
            )
        if name is not None:
            self._report.mapped(name, None, "its place in the file is what counts, as a tier")
        for node in [endpoint, *_standins(endpoint)]:
            fraction = node.table.get("non_streaming_fraction")
            if fraction is not None and fraction.number == 1:
                self._report.mapped(fraction, None, "all requests, streams or not")
            elif fraction is not None:
                self._report.dropped(fraction, _FRACTION)
        for each in _list(endpoint, "virtual_deployments"):
            for standin in [each, *_list(each, "standins")]:
                if "name" in standin.table:
                    self._report.approximated(standin.table["name"], "models.*.deployments", _TIER)

    # clients

    def _client(self, client: Node) -> None:
        name, key = client.table.get("name"), client.table.get("key")
        if name is None or name.text is None or not CALLER_NAME.fullmatch(name.text):
            self._report.rest_dropped(client, "a caller needs a name of letters, digits, spaces and .:/@+-")
            return
        entra = client.table.get("uses_entra_id_auth")
        if entra is not None and entra.flag and key is None:
            self._report.rest_dropped(client, _ENTRA)
            return
        path = ("callers", name.text)
        if path in self._draft.tables:
            self._report.rest_dropped(client, "another client of this name comes first")
            return
        self._draft.table(*path)
        self._report.mapped(name, target(*path), "the caller's name in logs, limits and usage")
        if key is not None:
            self._key(path, name.text, key)
        self._allowed(path, client)
        self._limit(path, client)
        for other, reason in (("description", "is for readers"), ("uses_entra_id_auth", "is the default")):
            if other in client.table:
                self._report.dropped(client.table[other], reason)

    def _key(self, path: tuple[str, ...], name: str, key: Node) -> None:
        text = key.text or ""
        if len(text) >= DIGESTED and len(set(text)) >= 8:
            self._draft.set(path, "key_sha256", hashlib.sha256(text.encode()).hexdigest())
            message = "the client keeps its key; the file has its SHA-256 digest only"
            self._report.mapped(key, target(*path, "key_sha256"), message)
        else:
            command = f"chukei keys create {quoted(name)}"
            message = f"is too short to be kept as a digest, which could be tried out: make a new key by {command}"
            self._report.dropped(key, message)

    def _allowed(self, path: tuple[str, ...], client: Node) -> None:
        node = client.table.get("deployments_allowed")
        if node is None:
            return
        if "AllowDeployments" not in self._plugins:
            self._report.dropped(node, "has no effect in PowerProxy without its plugin AllowDeployments")
            return
        allowed = [model for model in _names(node) if model in self.models]
        self._draft.set(path, "models", allowed)
        self._report.mapped(node, target(*path, "models"), "the models that the caller may use")

    def _limit(self, path: tuple[str, ...], client: Node) -> None:
        node = client.table.get("max_tokens_per_minute_in_k")
        if node is None:
            return
        if "LimitUsage" not in self._plugins:
            self._report.dropped(node, "has no effect in PowerProxy without its plugin LimitUsage")
            return
        numbers = [each.number for each in node.leaves()]
        usable = [number for number in numbers if number is not None and 0 <= number <= 2**40]
        if len(usable) != len(numbers):
            self._report.dropped(node, "is no number of thousands of tokens")
            return
        self._draft.set((*path, "limits"), "tokens_per_minute", round(sum(usable) * 1000))
        several = "; several limits become their sum" if len(usable) > 1 else ""
        self._report.approximated(node, target(*path, "limits", "tokens_per_minute"), _PER_DEPLOYMENT + several)

    # plugins

    def _write_plugins(self) -> None:
        for name, plugin in self._plugins.items():
            title = plugin.table["name"]
            if name in _LOGS:
                goal, message = _LOGS[name]
                self._report.approximated(title, goal, message)
                self._report.rest_dropped(plugin, "is for the plugin alone")
            elif name == "AllowDeployments":
                self._report.mapped(title, "callers.*.models", "always in force")
            elif name == "LimitUsage":
                self._report.approximated(
                    title, "callers.*.limits", "the relay reserves tokens before, and settles after"
                )
                self._redis(plugin.table.get("redis"))
            else:
                self._report.rest_dropped(plugin, "the relay calls no plugins")

    def _redis(self, redis: Node | None) -> None:
        host, password = (redis.table.get(f"redis_{key}") for key in ("host", "password")) if redis else (None, None)
        if redis is None or host is None or not host.text:
            return
        words: list[Given | str] = ["rediss://"]
        if password is not None and password.text:
            name = self._draft.secret(password, "REDIS_PASSWORD", "the password of the Redis")["env"]
            words += [":", Given(variable=name), "@"]
        words += [Given(text=host.text) if re.fullmatch(r"[\w.-]+", host.text) else "YOUR-REDIS", ":6380/0"]
        own = self._draft.unused("REDIS_URL")
        meaning = "the address of the Redis that replicas share; percent-encode what is special in its password"
        self._report.need(Variable(own, meaning, joined(words), secret=True))
        self._draft.set(("stores",), "quota", {"env": own})
        self._report.extras.add("redis")
        for node in (host, password):
            if node is not None:
                self._report.mapped(node, "stores.quota", "limits are counted together there, exactly")


def _list(node: Node | None, key: str) -> list[Node]:
    found = node.table.get(key) if node is not None else None
    return [each for each in found.items if each.table] if found is not None else []


def _name(node: Node) -> str | None:
    found = node.table.get("name")
    return found.text if found is not None else None


def _standins(endpoint: Node) -> list[Node]:
    return [standin for each in _list(endpoint, "virtual_deployments") for standin in _list(each, "standins")]


def _names(node: Node) -> list[str]:
    """Return names from a list, or from a text with commas."""
    texts = [each.text or "" for each in node.items] if node.items else (node.text or "").split(",")
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))


def _mentioned(clients: list[Node], endpoints: list[Node]) -> list[str]:
    """Return the names by which clients may call, in the order in which the file mentions them."""
    found: list[str] = []
    for endpoint in endpoints:
        found += [name for each in _list(endpoint, "virtual_deployments") if (name := _name(each))]
    for client in clients:
        if "deployments_allowed" in client.table:
            found += _names(client.table["deployments_allowed"])
        limits = client.table.get("max_tokens_per_minute_in_k")
        found += limits.table if limits is not None else ()
    return list(dict.fromkeys(found))
