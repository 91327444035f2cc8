"""LiteLLM's ``litellm_settings``, ``router_settings`` and ``general_settings`` as settings of the relay."""

from collections.abc import Callable, Mapping

from chukei.configuring import litellm_logs, litellm_numbers
from chukei.configuring.import_draft import Draft, target
from chukei.configuring.import_source import Node
from chukei.configuring.litellm_models import Models
from chukei.configuring.litellm_reasons import GENERAL, LITELLM, ROUTER
from chukei.configuring.litellm_redis import REDIS, Redis
from chukei.configuring.report import Variable

_MONTH = ("30d", "31d", "1mo")

_STRATEGY = (
    "the relay has one way: tiers by priority, exact shares by weight, among equals the fewest outstanding tokens"
)
_MASTER = (
    "clients that send the master key go on to do so: it is the key that all share. It does not open the relay's "
    "administration: set admin.api_key to another key, of 16 characters or more, for that"
)
_LEDGER = (
    "the ledger and callers' keys need a PostgreSQL database of their own; make one, and set {} to it. "
    "Keys, teams and spend of LiteLLM's database cannot be taken over: it has hashes of keys only"
)
_BUDGET = "models without prices are not limited; LiteLLM has prices of its own, the relay those of the file only"
_FALLBACK = (
    "the other model's deployments are the next tiers of this one: asked when none of its own is available or one "
    "fails before the first output. The model's own parameters apply there too"
)

Handler = Callable[["Settings", Node], None]


class Settings:
    """Writes the settings of the relay that LiteLLM's sections imply."""

    def __init__(self, draft: Draft, models: Models, redis: Redis) -> None:
        self.draft = draft
        self._report = draft.report
        self._models = models
        self._redis = redis
        self._fallbacks: dict[str, list[str]] = {}
        self._general_fallbacks: list[str] = []
        self._section: Node | None = None
        self._left: list[tuple[Node, str]] = []

    def read(self, section: Node, handlers: "Mapping[str, Handler]", reasons: Mapping[str, str]) -> None:
        """Read one section; leave keys that nothing knows to the report's end."""
        self._section = section
        for key, node in section.table.items():
            if key in handlers and not node.empty:
                handlers[key](self, node)
            if key in reasons or key in handlers:
                self._left.append((node, reasons.get(key, "says nothing, or nothing that the relay could use")))

    def finish(self) -> None:
        """Write what needs all sections, and report what handlers have left of their keys."""
        for name, others in self._fallbacks.items():
            self._models.fall_back(name, others)
        for name in self._models.groups:
            if name not in self._fallbacks and self._general_fallbacks:
                self._models.fall_back(name, self._general_fallbacks)
        attempts = self.draft.get(("pool",), "attempts")
        if isinstance(attempts, int) and (self._fallbacks or self._general_fallbacks):
            self.draft.set(("pool",), "attempts", min(attempts + 1, 100), "one more than the retries, for fallbacks")
        self._redis.finish()
        for node, reason in self._left:
            self._report.rest_dropped(node, reason)

    def budget(self, node: Node) -> None:
        """``max_budget`` with ``budget_duration``."""
        span = self._section.table.get("budget_duration") if self._section else None
        if span is None or span.text not in _MONTH:
            for each in (node, span):
                if each is not None:
                    self._report.dropped(each, LITELLM["max_user_budget"])
            return
        found = litellm_numbers.number_of(self.draft, node, "groups.everybody.total.money_per_month", 0, 1e9)
        if found is not None:
            self.draft.set(("groups", "everybody", "total"), "money_per_month", found, f"from {node.path}")
            self._report.approximated(node, "groups.everybody.total.money_per_month", _BUDGET)
        self._report.approximated(
            span, "groups.everybody.total.money_per_month", "the relay counts calendar months in UTC"
        )

    def default_model(self, node: Node) -> None:
        """``completion_model``: the model of requests that name none."""
        if node.text in self._models.groups:
            self.draft.set(("defaults",), "model", node.text or "", f"from {node.path}")
            self._report.mapped(node, "defaults.model", "the model for requests that name none")
        else:
            self._report.rest_dropped(node, "names no model that was imported")

    # lists and names

    def routing(self, node: Node) -> None:
        """``routing_strategy``."""
        self._report.approximated(node, "pool", _STRATEGY)

    def aliases(self, node: Node) -> None:
        """``model_group_alias``."""
        for name, each in node.table.items():
            other = each.table.get("model", each)
            hidden = each.table.get("hidden")
            if self._models.alias(name, other.text or ""):
                self._report.mapped(other, target("models", name), "a second name for the same deployments")
                if hidden is not None:
                    self._report.dropped(hidden, "a model of the relay is in the list of models for all who may use it")
            else:
                self._report.rest_dropped(each, "names no model that was imported, or cannot be a model's name")

    def fallbacks(self, node: Node) -> None:
        """``fallbacks``: a list of mappings from a group to other groups."""
        for row in node.items or [node]:
            for name, others in row.table.items():
                self._fallback(name, others.items or ([others] if others.text else []))

    def default_fallbacks(self, node: Node) -> None:
        """``default_fallbacks``."""
        self._fallback("*", node.items)

    def _fallback(self, name: str, others: list[Node]) -> None:
        groups = self._models.groups
        known = self._general_fallbacks if name == "*" else self._fallbacks.setdefault(name, [])
        for each in others:
            other = each.table.get("model", each)
            for key, value in each.table.items():
                if key != "model":
                    self._report.rest_dropped(value, "a fallback has the address, key and parameters of its own model")
            if name != "*" and name not in groups:
                self._report.rest_dropped(other, "is a fallback of a model that was not imported")
            elif other.text not in groups or other.text == name:
                self._report.rest_dropped(other, "is no model that was imported, so that nothing can be asked there")
            else:
                known.append(other.text or "")
                place = target("models", name, "deployments")
                self._report.approximated(other, place, _FALLBACK)
        if not known:
            self._fallbacks.pop(name, None)

    def affinity(self, node: Node) -> None:
        """``optional_pre_call_checks`` and what belongs to it."""
        message = "requests of one session, caller or prompt go to one deployment by default, as do stored responses"
        self._report.approximated(node, "pool.affinity", message)

    # credentials and stores

    def master_key(self, node: Node) -> None:
        """``master_key``."""
        if node.text is None or node.table or node.items:
            return
        self.draft.set(("auth",), "api_key", self.draft.secret(node, "RELAY_KEY", "the key that all clients share"))
        self.draft.table("auth").absent.append('[admin] api_key = { env = "ADMIN_KEY" } opens the administration')
        self._report.approximated(node, "auth.api_key", _MASTER)

    def database(self, node: Node) -> None:
        """``database_url``."""
        name = self.draft.unused("LEDGER_URL")
        self.draft.set(("stores",), "ledger", {"env": name})
        meaning = "the address of a PostgreSQL database for the ledger and callers' keys, not LiteLLM's own"
        self._report.need(Variable(name, meaning, secret=True))
        self._report.extras.add("postgres")
        self._report.approximated(node, "stores.ledger", _LEDGER.format(name))

    def redis(self, node: Node) -> None:
        """Any of the keys that say where the router's Redis is."""
        self._redis.add(node)

    def token_refresh(self, node: Node) -> None:
        """``enable_azure_ad_token_refresh``."""
        message = "deployments without a key use Entra ID, with tokens that the relay renews" if node.flag else _SAME
        self._report.mapped(node, "deployments.*.identity", message)

    def credential(self, node: Node) -> None:
        """Keys that LiteLLM's entries use if they have none of their own."""
        self._report.mapped(node, "deployments", LITELLM["api_key"])


_SAME = "the relay does so by default"


def _plain(function: Callable[[Draft, Node], None]) -> Handler:
    return lambda settings, node: function(settings.draft, node)


IN_BOTH: dict[str, Handler] = {
    "num_retries": _plain(litellm_numbers.retries),
    "allowed_fails": _plain(litellm_numbers.allowed_fails),
    "cooldown_time": _plain(litellm_numbers.cooldown),
    "fallbacks": Settings.fallbacks,
    "default_fallbacks": Settings.default_fallbacks,
    "model_group_alias": Settings.aliases,
}
"""Keys that LiteLLM knows in ``litellm_settings`` and in ``router_settings``."""

IN_LITELLM: dict[str, Handler] = {
    **IN_BOTH,
    "request_timeout": _plain(litellm_numbers.whole_timeout),
    "json_logs": _plain(litellm_logs.json_logs),
    "set_verbose": _plain(litellm_logs.verbose),
    "turn_off_message_logging": _plain(litellm_logs.no_content),
    "redact_messages_in_exceptions": _plain(litellm_logs.no_content),
    "redact_user_api_key_info": _plain(litellm_logs.no_names),
    "telemetry": _plain(litellm_logs.no_telemetry),
    "callbacks": _plain(litellm_logs.callbacks),
    "success_callback": _plain(litellm_logs.callbacks),
    "failure_callback": _plain(litellm_logs.callbacks),
    "service_callback": _plain(litellm_logs.callbacks),
    "service_callbacks": _plain(litellm_logs.callbacks),
    "max_budget": Settings.budget,
    "enable_azure_ad_token_refresh": Settings.token_refresh,
    "cache_params": Settings.redis,
    "api_key": Settings.credential,
    "api_base": Settings.credential,
    "api_version": Settings.credential,
}
IN_ROUTER: dict[str, Handler] = {
    **IN_BOTH,
    "stream_timeout": _plain(litellm_numbers.stream_timeout),
    "disable_cooldowns": _plain(litellm_numbers.no_cooldowns),
    "routing_strategy": Settings.routing,
    "default_max_parallel_requests": _plain(litellm_numbers.deployment_concurrency),
    "optional_pre_call_checks": Settings.affinity,
    "model_group_affinity_config": Settings.affinity,
    "deployment_affinity_ttl_seconds": Settings.affinity,
    **dict.fromkeys(REDIS, Settings.redis),
    "cache_kwargs": Settings.redis,
}
IN_GENERAL: dict[str, Handler] = {
    "master_key": Settings.master_key,
    "database_url": Settings.database,
    "completion_model": Settings.default_model,
    "max_parallel_requests": _plain(litellm_numbers.deployment_concurrency),
    "global_max_parallel_requests": _plain(litellm_numbers.all_concurrency),
    "max_request_size_mb": _plain(litellm_numbers.body_size),
    "maximum_spend_logs_retention_period": _plain(litellm_numbers.retention),
    "coordination_redis": Settings.redis,
}

SECTIONS: tuple[tuple[str, Mapping[str, Handler], Mapping[str, str]], ...] = (
    ("router_settings", IN_ROUTER, ROUTER),
    ("litellm_settings", IN_LITELLM, LITELLM),
    ("general_settings", IN_GENERAL, GENERAL),
    ("router_settings", {"timeout": _plain(litellm_numbers.whole_timeout)}, {}),
)
"""The handlers of each section, and the reasons for what is dropped of it, in LiteLLM's order of precedence."""
