"""What the relay answers itself."""

import json

import pytest
from tests.fakes import FakeClock, FakeReply

from chukei import sse
from chukei.config import PoolSettings
from chukei.errors import CallerError
from chukei.model import Deployment, End, Headers, Model
from chukei.pages import TEST_TEXT, Asset, Pages
from chukei.pool import Pool
from chukei.routes import Page, Route, find
from chukei.telemetry import RequestRecord

pytestmark = pytest.mark.anyio

EAST = Deployment("east", "https://east.example", "gpt-4o")
MODELS = {"fast": Model("fast", (EAST,)), "chat": Model("chat", (EAST,))}


def pool_of(models: dict[str, Model], *, default: str | None = None, open: Deployment | None = None) -> Pool:
    return Pool(models, PoolSettings(), default=default, open=open, draw=lambda: 0.5)


POOL = pool_of(MODELS, default="chat")
OPEN = pool_of({}, open=EAST)
ASSETS = {"": Asset("text/html; charset=utf-8", b"<!doctype html>"), "app.js": Asset("text/javascript", b"export {}")}
COMMON: Headers = [(b"x-request-id", b"r")]


async def get(
    path: str, pool: Pool = POOL, *, draining: bool = False, simulated: bool = False
) -> tuple[FakeReply, RequestRecord]:
    reply, record = FakeReply(), RequestRecord("r", "GET", path)
    pages = Pages(pool, ASSETS.get, FakeClock(), simulated=simulated, pace=0.001)
    await pages.answer(find("GET", path, ""), reply, COMMON, record, draining=draining)
    assert reply.finished
    assert COMMON[0] in reply.headers
    return reply, record


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


@pytest.mark.parametrize("path", ["/web/missing.js", "/web/../pages.py", "/web//etc/passwd", "/web/%2e%2e/pages.py"])
async def test_other_files_do_not_exist(path: str) -> None:
    with pytest.raises(CallerError) as caught:
        await get(path)
    assert caught.value.status == 404


async def test_models_are_listed_the_default_first() -> None:
    reply, _ = await get("/v1/models")
    listed = json.loads(reply.body)
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["chat", "fast"]
    assert listed["data"][0] == {"id": "chat", "object": "model", "created": 0, "owned_by": "chukei"}


async def test_one_model_and_none() -> None:
    reply, _ = await get("/v1/models/fast")
    assert json.loads(reply.body)["id"] == "fast"
    with pytest.raises(CallerError) as caught:
        await get("/v1/models/other")
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


async def test_an_open_resource_lists_nothing_and_knows_every_name() -> None:
    reply, _ = await get("/v1/models", OPEN)
    assert json.loads(reply.body) == {"object": "list", "data": []}
    reply, _ = await get("/v1/models/gpt-5", OPEN)
    assert json.loads(reply.body)["id"] == "gpt-5"


async def test_health() -> None:
    reply, _ = await get("/health/live", draining=True)
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "live"})
    reply, _ = await get("/health/ready")
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ready"})


@pytest.mark.parametrize(("pool", "draining"), [(POOL, True), (pool_of({}), False)])
async def test_a_relay_that_drains_or_serves_nothing_is_not_ready(pool: Pool, draining: bool) -> None:
    reply, record = await get("/health/ready", pool, draining=draining)
    assert (reply.status, record.status) == (503, 503)


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


def test_only_what_shows_nothing_is_open_to_all() -> None:
    pages = Pages(POOL, ASSETS.get, FakeClock(), simulated=False)
    closed = {page for page in Page if pages.needs_caller(page)}
    assert closed == {Page.DEPLOYMENTS, Page.MODELS, Page.TEST_STREAM}


async def test_a_route_that_is_no_page_sends_nothing() -> None:
    reply = FakeReply()
    pages = Pages(POOL, ASSETS.get, FakeClock(), simulated=False)
    await pages.answer(Route(), reply, [], RequestRecord("r", "GET", "/"), draining=False)
    assert not reply.started
