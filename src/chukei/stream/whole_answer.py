"""Usage, model and finish reasons of a whole JSON answer, read from its bytes as they pass, at any size. Pure.

Small answers are decoded. Of a larger one, only the relevant members of its top-level object are kept, without values
nested deeper than a choice's own members. That takes linear time and bounded memory: blocks without relevant members
are skipped by a few calls in C, and only the others are examined token by token.
"""

import re
from itertools import accumulate
from typing import Self, TypeVar

import msgspec

from chukei.model import End
from chukei.stream.events import STOP_REASONS, Item, container_in, end_of
from chukei.usage import DECODE_ERRORS, Usage, reported, tier_in, with_tools

SMALL_BYTES = 256 * 1024
"""Bytes up to which an answer is kept and decoded; nearly all have a few kilobytes."""

BLOCK_BYTES = 4 * 1024
"""Bytes that are skipped or examined at a time; a small part of one embedding."""

MOST_KEPT_BYTES = 256 * 1024
"""Bytes kept of each relevant member of a larger answer; 128 choices take a tenth of that."""

LONGEST_STRING = 1024
"""Bytes of the longest string that is kept; a longer one is a text, not a name."""

PENDING = frozenset({"queued", "in_progress"})
"""The states of a response that has not ended; in a report they have the place of its finish reason."""

_DEPTHS = {
    b'"usage"': 9,
    b'"tool_usage"': 9,
    b'"model"': 1,
    b'"service_tier"': 1,
    b'"status"': 1,
    b'"incomplete_details"': 2,
    b'"stop_reason"': 1,
    b'"choices"': 3,
    b'"output"': 3,
    b'"container"': 2,
}
"""The relevant top-level members, and their depth to keep: 1 is a string, 3 includes the objects of a list."""

_WHITE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_BODY = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING = re.compile(rb'"' + _BODY + rb'"', re.DOTALL)
_BEYOND = re.compile(rb'"' + _BODY + rb'(")?|[{}\[\]]', re.DOTALL)
_MEMBER = re.compile(rb'"' + _BODY + rb'(")?|[{}\[\],]', re.DOTALL)
_STEPS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"{}[]")
_PAIR = b"\x01\xff"


T = TypeVar("T")


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    reason: str | None = None


class _Answer(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()
    tool_usage: msgspec.Raw = msgspec.Raw()
    model: str | None = None
    service_tier: str | None = None
    status: str | None = None
    incomplete_details: _Details | None = None
    stop_reason: str | None = None
    choices: list[_Choice] | None = None
    output: list[Item] | None = None
    container: msgspec.Raw = msgspec.Raw()


class _Members(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()
    tool_usage: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()
    incomplete_details: msgspec.Raw = msgspec.Raw()
    stop_reason: msgspec.Raw = msgspec.Raw()
    choices: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    container: msgspec.Raw = msgspec.Raw()


class AnswerReport(msgspec.Struct, frozen=True):
    """What a whole answer reports: ``usage``, ``model``, ``service_tier``, and the finish reason of each choice.

    ``items`` are the items of a response. ``requests`` are those that a batch has answered.
    """

    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None
    finish_reasons: dict[int, str] = msgspec.field(default_factory=dict)
    items: tuple[Item, ...] = ()
    requests: int = 0

    @property
    def pending(self) -> bool:
        """Whether it is a response that is still being made in the background."""
        return self.finish_reasons.get(0) in PENDING

    @property
    def end(self) -> End:
        """How the answer ended."""
        reasons = self.finish_reasons.values()
        return End.UPSTREAM_ERROR if "failed" in reasons else end_of(reasons)

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Decode a whole JSON answer. Members that are missing or of another type are left out."""
        answer = _read(_ANSWER, body) or _one_by_one(body)
        reasons = {each.index: each.finish_reason for each in answer.choices or () if each.finish_reason}
        if not answer.choices:
            details = answer.incomplete_details
            reason = (details.reason if details is not None else None) or answer.status or answer.stop_reason
            if reason:
                reasons[0] = STOP_REASONS.get(reason, reason)
        tier = answer.service_tier if answer.stop_reason is None else tier_in(answer.usage)
        usage, items = reported(answer.usage), tuple(answer.output or ())
        if answer.tool_usage:
            usage = with_tools(usage, answer.tool_usage)
        if answer.container:
            items += container_in(answer.container)
        return cls(usage, answer.model, tier, reasons, items)


def _one_by_one(body: bytes) -> _Answer:
    """Decode each member separately, for an answer in which a member has an unexpected type."""
    members = _read(_MEMBERS, body) or _Members()
    return _Answer(
        usage=members.usage,
        tool_usage=members.tool_usage,
        model=_read(_TEXT, members.model),
        service_tier=_read(_TEXT, members.service_tier),
        status=_read(_TEXT, members.status),
        incomplete_details=_read(_DETAILS, members.incomplete_details),
        stop_reason=_read(_TEXT, members.stop_reason),
        choices=_read(_CHOICES, members.choices),
        output=_read(_ITEMS, members.output),
        container=members.container,
    )


_ANSWER = msgspec.json.Decoder(_Answer)
_MEMBERS = msgspec.json.Decoder(_Members)
_CHOICES = msgspec.json.Decoder(list[_Choice])
_ITEMS = msgspec.json.Decoder(list[Item])
_DETAILS = msgspec.json.Decoder(_Details)
_TEXT = msgspec.json.Decoder(str)


def _read(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T | None:
    """Decode a value; None if it is missing or of another type."""
    raw = bytes(raw)
    if raw in (b"", b"null"):
        return None
    try:
        return decoder.decode(raw)
    except DECODE_ERRORS:
        return None


class Reader:
    """Reads the bytes of one answer; ``report`` returns the result. Anything but a JSON object is ignored."""

    __slots__ = ("_members", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] | None = []  # None if the answer is not an object
        self._size = 0
        self._members: _Picker | None = None

    @property
    def reads(self) -> bool:
        """Whether the answer may be a JSON object."""
        return self._parts is not None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._members is not None:
            self._members.feed(data)
        elif self._parts is not None and data:
            if not self._size:
                data = data.lstrip(_BOM + _WHITE)
                if data[:1] not in (b"{", b""):
                    self._parts = None
                    return
            self._parts.append(data)
            self._size += len(data)
            if self._size > SMALL_BYTES:
                self._members = _Picker()
                for part in self._parts:
                    self._members.feed(part)
                self._parts.clear()

    def report(self) -> AnswerReport:
        """Return the report of the answer so far; for a small answer only once it is complete."""
        if self._members is not None:
            return AnswerReport.of(self._members.object())
        return AnswerReport.of(b"".join(self._parts)) if self._parts else AnswerReport()


class _Picker:
    """Extracts members of a JSON object. Invalid JSON leads to wrong members, never to an exception."""

    __slots__ = ("_carried", "_depth", "_ended", "_found", "_inside", "_keep", "_key", "_value")

    def __init__(self) -> None:
        self._depth = 0
        self._ended = False
        self._inside = False  # inside a string that is not kept
        self._carried = b""
        self._key: bytes | None = None
        self._keep = 0
        self._value = bytearray()
        self._found: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Take the next bytes; bytes after the object's end are ignored."""
        for begin in range(0, len(data), BLOCK_BYTES):
            if self._ended:
                return
            block = data[begin : begin + BLOCK_BYTES]
            if self._inside and b'"' not in block and b"\\" not in block and not self._carried:
                continue  # for example, inside an image
            self._take((b'"' if self._inside else b"") + self._carried + block)

    def object(self) -> bytes:
        """Return an object of the extracted members, without an unfinished one."""
        return b"{" + b",".join(key + b":" + value for key, value in self._found.items()) + b"}"

    def _take(self, block: bytes) -> None:
        self._carried = b""
        if self._depth <= max(self._keep, 1) or not self._passed_over(block):
            self._look_at(block)

    def _passed_over(self, block: bytes) -> bool:
        """Skip a block if all of it is nested deeper than the values to keep; update the depth."""
        # Half an escape at the end is carried over. The additional quotation mark closes an unfinished string, or else
        # remains by itself.
        whole = block if (len(block) - len(block.rstrip(b"\\"))) % 2 == 0 else block[:-1]
        rest = _STRING.sub(b"", whole + b'"')
        steps = rest.translate(_STEPS, _NO_BRACKET).replace(_PAIR, b"").replace(_PAIR, b"").replace(_PAIR, b"")
        lowest = last = self._depth
        if steps:
            depths = list(accumulate(memoryview(steps).cast("b"), initial=self._depth))
            lowest, last = min(depths), depths[-1]
        if lowest <= max(self._keep, 1):
            return False
        self._depth = last
        self._inside = not rest.endswith(b'"')
        self._carried = block[len(whole) :]
        return True

    def _look_at(self, block: bytes) -> None:
        at = kept_from = 0
        inside, self._inside = self._inside, False  # whether the block begins inside a string
        while not self._ended:
            found = (_MEMBER if self._depth <= 1 else _BEYOND).search(block, at)
            if found is None:
                break
            token, begin, at = found[0], found.start(), found.end()
            self._add(block[kept_from:begin])
            kept_from = at
            if token[:1] == b'"':
                if found.lastindex is None:  # the string is unfinished
                    self._inside = inside or len(token) > LONGEST_STRING
                    self._carried = block[at:] if self._inside else block[begin:]
                    return
                self._string(b'""' if inside or len(token) > LONGEST_STRING else token)
            else:
                self._bracket(token)
            inside = False
        self._add(block[kept_from:])

    def _add(self, part: bytes) -> None:
        if 0 < self._depth <= self._keep and len(self._value) + len(part) <= MOST_KEPT_BYTES:
            self._value += part

    def _string(self, token: bytes) -> None:
        if self._depth == 1 and self._key is None:
            self._key, self._keep = token, _DEPTHS.get(token, 0)
        else:
            self._add(token)

    def _bracket(self, token: bytes) -> None:
        if token in b"{[":
            self._add(token)
            self._depth += 1
        elif token in b"}]":
            self._depth -= 1
            if self._depth > 0:
                self._add(token)
        if self._depth == 0 or token == b",":
            if self._keep and self._key is not None:
                self._found[self._key] = bytes(self._value).lstrip(_WHITE + b":")
            self._key, self._keep = None, 0
            self._value.clear()
            self._ended = self._depth == 0
