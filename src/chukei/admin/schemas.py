"""The administrators' requests and answers as JSON. ``openapi`` makes the description from these fields."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from chukei.accounts.changes import Action
from chukei.accounts.ledger import By
from chukei.accounts.ledger import Key as StoredKey
from chukei.accounts.limits import Limit
from chukei.pool.member import Status
from chukei.pool.status import DeploymentStatus

MAX_OVERLAP = timedelta(days=90)
"""Longest time for which a replaced key may still work."""

MAX_LEVEL_SECONDS = 86_400
"""Longest time, in seconds, for which a level of the log may be changed; without a time it stays."""

# These bounds only describe. Other code checks them, with more helpful messages.
_NAME = Meta(extra_json_schema={"minLength": 1, "maxLength": 128})
_NOTE = Meta(extra_json_schema={"maxLength": 200})
_OVERLAP = Meta(extra_json_schema={"minimum": 0, "maximum": int(MAX_OVERLAP.total_seconds())})
_STATE = Meta(extra_json_schema={"enum": ["active", "expired", "revoked", "unreadable"]})
_MOMENT = Meta(extra_json_schema={"format": "date-time"})

Count = Annotated[int, Meta(ge=0)]
Moment = Annotated[datetime, Meta(tz=True)]
MomentText = Annotated[str, _MOMENT]


def _description(text: str) -> Meta:
    return Meta(description=text)


Currency = Annotated[
    str | None, _description("The ISO 4217 code of `admin.currency`, in which costs and limits of money are.")
]


class NewKey(Struct, forbid_unknown_fields=True):
    """Whose key is wanted."""

    caller: Annotated[
        str,
        _NAME,
        _description(
            "Whose key: the name under which usage is counted. Letters, digits, spaces and . : / @ _ + -, "
            "no spaces around them."
        ),
    ]
    group: Annotated[str | None, _NAME, _description("A group of the configuration, whose rules then hold.")] = None
    expires: Annotated[
        datetime | None, _MOMENT, _description("With a time zone. Without it the key works until it is revoked.")
    ] = None
    note: Annotated[str | None, _NOTE, _description("What it is for: one line of printable characters.")] = None


class Rotation(Struct, forbid_unknown_fields=True):
    """How a key is replaced."""

    overlap_seconds: Annotated[float, _OVERLAP, _description("For how long the old key goes on working.")] = 86_400.0


class Revocation(Struct, forbid_unknown_fields=True):
    """How a key is ended: nothing more is to be said."""


class Key(Struct):
    """What is known of a key."""

    id: Annotated[str, _description("The public part: in logs and lists, and the second part of the key itself.")]
    caller: str
    group: str | None
    state: Annotated[str, _STATE]
    created: Moment
    expires: Moment | None
    revoked: Moment | None
    note: str | None

    @classmethod
    def of(cls, key: StoredKey, now: datetime) -> "Key":
        """Return what is known of a stored key."""
        times = (key.created, key.expires, key.revoked)
        return cls(key.id, key.caller, key.group, key.state(now), *times, key.note)


class MadeKey(Key):
    """A key that was made."""

    key: Annotated[str, _description("What the caller sends. It is shown this once and kept nowhere.")]


class Keys(Struct, forbid_unknown_fields=True):
    """Keys that were found."""

    data: list[Key]
    rows: Annotated[Count, _description("How many were found, also those beyond `limit`.")]


class Revoked(Struct, forbid_unknown_fields=True):
    """A key that was ended."""

    id: str
    state: Literal["revoked"]


class Deleted(Struct, forbid_unknown_fields=True):
    """What was deleted."""

    deleted: Annotated[Count, _description("Entries that were deleted.")]


class Figures(Struct, forbid_unknown_fields=True, kw_only=True):
    """The sums of some requests."""

    requests: Annotated[Count, _description("Requests that reached the point where the caller was known.")]
    refused: Annotated[
        Count, _description("Those that the relay, or Azure, refused: the caller has to change or wait for something.")
    ]
    failed: Annotated[
        Count, _description("Those that were neither answered nor refused, and that the client did not leave.")
    ]
    input: Annotated[Count, _description("Input tokens, the cached ones included.")]
    cached: Annotated[Count, _description("Input tokens that Azure had in its cache.")]
    output: Annotated[Count, _description("Output tokens, those of reasoning included.")]
    reasoning: Annotated[Count, _description("Output tokens that were reasoning.")]
    wasted: Annotated[
        Count,
        _description(
            "Tokens that other deployments may have charged for the same requests: retries and hedges. "
            "Their price is part of the cost."
        ),
    ]
    estimated: Annotated[Count, _description("Requests whose tokens Azure had not counted.")]
    cost: Annotated[
        float,
        Meta(ge=0),
        _description("In the currency of the configuration's prices; without the unpriced requests."),
    ]
    unpriced: Annotated[Count, _description("Requests to models that have no price.")]
    first_token_ms: Annotated[
        float | None, _description("Mean time to the first token of the streams, in milliseconds.")
    ]


class UsageRow(Figures, kw_only=True):
    """The names that were asked by, and the sums."""

    caller: str | UnsetType = UNSET
    group: Annotated[str | UnsetType, _description("Empty for callers without one.")] = UNSET
    model: Annotated[str | UnsetType, _description("Empty where a request got no further than being understood.")] = (
        UNSET
    )
    deployment: Annotated[str | UnsetType, _description("Empty where none was asked.")] = UNSET
    served_model: Annotated[
        str | UnsetType,
        _description("What Azure calls the model that answered; empty where it did not say."),
    ] = field(name=By.SERVED_MODEL.value, default=UNSET)
    service_tier: Annotated[str | UnsetType, _description("That of the answer; empty where Azure did not say.")] = (
        field(name=By.SERVICE_TIER.value, default=UNSET)
    )
    day: Annotated[date | UnsetType, _description("Of UTC.")] = UNSET
    hour: Annotated[MomentText | UnsetType, _description("Its beginning, in UTC.")] = UNSET
    end_reason: str | UnsetType = field(name=By.END_REASON.value, default=UNSET)
    code: Annotated[str | UnsetType, _description("That of the error; empty where there was none.")] = UNSET


class Usage(Struct, forbid_unknown_fields=True):
    """What was used."""

    by: Annotated[list[By], Meta(min_length=1)]
    since: MomentText | None
    until: MomentText | None
    currency: Currency
    rows: Annotated[Count, _description("How many rows there are, also those beyond `limit`.")]
    data: list[UsageRow]


class CallerRow(Figures, kw_only=True):
    """A caller, and the sums of its requests since the time that was asked for."""

    caller: str
    groups: Annotated[list[str], _description("Those with which it may come, by its keys or otherwise.")]
    last_seen: Annotated[Moment | None, _description("The time of its latest entry in the ledger, at any time.")]


class Callers(Struct, forbid_unknown_fields=True):
    """Callers, those with most tokens first."""

    since: MomentText | None
    currency: Currency
    rows: Annotated[Count, _description("How many callers there are, also those beyond `limit`.")]
    data: list[CallerRow]


LimitName = Annotated[str, Meta(extra_json_schema={"enum": [*Limit]})]
_SOURCE = _description("The place in the configuration; `database: …` for one that administrators have set.")


class LimitLeft(Struct, forbid_unknown_fields=True):
    """A limit in force, and what is left of it."""

    limit: LimitName
    subject: Annotated[str, _description("The account: `caller:NAME`, or `group:NAME` for all members together.")]
    most: float
    remaining: float
    reset_seconds: Annotated[float, _description("Without new requests it is unused after these.")]
    source: Annotated[str, _SOURCE]


class Membership(Struct, forbid_unknown_fields=True):
    """Groups with which a caller may come, and the limits that hold then."""

    groups: list[str]
    sources: Annotated[
        list[str],
        _description("`database: callers.NAME.groups`, `callers.NAME.groups`, `key ID` or `last request`."),
    ]
    limits: list[LimitLeft]


class Deployment(DeploymentStatus):
    """One deployment as it is now."""

    status: Annotated[
        Status,
        _description(
            "Ready; left alone after a 429; as busy as it may be; left alone since it fails; on trial after that; "
            "of weight 0."
        ),
    ]
    seconds: Annotated[float, _description("For how long it is still left alone.")]
    why: Annotated[str | None, _description("The error that keeps it away.")]
    outstanding: Annotated[Count, _description("Requests that it is answering.")]
    outstanding_tokens: Annotated[Count, _description("Their tokens, as estimated.")]
    answered: Annotated[Count, _description("Since this relay started.")]
    failed: Annotated[Count, _description("Since this relay started.")]
    left_out_for: Annotated[
        Count,
        _description("Callers for which alone it is left alone, since only their requests fail there."),
    ]
    first_token_p50: Annotated[float | None, _description("Seconds; of the latest streams.")]
    max_concurrent: Annotated[int | None, _description("The most requests that it may be answering.")]
    pressed_seconds: Annotated[
        float, _description("For how long others are preferred, since it is close to a limit of Azure's.")
    ]
    large_tokens: Annotated[
        int | None, _description("It gets no requests of as many tokens, since Azure has refused one of that size.")
    ]
    large_seconds: Annotated[float, _description("For how long.")]


class Deployments(Struct, forbid_unknown_fields=True):
    """The deployments of each model."""

    models: dict[str, list[Deployment]]


class Ledger(Struct):
    """How the ledger's writing goes."""

    status: Annotated[
        str,
        _description(
            "`ok`; `away` while the database cannot be written and entries wait; `full` where nothing takes more; "
            "`none` where there is no ledger."
        ),
    ]
    waiting: Annotated[Count | UnsetType, _description("Entries in memory.")] = UNSET
    spooled: Annotated[Count | UnsetType, _description("Entries that wait on this machine's disk.")] = UNSET
    lost: Annotated[Count | UnsetType, _description("Entries that could be kept nowhere.")] = UNSET
    last_written: MomentText | UnsetType | None = UNSET
    last_error: str | UnsetType | None = UNSET


Limits = Annotated[
    dict[str, float],
    _description("By their names in the configuration; money in units of the currency of the prices."),
]


class RuleChange(Struct, forbid_unknown_fields=True):
    """What to set for a caller or a group. What is not mentioned stays."""

    subject: Annotated[str, _description("`caller:NAME` or `group:NAME`.")]
    limits: Annotated[
        dict[str, float | None] | UnsetType,
        _description("The limits of each caller by itself; null returns one to that of the configuration."),
    ] = UNSET
    total: Annotated[
        dict[str, float | None] | UnsetType, _description("For groups: the limits of all members together.")
    ] = UNSET
    groups: Annotated[
        list[str] | UnsetType | None,
        Meta(extra_json_schema={"uniqueItems": True}),
        _description(
            "For callers: their groups, in place of all others, without `everybody`; "
            "null returns to those of the key or token."
        ),
    ] = UNSET


class Rule(Struct, forbid_unknown_fields=True):
    """What is set for a caller or a group. What is missing is as in the configuration."""

    subject: str
    limits: Limits
    total: Limits
    groups: list[str] | None


class Caller(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is known of a caller."""

    caller: str
    last_seen: Moment | None
    currency: Currency
    memberships: Annotated[list[Membership], _description("One, unless its keys are of different groups.")]
    rule: Rule
    keys: Annotated[list[Key], _description("The newest first.")]


class LimitSet(Struct, forbid_unknown_fields=True):
    """A limit, and where it is set."""

    limit: LimitName
    most: float
    source: Annotated[str, _SOURCE]


class Group(Struct, forbid_unknown_fields=True):
    """A group's limits."""

    group: str
    limits: Annotated[list[LimitSet], _description("Of each member by itself, unless its own rules say otherwise.")]
    total: Annotated[list[LimitLeft], _description("Of all members together.")]
    rule: Rule


class Groups(Struct, forbid_unknown_fields=True):
    """The groups of the configuration, and `everybody`, to which all callers belong."""

    currency: Currency
    data: list[Group]


class Rules(Struct, forbid_unknown_fields=True):
    """All that is set."""

    data: list[Rule]


State = dict[str, Any] | None


class RecordedChange(Struct, forbid_unknown_fields=True):
    """One change."""

    number: int
    time: Moment
    actor: Annotated[
        str,
        _description(
            "Who: `user:TENANT/OBJECT` or `app:TENANT/CLIENT` of Entra ID, `key` and the beginning of the SHA-256 "
            "digest of the administrators' key, or `command line`."
        ),
    ]
    name: Annotated[str | None, _description("What people call the actor, as Entra ID said at the time.")]
    action: Annotated[str, Meta(extra_json_schema={"enum": [*Action]})]
    subject: Annotated[
        str,
        _description("`caller:NAME`, `group:NAME`, `key:ID`, `logger:NAME` or `configuration`."),
    ]
    before: Annotated[State, _description("What was there before, without secrets; null where that makes no sense.")]
    after: Annotated[State, _description("What was there afterwards, without secrets.")]


class Changes(Struct, forbid_unknown_fields=True):
    """The latest changes, the newest first."""

    data: list[RecordedChange]
    more: Annotated[bool, _description("Whether there are older ones: ask with `before` the last number.")]


class Session(Struct, forbid_unknown_fields=True):
    """Who is signed in."""

    actor: Annotated[str, _description("As in the record of changes.")]
    name: Annotated[str | None, _description("What people call the actor, if that is known.")]
    may_change: Annotated[bool, _description("Whether other methods than GET and HEAD are allowed.")]


class EntraSignIn(Struct, forbid_unknown_fields=True):
    """What a page needs to get an access token by the authorization code flow with PKCE."""

    authorize: str
    token: str
    client_id: str
    scope: str


class SignIn(Struct, forbid_unknown_fields=True):
    """How administrators can sign in."""

    key: Annotated[bool, _description("Whether there is an administrators' key.")]
    entra: EntraSignIn | None


class Reload(Struct, forbid_unknown_fields=True):
    """How the configuration is read again: nothing more is to be said."""


class Reloaded(Struct, forbid_unknown_fields=True):
    """What a reload has changed, by names of keys of the configuration."""

    version: Annotated[
        str,
        _description("Identifies the content of all files of the configuration: relays with the same one agree."),
    ]
    changed: list[str]
    added: Annotated[list[str], _description("Whole tables, such as a caller's.")]
    removed: list[str]
    files: Annotated[list[str], _description("Files that the configuration names, with another content.")]
    restart: Annotated[list[str], _description("Keys whose new value takes effect only after a restart.")]


class SettingPlace(Struct, forbid_unknown_fields=True):
    """Where a setting is set."""

    path: Annotated[list[str], _description("Its names, from the top.")]
    place: Annotated[str, _description("A file, or a variable of the environment.")]


class Configuration(Struct, forbid_unknown_fields=True):
    """The settings that new requests have."""

    version: Annotated[
        str, _description("Identifies the content of all files that set it: relays with the same one agree.")
    ]
    path: Annotated[str | None, _description("The configuration's file; null where there is none.")]
    files: Annotated[list[str], _description("That file, and those that it names.")]
    simulated: Annotated[bool, _description("Whether the built-in simulator answers, since no deployment is set.")]
    notices: Annotated[list[str], _description("What is allowed, but probably a mistake.")]
    settings: Annotated[
        dict[str, Any],
        _description(
            "By the names of the configuration. A secret is `set`, or null where it is not. Tables with names of their "
            "own, such as a caller's, have only what is not at its default."
        ),
    ]
    places: Annotated[list[SettingPlace], _description("Where those are set that are not at their default.")]
    restart: Annotated[list[str], _description("Keys whose new value takes effect only after a restart.")]


LogLevel = Literal["debug", "info", "warning", "error"]


class LogLevelChange(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A new level of the log."""

    level: Annotated[LogLevel | None, _description("`null` ends a change: the configured level holds again.")]
    logger: Annotated[
        str, _description("`chukei` is the relay, `chukei.request` its line for each request, `root` all libraries.")
    ] = "chukei"
    seconds: Annotated[
        float | None,
        Meta(extra_json_schema={"minimum": 1, "maximum": MAX_LEVEL_SECONDS}),
        _description("For how long. Without it until the worker process ends."),
    ] = None


class LoggerLevel(Struct):
    """The level of one logger."""

    logger: str
    level: str
    configured: Annotated[str | None, _description("`null` where the configuration names none for this logger.")]
    changed: Annotated[bool, _description("Whether an administrator has changed it.")]
    seconds: Annotated[float | None, _description("For how long the change still holds.")]


class WorkerLevels(Struct):
    """The levels of one worker process."""

    process: Annotated[int, _description("Its process id.")]
    levels: list[LoggerLevel]
    error: str | None = None


class LogLevels(Struct, forbid_unknown_fields=True):
    """The levels of the log in each worker process of this relay."""

    workers: list[WorkerLevels]


class ErrorBody(Struct):
    """What an error says."""

    message: str
    type: str
    param: str | None
    code: str


class Error(Struct, forbid_unknown_fields=True):
    """As OpenAI's API answers errors."""

    error: ErrorBody
