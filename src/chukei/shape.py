"""How the events of a stream look that only carry text: the same bytes again and again around a few values.

A model's answer is hundreds of events that differ in a token, in a random string that hides the token's length, or in a
counter. Once one of them has been searched for all that matters, the next ones need only be compared with it, which
costs a third. What does not compare is searched as ever, so nothing depends on how Azure writes its events.
"""

import re
from typing import Self

# What differs from event to event: strings without an escape, to begin with, and one number.
_VALUES = re.compile(
    rb'"(?:content|reasoning_content|arguments|delta|obfuscation)":"(?P<text>[^"\\\r\n]*)(?="[,}])'
    rb'|"sequence_number":(?P<number>[0-9]+)(?=[,}])'
)
_STRING = re.compile(rb'(?:[^"\\]|\\.)*(?=")', re.DOTALL)
_QUOTE, _BACKSLASH = b'"', ord("\\")
_LONGEST = 8192


class Shape:
    """What is the same in every event: up to the first value, and behind each."""

    __slots__ = ("_before", "_behind", "_lines")

    def __init__(self, before: bytes, behind: tuple[tuple[bytes, bytes], ...], lines: int) -> None:
        self._before = before
        self._behind = behind  # with each part the byte that it begins with, which ends the value
        self._lines = lines

    @classmethod
    def of(cls, event: bytes) -> Self | None:
        """Return the shape of an event in which nothing matters but its values; None where it has none or is long."""
        if len(event) > _LONGEST or b"\r" in event:
            return None
        spans = [match.span(match.lastgroup or 0) for match in _VALUES.finditer(event)]
        if not spans:
            return None
        ends = [begin for begin, _ in spans[1:]] + [len(event)]
        parts = [event[end:following] for (_, end), following in zip(spans, ends, strict=True)]
        return cls(event[: spans[0][0]], tuple((part[:1], part) for part in parts), event.count(b"\n"))

    def match(self, block: bytes) -> tuple[int, int]:
        """Return how many events of this shape a block begins with, and where they end.

        Every quotation mark in them belongs to what is known, or is escaped: so no key, and no event, hides in a value.
        """
        before = self._before
        at, whole, events = 0, 0, 0
        while block.startswith(before, at):
            at += len(before)
            for terminator, part in self._behind:
                end = _end_of(block, at, terminator)
                if end < 0 or not block.startswith(part, end):
                    break
                at = end + len(part)
            else:
                whole = at
                events += 1
                continue
            break
        return (events, whole) if block.count(b"\n", 0, whole) == events * self._lines else (0, 0)


def _end_of(block: bytes, begin: int, terminator: bytes) -> int:
    """Return where a value ends; -1 where it does not, or is another kind of value."""
    end = block.find(terminator, begin)
    if terminator != _QUOTE:
        return end if block[begin:end].isdigit() else -1
    if end > begin and block[end - 1] == _BACKSLASH:
        whole = _STRING.match(block, begin)
        return whole.end() if whole is not None else -1
    return end
