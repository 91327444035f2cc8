"""Requests for stored objects, told as what goes in and what comes out."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from tests.fakes import (
    JSON,
    FakeAnswer,
    FakeClock,
    FakeCredential,
    FakeHook,
    FakeIncoming,
    FakeObjectStore,
    FakeQuota,
    FakeReply,
    FakeUpstream,
)
from tests.rows import rows

from chukei.accounts.admission import Admission
from chukei.accounts.limits import Amounts, Limit, Refusal
from chukei.accounts.objects import ObjectRecord, owner_of
from chukei.accounts.policy import Policies
from chukei.adapters.identity.access import fixed
from chukei.callers.gatekeeper import Gatekeeper
from chukei.config import Settings, load
from chukei.errors import UpstreamError
from chukei.gateway.gateway import Gateway
from chukei.gateway.pages import Pages
from chukei.gateway.services import Services
from chukei.model import Caller, CallerKind, End, Headers
from chukei.objects.looks import EACH_PER_MINUTE
from chukei.objects.registry import Objects
from chukei.pool import Pool
from chukei.ports import Credential
from chukei.record import RequestRecord
from chukei.upstream.failover import LATE_PAUSES, Failover
from chukei.upstream.kept import LATE_SECONDS

pytestmark = pytest.mark.anyio

EAST, WEST = "https://east.openai.azure.com", "https://west.openai.azure.com"
CONFIGURATION = """
[deployments.east]
endpoint = "https://east.openai.azure.com"
deployment = "gpt-east"
api_key = { env = "EAST" }

[deployments.west]
endpoint = "https://west.openai.azure.com"
deployment = "gpt-west"
api_key = { env = "WEST" }

[models.chat]
deployments = ["east", "west"]

[models.other]
deployments = ["west"]

[defaults]
model = "chat"

[auth]
local = false

[callers.ann]
key_sha256 = "%s"

[callers.bob]
key_sha256 = "%s"
"""
ANN, BOB = (owner_of(Caller(name, CallerKind.KEY)) for name in ("ann", "bob"))
FORM: Headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=b")]


class Harness:
    """A gateway with two resources and two callers, among fakes."""

    def __init__(
        self, tmp_path: Path, *answers: FakeAnswer | Exception, extra: str = "", quota: FakeQuota | None = None
    ) -> None:

        keys = [hashlib.sha256(name.encode() * 8).hexdigest() for name in ("ann-", "bob-")]
        path = tmp_path / "chukei.toml"
        path.write_text(CONFIGURATION % tuple(keys) + extra)
        self.settings: Settings = load(path, {"EAST": "secret-of-east", "WEST": "secret-of-west"})
        self.upstream, self.clock, self.hook = FakeUpstream(*answers), FakeClock(), FakeHook()
        self.registry = Objects(clock=self.clock)
        pool = Pool(self.settings.models, self.settings.pool, default="chat", open=None, draw=lambda: 0.0)
        credentials: dict[str, Credential] = {
            "east": FakeCredential(b"secret-of-east"),
            "west": FakeCredential(b"secret-of-west"),
            "claude-east": FakeCredential(b"secret-of-east"),
            "claude-west": FakeCredential(b"secret-of-west"),
        }
        policies = self.settings.policies
        self.services = Services(
            gatekeeper=Gatekeeper(self.settings.auth, self.settings.server, fixed=fixed(self.settings)),
            policies=Policies({name: caller.rules for name, caller in policies.callers.items()}, policies.groups),
            admission=Admission(quota),
            pool=pool,
            pages=Pages(pool, lambda name: None, self.clock, simulated=False),
            failover=Failover(self.settings, pool, self.upstream, credentials, self.clock, self.registry),
            hooks=[self.hook],
            clock=self.clock,
            wall=self.clock,
        )
        self.gateway = Gateway(self.settings, self.services)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        who: str = "ann",
        query: str = "",
        body: bytes = b"",
        headers: Headers | None = None,
    ) -> FakeReply:
        given = headers or [(b"host", b"localhost"), (b"content-type", b"application/json")]
        key = (b"api-key", f"{who}-".encode() * 8)
        incoming = FakeIncoming(body, method=method, path=path, query=query, headers=[*given, key], local=False)
        reply = FakeReply()
        async with asyncio.timeout(60):
            await self.gateway.handle(incoming, reply)
        return reply

    def knows(self, id: str, kind: str, *, owner: str = ANN, identity: str = f"{WEST}/gpt-west") -> None:
        self.registry.made(id, ObjectRecord(kind, identity, owner, "chat"))

    @property
    def record(self) -> RequestRecord:
        return self.hook.records[-1]


def answer(value: object, status: int = 200) -> FakeAnswer:
    return FakeAnswer([json.dumps(value).encode(), b""], status=status, headers=JSON)


def error_of(reply: FakeReply) -> tuple[int | None, object, object]:
    error = json.loads(reply.body)["error"]
    return reply.status, error["code"], error["param"]


FILES = '[objects]\nmodel = "other"\n'


async def test_a_known_object_is_read_where_it_is(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path, answer({"id": "resp_1", "object": "response", "usage": {"input_tokens": 9, "output_tokens": 1}})
    )
    harness.knows("resp_1", "response")
    reply = await harness.ask("GET", "/v1/responses/resp_1", query="include[]=a&x=1&include_obfuscation=false")
    assert (reply.status, json.loads(reply.body)["id"]) == (200, "resp_1")
    [(endpoint, target, headers, body)] = harness.upstream.requests
    assert (endpoint, target, body) == (
        WEST,
        "/openai/v1/responses/resp_1?include%5B%5D=a&include_obfuscation=false",
        b"",
    )
    assert harness.upstream.methods == [("GET", None)]
    assert (b"api-key", b"secret-of-west") in headers
    assert b"content-type" not in dict(headers)
    record = harness.record
    assert (record.operation, record.model, record.deployment) == ("response_get", "chat", "west")
    assert (record.usage, record.cost, record.end) == (None, None, End.COMPLETED)


@rows("method", ["GET", "DELETE"])
async def test_others_objects_are_not_there(tmp_path: Path, method: str) -> None:
    harness = Harness(tmp_path)
    harness.knows("resp_1", "response")
    reply = await harness.ask(method, "/v1/responses/resp_1", who="bob")
    assert error_of(reply) == (404, "object_not_found", "response_id")
    assert json.loads(reply.body)["error"]["message"] == "Response with id 'resp_1' not found."
    assert harness.upstream.requests == []


@rows("id", ["resp_%2F..%2F", "conv_1", "resp_" + "x" * 300, "%E4%B8%AD", "resp_1%0d%0a"])
async def test_nonsense_is_looked_for_nowhere(tmp_path: Path, id: str) -> None:
    harness = Harness(tmp_path)
    assert error_of(await harness.ask("GET", f"/v1/responses/{id}"))[:2] == (404, "object_not_found")
    assert harness.upstream.requests == []


async def test_an_unknown_object_is_looked_for_and_belongs_to_who_named_it(tmp_path: Path) -> None:
    missing = answer({"error": {"message": "no"}}, 404)
    harness = Harness(tmp_path, missing, answer({"id": "resp_1"}), answer({"id": "resp_1", "status": "cancelled"}))
    reply = await harness.ask("POST", "/v1/responses/resp_1/cancel")
    assert (reply.status, [(asked[0], asked[1]) for asked in harness.upstream.requests]) == (
        200,
        [
            (EAST, "/openai/v1/responses/resp_1"),
            (WEST, "/openai/v1/responses/resp_1"),
            (WEST, "/openai/v1/responses/resp_1/cancel"),
        ],
    )
    [known] = await harness.registry.find(["resp_1"])
    assert known == ObjectRecord("response", f"{WEST}/gpt-west", ANN, None)
    assert error_of(await harness.ask("GET", "/v1/responses/resp_1", who="bob"))[0] == 404


async def test_what_the_operator_made_is_read_by_all_and_changed_by_none(tmp_path: Path) -> None:
    store = answer({"id": "vs_1"})
    harness = Harness(tmp_path, store, *[answer({"id": "vs_1"}) for _ in range(3)], extra=FILES)
    for who in ("ann", "bob"):
        assert (await harness.ask("GET", "/v1/vector_stores/vs_1", who=who)).status == 200
    assert (await harness.ask("POST", "/v1/vector_stores/vs_1/search", who="bob", body=b'{"query":"a"}')).status == 200
    asked = len(harness.upstream.requests)
    for method, body in (("DELETE", b""), ("POST", b'{"name":"mine"}')):
        reply = await harness.ask(method, "/v1/vector_stores/vs_1", who="ann", body=body)
        assert error_of(reply)[:2] == (403, "object_shared")
    assert len(harness.upstream.requests) == asked


async def test_an_unknown_object_is_refused_if_the_configuration_says_so(tmp_path: Path) -> None:
    harness = Harness(tmp_path, extra='[objects]\nmodel = "other"\nunknown = "refuse"\n')
    assert error_of(await harness.ask("GET", "/v1/responses/resp_1"))[:2] == (404, "object_not_found")
    item = b'[{"type":"item_reference","id":"msg_1"}]'
    assert error_of(await harness.ask("POST", "/v1/conversations", body=b'{"items":%s}' % item))[0] == 404
    for field, status in ((b'"previous_response_id":"resp_1"', 400), (b'"conversation":"conv_1"', 404)):
        assert error_of(await harness.ask("POST", "/v1/responses", body=b'{"input":"a",%s}' % field))[0] == status
    assert error_of(await harness.ask("POST", "/v1/responses", body=b'{"input":%s}' % item))[0] == 404
    assert harness.upstream.requests == []


async def test_a_callers_own_data_may_have_the_names_of_references(tmp_path: Path) -> None:
    harness = Harness(tmp_path, answer({"id": "conv_1"}), extra=FILES)
    body = b'{"metadata":{"file_id":"file-of-ours","container":"docker-1","vector_store_id":"vs_chroma"}}'
    assert (await harness.ask("POST", "/v1/conversations", body=body)).status == 200
    assert [asked[1] for asked in harness.upstream.requests] == ["/openai/v1/conversations"]


async def test_looks_are_bounded(tmp_path: Path) -> None:
    missing = [answer({"error": {"message": "no"}}, 404) for _ in range(2 * EACH_PER_MINUTE + 4)]
    harness = Harness(tmp_path, *missing)
    for number in range(EACH_PER_MINUTE):
        assert (await harness.ask("GET", f"/v1/responses/resp_{number}")).status == 404
    asked = len(harness.upstream.requests)
    assert asked == 2 * EACH_PER_MINUTE
    harness.knows("resp_of_bob", "response", owner=BOB)
    for id in ("resp_x", "resp_of_bob"):  # which are not told apart
        assert error_of(await harness.ask("GET", f"/v1/responses/{id}"))[:2] == (429, "too_many_unknown_ids")
    assert (await harness.ask("GET", "/v1/responses/resp_1")).status == 404  # not looked for again
    assert len(harness.upstream.requests) == asked
    assert (await harness.ask("GET", "/v1/responses/resp_1", who="bob")).status == 404  # who has looks of its own
    harness.clock.advance(60)
    assert (await harness.ask("GET", "/v1/responses/resp_y")).status == 404
    assert len(harness.upstream.requests) == asked + 4


async def test_nobody_is_given_an_object_while_a_store_is_away(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.registry._stores = (FakeObjectStore(away=True),)
    assert error_of(await harness.ask("GET", "/v1/responses/resp_1"))[:2] == (503, "objects_unavailable")
    assert harness.upstream.requests == []


async def test_a_resource_that_is_gone(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.knows("resp_1", "response", identity="https://old.openai.azure.com/x")
    assert error_of(await harness.ask("GET", "/v1/responses/resp_1"))[:2] == (404, "object_resource_gone")


async def test_a_deployment_that_is_gone_is_replaced_by_another_of_its_resource(tmp_path: Path) -> None:
    harness = Harness(tmp_path, answer({"id": "resp_1"}))
    harness.knows("resp_1", "response", identity=f"{EAST}/retired")
    assert (await harness.ask("GET", "/v1/responses/resp_1")).status == 200
    assert harness.upstream.requests[0][0] == EAST


@rows(("age", "asked"), [(1.0, 3), (LATE_SECONDS, 1)])
@rows(("method", "path"), [("GET", ""), ("GET", "/input_items"), ("DELETE", "")])
async def test_a_response_that_has_only_just_ended_is_waited_for(
    tmp_path: Path, method: str, path: str, age: float, asked: int
) -> None:
    """dotnet/extensions#7704: Azure does not find a stored response for some seconds after its stream."""
    missing = [answer({"error": {"message": "Response with id 'resp_1' not found."}}, 404) for _ in "ab"]
    harness = Harness(tmp_path, *missing, answer({"id": "resp_1"}))
    harness.services.failover.late_pauses = [0.0] * len(LATE_PAUSES)
    harness.knows("resp_1", "response")
    harness.registry.stored("resp_1")
    harness.clock.advance(age)
    assert (await harness.ask(method, f"/v1/responses/resp_1{path}")).status == (200 if asked == 3 else 404)
    assert len(harness.upstream.requests) == asked
    assert len(harness.record.tries) == 1


@rows(
    ("message", "store", "asked"),
    [
        ("Response with id 'resp_1' not found.", FakeObjectStore(away=True), 3),
        ("Response with id 'resp_1' not found.", FakeObjectStore(), 2),
        ("Resource not found", FakeObjectStore(away=True), 1),
    ],
)
async def test_only_what_may_still_come_is_waited_for(
    tmp_path: Path, message: str, store: FakeObjectStore, asked: int
) -> None:
    """Not what another process has deleted meanwhile, nor a deployment that does not exist."""
    missing = [answer({"error": {"code": "404", "message": message}}, 404) for _ in "ab"]
    harness = Harness(tmp_path, *missing, answer({"id": "resp_1"}))
    harness.services.failover.late_pauses = [0.0] * len(LATE_PAUSES)
    harness.knows("resp_1", "response")
    harness.registry._stores = (store,)
    harness.registry.stored("resp_1")
    harness.clock.advance(1.0)
    assert (await harness.ask("GET", "/v1/responses/resp_1")).status == (200 if asked == 3 else 404)
    assert len(harness.upstream.requests) == asked


@rows("body", [b"", b"{}"])
async def test_what_is_deleted_is_forgotten(tmp_path: Path, body: bytes) -> None:
    """BerriAI/litellm#26949: Azure refuses a body here ("unexpected_body"), which some clients send."""
    harness = Harness(tmp_path, answer({"id": "resp_1", "deleted": True}))
    harness.knows("resp_1", "response")
    query = "api-version=2025-04-01-preview"
    assert (await harness.ask("DELETE", "/openai/responses/resp_1", query=query, body=body)).status == 200
    _, target, _, sent = harness.upstream.requests[0]
    assert (target, sent) == (f"/openai/responses/resp_1?{query}", b"")
    assert harness.upstream.methods == [("DELETE", None)]
    assert await harness.registry.find(["resp_1"]) == [None]


async def test_an_empty_answer_passes(tmp_path: Path) -> None:
    harness = Harness(tmp_path, FakeAnswer([b""], status=204, headers=[]), extra=FILES)
    harness.knows("file-1", "file", identity=f"{WEST}/")
    reply = await harness.ask("DELETE", "/openai/files/file-1", query="api-version=2024-10-21")
    assert (reply.status, reply.body, reply.finished) == (204, b"", True)
    assert b"content-length" not in dict(reply.headers)


async def test_a_stream_is_resumed(tmp_path: Path) -> None:
    response = b'{"id":"resp_1","usage":{"input_tokens":5,"output_tokens":2}}'
    done = b'event: response.completed\ndata: {"type":"response.completed","response":' + response + b"}\n\n"
    harness = Harness(tmp_path, FakeAnswer([done, b""]))
    harness.knows("resp_1", "response")
    reply = await harness.ask("GET", "/v1/responses/resp_1", query="stream=true&starting_after=3")
    assert (reply.status, reply.body) == (200, done)
    assert harness.upstream.requests[0][1].endswith("resp_1?stream=true&starting_after=3")
    record = harness.record
    assert (record.stream, record.end, record.usage, record.cost) == (True, End.COMPLETED, None, None)


ITEMS = [
    {"type": "message", "id": "msg_1", "content": []},
    {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
    {"type": "shell_call", "id": "sh_1", "environment": {"type": "container_reference", "container_id": "cntr_2"}},
    {"type": "shell_call", "id": "sh_2", "environment": "local"},
]
LEFT = ["msg_1", "ci_1", "cntr_1", "sh_1", "cntr_2", "sh_2"]


@rows("stream", [False, True])
async def test_what_a_response_in_the_background_leaves_is_its_callers(tmp_path: Path, stream: bool) -> None:
    response = {"id": "resp_1", "status": "completed", "output": ITEMS}
    events = [{"type": "response.output_item.done", "item": item} for item in ITEMS]
    events.append({"type": "response.completed", "response": response})
    told = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events).encode()
    harness = Harness(tmp_path, FakeAnswer([told, b""]) if stream else answer(response), extra=FILES)
    harness.knows("resp_1", "response")
    assert (await harness.ask("GET", "/v1/responses/resp_1", query="stream=true" if stream else "")).status == 200
    known = await harness.registry.find(LEFT)
    assert [each and each.owner for each in known] == [ANN] * len(LEFT)
    assert [each.identity for each in known if each is not None and each.kind == "container"] == [f"{WEST}/"] * 2
    assert error_of(await harness.ask("GET", "/v1/containers/cntr_1", who="bob"))[0] == 404


async def test_a_container_that_the_service_made_is_the_callers(tmp_path: Path) -> None:
    harness = Harness(tmp_path, answer({"id": "resp_1", "status": "completed", "output": ITEMS}), extra=FILES)
    assert (await harness.ask("POST", "/v1/responses", body=b'{"model":"chat","input":"a"}')).status == 200
    [known] = await harness.registry.find(["cntr_1"])
    assert known is not None
    assert (known.owner, known.kind) == (ANN, "container")
    tool = {"type": "code_interpreter", "container": "cntr_1"}
    asked = json.dumps({"model": "chat", "input": "a", "tools": [tool]}).encode()
    assert error_of(await harness.ask("POST", "/v1/responses", who="bob", body=asked))[0] == 404
    assert error_of(await harness.ask("GET", "/v1/containers/cntr_1/files", who="bob"))[0] == 404
    assert len(harness.upstream.requests) == 1


CLAUDE = """
[deployments.claude-east]
endpoint = "https://east.services.ai.azure.com"
deployment = "claude"
api = "anthropic"
api_key = { env = "EAST" }

[deployments.claude-west]
endpoint = "https://west.services.ai.azure.com"
deployment = "claude"
api = "anthropic"
api_key = { env = "WEST" }

[models.claude]
deployments = ["claude-east", "claude-west"]
"""
RAN = {"id": "container_1", "expires_at": "2026-12-01T00:00:00Z"}
WHOLE = {"type": "message", "container": RAN, "stop_reason": "end_turn", "usage": {"output_tokens": 1}}
EVENTS = (
    {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "container": RAN}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_container_of_claude_is_used_again_where_it_is_and_only_by_its_caller(
    tmp_path: Path, stream: bool
) -> None:
    events = [b"event: %b\ndata: %b\n\n" % (str(each["type"]).encode(), json.dumps(each).encode()) for each in EVENTS]
    ran = FakeAnswer([*events, b""]) if stream else answer(WHOLE)
    again = [answer({"type": "message", "usage": {"output_tokens": 1}}) for _ in range(5)]
    harness = Harness(tmp_path, ran, *again, extra=CLAUDE)
    asked = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]}
    first = json.dumps({**asked, "stream": stream}).encode()
    assert (await harness.ask("POST", "/v1/messages", body=first)).status == 200
    for container in ("container_1", {"id": "container_1", "skills": []}):
        body = json.dumps({**asked, "container": container}).encode()
        for _ in range(2):
            assert (await harness.ask("POST", "/v1/messages", body=body)).status == 200
        refused = await harness.ask("POST", "/v1/messages", who="bob", body=body)
        assert (refused.status, json.loads(refused.body)["error"]["type"]) == (404, "not_found_error")
    assert len({asked[0] for asked in harness.upstream.requests}) == 1
    two = json.dumps({**asked, "container": 1}).encode().replace(b": 1}", b': {"id": "container_1", "id": "mine"}}')
    large = json.dumps({**asked, "Container": "container_1"}).encode()
    for body, param in ((two, "id"), (large, "container")):
        refused = await harness.ask("POST", "/v1/messages", who="bob", body=body)
        assert (refused.status, json.loads(refused.body)["error"]["param"]) == (400, param)
    skills = json.dumps({**asked, "container": {"skills": []}}).encode()
    assert (await harness.ask("POST", "/v1/messages", who="bob", body=skills)).status == 200


@rows(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1/input_items"),
        ("GET", "/v1/conversations/conv_1/items"),
        ("POST", "/v1/conversations/conv_1/items"),
        ("GET", "/v1/conversations/conv_1/items/msg_1"),
    ],
)
async def test_an_item_that_a_caller_has_seen_is_its_own(tmp_path: Path, method: str, path: str) -> None:
    harness = Harness(tmp_path, answer({"data": [{"id": "msg_1", "content": []}]}))
    harness.knows("resp_1", "response")
    harness.knows("conv_1", "conversation")
    assert (await harness.ask(method, path, body=b'{"items":[]}' if method == "POST" else b"")).status == 200
    reference = b'[{"type":"item_reference","id":"msg_1"}]'
    for place, body in (("responses", b'{"input":%s}'), ("conversations", b'{"items":%s}')):
        reply = await harness.ask("POST", f"/v1/{place}", who="bob", body=body % reference)
        assert error_of(reply)[:2] == (404, "item_not_found")
    assert len(harness.upstream.requests) == 1


@rows(
    ("path", "body"),
    [
        ("images/edits", {"prompt": "a", "images": [{"file_id": "file-1"}]}),
        ("images/generations", {"prompt": "a", "image": {"file_id": "file-1"}}),
        ("responses", {"input": "a", "tools": [{"container": {"type": "reference", "id": "cntr_1"}}]}),
        ("responses", {"input": "a", "tools": [{"vector_store": {"id": "vs_1"}}]}),
    ],
)
async def test_others_objects_are_named_in_no_body(tmp_path: Path, path: str, body: object) -> None:
    harness = Harness(tmp_path, extra=FILES)
    for id, kind in (("file-1", "file"), ("cntr_1", "container"), ("vs_1", "vector_store")):
        harness.knows(id, kind, identity=f"{WEST}/")
    reply = await harness.ask("POST", f"/v1/{path}", who="bob", body=json.dumps(body).encode())
    assert reply.status == 404
    assert harness.upstream.requests == []


async def test_errors_of_the_resource_pass_without_the_relays_key(tmp_path: Path) -> None:
    harness = Harness(tmp_path, answer({"error": {"message": "bad secret-of-west", "code": "x"}}, 400))
    harness.knows("resp_1", "response")
    reply = await harness.ask("POST", "/v1/responses/resp_1/cancel")
    assert reply.status == 400
    assert b"secret-of-west" not in reply.body


async def test_a_resource_that_cannot_be_reached(tmp_path: Path) -> None:
    failed = UpstreamError("connect_error", "No.", end=End.CONNECT_ERROR)
    harness = Harness(tmp_path, failed)
    harness.knows("resp_1", "response")
    assert error_of(await harness.ask("GET", "/v1/responses/resp_1"))[:2] == (502, "connect_error")
    assert harness.record.end is End.CONNECT_ERROR


async def test_what_may_have_happened_is_not_repeated(tmp_path: Path) -> None:
    lost = UpstreamError("upstream_lost", "Gone.", end=End.UPSTREAM_LOST)
    harness = Harness(tmp_path, lost, extra=FILES)
    reply = await harness.ask("POST", "/v1/containers", body=b'{"name":"c"}')
    assert (reply.status, dict(reply.headers)[b"x-should-retry"]) == (502, b"false")


# Files and the like.


@rows(
    ("extra", "says"),
    [
        ("", "objects.model"),
        ('[objects]\nmodel = "other"\nserve = ["batches"]\n', "objects.serve"),
    ],
)
async def test_what_is_not_configured_says_how(tmp_path: Path, extra: str, says: str) -> None:
    harness = Harness(tmp_path, extra=extra)
    reply = await harness.ask("GET", "/v1/files")
    assert error_of(reply)[:2] == (404, "route_not_served")
    message = json.loads(reply.body)["error"]["message"]
    assert "not served by this relay" in message
    assert says in message


async def test_an_upload_flows_to_the_resource_of_the_model(tmp_path: Path) -> None:
    harness = Harness(tmp_path, answer({"id": "file-1", "object": "file"}, 201), extra=FILES)
    body = b"--b\r\n" + b"x" * 5000
    length = (b"content-length", str(len(body)).encode())
    reply = await harness.ask("POST", "/v1/files", body=body, headers=[*FORM, length])
    assert reply.status == 201
    [(endpoint, target, headers, sent)] = harness.upstream.requests
    assert (endpoint, target, sent) == (WEST, "/openai/v1/files", body)
    assert (b"content-type", b"multipart/form-data; boundary=b") in headers
    assert harness.upstream.methods == [("POST", len(body))]
    assert await harness.registry.find(["file-1"]) == [ObjectRecord("file", f"{WEST}/", ANN, None)]
    assert harness.record.request_bytes == len(body)


def form_of(*fields: str) -> bytes:
    return "".join(f"--b\r\nContent-Disposition: form-data; {each}\r\n" for each in fields).encode() + b"--b--\r\n"


async def test_a_file_for_a_container_is_written_anew(tmp_path: Path) -> None:
    harness = Harness(tmp_path, answer({"id": "cfile_1"}), extra=FILES)
    harness.knows("cntr_1", "container", identity=f"{WEST}/")
    body = form_of('name="file"; filename="a.txt"\r\n\r\nfile_id')
    assert (await harness.ask("POST", "/v1/containers/cntr_1/files", body=body, headers=FORM)).status == 200
    [(_, _, headers, sent)] = harness.upstream.requests
    boundary = dict(headers)[b"content-type"].partition(b"boundary=")[2]
    assert sent == body.replace(b"--b", b"--" + boundary)


@rows(
    "field",
    [
        'name="file_id"\r\n\r\nfile-1',
        'name="File_Id"\r\n\r\nfile-1',
        'name="file_id"; filename="x"\r\n\r\nfile-1',
        "name=file_id\r\n\r\nfile-1",
        'name="file_id[]"\r\n\r\nfile-1',
    ],
)
async def test_a_form_names_no_file(tmp_path: Path, field: str) -> None:
    harness = Harness(tmp_path, answer({"id": "cfile_1"}), extra=FILES)
    harness.knows("cntr_1", "container", identity=f"{WEST}/", owner=BOB)
    harness.knows("file-1", "file", identity=f"{WEST}/")
    body = form_of('name="file"; filename="a.txt"\r\n\r\nx', field)
    reply = await harness.ask("POST", "/v1/containers/cntr_1/files", who="bob", body=body, headers=FORM)
    assert reply.status == 400


@rows("headers", [[(b"host", b"l"), (b"content-type", b"text/plain")], [*FORM, (b"content-encoding", b"gzip")]])
async def test_an_upload_is_a_form(tmp_path: Path, headers: Headers) -> None:
    harness = Harness(tmp_path, extra=FILES)
    assert error_of(await harness.ask("POST", "/v1/files", body=b"x", headers=headers))[0] == 415


async def test_what_was_stored_passes_as_it_is(tmp_path: Path) -> None:
    content = b'{"a":1}\n{"b":2}\n<html>'
    typed: Headers = [(b"content-type", b"application/json"), (b"content-disposition", b"attachment")]
    harness = Harness(tmp_path, FakeAnswer([content, b""], headers=typed), extra=FILES)
    harness.knows("file-1", "file", identity=f"{WEST}/")
    reply = await harness.ask("GET", "/v1/files/file-1/content")
    assert (reply.status, reply.body) == (200, content)
    assert {(b"x-content-type-options", b"nosniff"), (b"content-disposition", b"attachment")} <= set(reply.headers)


def page(ids: list[str], *, more: bool) -> FakeAnswer:
    return answer({"object": "list", "data": [{"id": id, "object": "file"} for id in ids], "has_more": more})


async def test_a_list_shows_a_caller_its_own(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path,
        page(["file-1", "file-2", "file-3"], more=True),
        page(["file-4", "file-5", "file-6"], more=True),
        extra=FILES,
    )
    for number, owner in ((1, ANN), (2, BOB), (4, ANN), (5, ANN), (6, BOB)):
        harness.knows(f"file-{number}", "file", owner=owner, identity=f"{WEST}/")
    reply = await harness.ask("GET", "/v1/files", query="limit=2&purpose=batch&order=asc&after=file-0")
    found = json.loads(reply.body)
    assert [each["id"] for each in found["data"]] == ["file-1", "file-4"]
    assert (found["first_id"], found["last_id"], found["has_more"]) == ("file-1", "file-4", True)
    kept = "purpose=batch&order=asc"
    assert [asked[1] for asked in harness.upstream.requests] == [
        f"/openai/v1/files?{kept}&after=file-0&limit=1000",
        f"/openai/v1/files?{kept}&after=file-3&limit=1000",
    ]


@rows("cursor", ["after=vs_1", "before=vs_1", "before=vs_1&before=vs_2", "after[a]=vs_1"])
async def test_a_list_does_not_begin_at_anothers_object(tmp_path: Path, cursor: str) -> None:
    harness = Harness(tmp_path, extra=FILES)
    harness.knows("vs_1", "vector_store", identity=f"{WEST}/")
    harness.knows("vs_2", "vector_store", identity=f"{WEST}/", owner=BOB)
    reply = await harness.ask("GET", "/v1/vector_stores", who="bob", query=cursor)
    assert error_of(reply)[:2] == (404, "object_not_found")
    assert harness.upstream.requests == []


async def test_a_list_without_own_objects_ends(tmp_path: Path) -> None:
    harness = Harness(tmp_path, page(["file-1"], more=False), extra=FILES)
    found = json.loads((await harness.ask("GET", "/v1/files")).body)
    assert found == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


async def test_stored_chats_are_listed_of_every_resource(tmp_path: Path) -> None:
    harness = Harness(tmp_path, page(["chatcmpl-1", "chatcmpl-2"], more=False), page(["chatcmpl-3"], more=False))
    harness.knows("chatcmpl-1", "chat_completion", identity=f"{EAST}/gpt-east")
    harness.knows("chatcmpl-3", "chat_completion")
    found = json.loads((await harness.ask("GET", "/v1/chat/completions")).body)
    assert [each["id"] for each in found["data"]] == ["chatcmpl-1", "chatcmpl-3"]
    assert [asked[0] for asked in harness.upstream.requests] == [EAST, WEST]


@rows("limit", ["0", "-1", "x", "101", "10001", ""])
async def test_a_limit_is_a_number(tmp_path: Path, limit: str) -> None:
    """BerriAI/litellm#37149: only lists of files may be longer than 100."""
    harness = Harness(tmp_path, page([], more=False), extra=FILES)
    for family in ("batches", *(() if limit == "101" else ("files",))):
        reply = await harness.ask("GET", f"/v1/{family}", query=f"limit={limit}")
        assert error_of(reply) == (400, "invalid_query", "limit")
    assert (await harness.ask("GET", "/v1/files", query="limit=101")).status == 200


async def test_ids_in_an_answer_are_learnt(tmp_path: Path) -> None:
    batch = {"id": "batch_1", "output_file_id": "file-out", "error_file_id": None}
    harness = Harness(tmp_path, answer(batch), extra=FILES)
    harness.knows("batch_1", "batch", identity=f"{WEST}/")
    assert (await harness.ask("GET", "/v1/batches/batch_1")).status == 200
    assert await harness.registry.find(["file-out"]) == [ObjectRecord("file", f"{WEST}/", ANN, "chat")]


async def test_a_new_conversation_is_where_the_default_model_is(tmp_path: Path) -> None:
    harness = Harness(tmp_path, answer({"id": "conv_1", "object": "conversation"}))
    assert (await harness.ask("POST", "/v1/conversations", body=b"{}")).status == 200
    [known] = await harness.registry.find(["conv_1"])
    assert known is not None
    assert (known.kind, known.owner, known.model) == ("conversation", ANN, "chat")
    assert known.identity in (f"{EAST}/gpt-east", f"{WEST}/gpt-west")


async def test_evals_name_models_as_their_resource_does(tmp_path: Path) -> None:
    harness = Harness(tmp_path, answer({"id": "eval_1"}), extra='[objects]\nmodel = "other"\nserve = ["evals"]\n')
    body = b'{"testing_criteria":[{"type":"label_model","model":"chat"}]}'
    assert (await harness.ask("POST", "/v1/evals", body=body)).status == 200
    sent = json.loads(harness.upstream.requests[0][3])
    assert [each["model"] for each in sent["testing_criteria"]] == ["gpt-west"]


@rows(("model", "status"), [("gpt-west", 404), ("east-only", 400), ("other", 403)])
async def test_an_eval_runs_no_model_that_its_caller_may_not_use(tmp_path: Path, model: str, status: int) -> None:
    extra = '[objects]\nmodel = "west-too"\nserve = ["evals"]\n[models.east-only]\ndeployments = ["east"]\n'
    extra += '[models.west-too]\ndeployments = ["west"]\n[groups.everybody]\nmodels = ["west-too", "east-only"]\n'
    harness = Harness(tmp_path, extra=extra)
    body = json.dumps({"data_source": {"model": model}}).encode()
    harness.knows("eval_1", "eval", identity=f"{WEST}/")
    assert error_of(await harness.ask("POST", "/v1/evals/eval_1/runs", body=body))[0] == status
    assert harness.upstream.requests == []


@rows(
    "body",
    [
        '{"file_id":"file-1"}'.encode("utf-16"),
        '{"file_id":"file-1"}'.encode("utf-16-le"),
        b'{"file_id"/**/:"file-1"}',
        b"{'file_id':'file-1'}",
        b'[{"file_id":"file-1"}]',
        b'{"file_id":"file-2","file_id":"file-3"}',
    ],
)
async def test_a_body_that_two_readers_may_read_differently_is_not_sent(tmp_path: Path, body: bytes) -> None:
    harness = Harness(tmp_path, extra=FILES)
    harness.knows("cntr_1", "container", identity=f"{WEST}/", owner=BOB)
    harness.knows("file-1", "file", identity=f"{WEST}/")
    reply = await harness.ask("POST", "/v1/containers/cntr_1/files", who="bob", body=body)
    assert reply.status == 400
    assert harness.upstream.requests == []


# Limits, and the end.


@rows("path", ["/v1/responses", "/v1/conversations", "/v1/vector_stores"])
async def test_a_body_is_sent_as_it_was_read_whatever_character_set_the_client_names(tmp_path: Path, path: str) -> None:
    harness = Harness(tmp_path, answer({"id": "resp_1"}), extra=FILES)
    utf_7 = [(b"host", b"localhost"), (b"content-type", b"application/json; charset=utf-7")]
    body = b'{"input":"a","+AGYAaQBsAGUAXwBpAGQ-":"file-1"}'
    assert (await harness.ask("POST", path, body=body, headers=utf_7)).status == 200
    sent = [value for name, value in harness.upstream.requests[0][2] if name == b"content-type"]
    assert sent == [b"application/json"]


async def test_a_request_counts_as_one_and_has_no_tokens(tmp_path: Path) -> None:
    limits = "[groups.everybody.limits]\nrequests_per_minute = 3\ntokens_per_day = 10\nconcurrent = 1\n"
    quota = FakeQuota()
    harness = Harness(tmp_path, answer({"id": "resp_1"}), extra=limits, quota=quota)
    harness.knows("resp_1", "response")
    assert (await harness.ask("GET", "/v1/responses/resp_1")).status == 200
    [(_, subjects, amounts)] = quota.reserved
    assert amounts == Amounts(0, 0)
    [subject] = subjects
    assert (subject.name, subject.limits.requests_per_minute) == ("caller:ann", 3)
    assert (subject.limits.tokens_per_day, subject.limits.concurrent) == (None, None)


async def test_too_many_requests_are_refused(tmp_path: Path) -> None:
    refusal = Refusal("caller:ann", Limit.REQUESTS_PER_MINUTE, 3, 3, 1, 5.0)
    limits = "[groups.everybody.limits]\nrequests_per_minute = 3\n"
    harness = Harness(tmp_path, extra=limits, quota=FakeQuota(refusal))
    assert error_of(await harness.ask("GET", "/v1/responses/resp_1"))[:2] == (429, "rate_limit_exceeded")


async def test_none_begins_while_the_relay_drains(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.gateway.drain()
    assert error_of(await harness.ask("GET", "/v1/responses/resp_1"))[:2] == (503, "server_shutdown")
