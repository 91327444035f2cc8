"""The upload of a file that may be a batch's: its lines are checked and written for the resource as they flow.

The form's ``purpose`` tells what the file is. OpenAI's Python client sends it first, that for Node in the order of the
caller's object, which is mostly behind the file. Then the file's first line decides, by its form.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from chukei.errors import CallerError
from chukei.gateway.batch_lines import LONGEST_LINE, LineReader, begins_batch
from chukei.model import MEBIBYTE
from chukei.objects.references import Reference
from chukei.request.flowing_form import Begin, Data, Event, FormReader, FormWriter
from chukei.request.form import note_name
from chukei.request.lines import Lines, TooLong

LONGEST_PURPOSE = 64
"""Bytes of a purpose; the longest has sixteen."""

MOST_UNDECIDED = LONGEST_LINE + MEBIBYTE
"""Bytes of a form that are read at most until it is known what it is."""

SLICE_BYTES = 64 * 1024
"""Bytes that are read and written at a time: each step has a copy of them."""

BATCH = b"batch"

_BOM = b"\xef\xbb\xbf"

_READ = ("file", "purpose")


class BatchUpload:
    """One upload. ``owned`` checks the objects that lines name; ``reach`` is told the bytes in memory."""

    def __init__(
        self,
        content_type: bytes,
        lines: LineReader,
        owned: Callable[[Sequence[Reference]], Awaitable[None]],
        reach: Callable[[int], None],
    ) -> None:
        self._reader = FormReader(content_type)
        self._writer = FormWriter()
        self._lines = lines
        self._owned = owned
        self._reach = reach
        self._parts: Parts = Parts()

    @property
    def content_type(self) -> bytes:
        """The content type of what ``written`` yields."""
        return self._writer.content_type

    async def begin(self, parts: AsyncIterator[bytes]) -> tuple[list[bytes], list[Event] | None]:
        """Read until it is known whether this is a batch's file.

        Return the bytes read so far, and what they contain; None if it is no batch's file.
        """
        read: list[bytes] = []
        events: list[Event] = []
        judge, size = Judge(), 0
        async for part in parts:
            read.append(part)
            size += len(part)
            self._reach(size)
            try:
                found = self._reader.feed(part)
            except CallerError:
                return read, None  # the resource will say what it thinks of this form
            events += found
            verdict = judge.of(found)
            if verdict is not None or size > MOST_UNDECIDED:
                return read, events if verdict else None
        return read, None

    async def written(self, events: Sequence[Event], parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the form of a batch's file, with its lines as the resource needs them.

        Raises:
            CallerError: the form, or a line of the file, is not valid or not for this caller.
        """
        for event in events:
            if data := await self._write(event):
                yield data
        async for part in parts:
            for begin in range(0, len(part), SLICE_BYTES):
                found = self._reader.feed(part[begin : begin + SLICE_BYTES])
                if data := b"".join([await self._write(event) for event in found]):
                    yield data
        self._reader.end()

    async def _write(self, event: Event) -> bytes:
        found = self._parts
        if isinstance(event, Begin):
            found.begin(event.part.name)
        elif isinstance(event, Data) and found.name == "file":
            data = await self._owning(*self._lines.feed(event.data))
            self._reach(self._lines.held)
            return data
        elif isinstance(event, Data):
            found.take(event.data)
        elif not event.whole:
            last = await self._owning(*self._lines.end()) if found.name == "file" else b""
            return last + self._writer.write(event)
        else:
            found.check()
        return self._writer.write(event)

    async def _owning(self, data: bytes, named: Sequence[Reference]) -> bytes:
        if named:
            await self._owned(named)
        return data


class Parts:
    """What is known of a form's parts while they pass."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.purpose = b""
        self._seen: set[str] = set()

    def begin(self, name: str) -> None:
        """Note that a part begins.

        Raises:
            CallerError: 400, the resource could take another part for the one that is checked.
        """
        note_name(name, _READ, self._seen)
        self.name = name

    def take(self, data: bytes) -> None:
        """Take bytes of the part's value."""
        if self.name == "purpose":
            self.purpose = (self.purpose + data)[:LONGEST_PURPOSE]

    def check(self) -> None:
        """Check at the form's end that it was that of a batch's file.

        Raises:
            CallerError: 400.
        """
        if self.purpose.strip() != BATCH:
            message = "The file has the form of a batch's, but another purpose. Send 'purpose' before the file."
            raise CallerError(400, "invalid_value", message, param="purpose")
        if "file" not in self._seen:
            raise CallerError(400, "invalid_form", "The form has no 'file'.", param="file")


class Judge:
    """Finds out from the beginning of a form whether it is that of a batch's file."""

    def __init__(self) -> None:
        self._parts = Parts()
        self._first = Lines(LONGEST_LINE)
        self._lead = b""  # of the file

    def of(self, events: Sequence[Event]) -> bool | None:
        """Return whether it is, None if more must be read."""
        verdicts = (self._look(event) for event in events)
        return next((verdict for verdict in verdicts if verdict is not None), None)

    def _look(self, event: Event) -> bool | None:
        found = self._parts
        if isinstance(event, Begin):
            found.begin(event.part.name)
        elif isinstance(event, Data) and found.name == "file":
            return self._by_line(event.data)
        elif isinstance(event, Data):
            found.take(event.data)
        elif event.whole:
            return False
        elif found.name == "purpose":
            return found.purpose.strip() == BATCH
        elif found.name == "file":
            return begins_batch(self._first.end())
        return None

    def _by_line(self, data: bytes) -> bool | None:
        if not self._lead.strip():
            self._lead = (self._lead + data[:64]).removeprefix(_BOM).lstrip()
            if self._lead[:1] not in (b"{", b"") and not _BOM.startswith(self._lead):
                return False  # it is no object
        try:
            lines = self._first.feed(data)
        except TooLong:
            return False
        return next((begins_batch(line) for line in lines if line.strip()), None)


def joined(read: Sequence[bytes], parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return parts with those in front that were read already."""

    async def flow() -> AsyncIterator[bytes]:
        for part in read:
            yield part
        async for part in parts:
            yield part

    return flow()
