"""The state machine of one stream: bytes from the upstream in, bytes for the client out. No I/O, no clock.

A stream is in one of four states: PREAMBLE, OUTPUT, FINISHED or DONE. ``TRANSITIONS`` is the table of transitions. In
PREAMBLE nothing is sent: content filter results and the assistant's role are held back until the first output, so that
a failure before it can still become an HTTP error or another deployment's answer. From OUTPUT on, reads pass through
unchanged; only the few events that contain a marker are decoded. A chat is also complete if every choice has a finish
reason and the HTTP body has ended as its framing says.
"""

import contextlib
import re
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from chukei.model import Dialect, End
from chukei.stream import sse
from chukei.stream.events import (
    STOP_REASONS,
    Chunk,
    Item,
    Message,
    MessageEvent,
    Response,
    ResponseEvent,
    cause_of,
    container_in,
    end_of,
    is_chat_preamble,
    is_empty,
    read,
)
from chukei.stream.redaction import Redactor
from chukei.stream.shape import EventShape
from chukei.usage import DECODE_ERRORS, Usage, is_usage, reported, with_tools

if TYPE_CHECKING:  # it is imported with the first message
    from chukei.stream.message_usage import MessageUsage

# A key and its colon cannot occur inside a JSON string, where the quotation mark would be escaped. So these markers
# have no false negatives. False positives ([DONE] and event names may occur in a text) cost only a needless decoding.
_UNUSUAL = (b'" :', b'":  ', b'":\t', b'":\n')
"""White space around a colon that no known service writes. Every event of such a stream is decoded."""
_CHAT_MARKERS = (
    b'"finish_reason":"',
    b'"finish_reason": "',
    b'"usage":{',
    b'"usage": {',
    b"[DONE]",
    b'"error":',
    *_UNUSUAL,
)
_EMPTY_CHOICES = (b'"choices":[]', b'"choices": []')
_ERRORS = (b'"error":{', b'"error": {', b'"error":"', b'"error": "')
_RESPONSES_MARKERS = (
    b"response.output_item.",
    b"response.completed",
    b"response.incomplete",
    b"response.failed",
    b"response.cancelled",
    b'"type":"error"',
    b'"type": "error"',
    b"event: error",
    b"event:error",
    *_ERRORS,
    *_UNUSUAL,
)
_OPEN_MARKERS = (b"[DONE]", b'"usage":{', b'"usage": {', *_ERRORS, *_UNUSUAL)
_MESSAGES_MARKERS = (
    b"message_start",
    b"message_delta",
    b"message_stop",
    b'"type":"error"',
    b'"type": "error"',
    b"event: error",
    b"event:error",
    *_ERRORS,
    *_UNUSUAL,
)
LESSONS = 8
"""How often the form of events is learnt anew. A stream that changes it more often is searched for markers instead."""

_RESPONSES_PREAMBLE = frozenset({"response.created", "response.queued", "response.in_progress", "keepalive"})
_MESSAGES_PREAMBLE = frozenset({"message_start", "ping"})
_RESPONSES_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
# Generated text in an event, and the index of its choice or tool call. APIs other than chat repeat the deltas' text in
# later events, so only deltas count.
_STRING = rb'[ \t\r\n]*+:[ \t\r\n]*+"((?:[^"\\]++|\\.)*+)"'
_CHAT_TEXTS = rb'"(?:content|text|refusal|reasoning(?:_content)?|arguments|name|transcript)"'
_CHAT_MADE = re.compile(_CHAT_TEXTS + _STRING, re.DOTALL)
_DELTA_MADE = re.compile(rb'"delta"' + _STRING, re.DOTALL)
_MESSAGE_MADE = re.compile(rb'"(?:text|thinking|partial_json)"' + _STRING, re.DOTALL)
_AUDIO_MADE = re.compile(rb'"data"' + _STRING, re.DOTALL)
_INDEX = re.compile(rb'"index": ?([0-9]+)')
AUDIO_BYTES = 256
"""Base64 bytes of sound that count as one byte of text. A token of sound is about 50 ms or 3,200 bytes, so the estimate
is rather too high."""


class State(Enum):
    """The state of a stream."""

    PREAMBLE = "held back"
    OUTPUT = "passed on"
    FINISHED = "a finish reason was seen"
    DONE = "complete"


class Sign(Enum):
    """An input from the upstream that may cause a transition."""

    OUTPUT = "output, or another item of a response"
    FINISH = "a finish reason, or the end of a response's item"
    TERMINAL = "`[DONE]`, or the API's own terminal event"
    END = "the body has ended as its framing says, and nothing is open"


TRANSITIONS = {
    (State.PREAMBLE, Sign.OUTPUT): State.OUTPUT,
    (State.PREAMBLE, Sign.END): State.DONE,
    (State.OUTPUT, Sign.FINISH): State.FINISHED,
    (State.OUTPUT, Sign.TERMINAL): State.DONE,
    (State.OUTPUT, Sign.END): State.DONE,
    (State.FINISHED, Sign.OUTPUT): State.OUTPUT,
    (State.FINISHED, Sign.TERMINAL): State.DONE,
    (State.FINISHED, Sign.END): State.DONE,
}
"""All transitions. A sign that a state does not list is ignored. DONE is final."""


class Stream:
    """The state of one stream.

    ``strip_usage`` removes the usage event; set it if the relay asked for the event and the client did not.
    ``skip_empty`` removes chunks with an empty list of choices, unless they report usage. ``cap`` bounds the bytes of
    one event, and of the preamble. ``lessons`` is how often the form of events may be learnt; with 0, every event is
    searched for markers. ``redactor`` removes the relay's own credentials from upstream error events. The stream of a
    ``background`` response has begun with its first event that names the response's id: without the id a client could
    not resume it.

    ``events`` and ``generated_bytes`` are for an estimate if no usage is reported: the number of events passed on, and
    their bytes of text, reasoning and arguments.

    After each ``feed`` check ``failure`` (the upstream's error event; ``failed_first`` if no output came before it) and
    ``complete``. ``response_id`` is the id of the response in the Responses API; ``cause`` is its error as an object.
    ``starts_at`` is the ``sequence_number`` of its first event, which is 0 unless a stream is resumed.
    ``items`` are the items of the response that are complete.
    ``model`` and ``service_tier`` are taken from the decoded events: the first ones and the last.
    """

    __slots__ = (
        "_begun",
        "_cap",
        "_counted",
        "_framer",
        "_held",
        "_held_events",
        "_indices",
        "_lessons",
        "_markers",
        "_message_usage",
        "_over",
        "_redactor",
        "_shape",
        "_skip_empty",
        "_strip_usage",
        "_usage",
        "background",
        "cause",
        "dialect",
        "events",
        "failed_first",
        "failure",
        "finish_reasons",
        "generated_bytes",
        "items",
        "model",
        "response_id",
        "service_tier",
        "starts_at",
        "state",
    )

    def __init__(
        self,
        dialect: Dialect,
        *,
        strip_usage: bool,
        cap: int,
        skip_empty: bool = False,
        lessons: int = LESSONS,
        redactor: Redactor | None = None,
        background: bool = False,
    ) -> None:
        self.dialect = dialect
        self.background = background
        self.starts_at = 0
        self._redactor = redactor
        self._strip_usage = strip_usage
        self._skip_empty = skip_empty and dialect is Dialect.CHAT
        self._cap = cap
        self._framer = sse.Framer(cap)
        self._held = bytearray()
        self._held_events = 0
        self._markers = {
            Dialect.CHAT: _CHAT_MARKERS,
            Dialect.RESPONSES: _RESPONSES_MARKERS,
            Dialect.MESSAGES: _MESSAGES_MARKERS,
            Dialect.OPEN: _OPEN_MARKERS,
        }[dialect]
        if self._skip_empty:
            self._markers += _EMPTY_CHOICES
        self._begun: set[int] = set()  # indices of choices
        self._indices: set[bytes] = set()  # the same, as digits
        self.state = State.PREAMBLE
        self._over = False
        self._shape: EventShape | None = None  # of the last event without a marker
        self._lessons = lessons
        self.events = 0
        self.generated_bytes = 0
        self.finish_reasons: dict[int, str] = {}
        self._usage: Usage | None = None
        self._message_usage = _message_usage() if dialect is Dialect.MESSAGES else None
        self._counted = False
        self.failure: bytes | None = None
        self.failed_first = False
        self.cause = b""
        self.response_id: str | None = None
        self.items: tuple[Item, ...] = ()
        self.model: str | None = None
        self.service_tier: str | None = None

    def __repr__(self) -> str:
        return f"<Stream {self.dialect} {self.state.name}, {self.events} events>"

    def _move(self, sign: Sign) -> None:
        self.state = TRANSITIONS.get((self.state, sign), self.state)

    @property
    def complete(self) -> bool:
        """Whether the upstream has sent the whole answer."""
        return self.state is State.DONE

    @property
    def usage(self) -> Usage | None:
        """The reported usage, once it is final. Some services report the usage so far in every chunk.

        The Messages API reports the input at the beginning; until the end the output is an estimate.
        """
        if self._counted or self.complete:
            return self._usage
        return self._message_usage.so_far if self._message_usage is not None else None

    @property
    def passed(self) -> int:
        """The number of events so far, those of the preamble included: the next ``sequence_number`` of a response."""
        return self._held_events + self.events

    @property
    def finished(self) -> bool:
        """Whether generation has ended: each choice that began has a finish reason, or the last item is done."""
        return self.state is State.FINISHED and self._begun <= self.finish_reasons.keys()

    @property
    def ended(self) -> bool:
        """Whether nothing more is passed on: the stream is complete, or ended by the upstream's error event.

        In the Responses API a terminal event follows the error event, so there the stream continues to its end.
        """
        return self.complete or (self.failure is not None and (self.dialect is not Dialect.RESPONSES or self._over))

    @property
    def overflowed(self) -> bool:
        """Whether an event, or the preamble, exceeded the cap."""
        return self._framer.overflowed or len(self._held) > self._cap

    def feed(self, data: bytes) -> bytes:
        """Take one read and return the bytes to send now: whole events, unchanged, or ``b""``."""
        return self._pass(self._framer.feed(data))

    def count_known(self, data: bytes, begin: int, end: int) -> tuple[int, int]:
        """Return the number of events in a part of ``data``, and the generated bytes in them.

        Both are 0 unless the part consists of whole events of the known form. Such events may be sent without ``feed``;
        then the caller adds the numbers to ``events`` and ``generated_bytes``.
        """
        if self._shape is None or self._framer.pending:
            return 0, 0
        events, whole, made = self._shape.match(data, begin, end)
        return (events, made) if whole == end else (0, 0)

    def finish(self, *, proper: bool = True) -> bytes:
        """Process the end of the upstream's body; return the events that it completes. An unfinished event is dropped.

        ``proper`` says that the body ended as its framing says. It is false for a broken connection, and for a body
        that only the end of its connection delimits. Afterwards ``complete`` tells whether the answer is whole.
        """
        self._over = True
        out = self._pass(self._framer.finish())
        if not proper or self.failure is not None:
            return out
        if self.dialect is Dialect.OPEN:
            out = bytes(self._held) + out
            self._held.clear()
            self._move(Sign.END)
        elif self.dialect in (Dialect.CHAT, Dialect.MESSAGES) and self.finished:
            self._move(Sign.END)
        return out

    def end(self) -> End:
        """Return the reason why a complete stream ended."""
        return End.UPSTREAM_ERROR if self.failure is not None else end_of(self.finish_reasons.values())

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
        """Count the leading events of a block that have the known form, or from which a new form can be learnt.

        Return the offset of their end.
        """
        at, end = 0, len(block)
        while at < end:
            if self._shape is not None:
                events, at, made = self._shape.match(block, at, end)
                self.events += events
                self.generated_bytes += made
            if at == end or not self._lessons:
                break
            event = sse.first(block, at)
            if self._is_marked(event):
                break
            self._lessons -= 1
            self._shape = EventShape.of(event)
            self._count(event)
            at += len(event)
        return at

    def _pass_unlike(self, block: bytes) -> bytes:
        """Search events for markers."""
        if self._is_marked(block):
            return self._pass_marked(block)
        self._count(block)
        return block

    def _count(self, block: bytes) -> None:
        """Count events without a marker whose lines end with LF, their generated bytes, and choices that began."""
        self.events += block.count(b"\ndata:") + block.startswith(b"data:")
        self._weigh(block)
        if self.dialect is Dialect.CHAT and not self._indices.issuperset(_INDEX.findall(block) or (b"0",)):
            for event in sse.split(block):
                with contextlib.suppress(*DECODE_ERRORS):  # an event that cannot be decoded begins no choice
                    self._note_source(read(sse.data_of(event), Chunk))

    def _weigh(self, block: bytes) -> None:
        """Add the generated bytes of a block."""
        if self.dialect is not Dialect.CHAT:
            made = _MESSAGE_MADE if self.dialect is Dialect.MESSAGES else _DELTA_MADE
            self.generated_bytes += sum(map(len, made.findall(block)))
            return
        self.generated_bytes += sum(map(len, _CHAT_MADE.findall(block)))
        if b'"audio":' in block:
            self.generated_bytes += sum(map(len, _AUDIO_MADE.findall(block))) // AUDIO_BYTES

    def _note_source(self, source: Chunk | Response | Message | None) -> None:
        """Record the model that served the answer, and the choices that have begun."""
        if source is None:
            return
        self.model = source.model if isinstance(source.model, str) else self.model
        if isinstance(source, Message):
            return
        self.service_tier = source.service_tier if isinstance(source.service_tier, str) else self.service_tier
        if isinstance(source, Chunk):
            for choice in source.choices or ():
                self._begun.add(choice.index)
                self._indices.add(b"%d" % choice.index)

    def _is_marked(self, block: bytes) -> bool:
        return any(map(block.__contains__, self._markers))

    def _pass_preamble(self, block: bytes) -> bytes:
        """Hold back events until one of them is output; then release all."""
        start = 0
        for event in sse.split(block):
            if not self._is_preamble(event) or (self.background and self.response_id is not None):
                self._move(Sign.OUTPUT)
                held = bytes(self._held)
                self._held.clear()
                return held + self._pass(block[start:])
            if not (self._skip_empty and _is_without_choices(event)):
                self._held += event
                self._held_events += bool(sse.data_of(event))
            start += len(event)
        return b""

    def _pass_marked(self, block: bytes) -> bytes:
        """Decode each event of a block that contains a marker. The form is forgotten: later events may differ."""
        self._shape = None
        self._weigh(block)
        keep = []
        for event in sse.split(block):
            if self._note(event):
                keep.append(event if self.failure is None or self._redactor is None else self._redactor.events(event))
            if self.state is State.DONE or (self.failure is not None and self.dialect is not Dialect.RESPONSES):
                break
        return b"".join(keep)

    def _is_preamble(self, event: bytes) -> bool:
        data = sse.data_of(event)
        if not data:
            return True
        try:
            if self.dialect is Dialect.CHAT:
                chunk = msgspec.json.decode(data, type=Chunk)
                self._note_source(chunk)
                return is_chat_preamble(chunk)
            if self.dialect is Dialect.RESPONSES:
                said = msgspec.json.decode(data, type=ResponseEvent)
                self._note_source(said.response)
                if said.response is not None and said.response.id is not None:
                    self.response_id = said.response.id
                return said.type in _RESPONSES_PREAMBLE
            if self._message_usage is not None:
                began = msgspec.json.decode(data, type=MessageEvent)
                if began.type in _MESSAGES_PREAMBLE:
                    self._note_message(began, self._message_usage)
                return began.type in _MESSAGES_PREAMBLE
        except DECODE_ERRORS:
            return False  # not valid here: pass it on unchanged
        return False

    def _note(self, event: bytes) -> bool:
        """Update the state from an event; return whether to pass the event on."""
        data = sse.data_of(event)
        if sse.is_done(data):
            self._move(Sign.TERMINAL)
            return True
        if data:
            self.events += 1
        try:
            if self.dialect is Dialect.CHAT:
                return self._note_chunk(read(data, Chunk))
            if self._message_usage is not None:
                self._note_message(read(data, MessageEvent), self._message_usage)
                return True
            self._note_response(read(data, ResponseEvent))
        except DECODE_ERRORS:
            pass  # a comment, or bytes to pass on unchanged
        return True

    def _note_chunk(self, chunk: Chunk) -> bool:
        if not is_empty(chunk.error):
            self._fail(bytes(chunk.error))
            return True
        self._note_source(chunk)
        for choice in chunk.choices or ():
            if choice.finish_reason:
                self.finish_reasons[choice.index] = choice.finish_reason
                self._move(Sign.FINISH)
        if is_usage(chunk.usage):
            self._usage = reported(chunk.usage) or self._usage
            self._counted = self.finished and self._usage is not None
            return not self._strip_usage or bool(chunk.choices)
        return not self._skip_empty or chunk.choices != []

    def _fail(self, error: bytes) -> None:
        """Keep the first error. If no output came before it, it can still become an HTTP error."""
        if self.failure is None:
            self.failure = error if self._redactor is None else self._redactor.json(error)
            self.failed_first = self.events <= 1

    def _note_response(self, event: ResponseEvent) -> None:
        response = event.response
        self._note_source(response)
        if event.type == "error" or event.type == "response.failed" or not is_empty(event.error):
            self._fail(b"null" if is_empty(event.error) else bytes(event.error))
            self.cause = self.cause or cause_of(event)
        if response is not None:
            self._usage = with_tools(reported(response.usage), response.tool_usage) or self._usage
        else:
            self._usage = reported(event.usage) or self._usage
        self._counted = self._usage is not None
        if event.type == "response.output_item.done":
            self._move(Sign.FINISH)
            if event.item is not None:
                self.items += (event.item,)
        elif event.type == "response.output_item.added":
            self._move(Sign.OUTPUT)
        if event.type not in _RESPONSES_TERMINAL:
            return
        self._move(Sign.TERMINAL)
        reason = event.type.removeprefix("response.")
        if response is not None and response.incomplete_details is not None:
            reason = response.incomplete_details.reason or reason
        self.finish_reasons[0] = reason

    def _note_message(self, event: MessageEvent, usage: "MessageUsage") -> None:
        message = event.message
        if event.type == "error" or not is_empty(event.error):
            self._fail(b"null" if is_empty(event.error) else bytes(event.error))
            return
        self._note_source(message)
        self._usage = usage.add(message.usage if message is not None else event.usage) or self._usage
        self.service_tier = usage.service_tier or self.service_tier
        if event.delta is not None:
            self.items += container_in(event.delta.container)
        if event.delta is not None and event.delta.stop_reason is not None:
            reason = event.delta.stop_reason
            self.finish_reasons[0] = STOP_REASONS.get(reason, reason)
            self._counted = self._usage is not None
            self._move(Sign.FINISH)
        if event.type == "message_stop":
            self._move(Sign.TERMINAL)


def _is_without_choices(preamble: bytes) -> bool:
    """Whether an event of the preamble is a chunk whose list of choices is empty."""
    try:
        return msgspec.json.decode(sse.data_of(preamble), type=Chunk).choices == []
    except DECODE_ERRORS:
        return False  # a comment


def _message_usage() -> "MessageUsage":
    from chukei.stream.message_usage import MessageUsage

    return MessageUsage()
