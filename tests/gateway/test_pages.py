"""What the relay answers itself."""

import json
from dataclasses import replace

import pytest
from tests.fakes import FakeClock, FakeReply
from tests.rows import rows

from chukei.accounts.limits import Rules
from chukei.accounts.policy import Policies, Policy
from chukei.callers.gatekeeper import LOCAL
from chukei.config import PoolSettings
from chukei.errors import CallerError
from chukei.gateway.assets import Asset
from chukei.gateway.pages import TEST_TEXT, OwnUsage, Pages, Visit
from chukei.model import Caller, Deployment, End, Headers, Model
from chukei.pool import DeploymentStatus, Fault, Pool, Verdict
from chukei.ports import Clock
from chukei.record import RequestRecord
from chukei.request.routes import Page, Route, find
from chukei.stream import sse

pytestmark = pytest.mark.anyio

EAST = Deployment("east", "https://east.example", "gpt-4o")
WEST = Deployment("west", "https://west.example", "gpt-4o")
NORTH = Deployment("north", "https://north.example", "gpt-4o-mini")
NOW = 1000.0
BUSY = Verdict(Fault.BUSY, "upstream_429", 7.0)
DENIED = Verdict(Fault.MISCONFIGURED, "upstream_unauthorized")
MODELS = {"fast": Model("fast", (EAST,)), "chat": Model("chat", (EAST,))}


def pool_of(models: dict[str, Model], *, default: str | None = None, open: Deployment | None = None) -> Pool:
    return Pool(models, PoolSettings(), default=default, open=open, draw=lambda: 0.5)


POOL = pool_of(MODELS, default="chat")
OPEN = pool_of({}, open=EAST)
ASSETS = {
    "": Asset("text/html; charset=utf-8", b"<!doctype html>"),
    "web/app.js": Asset("text/javascript", b"export {}"),
}
COMMON: Headers = [(b"x-request-id", b"r")]


def ruled(rules: Rules) -> Policy:
    return Policies({}, {"everybody": rules}).of(LOCAL)


FREE = ruled(Rules())


async def get(
    path: str,
    pool: Pool = POOL,
    *,
    leaving: bool = False,
    simulated: bool = False,
    clock: Clock = FakeClock(NOW),  # noqa: B008 - nobody moves it
    policy: Policy = FREE,
    who: Caller | None = LOCAL,
    own_usage: OwnUsage | None = None,
    method: str = "GET",
    query: str = "",
    since: int = 0,
    language: str = "",
) -> tuple[FakeReply, RequestRecord]:
    reply, record = FakeReply(), RequestRecord("r", method, path, who=who)
    pages = Pages(pool, ASSETS.get, clock, simulated=simulated, pace=0.001, own_usage=own_usage, since=since)
    visit = Visit(record, policy, leaving=leaving, query=query, language=language)
    await pages.answer(find(method, path, ""), reply, COMMON, visit)
    assert reply.finished
    assert COMMON[0] in reply.headers
    return reply, record


async def test_what_the_browser_has_is_confirmed_with_the_policy_of_now() -> None:
    record = RequestRecord("r", "GET", "/")
    reply, pages = FakeReply(), Pages(POOL, ASSETS.get, FakeClock(), simulated=False)
    visit = Visit(record, FREE, headers=[(b"if-none-match", ASSETS[""].tag)])
    await pages.answer(find("GET", "/", ""), reply, COMMON, visit)
    fields = dict(reply.headers)
    assert (reply.status, record.status, reply.body) == (304, 304, b"")
    assert (fields[b"etag"], fields[b"cache-control"]) == (ASSETS[""].tag, b"no-cache")
    assert fields[b"content-security-policy"].startswith(b"default-src 'none'")
    assert b"content-length" not in fields


async def test_the_chat_page_runs_only_its_own_scripts() -> None:
    reply, record = await get("/")
    fields = dict(reply.headers)
    assert reply.body == b"<!doctype html>"
    policy = fields[b"content-security-policy"].decode()
    directives = dict(item.strip().split(" ", 1) for item in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert "unsafe" not in policy
    assert fields[b"x-content-type-options"] == b"nosniff"
    assert fields[b"content-length"] == b"15"
    assert (record.status, record.end) == (200, End.COMPLETED)


async def test_files_have_their_type() -> None:
    reply, _ = await get("/web/app.js")
    assert dict(reply.headers)[b"content-type"] == b"text/javascript"


@rows("path", ["/web/missing.js", "/web/../pages.py", "/web//etc/passwd", "/web/%2e%2e/pages.py"])
async def test_other_files_do_not_exist(path: str) -> None:
    with pytest.raises(CallerError) as caught:
        await get(path)
    assert caught.value.status == 404
    assert (b"cache-control", b"no-store") in caught.value.headers  # another replica may have it


async def test_models_are_listed_the_default_first() -> None:
    reply, _ = await get("/v1/models")
    listed = json.loads(reply.body)
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["chat", "fast"]
    first = listed["data"][0]
    assert {name: first[name] for name in first if name != "chukei"} == {
        "id": "chat",
        "object": "model",
        "created": 0,
        "owned_by": "chukei",
    }
    assert dict(reply.headers)[b"vary"] == b"accept-language"


async def test_models_began_when_the_relay_did() -> None:
    """Clients sort by it, and some refuse 0."""
    for path in ("/v1/models", "/v1/models/chat", "/openai/models"):
        reply, _ = await get(path, since=1_764_000_000)
        found = json.loads(reply.body)
        assert {model["created"] for model in found.get("data", [found])} == {1_764_000_000}


async def test_one_model_and_none() -> None:
    reply, _ = await get("/v1/models/fast")
    assert json.loads(reply.body)["id"] == "fast"
    with pytest.raises(CallerError) as caught:
        await get("/v1/models/other")
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


async def test_an_open_resource_lists_nothing_and_knows_every_name() -> None:
    reply, _ = await get("/v1/models", OPEN)
    listed = json.loads(reply.body)
    assert (listed["object"], listed["data"]) == ("list", [])
    reply, _ = await get("/v1/models/gpt-5", OPEN)
    assert json.loads(reply.body)["id"] == "gpt-5"


async def test_the_list_says_who_answers_and_how_much_may_be_sent() -> None:
    reply, _ = await get("/v1/models")
    assert json.loads(reply.body)["chukei"] == {"max_body_bytes": 32 * 1024 * 1024, "simulator": False}
    reply, _ = await get("/v1/models", simulated=True)
    assert json.loads(reply.body)["chukei"]["simulator"] is True
    assert dict(reply.headers)[b"x-chukei-simulator"] == b"true"


async def test_a_reload_changes_what_the_list_says() -> None:
    pages = Pages(POOL, ASSETS.get, FakeClock(), simulated=True, max_body_bytes=5000)
    found = []
    for each in (pages, pages.renewed(OPEN, simulated=False, max_body_bytes=7000)):
        reply, record = FakeReply(), RequestRecord("r", "GET", "/v1/models", who=LOCAL)
        await each.answer(find("GET", "/v1/models", ""), reply, COMMON, Visit(record, FREE))
        listed = json.loads(reply.body)
        found.append((len(listed["data"]), listed["chukei"]))
    assert found == [
        (2, {"max_body_bytes": 5000, "simulator": True}),
        (0, {"max_body_bytes": 7000, "simulator": False}),
    ]


async def test_a_model_is_described_in_the_list_and_alone() -> None:
    model = replace(MODELS["fast"], description="Fast.", descriptions={"ja": "速い。"})
    pool = pool_of({"fast": model})
    for path in ("/v1/models", "/v1/models/fast"):
        for language, expected in (("", "Fast."), ("ja-JP", "速い。"), ("de", "Fast.")):
            reply, _ = await get(path, pool, language=language)
            found = json.loads(reply.body)
            (shown,) = found.get("data", [found])
            assert shown["chukei"]["description"] == expected, path


async def test_health() -> None:
    reply, _ = await get("/health/live", leaving=True)
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "live"})
    reply, _ = await get("/health/ready")
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ready"})


@rows(("pool", "leaving"), [(POOL, True), (pool_of({}), False)])
async def test_a_relay_that_drains_or_serves_nothing_is_not_ready(pool: Pool, leaving: bool) -> None:
    reply, record = await get("/health/ready", pool, leaving=leaving)
    assert (reply.status, record.status) == (503, 503)


def troubled(verdict: Verdict, *, default: str | None = "chat", west: bool = True) -> Pool:
    """Return a pool in which that has happened to every deployment, or to all but ``west``."""
    pool = pool_of({"chat": Model("chat", (EAST, WEST)), "fast": Model("fast", (NORTH,))}, default=default)
    for model in ("chat", "chat", "fast"):
        lease = pool.choose(model, NOW)
        if west or lease.deployment is not WEST:
            lease.failed(NOW, verdict)
        lease.release(NOW)
    return pool


async def test_a_relay_whose_deployments_are_all_busy_is_ready() -> None:
    reply, _ = await get("/health/ready", troubled(BUSY))
    assert reply.status == 200


@rows("default", ["chat", None])
async def test_a_relay_is_ready_again_when_its_deployments_may_be_tried_again(default: str | None) -> None:
    pool, clock = troubled(DENIED, default=default), FakeClock(NOW)
    reply, record = await get("/health/ready", pool, clock=clock)
    assert (reply.status, record.status, json.loads(reply.body)) == (503, 503, {"status": "not ready"})
    clock.advance(PoolSettings().misconfigured_seconds)
    reply, record = await get("/health/ready", pool, clock=clock)
    assert (reply.status, record.status) == (200, 200)


async def test_one_deployment_of_the_default_model_is_enough_to_be_ready() -> None:
    reply, _ = await get("/health/ready", troubled(DENIED, west=False))
    assert reply.status == 200
    reply, _ = await get("/health/ready", troubled(DENIED, default="fast", west=False))
    assert reply.status == 503, "what serves other models only does not help"


async def test_each_deployment_is_shown_with_its_state_and_why() -> None:
    pool = troubled(BUSY, west=False)
    working = pool.choose("chat", NOW, cost=100)
    reply, record = await get("/health/deployments", pool, clock=FakeClock(NOW + 2.5))
    fields = dict(reply.headers)
    assert (reply.status, record.status, record.end) == (200, 200, End.COMPLETED)
    assert (fields[b"content-type"], fields[b"cache-control"]) == (b"application/json", b"no-store")
    shown = json.loads(reply.body)["models"]
    assert {name: [item["deployment"] for item in items] for name, items in shown.items()} == {
        "chat": ["east", "west"],
        "fast": ["north"],
    }
    east, west = shown["chat"]
    assert set(east) == set(DeploymentStatus.__slots__)
    assert (east["status"], east["seconds"], east["why"], east["failed"]) == ("cooling", 4.5, "upstream_429", 1)
    assert (west["status"], west["seconds"], west["why"], west["failed"]) == ("ready", 0.0, None, 0)
    assert (west["outstanding"], west["outstanding_tokens"]) == (1, 100)
    working.release(NOW)
    reply, _ = await get("/health/deployments", pool, clock=FakeClock(NOW + 7))
    states = [item["status"] for items in json.loads(reply.body)["models"].values() for item in items]
    assert states == ["ready"] * 3


async def test_where_deployments_are_and_how_they_are_called_there_is_not_shown() -> None:
    reply, _ = await get("/health/deployments", troubled(DENIED))
    for hidden in (b"example", b"https", b"gpt-4o", b"api_key", b"endpoint"):
        assert hidden not in reply.body


async def test_a_relay_that_serves_any_name_shows_those_that_were_asked_for() -> None:
    pool = pool_of({}, open=EAST)
    reply, _ = await get("/health/deployments", pool)
    assert json.loads(reply.body) == {"models": {}}
    pool.choose("gpt-5", NOW)
    reply, _ = await get("/health/deployments", pool)
    assert list(json.loads(reply.body)["models"]) == ["gpt-5"]


async def test_the_simulator_says_so() -> None:
    for path in ("/", "/v1/models", "/health/live"):
        assert (b"x-chukei-simulator", b"true") in (await get(path, simulated=True))[0].headers
        assert b"x-chukei-simulator" not in dict((await get(path))[0].headers)


async def test_the_test_stream_sends_each_character_by_itself() -> None:
    reply, _ = await get("/api/test-stream")
    *characters, done = reply.sent
    assert [sse.data_of(event).decode() for event in characters] == list(TEST_TEXT)
    assert done == sse.DONE
    assert dict(reply.headers)[b"x-accel-buffering"] == b"no"


async def test_each_event_of_the_test_stream_says_when_it_was_sent() -> None:
    times = iter([100.0, *(100.0 + place / 8 for place in range(len(TEST_TEXT)))])
    reply, _ = await get("/api/test-stream", clock=lambda: next(times))
    assert [event.split(b"\n")[0] for event in reply.sent[:3]] == [b"id: 0", b"id: 125", b"id: 250"]


async def test_the_times_of_the_test_stream_are_bounded() -> None:
    reply, _ = await get("/api/test-stream", query="pace=0.01&silence=0.001&x=1")
    assert len(reply.sent) == len(TEST_TEXT) + 1
    for query in ("silence=301", "silence=-1", "pace=0", "pace=2", "silence=nan", "silence=", "pace=ten"):
        with pytest.raises(CallerError, match="is a number of seconds") as refused:
            await get("/api/test-stream", query=query)
        assert (refused.value.status, refused.value.param) == (400, query.partition("=")[0])


def test_only_what_shows_nothing_is_open_to_all() -> None:
    pages = Pages(POOL, ASSETS.get, FakeClock(), simulated=False)
    closed = {page for page in Page if pages.needs_caller(page)}
    assert closed == {Page.DEPLOYMENTS, Page.MODELS, Page.TEST_STREAM, Page.USAGE}


async def test_a_route_that_is_no_page_sends_nothing() -> None:
    reply = FakeReply()
    pages = Pages(POOL, ASSETS.get, FakeClock(), simulated=False)
    await pages.answer(Route(), reply, [], Visit(RequestRecord("r", "GET", "/"), FREE))
    assert not reply.started


# What a caller's policy hides.


async def test_only_the_models_that_a_caller_may_use_are_listed() -> None:
    policy = ruled(Rules(models=("fast", "not-served")))
    reply, _ = await get("/v1/models", policy=policy)
    assert [model["id"] for model in json.loads(reply.body)["data"]] == ["fast"]
    reply, _ = await get("/v1/models/fast", policy=policy)
    assert json.loads(reply.body)["id"] == "fast"
    with pytest.raises(CallerError, match=r"groups\.everybody\.models allows fast") as caught:
        await get("/v1/models/chat", policy=policy)
    assert (caught.value.status, caught.value.code) == (403, "model_not_allowed")


async def test_an_open_resource_keeps_its_other_names_from_a_caller() -> None:
    with pytest.raises(CallerError) as caught:
        await get("/v1/models/gpt-5", OPEN, policy=ruled(Rules(models=())))
    assert caught.value.code == "model_not_allowed"


@rows("allowed", [True, None])
async def test_deployments_are_shown_unless_the_policy_says_no(allowed: bool | None) -> None:
    reply, _ = await get("/health/deployments", policy=ruled(Rules(see_deployment=allowed)))
    assert reply.status == 200
    with pytest.raises(CallerError, match=r"groups\.everybody\.see_deployment is false") as caught:
        await get("/health/deployments", policy=ruled(Rules(see_deployment=False)))
    assert (caught.value.status, caught.value.code) == (403, "not_allowed")


async def test_a_caller_hears_of_its_own_usage() -> None:
    asked: list[tuple[Caller, Policy]] = []

    async def own(caller: Caller, policy: Policy) -> object:
        asked.append((caller, policy))
        return {"caller": caller.name}

    reply, _ = await get("/v1/usage", own_usage=own)
    assert (reply.status, json.loads(reply.body)) == (200, {"caller": "local"})
    assert dict(reply.headers)[b"cache-control"] == b"no-store"
    assert asked == [(LOCAL, FREE)]
    with pytest.raises(CallerError) as caught:
        await get("/v1/usage", own_usage=own, who=None)
    assert caught.value.status == 404
    with pytest.raises(CallerError) as caught:
        await get("/v1/usage")
    assert (caught.value.status, caught.value.code) == (404, "unknown_route")
    assert len(asked) == 1


async def test_the_administrators_page_sends_on_to_its_name() -> None:
    reply, record = await get("/admin/")
    assert (reply.status, record.status, reply.body) == (308, 308, b"")
    assert dict(reply.headers)[b"location"] == b"../admin"


async def test_the_test_stream_without_a_body() -> None:
    reply, _ = await get("/api/test-stream", method="HEAD")
    assert reply.body == sse.DONE


@rows("path", ["/admin", "/", "/web/app.js", "/admin/openapi.json"])
async def test_only_the_console_may_connect_to_where_administrators_sign_in(path: str) -> None:
    assets = {**ASSETS, "admin.html": ASSETS[""], "admin-openapi.json": ASSETS[""]}
    origins = {}
    for sign_in in ("https://login.example", None):
        pages, reply = Pages(POOL, assets.get, FakeClock(), simulated=False, sign_in=sign_in), FakeReply()
        visit = Visit(RequestRecord("r", "GET", path), FREE)
        await pages.renewed(POOL, simulated=False, max_body_bytes=None, sign_in=sign_in).answer(
            find("GET", path, ""), reply, COMMON, visit
        )
        policy = dict(reply.headers)[b"content-security-policy"].decode()
        directives = dict(item.strip().split(" ", 1) for item in policy.split(";"))
        origins[sign_in] = directives.pop("connect-src")
        assert directives["form-action"] == directives["base-uri"] == "'none'"
    assert origins[None] == "'self'"
    assert origins["https://login.example"] == ("'self' https://login.example" if path == "/admin" else "'self'")
