"""A configuration of LiteLLM's proxy as one of the relay, with a report of what became of each value."""

from collections.abc import Mapping

from chukei.configuring import litellm_logs
from chukei.configuring.import_draft import Draft, Imported, reference, target
from chukei.configuring.import_source import Node, Source
from chukei.configuring.litellm_models import Models
from chukei.configuring.litellm_reasons import TOP
from chukei.configuring.litellm_redis import Redis
from chukei.configuring.litellm_settings import SECTIONS, Settings
from chukei.configuring.litellm_upstreams import Origin, Upstream
from chukei.configuring.report import Report, Variable, quoted


def import_litellm(source: Source, name: str, values: Mapping[str, str] | None = None) -> Imported:
    """Translate a configuration.

    ``name`` is the file's, for the head of the result. ``values`` are values of variables that are no secrets.
    """
    report = Report()
    root = source.root
    stated = _stated(root)
    draft = Draft(report, known={**stated, **(values or {})}, reserved=_variables(root))
    credentials = _credentials(root)
    settings_node = root.table.get("litellm_settings")
    defaults = settings_node.table if settings_node else {}
    refresh = defaults.get("enable_azure_ad_token_refresh")
    models = Models(draft, Origin(credentials, defaults, bool(refresh and refresh.flag)))
    entries = root.table.get("model_list")
    models.read(entries.items if entries else ())
    settings = Settings(draft, models, Redis(draft))
    for section, handlers, reasons in SECTIONS:
        if section in root.table:
            settings.read(root.table[section], handlers, reasons)
    settings.finish()
    _rest(root, draft, models)
    if models.groups and draft.get(("auth",), "api_key") is None:
        report.assume(_OPEN)
    for unread in sorted(set(values or ()) - _variables(root)):
        report.assume(f"a value for {unread} was stated, and the file names no such variable")
    report.finish(source)
    return Imported(_result(draft, models, name), report)


def _stated(root: Node) -> dict[str, str]:
    """Return the variables that the file itself sets, for use where no secret can be."""
    node = root.table.get("environment_variables")
    found = {key: each.text for key, each in (node.table.items() if node else ())}
    return {key: text for key, text in found.items() if text is not None and reference(text) is None}


def _variables(root: Node) -> set[str]:
    names = {reference(leaf.text) for leaf in root.leaves() if leaf.text}
    stated = root.table.get("environment_variables")
    return {name for name in names if name} | set(stated.table if stated else ())


def _credentials(root: Node) -> dict[str, Node]:
    node = root.table.get("credential_list")
    found = {}
    for each in node.items if node else ():
        name, values = each.table.get("credential_name"), each.table.get("credential_values")
        if name is not None and name.text and values is not None:
            found[name.text] = values
    return found


def _rest(root: Node, draft: Draft, models: Models) -> None:
    """Report the sections that are neither models nor settings."""
    report = draft.report
    _wildcards(draft, models)
    _named_credentials(root, models, draft)
    _environment(root, draft)
    logs = root.table.get("callback_settings")
    for each in logs.table.values() if logs else ():
        if "message_logging" in each.table:
            litellm_logs.no_content(draft, each.table["message_logging"])
        report.rest_dropped(each, "is for a callback of LiteLLM: docs/telemetry.md has the relay's settings")
    for key, reason in TOP.items():
        if key in root.table:
            report.rest_dropped(root.table[key], reason)
    entries = root.table.get("model_list")
    if entries is not None and not entries.items:
        report.rest_dropped(entries, "has no models; those that live in LiteLLM's database are not in the file")


def _wildcards(draft: Draft, models: Models) -> None:
    """Report entries for every deployment. One that stands alone is the relay's resource without a configuration."""
    alone = len(models.wildcards) == 1 and not models.groups
    for entry, reading in models.wildcards:
        if not alone:
            draft.report.rest_dropped(entry, _NO_WILDCARD)
            continue
        upstream = reading.upstream(reading.target())
        if upstream.api_key is None:
            draft.report.extras.add("identity")
        notes = {node.path for node, kind, _, _ in reading.notes if kind != "dropped"}
        for leaf in entry.leaves():
            if leaf.path in notes or leaf.path.endswith(".model_name"):
                draft.report.approximated(leaf, "AZURE_OPENAI_ENDPOINT", _ANY_NAME)
        draft.report.rest_dropped(entry, _NO_WILDCARD_KEYS)
        _open_resource(draft, upstream)


def _open_resource(draft: Draft, upstream: Upstream) -> None:
    def shown(text: str | None, variable: str | None) -> str | None:
        return quoted(text) if text is not None else f'"${variable}"' if variable else None

    need = draft.report.need
    value = shown(upstream.address.text, upstream.address.variable)
    need(Variable("AZURE_OPENAI_ENDPOINT", "the resource, any of whose deployments clients may name", value))
    if upstream.api_key is not None and upstream.api_key != "AZURE_OPENAI_API_KEY":
        value = f'"${upstream.api_key}"'
        need(Variable("AZURE_OPENAI_API_KEY", "the resource's key", value, secret=True))
    version = shown(upstream.version.text, upstream.version.variable)
    if version is not None:
        need(Variable("AZURE_OPENAI_API_VERSION", "the API version", version))


def _named_credentials(root: Node, models: Models, draft: Draft) -> None:
    node = root.table.get("credential_list")
    used = {
        name.text
        for group in models.groups.values()
        for member in group.members
        if (name := member.params.table.get("litellm_credential_name")) is not None
    }
    for group in models.groups.values():
        for member in group.members:
            name = member.params.table.get("litellm_credential_name")
            if name is not None and not draft.report.has(name):
                draft.report.mapped(
                    name, target("deployments", member.name), "what it names stands in the deployment's table"
                )
    for each in node.items if node else ():
        given = each.table.get("credential_name")
        if given is not None and given.text in used:
            for key in ("credential_name", "credential_values"):
                if key in each.table:
                    draft.report.mapped(
                        each.table[key], "deployments", "is in the tables of the deployments that name it"
                    )
        draft.report.rest_dropped(each, "describes the credential, or no model that was imported names it")


def _environment(root: Node, draft: Draft) -> None:
    node = root.table.get("environment_variables")
    for key, each in node.table.items() if node else ():
        if key in draft.report.variables:
            draft.report.approximated(each, key, "set this variable where the relay runs; a file cannot set it")
        elif key in draft.known and f"os.environ/{key}" in _texts(root):
            draft.report.mapped(each, None, "stands where the file refers to it")
        else:
            draft.report.dropped(each, "nothing that was imported reads this variable")


def _texts(root: Node) -> set[str]:
    return {leaf.text for leaf in root.leaves() if leaf.text}


def _result(draft: Draft, models: Models, name: str) -> str | None:
    if not models.groups and not any(key == "AZURE_OPENAI_ENDPOINT" for key in draft.report.variables):
        return None
    return draft.render(name, "litellm")


_OPEN = (
    "without a master_key in the file: LiteLLM takes it from LITELLM_MASTER_KEY, and older versions serve everybody; "
    "the relay serves this machine only, until it has a key: docs/access.md"
)
_NO_WILDCARD = "a model of the relay is one name; add [models.NAME] for each deployment that clients use"
_NO_WILDCARD_KEYS = "has no place beside a resource that serves any name"
_ANY_NAME = (
    "a relay without [deployments] serves any deployment of one resource, which variables name; clients then name a "
    "deployment as it is, without azure/ in front"
)
