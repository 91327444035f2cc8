"""Typed stand-ins for the world at the ports, for tests of the stages; and ways to cut bytes into reads."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from chukei.accounts.ledger import Entry, Key, Question, Sum
from chukei.accounts.limits import Amounts, Grant, Headroom, Refusal, Subject
from chukei.accounts.overrides import RuleChange
from chukei.accounts.stores import StoreAway
from chukei.errors import CallerError, UpstreamError
from chukei.model import Headers
from chukei.ports import ClientGone, Taker
from chukei.record import RequestRecord

EVENT_STREAM: Headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON: Headers = [(b"content-type", b"application/json")]


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeAnswer:
    """An upstream's answer whose reads are given: bytes, ``b""`` for the end, or an error. Then silence."""

    def __init__(
        self, reads: Sequence[bytes | UpstreamError], *, status: int = 200, headers: Headers | None = None
    ) -> None:
        self.status = status
        self.headers = EVENT_STREAM if headers is None else headers
        self.until_close = False
        self.finished = False
        self.aborted = False
        self.silent = asyncio.Event()  # set when a reader waits for what never comes
        self._reads = list(reads)
        self._woken = asyncio.Event()

    def put(self, read: bytes | UpstreamError) -> None:
        """Let one more read arrive."""
        self._reads.append(read)
        self._woken.set()

    async def read(self) -> bytes | None:
        if not self._reads:
            self.silent.set()
            await self._woken.wait()
            self._woken.clear()
            if not self._reads:
                return None
        # An end and a break stay: whoever reads again is told again.
        read = (
            self._reads[0] if self._reads[0] == b"" or isinstance(self._reads[0], UpstreamError) else self._reads.pop(0)
        )
        if isinstance(read, UpstreamError):
            raise read
        return read

    def wake(self) -> None:
        self._woken.set()

    def divert(self, taker: Taker | None) -> None:
        return None

    def finish(self) -> None:
        self.finished = True

    def abort(self) -> None:
        self.aborted = True


class FakeUpstream:
    """Hands out prepared answers, one for each request; with none left it never answers."""

    def __init__(self, *answers: FakeAnswer | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[tuple[str, str, Headers, bytes]] = []
        self.asked = asyncio.Event()
        self.cancelled = False
        self.closed = False
        self.connects = True

    async def post(
        self, endpoint: str, target: str, headers: Headers, body: bytes, sent: Callable[[], None]
    ) -> FakeAnswer:
        self.requests.append((endpoint, target, headers, body))
        sent()
        self.asked.set()
        if not self._answers:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


class FakeCredential:
    """An API key, or the error that there is none."""

    def __init__(self, key: bytes | UpstreamError = b"upstream-secret") -> None:
        self._key = key

    async def header(self) -> tuple[bytes, bytes]:
        if isinstance(self._key, UpstreamError):
            raise self._key
        return b"api-key", self._key

    def warm(self) -> None:
        return None

    async def close(self) -> None:
        return None


class FakeReply:
    """Keeps what is sent to the client. ``reading`` can be cleared to be a client that stops reading."""

    def __init__(self) -> None:
        self.started = False
        self.status: int | None = None
        self.headers: Headers = []
        self.sent: list[bytes] = []
        self.finished = False
        self.aborted = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._arrived = asyncio.Condition()

    @property
    def body(self) -> bytes:
        return b"".join(self.sent)

    async def start(self, status: int, headers: Headers) -> None:
        assert not self.started
        self.started, self.status, self.headers = True, status, headers

    async def send(self, data: bytes) -> None:
        assert self.started
        assert not self.finished
        async with self._arrived:
            self.sent.append(data)
            self._arrived.notify_all()
        await self.reading.wait()

    def send_now(self, data: bytes, begin: int) -> bool:
        return False

    async def finish(self, data: bytes = b"") -> None:
        await self.send(data)
        self.finished = True

    def abort(self) -> None:
        self.aborted = True

    async def until(self, condition: Callable[[bytes], bool]) -> None:
        """Wait until what was sent so far fulfils a condition."""
        async with asyncio.timeout(60), self._arrived:
            await self._arrived.wait_for(lambda: condition(self.body))


class FakeIncoming:
    """A client's request. ``leave`` is the client going away."""

    def __init__(
        self,
        body: bytes | CallerError | None = b"",
        *,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        query: str = "",
        headers: Headers | None = None,
        http_version: str = "1.1",
        local: bool = True,
        source: str = "127.0.0.1",
    ) -> None:
        self.method = method
        self.raw_path = path
        self.query = query
        self.http_version = http_version
        plain = [(b"host", b"localhost:7221"), (b"content-type", b"application/json")]
        self.headers: Headers = plain if headers is None else headers
        self.local = local
        self.source = source
        self.limits: tuple[int, float] | None = None
        self._body = body
        self._gone: Callable[[], None] | None = None

    async def body(self, limit: int, seconds: float, arrived: Callable[[int], None] = lambda size: None) -> bytes:
        self.limits = (limit, seconds)
        if isinstance(self._body, CallerError):
            raise self._body
        if self._body is None:
            raise ClientGone
        arrived(len(self._body))
        return self._body

    def watch(self, gone: Callable[[], None]) -> None:
        self._gone = gone

    def unwatch(self) -> None:
        self._gone = None

    def leave(self) -> None:
        assert self._gone is not None
        self._gone()


class FakeHook:
    """Keeps every record, or fails on it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.records: list[RequestRecord] = []
        self._failure = failure

    def __call__(self, record: RequestRecord) -> None:
        self.records.append(record)
        if self._failure is not None:
            raise self._failure


class FakeQuota:
    """Accounts that answer as they are told, with some refusals first, and remember what they were asked."""

    def __init__(
        self, answer: Refusal | StoreAway | tuple[Headroom, ...] = (), *, refusals: Sequence[Refusal] = ()
    ) -> None:
        self._answer = answer
        self._refusals = [*refusals]
        self.reserved: list[tuple[str, tuple[Subject, ...], Amounts]] = []
        self.settled: list[tuple[str, Amounts]] = []

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        self.reserved.append((id, tuple(subjects), estimate))
        if isinstance(self._answer, StoreAway):
            raise self._answer
        if self._refusals:
            return self._refusals.pop(0)
        return self._answer if isinstance(self._answer, Refusal) else Grant(id, self._answer)

    async def settle(self, id: str, actual: Amounts) -> None:
        await asyncio.sleep(0)
        self.settled.append((id, actual))

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        return self._answer if isinstance(self._answer, tuple) else ()

    def start(self) -> None:
        return None

    async def close(self) -> None:
        return None


class FakeRules:
    """The part of a database that keeps administrators' rules, in memory."""

    def __init__(self) -> None:
        self.set: dict[str, str] = {}
        self.recorded: list[RuleChange] = []

    async def _asked(self) -> None:
        return None

    async def rules(self) -> dict[str, str]:
        await self._asked()
        return dict(self.set)

    async def rules_mark(self) -> str:
        await self._asked()
        return str(len(self.recorded))

    async def change_rules(
        self, subject: str, merge: Callable[[str | None], str | None], *, actor: str, time: datetime
    ) -> RuleChange:
        await self._asked()
        before = self.set.pop(subject, None)
        after = merge(before)
        if after is not None:
            self.set[subject] = after
        self.recorded.append(RuleChange(len(self.recorded) + 1, time, actor, subject, before, after))
        return self.recorded[-1]

    async def rule_changes(self, limit: int) -> list[RuleChange]:
        await self._asked()
        return self.recorded[::-1][:limit]


class FakeDatabase(FakeRules):
    """Keys and entries in memory. ``away`` makes every call fail, ``silent`` makes it wait for ever."""

    def __init__(self, *keys: Key) -> None:
        super().__init__()
        self.rows = {key.id: key for key in keys}
        self.entries: dict[str, Entry] = {}
        self.away = False
        self.silent = False
        self.reads = 0
        self.copies = 0
        self.closed = False

    async def _asked(self) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise StoreAway("the database is away")

    async def open(self) -> None:
        await self._asked()

    async def add(self, entries: Sequence[Entry]) -> None:
        await self._asked()
        self.entries = {entry.id: entry for entry in entries} | self.entries

    async def sum(self, question: Question) -> list[Sum]:
        await self._asked()
        return []

    async def forget(self, *, before: datetime | None = None, caller: str | None = None) -> int:
        await self._asked()
        return 0

    async def keys(self) -> list[Key]:
        self.copies += 1
        await self._asked()
        return list(self.rows.values())

    async def keys_mark(self) -> str:
        self.reads += 1
        await self._asked()
        return repr(self.rows)

    async def add_key(self, key: Key) -> None:
        await self._asked()
        self.rows[key.id] = key

    async def end_key(self, id: str, *, expires: datetime | None, revoked: datetime | None) -> bool:
        await self._asked()
        if id not in self.rows:
            return False
        self.rows[id] = replace(self.rows[id], expires=expires, revoked=revoked)
        return True

    async def close(self) -> None:
        self.closed = True


def bytewise(data: bytes) -> list[bytes]:
    """Cut into single bytes."""
    return [data[index : index + 1] for index in range(len(data))]


def every_split(data: bytes) -> Iterator[list[bytes]]:
    """Cut in two at every place."""
    for index in range(1, len(data)):
        yield [data[:index], data[index:]]


class SinkTransport(asyncio.Transport):
    """A transport that takes everything."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass
