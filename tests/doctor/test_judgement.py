"""What the arrival of events says. The senders' and the readers' clocks are virtual here."""

from collections.abc import Sequence

from tests.rows import rows

from chukei.doctor.judgement import pace_of

SENT = [place * 100 for place in range(40)]
"""Milliseconds at which the events of a stream are sent."""


def stream(arrivals: Sequence[float], sent: Sequence[int] = SENT) -> list[tuple[float, bytes]]:
    """Return the pieces of a stream whose events arrive at these seconds, one read for each moment."""
    pieces: dict[float, bytes] = {}
    for at, milliseconds in zip(arrivals, sent, strict=True):
        pieces[at] = pieces.get(at, b"") + b"id: %d\ndata: x\n\n" % milliseconds
    return [*pieces.items(), (max(arrivals), b"data: [DONE]\n\n")]


def in_groups(size: int) -> list[float]:
    """Return arrivals of events that something collects until it has ``size`` of them."""
    return [5.0 + (place // size * size + size - 1) / 10 for place in range(len(SENT))]


STEADY = [5.0 + each / 1000 for each in SENT]
CASES = {
    "steady": (STEADY, False, False),
    "all at the end": ([9.0] * len(SENT), True, False),
    "all within a tenth of a second": ([9.0 + place / 400 for place in range(len(SENT))], True, False),
    "in fours": (in_groups(4), False, True),
    "in twos": (in_groups(2), False, True),
    "a busy reader once": ([max(each, 5.6) for each in STEADY], False, False),
    "late, but evenly": ([each + 30 for each in STEADY], False, False),
}


@rows(("arrivals", "buffered", "merged"), CASES.values(), ids=CASES)
def test_how_events_arrive(arrivals: list[float], buffered: bool, merged: bool) -> None:
    pace = pace_of(stream(arrivals))
    assert (pace.done, len(pace.arrivals)) == (True, len(SENT))
    assert pace.buffered is buffered
    assert buffered or pace.merged is merged


def test_a_sender_that_pauses_is_not_taken_for_a_buffer() -> None:
    """The relay itself sends nothing for a while, and then several events at once."""
    sent = [0] * 20 + [4000] * 20
    pace = pace_of(stream([5 + each / 1000 for each in sent], sent))
    assert not pace.buffered
    assert pace.merged_share == 0


def test_events_without_the_times_of_their_sending() -> None:
    pieces = [(place / 10, b"data: x\n\n") for place in range(40)]
    assert not pace_of(pieces).buffered
    assert pace_of([(4.0, b"data: x\n\n" * 40)]).buffered


def test_delays_count_from_the_fastest_event() -> None:
    late = [at + (0.4 if place % 2 else 0.0) for place, at in enumerate(STEADY)]
    pace = pace_of(stream(late))
    assert [round(each, 3) for each in pace.delays[:4]] == [0.0, 0.4, 0.0, 0.4]
    assert pace.measured()["delay_max_ms"] == 400.0


def test_events_are_found_however_the_bytes_are_split() -> None:
    whole = b"id: 1\r\ndata: x\r\n\r\n: comment\n\nid: 2\ndata: y\n\ndata: [DONE]\n\n"
    for cut in range(len(whole)):
        pace = pace_of([(1.0, whole[:cut]), (2.0, whole[cut:])])
        assert (pace.done, [each.sent for each in pace.arrivals]) == (True, [0.001, 0.002]), cut


def test_a_stream_that_is_cut() -> None:
    pace = pace_of(stream(STEADY)[:10])
    assert (pace.done, len(pace.arrivals)) == (False, 10)
    assert pace_of([]).measured()["events"] == 0
