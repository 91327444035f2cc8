"""One entry of LiteLLM's ``model_list`` as one of the relay's deployments."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chukei.config.endpoints import clean_endpoint
from chukei.configuring.import_draft import Draft, Given, reference
from chukei.configuring.import_draft import target as path_of
from chukei.configuring.import_source import Node
from chukei.configuring.litellm_endpoints import V1_NAMES, Address, Target, address, is_dated, target
from chukei.configuring.report import Variable

SCOPE = "https://cognitiveservices.azure.com/.default"
"""The default of both, LiteLLM and the relay."""

_SCOPES = re.compile(r"(https|api)://[A-Za-z0-9./-]+", re.ASCII)
_PRINCIPALS = re.compile(r"[0-9A-Fa-f-]{36}|[a-z0-9.-]+\.(com|us|cn)", re.ASCII)
"""Ids of tenants and of applications, and names of tenants."""

_IDS = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_PRINCIPAL = {"tenant_id": "AZURE_TENANT_ID", "client_id": "AZURE_CLIENT_ID", "client_secret": "AZURE_CLIENT_SECRET"}
_VERSION_IN_ADDRESS = (
    "only the resource's address stays, and the version in it counts; LiteLLM 1.108 asks for one of its own instead"
)
_IDENTITY = ("azure_ad_token", "azure_username", "azure_password")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A deployment and how it is reached, without a name. ``unusable`` tells apart what cannot be copied."""

    address: Given
    unusable: str | None = field(repr=False)
    deployment: Given
    version: Given
    api_key: str | None
    scope: Given = field(default_factory=Given)
    client_id: Given = field(default_factory=Given)
    max_concurrent: int | None = None

    def write(self, draft: Draft, name: str) -> None:
        """Write the deployment's table."""
        path = ("deployments", name)
        draft.table(*path)
        if self.address.text is not None:
            draft.set(path, "endpoint", self.address.text)
            self._allow(draft, self.address.text)
        else:
            draft.from_variable(path, "endpoint", self.address.variable, f"the resource's address for {name}")
        self._write_name(draft, path, name)
        self._write_credential(draft, path)
        self._plain(draft, path, "api_version", self.version, "the API version; v1 for preview and latest")
        if self.max_concurrent is not None:
            draft.set(path, "max_concurrent", self.max_concurrent)

    @staticmethod
    def _allow(draft: Draft, endpoint: str) -> None:
        if clean_endpoint(endpoint, plain_http=False)[1] is not None:
            draft.set(("upstream",), "plain_http", True, "keys are sent unencrypted to http:// endpoints")
            draft.report.assume(
                "an endpoint is plain http, so upstream.plain_http is true: its key is sent unencrypted"
            )

    def _write_name(self, draft: Draft, path: tuple[str, ...], name: str) -> None:
        if self.deployment.text is None:
            value = f'"${{{self.deployment.variable}#azure/}}"'
            meaning = "the deployment's name, without azure/ in front"
            draft.from_variable(path, "deployment", self.deployment.variable, meaning, value)
        elif self.deployment.text != name:
            draft.set(path, "deployment", self.deployment.text)

    def _write_credential(self, draft: Draft, path: tuple[str, ...]) -> None:
        if self.api_key is not None:
            draft.set(path, "api_key", {"env": self.api_key})
            return
        draft.report.extras.add("identity")
        draft.set(path, "identity", True)
        if self.scope.text != SCOPE:
            self._plain(draft, path, "scope", self.scope, "the scope of the token")
        self._plain(draft, path, "client_id", self.client_id, "the client id of the user-assigned identity")

    @staticmethod
    def _plain(draft: Draft, path: tuple[str, ...], key: str, given: Given, meaning: str) -> None:
        if given.text is not None:
            draft.set(path, key, given.text)
        elif given.variable is not None:
            draft.from_variable(path, key, given.variable, meaning)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where LiteLLM takes what an entry leaves out.

    ``credentials`` are those of ``credential_list`` by name, ``defaults`` the keys of ``litellm_settings``; ``refresh``
    is ``enable_azure_ad_token_refresh``.
    """

    credentials: dict[str, Node]
    defaults: dict[str, Node]
    refresh: bool


@dataclass(slots=True)
class Reading:
    """Reads one entry. ``notes`` are what to report of its keys once the deployment has a name."""

    draft: Draft
    origin: Origin
    params: Node
    notes: list[tuple[Node, str, str, str]] = field(default_factory=list)

    def target(self) -> Target:
        """Return what an entry calls.

        Raises:
            NotAzure: it is no deployment of Azure.
        """
        base, where = self._base()
        version = self.draft.given(self._find("api_version"))
        provider = self.params.table.get("custom_llm_provider")
        model = self.params.table.get("model")
        versioned = bool(version.text or version.variable or where.api_version)
        found = target(self.draft.given(model), provider.text if provider else None, base, where, versioned=versioned)
        if provider is not None:
            self._say(provider, "endpoint", None)
        if model is not None:
            self._say(model, "deployment", found.difference)
        return found

    def upstream(self, found: Target) -> Upstream:
        """Return how a deployment is reached; ask for the variables that it takes."""
        base, where = self._base()
        upstream = Upstream(
            address=self._endpoint(base, where),
            unusable=base.text if where.problem else None,
            deployment=found.deployment,
            version=self._version(where, self.draft.given(self._find("api_version")), found),
            api_key=self._credential(where, found).get("api_key"),
        )
        if upstream.api_key is None:
            upstream = replace(upstream, scope=self._scope(), client_id=self._client_id())
        return upstream

    def _base(self) -> tuple[Given, Address]:
        base = self.draft.given(self._find("api_base", "base_url"))
        return base, address(base.text) if base.text is not None else Address()

    def _find(self, *names: str) -> Node | None:
        """Return a key of the entry, else of its named credential, else of ``litellm_settings``."""
        credential = self.params.table.get("litellm_credential_name")
        named = self.origin.credentials.get(credential.text or "") if credential else None
        places = [self.params.table, named.table if named else {}, self.origin.defaults]
        return next((place[name] for place in places for name in names if name in place and place[name].text), None)

    def _say(self, node: Node, key: str, difference: str | None, outcome: str | None = None) -> None:
        """Note the outcome of a key of this entry; keys of other places are reported there."""
        if node.path.startswith(self.params.path + "."):
            kind = outcome or ("approximated" if difference else "mapped")
            self.notes.append((node, kind, key, difference or ""))

    def _endpoint(self, base: Given, where: Address) -> Given:
        node = self._find("api_base", "base_url")
        if node is None:
            self.draft.report.assume(
                "an entry without api_base: LiteLLM reads AZURE_API_BASE, so the endpoint comes from it here too"
            )
            return Given(variable="AZURE_API_BASE")
        if base.variable is not None:
            self._say(node, "endpoint", "an address cannot be a reference in the file: a variable sets it", "mapped")
            return base
        if where.endpoint is None:
            self._say(node, "endpoint", f"what stands here {where.problem}; set the endpoint by its variable")
            return Given()
        if where.api_version is not None and is_dated(where.api_version) and self._find("api_version") is None:
            self._say(node, "endpoint", _VERSION_IN_ADDRESS)
            return Given(text=where.endpoint)
        rest = "only the resource's address stays; the relay adds path and version itself"
        self._say(node, "endpoint", rest if where.path.strip("/") else None, "mapped")
        return Given(text=where.endpoint)

    def _version(self, where: Address, version: Given, found: Target) -> Given:
        node = self._find("api_version")
        if found.v1 or where.api_version == "v1":
            if node is not None:
                self._say(node, "api_version", "the resource's /openai/v1 has no dated versions")
            return Given(text="v1")
        if where.api_version is not None and is_dated(where.api_version) and node is None:
            return Given(text=where.api_version)
        if node is None:
            self.draft.report.assume(
                "an entry without api_version: LiteLLM uses AZURE_API_VERSION or a version of its own; the relay uses "
                "v1, or the version that a client names"
            )
            return Given()
        if version.variable is not None:
            self._say(node, "api_version", "a version cannot be a reference in the file: a variable sets it", "mapped")
            return version
        text = version.text or ""
        if text in V1_NAMES:
            latest = "LiteLLM calls /openai/v1 for this version, and so does the relay" if text != "v1" else None
            self._say(node, "api_version", latest)
            return Given(text="v1")
        if not is_dated(text):
            self._say(node, "api_version", "is no version of Azure OpenAI; the relay uses v1, or the client's version")
            return Given()
        self._say(node, "api_version", None)
        return version

    def _credential(self, where: Address, found: Target) -> dict[str, str]:
        key = self._find("api_key")
        if key is not None:
            label = where.label or found.deployment.text or "AZURE"
            secret = self.draft.secret(key, f"{label}_API_KEY", "the key of a resource")
            name = secret["env"]
            copied = "is not copied: it becomes a reference to a variable" if reference(key.text or "") is None else ""
            self._say(key, "api_key", copied or None, "mapped")
            self._unused(*_PRINCIPAL, *_IDENTITY, "azure_scope", why="LiteLLM prefers the key, and so it stays")
            return {"api_key": name}
        self._principal()
        tokens = [self.params.table[name] for name in _IDENTITY if name in self.params.table]
        for node in tokens:
            self._say(node, "identity", "the relay gets tokens itself, by a managed, workload or developer's identity")
        if tokens or self._find("tenant_id", "client_id", "azure_scope") is not None or self.origin.refresh:
            return {}
        self.draft.report.assume(
            "an entry without credentials: LiteLLM reads AZURE_API_KEY, so the relay does; write identity = true "
            "instead for Entra ID"
        )
        self.draft.report.need(Variable("AZURE_API_KEY", "the key of a resource", secret=True))
        return {"api_key": "AZURE_API_KEY"}

    def _principal(self) -> None:
        """Ask for the variables of a service principal, which Azure's library reads."""
        secret = self._find("client_secret")
        if secret is None:
            return
        for key, name in _PRINCIPAL.items():
            node = self._find(key)
            if node is None:
                continue
            given = self.draft.given(node)
            value = f'"${given.variable}"' if given.variable and given.variable != name else None
            if given.text is not None and _PRINCIPALS.fullmatch(given.text) and key != "client_secret":
                value = given.text
            meaning = "the service principal of the relay's identity"
            self.draft.report.need(Variable(name, meaning, value, secret=key == "client_secret"))
            message = f"the relay's identity is one service principal for all deployments, from {name}"
            self._say(node, "identity", message)

    def _scope(self) -> Given:
        return self._checked("azure_scope", "scope", _SCOPES)

    def _client_id(self) -> Given:
        if self._find("client_secret") is not None:
            return Given()
        tenant = self.params.table.get("tenant_id")
        if tenant is not None:
            self._say(tenant, "client_id", "the tenant comes with the identity")
        return self._checked("client_id", "client_id", _IDS)

    def _checked(self, name: str, key: str, form: re.Pattern[str]) -> Given:
        """Return a value that has the form of no secret, or nothing."""
        node = self._find(name)
        given = self.draft.given(node)
        if node is not None and given.text is not None and not form.fullmatch(given.text):
            self._say(node, "", f"is not what deployments.NAME.{key} could be", "dropped")
            return Given()
        if node is not None:
            self._say(node, key, None)
        return given

    def _unused(self, *names: str, why: str) -> None:
        for name in names:
            node = self.params.table.get(name)
            if node is not None:
                self._say(node, "", why, "dropped")


_SAME = {
    "deployment": "the deployment's name on its resource",
    "endpoint": "the address of the resource",
    "api_key": "a reference to the same variable",
    "api_version": "the same version",
    "scope": "the scope of the token",
    "client_id": "the user-assigned identity",
}


def report_notes(draft: Draft, notes: Iterable[tuple[Node, str, str, str]], name: str) -> None:
    """Report the keys of an entry now that its deployment has a name."""
    for node, kind, key, message in notes:
        goal = path_of("deployments", name, key)
        if kind == "dropped":
            draft.report.dropped(node, message)
        elif kind == "approximated":
            draft.report.approximated(node, goal, message)
        else:
            draft.report.mapped(node, goal, message or _SAME[key])
