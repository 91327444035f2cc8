"""Takes recorded requests and writes them in a thread. A disk that is slow, full or gone stops no request.

Memory is bounded: what exceeds the bound is not recorded, but counted. Bytes are reserved on the event loop and
released by the thread. Each side has a counter of its own, so neither needs a lock.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from chukei.adapters.audit.entry import Content, Redactor, line_of
from chukei.adapters.audit.tape import Tape, TapedIncoming, TapedReply
from chukei.config import AuditSettings
from chukei.metrics.definitions import AUDIT_LOST, AUDIT_UNREDACTED, AUDIT_WRITTEN
from chukei.metrics.snapshot import Reading
from chukei.ports import Hook, Incoming, Reply
from chukei.record import RequestRecord

logger = logging.getLogger(__name__)

ENTRY_BYTES = 2048
"""Memory of an entry besides its content."""

BATCH_BYTES = 1_048_576
"""Bytes of lines that are written together; the last of them may exceed it."""

WAIT_SECONDS = 0.1
"""Seconds for which entries are collected after a write; a killed process may lose the entries of this time."""

CLOSE_SECONDS = 2.0
"""Seconds for which the end of the relay waits for entries to be written."""


class Destination(Protocol):
    """Where lines go."""

    path: Path

    def append(self, lines: bytes) -> None:
        """Write whole lines.

        Raises:
            OSError: they cannot be written.
        """
        ...

    def close(self) -> None:
        """Close it."""
        ...


@dataclass(slots=True)
class AuditCounts:
    """Entries since the start, by what became of them.

    ``crowded_out`` were not taken because too many waited, ``unwritten`` could not be written. ``unredacted`` were
    written without content, since the redaction failed. ``left_out`` were left out by the redaction.
    """

    written: int = 0
    crowded_out: int = 0
    unwritten: int = 0
    unredacted: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    about: dict[str, object]
    request: Content
    answer: Content
    held: int


def _now() -> datetime:
    return datetime.now(UTC)


class AuditSink:
    """Implements the Audit port. ``counts`` may be read at any time."""

    def __init__(
        self,
        settings: AuditSettings,
        destination: Destination,
        redact: Redactor | None,
        *,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.counts = AuditCounts()
        self._settings = settings
        self._batch_bytes = min(BATCH_BYTES, settings.max_file_bytes // 2)
        self._destination = destination
        self._redact = redact
        self._now = now
        self._reserved = 0  # bytes, ever; only the event loop changes it
        self._released = 0  # bytes, ever; only the thread changes it
        self._entries: SimpleQueue[_Entry | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._crowded = False  # it was logged that entries are crowded out
        self._failing = False  # it was logged that entries cannot be written

    def start(self) -> None:
        """Announce the audit: whoever operates the relay must know that content is kept."""
        announcer = logging.getLogger("chukei.start")
        announcer.warning("audit.folder is set: prompts and answers are written to %s", self._destination.path)

    def open(self, record: RequestRecord, incoming: Incoming, reply: Reply) -> tuple[Incoming, Reply, Hook]:
        """See the Audit port."""
        tape = self._tape(record)
        return TapedIncoming(incoming, tape), TapedReply(reply, tape), partial(self._end, tape)

    def take(self, wanted: int) -> int:
        """See the Audit port."""
        given = max(min(wanted, self._settings.max_waiting_bytes - self.waiting_bytes), 0)
        self._reserved += given
        return given

    def release(self, size: int) -> None:
        """See the Audit port."""
        self._reserved -= size

    def note(self, record: RequestRecord, asked: bytes, answered: bytes) -> Hook:
        """See the Audit port."""
        tape = self._tape(record)
        tape.begin(asked, [(b"content-type", b"application/json")])
        tape.answer_type = "application/json"
        if tape.on:
            tape.hear(answered)
        return partial(self._end, tape)

    def _tape(self, record: RequestRecord) -> Tape:
        return Tape(record, most=self._settings.max_content_bytes, take=self.take, wanted=self._is_callers)

    def readings(self) -> list[Reading]:
        """Return the metrics of the audit."""
        counts = self.counts
        return [
            (AUDIT_WRITTEN, (), counts.written),
            (AUDIT_LOST, (), counts.crowded_out + counts.unwritten),
            (AUDIT_UNREDACTED, (), counts.unredacted),
        ]

    @property
    def waiting_bytes(self) -> int:
        """Memory of all that is being recorded or waits for the thread."""
        return self._reserved - self._released

    def _is_callers(self, record: RequestRecord) -> bool:
        callers, groups, who = self._settings.callers, self._settings.groups, record.who
        if not (callers or groups):
            return True
        return who is not None and (who.name in callers or any(group in groups for group in who.groups))

    def _is_models(self, record: RequestRecord) -> bool:
        return not self._settings.models or record.model in self._settings.models

    def _end(self, tape: Tape, record: RequestRecord) -> None:
        """Hand over what was recorded of a request; never waits."""
        if not tape.on:
            return
        if not self._is_models(record):
            self._reserved -= tape.held
            return
        if self._closed.is_set() or self.waiting_bytes + ENTRY_BYTES > self._settings.max_waiting_bytes:
            self._reserved -= tape.held
            self.counts.crowded_out += 1
            if not self._crowded:
                self._crowded = True
                logger.error("the audit loses entries: too many wait to be written")
            return
        self._reserved += ENTRY_BYTES
        size = tape.answer_size
        answer = Content(tape.answer, size, tape.answer_type, cut=len(tape.answer) < size)
        request = replace(tape.request, size=tape.flowed) if tape.flowed else tape.request
        self._entries.put(_Entry(self.about(record), request, answer, tape.held + ENTRY_BYTES))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="chukei-audit", daemon=True)
            self._thread.start()

    def about(self, record: RequestRecord) -> dict[str, object]:
        """Return the fields of an entry that are not content."""
        trace, who = record.trace, record.who
        return {
            "time": self._now().isoformat(timespec="milliseconds"),
            "request_id": record.request_id,
            "trace_id": trace.trace_id if trace is not None else None,
            "caller": who.name if who is not None else None,
            "groups": list(who.groups) if who is not None else [],
            "operation": record.operation,
            "method": record.method,
            "path": record.path,
            "model": record.model,
            "deployment": record.deployment,
            "upstream_request_id": record.upstream_request_id,
            "stream": record.stream,
            "status": record.status,
            "end": record.end,
            "code": record.code,
            "duration_ms": round(record.duration * 1000, 1),
        }

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, within ``seconds``; whatever comes later is dropped."""
        self._closed.set()
        if self._thread is None:
            return
        self._entries.put(None)
        await asyncio.to_thread(self._thread.join, seconds)
        if self._thread.is_alive():
            logger.error("the audit has not written all its entries: %d bytes still wait", self.waiting_bytes)

    # The thread.

    def _write_all(self) -> None:
        ended = False
        while not ended:
            lines, count, held, ended = self._batch()
            self._append(lines, count)
            self._released += held
            if self._crowded and not self.waiting_bytes:
                self._crowded = False
                logger.warning("the audit takes entries again; %d were lost so far", self.counts.crowded_out)
            self._closed.wait(WAIT_SECONDS)  # waking this thread for each entry would cost more than all else
        self._destination.close()

    def _batch(self) -> tuple[bytes, int, int, bool]:
        """Wait for entries; return their lines, their number, the memory they held, and whether it is the end."""
        lines, count, held = bytearray(), 0, 0
        entry = self._entries.get()
        while entry is not None:
            line = self._line(entry)
            lines += line
            count += bool(line)
            held += entry.held
            if len(lines) >= self._batch_bytes or self._entries.empty():
                return bytes(lines), count, held, False
            entry = self._entries.get()
        return bytes(lines), count, held, True

    def _line(self, entry: _Entry) -> bytes:
        line, failed = line_of(entry.about, entry.request, entry.answer, self._settings.max_content_bytes, self._redact)
        if failed is not None:
            self.counts.unredacted += 1
            id = entry.about["request_id"]
            logger.error("audit.redact failed (%s): request %s was written without its content", failed, id)
        elif not line:
            self.counts.left_out += 1
        return line

    def _append(self, lines: bytes, count: int) -> None:
        if not lines:
            return
        try:
            self._destination.append(lines)
        except OSError as error:
            self.counts.unwritten += count
            if not self._failing:
                self._failing = True
                why = error.strerror or str(error)
                logger.error("the audit loses entries, they cannot be written: %s", why)  # noqa: TRY400 - the reason is enough
            return
        self.counts.written += count
        if self._failing:
            self._failing = False
            logger.warning("the audit writes entries again; %d were lost so far", self.counts.unwritten)
