"""One stream on its way through: bytes from the upstream in, bytes for the client out. No I/O, no clock.

A stream is in one of these states:

    PREAMBLE ──▶ OUTPUT ──▶ FINISHED ──▶ DONE
    held back    passed on   a finish     complete: [DONE] or the API's
                             reason seen  own terminal event

In PREAMBLE nothing leaves: content filter results and the assistant's role are held until the first output, so that a
failure up to there can still become a proper HTTP error (or another deployment's answer). From OUTPUT on, reads pass
through as they are; only the few events that carry a marker are looked into.
"""

from enum import IntEnum

import msgspec

from chukei import sse
from chukei.events import Chunk, ResponseEvent, cause_of, is_chat_preamble, is_empty
from chukei.model import Dialect, End
from chukei.shape import Shape
from chukei.usage import Usage, reported

# A key and its colon cannot occur inside a JSON string, where the quotation mark would be escaped. So these markers
# never miss, and what they find by chance ([DONE] and event names may be part of a text) is only looked at in vain.
_CHAT_MARKERS = (
    b'"finish_reason":"',
    b'"finish_reason": "',
    b'"usage":{',
    b'"usage": {',
    b"[DONE]",
    b'"error":',
)
_RESPONSES_MARKERS = (
    b"response.completed",
    b"response.incomplete",
    b"response.failed",
    b'"type":"error"',
    b'"type": "error"',
    b"event: error",
)
_OPEN_MARKERS = (b"[DONE]", b'"usage":{', b'"usage": {', b'"error":{', b'"error": {')
LESSONS = 8
"""How often the look of events is learnt anew; a stream that changes it all the time is searched instead."""

_RESPONSES_PREAMBLE = frozenset({"response.created", "response.queued", "response.in_progress"})
_RESPONSES_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class State(IntEnum):
    """Where a stream is; the order matters."""

    PREAMBLE = 0
    OUTPUT = 1
    FINISHED = 2
    DONE = 3


class Stream:
    """The state of one stream.

    ``strip_usage`` removes the usage event, which is right exactly when the relay asked for it and the client did
    not. ``cap`` bounds one event, and all that is held back before the first output. ``lessons`` is how often the look
    of events may be learnt; with none, every event is searched.

    After each ``feed`` look at ``failure`` (the upstream's own error event; ``failed_first`` where no output came
    before it) and ``complete``. ``response_id`` is what the Responses API calls the answer; ``cause`` is
    its error as an object, wherever that stood.
    """

    __slots__ = (
        "_cap",
        "_framer",
        "_held",
        "_lessons",
        "_markers",
        "_over",
        "_shape",
        "_strip_usage",
        "cause",
        "dialect",
        "events",
        "failed_first",
        "failure",
        "finish_reasons",
        "response_id",
        "state",
        "usage",
    )

    def __init__(self, dialect: Dialect, *, strip_usage: bool, cap: int, lessons: int = LESSONS) -> None:
        self.dialect = dialect
        self._strip_usage = strip_usage
        self._cap = cap
        self._framer = sse.Framer(cap)
        self._held = bytearray()
        self._markers = {
            Dialect.CHAT: _CHAT_MARKERS,
            Dialect.RESPONSES: _RESPONSES_MARKERS,
            Dialect.OPEN: _OPEN_MARKERS,
        }[dialect]
        self.state = State.PREAMBLE
        self._over = False
        self._shape: Shape | None = None  # of the last event without a marker
        self._lessons = lessons
        self.events = 0
        self.finish_reasons: dict[int, str] = {}
        self.usage: Usage | None = None
        self.failure: bytes | None = None
        self.failed_first = False
        self.cause = b""
        self.response_id: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the upstream said that this is all."""
        return self.state is State.DONE

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be passed on: complete, or ended by the upstream's own error event.

        The Responses API follows its error event with a terminal one, so there the end is awaited.
        """
        return self.complete or (self.failure is not None and (self.dialect is not Dialect.RESPONSES or self._over))

    @property
    def overflowed(self) -> bool:
        """Whether an event, or the preamble, exceeded the cap."""
        return self._framer.overflowed or len(self._held) > self._cap

    def feed(self, data: bytes) -> bytes:
        """Take one read and return what may leave now: whole events, unchanged, or ``b""``."""
        return self._pass(self._framer.feed(data))

    def alike(self, data: bytes, begin: int, end: int) -> int:
        """Return how many events a part of ``data`` is, if it is whole ones like those before it, else 0.

        They may leave; whoever lets them leave without ``feed`` adds them to ``events``.
        """
        if self._shape is None or self._framer.pending:
            return 0
        events, whole = self._shape.match(data, begin, end)
        return events if whole == end else 0

    def finish(self) -> bytes:
        """Take the end of the upstream's body; return what it completes. An unfinished event is dropped.

        Afterwards ``complete`` tells whether this was an end or a break.
        """
        self._over = True
        out = self._pass(self._framer.finish())
        if self.dialect is Dialect.OPEN and self.failure is None:
            out = bytes(self._held) + out
            self._held.clear()
            self.state = State.DONE
        return out

    def end(self) -> End:
        """Return the reason for which a complete stream ended."""
        reasons = self.finish_reasons.values()
        if self.failure is not None:
            return End.UPSTREAM_ERROR
        if "content_filter" in reasons:
            return End.CONTENT_FILTER
        if "length" in reasons or "max_output_tokens" in reasons:
            return End.LENGTH
        return End.COMPLETED

    def _pass(self, block: bytes) -> bytes:
        if not block:
            return block
        if self.state is State.PREAMBLE:
            return self._pass_preamble(block)
        if self.state is State.DONE:
            return b""
        known = self._pass_known(block)
        return block if known == len(block) else block[:known] + self._pass_unlike(block[known:])

    def _pass_known(self, block: bytes) -> int:
        """Count the events that a block begins with, as far as they look alike or teach how they look.

        Return where they end.
        """
        at, end = 0, len(block)
        while at < end:
            if self._shape is not None:
                events, at = self._shape.match(block, at, end)
                self.events += events
            if at == end or not self._lessons:
                break
            event = sse.first(block, at)
            if self._is_marked(event):
                break
            self._lessons -= 1
            self._shape = Shape.of(event)
            self.events += _count(event)
            at += len(event)
        return at

    def _pass_unlike(self, block: bytes) -> bytes:
        """Search events for what matters."""
        if self._is_marked(block):
            return self._pass_marked(block)
        self.events += _count(block)
        return block

    def _is_marked(self, block: bytes) -> bool:
        return any(map(block.__contains__, self._markers))

    def _pass_preamble(self, block: bytes) -> bytes:
        """Hold events until one of them is output; then release all."""
        start = 0
        for event in sse.split(block):
            if not self._is_preamble(event):
                self.state = State.OUTPUT
                held = bytes(self._held)
                self._held.clear()
                return held + self._pass(block[start:])
            self._held += event
            start += len(event)
        return b""

    def _pass_marked(self, block: bytes) -> bytes:
        """Look into each event of a block in which some event matters. What follows may look like any of them."""
        self._shape = None
        keep = []
        for event in sse.split(block):
            if self._note(event):
                keep.append(event)
            if self.state is State.DONE or (self.failure is not None and self.dialect is not Dialect.RESPONSES):
                break
        return b"".join(keep)

    def _is_preamble(self, event: bytes) -> bool:
        data = sse.data_of(event)
        if not data:
            return True
        try:
            if self.dialect is Dialect.CHAT:
                return is_chat_preamble(msgspec.json.decode(data, type=Chunk))
            if self.dialect is Dialect.RESPONSES:
                said = msgspec.json.decode(data, type=ResponseEvent)
                if said.response is not None and said.response.id is not None:
                    self.response_id = said.response.id
                return said.type in _RESPONSES_PREAMBLE
        except (msgspec.DecodeError, RecursionError):
            return False  # not ours to judge: it passes as it is
        return False

    def _note(self, event: bytes) -> bool:
        """Learn what an event says of the stream's state; return whether it may leave."""
        data = sse.data_of(event)
        if data == b"[DONE]":
            self.state = State.DONE
            return True
        if data:
            self.events += 1
        try:
            if self.dialect is Dialect.CHAT:
                return self._note_chunk(msgspec.json.decode(data, type=Chunk))
            self._note_response(msgspec.json.decode(data, type=ResponseEvent))
        except (msgspec.DecodeError, RecursionError):
            pass  # a comment, or bytes that are not ours to judge
        return True

    def _note_chunk(self, chunk: Chunk) -> bool:
        if not is_empty(chunk.error):
            self._fail(bytes(chunk.error))
            return True
        for choice in chunk.choices or ():
            if choice.finish_reason:
                self.finish_reasons[choice.index] = choice.finish_reason
                self.state = State.FINISHED
        if chunk.usage is not None:
            self.usage = reported(chunk.usage) or self.usage
            if self._strip_usage and not chunk.choices:
                return False
        return True

    def _fail(self, error: bytes) -> None:
        """Keep the first error; whether output came before it decides what it can still become."""
        if self.failure is None:
            self.failure = error
            self.failed_first = self.events <= 1

    def _note_response(self, event: ResponseEvent) -> None:
        response = event.response
        if event.type == "error" or event.type == "response.failed" or not is_empty(event.error):
            self._fail(b"null" if is_empty(event.error) else bytes(event.error))
            self.cause = self.cause or cause_of(event)
        usage = response.usage if response is not None else event.usage
        if usage is not None:
            self.usage = reported(usage) or self.usage
        if event.type not in _RESPONSES_TERMINAL:
            return
        self.state = State.DONE
        reason = event.type.removeprefix("response.")
        if response is not None and response.incomplete_details is not None:
            reason = response.incomplete_details.reason or reason
        self.finish_reasons[0] = reason


def _count(block: bytes) -> int:
    """Return how many events with data a block of whole events holds, if their lines end with LF."""
    return block.count(b"\ndata:") + block.startswith(b"data:")
