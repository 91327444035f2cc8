"""Stored objects through the relay: OpenAI's client on both shapes of the API, two callers, one and two relays."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from tests.adapters.servers import LocalServer, Peer
from tests.live.callers import ENVIRONMENT, config, key_of
from tests.live.plain_http import connection
from tests.live.redis_server import RedisServer
from tests.live.relays import InProcessRelay
from tests.rows import rows

from chukei.config import load
from chukei.model import End
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

VERSION = "2025-04-01-preview"
CALLERS: dict[str, Any] = {"ann": {}, "bob": {}}
SHAPES = ["openai", "azure"]


def client(relay: InProcessRelay, who: str, shape: str = "openai") -> AsyncOpenAI:
    """Make a client as its users do: only the address is the relay's."""
    options: Any = {"api_key": key_of(who), "max_retries": 0, "timeout": 60}
    if shape == "azure":
        return AsyncAzureOpenAI(azure_endpoint=relay.url, api_version=VERSION, **options)
    return AsyncOpenAI(base_url=f"{relay.url}/v1", **options)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)) as made:
        yield made


def relay_to(path: Path, simulator: Simulator, **sections: Any) -> InProcessRelay:
    objects = {"model": "chat", "serve": ["files", "uploads", "vector_stores", "containers", "batches"]}
    return InProcessRelay(load(config(path, simulator.url, CALLERS, objects=objects, **sections), ENVIRONMENT))


@pytest.fixture
async def relay(tmp_path: Path, simulator: Simulator) -> AsyncIterator[InProcessRelay]:
    async with relay_to(tmp_path / "relay.toml", simulator) as made:
        yield made


@rows("shape", SHAPES)
async def test_responses(relay: InProcessRelay, shape: str) -> None:
    async with client(relay, "ann", shape) as ann:
        made = await ann.responses.create(model="chat", input="repeat: hello")
        assert (await ann.responses.retrieve(made.id)).output_text == made.output_text
        items = await ann.responses.input_items.list(made.id)
        assert len(items.data) == 1
        await ann.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await ann.responses.retrieve(made.id)


@rows("shape", SHAPES)
async def test_a_background_response_is_resumed_and_cancelled(relay: InProcessRelay, shape: str) -> None:
    async with client(relay, "ann", shape) as ann:
        made = await ann.responses.create(model="chat", input="repeat: hello", background=True, store=True)
        while (now := await ann.responses.retrieve(made.id)).status in ("queued", "in_progress"):
            await asyncio.sleep(0.01)
        assert now.status == "completed"
        other = await ann.responses.create(model="chat", input="count to 500", background=True)
        assert (await ann.responses.cancel(other.id)).status in ("cancelled", "completed")


async def test_conversations(relay: InProcessRelay) -> None:
    async with client(relay, "ann") as ann:
        made = await ann.conversations.create(metadata={"a": "b"})
        await ann.conversations.items.create(
            made.id, items=[{"type": "message", "role": "user", "content": "My name is Ann."}]
        )
        await ann.responses.create(model="chat", input="What is my name?", conversation=made.id)
        items = [item async for item in ann.conversations.items.list(made.id)]
        assert len(items) == 3
        assert items[0].id is not None
        assert (await ann.conversations.items.retrieve(items[0].id, conversation_id=made.id)).id == items[0].id
        await ann.conversations.update(made.id, metadata={"a": "c"})
        assert (await ann.conversations.retrieve(made.id)).metadata == {"a": "c"}
        await ann.conversations.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await ann.conversations.retrieve(made.id)


async def test_stored_chats(relay: InProcessRelay) -> None:
    async with client(relay, "ann") as ann, client(relay, "bob") as bob:
        for who in (ann, bob):
            await who.chat.completions.create(model="chat", store=True, messages=[{"role": "user", "content": "hi"}])
        [mine] = [each async for each in ann.chat.completions.list()]
        [theirs] = [each async for each in bob.chat.completions.list()]
        assert (await ann.chat.completions.retrieve(mine.id)).id == mine.id
        with pytest.raises(openai.NotFoundError):
            await ann.chat.completions.retrieve(theirs.id)
        await ann.chat.completions.update(mine.id, metadata={"a": "b"})
        assert [each async for each in ann.chat.completions.messages.list(mine.id)]
        await ann.chat.completions.delete(mine.id)


@rows("shape", SHAPES)
async def test_files(relay: InProcessRelay, shape: str) -> None:
    content = json.dumps({"text": "hello"}).encode() * 20_000
    async with client(relay, "ann", shape) as ann, client(relay, "bob", shape) as bob:
        before = {each.id async for each in ann.files.list()}
        made = [await ann.files.create(file=("a.jsonl", content), purpose="user_data") for _ in range(3)]
        theirs = await bob.files.create(file=("b.jsonl", b"{}"), purpose="user_data")
        listed = [each.id async for each in ann.files.list(limit=2) if each.id not in before]
        assert sorted(listed) == sorted(each.id for each in made)
        assert (await ann.files.content(made[0].id)).read() == content
        for call in (ann.files.retrieve, ann.files.content, ann.files.delete):
            with pytest.raises(openai.NotFoundError):
                await call(theirs.id)
        await ann.files.delete(made[0].id)
        with pytest.raises(openai.NotFoundError):
            await ann.files.retrieve(made[0].id)


async def test_uploads(relay: InProcessRelay) -> None:
    async with client(relay, "ann") as ann:
        upload = await ann.uploads.create(bytes=10, filename="a.txt", mime_type="text/plain", purpose="user_data")
        parts = [await ann.uploads.parts.create(upload.id, data=io.BytesIO(data)) for data in (b"hello", b"world")]
        done = await ann.uploads.complete(upload.id, part_ids=[part.id for part in parts])
        assert done.file is not None
        assert (await ann.files.content(done.file.id)).read() == b"helloworld"


@rows("shape", SHAPES)
async def test_vector_stores(relay: InProcessRelay, shape: str) -> None:
    async with client(relay, "ann", shape) as ann, client(relay, "bob", shape) as bob:
        file = await ann.files.create(file=("a.txt", b"Bees make honey."), purpose="assistants")
        store = await ann.vector_stores.create(name="books", file_ids=[file.id])
        assert store.id in [each.id async for each in ann.vector_stores.list()]
        assert store.id not in [each.id async for each in bob.vector_stores.list()]
        assert [each.id async for each in ann.vector_stores.files.list(store.id)] == [file.id]
        await ann.vector_stores.search(store.id, query="honey")
        with pytest.raises(openai.NotFoundError) as caught:
            await bob.vector_stores.create(name="stolen", file_ids=[file.id])
        assert caught.value.param == "file_ids"
        with pytest.raises(openai.NotFoundError):
            await bob.vector_stores.search(store.id, query="honey")
        await ann.vector_stores.delete(store.id)


@rows("shape", SHAPES)
async def test_batches(relay: InProcessRelay, shape: str) -> None:
    line = {
        "custom_id": "1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "chat", "messages": [{"role": "user", "content": "hi"}]},
    }
    async with client(relay, "ann", shape) as ann, client(relay, "bob", shape) as bob:
        file = await ann.files.create(file=("b.jsonl", json.dumps(line).encode()), purpose="batch")
        with pytest.raises(openai.NotFoundError) as caught:
            await bob.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        assert caught.value.param == "input_file_id"
        batch = await ann.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        while (now := await ann.batches.retrieve(batch.id)).status not in ("completed", "failed"):
            await asyncio.sleep(0.01)
        assert now.output_file_id is not None
        assert b'"custom_id"' in (await ann.files.content(now.output_file_id)).read()
        assert batch.id in [each.id async for each in ann.batches.list()]
        for call in (bob.batches.retrieve, bob.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                await call(batch.id)
        with pytest.raises(openai.NotFoundError):
            await bob.files.content(now.output_file_id)


async def test_nobody_touches_what_is_anothers_on_two_relays(tmp_path: Path, simulator: Simulator) -> None:
    """The second relay knows from Redis whose the objects are that the first has seen made."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        stores = {"quota": redis.url}
        relays = [
            await stack.enter_async_context(relay_to(tmp_path / f"{name}.toml", simulator, stores=stores))
            for name in ("one", "two")
        ]
        ann, bob = [
            await stack.enter_async_context(client(relay, who))
            for relay, who in zip(relays, ("ann", "bob"), strict=True)
        ]
        response = await ann.responses.create(model="chat", input="My secret is 7.")
        conversation = await ann.conversations.create()
        file = await ann.files.create(file=("a.txt", b"secret"), purpose="user_data")
        attempts: list[Callable[[], Any]] = [
            lambda: bob.responses.retrieve(response.id),
            lambda: bob.responses.delete(response.id),
            lambda: bob.responses.cancel(response.id),
            lambda: bob.responses.input_items.list(response.id),
            lambda: bob.responses.create(model="chat", input="?", conversation=conversation.id),
            lambda: bob.conversations.items.list(conversation.id),
            lambda: bob.conversations.delete(conversation.id),
            lambda: bob.files.content(file.id),
            lambda: bob.files.delete(file.id),
            lambda: bob.vector_stores.create(file_ids=[file.id]),
        ]
        for attempt in attempts:
            with pytest.raises(openai.NotFoundError):
                await attempt()
        with pytest.raises(openai.BadRequestError, match="not found"):  # what the service says of an unknown one
            await bob.responses.create(model="chat", input="?", previous_response_id=response.id)
        async with client(relays[1], "ann") as elsewhere:  # the owner may, through the other relay as well
            assert (await elsewhere.responses.retrieve(response.id)).id == response.id
            assert (await elsewhere.files.content(file.id)).read() == b"secret"


async def test_compaction_and_counting_are_calls_of_a_model(relay: InProcessRelay) -> None:
    async with client(relay, "ann") as ann:
        compacted = await ann.responses.compact(model="chat", input=[{"role": "user", "content": "My name is Ann."}])
        assert compacted.usage.input_tokens
        counted = await ann.responses.input_tokens.count(model="chat", input="hello")
        assert counted.input_tokens
    record = await relay.record(2)
    assert (record.operation, record.usage, record.cost) == ("responses_input_tokens", None, 0)
    assert relay.records[0].operation == "responses_compact"
    assert relay.records[0].usage is not None


class Resource:
    """A resource that refuses an upload before its end, or takes it without answering."""

    def __init__(self, *, refuses: bool) -> None:
        self._refuses = refuses
        self.began, self.lost = asyncio.Event(), asyncio.Event()

    async def handle(self, peer: Peer) -> None:
        await peer.head()
        self.began.set()
        if self._refuses:
            body = b'{"error":{"message":"The file is too large.","code":"too_large"}}'
            typed = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            await peer.send(b"HTTP/1.1 413 Content Too Large\r\n" + typed + body)
        await peer.eof()
        self.lost.set()


async def begin_upload(relay: InProcessRelay, writer: asyncio.StreamWriter) -> None:
    fields = f"Host: localhost\r\napi-key: {key_of('ann')}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    writer.write(f"POST /v1/files HTTP/1.1\r\n{fields}Content-Length: 50000000\r\n\r\n".encode() + b"x" * 1000)
    await writer.drain()


async def test_an_answer_before_the_end_of_an_upload_reaches_the_client(tmp_path: Path) -> None:
    resource = Resource(refuses=True)
    async with LocalServer(resource.handle) as server:
        path = config(tmp_path / "relay.toml", server.url, CALLERS, objects={"model": "chat"})
        async with InProcessRelay(load(path, ENVIRONMENT)) as relay, connection(relay.url) as (reader, writer):
            await begin_upload(relay, writer)
            assert b" 413 " in await reader.readuntil(b"\r\n")
            assert b"The file is too large." in await reader.readuntil(b"too_large")
            assert (await relay.record()).status == 413


async def test_a_client_that_leaves_ends_its_upload(tmp_path: Path) -> None:
    resource = Resource(refuses=False)
    async with LocalServer(resource.handle) as server:
        path = config(tmp_path / "relay.toml", server.url, CALLERS, objects={"model": "chat"})
        async with InProcessRelay(load(path, ENVIRONMENT)) as relay:
            async with connection(relay.url) as (_, writer):
                await begin_upload(relay, writer)
                await resource.began.wait()
            await resource.lost.wait()
            assert (await relay.record()).end is End.CLIENT_ABORTED
            assert relay.upstream.open_connections == 0
