"""The administrators' side over HTTP: who gets in, what each route answers, and that its document tells the truth."""

import ast
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from tests.adapters.ledger_entries import entry
from tests.fakes import FakeClock, FakeDatabase, FakeIncoming, FakeReply
from tests.rows import rows

from chukei.accounts.admission import Admission
from chukei.accounts.changes import Actor, Change
from chukei.accounts.ledger import By, Question, Sum
from chukei.accounts.limits import Headroom, Limits, Rules, Subject
from chukei.accounts.outcomes import Outcome
from chukei.accounts.policy import Policies
from chukei.accounts.stores import StoreAway
from chukei.adapters.assets import asset
from chukei.adapters.memory_quota import MemoryQuota
from chukei.admin import api as module
from chukei.admin.access import AdminAccess
from chukei.admin.api import MAX_BODY_BYTES, Admin, AdminAnswer
from chukei.admin.callers import CallerDesk
from chukei.admin.configuration import ConfigurationDesk
from chukei.admin.feed import Feed
from chukei.admin.groups import GroupDesk
from chukei.admin.rules import RuleDesk
from chukei.callers.administrators import Administrator
from chukei.callers.keys import Peppers, parse
from chukei.callers.registry import KeyRegistry
from chukei.callers.throttle import Throttle
from chukei.callers.tokens import TokenFlaw, TokenRefused, lacks
from chukei.config import AdminEntraSettings, Changes, PoolSettings, Reloaded, Secret, load
from chukei.errors import CallerError, RelayError, Unavailable
from chukei.hosts.workers.peers import Alone
from chukei.model import Deployment, End, Headers, Model
from chukei.pool import Pool
from chukei.record import RequestRecord
from chukei.request.routes import ADMIN_FEED, ADMIN_ROUTES, ADMIN_SIGN_IN

pytestmark = pytest.mark.anyio

KEY = "the-administrators-key-0123456789"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ANN = Actor("user:tenant/ann", "ann@contoso.com")
BOB = Actor("user:tenant/bob", "bob@contoso.com")
TENANT, CLIENT = "0f8fad5b-d9cb-469f-a165-70867728950e", "16fd2706-8baf-433b-82eb-8c7fada847da"
ENTRA = AdminEntraSettings(TENANT, CLIENT, (CLIENT, f"api://{CLIENT}"))
EAST = Deployment("east", "https://east.example", "gpt-4o")
TEAM = Sum(("team-a",), 3, 1, 1, 1000, 100, 50, 20, 7, 2, 1_234_567, 1, 250.04)


class FakeLedger(FakeDatabase):
    """Gives prepared sums, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: list[Sum] = [TEAM]
        self.questions: list[Question] = []
        self.forgotten: list[str | None] = []

    async def sum(self, question: Question) -> list[Sum]:
        self.questions.append(question)
        await super().sum(question)
        return self.sums

    async def forget(
        self, *, before: datetime | None = None, caller: str | None = None, change: Change | None = None
    ) -> int:
        self.forgotten.append(caller)
        await super().forget(before=before, caller=caller, change=change)
        return 5


class FakeTokens:
    """Knows some tokens."""

    def __init__(self) -> None:
        self.known: dict[bytes, Administrator | Exception] = {
            b"a.looking.token": Administrator(BOB, may_change=False, expires=NOW.timestamp() + 60),
            b"a.changing.token": Administrator(ANN, may_change=True, expires=NOW.timestamp() + 60),
            b"an.expired.token": TokenRefused(TokenFlaw.EXPIRED, CallerError(401, "token_expired", "Expired.")),
            b"a.useless.token": TokenRefused(TokenFlaw.ROLE, lacks("application role", "Chukei.Look")),
        }

    async def holder(self, token: bytes) -> Administrator:
        found = self.known.get(token, TokenRefused(TokenFlaw.SIGNATURE))
        if isinstance(found, Exception):
            raise found
        return found


class Quota(MemoryQuota):
    """A store of quotas that may be away."""

    away = False

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        if self.away:
            raise StoreAway("away")
        return await super().headroom(subjects)


class Office:
    """An Admin among fakes."""

    def __init__(self, failures_per_minute: int = 3) -> None:
        self.now = NOW
        self.clock = FakeClock()
        self.ledger = FakeLedger()
        self.peers = Alone()
        self.told: list[bytes] = []
        self.tokens = FakeTokens()
        self.who = Administrator(ANN, may_change=True)
        self.peers.answer("log_level", self._levels)
        pool = Pool({"chat": Model("chat", (EAST,))}, PoolSettings(), default="chat", open=None, draw=lambda: 0.5)
        research = Rules(limits=Limits(concurrent=8), total=Limits(money_per_month=5_000_000))
        self.policies = Policies({}, {"research": research})
        self.quota = Quota(clock=self.clock, wall=NOW.timestamp)
        admission = Admission(self.quota, lambda: False)
        self.admin = Admin(
            AdminAccess(Throttle(failures_per_minute, self.clock), key=Secret(KEY), tokens=self.tokens, entra=ENTRA),
            self.ledger,
            KeyRegistry(self.ledger, Peppers(), lambda: self.now),
            pool,
            clock=self.clock,
            now=lambda: self.now,
            ledger_state=lambda: {
                "status": "ok",
                "waiting": 0,
                "spooled": 0,
                "lost": 0,
                "last_written": None,
                "last_error": None,
            },
            callers=CallerDesk(self.ledger, self.policies, admission, {}, "EUR", lambda: self.now),
            groups=GroupDesk(("research",), self.policies, admission, "EUR"),
            currency="EUR",
            rules=RuleDesk(self.ledger, ("research",), lambda: self.now, changed=self._changed),
            configuration=ConfigurationDesk(load(None, {"CHUKEI_ADMIN__API_KEY": KEY, "CHUKEI_SERVER__PORT": "7000"})),
            reload=self._reload,
            peers=self.peers,
            feed=Feed(Alone(), lambda: self.now),
        )
        self.applied = 0
        self.reloaded = Reloaded(Changes(changed=("pool.attempts",), restart=("server.port",)), version="0123")

    async def _changed(self) -> None:
        self.applied += 1

    async def _reload(self) -> Reloaded:
        return self.reloaded

    def _levels(self, argument: bytes) -> bytes:
        """Answer as a worker process does."""
        self.told.append(argument)
        row = {"logger": "chukei", "level": "info", "configured": "info", "changed": False, "seconds": None}
        error = "too many" if b"crowd" in argument else None
        return json.dumps({"process": 7, "levels": [row], "error": error}).encode()

    async def answer(self, method: str, path: str, query: str = "", body: object = None) -> AdminAnswer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await self.admin.answer(self.who, method, path, query, raw)

    async def json(self, method: str, path: str, query: str = "", body: object = None) -> Any:
        return json.loads((await self.answer(method, path, query, body)).body)

    async def refusal(self, method: str, path: str, query: str = "", body: object = None) -> RelayError:
        with pytest.raises(RelayError) as caught:
            await self.answer(method, path, query, body)
        return caught.value


@pytest.fixture
def office() -> Office:
    return Office()


def sent(*fields: tuple[bytes, bytes]) -> Headers:
    return [(b"host", b"localhost"), *fields]


GOOD = (b"authorization", b"Bearer " + KEY.encode())


# Who gets in.


@rows("value", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer  {KEY} "])
async def test_the_key_opens(office: Office, value: str) -> None:
    incoming = FakeIncoming(method="GET", headers=sent((b"authorization", value.encode())))
    _, record = await serve(office, incoming, "/keys")
    assert record.status == 200


# A request from end to end.


async def serve(office: Office, incoming: FakeIncoming, path: str) -> tuple[FakeReply, RequestRecord]:
    reply, record = FakeReply(), RequestRecord("r", incoming.method, incoming.raw_path)
    await office.admin.serve(path, incoming, reply, record, [(b"x-request-id", b"r")], 10.0)
    return reply, record


async def test_a_request_is_answered_and_recorded(office: Office) -> None:
    reply, record = await serve(office, FakeIncoming(method="GET", query="by=caller", headers=sent(GOOD)), "/usage")
    fields = dict(reply.headers)
    assert (reply.status, reply.finished) == (200, True)
    assert fields[b"content-type"] == b"application/json"
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"content-length"] == str(len(reply.body)).encode()
    assert fields[b"x-request-id"] == b"r"
    assert (record.operation, record.status, record.end, record.who) == ("admin", 200, End.COMPLETED, None)


async def test_without_the_key_the_body_is_not_even_read(office: Office) -> None:
    incoming = FakeIncoming(b'{"caller":"x"}', headers=sent())
    with pytest.raises(CallerError):
        await serve(office, incoming, "/keys")
    assert incoming.limits is None
    assert office.ledger.rows == {}


async def test_a_large_body_is_refused_in_its_own_words(office: Office) -> None:
    too_large = CallerError(413, "request_too_large", "The request's body is larger than server.max_body_bytes.")
    incoming = FakeIncoming(too_large, headers=sent(GOOD))
    with pytest.raises(CallerError, match=str(MAX_BODY_BYTES)) as caught:
        await serve(office, incoming, "/keys")
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")
    assert incoming.limits == (MAX_BODY_BYTES, 10.0)


def bearer(token: str) -> Headers:
    return sent((b"authorization", f"Bearer {token}".encode()))


READING = ("GET", "HEAD")
CHANGES = [(method, path) for path, methods in ADMIN_ROUTES.items() for method in methods if method not in READING]


@rows(("method", "path"), CHANGES)
async def test_who_may_only_look_changes_nothing(office: Office, method: str, path: str) -> None:
    incoming = FakeIncoming(b"{}", method=method, headers=bearer("a.looking.token"))
    with pytest.raises(CallerError) as caught:
        await serve(office, incoming, path.replace("{id}", "x"))
    assert (caught.value.status, caught.value.code, caught.value.type) == (403, "not_allowed", "permission_error")
    assert incoming.limits is None, "the body is not even read"
    assert (office.ledger.recorded, office.told, office.applied) == ([], [], 0)


@rows(
    ("token", "session"),
    [
        ("a.looking.token", {"actor": BOB.id, "name": BOB.name, "may_change": False}),
        ("a.changing.token", {"actor": ANN.id, "name": ANN.name, "may_change": True}),
        (KEY, {"actor": f"key {hashlib.sha256(KEY.encode()).hexdigest()[:8]}", "name": None, "may_change": True}),
    ],
)
async def test_everybody_learns_who_they_are(office: Office, token: str, session: object) -> None:
    reply, _ = await serve(office, FakeIncoming(method="GET", headers=bearer(token)), "/session")
    assert json.loads(reply.body) == session


async def test_how_to_sign_in_needs_no_credential(office: Office) -> None:
    reply, record = await serve(office, FakeIncoming(method="GET", headers=sent()), ADMIN_SIGN_IN)
    place = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0"
    assert json.loads(reply.body)["entra"] == {
        "authorize": f"{place}/authorize",
        "token": f"{place}/token",
        "client_id": CLIENT,
        "scope": f"{CLIENT}/Console.Use",
    }
    assert (record.status, dict(reply.headers)[b"cache-control"]) == (200, b"no-store")


async def test_a_slow_body_is_refused_as_everywhere(office: Office) -> None:
    slow = CallerError(408, "request_timeout", "Too slow.")
    with pytest.raises(CallerError) as caught:
        await serve(office, FakeIncoming(slow, headers=sent(GOOD)), "/keys")
    assert caught.value is slow


# Usage.


async def test_usage_by_default_is_thirty_days_by_caller(office: Office) -> None:
    told = await office.json("GET", "/usage")
    assert office.ledger.questions == [Question((By.CALLER,), since=NOW - timedelta(days=30))]
    assert (told["by"], told["rows"], told["until"], told["currency"]) == (["caller"], 1, None, "EUR")
    assert told["data"] == [
        {
            "caller": "team-a",
            "requests": 3,
            "refused": 1,
            "failed": 1,
            "input": 1000,
            "cached": 100,
            "output": 50,
            "reasoning": 20,
            "wasted": 7,
            "estimated": 2,
            "cost": 1.234567,
            "unpriced": 1,
            "first_token_ms": 250.0,
        }
    ]


async def test_usage_as_it_is_asked_for(office: Office) -> None:
    office.ledger.sums = [replace(TEAM, names=("2026-11-01", "team-a"))]
    await office.json(
        "GET",
        "/usage",
        "by=day,caller&since=2026-11-01&until=24h&caller=team%20a&group=%E4%B8%AD&model=gpt-4o"
        "&end-reason=refused&code=rate_limit_exceeded&outcome=refused",
    )
    assert office.ledger.questions == [
        Question(
            (By.DAY, By.CALLER),
            since=datetime(2026, 11, 1, tzinfo=UTC),
            until=NOW - timedelta(days=1),
            caller="team a",
            group="中",
            model="gpt-4o",
            end_reason="refused",
            code="rate_limit_exceeded",
            outcome=Outcome.REFUSED,
        )
    ]


async def test_rows_beyond_the_limit_are_counted(office: Office) -> None:
    office.ledger.sums = [replace(TEAM, names=(f"caller-{index}",)) for index in range(7)]
    told = await office.json("GET", "/usage", "limit=2")
    assert ([row["caller"] for row in told["data"]], told["rows"]) == (["caller-0", "caller-1"], 7)


async def test_usage_as_csv_is_a_file_without_formulas(office: Office) -> None:
    office.ledger.sums = [replace(TEAM, names=('=HYPERLINK("http://evil")',))]
    answer = await office.answer("GET", "/usage", "format=csv")
    fields = dict(answer.headers)
    assert fields[b"content-type"] == b"text/csv; charset=utf-8"
    assert fields[b"content-disposition"] == b'attachment; filename="usage.csv"'
    head, line, _ = answer.body.decode().split("\r\n")
    assert head.startswith("caller,requests,refused,failed,")
    assert line.startswith('"\'=HYPERLINK(""http://evil"")",3,1,1,1000')


async def test_a_callers_entries_are_deleted(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert await office.json("DELETE", "/usage", "caller=team-a") == {"deleted": 5}
    assert office.ledger.forgotten == ["team-a"]
    assert "deleted 5 entries" in caplog.text


@rows("query", ["", "caller=", "callr=team-a", "caller=team-a&model=gpt-4o", "caller=a&before=7d"])
async def test_deleting_needs_one_caller_and_nothing_that_would_be_ignored(office: Office, query: str) -> None:
    assert (await office.refusal("DELETE", "/usage", query)).status == 400
    assert office.ledger.forgotten == []


# Callers and groups.


async def test_callers_are_found_and_shown(office: Office) -> None:
    await office.ledger.add([entry(caller="user:a/b c", time=NOW), entry(caller="other", time=NOW)])
    told = await office.json("GET", "/callers", "find=A/B&since=7d&limit=1")
    assert ([each["caller"] for each in told["data"]], told["rows"], told["currency"]) == (["user:a/b c"], 1, "EUR")
    assert office.ledger.questions[-1] == Question((By.CALLER,), since=NOW - timedelta(days=7), callers=("user:a/b c",))
    for path in ("/callers/user%3Aa%2Fb%20c", "/callers/user:a/b%20c"):
        assert (await office.json("GET", path))["caller"] == "user:a/b c"
    assert (await office.refusal("GET", "/callers/unknown")).code == "caller_not_found"


async def test_groups_are_shown(office: Office) -> None:
    told = await office.json("GET", "/groups")
    assert [each["group"] for each in told["data"]] == ["research", "everybody"]
    assert told["data"][0]["total"][0]["most"] == 5.0


@rows(("path", "query"), [("/callers", "limit=1001"), ("/callers", "limit=0"), ("/callers", "since=soon")])
async def test_a_search_that_makes_no_sense_is_refused(office: Office, path: str, query: str) -> None:
    assert (await office.refusal("GET", path, query)).code == "invalid_value"


@rows("path", ["/callers", "/callers/team-a", "/groups"])
async def test_a_misspelt_filter_is_refused_everywhere(office: Office, path: str) -> None:
    assert (await office.refusal("GET", path, "fnd=a")).code == "unknown_parameter"


# Keys.


async def test_a_key_is_made_and_shown_once(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wanted = {"caller": "team-a", "group": "research", "expires": "2027-01-01T00:00:00+09:00", "note": "for the bot"}
    answer = await office.answer("POST", "/keys", body=wanted)
    made = json.loads(answer.body)
    assert answer.status == 201
    parts = parse(made["key"].encode())
    assert parts is not None
    assert parts.id == made["id"]
    assert (made["caller"], made["group"], made["state"], made["note"]) == (
        "team-a",
        "research",
        "active",
        "for the bot",
    )
    [listed] = (await office.json("GET", "/keys"))["data"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert made["id"] in caplog.text
    assert made["key"][17:] not in caplog.text


async def test_a_key_is_replaced_and_revoked(office: Office) -> None:
    old = await office.json("POST", "/keys", body={"caller": "team-a"})
    new = await office.answer("POST", f"/keys/{old['id']}/rotate", body={"overlap_seconds": 60})
    assert new.status == 201
    assert office.ledger.rows[old["id"]].expires == NOW + timedelta(seconds=60)
    revoked = await office.json("POST", f"/keys/{old['id']}/revoke")
    assert revoked == {"id": old["id"], "state": "revoked"}
    states = {key["id"]: key["state"] for key in (await office.json("GET", "/keys"))["data"]}
    assert states == {old["id"]: "revoked", json.loads(new.body)["id"]: "active"}
    office.now += timedelta(days=1)
    assert (await office.refusal("POST", f"/keys/{old['id']}/rotate")).code == "key_has_ended"


async def test_without_a_body_the_old_key_works_for_a_day(office: Office) -> None:
    old = await office.json("POST", "/keys", body={"caller": "team-a"})
    await office.json("POST", f"/keys/{old['id']}/rotate")
    assert office.ledger.rows[old["id"]].expires == NOW + timedelta(days=1)


@rows("id", ["nobody", "%2e%2e", "%00", "a%2Fb", "%F0%9F%94%91", "'%20or%201=1"])
@rows("action", ["rotate", "revoke"])
async def test_an_unknown_key(office: Office, id: str, action: str) -> None:
    refusal = await office.refusal("POST", f"/keys/{id}/{action}")
    assert (refusal.status, refusal.code) == (404, "key_not_found")


@rows(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"caller"',
        b"\xff\xfe",
        b"{}",
        b'{"caller": 1}',
        b'{"caller": null}',
        b'{"caller": ["a"]}',
        b'{"caller": "a", "admin": true}',
        b'{"caller": "a", "expires": "soon"}',
        b'{"caller": "a", "expires": 1}',
        b'{"caller": "a", "expires": "2027-01-01T00:00:00"}',
        b'{"caller": "a", "expires": "2020-01-01T00:00:00Z"}',
        b'{"caller": "a", "expires": "9999-12-31T23:59:59-05:00"}',
        b'{"caller": "a", "expires": "0001-01-01T00:00:00+05:00"}',
        b'{"caller": "a", "expires": "10000-01-01T00:00:00Z"}',
        b'{"caller": ""}',
        b'{"caller": " a"}',
        b'{"caller": "a\\u0000"}',
        b'{"caller": "a\\u001b[31m"}',
        b'{"caller": "a\\u202e"}',
        b'{"caller": "\\ud800"}',
        b'{"caller": "a", "group": ""}',
        b'{"caller": "a", "note": "\\u001b[2J"}',
        b'{"caller": "' + b"a" * 129 + b'"}',
        b'{"caller":' * 1000,
        b"[" * 10_000,
    ],
)
async def test_nonsense_makes_no_key(office: Office, body: bytes) -> None:
    refusal = await office.refusal("POST", "/keys", body=body)
    assert (refusal.status, refusal.type) == (400, "invalid_request_error")
    assert office.ledger.rows == {}


@pytest.mark.parametrize(
    "body",
    [
        b'{"overlap_seconds": -1}',
        b'{"overlap_seconds": 7776001}',
        b'{"overlap_seconds": 1e400}',
        b'{"overlap_seconds": NaN}',
        b'{"overlap_seconds": "60"}',
        b'{"overlap": 60}',
        b"[]",
    ],
)
async def test_a_nonsensical_overlap_replaces_nothing(office: Office, body: bytes) -> None:
    old = await office.json("POST", "/keys", body={"caller": "team-a"})
    assert (await office.refusal("POST", f"/keys/{old['id']}/rotate", body=body)).status == 400
    assert list(office.ledger.rows) == [old["id"]]


# What can fail.


@rows(
    ("method", "path", "query", "body"),
    [
        ("GET", "/usage", "", None),
        ("DELETE", "/usage", "caller=a", None),
        ("GET", "/keys", "", None),
        ("POST", "/keys", "", {"caller": "a"}),
        ("POST", "/keys/a/rotate", "", None),
        ("POST", "/keys/a/revoke", "", None),
    ],
)
async def test_a_database_that_is_away_is_told(
    office: Office, method: str, path: str, query: str, body: object
) -> None:
    office.ledger.away = True
    refusal = await office.refusal(method, path, query, body)
    assert isinstance(refusal, Unavailable)
    assert (refusal.status, refusal.code) == (503, "ledger_unavailable")


async def test_the_state_is_told_without_the_database(office: Office) -> None:
    office.ledger.away = True
    [status] = (await office.json("GET", "/deployments"))["models"]["chat"]
    assert (status["deployment"], status["status"]) == ("east", "ready")
    assert (await office.json("GET", "/ledger"))["status"] == "ok"


# The document.


def document() -> dict[str, Any]:
    found = asset("admin-openapi.json")
    assert found is not None
    assert found.content_type == "application/json"
    loaded: dict[str, Any] = json.loads(found.content)
    return loaded


def operations() -> set[tuple[str, str]]:
    methods = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
    return {(name.upper(), path) for path, item in document()["paths"].items() for name in set(item) & methods}


def routed() -> set[tuple[str, str]]:
    return {(method, path) for path, methods in ADMIN_ROUTES.items() for method in methods if method != "HEAD"}


def test_the_document_is_valid() -> None:
    validate(document())


def test_every_route_is_in_the_document_and_no_other() -> None:
    assert operations() == routed()
    with_get = {path for method, path in routed() if method == "GET"}
    assert {path for path, methods in ADMIN_ROUTES.items() if "HEAD" in methods} == with_get


def answered() -> set[tuple[str, str]]:
    """Read off the code which methods and paths it answers."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
        if isinstance(node, ast.match_case) and isinstance(node.pattern, ast.MatchSequence):
            methods, path = (
                [each.value for each in ast.walk(part) if isinstance(each, ast.Constant)]
                for part in node.pattern.patterns
            )
            found |= set(product(map(str, methods), map(str, path)))
    return found


async def test_every_route_is_answered_and_no_other(office: Office) -> None:
    """The feed and the way to sign in are answered before, see test_feed.py and above."""
    routes = {path: methods for path, methods in ADMIN_ROUTES.items() if path not in (ADMIN_FEED, ADMIN_SIGN_IN)}
    fixed = {(method, path) for path, methods in routes.items() for method in methods if "{" not in path}
    assert answered() == fixed
    for method, path in product(("GET", "HEAD", "POST", "DELETE", "PUT"), [*routes, "/", "", "/keys/{id}", "/x"]):
        try:
            await office.answer(method, path.replace("{id}", "nobody"))
            code = ""
        except RelayError as error:
            code = error.code
        assert (code == "unknown_route") == (method not in routes.get(path, ())), (method, path)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": document()["components"]}


def conforms(value: object, schema: dict[str, Any]) -> list[str]:
    validator = OAS31Validator(resolved(schema), format_checker=OAS31Validator.FORMAT_CHECKER)
    return [error.message for error in validator.iter_errors(value)]


def response(method: str, path: str, status: int) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path][method.lower()]["responses"][str(status)]
    if "$ref" in found:
        found = document()["components"]["responses"][found["$ref"].rpartition("/")[2]]
    schema: dict[str, Any] = found["content"]["application/json"]["schema"]
    return schema


async def test_a_level_of_the_log_is_set_in_every_worker(office: Office) -> None:
    shown = await office.json("GET", "/log-level")
    assert shown == await office.json("PUT", "/log-level", body={"level": "debug", "seconds": 600})
    assert [worker["process"] for worker in shown["workers"]] == [7]
    await office.json("PUT", "/log-level", body={"level": None, "logger": "chukei.request"})
    assert [json.loads(told) for told in office.told if told] == [
        {"level": "debug", "seconds": 600},
        {"level": None, "logger": "chukei.request"},
    ]


@rows(
    ("body", "param"),
    [
        ({"level": "loud"}, None),
        ({"logger": "chukei"}, None),
        ({"level": "debug", "logger": "not a name"}, "logger"),
        ({"level": "debug", "logger": "crowd"}, "logger"),
        ({"level": "debug", "seconds": 0}, "seconds"),
        ({"level": "debug", "seconds": 1e9}, "seconds"),
    ],
)
async def test_a_level_that_makes_no_sense_is_refused(office: Office, body: object, param: str | None) -> None:
    refusal = await office.refusal("PUT", "/log-level", body=body)
    assert refusal.status == 400
    assert json.loads(refusal.body)["error"]["param"] == param


async def test_answers_are_what_the_document_says(office: Office) -> None:
    made = json.loads((await office.answer("POST", "/keys", body={"caller": "a", "note": "n"})).body)
    calls: Sequence[tuple[str, str, str, object]] = [
        ("GET", "/usage", "by=caller", None),
        ("DELETE", "/usage", "caller=a", None),
        ("GET", "/callers", "find=a", None),
        ("GET", "/callers/{caller}", "", None),
        ("GET", "/groups", "", None),
        ("GET", "/keys", "", None),
        ("POST", "/keys", "", {"caller": "b", "expires": "2027-01-01T00:00:00Z"}),
        ("POST", "/keys/{id}/rotate", "", {}),
        ("POST", "/keys/{id}/revoke", "", None),
        ("GET", "/session", "", None),
        ("GET", "/deployments", "", None),
        ("GET", "/ledger", "", None),
        ("GET", "/configuration", "", None),
        ("POST", "/rules", "", {"subject": "caller:a", "limits": {"money_per_month": 2.5}, "groups": ["research"]}),
        ("GET", "/rules", "", None),
        ("GET", "/changes", "", None),
        ("POST", "/reload", "", None),
        ("GET", "/log-level", "", None),
        ("PUT", "/log-level", "", {"level": "debug", "seconds": 600}),
    ]
    assert {(method, path) for method, path, _, _ in calls} | {
        ("GET", ADMIN_FEED),
        ("GET", ADMIN_SIGN_IN),
    } == operations()
    for method, path, query, body in calls:
        path_asked = path.replace("{id}", made["id"]).replace("{caller}", "a")
        answer = await office.answer(method, path_asked, query, body)
        told = json.loads(answer.body)
        assert conforms(told, response(method, path, answer.status)) == [], (method, path)
        assert conforms({}, response(method, path, answer.status)) != []


async def test_errors_are_what_the_document_says(office: Office) -> None:
    for method, path, query, status in [
        ("GET", "/usage", "by=x", 400),
        ("POST", "/keys/{id}/rotate", "", 404),
        ("POST", "/keys", "", 400),
    ]:
        refusal = await office.refusal(method, path.replace("{id}", "nobody"), query)
        assert refusal.status == status
        assert conforms(json.loads(refusal.body), response(method, path, status)) == []


async def test_errors_are_those_of_the_documents_examples(office: Office) -> None:
    office.ledger.sums = []
    ended = json.loads((await office.answer("POST", "/keys", body={"caller": "a"})).body)["id"]
    await office.answer("POST", f"/keys/{ended}/revoke")
    refusals = [
        await office.refusal("GET", "/usage", "by=x"),
        await office.refusal("GET", "/usage", "callr=a"),
        await office.refusal("GET", "/usage", "caller=a&caller=b"),
        await office.refusal("POST", "/keys", body={}),
        await office.refusal("POST", f"/keys/{ended}/rotate"),
        await office.refusal("POST", "/keys/nobody/revoke"),
        await office.refusal("GET", "/callers/nobody"),
    ]
    office.quota.away = True
    refusals.append(await office.refusal("GET", "/groups"))
    office.reloaded = Reloaded(problems=("relay.toml: sever: is not a known key; did you mean server?",))
    refusals.append(await office.refusal("POST", "/reload"))
    for headers in (sent(GOOD, (b"api-key", b"x")), bearer("a.useless.token"), *[sent()] * 4):
        with pytest.raises(CallerError) as caught:
            await serve(office, FakeIncoming(headers=headers), "/keys")
        refusals.append(caught.value)
    with pytest.raises(CallerError) as caught:
        await serve(office, FakeIncoming(headers=bearer("a.looking.token")), "/keys")
    refusals.append(caught.value)
    told = {refusal.code: json.loads(refusal.body) for refusal in refusals}
    shown = {
        code: example["value"]
        for found in document()["components"]["responses"].values()
        for code, example in found["content"]["application/json"]["examples"].items()
    }
    assert {code: shown.get(code) for code in told} == told
    assert set(shown) - set(told) == {
        "request_too_large",
        "ledger_unavailable",
        "too_many_viewers",
        "token_expired",
        "identity_unavailable",
    }


def test_the_examples_of_the_document_are_right() -> None:
    examples = 0
    for item in document()["paths"].values():
        for operation in (value for value in item.values() if isinstance(value, dict)):
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for kind, content in (item for body in bodies for item in body.get("content", {}).items()):
                if kind != "text/csv":
                    assert conforms(content["example"], content["schema"]) == []
                    examples += 1
    assert examples == 26
    for found in document()["components"]["responses"].values():
        [content] = found["content"].values()
        for name, example in content["examples"].items():
            assert conforms(example["value"], content["schema"]) == []
            assert example["value"]["error"]["code"] == name


@rows(
    ("method", "path", "query", "body", "code"),
    [
        ("DELETE", "/usage", "caller=a&caller=b", b"", "duplicate_parameter"),
        ("GET", "/usage", "by=day&by=day", b"", "duplicate_parameter"),
        ("GET", "/keys", "caller=a", b"", "unknown_parameter"),
        ("GET", "/ledger", "x", b"", "unknown_parameter"),
        ("POST", "/keys", "caller=a", b'{"caller":"b"}', "unknown_parameter"),
        ("POST", "/keys", "", b'{"caller":"a","caller":"b"}', "duplicate_parameter"),
        ("POST", "/keys", "", b'{"caller":"a","c\\u0061ller":"b"}', "duplicate_parameter"),
        ("POST", "/keys", "", b'{"caller":"bad name!"}', "invalid_value"),
        ("POST", "/keys/x/rotate", "", b'{"overlap_seconds":0,"overlap_seconds":9}', "duplicate_parameter"),
        ("POST", "/keys/x/revoke", "", b'{"id":"y"}', "invalid_json"),
    ],
)
async def test_what_is_doubled_or_unknown_is_refused(
    office: Office, method: str, path: str, query: str, body: bytes, code: str
) -> None:
    with pytest.raises(CallerError) as caught:
        await office.admin.answer(office.who, method, path, query, body)
    assert (caught.value.status, caught.value.code) == (400, code)
