"""Typed stand-ins for the world at the ports, for tests of the stages; and ways to cut bytes into reads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from chukei.accounts.changes import Action, Actor, Change
from chukei.accounts.ledger import Entry, Key, KeySearch, Question, Seen, Sum
from chukei.accounts.limits import Amounts, Grant, Headroom, Refusal, Subject
from chukei.accounts.objects import ObjectRecord
from chukei.accounts.stores import ObjectRow, StoreAway
from chukei.errors import CallerError, UpstreamError
from chukei.model import Headers
from chukei.ports import ClientGone, Socket, SocketLimits, Taker
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


class FakeObjectStore:
    """A store of objects in memory that knows what it is given, whatever it is told to keep. ``away`` makes it fail."""

    def __init__(self, known: Mapping[str, ObjectRecord] | None = None, *, away: bool = False) -> None:
        self.known = dict(known or {})
        self.away = away
        self.kept: list[tuple[str, ObjectRecord]] = []
        self.asked: list[list[str]] = []

    def keep(self, id: str, record: ObjectRecord) -> None:
        self.kept.append((id, record))

    def drop(self, id: str) -> None:
        self.known.pop(id, None)

    async def find(self, ids: Sequence[str]) -> list[ObjectRecord | None]:
        self.asked.append([*ids])
        if self.away:
            raise StoreAway("away")
        return [self.known.get(id) for id in ids]


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
        self.methods: list[tuple[str, int | None]] = []  # and the lengths of bodies in parts
        self.asked = asyncio.Event()
        self.cancelled = False
        self.closed = False
        self.connects = True

    async def request(
        self,
        method: str,
        endpoint: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes],
        sent: Callable[[], None],
        length: int | None = None,
    ) -> FakeAnswer:
        self.methods.append((method, length))
        raw = body if isinstance(body, bytes) else b"".join([part async for part in body])
        self.requests.append((endpoint, target, headers, raw))
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

    async def open_socket(
        self, endpoint: str, target: str, headers: Headers, subprotocols: Sequence[str], limits: SocketLimits
    ) -> Socket:
        raise NotImplementedError

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

    async def upgrade(self, subprotocol: str | None, headers: Headers, limits: SocketLimits) -> Socket:
        raise NotImplementedError

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
        self.upgrades = False
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

    async def parts(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        whole = await self.body(limit, seconds)
        for begin in range(0, len(whole), 1000):
            yield whole[begin : begin + 1000]

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
        self.released: list[str] = []

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        self.reserved.append((id, tuple(subjects), estimate))
        if isinstance(self._answer, StoreAway):
            raise self._answer
        if self._refusals:
            return self._refusals.pop(0)
        return self._answer if isinstance(self._answer, Refusal) else Grant(id, self._answer)

    def release(self, id: str) -> None:
        self.released.append(id)

    async def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> None:
        await asyncio.sleep(0)
        self.settled.append((id, actual))

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        return self._answer if isinstance(self._answer, tuple) else ()

    def start(self) -> None:
        return None

    async def close(self) -> None:
        return None


class FakeJobs:
    """The part of a database that keeps responses in the making, in memory: when each is due, and the job."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[datetime, str]] = {}
        self.entries: dict[str, Entry] = {}

    async def _asked(self) -> None:
        return None

    async def keep_job(self, id: str, due: datetime, job: str) -> None:
        await self._asked()
        self.jobs.setdefault(id, (due, job))

    async def find_job(self, id: str) -> str | None:
        await self._asked()
        return self.jobs[id][1] if id in self.jobs else None

    async def take_jobs(self, now: datetime, until: datetime, limit: int) -> list[str]:
        await self._asked()
        taken = {id: job for id, (due, job) in self.jobs.items() if due <= now}
        self.jobs |= {id: (until, job) for id, job in taken.items()}
        return [*taken.values()][:limit]

    async def defer_job(self, id: str, due: datetime) -> None:
        await self._asked()
        if id in self.jobs:
            self.jobs[id] = due, self.jobs[id][1]

    async def settle_job(self, id: str, entry: Entry) -> bool:
        await self._asked()
        self.jobs.pop(id, None)
        new = entry.id not in self.entries
        self.entries.setdefault(entry.id, entry)
        return new


class FakeRules(FakeJobs):
    """The part of a database that keeps administrators' rules, and what is known about objects, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[bytes, ObjectRow] = {}
        self.set: dict[str, str] = {}
        self.recorded: list[Change] = []

    async def _asked(self) -> None:
        return None

    async def rules(self) -> dict[str, str]:
        await self._asked()
        return dict(self.set)

    async def rules_mark(self) -> str:
        await self._asked()
        return str(len(self.recorded))

    async def change_rules(
        self, subject: str, merge: Callable[[str | None], str | None], *, actor: Actor, time: datetime
    ) -> Change:
        await self._asked()
        before = self.set.get(subject)
        after = merge(before)
        self.set.pop(subject, None)
        if after is not None:
            self.set[subject] = after
        await self.record(Change(Action.RULES, subject, actor, time, before, after))
        return self.recorded[-1]

    async def record(self, change: Change | None) -> int:
        await self._asked()
        if change is not None:
            self.recorded.append(replace(change, number=len(self.recorded) + 1))
        return len(self.recorded)

    async def changes(self, limit: int, before: int | None = None) -> list[Change]:
        await self._asked()
        return [each for each in self.recorded[::-1] if before is None or each.number < before][:limit]

    async def write_objects(self, rows: Sequence[ObjectRow], gone: Sequence[bytes]) -> None:
        await self._asked()
        for row in rows:
            self.objects.setdefault(row.digest, row)
        for digest in gone:
            self.objects.pop(digest, None)

    async def find_objects(self, digests: Sequence[bytes]) -> dict[bytes, ObjectRecord]:
        await self._asked()
        return {digest: self.objects[digest].record for digest in digests if digest in self.objects}

    async def drop_objects(self, before: datetime) -> int:
        await self._asked()
        old = [digest for digest, row in self.objects.items() if row.expires < before]
        for digest in old:
            del self.objects[digest]
        return len(old)


class FakeDatabase(FakeRules):
    """Keys and entries in memory. ``away`` makes every call fail, ``silent`` makes it wait for ever."""

    def __init__(self, *keys: Key) -> None:
        super().__init__()
        self.rows = {key.id: key for key in keys}
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

    async def seen(self, caller: str | None = None) -> list[Seen]:
        await self._asked()
        latest: dict[str, Seen] = {}
        for each in sorted(self.entries.values(), key=lambda each: each.time):
            latest[each.caller] = Seen(each.caller, each.time, each.kind, each.group)
        return [each for each in latest.values() if caller in (None, each.caller)]

    async def forget(
        self, *, before: datetime | None = None, caller: str | None = None, change: Change | None = None
    ) -> int:
        await self.record(change)
        return 0

    async def keys(self) -> list[Key]:
        self.copies += 1
        await self._asked()
        return list(self.rows.values())

    async def find_keys(self, search: KeySearch) -> tuple[list[Key], int]:
        await self._asked()
        found = [
            key
            for key in sorted(self.rows.values(), key=lambda key: key.created, reverse=True)
            if search.id in (None, key.id)
            and search.caller in (None, key.caller)
            and search.state in (None, key.state(search.now))
            and search.text.casefold() in f"{key.id}\n{key.caller}\n{key.group}\n{key.note}".casefold()
        ]
        return found[search.offset :][: search.limit], len(found)

    async def keys_mark(self) -> str:
        self.reads += 1
        await self._asked()
        return repr(self.rows)

    async def add_key(
        self, key: Key, *, replaces: tuple[str, datetime] | None = None, change: Change | None = None
    ) -> None:
        await self.record(change)
        self.rows[key.id] = key
        if replaces is not None:
            id, expires = replaces
            self.rows[id] = replace(self.rows[id], expires=expires)

    async def end_key(
        self, id: str, *, expires: datetime | None, revoked: datetime | None, change: Change | None = None
    ) -> bool:
        await self._asked()
        if id not in self.rows:
            return False
        await self.record(change)
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
