"""The operations of the administrators' API, with texts and examples for its OpenAPI description."""

from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec import Struct, structs

from chukei.accounts.ledger import By
from chukei.admin import schemas
from chukei.admin.live_example import LIVE
from chukei.pool.member import Status


@dataclass(frozen=True, slots=True)
class Operation:
    """The description of one method of one route.

    ``outcome`` describes the answer with ``status``. ``answer`` is an example of the answer, and ``body`` one of the
    request; their classes are the schemas. ``csv`` is an example of an answer as CSV. If ``events``, the answer is a
    stream of server-sent events, each of which has such data. ``errors`` and ``parameters``
    are names of components of the description.
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


_ACCESS = ("Unauthorized", "TooManyFailures")
_ID = "3fQ9dLm2Xc7Z"
_KEY = schemas.Key(
    id=_ID,
    caller="team-search",
    group="research",
    state="active",
    created=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    expires=datetime(2027, 2, 20, 9, 30, tzinfo=UTC),
    revoked=None,
    note="nightly jobs",
)
_MADE = schemas.MadeKey(**structs.asdict(_KEY), key=f"chk_{_ID}_…")
_ROW = schemas.UsageRow(
    caller="team-search",
    model="gpt-4o",
    requests=128,
    failed=2,
    input=91240,
    cached=40960,
    output=30112,
    reasoning=5120,
    wasted=0,
    estimated=1,
    cost=0.529,
    unpriced=0,
    first_token_ms=412.5,
)
_CSV = """\
caller,requests,failed,input,cached,output,reasoning,wasted,estimated,cost,unpriced,first_token_ms\r
team-search,128,2,91240,40960,30112,5120,0,1,0.529,0,412.5\r
"""
_RULE = schemas.Rule("caller:team-search", limits={"tokens_per_minute": 50000}, total={}, groups=None)
_DEPLOYMENT = schemas.Deployment(
    deployment="east",
    priority=1,
    weight=1,
    status=Status.READY,
    seconds=0.0,
    why=None,
    outstanding=3,
    outstanding_tokens=5200,
    answered=1041,
    failed=2,
    last_error="timeout",
    left_out_for=0,
    first_token_p50=0.41,
    first_token_p95=1.2,
)

_LEVELS = schemas.LogLevels(
    [schemas.WorkerLevels(8, [schemas.LoggerLevel("chukei", "debug", "info", changed=True, seconds=599.9)])]
)
OPERATIONS = {
    ("GET", "/usage"): Operation(
        name="getUsage",
        tag="usage",
        summary="Sum what was used",
        description="One row for each combination of what `by` names. The largest use of tokens comes first, but where "
        "`by` begins with `day`, the earliest day.",
        outcome="The rows.",
        answer=schemas.Usage(
            by=[By.CALLER, By.MODEL], since="2026-10-23T09:30:00+00:00", until=None, rows=1, data=[_ROW]
        ),
        csv=_CSV,
        errors=("BadRequest", *_ACCESS, "LedgerUnavailable"),
        parameters=("by", "since", "until", "caller", "group", "model", "limit", "format"),
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
    ("GET", "/keys"): Operation(
        name="listKeys",
        tag="keys",
        summary="List all keys, the newest first",
        description="Those that have ended included. What opens is kept nowhere and cannot be shown again.",
        outcome="The keys.",
        answer=schemas.Keys(data=[_KEY]),
        errors=(*_ACCESS, "LedgerUnavailable"),
    ),
    ("POST", "/keys"): Operation(
        name="createKey",
        tag="keys",
        summary="Make a key",
        description="The answer is the only place where the key itself is ever shown.",
        outcome="The key.",
        answer=_MADE,
        status=201,
        body=schemas.NewKey(caller="team-search", group="research", expires=_KEY.expires, note="nightly jobs"),
        errors=("BadRequest", *_ACCESS, "TooLarge", "LedgerUnavailable"),
    ),
    ("POST", "/keys/{id}/rotate"): Operation(
        name="rotateKey",
        tag="keys",
        summary="Make a key that replaces another",
        description="The new one has the old one's caller, group, note and lifetime. The old one goes on working for a "
        "while, but never beyond its own end.",
        outcome="The new key.",
        answer=_MADE,
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
        answer=schemas.Revoked(id=_ID, state="revoked"),
        errors=(*_ACCESS, "NoSuchKey", "LedgerUnavailable"),
    ),
    ("GET", "/deployments"): Operation(
        name="getDeployments",
        tag="state",
        summary="Show how each deployment is doing",
        description="",
        outcome="The deployments of each model, as this relay sees them.",
        answer=schemas.Deployments(models={"gpt-4o": [_DEPLOYMENT]}),
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
        answer=schemas.Rules(data=[_RULE]),
        errors=(*_ACCESS, "LedgerUnavailable"),
    ),
    ("POST", "/rules"): Operation(
        name="changeRules",
        tag="rules",
        summary="Set limits or groups of a caller or a group",
        description="Every relay with the same database applies it to new requests within six seconds, the one that "
        "answers at once. What is used already counts. The change is recorded.",
        outcome="What is set now.",
        answer=_RULE,
        body=schemas.RuleChange("caller:team-search", limits={"tokens_per_minute": 50000, "concurrent": None}),
        errors=("BadRequest", *_ACCESS, "TooLarge", "LedgerUnavailable"),
    ),
    ("GET", "/changes"): Operation(
        name="listChanges",
        tag="rules",
        summary="List the latest changes of limits and groups, the newest first",
        description="",
        outcome="Who changed what and when.",
        answer=schemas.RuleChanges(
            data=[
                schemas.RecordedChange(
                    number=7,
                    time=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
                    actor="key 3f9a01c2",
                    subject="caller:team-search",
                    before=schemas.Rule("caller:team-search", {}, {}, None),
                    after=_RULE,
                )
            ]
        ),
        errors=(*_ACCESS, "LedgerUnavailable"),
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
        answer=_LEVELS,
        errors=_ACCESS,
    ),
    ("PUT", "/log-level"): Operation(
        name="setLogLevel",
        tag="state",
        summary="Change the level of the log, for a time",
        description="It changes in every worker process of the relay that answers. A worker that starts later takes "
        "the changes over from the others. Each process logs the change, and its end, at every level.",
        outcome="The levels in each worker process.",
        answer=_LEVELS,
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
