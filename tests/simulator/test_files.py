"""Files, uploads, containers, vector stores, batches, fine-tuning jobs and evals, with the stock client."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from tests.simulator.conftest import Simulate, client_of
from tests.simulator.wire import Connection

from chukei.simulator import Exchange
from chukei.simulator.batches import LINES_PER_TURN
from chukei.simulator.exchanges import KEPT_BODIES, Exchanges

pytestmark = pytest.mark.anyio

Client = AsyncOpenAI | AsyncAzureOpenAI


async def until_over(get: Callable[[], Awaitable[Any]], *running: str) -> list[Any]:
    """The object as often as it is seen while its status is one of these, and once after."""
    seen = [await get()]
    while seen[-1].status in running:
        seen.append(await get())
    return seen


async def upload(client: Client, data: bytes = b"content", purpose: Any = "user_data", name: str = "a.txt") -> str:
    return (await client.files.create(file=(name, data), purpose=purpose)).id


# Files.


async def test_a_file_comes_back_as_it_was_sent(clients: list[Client]) -> None:
    data = b"--\r\n\r\n--boundary\r\n" + bytes(range(256)) * 1000
    for client in clients:
        made = await client.files.create(file=("odd name.bin", data), purpose="batch")
        assert (made.bytes, made.filename, made.purpose, made.status) == (
            len(data),
            "odd name.bin",
            "batch",
            "processed",
        )
        assert await client.files.retrieve(made.id) == made
        assert (await client.files.content(made.id)).content == data
        assert made.id in [file.id async for file in client.files.list(purpose="batch")]
        assert [file.id async for file in client.files.list(purpose="vision")] == []
        assert (await client.files.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {made.id}"):
            await client.files.content(made.id)


async def test_the_ids_are_of_azures_forms(client: AsyncOpenAI) -> None:
    assert (await upload(client)).startswith("file-")
    assert (await upload(client, purpose="assistants")).startswith("assistant-")
    assert (await client.vector_stores.create()).id.startswith("vs_")


async def test_files_that_are_refused(simulate: Simulate) -> None:
    sim = await simulate(max_body_bytes=10_000)
    async with client_of(sim) as client:
        with pytest.raises(openai.BadRequestError, match="holiday"):
            await upload(client, purpose="holiday")
        with pytest.raises(openai.APIStatusError) as refused:
            await upload(client, b"x" * 20_000)
        assert refused.value.status_code == 413
    async with await Connection.open(sim.url) as connection:
        for body in (b"", b"--b", b"--b\r\n\r\n--b--", b"--b\r\ncontent-disposition: form-data; name=file\r\n\r\nx"):
            connection.send("POST", "/openai/v1/files", body, content_type="multipart/form-data; boundary=b")
            assert (await connection.answer()).status == 400, body


async def test_files_are_listed_in_pages(client: AsyncOpenAI) -> None:
    made = [await upload(client, name=f"{number}.txt") for number in range(5)]

    assert [file.id async for file in client.files.list(limit=2)] == made[::-1]
    assert [file.id async for file in client.files.list(limit=2, order="asc")] == made


async def test_an_upload_has_parts(client: AsyncOpenAI) -> None:
    upload = await client.uploads.create(bytes=6, filename="b.txt", mime_type="text/plain", purpose="user_data")
    parts = [await client.uploads.parts.create(upload.id, data=data) for data in (b"def", b"abc")]
    with pytest.raises(openai.BadRequestError):
        await client.uploads.complete(upload.id, part_ids=[parts[0].id])
    done = await client.uploads.complete(upload.id, part_ids=[parts[1].id, parts[0].id])

    assert done.status == "completed"
    assert done.file is not None
    assert (await client.files.content(done.file.id)).content == b"abcdef"
    with pytest.raises(openai.BadRequestError):
        await client.uploads.cancel(upload.id)
    other = await client.uploads.create(bytes=6, filename="b.txt", mime_type="text/plain", purpose="user_data")
    assert (await client.uploads.cancel(other.id)).status == "cancelled"


async def test_a_container_holds_files(client: AsyncOpenAI) -> None:
    file = await upload(client, b"one", name="one.txt")
    made = await client.containers.create(name="box", file_ids=[file])
    copy = await client.containers.files.create(made.id, file=("two.txt", b"two"))
    assert copy.path == "/mnt/data/two.txt"
    names = [file.path async for file in client.containers.files.list(made.id, order="asc")]
    assert names == ["/mnt/data/one.txt", "/mnt/data/two.txt"]
    assert (await client.containers.files.content.retrieve(copy.id, container_id=made.id)).content == b"two"
    await client.containers.files.delete(copy.id, container_id=made.id)
    assert [box.id async for box in client.containers.list()] == [made.id]
    await client.containers.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.containers.retrieve(made.id)


async def test_a_request_may_name_only_what_is_kept(client: AsyncOpenAI) -> None:
    file = await upload(client)
    store = (await client.vector_stores.create(file_ids=[file])).id

    async def ask(file: str, store: str, model: str = "gpt-4o") -> Any:
        content: Any = [{"type": "input_file", "file_id": file}, {"type": "input_text", "text": "hello"}]
        tools: Any = [{"type": "file_search", "vector_store_ids": [store]}]
        return await client.responses.create(model=model, input=[{"role": "user", "content": content}], tools=tools)

    assert (await ask(file, store)).status == "completed"
    for named in (("file-0", store), (file, "vs_0"), (file, store, "gpt-4o--file-gone")):
        with pytest.raises(openai.NotFoundError):
            await ask(*named)


# Vector stores.


async def test_a_vector_store_indexes_and_finds(client: AsyncOpenAI) -> None:
    bees = await upload(client, b"Bees make honey in summer.", name="bees.txt")
    cats = await upload(client, b"Cats sleep all day.", name="cats.txt")
    made = await client.vector_stores.create(name="animals", file_ids=[bees], metadata={"a": "b"})
    assert (made.status, made.file_counts.in_progress) == ("in_progress", 1)
    await client.vector_stores.files.create(made.id, file_id=cats, attributes={"legs": 4})
    seen = await until_over(lambda: client.vector_stores.retrieve(made.id), "in_progress")
    assert (seen[-1].file_counts.completed, seen[-1].usage_bytes) == (2, 45)

    found = [result async for result in client.vector_stores.search(made.id, query="Who makes honey?")]
    assert [result.filename for result in found] == ["bees.txt"]
    files = [file.id async for file in client.vector_stores.files.list(made.id, filter="completed")]
    assert files == [cats, bees]
    text = [part.text async for part in client.vector_stores.files.content(cats, vector_store_id=made.id)]
    assert text == ["Cats sleep all day."]
    await client.vector_stores.files.delete(cats, vector_store_id=made.id)
    assert (await client.vector_stores.update(made.id, name="insects")).name == "insects"
    assert (await client.vector_stores.delete(made.id)).deleted


async def test_several_files_are_indexed_at_once(client: AsyncOpenAI) -> None:
    ids = [await upload(client, name=f"{number}.txt") for number in range(3)]
    store = (await client.vector_stores.create()).id
    for_good = await client.vector_stores.file_batches.create(store, file_ids=ids[:2])
    cut_short = await client.vector_stores.file_batches.create(store, file_ids=ids[2:])
    await client.vector_stores.file_batches.cancel(cut_short.id, vector_store_id=store)

    async def get() -> Any:
        return await client.vector_stores.file_batches.retrieve(for_good.id, vector_store_id=store)

    assert (await until_over(get, "in_progress"))[-1].file_counts.completed == 2
    again = await client.vector_stores.file_batches.retrieve(cut_short.id, vector_store_id=store)
    assert (again.status, again.file_counts.cancelled) == ("cancelled", 1)


# Batches.

CHAT: Any = "/v1/chat/completions"


def lines(*models: str, url: str = CHAT, **fields: Any) -> bytes:
    body = {"messages": [{"role": "user", "content": "repeat: in a batch"}]}
    rows = [
        {"custom_id": f"task-{at}", "method": "POST", "url": url, "body": {"model": model, **body}, **fields}
        for at, model in enumerate(models)
    ]
    return b"\n".join(json.dumps(row).encode() for row in rows)


async def batch_of(client: Client, data: bytes) -> list[Any]:
    """The batch of an input file, from its first status to its last."""
    file = await upload(client, data, "batch", "in.jsonl")
    made = await client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h")
    return [
        made,
        *await until_over(lambda: client.batches.retrieve(made.id), "validating", "in_progress", "finalizing"),
    ]


async def test_a_batch_answers_each_line(clients: list[Client]) -> None:
    for client in clients:
        seen = await batch_of(client, lines("gpt-4o", "gpt-4o"))
        assert [batch.status for batch in seen] == ["validating", "in_progress", "finalizing", "completed"]
        done = seen[-1]
        assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (2, 2, 0)
        assert (done.model, done.errors, done.error_file_id) == ("gpt-4o", None, None)
        rows = [json.loads(row) for row in (await client.files.content(done.output_file_id)).text.splitlines()]
        answers = [row["response"]["body"] for row in rows]
        assert {row["custom_id"] for row in rows} == {"task-0", "task-1"}
        assert [answer["choices"][0]["message"]["content"] for answer in answers] == ["in a batch"] * 2
        assert done.usage.output_tokens == sum(answer["usage"]["completion_tokens"] for answer in answers)
        assert done.usage.total_tokens == sum(answer["usage"]["total_tokens"] for answer in answers)
        assert done.id in [batch.id async for batch in client.batches.list()]


async def test_lines_that_fail_are_in_another_file(client: AsyncOpenAI) -> None:
    done = (await batch_of(client, lines(*["gpt-4o--429-times-1"] * 2)))[-1]

    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    row = json.loads((await client.files.content(done.error_file_id)).text)
    assert row["response"]["status_code"] == 429


BAD_INPUTS: list[tuple[bytes, str]] = [
    (b"", "empty_file"),
    (b"{", "invalid_json_line"),
    (b'{"custom_id":"x"}', "invalid_json_line"),
    (lines("gpt-4o", url="/v1/responses"), "url_mismatch"),
    (lines("gpt-4o", "gpt-4.1"), "model_mismatch"),
    (lines("gpt-4o", "gpt-4o", custom_id="same"), "duplicate_custom_id"),
    (lines("gpt-4o--job-fails"), "server_error"),
]


async def test_an_input_that_is_not_right_fails(client: AsyncOpenAI) -> None:
    for data, code in BAD_INPUTS:
        seen = await batch_of(client, data)

        assert [batch.status for batch in seen] == ["validating", "failed"], code
        assert seen[-1].errors.data[0].code == code


async def test_the_lines_of_a_large_batch_are_answered_in_turns_with_other_requests(client: AsyncOpenAI) -> None:
    seen = await batch_of(client, lines(*["gpt-4o"] * (2 * LINES_PER_TURN + 1)))
    begun = next(batch for batch in seen if batch.status == "finalizing")
    assert (begun.request_counts.completed, begun.output_file_id) == (LINES_PER_TURN, None)
    done = seen[-1]
    assert (done.status, done.request_counts.completed) == ("completed", 2 * LINES_PER_TURN + 1)
    rows = [json.loads(row) for row in (await client.files.content(done.output_file_id)).text.splitlines()]
    assert [row["custom_id"] for row in rows] == [f"task-{at}" for at in range(2 * LINES_PER_TURN + 1)]


async def test_a_batch_must_have_an_input(client: AsyncOpenAI) -> None:
    gone = await upload(client, lines("gpt-4o--file-gone"), "batch")
    for file, endpoint in [("file-0", CHAT), (gone, CHAT), (await upload(client), CHAT), (gone, "/v1/nothing")]:
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
            await client.batches.create(input_file_id=file, endpoint=endpoint, completion_window="24h")


async def test_a_batch_is_cancelled(client: AsyncOpenAI) -> None:
    seen = await batch_of(client, lines("gpt-4o"))
    file = await upload(client, lines("gpt-4o--job-stays-queued"), "batch")
    made = await client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h")

    assert (await client.batches.cancel(made.id)).status == "cancelling"
    assert (await client.batches.retrieve(made.id)).status == "cancelled"
    with pytest.raises(openai.ConflictError):
        await client.batches.cancel(seen[-1].id)


# Fine-tuning and evals.


async def test_a_fine_tuning_job_succeeds(clients: list[Client]) -> None:
    for client in clients:
        file = await upload(client, b'{"messages":[]}\n', "fine-tune", "train.jsonl")
        made = await client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file, suffix="mine")
        get = partial(client.fine_tuning.jobs.retrieve, made.id)
        seen = [made, *await until_over(get, "queued", "running")]
        assert [job.status for job in seen] == ["queued", "running", "succeeded"]
        done = seen[-1]
        assert done.fine_tuned_model.startswith("gpt-4.1-mini.ft-")
        assert (await client.files.content(done.result_files[0])).text.startswith("step,")
        messages = [event.message async for event in client.fine_tuning.jobs.list_events(made.id)]
        assert messages == ["Job succeeded.", "Training started.", "Created fine-tuning job."]
        steps = [row.step_number async for row in client.fine_tuning.jobs.checkpoints.list(made.id)]
        assert steps == [3, 2, 1]


async def test_a_fine_tuning_job_fails_waits_or_is_cancelled(client: AsyncOpenAI) -> None:
    file = await upload(client, purpose="fine-tune")
    failing = await client.fine_tuning.jobs.create(model="gpt-4.1--job-fails", training_file=file)
    waiting = await client.fine_tuning.jobs.create(model="gpt-4.1--job-stays-queued", training_file=file)

    seen = await until_over(lambda: client.fine_tuning.jobs.retrieve(failing.id), "queued", "running")
    assert (seen[-1].status, seen[-1].error.code) == ("failed", "server_error")
    assert [(await client.fine_tuning.jobs.retrieve(waiting.id)).status for _ in range(5)] == ["queued"] * 5
    assert (await client.fine_tuning.jobs.cancel(waiting.id)).status == "cancelled"
    with pytest.raises(openai.NotFoundError):
        await client.fine_tuning.jobs.create(model="gpt-4.1", training_file="file-0")


async def test_an_eval_grades_what_it_can(client: AsyncOpenAI) -> None:
    criterion: Any = {
        "type": "string_check",
        "name": "same",
        "operation": "eq",
        "input": "{{ item.said }}",
        "reference": "{{item.true}}",
    }
    config: Any = {"type": "custom", "item_schema": {"type": "object"}}
    made = await client.evals.create(name="e", data_source_config=config, testing_criteria=[criterion])
    items = [{"item": {"said": said, "true": "yes"}} for said in ("yes", "no", "yes")]
    source: Any = {"type": "jsonl", "source": {"type": "file_content", "content": items}}
    run = await client.evals.runs.create(made.id, name="r", data_source=source)
    seen = await until_over(lambda: client.evals.runs.retrieve(run.id, eval_id=made.id), "queued", "in_progress")

    counts = seen[-1].result_counts
    assert (counts.total, counts.passed, counts.failed, counts.errored) == (3, 2, 1, 0)
    assert [eval_.id async for eval_ in client.evals.list()] == [made.id]
    await client.evals.runs.delete(run.id, eval_id=made.id)
    await client.evals.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.evals.retrieve(made.id)


def test_old_exchanges_lose_their_bodies() -> None:
    kept = Exchanges(3)
    made = [Exchange("POST", "/", {}, {}, bytes(KEPT_BODIES // 2)) for _ in range(5)]
    for exchange in made:
        kept.keep(exchange)

    assert list(kept) == made[2:]
    assert [len(exchange.body) for exchange in kept] == [0, KEPT_BODIES // 2, KEPT_BODIES // 2]
