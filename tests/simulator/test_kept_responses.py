"""What a resource keeps of the Responses API: responses, items, conversations, background jobs and what it seals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from tests.simulator.conftest import Simulate, client_of
from tests.simulator.wire import Connection, get, post

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

Client = AsyncOpenAI | AsyncAzureOpenAI
SEALED: Any = ["reasoning.encrypted_content"]


def texts(items: Iterable[Any]) -> list[str]:
    return [item.content[0].text for item in items]


async def test_a_stored_response_is_the_one_that_was_answered(clients: list[Client]) -> None:
    for client in clients:
        whole = await client.responses.create(model="gpt-4o", input="repeat: kept", metadata={"a": "b"})
        streamed = await client.responses.create(model="gpt-4o", input="repeat: kept", stream=True)
        end = [event async for event in streamed][-1]
        assert end.type == "response.completed"

        for before in (whole, end.response):
            assert await client.responses.retrieve(before.id) == before
            await client.responses.delete(before.id)
            with pytest.raises(openai.NotFoundError) as gone:
                await client.responses.retrieve(before.id)
            assert gone.value.body == {
                "message": f"Response with id '{before.id}' not found.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }


async def test_what_is_not_stored_or_was_cut_off_is_not_found(sim: Simulator, client: AsyncOpenAI) -> None:
    unstored = await client.responses.create(model="gpt-4o", input="hello", store=False)
    stream = await client.responses.create(model="gpt-4o--truncate-5", input="write 50 words", stream=True)
    first = await anext(aiter(stream))
    await stream.close()
    await sim.idle(timeout=120)

    for id_ in (unstored.id, first.response.id):  # type: ignore[union-attr]
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(id_)


async def test_the_next_turn_pays_for_the_turns_before(client: AsyncOpenAI) -> None:
    first = await client.responses.create(model="gpt-4o", input="repeat: " + "long " * 50)
    second = await client.responses.create(model="gpt-4o", input="hello", previous_response_id=first.id)
    alone = await client.responses.create(model="gpt-4o", input="hello")

    assert first.usage
    assert second.usage
    assert alone.usage
    assert second.usage.input_tokens > alone.usage.input_tokens + first.usage.input_tokens
    items = [item async for item in client.responses.input_items.list(second.id, order="asc")]
    assert [getattr(item, "role", None) for item in items] == ["user", "assistant", "user"]
    assert items[1].id == first.output[0].id


async def test_input_items_come_in_pages(client: AsyncOpenAI, sim: Simulator) -> None:
    given: Any = [{"role": "user", "content": f"number {number}"} for number in range(5)]
    made = await client.responses.create(model="gpt-4o", input=given)

    newest = await client.responses.input_items.list(made.id, limit=2)
    assert texts(newest.data) == ["number 4", "number 3"]
    assert newest.has_more
    after = await client.responses.input_items.list(made.id, limit=3, after=newest.data[-1].id)
    assert texts(after.data) == ["number 2", "number 1", "number 0"]
    assert not after.has_more
    path = f"/openai/v1/responses/{made.id}/input_items"
    for query, status in {"order=up": 400, "limit=0": 400, "limit=x": 400, "after=msg_0": 404}.items():
        assert (await get(sim.url, f"{path}?{query}")).status == status, query


async def test_items_are_referred_to_by_their_ids(client: AsyncOpenAI) -> None:
    first = await client.responses.create(model="o4-mini", input="hello")
    ids = [item.id for item in first.output]
    again: Any = [{"type": "item_reference", "id": id_} for id_ in ids] + [{"role": "user", "content": "repeat: on"}]

    assert (await client.responses.create(model="o4-mini", input=again)).output_text == "on"
    # A reasoning item without its content is a reference, too.
    thought: Any = [{"type": "reasoning", "id": "rs_unknown", "summary": []}, {"role": "user", "content": "hello"}]
    for store, words in ((True, "Item with id 'rs_unknown' not found."), (False, "Items are not persisted when")):
        with pytest.raises(openai.NotFoundError, match=words) as refused:
            await client.responses.create(model="o4-mini", input=thought, store=store)
        assert refused.value.param == "input"


async def test_reasoning_is_sealed_for_one_resource(client: AsyncOpenAI, simulate: Simulate) -> None:
    first = await client.responses.create(model="o4-mini", input="hello", store=False, include=SEALED)
    assert first.output[0].type == "reasoning"
    again: Any = [*first.output, {"role": "user", "content": "repeat: on"}]

    assert (await client.responses.create(model="o4-mini", input=again, store=False)).output_text == "on"
    async with client_of(await simulate()) as elsewhere:
        with pytest.raises(openai.BadRequestError, match=r"The encrypted content gAAA\.\.\..{4} could not be verified"):
            await elsewhere.responses.create(model="o4-mini", input=again, store=False)


async def test_two_resources_never_make_the_same_id(simulate: Simulate) -> None:
    body = {"model": "gpt-4o", "input": "hello"}
    made = [(await post((await simulate()).url, "/openai/v1/responses", body)).json for _ in range(3)]

    assert len({response["id"] for response in made}) == 3
    assert len({response["output"][0]["id"] for response in made}) == 3


async def test_tokens_are_counted_and_contexts_compacted(sim: Simulator, client: AsyncOpenAI) -> None:
    first = await client.responses.create(model="gpt-4o", input="repeat: one two three")
    counted = await client.responses.input_tokens.count(model="gpt-4o", input="hello", previous_response_id=first.id)
    second = await client.responses.create(model="gpt-4o", input="hello", previous_response_id=first.id)
    assert second.usage is not None
    assert counted.input_tokens == second.usage.input_tokens

    body = {"model": "gpt-4o", "input": "hello", "previous_response_id": first.id}
    compacted = (await post(sim.url, "/openai/v1/responses/compact", body)).json
    assert compacted["object"] == "response.compaction"
    assert [item["type"] for item in compacted["output"]] == ["message", "message", "compaction"]
    again: Any = [*compacted["output"], {"role": "user", "content": "repeat: on"}]
    assert (await client.responses.create(model="gpt-4o", input=again)).output_text == "on"


# Conversations.


async def test_a_conversation_grows_with_each_turn(client: AsyncOpenAI) -> None:
    talk = await client.conversations.create(items=[{"role": "user", "content": "I am Ada."}], metadata={"a": "b"})
    answer = await client.responses.create(model="gpt-4o", input="repeat: hello Ada", conversation=talk.id)
    assert answer.conversation is not None
    assert answer.conversation.id == talk.id

    items = [item async for item in client.conversations.items.list(talk.id, order="asc")]
    assert [getattr(item, "role", None) for item in items] == ["user", "user", "assistant"]
    await client.conversations.items.create(talk.id, items=[{"role": "user", "content": "Bye."}])
    shown = await client.conversations.items.retrieve(items[2].id or "", conversation_id=talk.id)
    assert shown.id == answer.output[0].id
    await client.conversations.items.delete(items[0].id or "", conversation_id=talk.id)
    assert len([item async for item in client.conversations.items.list(talk.id)]) == 3
    assert (await client.conversations.update(talk.id, metadata={"c": "d"})).metadata == {"c": "d"}
    assert (await client.conversations.delete(talk.id)).deleted
    with pytest.raises(openai.NotFoundError, match=f"Conversation with id '{talk.id}' not found."):
        await client.responses.create(model="gpt-4o", input="hello", conversation=talk.id)


async def test_a_turn_has_one_past(client: AsyncOpenAI) -> None:
    talk = await client.conversations.create()
    first = await client.responses.create(model="gpt-4o", input="hello")

    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(
            model="gpt-4o", input="hello", conversation=talk.id, previous_response_id=first.id
        )
    assert refused.value.code == "mutually_exclusive_parameters"


# Background.


async def test_a_background_response_is_polled_until_its_end(clients: list[Client]) -> None:
    for client in clients:
        made = await client.responses.create(model="gpt-4o", input="repeat: done", background=True)
        seen = [made]
        while seen[-1].status in ("queued", "in_progress"):
            seen.append(await client.responses.retrieve(made.id))

        assert [response.status for response in seen] == ["queued", "in_progress", "completed"]
        assert [response.usage is None for response in seen] == [True, True, False]
        assert seen[-1].output_text == "done"
        assert seen[-1].background
        assert (await client.responses.cancel(made.id)).status == "completed"


@pytest.mark.parametrize(("looks", "statuses"), [(0, ["completed"]), (2, ["queued", "in_progress", "in_progress"])])
async def test_settings_say_how_often_a_job_is_seen_unfinished(
    simulate: Simulate, looks: int, statuses: list[str]
) -> None:
    async with client_of(await simulate(job_looks=looks)) as client:
        made = await client.responses.create(model="gpt-4o", input="hello", background=True)

        assert [(await client.responses.retrieve(made.id)).status for _ in statuses] == statuses


async def test_a_job_that_takes_time_ends_without_being_asked(simulate: Simulate) -> None:
    sim = await simulate(first_token_seconds=0.01, jitter=0)
    async with client_of(sim) as client:
        made = await client.responses.create(model="gpt-4o", input="repeat: done", background=True)
        sim.stored.clock = lambda: 1e12

        assert (await client.responses.retrieve(made.id)).output_text == "done"


async def test_a_background_stream_that_was_cut_is_resumed(sim: Simulator, client: AsyncOpenAI) -> None:
    whole = await client.responses.create(model="gpt-4o", input="repeat: one two three", background=True, stream=True)
    numbers = [(event.type, event.sequence_number) async for event in whole]
    assert [type_ for type_, _ in numbers[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert [number for _, number in numbers] == list(range(len(numbers)))

    cut = await client.responses.create(
        model="gpt-4o--truncate-6", input="repeat: one two three", background=True, stream=True
    )
    seen: list[Any] = []

    async def read() -> None:
        async for event in cut:
            seen.append(event)

    with pytest.raises(openai.APIConnectionError):
        await read()
    id_ = seen[0].response.id
    rest = await client.responses.retrieve(id_, stream=True, starting_after=seen[-1].sequence_number)
    seen += [event async for event in rest]

    assert [(event.type, event.sequence_number) for event in seen] == numbers
    assert seen[-1].response.output_text == "one two three"
    assert await client.responses.retrieve(id_) == seen[-1].response
    path = f"/openai/v1/responses/{id_}?stream=true&starting_after="
    assert (await get(sim.url, f"{path}{len(numbers) - 1}")).body == b""
    for beyond in (len(numbers), 10**9, "x"):
        answer = await get(sim.url, f"{path}{beyond}")
        assert (answer.status, answer.json["error"]["param"]) == (400, "starting_after"), beyond


async def test_the_job_goes_on_when_its_client_leaves(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=30, jitter=0)
    body = {"model": "gpt-4o", "input": "repeat: one two three", "background": True, "stream": True}
    async with client_of(sim) as client:
        stream = await client.responses.create(**body)  # type: ignore[call-overload]
        first = await anext(aiter(stream))
        await stream.close()
        assert (await client.responses.retrieve(first.response.id)).status == "in_progress"
        sim.stored.clock = lambda: 1e12

        assert (await client.responses.retrieve(first.response.id)).output_text == "one two three"


async def test_only_background_streams_are_streamed_again(client: AsyncOpenAI) -> None:
    whole = await client.responses.create(model="gpt-4o", input="hello")
    polled = await client.responses.create(model="gpt-4o", input="hello", background=True)

    for made in (whole, polled):
        with pytest.raises(openai.BadRequestError, match="cannot be streamed"):
            await client.responses.retrieve(made.id, stream=True)


async def test_a_stream_is_resumed_for_five_minutes(simulate: Simulate) -> None:
    sim = await simulate()
    async with client_of(sim) as client:
        stream = await client.responses.create(model="gpt-4o", input="hello", background=True, stream=True)
        events = [event async for event in stream]
        id_ = events[0].response.id  # type: ignore[union-attr]
        kept = sim.stored["response"].get(id_)
        assert kept is not None
        kept.shown["created_at"] -= 301

        with pytest.raises(openai.BadRequestError, match="can no longer be streamed"):
            await client.responses.retrieve(id_, stream=True)


async def test_a_job_is_cancelled_once(client: AsyncOpenAI) -> None:
    made = await client.responses.create(model="gpt-4o--job-stays-queued", input="hello", background=True)
    assert (await client.responses.retrieve(made.id)).status == "queued"
    for _ in range(2):
        cancelled = await client.responses.cancel(made.id)
        assert (cancelled.status, cancelled.output, cancelled.usage) == ("cancelled", [], None)
    whole = await client.responses.create(model="gpt-4o", input="hello")

    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        await client.responses.cancel(whole.id)


async def test_cancelling_ends_the_stream(sim: Simulator, client: AsyncOpenAI) -> None:
    stream = await client.responses.create(
        model="gpt-4o--job-stays-queued", input="hello", background=True, stream=True
    )
    events = aiter(stream)
    first = await anext(events)
    await client.responses.cancel(first.response.id)  # type: ignore[union-attr]

    assert [event.type async for event in events] == ["response.queued"]


async def test_a_job_may_fail(client: AsyncOpenAI) -> None:
    made = await client.responses.create(model="gpt-4o--job-fails", input="hello", background=True)
    seen = [await client.responses.retrieve(made.id) for _ in range(3)][-1]
    assert (seen.status, seen.usage, seen.output) == ("failed", None, [])
    assert seen.error is not None
    assert seen.error.code == "server_error"

    stream = await client.responses.create(model="gpt-4o--job-fails", input="hello", background=True, stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_background_must_be_stored(sim: Simulator) -> None:
    body = {"model": "gpt-4o", "input": "hello", "background": True, "store": False}

    answer = await post(sim.url, "/openai/v1/responses", body)

    assert (answer.status, answer.json["error"]["param"]) == (400, "background")


async def test_a_resource_that_is_away_for_one_operation(simulate: Simulate) -> None:
    sim = await simulate(faults={"GET responses/{}": "503*1"})
    async with client_of(sim) as client:
        made = await client.responses.create(model="gpt-4o", input="hello")
        with pytest.raises(openai.InternalServerError):
            await client.responses.retrieve(made.id)

        assert (await client.responses.retrieve(made.id)).id == made.id


async def test_methods_and_paths_that_do_not_exist(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        for method, path in [
            ("PUT", "/openai/v1/responses/resp_1"),
            ("DELETE", "/openai/v1/responses"),
            ("GET", "/openai/v1/responses/resp_1/nothing"),
            ("GET", "/openai/responses/resp_1"),  # without an api-version
            ("POST", "/openai/conversations?api-version=2025-04-01-preview"),
        ]:
            connection.send(method, path, b"{}")
            answer = await connection.answer()
            assert (answer.status, answer.json["error"]["message"]) == (404, "Resource not found"), path
