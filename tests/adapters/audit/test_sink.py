"""The sink: what is written, that it never waits, and that all that is lost is counted and told of once."""

import json
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import EVENT_STREAM, FakeIncoming, FakeReply
from tests.live.relays import eventually

from chukei.adapters.audit.entry import Redactor
from chukei.adapters.audit.sink import ENTRY_BYTES, AuditSink
from chukei.config import AuditSettings
from chukei.model import Caller, CallerKind, End
from chukei.record import RequestRecord
from chukei.trace import TraceContext

pytestmark = pytest.mark.anyio
SETTINGS = AuditSettings(folder="/anywhere")
TEAM = Caller("team-a", CallerKind.KEY, ("research",))
EVENT = b"data: {}\n\n"


class Disk:
    """A destination that may be full, or hang."""

    def __init__(self) -> None:
        self.path = Path("/anywhere")
        self.lines: list[Any] = []
        self.failure: OSError | None = None
        self.turns = threading.Event()
        self.turns.set()
        self.closed = False

    def append(self, lines: bytes) -> None:
        self.turns.wait()
        if self.failure is not None:
            raise self.failure
        self.lines += map(json.loads, lines.splitlines())

    def close(self) -> None:
        self.closed = True


async def serve(sink: AuditSink, body: bytes = b'{"a":1}', *, id: str = "req_1", model: str = "chat") -> None:
    record = RequestRecord(id, "POST", "/v1/chat/completions", operation="chat", model=model, who=TEAM)
    incoming, reply, ended = sink.open(record, FakeIncoming(body), FakeReply())
    await incoming.body(10_000, 1)
    await reply.start(200, EVENT_STREAM)
    await reply.finish(EVENT)
    record.status, record.end, record.duration, record.stream = 200, End.COMPLETED, 1.5, True
    record.trace = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    ended(record)


def sink_to(disk: Disk, settings: AuditSettings = SETTINGS, redact: Redactor | None = None) -> AuditSink:
    return AuditSink(settings, disk, redact, now=lambda: datetime(2026, 11, 29, 12, 0, tzinfo=UTC))


async def test_an_entry_has_who_what_and_how_it_ended() -> None:
    disk = Disk()
    sink = sink_to(disk)
    await serve(sink)
    await sink.close()
    assert disk.lines == [
        {
            "time": "2026-11-29T12:00:00.000+00:00",
            "request_id": "req_1",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "caller": "team-a",
            "groups": ["research"],
            "operation": "chat",
            "method": "POST",
            "path": "/v1/chat/completions",
            "model": "chat",
            "deployment": None,
            "upstream_request_id": None,
            "stream": True,
            "status": 200,
            "end": "completed",
            "code": None,
            "duration_ms": 1500.0,
            "request": {"a": 1},
            "answer": EVENT.decode(),
            "request_bytes": 7,
            "answer_bytes": 10,
            "truncated": False,
        }
    ]
    assert (sink.counts.written, sink.waiting_bytes, disk.closed) == (1, 0, True)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"callers": ("team-a",)}, 1),
        ({"callers": ("team-b",)}, 0),
        ({"callers": ("team-b",), "groups": ("research",)}, 1),
        ({"groups": ("sales",)}, 0),
        ({"models": ("chat",)}, 1),
        ({"models": ("other",), "callers": ("team-a",)}, 0),
    ],
)
async def test_callers_groups_and_models_select(wanted: dict[str, tuple[str, ...]], count: int) -> None:
    disk = Disk()
    sink = sink_to(disk, replace(SETTINGS, **wanted))  # type: ignore[arg-type]
    await serve(sink)
    await sink.close()
    assert len(disk.lines) == count
    assert sink.waiting_bytes == 0


async def test_a_disk_that_hangs_stops_nobody_and_what_is_lost_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    disk.turns.clear()
    one = ENTRY_BYTES + 17
    sink = sink_to(disk, replace(SETTINGS, max_waiting_bytes=10 * one))
    for number in range(100):
        await serve(sink, id=f"req_{number}")
    assert sink.counts.crowded_out == 90
    assert sink.waiting_bytes <= 10 * one
    disk.turns.set()
    await eventually(lambda: sink.waiting_bytes == 0)
    await serve(sink, id="later")
    await sink.close()
    assert [line["request_id"] for line in disk.lines] == [*(f"req_{number}" for number in range(10)), "later"]
    assert not any(line["truncated"] for line in disk.lines)
    told = [each.getMessage() for each in caplog.records]
    assert told[0] == "the audit loses entries: too many wait to be written"
    assert told.count(told[0]) == 1
    assert told[-1] == "the audit takes entries again; 90 were lost so far"


async def test_a_full_disk_is_told_of_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    disk = Disk()
    disk.failure = OSError(28, "No space left on device")
    sink = sink_to(disk)
    for lost in (1, 2):
        await serve(sink)
        await eventually(lambda lost=lost: sink.counts.unwritten == lost)  # type: ignore[misc]
    disk.failure = None
    await serve(sink)
    await sink.close()
    assert (sink.counts.written, sink.counts.unwritten, sink.waiting_bytes) == (1, 2, 0)
    assert [each.getMessage() for each in caplog.records] == [
        "the audit loses entries, they cannot be written: No space left on device",
        "the audit writes entries again; 2 were lost so far",
    ]


async def test_a_failing_redaction_is_logged_without_what_it_saw(caplog: pytest.LogCaptureFixture) -> None:
    def redact(seen: dict[str, Any]) -> Any:
        raise KeyError(seen["request"]["a"])

    disk = Disk()
    sink = sink_to(disk, redact=redact)
    await serve(sink, b'{"a":"the-planted-prompt"}')
    await sink.close()
    assert disk.lines[0]["redaction"] == "failed"
    assert (sink.counts.unredacted, sink.counts.written) == (1, 1)
    assert "KeyError in redact, line" in caplog.text
    assert "the-planted-prompt" not in caplog.text + json.dumps(disk.lines)


async def test_the_end_does_not_wait_for_a_disk_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    disk.turns.clear()
    sink = sink_to(disk)
    await serve(sink)
    await sink.close(0)
    assert "still wait" in caplog.text
    await serve(sink)
    assert sink.counts.crowded_out == 1
    disk.turns.set()
    await eventually(lambda: disk.closed)


async def test_the_start_says_that_content_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    sink_to(Disk()).start()
    [told] = caplog.records
    assert (told.levelname, told.name) == ("WARNING", "chukei.start")
    assert "prompts and answers are written to /anywhere" in told.getMessage()


class RawDisk(Disk):
    """A destination that does not read what it is given."""

    def append(self, lines: bytes) -> None:
        self.lines += lines.splitlines()


async def test_json_that_can_be_read_but_not_written_again_is_kept_as_text() -> None:
    """An entry is one level deeper than the body. One of these is as deep as JSON can be read at all."""
    disk = RawDisk()
    sink = sink_to(disk)
    depths = range(960, 1000)
    for depth in depths:
        await serve(sink, b"[" * depth + b"1" + b"]" * depth)
    await serve(sink, id="req_2")
    await sink.close()
    assert len(disk.lines) == len(depths) + 1
    assert b'"request_id":"req_2"' in disk.lines[-1], "later entries are written as well"
    assert {each.partition(b'"request":')[2][:2] for each in disk.lines[:-1]} == {b"[[", b'"['}
    assert (sink.counts.written, sink.waiting_bytes) == (len(depths) + 1, 0)


async def test_a_turn_without_a_request_is_an_entry_too() -> None:
    disk = Disk()
    sink = sink_to(disk)
    record = RequestRecord("req_1-1", "GET", "/v1/realtime", operation="realtime", model="voice", who=TEAM)
    sink.note(record, b'[{"type":"response.create"}]', b'{"type":"response.done"}')(record)
    other = RequestRecord("req_2", "GET", "/v1/realtime", operation="realtime_client_secrets", who=TEAM)
    sink.note(other, b"", b'{"value":"ek_secret"}')(other)
    await sink.close()
    [line] = disk.lines
    assert (line["request"], line["answer"]) == ([{"type": "response.create"}], {"type": "response.done"})
    assert (line["operation"], line["path"], line["truncated"]) == ("realtime", "/v1/realtime", False)
