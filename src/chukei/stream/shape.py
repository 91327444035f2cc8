"""How the events of a stream look that only carry text: the same bytes again and again around a few values.

A model's answer is hundreds of events that differ in a token, in a random string that hides the token's length, or in a
counter. Once one of them has been searched for all that matters, the next ones need only be compared with it, which
costs a third. What does not compare is searched as ever, so nothing depends on how Azure writes its events.
"""

import re
from typing import Self

# What differs from event to event: strings without an escape, to begin with, and one number.
_VALUES = re.compile(
    rb'"(?P<name>content|text|refusal|reasoning_content|arguments|delta|obfuscation)":"'
    rb'(?P<text>[^"\\\r\n]*)(?="[,}])'
    rb'|"sequence_number":(?P<number>[0-9]+)(?=[,}])'
)
_STRING = re.compile(rb'(?:[^"\\]|\\.)*(?=")', re.DOTALL)
_QUOTE, _BACKSLASH = b'"', ord("\\")
_LONGEST = 8192


class EventShape:
    """What is the same in every event: up to the first value, and behind each."""

    __slots__ = ("_before", "_behind")

    def __init__(self, before: bytes, behind: tuple[tuple[bytes, bytes, bool], ...]) -> None:
        self._before = before
        # With each part the byte that it begins with, which ends the value, and whether the value was generated.
        self._behind = behind

    @classmethod
    def of(cls, event: bytes) -> Self | None:
        """Return the shape of an event in which nothing matters but its values; None where it has none or is long."""
        if len(event) > _LONGEST or b"\r" in event:
            return None
        found = list(_VALUES.finditer(event))
        if not found:
            return None
        spans = [match.span("number" if match["text"] is None else "text") for match in found]
        ends = [begin for begin, _ in spans[1:]] + [len(event)]
        parts = [event[end:following] for (_, end), following in zip(spans, ends, strict=True)]
        made = [match["name"] not in (None, b"obfuscation") for match in found]
        return cls(event[: spans[0][0]], tuple((part[:1], part, each) for part, each in zip(parts, made, strict=True)))

    def match(self, data: bytes, begin: int, end: int) -> tuple[int, int, int]:
        """Return how many events of this shape stand at ``begin``, before ``end``; where they end; their text's bytes.

        Every quotation mark in them belongs to what is known, or is escaped: so no key, and no event, hides in a value.
        """
        before = self._before
        at, whole, events, text, sum_of_text = begin, begin, 0, 0, 0
        while data.startswith(before, at, end):
            at += len(before)
            for terminator, part, made in self._behind:
                stop = data.find(terminator, at, end)
                if data[stop - 1] == _BACKSLASH or terminator != _QUOTE:
                    stop = _end_of(data, at, stop, terminator)
                if stop < 0 or not data.startswith(part, stop, end) or data.find(b"\n", at, stop) >= 0:
                    break
                if made:
                    text += stop - at
                at = stop + len(part)
            else:
                whole = at
                events += 1
                sum_of_text = text
                if at == end:
                    break
                continue
            break
        # Two of these between quotation marks end an event as well (WHATWG HTML §9.2).
        return (events, whole, sum_of_text) if data.find(b"\r", begin, whole) < 0 else (0, begin, 0)


def _end_of(data: bytes, begin: int, stop: int, terminator: bytes) -> int:
    """Return where a value ends that is a number, or a string with an escape before ``stop``; -1 where it does not."""
    if terminator != _QUOTE:
        return stop if data[begin:stop].isdigit() else -1
    if stop <= begin:
        return stop
    whole = _STRING.match(data, begin)
    return whole.end() if whole is not None else -1
