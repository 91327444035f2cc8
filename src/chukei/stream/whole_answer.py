"""What a whole JSON answer says of itself, read from its bytes as they pass, whatever its size. Pure.

Small ones are decoded. Of a larger one only the members of its top-level object that matter are kept, with what nests
deeper than a choice's own members dropped. That takes linear time and bounded memory: blocks in which nothing that is
kept can begin are passed over by a few calls in C, and only the others are looked at token by token.
"""

import re
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Self, TypeVar

import msgspec

from chukei.model import End
from chukei.stream.events import end_of
from chukei.usage import DECODE_ERRORS, Usage, reported

SMALL_BYTES = 256 * 1024
"""Up to here an answer is kept and decoded; nearly all are a few kilobytes."""

BLOCK_BYTES = 4 * 1024
"""How much is passed over at once, or looked at: a small part of what one embedding takes."""

MOST_KEPT_BYTES = 256 * 1024
"""For each member that is kept of a larger answer: 128 choices take a tenth of that."""

LONGEST_STRING = 1024
"""Bytes of a string that is kept; a longer one is a text, not a name."""

_DEPTHS = {
    b'"usage"': 9,
    b'"model"': 1,
    b'"service_tier"': 1,
    b'"status"': 1,
    b'"incomplete_details"': 2,
    b'"choices"': 3,
}
"""The top-level members that matter, and how deep they are kept: 1 is a string, 3 includes the objects of a list."""

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
    model: str | None = None
    service_tier: str | None = None
    status: str | None = None
    incomplete_details: _Details | None = None
    choices: list[_Choice] | None = None


class _Members(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()
    incomplete_details: msgspec.Raw = msgspec.Raw()
    choices: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """What a whole answer says: ``usage``, the ``model`` and ``service_tier`` that served it, how each choice ended."""

    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None
    finish_reasons: dict[int, str] = field(default_factory=dict)

    @property
    def end(self) -> End:
        """How the answer ended."""
        reasons = self.finish_reasons.values()
        return End.UPSTREAM_ERROR if "failed" in reasons else end_of(reasons)

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Return what a whole JSON answer says; what is missing, or of another type, is not said."""
        answer = _read(_ANSWER, body) or _one_by_one(body)
        reasons = {each.index: each.finish_reason for each in answer.choices or () if each.finish_reason}
        if not answer.choices:
            details = answer.incomplete_details
            reason = (details.reason if details is not None else None) or answer.status
            if reason:
                reasons[0] = reason
        return cls(reported(answer.usage), answer.model, answer.service_tier, reasons)


def _one_by_one(body: bytes) -> _Answer:
    """Return what can be read of an answer in which some member is of another type than usual."""
    members = _read(_MEMBERS, body) or _Members()
    return _Answer(
        usage=members.usage,
        model=_read(_TEXT, members.model),
        service_tier=_read(_TEXT, members.service_tier),
        status=_read(_TEXT, members.status),
        incomplete_details=_read(_DETAILS, members.incomplete_details),
        choices=_read(_CHOICES, members.choices),
    )


_ANSWER = msgspec.json.Decoder(_Answer)
_MEMBERS = msgspec.json.Decoder(_Members)
_CHOICES = msgspec.json.Decoder(list[_Choice])
_DETAILS = msgspec.json.Decoder(_Details)
_TEXT = msgspec.json.Decoder(str)


def _read(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T | None:
    """Return what is meant; None where it is missing or of another type."""
    raw = bytes(raw)
    if raw in (b"", b"null"):
        return None
    try:
        return decoder.decode(raw)
    except DECODE_ERRORS:
        return None


class Reader:
    """Takes the bytes of one answer; ``said`` tells what was in them. What is no JSON object costs nothing."""

    __slots__ = ("_members", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] | None = []  # None where it is no object
        self._size = 0
        self._members: _Picker | None = None

    @property
    def reads(self) -> bool:
        """Whether this may be an object, so that there is something to find."""
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
        """Return what the answer has said so far: that of a small one only once it is whole."""
        if self._members is not None:
            return AnswerReport.of(self._members.object())
        return AnswerReport.of(b"".join(self._parts)) if self._parts else AnswerReport()


class _Picker:
    """Picks members out of a JSON object. What is no JSON leads to wrong members, never to an exception."""

    __slots__ = ("_carried", "_depth", "_ended", "_found", "_inside", "_keep", "_key", "_value")

    def __init__(self) -> None:
        self._depth = 0
        self._ended = False
        self._inside = False  # a string that is not kept
        self._carried = b""
        self._key: bytes | None = None
        self._keep = 0
        self._value = bytearray()
        self._found: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Take the next bytes; what follows the object's end means nothing."""
        for begin in range(0, len(data), BLOCK_BYTES):
            if self._ended:
                return
            block = data[begin : begin + BLOCK_BYTES]
            if self._inside and b'"' not in block and b"\\" not in block and not self._carried:
                continue  # within a picture, say
            self._take((b'"' if self._inside else b"") + self._carried + block)

    def object(self) -> bytes:
        """Return an object of the members that were found; one that has not ended is not among them."""
        return b"{" + b",".join(key + b":" + value for key, value in self._found.items()) + b"}"

    def _take(self, block: bytes) -> None:
        self._carried = b""
        if self._depth <= max(self._keep, 1) or not self._passed_over(block):
            self._look_at(block)

    def _passed_over(self, block: bytes) -> bool:
        """Keep count of a block if it lies as a whole deeper than what is kept."""
        # An escape that is not whole waits for its other half. The quotation mark in the end ends a string that has
        # not ended, or else stands for itself.
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
        inside, self._inside = self._inside, False  # what the block begins with, then
        while not self._ended:
            found = (_MEMBER if self._depth <= 1 else _BEYOND).search(block, at)
            if found is None:
                break
            token, begin, at = found[0], found.start(), found.end()
            self._add(block[kept_from:begin])
            kept_from = at
            if token[:1] == b'"':
                if found.lastindex is None:  # it has not ended
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
