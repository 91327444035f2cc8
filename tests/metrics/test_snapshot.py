"""Snapshots of several processes become one, and no family grows beyond its bound."""

import msgspec
import pytest
from tests.rows import rows

from chukei.metrics.definitions import (
    ATTEMPTS,
    DEPLOYMENT_STATE,
    DEPLOYMENT_WAIT,
    FIRST_TOKEN,
    LEDGER_WAITING,
    MAX_LABEL,
    OTHER,
    REQUESTS,
    SECONDS,
    STORE_AVAILABLE,
    Family,
)
from chukei.metrics.snapshot import Rows, Sample, Snapshot, bounded, combined, decoded, merge

PLACE = ("chat", "east")
COUNTS = tuple(range(len(SECONDS) + 1))


def snapshot(family: Family, *samples: Sample, most: int = 100) -> Snapshot:
    return Snapshot(most, {family.name: list(samples)})


@rows(
    ("family", "labels", "values", "expected"),
    [
        (ATTEMPTS, (*PLACE, "answered"), (2.0, 3.0, 0.5), 5.5),
        (LEDGER_WAITING, (), (2.0, 3.0, 0.0), 5.0),
        (DEPLOYMENT_WAIT, PLACE, (2.0, 3.0, 0.0), 3.0),
        (STORE_AVAILABLE, ("quota",), (1.0, 0.0, 1.0), 0.0),
        (DEPLOYMENT_STATE, (*PLACE, "open"), (1.0, 0.0, 0.0, 1.0), 0.5),
    ],
)
def test_each_family_is_combined_by_its_rule(
    family: Family, labels: tuple[str, ...], values: tuple[float, ...], expected: float
) -> None:
    whole = combined([snapshot(family, Sample(labels, value)) for value in values])
    assert [(each.labels, each.value) for each in whole.samples(family)] == [(labels, expected)]


def test_histograms_are_added_bucket_by_bucket() -> None:
    one = snapshot(FIRST_TOKEN, Sample(("chat", *PLACE), 1.5, COUNTS))
    [both] = combined([one, one]).samples(FIRST_TOKEN)
    assert both.value == 3.0
    assert both.counts == tuple(2 * count for count in COUNTS)


def test_a_sum_of_sums_is_the_sum_of_all() -> None:
    each = [
        Snapshot(
            100,
            {
                ATTEMPTS.name: [Sample((*PLACE, "answered"), float(number)), Sample((*PLACE, str(number)), 1.0)],
                DEPLOYMENT_STATE.name: [Sample((*PLACE, "open"), float(number % 2))],
            },
        ).encoded()
        for number in range(4)
    ]
    assert merge([merge(each[:3]), each[3]]) == merge(each)
    assert decoded(merge(each)).value(ATTEMPTS, deployment="east") == 6.0 + 4


def test_only_what_this_version_knows_is_combined() -> None:
    odd = Snapshot(100, {"chukei_unknown": [Sample((), 1.0)], ATTEMPTS.name: [Sample(("chat",), 1.0)]})
    assert combined([odd]).families == {ATTEMPTS.name: []}
    shorter = snapshot(FIRST_TOKEN, Sample(("chat", *PLACE), 1.0, (1,)))
    longer = snapshot(FIRST_TOKEN, Sample(("chat", *PLACE), 1.0, (1, 1)))
    assert [each.counts for each in combined([shorter, longer]).samples(FIRST_TOKEN)] == [(1,)]


def test_bytes_that_are_no_snapshot_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        merge([b"nonsense"])


def test_no_snapshots_are_an_empty_one() -> None:
    assert decoded(merge([])).families == {}


# The bound.


def request(model: str, status: str = "200", end: str = "completed") -> tuple[str, ...]:
    return ("chat", model, "east", status, end)


def test_rows_beyond_the_bound_are_counted_as_other() -> None:
    samples = [Sample(request(f"model-{number}"), 1.0) for number in range(1000)]
    found = bounded(REQUESTS, samples, 20)
    assert len(found) == 19
    assert sum(each.value for each in found) == 1000
    assert found[-1].labels == ("chat", OTHER, OTHER, OTHER, "completed")
    assert found[-1].value == 1000 - 18


def test_the_closed_labels_of_others_stay_until_the_last_row() -> None:
    samples = [Sample(request(f"model-{number}", end=f"end-{number}"), 1.0) for number in range(1000)]
    found = bounded(REQUESTS, samples, 20)
    assert len(found) == 20
    assert found[-2].labels == ("chat", OTHER, OTHER, OTHER, "end-18")
    assert found[-1].labels == (OTHER,) * 5
    assert sum(each.value for each in found) == 1000


def test_a_row_once_made_stays() -> None:
    kept = Rows(REQUESTS, 20, list[int])
    first = kept[request("first")]
    for number in range(1000):
        kept[request(f"model-{number}")].append(number)
    assert kept[request("first")] is first
    assert len(kept) <= 20


def test_the_bound_holds_for_all_processes_together() -> None:
    each = [snapshot(REQUESTS, *(Sample(request(f"{at}-{n}"), 1.0) for n in range(18)), most=20) for at in range(9)]
    whole = combined(each)
    assert len(whole.samples(REQUESTS)) <= 20
    assert whole.value(REQUESTS) == 9 * 18


@rows(
    ("label", "expected"),
    [
        ("x" * 1_000_000, "x" * MAX_LABEL),
        ('say "yes"\n', 'say "yes"\ufffd'),
        ("\ud800", "\ufffd"),
        ("中継 é", "中継 é"),
        ("\x00\x1b[31m", "\ufffd\ufffd[31m"),
    ],
)
def test_labels_are_printable_and_short(label: str, expected: str) -> None:
    kept = Rows(ATTEMPTS, 20, list[int])
    counted = kept[*PLACE, label]
    assert list(kept) == [(*PLACE, expected)]
    assert kept[*PLACE, label] is kept[*PLACE, expected] is counted
