"""Objects that requests refer to: they go to its resource, and only its owner gets there, also after a restart."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.live.plain_http import Answer, ask, post
from tests.live.redis_server import RedisServer
from tests.live.relays import InProcessRelay, eventually
from tests.live.test_affinity import NAMES, Resources, as_caller, id_of, resources, turn

__all__ = ["resources"]

pytestmark = pytest.mark.anyio

# The second is the service's own for an unknown response (microsoft/agent-framework#6419, dotnet/extensions#7704).
MINE, ANOTHERS = (200, None), (400, "previous_response_not_found")


def outcome(answer: Answer) -> tuple[int, str | None]:
    return answer.status, None if answer.status == 200 else answer.error["code"]


async def made_by(relay: InProcessRelay, caller: str, *, stream: bool = False) -> tuple[str, list[str], str]:
    """Have a response made; return its id, the ids of its items, and the deployment that made it."""
    count = len(relay.records)
    answer = await as_caller(relay.url, caller, turn(stream=stream))
    made, home = id_of(answer), (await relay.record(count + 1)).deployment
    assert home is not None
    body = answer.json() if not stream else last_event(answer)["response"]
    return made, [item["id"] for item in body["output"]], home


def last_event(answer: Answer) -> Any:
    return json.loads(answer.body.split(b"event: response.completed\n")[1].partition(b"data: ")[2].split(b"\n")[0])


def asking_for(item: str, *, stream: bool) -> bytes:
    """A second turn as the AI SDK sends it: what the service has is named, not repeated."""
    reference = {"type": "item_reference", "id": item}
    question = {"role": "user", "content": [{"type": "input_text", "text": "repeat: two"}]}
    return json.dumps({"input": [reference, question], "stream": stream}).encode()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_item_is_asked_for_where_it_was_made_and_only_by_its_owner(resources: Resources, stream: bool) -> None:
    async with resources.relay_for("ann", "bob") as relay:
        homes = set()
        for _ in range(3):
            _, (item, *_), home = await made_by(relay, "ann", stream=stream)
            homes.add(home)
            before = resources.requests
            for _ in range(2):
                await as_caller(relay.url, "ann", asking_for(item, stream=stream))
            assert resources.asked_since(before) == {home: 2}
            before = resources.requests
            answer = await as_caller(relay.url, "bob", asking_for(item, stream=stream))
            assert (outcome(answer), answer.error["param"]) == ((404, "item_not_found"), "input")
            assert answer.error["message"] == f"Item with id '{item}' not found."
            assert resources.asked_since(before) == {}
        assert homes == set(NAMES)


async def test_items_that_come_as_a_whole_stay_where_they_were_made_but_need_not(resources: Resources) -> None:
    async with resources.relay_for("ann", more=OTHER_MODEL) as relay:
        _, (item, *_), home = await made_by(relay, "ann")
        whole = {"type": "message", "role": "assistant", "id": item, "content": [{"type": "output_text", "text": "x"}]}
        before = resources.requests
        for model in ("chat", "chat", "only-a", "only-b", "only-c"):
            body = json.dumps({"model": model, "input": [whole, {"role": "user", "content": "repeat: two"}]}).encode()
            assert (await as_caller(relay.url, "ann", body)).status == 200
        asked = resources.asked_since(before)
        assert asked == {name: 3 if name == home else 1 for name in NAMES}


OTHER_MODEL = "\n".join(f'[models.only-{name}]\ndeployments = ["{name}"]' for name in NAMES)


async def test_a_model_without_a_deployment_there_cannot_continue_it(resources: Resources) -> None:
    async with resources.relay_for("ann", "bob", more=OTHER_MODEL) as relay:
        made, _, home = await made_by(relay, "ann")
        before = resources.requests
        for name in NAMES:
            body = turn(stream=False, model=f"only-{name}", previous_response_id=made)
            answer = await as_caller(relay.url, "ann", body)
            assert outcome(answer) == (MINE if name == home else (400, "object_elsewhere"))
            assert outcome(await as_caller(relay.url, "bob", body)) == ANOTHERS
        assert resources.asked_since(before) == {home: 1}


async def test_a_group_may_share_what_its_members_make(resources: Resources) -> None:
    """With ``groups.everybody`` all callers do."""
    for shares in (True, False):
        more = f"[groups.everybody]\nshare_objects = {str(shares).lower()}"
        async with resources.relay_for("ann", "bob", more=more) as relay:
            made, _, home = await made_by(relay, "ann")
            before = resources.requests
            answer = await as_caller(relay.url, "bob", turn(stream=False, previous_response_id=made))
            assert outcome(answer) == (MINE if shares else ANOTHERS)
            assert resources.asked_since(before) == ({home: 1} if shares else {})


async def test_what_the_operator_made_is_for_all(resources: Resources) -> None:
    """It is at one resource only, and found there."""
    place = resources.simulators[NAMES[-1]].url
    kept = await post(place, "/openai/v1/vector_stores", b"{}", [("api-key", "x")])
    search = {"type": "file_search", "vector_store_ids": [kept.json()["id"]]}
    async with resources.relay_for("ann", "bob") as relay:
        for caller in ("ann", "bob", "ann"):
            answer = await as_caller(relay.url, caller, turn(stream=False, tools=[search]))
            assert outcome(answer) == MINE


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    new: Callable[[], str] = request.getfixturevalue("new_database")
    return new()


async def test_after_a_restart_objects_are_where_and_whose_they_were(resources: Resources, ledger: str) -> None:
    async with resources.relay_for("ann", "bob", ledger=ledger) as relay:
        made = [await made_by(relay, "ann") for _ in range(3)]
    async with resources.relay_for("ann", "bob", ledger=ledger) as relay:
        for id, (item, *_), home in made:
            before = resources.requests
            answer = await as_caller(relay.url, "bob", turn(stream=False, previous_response_id=id))
            assert outcome(answer) == ANOTHERS
            assert (await as_caller(relay.url, "bob", asking_for(item, stream=False))).status == 404
            assert resources.asked_since(before) == {}
            await as_caller(relay.url, "ann", turn(stream=False, previous_response_id=id))
            assert resources.asked_since(before) == {home: 1}


async def test_two_relays_with_one_database_know_the_same_objects(resources: Resources, ledger: str) -> None:
    async with (
        resources.relay_for("ann", "bob", ledger=ledger) as one,
        resources.relay_for("ann", "bob", ledger=ledger) as other,
    ):
        made, _, home = await made_by(one, "ann")
        writer = one.relay.accounting.objects
        assert writer is not None
        await eventually(lambda: not writer._waiting)
        before = resources.requests
        body = turn(stream=False, previous_response_id=made)
        assert outcome(await as_caller(other.url, "bob", body)) == ANOTHERS
        assert outcome(await as_caller(other.url, "ann", body)) == MINE
        assert resources.asked_since(before) == {home: 1}


async def test_while_a_store_is_away_nobody_gets_what_may_be_anothers(resources: Resources) -> None:
    with RedisServer() as redis:
        async with resources.relay_for("ann", "bob", redis=redis.url) as relay:
            await eventually(lambda: "connected" in repr(relay.relay.board))
            made, _, home = await made_by(relay, "ann")
            redis.stop()
            await eventually(lambda: "away" in repr(relay.relay.board))
            before = resources.requests
            own = await as_caller(relay.url, "ann", turn(stream=False, previous_response_id=made))
            assert outcome(own) == MINE, "it is known here"
            assert outcome(await as_caller(relay.url, "bob", turn(stream=False, previous_response_id=made))) == ANOTHERS
            unknown = await as_caller(relay.url, "bob", turn(stream=False, previous_response_id="resp_unknown"))
            assert outcome(unknown) == (503, "objects_unavailable")
            assert unknown.header("retry-after") == "1"
            assert resources.asked_since(before) == {home: 1}
            id_of(await as_caller(relay.url, "bob", turn(stream=False)))


async def test_while_a_store_takes_nothing_nobody_gets_what_may_be_anothers(resources: Resources) -> None:
    """The replica that made something could not tell the others."""
    async with resources.replicas_for("ann", "bob") as (one, other, redis):
        redis.command("CONFIG", "SET", "maxmemory", "1")
        made, (item, *_), _ = await made_by(one, "ann")
        before = resources.requests
        for body in (turn(stream=False, previous_response_id=made), asking_for(item, stream=False)):
            assert outcome(await as_caller(other.url, "bob", body)) == (503, "objects_unavailable")
        for method in ("GET", "DELETE"):
            asked = await ask(other.url, method, f"/v1/responses/{made}", [("authorization", "Bearer bob")], b"")
            assert outcome(asked) == (503, "objects_unavailable")
        assert resources.asked_since(before) == {}
        assert outcome(await as_caller(one.url, "ann", turn(stream=False, previous_response_id=made))) == MINE
