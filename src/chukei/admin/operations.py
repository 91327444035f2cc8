"""The operations of the administrators' API, with texts and examples for its OpenAPI description."""

from dataclasses import dataclass

from msgspec import Struct

from chukei.accounts.ledger import By
from chukei.admin import schemas
from chukei.admin.examples import CALLER, CHANGE, CSV, DEPLOYMENT, ID, KEY, LEFT, LEVELS, MADE, ROW, RULE, SIGN_IN
from chukei.admin.live_example import LIVE


@dataclass(frozen=True, slots=True)
class Operation:
    """The description of one method of one route.

    ``outcome`` describes the answer with ``status``. ``answer`` is an example of the answer, and ``body`` one of the
    request; their classes are the schemas. ``csv`` is an example of an answer as CSV. If ``events``, the answer is a
    stream of server-sent events, each of which has such data. If ``open``, it needs no credential. ``errors`` and
    ``parameters`` are names of components of the description.
    """

    name: str
    tag: str
    summary: str
    description: str
    outcome: str
    answer: Struct
    errors: tuple[str, ...]
    status: int = 200
    csv: str = ""
    body: Struct | None = None
    body_required: bool = True
    parameters: tuple[str, ...] = ()
    events: bool = False
    open: bool = False


_ACCESS = ("Unauthorized", "Forbidden", "TooManyFailures", "IdentityUnavailable")


OPERATIONS = {
    ("GET", "/sign-in"): Operation(
        name="getSignIn",
        tag="access",
        summary="Show how a page signs somebody in",
        description="Needs no credential.",
        outcome="What the authorization code flow needs, or null where Entra ID is not configured.",
        answer=SIGN_IN,
        errors=(),
        open=True,
    ),
    ("GET", "/session"): Operation(
        name="getSession",
        tag="access",
        summary="Show who is signed in",
        description="",
        outcome="The name in the record of changes, and whether changes are allowed.",
        answer=schemas.Session("key 3f9a01c2", None, may_change=True),
        errors=_ACCESS,
    ),
    ("GET", "/usage"): Operation(
        name="getUsage",
        tag="usage",
        summary="Sum what was used",
        description="One row for each combination of what `by` names. The largest use of tokens comes first, but where "
        "`by` begins with `day` or `hour`, the earliest. Usage by `hour` is for at most 31 days.",
        outcome="The rows.",
        answer=schemas.Usage(
            by=[By.CALLER, By.MODEL], since="2026-10-23T09:30:00+00:00", until=None, currency="USD", rows=1, data=[ROW]
        ),
        csv=CSV,
        errors=("BadRequest", *_ACCESS, "LedgerUnavailable"),
        parameters=(
            *("by", "since", "until", "caller", "group", "model", "end-reason", "code", "outcome", "limit", "format"),
        ),
    ),
    ("DELETE", "/usage"): Operation(
        name="forgetCaller",
        tag="usage",
        summary="Delete all entries of one caller",
        description="For a person's right to be forgotten. What waits in a spool of another process, because the "
        "database is away from it, arrives later.",
        outcome="How many entries there were.",
        answer=schemas.Deleted(deleted=128),
        errors=("BadRequest", *_ACCESS, "LedgerUnavailable"),
        parameters=("whose",),
    ),
    ("GET", "/callers"): Operation(
        name="findCallers",
        tag="callers",
        summary="Find callers",
        description="All that the ledger, the keys, the configuration or the rules name. Those with most tokens since "
        "then come first.",
        outcome="The callers.",
        answer=schemas.Callers(since="2026-10-23T09:30:00+00:00", currency="USD", rows=1, data=[CALLER]),
        errors=("BadRequest", *_ACCESS, "LedgerUnavailable"),
        parameters=("find", "since", "callers", "offset"),
    ),
    ("GET", "/callers/{caller}"): Operation(
        name="getCaller",
        tag="callers",
        summary="Show a caller's groups, limits and keys",
        description="What is left of the limits is as the process that answers counts it. With a shared store of "
        "quotas all processes count together.",
        outcome="The caller.",
        answer=schemas.Caller(
            caller="team-search",
            last_seen=CALLER.last_seen,
            currency="USD",
            memberships=[schemas.Membership(["research"], [f"key {ID}"], [LEFT])],
            rule=schemas.Rule("caller:team-search", {}, {}, None),
            keys=[KEY],
        ),
        errors=(*_ACCESS, "NoSuchCaller", "QuotaUnavailable"),
    ),
    ("GET", "/groups"): Operation(
        name="listGroups",
        tag="callers",
        summary="List the groups, their limits, and what is left of their totals",
        description="",
        outcome="The groups in the order of the configuration, then `everybody`.",
        answer=schemas.Groups(
            currency="USD",
            data=[
                schemas.Group(
                    group="research",
                    limits=[schemas.LimitSet("concurrent", 8, "groups.research.limits.concurrent")],
                    total=[LEFT],
                    rule=schemas.Rule("group:research", {}, {}, None),
                )
            ],
        ),
        errors=(*_ACCESS, "QuotaUnavailable"),
    ),
    ("GET", "/keys"): Operation(
        name="listKeys",
        tag="keys",
        summary="List keys, the newest first",
        description="Those that have ended included. What opens is kept nowhere and cannot be shown again.",
        outcome="The keys.",
        answer=schemas.Keys(data=[KEY], rows=1),
        errors=("BadRequest", *_ACCESS, "LedgerUnavailable"),
        parameters=("find_key", "state", "most_keys", "offset"),
    ),
    ("POST", "/keys"): Operation(
        name="createKey",
        tag="keys",
        summary="Make a key",
        description="The answer is the only place where the key itself is ever shown.",
        outcome="The key.",
        answer=MADE,
        status=201,
        body=schemas.NewKey(caller="team-search", group="research", expires=KEY.expires, note="nightly jobs"),
        errors=("BadRequest", *_ACCESS, "TooLarge", "LedgerUnavailable"),
    ),
    ("POST", "/keys/{id}/rotate"): Operation(
        name="rotateKey",
        tag="keys",
        summary="Make a key that replaces another",
        description="The new one has the old one's caller, group, note and lifetime. The old one goes on working for a "
        "while, but never beyond its own end.",
        outcome="The new key.",
        answer=MADE,
        status=201,
        body=schemas.Rotation(),
        body_required=False,
        errors=("BadRequest", *_ACCESS, "NoSuchKey", "TooLarge", "LedgerUnavailable"),
    ),
    ("POST", "/keys/{id}/revoke"): Operation(
        name="revokeKey",
        tag="keys",
        summary="End a key now",
        description="Every relay with the same database refuses it within seconds. A second time changes nothing.",
        outcome="It has ended.",
        answer=schemas.Revoked(id=ID, state="revoked"),
        errors=(*_ACCESS, "NoSuchKey", "LedgerUnavailable"),
    ),
    ("GET", "/deployments"): Operation(
        name="getDeployments",
        tag="state",
        summary="Show how each deployment is doing",
        description="",
        outcome="The deployments of each model, as this relay sees them.",
        answer=schemas.Deployments(models={"gpt-4o": [DEPLOYMENT]}),
        errors=_ACCESS,
    ),
    ("GET", "/ledger"): Operation(
        name="getLedger",
        tag="state",
        summary="Show how the ledger's writing goes",
        description="",
        outcome="The state of this relay's writing.",
        answer=schemas.Ledger(
            status="ok", waiting=0, spooled=0, lost=0, last_written="2026-11-22T09:30:00+00:00", last_error=None
        ),
        errors=_ACCESS,
    ),
    ("GET", "/rules"): Operation(
        name="listRules",
        tag="rules",
        summary="List the limits and groups that administrators have set",
        description="They precede those of the configuration, which are not listed.",
        outcome="What is set.",
        answer=schemas.Rules(data=[RULE]),
        errors=(*_ACCESS, "LedgerUnavailable"),
    ),
    ("POST", "/rules"): Operation(
        name="changeRules",
        tag="rules",
        summary="Set limits or groups of a caller or a group",
        description="Every relay with the same database applies it to new requests within six seconds, the one that "
        "answers at once. What is used already counts. The change is recorded.",
        outcome="What is set now.",
        answer=RULE,
        body=schemas.RuleChange("caller:team-search", limits={"tokens_per_minute": 50000, "concurrent": None}),
        errors=("BadRequest", *_ACCESS, "TooLarge", "LedgerUnavailable"),
    ),
    ("GET", "/changes"): Operation(
        name="listChanges",
        tag="audit",
        summary="List what administrators have changed, the newest first",
        description="Keys, limits and groups, deletions, levels of the log, and reloads.",
        outcome="Who changed what and when.",
        answer=schemas.Changes([CHANGE], more=False),
        errors=("BadRequest", *_ACCESS, "LedgerUnavailable"),
        parameters=("most_changes", "before"),
    ),
    ("GET", "/configuration"): Operation(
        name="getConfiguration",
        tag="state",
        summary="Show the settings in force",
        description="After the last reload, in this process. No secret is in it: not in an address, a header or a "
        "connection string either.",
        outcome="The settings.",
        answer=schemas.Configuration(
            version="4be1c5a0f3d2",
            path="relay.toml",
            files=["relay.toml"],
            simulated=False,
            notices=[],
            settings={
                "server": {"host": "127.0.0.1", "port": 7221},
                "admin": {"api_key": "set"},
                "callers": {"team-search": {"limits": {"tokens_per_minute": 50000}}},
            },
            places=[
                schemas.SettingPlace(["admin", "api_key"], "CHUKEI_ADMIN__API_KEY"),
                schemas.SettingPlace(["callers", "team-search", "limits", "tokens_per_minute"], "relay.toml"),
            ],
            restart=["server.host", "server.port"],
        ),
        errors=_ACCESS,
    ),
    ("POST", "/reload"): Operation(
        name="reload",
        tag="state",
        summary="Read the configuration again",
        description="The other workers of this relay are told to do the same; other replicas are not. Running requests "
        "do not notice. The answer names keys, and shows no values.",
        outcome="What has changed, and what needs a restart.",
        answer=schemas.Reloaded(
            version="4be1c5a0f3d2",
            changed=["callers.team-search.limits.tokens_per_minute"],
            added=["models.gpt-5"],
            removed=[],
            files=[],
            restart=["server.port"],
        ),
        body=schemas.Reload(),
        body_required=False,
        errors=("BadRequest", *_ACCESS, "Refused", "TooLarge"),
    ),
    ("GET", "/log-level"): Operation(
        name="getLogLevels",
        tag="state",
        summary="Show the levels of the log",
        description="",
        outcome="The levels in each worker process.",
        answer=LEVELS,
        errors=_ACCESS,
    ),
    ("PUT", "/log-level"): Operation(
        name="setLogLevel",
        tag="state",
        summary="Change the level of the log, for a time",
        description="It changes in every worker process of the relay that answers. A worker that starts later takes "
        "the changes over from the others. Each process logs the change, and its end, at every level.",
        outcome="The levels in each worker process.",
        answer=LEVELS,
        body=schemas.LogLevelChange("debug", "chukei", 600.0),
        errors=("BadRequest", *_ACCESS, "TooLarge"),
    ),
    ("GET", "/live/events"): Operation(
        name="watch",
        tag="state",
        summary="Watch what happens now",
        description="A stream of server-sent events, one each second, until either side ends it. Each event's data is "
        "this object. All processes of this relay are in it; other replicas are not. A viewer that reads slowly gets "
        "the latest event, not those before.",
        outcome="The stream.",
        answer=LIVE,
        errors=("BadRequest", *_ACCESS, "TooManyViewers"),
        events=True,
    ),
}
"""The operations by method and by path after ``/admin``."""
