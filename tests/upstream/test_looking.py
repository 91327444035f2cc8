"""The relay's own look at a response that is made in the background, or at a batch."""

import json

import pytest
from tests.fakes import JSON, FakeAnswer, FakeCredential, FakeUpstream
from tests.objects.test_job import ENTRY
from tests.rows import rows

from chukei.accounts.admission import Kept
from chukei.errors import UpstreamError
from chukei.model import Deployment, End, Model
from chukei.objects.job import Job
from chukei.upstream.looking import MOST_BATCH_BYTES, StatusClient
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

EAST = Deployment("east", "https://east.example", "gpt")
LOST = UpstreamError("upstream_lost", "Gone.", end=End.UPSTREAM_LOST)


def client_of(*answers: FakeAnswer | Exception) -> tuple[StatusClient, FakeUpstream]:
    upstream = FakeUpstream(*answers)
    return StatusClient([Model("chat", (EAST,))], upstream, {"east": FakeCredential()}), upstream


def job_at(identity: str = EAST.identity, version: str = "v1") -> Job:
    return Job("resp_1", identity, version, ENTRY, Kept(None, (), Usage()))


@rows(
    ("version", "target"),
    [
        ("v1", "/openai/v1/responses/resp_1"),
        ("2025-04-01-preview", "/openai/responses/resp_1?api-version=2025-04-01-preview"),
    ],
)
async def test_it_asks_with_the_relay_s_credential_and_reads_the_answer(version: str, target: str) -> None:
    body = {"id": "resp_1", "status": "completed", "model": "m", "usage": {"input_tokens": 9, "output_tokens": 3}}
    answer = FakeAnswer([json.dumps(body).encode(), b""], headers=JSON)
    client, upstream = client_of(answer)
    report = await client(job_at(version=version))
    assert report is not None
    assert (report.usage, report.finish_reasons, report.model) == (Usage(9, 3), {0: "completed"}, "m")
    [(endpoint, asked, headers, sent)] = upstream.requests
    assert (endpoint, asked, sent) == ("https://east.example", target, b"")
    assert (b"api-key", b"upstream-secret") in headers
    assert answer.finished


async def test_a_renamed_deployment_s_resource_still_knows_the_response() -> None:
    client, _ = client_of(FakeAnswer([b'{"status":"queued"}', b""], headers=JSON))
    report = await client(job_at("https://east.example/other"))
    assert report is not None
    assert report.pending


async def test_what_is_unknown_there_or_has_no_resource_any_more_is_none() -> None:
    client, upstream = client_of(FakeAnswer([b"{}", b""], status=404, headers=JSON))
    assert await client(job_at()) is None
    assert await client(job_at("https://gone.example/gpt")) is None
    assert len(upstream.requests) == 1


@rows("answer", [FakeAnswer([b"{}", b""], status=503, headers=JSON), FakeAnswer([LOST], headers=JSON), LOST])
async def test_what_cannot_be_asked_says_so(answer: FakeAnswer | Exception) -> None:
    client, _ = client_of(answer)
    with pytest.raises(UpstreamError):
        await client(job_at())


BATCH = Job("batch_1", EAST.resource, "v1", ENTRY, Kept(None, (), Usage()), "batch")
ENDED = {"id": "batch_1", "status": "completed", "output_file_id": "file-out", "request_counts": {"completed": 1}}


def answer(value: object) -> FakeAnswer:
    return FakeAnswer([json.dumps(value).encode(), b""], headers=JSON)


async def test_a_batch_tells_its_usage() -> None:
    client, upstream = client_of(answer(ENDED | {"usage": {"input_tokens": 9, "output_tokens": 3}}))
    report = await client(BATCH)
    assert report is not None
    assert (report.usage, report.requests) == (Usage(9, 3), 1)
    assert [asked[1] for asked in upstream.requests] == ["/openai/v1/batches/batch_1"]


async def test_the_output_of_a_batch_tells_what_the_batch_does_not() -> None:
    row = {"response": {"body": {"usage": {"prompt_tokens": 4, "completion_tokens": 2}}}}
    client, upstream = client_of(answer(ENDED), answer(row))
    report = await client(BATCH)
    assert report is not None
    assert (report.usage, report.requests, report.finish_reasons) == (Usage(4, 2), 1, {0: "completed"})
    assert upstream.requests[1][1] == "/openai/v1/files/file-out/content"


@rows(("given", "pending"), [({"status": "in_progress"}, True), ({}, True), ([], True)])
async def test_a_batch_that_goes_on_is_pending(given: object, pending: bool) -> None:
    client, _ = client_of(answer(given))
    report = await client(BATCH)
    assert report is not None
    assert report.pending is pending


async def test_an_output_that_is_gone_leaves_the_usage_unknown() -> None:
    client, _ = client_of(answer(ENDED), FakeAnswer([b"{}", b""], status=404, headers=JSON))
    report = await client(BATCH)
    assert report is not None
    assert (report.usage, report.requests, report.pending) == (None, 1, False)


async def test_a_description_without_end_is_not_kept() -> None:
    endless = FakeAnswer([b"x" * MOST_BATCH_BYTES, b"x", b""], headers=JSON)
    client, _ = client_of(endless)
    with pytest.raises(UpstreamError):
        await client(BATCH)
    assert endless.aborted
