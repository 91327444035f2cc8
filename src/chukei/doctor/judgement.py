"""What the arrival of the test stream's events says about the way. Pure.

Each event carries the time of its sending, so a delay on the way is not taken for one at the sender, and the other way
round. The two clocks differ, so only differences count.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from chukei.gateway.pages import TEST_SECONDS

MERGED_SHARE = 0.25
"""The share of events that may arrive together with the one before; a busy machine merges some."""

SLOW_EVENT_SECONDS = 0.25
"""The delay of half of the events, beyond that of the fastest one, from which the way adds latency."""

SLOW_ANSWER_SECONDS = 1.0
"""Seconds from the request to the head of the answer, less one way there and back, from which the way adds latency."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event: seconds from the request to its arrival, and from the first sending to its own; None if unknown."""

    at: float
    sent: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """The arrivals of all events of a stream, and whether ``[DONE]`` came after them."""

    arrivals: Sequence[Arrival]
    done: bool

    @property
    def sendings(self) -> list[float]:
        """When each event was sent, in seconds since the first. A relay that does not say so keeps its usual pace."""
        given = [arrival.sent for arrival in self.arrivals if arrival.sent is not None]
        return (
            given if len(given) == len(self.arrivals) else [TEST_SECONDS * place for place in range(len(self.arrivals))]
        )

    @property
    def gaps(self) -> list[float]:
        """Seconds between two arrivals."""
        return _gaps([arrival.at for arrival in self.arrivals])

    @property
    def sent_gaps(self) -> list[float]:
        """Seconds between two sendings."""
        return _gaps(self.sendings)

    @property
    def buffered(self) -> bool:
        """Whether all arrived in a fraction of the time in which they were sent."""
        return len(self.arrivals) > 1 and sum(self.gaps) < sum(self.sent_gaps) / 4

    @property
    def merged_share(self) -> float:
        """The share of events that arrived together with the one before, although they were sent apart."""
        pairs = list(zip(self.gaps, self.sent_gaps, strict=True))
        return sum(arrived < sent / 4 for arrived, sent in pairs) / len(pairs) if pairs else 0.0

    @property
    def merged(self) -> bool:
        """Whether events arrived in larger pieces than they were sent."""
        return self.merged_share > MERGED_SHARE

    @property
    def delays(self) -> list[float]:
        """Seconds by which each event took longer than the fastest one."""
        spent = [arrival.at - sent for arrival, sent in zip(self.arrivals, self.sendings, strict=True)]
        return [each - min(spent) for each in spent]

    def measured(self) -> dict[str, float]:
        """Return the numbers of a report."""
        gaps, sent = self.gaps or [0.0], self.sent_gaps or [0.0]
        numbers = {
            "sent_gap_median_ms": statistics.median(sent) * 1000,
            "gap_median_ms": statistics.median(gaps) * 1000,
            "gap_max_ms": max(gaps) * 1000,
            "delay_median_ms": statistics.median(self.delays or [0.0]) * 1000,
            "delay_max_ms": max(self.delays or [0.0]) * 1000,
            "merged_percent": self.merged_share * 100,
        }
        return {"events": len(self.arrivals)} | {name: round(value, 1) for name, value in numbers.items()}


def _gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def pace_of(pieces: Sequence[tuple[float, bytes]]) -> Pace:
    """Return the pace of a stream from the pieces of its body, each with the time of its arrival."""
    arrivals, done, rest = [], False, b""
    for at, piece in pieces:
        *events, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            fields = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
            if fields.get(b"data") == b"[DONE]":
                done = True
            elif b"data" in fields:
                number = fields.get(b"id", b"")
                arrivals.append(Arrival(at, int(number) / 1000 if number.isdigit() else None))
    return Pace(arrivals, done)
