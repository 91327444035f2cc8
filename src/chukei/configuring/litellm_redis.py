"""The Redis of LiteLLM's router, or of its cache, as the store that the relay's replicas share."""

import re
from dataclasses import dataclass, field

from chukei.configuring.import_draft import Draft, Given, joined
from chukei.configuring.import_source import Node
from chukei.configuring.report import Variable

REDIS = ("redis_url", "redis_host", "redis_port", "redis_password", "redis_db", "redis_username", "redis_ssl")
"""Keys of ``router_settings``; in other places they stand without ``redis_``."""

_PLAIN = re.compile(r"rediss?://[A-Za-z0-9.-]+(:\d{1,5})?(/\d*)?", re.ASCII)
"""An address that holds no credential."""

_WORD = re.compile(r"[A-Za-z0-9.-]+", re.ASCII)
_PARTS = frozenset(key.removeprefix("redis_") for key in REDIS)
_UNSUPPORTED = frozenset(
    {"azure_redis_ad_token", "gcp_service_account", "redis_startup_nodes", "startup_nodes", "sentinel_nodes"}
)
_SHARED = (
    "replicas share limits, and what they learn of deployments, through this Redis; the relay keeps no answers in it"
)
_CACHE = "the relay caches no answers, so this is no setting of it"
_ANOTHER = "another Redis of this file is the store that replicas share"


@dataclass(slots=True)
class Redis:
    """Collects where a Redis is said to be; the first place that names a host or an address counts."""

    draft: Draft
    _places: dict[str, dict[str, Node]] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Take a key of ``router_settings``, or a mapping that describes a Redis."""
        if not node.table:
            self._places.setdefault("router", {})[node.path.rpartition(".")[2].removeprefix("redis_")] = node
            return
        kind = node.table.get("type")
        place = "router" if node.path.endswith(".cache_kwargs") else node.path
        if kind is None or (kind.text or "").startswith("redis"):
            self._places.setdefault(place, {}).update(
                {key: child for key, child in node.table.items() if key in _PARTS and not child.empty}
            )
        for key, child in node.table.items():
            if key in _UNSUPPORTED:
                self.draft.report.dropped(child, "the relay signs in to one Redis server, by user name and password")
        if kind is not None and place in self._places:
            self._places[place]["type"] = kind

    def finish(self) -> None:
        """Write the store, and report every key that was taken."""
        report = self.draft.report
        ranked = sorted(self._places.items(), key=lambda place: (place[0] != "router", "cache_params" in place[0]))
        usable = [(name, parts) for name, parts in ranked if parts.keys() & {"url", "host"}]
        for name, parts in ranked:
            if usable and name == usable[0][0]:
                self._write(parts)
            else:
                for node in parts.values():
                    report.rest_dropped(node, _ANOTHER if usable else _CACHE)

    def _write(self, parts: dict[str, Node]) -> None:
        report = self.draft.report
        self.draft.set(("stores",), "quota", self._address(parts))
        report.extras.add("redis")
        for node in parts.values():
            report.approximated(node, "stores.quota", _SHARED)

    def _address(self, parts: dict[str, Node]) -> str | dict[str, str]:
        if "url" in parts:
            text = parts["url"].text or ""
            meaning = "the address of the Redis that replicas share"
            return text if _PLAIN.fullmatch(text) else self.draft.secret(parts["url"], "REDIS_URL", meaning)
        encrypted = "ssl" in parts and parts["ssl"].flag
        host = self.draft.given(parts.get("host"))
        port = self.draft.given(parts.get("port")) if "port" in parts else Given(text="6379")
        database = self.draft.given(parts.get("db")) if "db" in parts else Given(text="0")
        words: list[Given | str] = ["rediss://" if encrypted else "redis://"]
        if "password" in parts or "username" in parts:
            words += [self._secret(parts, "username"), ":", self._secret(parts, "password"), "@"]
        words += [host, ":", port, "/", database]
        plain = "".join(word if isinstance(word, str) else word.text or "" for word in words)
        known = all(isinstance(word, str) or word.variable is None for word in words)
        if known and _PLAIN.fullmatch(plain):
            return plain
        sound = all(given.text is None or _WORD.fullmatch(given.text) for given in (host, port, database))
        name = self.draft.unused("REDIS_URL")
        meaning = "the address of the Redis that replicas share; percent-encode what is special in a password"
        self.draft.report.need(Variable(name, meaning, joined(words) if sound else None, secret=True))
        return {"env": name}

    def _secret(self, parts: dict[str, Node], key: str) -> Given:
        node = parts.get(key)
        if node is None:
            return Given()
        return Given(variable=self.draft.secret(node, f"REDIS_{key}", f"the {key} of the Redis")["env"])
