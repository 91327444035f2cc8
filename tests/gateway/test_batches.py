"""Batches among fakes: what flows to the resource, who may make one, what is reserved and charged, and when."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import JSON, FakeAnswer, FakeReply
from tests.fakes import FakeQuota as Quota
from tests.gateway.test_batch_lines import CHATS, line, text
from tests.gateway.test_objects import BOB, WEST, Harness, answer, error_of
from tests.rows import rows

from chukei.accounts.ledger import Entry
from chukei.accounts.limits import Amounts, Limit, Refusal
from chukei.gateway.gateway import Gateway
from chukei.objects.jobs import Jobs
from chukei.request.form import Form

pytestmark = pytest.mark.anyio

OBJECTS = """
[objects]
model = "other"
[models.secret]
deployments = ["west"]
[models.secret.prices]
input = 1.0
output = 2.0
[models.chat.prices]
input = 2.0
output = 8.0
tiers = { batch = 0.5 }
[groups.everybody]
models = ["chat", "other"]
"""
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LINES = text(line(id="1"), line(id="2"))
MADE = {"id": "batch_1", "object": "batch", "status": "validating", "input_file_id": "file-1"}
FILE = {"id": "file-1", "object": "file", "purpose": "batch"}


class BatchHarness(Harness):
    """The same with jobs, of which it keeps the bills."""

    def __init__(self, tmp_path: Path, *answers: FakeAnswer | Exception, extra: str = "", quota: Quota | None = None):
        super().__init__(tmp_path, *answers, extra=OBJECTS + extra, quota=quota)
        self.bills: list[Entry] = []
        admission = self.services.admission
        self.jobs = Jobs(admission.settle, self.bills.append, now=lambda: NOW, models=self.settings.models.get)
        self.gateway = Gateway(self.settings, replace(self.services, jobs=self.jobs))

    async def upload(
        self, data: bytes, *, who: str = "ann", first: str = "purpose", purpose: str = "batch"
    ) -> FakeReply:
        parts = {
            "purpose": f'name="purpose"\r\n\r\n{purpose}'.encode(),
            "file": b'name="file"; filename="b"\r\n\r\n' + data,
        }
        names = [first, *(name for name in parts if name != first)]
        return await self.post_form(
            b"".join(b"--b\r\nContent-Disposition: form-data; " + parts[name] + b"\r\n" for name in names)
            + b"--b--\r\n",
            who=who,
        )

    async def post_form(self, body: bytes, *, who: str = "ann") -> FakeReply:
        fields = [(b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", b"%d" % len(body))]
        return await self.ask("POST", "/v1/files", who=who, body=body, headers=[(b"host", b"localhost"), *fields])

    async def make(self, *, who: str = "ann", **fields: Any) -> FakeReply:
        asked = {"input_file_id": "file-1", "endpoint": CHATS, "completion_window": "24h"} | fields
        return await self.ask("POST", "/v1/batches", who=who, body=json.dumps(asked).encode())

    def sent_lines(self, place: int = 0) -> bytes:
        """The file that the resource has got."""
        _, _, headers, body = self.upstream.requests[place]
        form = Form(body, dict(headers)[b"content-type"])
        assert form.files == 1
        assert form.text("purpose") == "batch"
        head = body.index(b'name="file"')
        begin = body.index(b"\r\n\r\n", head) + 4
        return body[begin : body.index(b"\r\n--chukei-", begin)]


async def turns() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


# The upload.


@rows("first", ["purpose", "file"])
async def test_the_lines_name_the_deployment_at_the_resource(tmp_path: Path, first: str) -> None:
    harness = BatchHarness(tmp_path, answer(FILE))
    data = LINES * 200  # several parts
    assert (await harness.upload(data, first=first)).status == 200
    assert harness.sent_lines() == data.replace(b'"chat"', b'"gpt-west"')
    assert harness.upstream.methods == [("POST", None)]
    assert harness.upstream.requests[0][0] == WEST


@rows("first", ["purpose", "file"])
@rows("data", [b"", b"%PDF-1.7 \n{}", b'{"text":"hello"}\n' * 500, b"{" * 5000, b"\xef\xbb\xbf\n [1]"])
async def test_other_files_pass_as_they_are(tmp_path: Path, first: str, data: bytes) -> None:
    harness = BatchHarness(tmp_path, answer(FILE))
    assert (await harness.upload(data, first=first, purpose="user_data")).status == 200
    [(_, length)] = harness.upstream.methods
    sent = harness.upstream.requests[0][3]
    assert length == len(sent)
    assert data in sent
    assert dict(harness.upstream.requests[0][2])[b"content-type"] == b"multipart/form-data; boundary=b"


@rows("first", ["purpose", "file"])
async def test_a_line_that_is_not_for_this_caller_ends_the_upload(tmp_path: Path, first: str) -> None:
    harness = BatchHarness(tmp_path, answer(FILE))
    reply = await harness.upload(LINES * 100 + text(line("secret")) + LINES, first=first)
    assert error_of(reply) == (403, "model_not_allowed", "file")
    assert "Line 201: " in json.loads(reply.body)["error"]["message"]
    assert harness.upstream.requests == []
    assert harness.record.rule == "groups.everybody.models"


async def test_a_batch_s_file_behind_which_another_purpose_comes_is_refused(tmp_path: Path) -> None:
    harness = BatchHarness(tmp_path, answer(FILE))
    reply = await harness.upload(LINES, first="file", purpose="user_data")
    assert error_of(reply) == (400, "invalid_value", "purpose")
    assert harness.upstream.requests == []


PART = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'


@rows(
    ("form", "code"),
    [
        (PART % (b"purpose", b"batch") + PART % (b"file", LINES) + PART % (b"file", LINES), "duplicate_field"),
        (PART % (b"purpose", b"batch") + PART % (b"file", LINES) + PART % (b"purpose", b"evals"), "duplicate_field"),
        (PART % (b"purpose", b"batch") + PART % (b"File", LINES), "ambiguous_field"),
        (PART % (b"purpose", b"batch") + PART % (b"file[]", LINES), "ambiguous_field"),
        (PART % (b"purpose", b"batch"), "invalid_form"),
        ((PART % (b"purpose", b"batch") + PART % (b"file", LINES))[:-30], "invalid_form"),
    ],
)
async def test_the_form_of_a_batch_s_file_has_one_meaning(tmp_path: Path, form: bytes, code: str) -> None:
    ends = b"" if form.endswith(b'",') or not form.endswith(b"\r\n") else b"--b--\r\n"
    harness = BatchHarness(tmp_path, answer(FILE))
    assert error_of(await harness.post_form(form + ends))[:2] == (400, code)
    assert harness.upstream.requests == []


async def test_lines_name_objects_of_the_caller_only(tmp_path: Path) -> None:
    harness = BatchHarness(tmp_path, answer(FILE))
    harness.knows("resp_of_bob", "response", owner=BOB)
    harness.knows("resp_east", "response", identity="https://east.openai.azure.com/gpt-east")
    for id, expected in (
        ("resp_of_bob", (400, "previous_response_not_found")),
        ("resp_east", (400, "object_elsewhere")),
    ):
        reply = await harness.upload(text(line(url="/responses", previous_response_id=id)))
        assert error_of(reply)[0] == expected[0]
        assert error_of(reply)[2] == "previous_response_id"
    assert harness.upstream.requests == []


# Making a batch.


def content(data: bytes) -> FakeAnswer:
    return FakeAnswer([data, b""], headers=JSON)


async def test_a_batch_of_a_checked_file_is_made_and_billed_once(tmp_path: Path) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100, "output_tokens_details": {"reasoning_tokens": 7}}
    done = MADE | {"status": "completed", "usage": usage, "request_counts": {"total": 2, "completed": 2, "failed": 0}}
    listed = {"object": "list", "data": [done], "has_more": False}
    harness = BatchHarness(
        tmp_path, answer(FILE), answer(MADE), answer(MADE), answer(done), answer(done), answer(listed)
    )
    await harness.upload(LINES)
    assert (await harness.make()).status == 200
    assert harness.record.model == "chat"
    await turns()
    assert (len(harness.jobs), harness.bills) == (1, [])
    for _ in range(3):
        assert (await harness.ask("GET", "/v1/batches/batch_1")).status == 200
    assert (await harness.ask("GET", "/v1/batches")).status == 200
    await turns()
    [bill] = harness.bills
    assert (bill.caller, bill.operation, bill.model, bill.deployment) == ("ann", "batch", "chat", "west")
    assert (bill.input, bill.output, bill.reasoning, bill.requests, bill.estimated) == (1000, 100, 7, 2, False)
    assert (bill.cost, bill.service_tier, bill.end) == ((2000 + 800) // 2, "batch", "completed")
    assert len(harness.jobs) == 0


async def test_a_batch_without_usage_is_billed_when_its_output_is_fetched(tmp_path: Path) -> None:
    done = MADE | {"status": "completed", "output_file_id": "file-out", "request_counts": {"completed": 2}}
    said = {
        "model": "gpt-x",
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
    }
    output = text(*({"custom_id": "1", "response": {"status_code": 200, "body": said}} for _ in range(2)))
    harness = BatchHarness(tmp_path, answer(FILE), answer(MADE), answer(done), content(output), content(output))
    await harness.upload(LINES)
    await harness.make()
    await harness.ask("GET", "/v1/batches/batch_1")
    await turns()
    assert harness.bills == []
    for _ in range(2):
        assert (await harness.ask("GET", "/v1/files/file-out/content")).body == output
    await turns()
    [bill] = harness.bills
    assert (bill.input, bill.cached, bill.output, bill.requests) == (20, 8, 10, 2)
    assert (bill.served_model, bill.finish_reason) == ("gpt-x", "completed")


async def test_a_file_of_another_caller_is_not_there(tmp_path: Path) -> None:
    harness = BatchHarness(tmp_path, answer(FILE))
    await harness.upload(LINES, who="bob")
    assert error_of(await harness.make()) == (404, "file_not_found", "input_file_id")
    assert len(harness.upstream.requests) == 1


async def test_a_file_that_was_not_checked_is_read_through_once(tmp_path: Path) -> None:
    written = LINES.replace(b'"chat"', b'"gpt-west"')
    harness = BatchHarness(tmp_path, content(written), answer(MADE), answer(MADE | {"id": "batch_2"}))
    harness.knows("file-1", "file", identity=f"{WEST}/")
    assert (await harness.make()).status == 200
    assert (await harness.make()).status == 200
    targets = [asked[1] for asked in harness.upstream.requests]
    assert targets == ["/openai/v1/files/file-1/content", "/openai/v1/batches", "/openai/v1/batches"]
    assert len(harness.jobs) == 2


@rows(
    ("data", "status", "code"),
    [
        (text(line("gpt-unknown")), 400, "model_not_in_batches"),
        (text(line("gpt-west")) + b"no json\n", 400, "invalid_json"),
        (b"", 400, "invalid_batch_line"),
        (b"x" * 100, 400, "invalid_json"),
    ],
)
async def test_no_batch_is_made_of_a_file_that_does_not_hold(
    tmp_path: Path, data: bytes, status: int, code: str
) -> None:
    harness = BatchHarness(tmp_path, content(data))
    harness.knows("file-1", "file", identity=f"{WEST}/")
    assert error_of(await harness.make()) == (status, code, "input_file_id")
    assert len(harness.upstream.requests) == 1


async def test_a_file_is_read_again_if_the_caller_s_rules_were_set_anew(tmp_path: Path) -> None:
    written = LINES.replace(b'"chat"', b'"gpt-west"')
    harness = BatchHarness(tmp_path, answer(FILE), content(written), answer(MADE))
    await harness.upload(LINES)
    harness.services.policies.override({})
    assert (await harness.make()).status == 200
    assert harness.upstream.requests[1][1] == "/openai/v1/files/file-1/content"


@rows(
    ("fields", "param"),
    [
        ({"input_blob": "https://x.blob.core.windows.net/a"}, "input_blob"),
        ({"Input_File_Id": "file-1"}, "Input_File_Id"),
        ({"input_file_id": None}, "input_file_id"),
        ({"endpoint": "/v1/responses"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
    ],
)
async def test_a_batch_is_made_of_one_checked_file(tmp_path: Path, fields: dict[str, Any], param: str) -> None:
    harness = BatchHarness(tmp_path, answer(FILE))
    await harness.upload(LINES)
    assert error_of(await harness.make(**fields)) == (400, "invalid_batch", param)
    assert len(harness.upstream.requests) == 1


async def test_a_file_is_named_once(tmp_path: Path) -> None:
    harness = BatchHarness(tmp_path, answer(FILE))
    await harness.upload(LINES)
    body = b'{"input_file_id":"file-1","endpoint":"%b","input_file\\u005fid":"file-1"}' % CHATS.encode()
    assert error_of(await harness.ask("POST", "/v1/batches", body=body))[:2] == (400, "duplicate_field")


# Quotas.

LIMITS = """
[groups.everybody.limits]
requests_per_minute = 9
tokens_per_minute = 5
tokens_per_day = 9000
money_per_month = 5.0
concurrent = 1
"""


async def test_the_estimate_is_reserved_and_corrected_at_the_end(tmp_path: Path) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100}
    quota, done = Quota(), MADE | {"status": "completed", "usage": usage, "request_counts": {"completed": 2}}
    harness = BatchHarness(tmp_path, answer(FILE), answer(MADE), answer(done), extra=LIMITS, quota=quota)
    await harness.upload(LINES)
    await harness.make()
    [(id, [subject], amounts)] = [each for each in quota.reserved if each[2].tokens]
    limits = subject.limits
    assert (limits.tokens_per_day, limits.money_per_month) == (9000, 5_000_000)
    assert (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent) == (None, None, None)
    assert amounts.tokens > 1000
    assert amounts.money > 0
    await turns()
    assert id not in dict(quota.settled)
    await harness.ask("GET", "/v1/batches/batch_1")
    await turns()
    assert dict(quota.settled)[id] == Amounts(1100, 1400)


@rows("failed", [answer({"error": {"message": "No."}}, 400), answer({"object": "batch"})])
async def test_what_is_reserved_is_given_back_if_no_batch_was_made(tmp_path: Path, failed: FakeAnswer) -> None:
    quota = Quota()
    harness = BatchHarness(tmp_path, answer(FILE), failed, extra=LIMITS, quota=quota)
    await harness.upload(LINES)
    await harness.make()
    await turns()
    [id] = [id for id, _, amounts in quota.reserved if amounts.tokens]
    assert dict(quota.settled)[id] == Amounts(0, 0)
    assert len(harness.jobs) == 0


async def test_none_is_made_with_a_quota_that_is_used_up(tmp_path: Path) -> None:
    refusal = Refusal("caller:ann", Limit.TOKENS_PER_DAY, 9000, 9000, 1200, 5000.0)
    quota = Quota()
    harness = BatchHarness(tmp_path, answer(FILE), extra=LIMITS, quota=quota)
    await harness.upload(LINES)

    class Full(Quota):
        async def reserve(self, id: str, subjects: Any, estimate: Amounts) -> Any:
            return refusal if estimate.tokens else await super().reserve(id, subjects, estimate)

    harness.services.admission._store = Full()
    assert error_of(await harness.make())[:2] == (403, "insufficient_quota")
    assert len(harness.upstream.requests) == 1
