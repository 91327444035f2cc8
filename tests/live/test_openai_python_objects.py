"""OpenAI's Python package and what a resource keeps, through a relay as users run it; on both shapes of the API.

Who may use which object is in test_objects.py; here is what the package itself does with ids, lists, jobs and streams.
"""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import AzureOpenAI, OpenAI
from tests.live.client_answers import KEY, KEYED
from tests.live.relays import RelayProcess

LINE = {
    "custom_id": "first",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "chat", "messages": [{"role": "user", "content": "repeat: in a batch"}]},
}
BATCH = json.dumps(LINE).encode()


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(KEYED) as relay:
        yield relay


@pytest.fixture(scope="module", params=["openai", "azure"])
def client(request: pytest.FixtureRequest, relay: RelayProcess) -> Iterator[OpenAI]:
    """A client made as its users make it: only the address is the relay's."""
    options: Any = {"api_key": KEY, "max_retries": 0, "timeout": 60}
    made = (
        OpenAI(base_url=f"{relay.url}/v1", **options)
        if request.param == "openai"
        else AzureOpenAI(azure_endpoint=relay.url, api_version="2025-04-01-preview", **options)
    )
    with made:
        yield made


def gone(call: Callable[[], object]) -> None:
    """Check that an object is no longer there."""
    with pytest.raises(openai.NotFoundError):
        call()


def finished(retrieve: Callable[[], Any]) -> Any:
    """Poll a job until it has ended. The simulator's jobs go on whenever they are looked at."""
    for _ in range(100):
        job = retrieve()
        if job.status not in ("queued", "in_progress", "validating", "finalizing"):
            return job
    raise AssertionError("the job does not end")


def test_a_stored_response(client: OpenAI) -> None:
    first = client.responses.create(model="chat", input="repeat: one")
    second = client.responses.create(model="chat", input="repeat: two", previous_response_id=first.id)
    assert second.output_text == "two"
    assert client.responses.retrieve(second.id) == second
    assert [item.type for item in client.responses.input_items.list(first.id)] == ["message"]
    assert client.responses.input_tokens.count(model="chat", input="How long is this?").input_tokens > 0
    assert client.responses.compact(model="chat", input="repeat: one").output
    client.responses.delete(first.id)
    gone(lambda: client.responses.retrieve(first.id))


def test_a_background_response_is_polled_and_cancelled(client: OpenAI) -> None:
    made = client.responses.create(model="chat", input="repeat: in the background", background=True)
    assert made.status in ("queued", "in_progress")
    done = finished(lambda: client.responses.retrieve(made.id))
    assert (done.status, done.output_text) == ("completed", "in the background")
    other = client.responses.create(model="chat", input="count to 500", background=True)
    assert client.responses.cancel(other.id).status == "cancelled"


def test_a_background_stream_that_was_left_is_resumed(client: OpenAI) -> None:
    text, last, made = "", -1, ""
    stream = client.responses.create(
        model="chat", input="repeat: one two three four five six", background=True, stream=True
    )
    with stream:
        for event in stream:
            last = event.sequence_number
            if event.type == "response.created":
                made = event.response.id
            if event.type == "response.output_text.delta":
                text += event.delta
                break
    with client.responses.retrieve(made, stream=True, starting_after=last) as rest:
        for event in rest:
            assert event.sequence_number == last + 1
            last = event.sequence_number
            if event.type == "response.output_text.delta":
                text += event.delta
    assert (text, event.type) == ("one two three four five six", "response.completed")
    with client.responses.stream(response_id=made, starting_after=last - 1) as ended:
        assert [event.type for event in ended] == ["response.completed"]


def test_a_background_stream_that_broke_is_resumed(client: OpenAI) -> None:
    seen: list[Any] = []
    stream = client.responses.create(
        model="chat--truncate-8", input="repeat: one two three four five six", background=True, stream=True
    )
    with stream, pytest.raises(openai.APIError):
        seen.extend(stream)
    last = max(event.sequence_number for event in seen if event.type != "error")
    with client.responses.retrieve(seen[0].response.id, stream=True, starting_after=last) as rest:
        seen.extend(rest)
    texts = [event.delta for event in seen if event.type == "response.output_text.delta"]
    assert ("".join(texts), seen[-1].type) == ("one two three four five six", "response.completed")


def test_a_conversation(client: OpenAI) -> None:
    made = client.conversations.create(metadata={"about": "words"})
    added: Any = {"type": "message", "role": "user", "content": "repeat: one"}
    client.conversations.items.create(made.id, items=[added])
    answer = client.responses.create(model="chat", input="repeat: two", conversation=made.id)
    assert answer.conversation is not None
    assert answer.conversation.id == made.id
    items = list(client.conversations.items.list(made.id, order="asc"))
    assert [item.role for item in items if item.type == "message"] == ["user", "user", "assistant"]
    assert items[0].id is not None
    assert client.conversations.items.retrieve(items[0].id, conversation_id=made.id) == items[0]
    client.conversations.items.delete(items[0].id, conversation_id=made.id)
    assert len(list(client.conversations.items.list(made.id))) == 2
    assert client.conversations.update(made.id, metadata={"about": "two"}).metadata == {"about": "two"}
    client.conversations.delete(made.id)
    gone(lambda: client.conversations.retrieve(made.id))


def test_a_stored_chat(client: OpenAI) -> None:
    made = client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "repeat: kept"}], store=True, metadata={"a": "b"}
    )
    assert made.id in [each.id for each in client.chat.completions.list()]
    assert client.chat.completions.retrieve(made.id).choices[0].message.content == "kept"
    assert [message.content for message in client.chat.completions.messages.list(made.id)] == ["repeat: kept"]
    assert client.chat.completions.update(made.id, metadata={"a": "c"}).metadata == {"a": "c"}
    client.chat.completions.delete(made.id)
    gone(lambda: client.chat.completions.retrieve(made.id))


def test_files_and_an_upload_in_parts(client: OpenAI) -> None:
    content = bytes(range(256)) * 1000
    file = client.files.create(file=("über.bin", content), purpose="user_data")
    assert client.files.retrieve(file.id).bytes == len(content)
    assert client.files.content(file.id).read() == content
    assert file.id in [each.id for each in client.files.list(limit=1)]
    upload = client.uploads.upload_file_chunked(
        file=content, filename="parts.bin", bytes=len(content), mime_type="application/octet-stream",
        purpose="user_data", part_size=100_000,
    )  # fmt: skip
    assert upload.file is not None
    assert client.files.content(upload.file.id).read() == content
    client.files.delete(file.id)
    gone(lambda: client.files.retrieve(file.id))


def test_a_vector_store(client: OpenAI) -> None:
    store = client.vector_stores.create(name="facts")
    text = io.BytesIO(b"Bees make honey.\n\nRivers run to the sea.")
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("facts.txt", text), poll_interval_ms=1
    )
    assert file.status == "completed"
    [found] = [each.content[0].text for each in client.vector_stores.search(store.id, query="honey")]
    assert "Bees make honey." in found
    batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=[file.id], poll_interval_ms=1)
    assert batch.file_counts.completed == 1
    assert client.vector_stores.retrieve(store.id).file_counts.total == 1
    client.vector_stores.delete(store.id)
    gone(lambda: client.vector_stores.retrieve(store.id))


def test_a_batch(client: OpenAI) -> None:
    file = client.files.create(file=("batch.jsonl", BATCH), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    done = finished(lambda: client.batches.retrieve(made.id))
    assert (done.status, done.request_counts.completed) == ("completed", 1)
    [answer] = client.files.content(done.output_file_id).text.splitlines()
    assert json.loads(answer)["response"]["body"]["choices"][0]["message"]["content"] == "in a batch"
    assert made.id in [each.id for each in client.batches.list()]


def test_a_container(client: OpenAI) -> None:
    made = client.containers.create(name="box")
    file = client.containers.files.create(made.id, file=("a.txt", b"hello"))
    assert client.containers.files.content.retrieve(file.id, container_id=made.id).read() == b"hello"
    client.containers.delete(made.id)
    gone(lambda: client.containers.retrieve(made.id))


def test_a_fine_tuning_job(client: OpenAI) -> None:
    example = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]}
    lines = "\n".join([json.dumps(example)] * 10).encode()
    file = client.files.create(file=("examples.jsonl", lines), purpose="fine-tune")
    made = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
    assert client.fine_tuning.jobs.retrieve(made.id).training_file == file.id
    assert made.id in [each.id for each in client.fine_tuning.jobs.list()]
    assert list(client.fine_tuning.jobs.list_events(made.id))
    other = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
    assert client.fine_tuning.jobs.cancel(other.id).status == "cancelled"


def test_an_eval(client: OpenAI) -> None:
    schema: Any = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]}
    source: Any = {"type": "custom", "item_schema": schema}
    check: Any = {
        "type": "string_check", "name": "greets", "input": "{{item.said}}", "reference": "hello", "operation": "eq",
    }  # fmt: skip
    made = client.evals.create(name="greetings", data_source_config=source, testing_criteria=[check])
    content: Any = [{"item": {"said": "hello"}}, {"item": {"said": "bye"}}]
    data: Any = {"type": "jsonl", "source": {"type": "file_content", "content": content}}
    run = client.evals.runs.create(made.id, data_source=data)
    done = finished(lambda: client.evals.runs.retrieve(run.id, eval_id=made.id))
    assert (done.result_counts.passed, done.result_counts.failed) == (1, 1)
    assert len(list(client.evals.runs.output_items.list(run.id, eval_id=made.id))) == 2
    client.evals.delete(made.id)
    gone(lambda: client.evals.retrieve(made.id))
