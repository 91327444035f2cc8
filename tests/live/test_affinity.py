"""What belongs together finds the same deployment again: preferred for prompt caches, required for stored state."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Hold, Script, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.plain_http import Answer, post
from tests.live.pools import SECRETS, Table, pool_file, pool_settings
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, RESPONSES, ROLE, delta
from tests.live.redis_server import RedisServer
from tests.live.relays import InProcessRelay, RelayProcess, eventually

from chukei.config import load
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

NAMES = ("a", "b", "c")
ANSWERS: Script = (Send(head() + chunk(FILTER + ROLE + delta("x") + FINISH + DONE) + LAST_CHUNK),)


def busy(seconds: float) -> Script:
    error = b'{"error":{"code":"429","message": "Requests have exceeded the token rate limit."}}'
    fields = (f"retry-after-ms: {seconds * 1000:.0f}", f"retry-after: {seconds:.0f}")
    return (Send(head("application/json", *fields, status="429 Too Many Requests", length=len(error)) + error),)


class Three:
    """Three deployments with equal shares, and the relay in front of them."""

    def __init__(self, upstreams: dict[str, FaultUpstream], directory: Path) -> None:
        self.upstreams, self.directory = upstreams, directory
        self.deployments: dict[str, Table] = {name: {"endpoint": it.url} for name, it in upstreams.items()}

    def relay(self, **pool: object) -> InProcessRelay:
        return InProcessRelay(pool_settings(self.directory, self.deployments, pool=pool))

    def file(self, **pool: object) -> Path:
        return pool_file(self.directory / "pool.toml", self.deployments, pool=pool)

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(upstream.visits) for name, upstream in self.upstreams.items()}

    def forget(self) -> None:
        for upstream in self.upstreams.values():
            upstream.visits.clear()


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Three]:
    async with AsyncExitStack() as stack:
        yield Three({name: await stack.enter_async_context(FaultUpstream(ANSWERS)) for name in NAMES}, tmp_path)


def question(text: str = "hello", **fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}], "stream": True, **fields}).encode()


LONG = "You are the assistant of a bookshop. " * 200
assert len(LONG) > 4096

Headers = tuple[tuple[str, str], ...]


def by_kind(kind: str, key: str, number: int) -> tuple[bytes, Headers]:
    """Return a request with a key of one kind; in everything else no two are alike."""
    if kind == "session":
        return question(f"{number}"), (("x-session-id", key),)
    if kind == "prompt":
        return question(f"{key}. {LONG} {number}"), ()
    return question(f"{number}", **{kind: key}), ()


KINDS = ["prompt_cache_key", "session", "user", "safety_identifier", "prompt"]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_key_one_deployment_and_many_keys_spread(three: Three, kind: str) -> None:
    homes: Counter[str] = Counter()
    async with three.relay() as relay:
        for key in range(24):
            for number in range(4):
                body, headers = by_kind(kind, f"key-{key}", number)
                assert (await post(relay.url, CHAT, body, headers)).status == 200
            (home,) = [name for name, count in three.counts.items() if count]
            assert three.counts[home] == 4
            homes[home] += 1
            three.forget()
    # By chance alone one of three would be left out by 24 keys once in 5,000 times.
    assert set(homes) == set(NAMES), homes


async def test_the_first_kind_that_a_request_has_decides(three: Three) -> None:
    async with three.relay() as relay:
        for number in range(12):
            body = question(f"{number}", prompt_cache_key="k", user=f"user-{number}")
            await post(relay.url, CHAT, body, (("x-session-id", f"session-{number}"),))
    assert sorted(three.counts.values()) == [0, 0, 12]


@pytest.mark.parametrize("kind", KINDS)
async def test_no_affinity_spreads_one_key(three: Three, kind: str) -> None:
    async with three.relay(affinity=[]) as relay:
        for number in range(12):
            body, headers = by_kind(kind, "key", number)
            await post(relay.url, CHAT, body, headers)
    assert three.counts == {"a": 4, "b": 4, "c": 4}


async def test_a_short_prompt_is_no_key(three: Three) -> None:
    async with three.relay() as relay:
        for _ in range(12):
            await post(relay.url, CHAT, question("the same"))
    assert three.counts == {"a": 4, "b": 4, "c": 4}


HELD: Script = (Hold(), *ANSWERS)


async def preferred(three: Three, relay: InProcessRelay, body: bytes) -> str:
    """Return to whom a request goes when nobody has anything to do."""
    three.forget()
    await post(relay.url, CHAT, body)
    (name,) = [name for name, count in three.counts.items() if count]
    three.forget()
    return name


@pytest.mark.parametrize("load", [1.0, 1.25, 2.0])
async def test_a_hot_key_overloads_nobody_and_flows_to_its_neighbour(three: Three, load: float) -> None:
    """All run at once and cost the same, so the bound is one of their number: ``load`` times a third, and one."""
    count = 60
    body = question(prompt_cache_key="hot")
    async with three.relay(affinity_load=load) as relay:
        home = await preferred(three, relay, body)
        for upstream in three.upstreams.values():
            upstream.script = HELD
        asking = []
        for number in range(1, count + 1):
            asking.append(asyncio.create_task(post(relay.url, CHAT, body)))
            await eventually(lambda number=number: sum(three.counts.values()) == number)  # type: ignore[misc]
        counts = three.counts
        for upstream in three.upstreams.values():
            for visit in upstream.visits:
                await visit.holding()
                visit.release()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}

    bound = load * count / 3 + 1
    assert max(counts.values()) <= bound, counts
    # The key's own deployment takes what it may, its neighbour on the ring what that may, the last one the rest.
    assert counts[home] >= bound - 2, counts
    last, neighbour, own = sorted(counts.values())
    assert own == counts[home]
    if load > 1.0:
        assert neighbour > last
        assert neighbour >= min(bound - 2, count - counts[home])


async def test_the_neighbour_takes_over_while_it_cools_and_it_comes_back(three: Three) -> None:
    body = question(prompt_cache_key="hot")
    async with three.relay() as relay:
        home = await preferred(three, relay, body)
        three.upstreams[home].script = busy(1.0)
        assert (await post(relay.url, CHAT, body)).status == 200
        (neighbour,) = [name for name, count in three.counts.items() if count and name != home]
        three.upstreams[home].script = ANSWERS
        three.forget()

        for _ in range(5):
            assert (await post(relay.url, CHAT, body)).status == 200
        while_cooling = three.counts
        three.forget()
        pool = relay.relay.pool
        now = asyncio.get_running_loop().time
        await eventually(lambda: all(state.status == "ready" for state in pool.status(now())["chat"]))
        for _ in range(5):
            assert (await post(relay.url, CHAT, body)).status == 200

    assert while_cooling == {**dict.fromkeys(NAMES, 0), neighbour: 5}
    assert three.counts == {**dict.fromkeys(NAMES, 0), home: 5}


async def test_two_processes_choose_alike(three: Three) -> None:
    file = str(three.file())
    with RelayProcess(SECRETS, "--config", file) as one, RelayProcess(SECRETS, "--config", file) as other:
        for key in range(12):
            body = question(prompt_cache_key=f"key-{key}")
            for relay in (one, other, one, other):
                assert (await post(relay.url, CHAT, body)).status == 200
            assert sorted(three.counts.values()) == [0, 0, 4]
            three.forget()


# Stored state: the Responses API against simulated resources, each of which knows only its own.


class Resources:
    """Three simulated resources with equal shares."""

    def __init__(self, simulators: dict[str, Simulator], directory: Path) -> None:
        self.simulators, self.directory = simulators, directory
        self.extra: dict[str, Table] = {}

    def relay(self, **pool: object) -> InProcessRelay:
        deployments: dict[str, Table] = {
            name: {"endpoint": it.url, **self.extra.get(name, {})} for name, it in self.simulators.items()
        }
        return InProcessRelay(pool_settings(self.directory, deployments, pool={"affinity": [], **pool}))

    def relay_for(self, *callers: str, redis: str = "", ledger: str = "", more: str = "") -> InProcessRelay:
        """Return a relay for callers whose keys are their names. ``more`` is TOML at the end of its configuration."""
        deployments: dict[str, Table] = {name: {"endpoint": it.url} for name, it in self.simulators.items()}
        path = pool_file(self.directory / "owned.toml", deployments, pool={"affinity": []})
        lines = [f'[stores]\nquota = "{redis}"' if redis else ""]
        for name in callers:
            lines.append(f'[callers.{name}]\nkey_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"')
        lines.append(more)
        path.write_text("\n".join([path.read_text(), *lines]))
        places = {"CHUKEI_STORES__LEDGER": ledger, "CHUKEI_LEDGER__SPOOL": str(self.directory / "spool")}
        return InProcessRelay(load(path, {**SECRETS, **places} if ledger else SECRETS))

    @asynccontextmanager
    async def replicas_for(self, *callers: str) -> AsyncIterator[tuple[InProcessRelay, InProcessRelay, RedisServer]]:
        """Run two relays that share a Redis, both connected to it, until the block ends."""
        with RedisServer() as redis:
            async with (
                self.relay_for(*callers, redis=redis.url) as one,
                self.relay_for(*callers, redis=redis.url) as other,
            ):
                for relay in (one, other):
                    await eventually(lambda relay=relay: "connected" in repr(relay.relay.board))  # type: ignore[misc]
                yield one, other, redis

    @property
    def requests(self) -> dict[str, int]:
        return {name: simulator.requests for name, simulator in self.simulators.items()}

    def asked_since(self, before: dict[str, int]) -> dict[str, int]:
        return {name: count - before[name] for name, count in self.requests.items() if count > before[name]}


@pytest.fixture
async def resources(tmp_path: Path) -> AsyncIterator[Resources]:
    async with AsyncExitStack() as stack:
        simulators = {}
        for seed, name in enumerate(NAMES):
            # The seed makes the ids differ, as those of Azure's resources do.
            settings = SimulatorSettings(
                first_token_seconds=0, inter_token_seconds=0, seed=seed, conversations=(f"conv_{name}",)
            )
            simulators[name] = await stack.enter_async_context(Simulator(settings))
        yield Resources(simulators, tmp_path)


def turn(*, stream: bool, **fields: Any) -> bytes:
    return json.dumps({"input": "repeat: one two", "stream": stream, **fields}).encode()


def id_of(answer: Answer) -> str:
    """Return the id of the response that an answer holds, streamed or not."""
    assert answer.status == 200, answer.body
    if answer.header("content-type") == "application/json":
        return str(answer.json()["id"])
    first = answer.body.split(b"\n\n")[0].partition(b"data: ")[2]
    assert answer.body.count(b"event: response.completed") == 1
    return str(json.loads(first)["response"]["id"])


async def begin(relay: InProcessRelay, *, stream: bool = False, **fields: Any) -> tuple[str, str]:
    """Have a response made; return its id and who made it."""
    count = len(relay.records)
    made = id_of(await post(relay.url, RESPONSES, turn(stream=stream, **fields)))
    home = (await relay.record(count + 1)).deployment
    assert home is not None
    return made, home


async def go_on(relay: InProcessRelay, made: str, *, stream: bool = False) -> Answer:
    return await post(relay.url, RESPONSES, turn(stream=stream, previous_response_id=made))


@pytest.mark.parametrize("made_streamed", [False, True])
@pytest.mark.parametrize("continued_streamed", [False, True])
async def test_a_response_is_continued_where_it_was_made(
    resources: Resources, made_streamed: bool, continued_streamed: bool
) -> None:
    async with resources.relay() as relay:
        homes = set()
        for _ in range(6):
            made, home = await begin(relay, stream=made_streamed)
            homes.add(home)
            before = resources.requests
            for _ in range(4):
                made = id_of(await go_on(relay, made, stream=continued_streamed))
            assert resources.asked_since(before) == {home: 4}
        assert homes == set(NAMES)


async def test_a_drained_deployment_goes_on_with_its_own(resources: Resources) -> None:
    async with resources.relay() as relay:
        made, home = await begin(relay)
    # The operator sets its weight to 0 and restarts the relay, which then remembers nothing.
    resources.extra = {home: {"weight": 0}}
    async with resources.relay() as relay:
        for _ in range(6):
            assert (await begin(relay))[1] != home
        following = id_of(await go_on(relay, made))
        assert (await relay.record(7)).deployment == home

        before = resources.requests
        for _ in range(3):
            made = id_of(await go_on(relay, made))
            following = id_of(await go_on(relay, following, stream=True))
        assert resources.asked_since(before) == {home: 6}


@pytest.mark.parametrize("stream", [False, True])
async def test_another_relay_s_response_is_looked_for_once(resources: Resources, stream: bool) -> None:
    async with resources.relay() as one:
        made = [await begin(one, stream=stream) for _ in range(6)]
    assert {home for _, home in made} == set(NAMES)
    resources.extra = {name: {"priority": priority} for priority, name in enumerate(NAMES)}
    async with resources.relay() as other:
        for response, home in made:
            count = len(other.records)
            following = id_of(await go_on(other, response, stream=stream))
            record = await other.record(count + 1)
            asked = NAMES[: NAMES.index(home) + 1]
            assert tuple(attempt.deployment for attempt in record.tries) == asked
            assert [attempt.code for attempt in record.tries] == [*["upstream_400"] * (len(asked) - 1), None]
            assert all(attempt.usage is None for attempt in record.tries[:-1])

            before = resources.requests
            for known in (response, following):
                id_of(await go_on(other, known, stream=stream))
            assert resources.asked_since(before) == {home: 2}
        states = other.relay.pool.status(asyncio.get_running_loop().time())["chat"]
        assert [(state.status, state.outstanding) for state in states] == [("ready", 0)] * 3


async def test_while_it_cools_nobody_else_is_asked(tmp_path: Path) -> None:
    def script(name: str) -> Any:
        def choose(visit: Visit) -> Script:
            if b"previous_response_id" in visit.body:
                return busy(30)
            body = b'{"id":"resp_%s","object":"response","output":[]}' % name.encode()
            return (Send(head("application/json", length=len(body)) + body),)

        return choose

    async with AsyncExitStack() as stack:
        upstreams = {name: await stack.enter_async_context(FaultUpstream(script(name))) for name in NAMES}
        three = Three(upstreams, tmp_path)
        relay = await stack.enter_async_context(three.relay(affinity=[]))
        known, home = await begin(relay)
        three.forget()

        first = await go_on(relay, known)
        assert (first.status, first.json()["error"]["code"]) == (429, "429")
        assert three.counts == {**dict.fromkeys(NAMES, 0), home: 1}
        three.forget()
        second = await go_on(relay, known, stream=True)
        others = [await begin(relay) for _ in range(4)]

    assert (second.status, second.error["code"]) == (429, "stateful_deployment_busy")
    assert 15 <= int(second.header("retry-after") or 0) <= 30
    assert 15_000 <= int(second.header("retry-after-ms") or 0) <= 30_000
    assert home not in {name for _, name in others}
    assert three.counts[home] == 0


async def test_an_unknown_response_passes_azure_s_own_400(resources: Resources) -> None:
    async with resources.relay() as relay:
        before = resources.requests
        answer = await go_on(relay, "resp_of_nobody")

    assert resources.asked_since(before) == {"a": 1, "b": 1, "c": 1}
    assert answer.status == 400
    assert answer.error == {
        "message": "Previous response with id 'resp_of_nobody' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }


async def test_one_that_may_hold_it_is_away_so_it_is_not_lost(resources: Resources) -> None:
    """Another relay made it, and its deployment is cooling: 400 would tell the client to give it up."""
    async with resources.relay() as one:
        made, home = await begin(one)
    async with FaultUpstream(busy(30)) as cooling:
        deployments: dict[str, Table] = {
            name: {"endpoint": it.url} for name, it in resources.simulators.items() if name != home
        }
        deployments[home] = {"endpoint": cooling.url, "priority": 0}
        settings = pool_settings(resources.directory, deployments, pool={"affinity": []})
        async with InProcessRelay(settings) as other:
            assert (await begin(other))[1] != home
            answer = await go_on(other, made)
            record = await other.record(2)

    assert (answer.status, answer.error["code"]) == (429, "stateful_deployment_busy")
    assert 15 <= int(answer.header("retry-after") or 0) <= 30
    assert sorted(attempt.deployment for attempt in record.tries) == sorted(set(NAMES) - {home})


NOT_FOUND = (
    b'{"error":{"message":"Previous response with id \'resp_1\' not found.","type":"invalid_request_error",'
    b'"param":"previous_response_id","code":"previous_response_not_found"}}'
)
DENIES: Script = (Send(head("application/json", status="400 Bad Request", length=len(NOT_FOUND)) + NOT_FOUND),)
BREAKS: Script = (Send(head("application/json", status="500 Internal Server Error", length=2) + b"{}"),)


@pytest.mark.parametrize("breaks", NAMES)
async def test_one_that_may_hold_it_fails_so_it_is_not_lost(three: Three, breaks: str) -> None:
    """Whoever failed may have made it: what it said counts, not that the others do not know the response."""
    for priority, (name, upstream) in enumerate(three.upstreams.items()):
        upstream.script = BREAKS if name == breaks else DENIES
        three.deployments[name] = {**three.deployments[name], "priority": priority}
    async with three.relay() as relay:
        answer = await go_on(relay, "resp_1")

    assert three.counts == {"a": 1, "b": 1, "c": 1}
    assert answer.status == 500
    assert answer.header("x-should-retry") == "false"


@pytest.mark.parametrize(("form", "stream"), [("id", True), ("object", False)])
async def test_a_conversation_goes_on_where_it_is(resources: Resources, form: str, stream: bool) -> None:
    async with resources.relay() as relay:
        for name in NAMES:
            conversation: object = f"conv_{name}" if form == "id" else {"id": f"conv_{name}"}
            body = turn(stream=stream, conversation=conversation)
            id_of(await post(relay.url, RESPONSES, body))
            before = resources.requests
            for _ in range(3):
                id_of(await post(relay.url, RESPONSES, body))
            assert resources.asked_since(before) == {name: 3}

        answer = await post(relay.url, RESPONSES, turn(stream=stream, conversation="conv_of_nobody"))
        assert (answer.status, answer.error["message"]) == (404, "Conversation with id 'conv_of_nobody' not found.")


async def test_what_was_not_stored_harms_nobody(resources: Resources) -> None:
    async with resources.relay() as relay:
        for _ in range(4):
            made, home = await begin(relay, store=False)
            before = resources.requests
            answer = await go_on(relay, made)
            assert (answer.status, answer.error["code"]) == (400, "previous_response_not_found")
            assert resources.asked_since(before) == {home: 1}
        homes = {(await begin(relay, store=False))[1] for _ in range(6)}
    assert homes == set(NAMES)


# Whose it is.


async def as_caller(relay: str, caller: str, body: bytes, path: str = RESPONSES) -> Answer:
    return await post(relay, path, body, [("authorization", f"Bearer {caller}")])


# Who owns it is looked up before a deployment is chosen, whatever the path and the kind of answer.
@pytest.mark.parametrize(
    ("count", "stream", "path"),
    [
        (1, False, RESPONSES),
        (3, True, RESPONSES),
        (1, True, "/openai/responses?api-version=2025-03-01-preview"),
        (3, False, "/openai/responses?api-version=2025-03-01-preview"),
    ],
)
async def test_nobody_continues_what_is_anothers(resources: Resources, count: int, stream: bool, path: str) -> None:
    for name in NAMES[count:]:
        del resources.simulators[name]
    async with resources.relay_for("ann", "bob") as relay:
        made = id_of(await as_caller(relay.url, "ann", turn(stream=stream), path))
        conversation = "conv_a"
        id_of(await as_caller(relay.url, "ann", turn(stream=stream, conversation=conversation), path))
        before = resources.requests
        told = [
            await as_caller(relay.url, "bob", turn(stream=stream, **fields), path)
            for fields in (
                {"previous_response_id": made},
                {"conversation": conversation},
                {"conversation": {"id": conversation}},
            )
        ]
        assert resources.asked_since(before) == {}, "Azure was asked"
        assert [(answer.status, answer.error["code"], answer.error["param"]) for answer in told] == [
            (400, "previous_response_not_found", "previous_response_id"),
            (404, "conversation_not_found", "conversation"),
            (404, "conversation_not_found", "conversation"),
        ]
        assert told[0].error["message"] == f"Previous response with id '{made}' not found."
        for fields in ({"previous_response_id": made}, {"conversation": {"id": conversation}}):
            id_of(await as_caller(relay.url, "ann", turn(stream=stream, **fields), path))


async def test_what_another_replica_made_is_its_callers_there_too(resources: Resources) -> None:
    async with resources.replicas_for("ann", "bob") as (one, other, _):
        made = id_of(await as_caller(one.url, "ann", turn(stream=False)))
        await eventually(lambda: ", 0 unsent" in repr(one.relay.board))
        before = resources.requests
        answer = await as_caller(other.url, "bob", turn(stream=False, previous_response_id=made))
        assert (answer.status, answer.error["code"]) == (400, "previous_response_not_found")
        assert resources.asked_since(before) == {}
        id_of(await as_caller(other.url, "ann", turn(stream=False, previous_response_id=made)))
