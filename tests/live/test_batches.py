"""Batches on real sockets with the official client: whoever makes one pays for it, once."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import openai
import pytest
from openai import AsyncOpenAI
from openai.types import Batch
from tests.adapters.servers import LocalServer, Peer
from tests.live.callers import ENVIRONMENT, config, key_of
from tests.live.plain_http import connection
from tests.live.relays import RelayProcess
from tests.live.simulated import SimulatorThread
from tests.live.test_background import rows_of, until
from tests.live.test_large_objects import peak

from chukei.simulator import SimulatorSettings

pytestmark = pytest.mark.anyio

CHATS: Final = "/v1/chat/completions"
CALLERS: dict[str, dict[str, Any]] = {"ann": {"models": ["chat"]}, "bob": {}}
COLUMNS = "caller, operation, requests, model, input_tokens, output_tokens, end_reason, service_tier, cost"
ENDED = ("completed", "failed", "expired", "cancelled")


@pytest.fixture(scope="module")
def resource() -> Iterator[SimulatorThread]:
    with SimulatorThread(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)) as thread:
        yield thread


def relay_of(directory: Path, resource: SimulatorThread, ledger: Path, settle_seconds: float = 600.0) -> RelayProcess:
    only = {"endpoint": resource.url, "deployment": "gpt-4o", "api_key": {"env": "UPSTREAM_KEY"}}
    prices = {"input": 2.0, "output": 8.0, "tiers": {"batch": 0.5}}
    sections: dict[str, Any] = {
        "objects": {"model": "chat", "settle_seconds": settle_seconds},
        "deployments": {"only": only, "other": only | {"deployment": "gpt-4.1"}},
        "models": {"chat": {"deployments": ["only"], "prices": prices}, "secret": {"deployments": ["other"]}},
    }
    path = config(directory / "chukei.toml", resource.url, CALLERS, **sections)
    return RelayProcess(ENVIRONMENT | {"CHUKEI_STORES__LEDGER": f"sqlite:///{ledger}"}, "--config", str(path))


@asynccontextmanager
async def client_of(relay: RelayProcess, caller: str = "ann") -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{relay.url}/v1", api_key=key_of(caller), max_retries=0) as client:
        yield client


def lines(*models: str, words: str = "hello") -> bytes:
    """A file with one line for each model's name."""
    rows = [
        {
            "custom_id": f"task-{number}",
            "method": "POST",
            "url": CHATS,
            "body": {"model": model, "messages": [{"role": "user", "content": f"repeat: {words}"}]},
        }
        for number, model in enumerate(models)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def make(client: AsyncOpenAI, data: bytes) -> Batch:
    file = await client.files.create(file=("tasks.jsonl", data), purpose="batch")
    return await client.batches.create(input_file_id=file.id, endpoint=CHATS, completion_window="24h")


async def ended(client: AsyncOpenAI, id: str) -> Batch:
    async with asyncio.timeout(60):
        while (batch := await client.batches.retrieve(id)).status not in ENDED:
            await asyncio.sleep(0.02)
    return batch


async def test_a_batch_is_made_followed_fetched_and_paid_once(tmp_path: Path, resource: SimulatorThread) -> None:
    ledger = tmp_path / "ledger.db"
    with relay_of(tmp_path, resource, ledger) as relay:
        async with client_of(relay) as ann, client_of(relay, "bob") as bob:
            made = await make(ann, lines(*["chat"] * 5))
            with pytest.raises(openai.NotFoundError):
                await bob.batches.retrieve(made.id)
            with pytest.raises(openai.NotFoundError) as theirs:
                await bob.batches.create(input_file_id=made.input_file_id, endpoint=CHATS, completion_window="24h")
            assert theirs.value.param == "input_file_id"
            batch = await ended(ann, made.id)
            assert batch.request_counts is not None
            assert (batch.status, batch.request_counts.completed) == ("completed", 5)
            assert batch.output_file_id is not None
            output = (await ann.files.content(batch.output_file_id)).read().splitlines()
            assert {json.loads(row)["custom_id"] for row in output} == {f"task-{number}" for number in range(5)}
            with pytest.raises(openai.NotFoundError):
                await bob.files.content(batch.output_file_id)
            await ended(ann, made.id)
        [row] = await until(lambda: rows_of(ledger, columns=COLUMNS), 1)
    usages = [json.loads(row)["response"]["body"]["usage"] for row in output]
    given, said = (sum(each[name] for each in usages) for name in ("prompt_tokens", "completion_tokens"))
    cost = -(-(given * 2 + said * 8) // 2)
    assert row == ("ann", "batch", 5, "chat", given, said, "completed", "batch", cost)
    assert rows_of(ledger, columns=COLUMNS) == [row]
    assert rows_of(ledger, "chukei_jobs", "id") == []


async def test_a_batch_that_nobody_asks_about_is_paid_after_a_kill_and_a_restart(
    tmp_path: Path, resource: SimulatorThread
) -> None:
    ledger = tmp_path / "ledger.db"
    first = relay_of(tmp_path, resource, ledger)
    with first:
        async with client_of(first) as ann:
            made = await make(ann, lines("chat", "chat"))
        await until(lambda: rows_of(ledger, "chukei_jobs", "id"), 1)
        first.stop(signal.SIGKILL)
    assert rows_of(ledger) == []
    with relay_of(tmp_path, resource, ledger, settle_seconds=0.2) as second:
        async with client_of(second) as ann:
            assert (await ended(ann, made.id)).status == "completed"
            [row] = await until(lambda: rows_of(ledger, columns=COLUMNS), 1)
            await ended(ann, made.id)
    assert rows_of(ledger, columns=COLUMNS) == [row]
    assert (row[0], row[2], row[6]) == ("ann", 2, "completed")


async def test_no_line_names_a_model_that_its_caller_may_not_use(tmp_path: Path, resource: SimulatorThread) -> None:
    with relay_of(tmp_path, resource, tmp_path / "ledger.db") as relay:
        async with client_of(relay) as ann, client_of(relay, "bob") as bob:
            for models, number in ((("chat", "secret"), 2), (("chat",) * 30_000 + ("secret",), 30_001)):
                with pytest.raises(openai.PermissionDeniedError) as refused:
                    await make(ann, lines(*models))
                assert refused.value.code == "model_not_allowed"
                assert f"Line {number}: " in refused.value.message
            assert (await ended(bob, (await make(bob, lines("secret"))).id)).status == "completed"
            assert [each async for each in ann.batches.list()] == []


async def test_a_file_that_came_in_pieces_must_be_as_the_relay_writes_it(
    tmp_path: Path, resource: SimulatorThread
) -> None:
    async def upload(client: AsyncOpenAI, data: bytes) -> Batch:
        made = await client.uploads.create(
            bytes=len(data), filename="a.jsonl", mime_type="application/jsonl", purpose="batch"
        )
        parts = [await client.uploads.parts.create(made.id, data=data[at : at + 70]) for at in range(0, len(data), 70)]
        done = await client.uploads.complete(made.id, part_ids=[part.id for part in parts])
        assert done.file is not None
        return await client.batches.create(input_file_id=done.file.id, endpoint=CHATS, completion_window="24h")

    with relay_of(tmp_path, resource, tmp_path / "ledger.db") as relay:
        async with client_of(relay) as ann:
            for model, error in (("gpt-4.1", openai.PermissionDeniedError), ("chat", openai.BadRequestError)):
                with pytest.raises(error) as refused:
                    await upload(ann, lines("gpt-4o", model))
                assert refused.value.param == "input_file_id"
                assert "Line 2: " in refused.value.message
            assert (await ended(ann, (await upload(ann, lines("gpt-4o", "gpt-4o"))).id)).status == "completed"


# Memory.

SIZE = 100 * 1024 * 1024
MOST_GROWTH = 32 * 1024
"""Kilobytes that a relay may grow by, a third of the file."""


async def count(peer: Peer) -> None:
    """Take an upload in chunks, and answer how many times it names the deployment, as the file's size."""
    while True:
        head = await peer.head()
        assert re.search(rb"transfer-encoding: chunked", head), head
        named, rest = 0, b""
        while size := int((await peer.reader.readline()).strip(), 16):
            data = rest + await peer.reader.readexactly(size)
            await peer.reader.readexactly(2)
            named += data.count(b'"gpt-4o"')
            rest = data[-7:]
        await peer.reader.readexactly(2)
        answer = b'{"id":"file-1","object":"file","bytes":%d}' % named
        typed = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
        await peer.send(b"HTTP/1.1 200 OK\r\n" + typed + answer)


async def test_memory_does_not_follow_the_size_of_a_file(tmp_path: Path) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    tail = b'\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    part = lines(*["chat"] * 64, words="x" * 4000)
    async with LocalServer(count) as server:
        path = config(tmp_path / "relay.toml", server.url, {"ann": {}}, objects={"model": "chat"})
        with RelayProcess(ENVIRONMENT, "--config", str(path)) as relay:
            async with connection(relay.url) as (reader, writer):
                fields = f"Host: localhost\r\napi-key: {key_of('ann')}\r\nContent-Type: multipart/form-data; boundary=b"
                for parts in (SIZE // 6 // len(part), SIZE // len(part)):  # the first one warms up
                    length = len(head) + parts * len(part) + len(tail)
                    before = peak(relay)
                    writer.write(f"POST /v1/files HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n".encode())
                    writer.write(head)
                    for _ in range(parts):
                        writer.write(part)
                        await writer.drain()
                    writer.write(tail)
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                    assert json.loads(await reader.readuntil(b"}"))["bytes"] == parts * 64
                assert peak(relay) - before < MOST_GROWTH
