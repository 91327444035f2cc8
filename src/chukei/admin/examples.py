"""Examples of what the administrators' API answers, for its description."""

from datetime import UTC, datetime

from msgspec import structs

from chukei.admin import schemas
from chukei.pool.member import Status

ID = "3fQ9dLm2Xc7Z"
KEY = schemas.Key(
    id=ID,
    caller="team-search",
    group="research",
    state="active",
    created=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    expires=datetime(2027, 2, 20, 9, 30, tzinfo=UTC),
    revoked=None,
    note="nightly jobs",
)
MADE = schemas.MadeKey(**structs.asdict(KEY), key=f"chk_{ID}_…")
ROW = schemas.UsageRow(
    caller="team-search",
    model="gpt-4o",
    requests=128,
    refused=9,
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
CSV = """\
caller,requests,refused,failed,input,cached,output,reasoning,wasted,estimated,cost,unpriced,first_token_ms\r
team-search,128,9,2,91240,40960,30112,5120,0,1,0.529,0,412.5\r
"""
CALLER = schemas.CallerRow(
    caller="team-search",
    groups=["research"],
    last_seen=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    **{name: getattr(ROW, name) for name in schemas.Figures.__struct_fields__},
)
LEFT = schemas.LimitLeft(
    limit="tokens_per_month",
    subject="group:research",
    most=20_000_000,
    remaining=18_212_940,
    reset_seconds=657_000.0,
    source="groups.research.total.tokens_per_month",
)
RULE = schemas.Rule("caller:team-search", limits={"tokens_per_minute": 50000}, total={}, groups=None)
DEPLOYMENT = schemas.Deployment(
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
    max_concurrent=40,
    quota_group=None,
    pressed_seconds=0.0,
    large_tokens=None,
    large_seconds=0.0,
)

LEVELS = schemas.LogLevels(
    [schemas.WorkerLevels(8, [schemas.LoggerLevel("chukei", "debug", "info", changed=True, seconds=599.9)])]
)
_LOGIN = "https://login.microsoftonline.com/0f8fad5b-d9cb-469f-a165-70867728950e/oauth2/v2.0"
SIGN_IN = schemas.SignIn(
    key=True,
    entra=schemas.EntraSignIn(
        authorize=f"{_LOGIN}/authorize",
        token=f"{_LOGIN}/token",
        client_id="16fd2706-8baf-433b-82eb-8c7fada847da",
        scope="16fd2706-8baf-433b-82eb-8c7fada847da/Console.Use",
    ),
)
CHANGE = schemas.RecordedChange(
    number=7,
    time=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    actor="user:0f8fad5b-d9cb-469f-a165-70867728950e/7c9e6679-7425-40de-944b-e07fc1f90ae7",
    name="ann@contoso.com",
    action="rules",
    subject="caller:team-search",
    before=structs.asdict(schemas.Rule("caller:team-search", {}, {}, None)),
    after=structs.asdict(RULE),
)
