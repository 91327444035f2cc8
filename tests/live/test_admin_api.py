"""The administrators' API and a caller's own usage on a relay process, and their answers to hostile requests."""

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import markdown
from tests.live.callers import ENVIRONMENT, config, key_of
from tests.live.plain_http import CHAT, DEADLINE, Answer, ask, assert_serves, post
from tests.live.relays import RelayProcess, clean_environment
from tests.live.simulated import SimulatorThread

pytestmark = pytest.mark.anyio

KEY = "admin-7d1f03b2c94e58a6-never-in-a-log"
ADMIN = [("authorization", f"Bearer {KEY}")]
ROUTES = [
    ("GET", "/admin/usage"),
    ("DELETE", "/admin/usage?caller=team-a"),
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys"),
    ("POST", "/admin/keys/nobody/rotate"),
    ("POST", "/admin/keys/nobody/revoke"),
    ("GET", "/admin/deployments"),
    ("GET", "/admin/ledger"),
]


class Office:
    """A relay with administrators."""

    def __init__(self, process: RelayProcess, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.planted = [KEY]

    async def ask(self, method: str, target: str, body: object = None, *more: tuple[str, str]) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await ask(self.process.url, method, target, [*ADMIN, *more], raw)

    async def json(self, method: str, target: str, body: object = None, status: int = 200) -> Any:
        answer = await self.ask(method, target, body)
        assert answer.status == status, answer
        return answer.json()

    async def make_key(self, caller: str) -> dict[str, Any]:
        made: dict[str, Any] = await self.json("POST", "/admin/keys", {"caller": caller}, status=201)
        self.planted.append(made["key"][17:])
        return made

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.process.log if line.startswith("{")]


@pytest.fixture(scope="module")
def office(simulator_thread: SimulatorThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    limits = {"limits": {"tokens_per_day": 1_000_000, "money_per_month": 50}}
    groups = {"everybody": limits, "research": limits}
    file = config(folder / "chukei.toml", simulator_thread.url, {"fixed": {}}, groups)
    environment = {
        **ENVIRONMENT,
        "CHUKEI_ADMIN__API_KEY": KEY,
        "CHUKEI_STORES__LEDGER": f"sqlite:///{folder}/ledger.db",
        "CHUKEI_LOG__LEVEL": "debug",
        "CHUKEI_LOG__FORMAT": "json",
        "CHUKEI_AUTH__FAILURES_PER_MINUTE": "0",
        "CHUKEI_SERVER__CORS_ORIGINS": '["https://app.example"]',
    }
    with RelayProcess(environment, "--config", str(file)) as process:
        office = Office(process, folder)
        yield office
    log = "\n".join(process.log)
    assert [secret for secret in office.planted if secret in log] == []
    kept = b"".join(path.read_bytes() for path in folder.glob("ledger.db*"))
    assert [secret for secret in office.planted if secret.encode() in kept] == []


async def eventually(what: Callable[[], Any]) -> Any:
    """Ask again until the answer is something."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await what()
            if found:
                return found
            await asyncio.sleep(0.05)


# From end to end.


async def test_a_key_is_made_used_counted_replaced_and_revoked(office: Office) -> None:
    made = await office.make_key("team-a")
    url = office.process.url
    bearer = [("authorization", f"Bearer {made['key']}")]

    async def opens() -> bool:
        return (await ask(url, "GET", "/v1/models", bearer)).status == 200

    await eventually(opens)
    for _ in range(3):
        await assert_serves(url, bearer)

    async def counted() -> Any:
        rows = (await office.json("GET", "/admin/usage?by=caller,model&caller=team-a"))["data"]
        return rows[0] if rows and rows[0]["requests"] == 3 else None

    row = await eventually(counted)
    assert (row["model"], row["failed"]) == ("chat", 0)
    assert row["cost"] == pytest.approx((row["input"] * 2.5 + row["output"] * 10) / 1e6, abs=4e-6)

    own = (await ask(url, "GET", "/v1/usage", bearer)).json()
    assert (own["caller"], own["groups"]) == ("team-a", [])
    assert own["usage"]["today"]["requests"] == own["usage"]["month"]["requests"] == 3
    assert own["usage"]["month"]["models"][0]["model"] == "chat"
    limits = {limit["limit"]: limit for limit in own["limits"]}
    assert set(limits) == {"tokens_per_day", "money_per_month"}
    assert limits["tokens_per_day"]["subject"] == "caller:team-a"
    assert limits["tokens_per_day"]["remaining"] == 1_000_000 - row["input"] - row["output"]
    assert limits["money_per_month"]["most"] == 50
    assert limits["money_per_month"]["remaining"] == pytest.approx(50 - row["cost"])

    new = await office.json("POST", f"/admin/keys/{made['id']}/rotate", {"overlap_seconds": 3600}, status=201)
    office.planted.append(new["key"][17:])
    assert (await ask(url, "GET", "/v1/models", bearer)).status == 200
    await office.json("POST", f"/admin/keys/{made['id']}/revoke")

    async def closed() -> bool:
        return (await ask(url, "GET", "/v1/models", bearer)).status == 401

    await eventually(closed)
    states = {key["id"]: key["state"] for key in (await office.json("GET", "/admin/keys"))["data"]}
    assert (states[made["id"]], states[new["id"]]) == ("revoked", "active")


async def test_a_caller_sees_its_own_only(office: Office) -> None:
    url = office.process.url
    fixed = [("api-key", key_of("fixed"))]
    await assert_serves(url, fixed)
    for path in ("/v1/usage", "/openai/v1/usage", "/v1/usage?caller=team-a"):
        answer = await ask(url, "GET", path, fixed)
        assert answer.status == 200
        assert answer.json()["caller"] == "fixed"
        assert answer.header("cache-control") == "no-store"
        assert b"team-a" not in answer.body
    assert (await ask(url, "GET", "/v1/usage")).status == 401
    assert (await ask(url, "GET", "/v1/usage", ADMIN)).status == 401
    assert (await post(url, "/v1/usage", b"{}", fixed)).status == 405


async def test_a_caller_is_forgotten(office: Office) -> None:
    made = await office.make_key("to-be-forgotten")
    bearer = [("authorization", f"Bearer {made['key']}")]

    async def serves() -> bool:
        return (await post(office.process.url, "/v1/chat/completions", CHAT, bearer)).status == 200

    await eventually(serves)

    async def counted() -> Any:
        return (await office.json("GET", "/admin/usage?caller=to-be-forgotten"))["data"]

    await eventually(counted)
    assert (await office.json("DELETE", "/admin/usage?caller=to-be-forgotten"))["deleted"] == 1
    assert await counted() == []
    assert (await office.json("DELETE", "/admin/usage?caller=to-be-forgotten"))["deleted"] == 0


async def test_usage_as_a_file(office: Office) -> None:
    answer = await office.ask("GET", "/admin/usage?by=day,end-reason&format=csv")
    assert answer.header("content-type") == "text/csv; charset=utf-8"
    head, *_ = csv.reader(io.StringIO(answer.body.decode()))
    assert head[:3] == ["day", "end-reason", "requests"]


async def test_the_state_of_the_relay(office: Office) -> None:
    [status] = (await office.json("GET", "/admin/deployments"))["models"]["chat"]
    assert status["status"] == "ready"
    assert (await office.json("GET", "/admin/ledger"))["status"] == "ok"


async def test_the_page_and_the_document_are_open_and_hold_nothing(office: Office) -> None:
    url = office.process.url
    page = await ask(url, "GET", "/admin")
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    policy = page.header("content-security-policy") or ""
    assert "script-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert page.header("referrer-policy") == "no-referrer"
    moved = await ask(url, "GET", "/admin/")
    assert (moved.status, moved.header("location")) == (308, "../admin")
    document = await ask(url, "GET", "/admin/openapi.json")
    assert (document.status, document.header("content-type")) == (200, "application/json")
    assert document.json()["openapi"].startswith("3.1")


async def test_heads(office: Office) -> None:
    for path in ("/admin", "/admin/openapi.json", "/admin/usage", "/admin/keys", "/admin/deployments", "/admin/ledger"):
        answer = await office.ask("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.header("content-length") or 0) > 0


# Authentication.


WRONG = [
    [],
    [("authorization", "Bearer wrong")],
    [("authorization", f"Basic {KEY}")],
    [("authorization", f"Bearer {KEY}0")],
    [("authorization", f"Bearer {KEY[:-1]}")],
    [("authorization", f"Bearer {key_of('fixed')}")],
    [("api-key", KEY)],
    [("x-api-key", KEY)],
    [("cookie", f"admin={KEY}")],
    [("authorization", "Bearer \xe9\xff")],
    [("authorization", "Bearer " + "a" * 10_000)],
    [("x-original-url", "/health/live"), ("x-rewrite-url", "/health/live")],
]


@pytest.mark.parametrize(("method", "target"), ROUTES)
async def test_nobody_else_gets_in(office: Office, method: str, target: str) -> None:
    for headers in WRONG:
        answer = await ask(office.process.url, method, target, headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_admin_key"), headers
        assert answer.header("www-authenticate") == 'Bearer realm="chukei admin"'


async def test_a_key_in_the_address_opens_nothing(office: Office) -> None:
    other = "not-the-key-of-administrators"  # what is in an address may be logged, so never the real one
    for name in ("key", "api_key", "access_token", "authorization"):
        assert (await ask(office.process.url, "GET", f"/admin/keys?{name}={other}")).status == 401


async def test_two_credentials(office: Office) -> None:
    answer = await office.ask("GET", "/admin/keys", None, ("api-key", key_of("fixed")))
    assert (answer.status, answer.error["code"]) == (400, "ambiguous_credentials")
    answer = await office.ask("GET", "/admin/keys", None, ("authorization", "Bearer other"))
    assert (answer.status, answer.error["code"]) == (400, "ambiguous_request")


async def test_the_administrators_key_is_no_callers_key(office: Office) -> None:
    for headers in (ADMIN, [("api-key", KEY)]):
        assert (await post(office.process.url, "/v1/chat/completions", CHAT, headers)).status == 401


async def test_other_sites_pages_are_kept_out(office: Office) -> None:
    """Also those that may use the models."""
    url, origin = office.process.url, ("origin", "https://app.example")
    asked = ("access-control-request-method", "GET")
    assert (await ask(url, "OPTIONS", "/v1/models", [origin, asked])).header("access-control-allow-origin")
    for target in ("/admin", "/admin/openapi.json", "/admin/keys", "/admin/nothing"):
        answer = await ask(url, "OPTIONS", target, [origin, asked])
        assert answer.status in (404, 405)
        assert not any(name.startswith("access-control") for name in answer.names)
        answer = await ask(url, "GET", target, [origin, *ADMIN])
        assert not any(name.startswith("access-control") for name in answer.names)
    assert (await ask(url, "GET", "/admin/keys", [origin])).status == 401


async def test_guessing_ends_in_429_and_the_key_still_opens(simulator_thread: SimulatorThread, tmp_path: Path) -> None:
    environment = {
        "AZURE_OPENAI_ENDPOINT": simulator_thread.url,
        "AZURE_OPENAI_API_KEY": "upstream-secret-key",
        "CHUKEI_ADMIN__API_KEY": KEY,
        "CHUKEI_STORES__LEDGER": f"sqlite:///{tmp_path}/ledger.db",
        "CHUKEI_AUTH__FAILURES_PER_MINUTE": "5",
        "CHUKEI_LOG__LEVEL": "debug",
    }
    with RelayProcess(environment) as relay:
        answers = [
            await ask(relay.url, "GET", "/admin/keys", [("authorization", f"Bearer guess-{n}")]) for n in range(12)
        ]
        assert [answer.status for answer in answers[:5]] == [401] * 5
        assert answers[-1].status == 429
        assert answers[-1].error["code"] == "too_many_failures"
        assert int(answers[-1].header("retry-after") or 0) >= 1
        assert (await ask(relay.url, "GET", "/admin/keys", ADMIN)).status == 200
    assert not any("guess-" in line or KEY in line for line in relay.log)


@pytest.mark.parametrize("extra", [{}, {"CHUKEI_SERVER__CORS_ORIGINS": '["*"]'}], ids=["plain", "cors"])
async def test_without_a_key_in_the_configuration_there_is_nothing(
    simulator_thread: SimulatorThread, tmp_path: Path, extra: dict[str, str]
) -> None:
    environment = {
        "AZURE_OPENAI_ENDPOINT": simulator_thread.url,
        "AZURE_OPENAI_API_KEY": "upstream-secret-key",
        "CHUKEI_STORES__LEDGER": f"sqlite:///{tmp_path}/ledger.db",
        **extra,
    }
    paths = ["/admin", "/admin/", "/admin/openapi.json", "/admin/nothing", *(target for _, target in ROUTES)]
    with RelayProcess(environment) as relay:
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
            for path in paths:
                answer = await ask(relay.url, method, path, [*ADMIN, ("origin", "https://x.test")])
                assert answer.status == 404, (method, path)
                if method != "HEAD":
                    assert answer.error["code"] == "unknown_route"
                    nowhere = await ask(relay.url, "POST", path.replace("admin", "nimda"), ADMIN)
                    told = nowhere.error["message"].replace("nimda", "admin")
                    assert answer.error["message"] == told


# Bad input.


QUESTIONS = [
    "by=nothing",
    "by=",
    "by=caller,caller",
    "by=" + ",".join(["caller"] * 2000),
    "by=caller%3Bdrop%20table%20chukei_entries",
    "by=%00",
    "since=999999w",
    "since=" + "9" * 5000 + "d",
    "since=%ff%fe",
    "since=0001-01-01T00:00%2B23:59",
    "since=0001-01-01T00:00-23:59&until=9999-12-31T23:59-23:59",
    "until=x",
    "limit=100001",
    "limit=-1",
    "format=html",
    "since=7d&groupby=caller",
    "=",
    "caller=a&Caller=b",
]


async def test_nonsensical_questions(office: Office) -> None:
    for query in QUESTIONS:
        answer = await office.ask("GET", f"/admin/usage?{query}")
        assert answer.status in (400, 200) if query.startswith("since=0001") else answer.status == 400, query[:40]
        if answer.status == 400:
            assert answer.error["type"] == "invalid_request_error"


async def test_names_that_nobody_has(office: Office) -> None:
    for name in ("%00", "%ff", "'%20OR%20'1'='1", "%ED%A0%80", "a" * 4000, "%F0%9F%94%91", "%25"):
        for part in ("caller", "group", "model"):
            told = await office.json("GET", f"/admin/usage?{part}={name}")
            assert (told["rows"], told["data"]) == (0, []), name
        assert (await office.json("DELETE", f"/admin/usage?caller={name}"))["deleted"] == 0


NO_KEYS = [
    b"",
    b"{",
    b"\x00",
    b"\xff\xfe{\x00}\x00",
    b"null",
    b'{"caller": {"$gt": ""}}',
    b'{"caller": "a", "caller_group": "b"}',
    b'{"caller": "\\u202egpj.exe"}',
    b'{"caller": "a", "expires": "9999-99-99"}',
    b'{"caller": "a", "expires": -1}',
    b"[" * 8000,
    b'{"a":' * 2000,
]


async def test_nonsensical_keys(office: Office) -> None:
    before = (await office.json("GET", "/admin/keys"))["data"]
    for body in NO_KEYS:
        answer = await office.ask("POST", "/admin/keys", body)
        assert (answer.status, answer.error["type"]) == (400, "invalid_request_error"), body[:24]
    assert (await office.json("GET", "/admin/keys"))["data"] == before


@pytest.mark.parametrize(
    ("target", "size"), [("/admin/keys", 16 * 1024 + 1), ("/admin/keys/nobody/revoke", 1024 * 1024)]
)
async def test_large_bodies(office: Office, target: str, size: int) -> None:
    answer = await office.ask("POST", target, b'{"caller": "' + b"a" * size + b'"}')
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert "16384" in answer.error["message"]
    chunked = b"".join(b"4000\r\n" + b"a" * 0x4000 + b"\r\n" for _ in range(size // 0x4000 + 1)) + b"0\r\n\r\n"
    answer = await office.ask("POST", target, chunked, ("transfer-encoding", "chunked"))
    assert answer.status == 413
    stranger = await ask(office.process.url, "POST", target, [], b"a" * size)
    assert stranger.status == 401


NO_PATHS = [
    "/admin/../admin/keys",
    "/admin/./keys",
    "/admin//keys",
    "//admin/keys",
    "/%61dmin/keys",
    "/Admin/keys",
    "/admin%2Fkeys",
    "/admin/keys/a/rotate/b",
    "/admin/keys/rotate",
    "/admin/keys/" + "a" * 129 + "/rotate",
    "/admin/keys;x=1",
    "/admin/web/admin.js",
    "/admin/admin.html",
    "/administration",
    "/admin/keys/nobody",
    "/health/live/../../admin/keys",
]


async def test_other_paths_lead_nowhere(office: Office) -> None:
    for path in NO_PATHS:
        for method in ("GET", "POST", "DELETE"):
            answer = await office.ask(method, path)
            assert (answer.status, answer.error["code"]) == (404, "unknown_route"), (method, path)


async def test_ids_that_no_key_has(office: Office) -> None:
    for id in ("..%2f..%2fusage", "%2e%2e", "%00", "%ff", "'%20OR%201=1--", "%F0%9F%94%91", "*"):
        for action in ("rotate", "revoke"):
            answer = await office.ask("POST", f"/admin/keys/{id}/{action}")
            assert (answer.status, answer.error["code"]) == (404, "key_not_found"), id


async def test_wrong_methods(office: Office) -> None:
    for method, path, allow in [
        ("PUT", "/admin/keys", "GET, HEAD, POST"),
        ("PATCH", "/admin/usage", "GET, HEAD, DELETE"),
        ("GET", "/admin/keys/nobody/revoke", "POST"),
        ("POST", "/admin/openapi.json", "GET, HEAD"),
        ("DELETE", "/admin", "GET, HEAD"),
    ]:
        answer = await office.ask(method, path)
        assert (answer.status, answer.error["code"], answer.header("allow")) == (405, "method_not_allowed", allow)


async def test_what_would_be_code(office: Office) -> None:
    """Names are refused. Notes come back as they are, as JSON, with a type that no browser takes for a page."""
    code = "<script>alert(1)</script>\"';--"
    answer = await office.ask("POST", "/admin/keys", {"caller": code})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_value", "caller")
    note = f"{code} ${{7*7}}{{{{7*7}}}}"
    made = await office.json("POST", "/admin/keys", {"caller": "team-code", "note": note}, status=201)
    office.planted.append(made["key"][17:])
    answer = await office.ask("GET", "/admin/keys")
    assert (answer.header("content-type"), answer.header("x-content-type-options")) == ("application/json", "nosniff")
    assert note in [key["note"] for key in answer.json()["data"]]


# Leftovers.


async def test_the_log_knows_the_request_and_no_caller(office: Office) -> None:
    identity = ("x-request-id", "an-administrators-request")
    await office.ask("GET", "/admin/usage?caller=somebodys-name", None, identity)

    async def found() -> Any:
        return [line for line in office.logged() if line.get("request_id") == identity[1] and "status" in line]

    [line] = await eventually(found)
    assert (line["operation"], line["status"], line["path"]) == ("admin", 200, "/admin/usage")
    assert line.get("caller") is None
    assert "somebodys-name" not in json.dumps(line)


async def test_administrators_are_not_in_the_ledger(office: Office) -> None:
    with sqlite3.connect(f"file:{office.folder}/ledger.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT DISTINCT operation FROM chukei_entries").fetchall()
    assert {operation for (operation,) in rows} <= {"chat"}


async def test_a_ledger_that_is_locked_is_told_and_models_go_on(office: Office) -> None:
    database = sqlite3.connect(office.folder / "ledger.db", isolation_level=None)
    try:
        database.execute("BEGIN EXCLUSIVE")
        async with asyncio.timeout(DEADLINE):
            answer = await office.ask("POST", "/admin/keys", {"caller": "locked-out"})
        assert (answer.status, answer.error["code"]) == (503, "ledger_unavailable")
        await assert_serves(office.process.url, [("api-key", key_of("fixed"))])
    finally:
        database.close()

    async def works() -> bool:
        return (await office.ask("GET", "/admin/keys")).status == 200

    await eventually(works)


async def test_what_is_printed_runs(office: Office) -> None:
    """The commands of docs/administration.md, line by line, with a key that there is."""
    [printed] = [fence.text for fence in markdown.fences("sh") if "alias admin=" in fence.text]
    alias, *lines = [line for line in printed.split("\n") if line.strip()]
    assert len(lines) == 22
    made = await office.make_key("team-printed")
    for line in lines:
        command = line.replace("ZpS3X9Zgoo7a", made["id"])
        environment = clean_environment({"CHUKEI_ADMIN__API_KEY": KEY, "RELAY": office.process.url})
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            f"shopt -s expand_aliases\n{alias}\n{command}",
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, (command, err)
        assert out.startswith((b"{", b"day,")), command
        if b'"key"' in out:
            office.planted.append(json.loads(out)["key"][17:])
