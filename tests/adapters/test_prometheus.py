"""The page in both text formats, read back by the library's parsers and by promtool."""

import shutil
import subprocess

import pytest
from tests.rows import rows
from tests.scraped import OPENMETRICS, families

from chukei.adapters import process
from chukei.adapters.prometheus import write_page
from chukei.metrics.definitions import (
    ATTEMPTS,
    DEPLOYMENT_STATE,
    FAMILIES,
    FIRST_TOKEN,
    MAX_LABEL,
    REQUESTS,
    SECONDS,
    most_lines,
)
from chukei.metrics.meter import Meter
from chukei.metrics.snapshot import Sample, Snapshot, bounded
from chukei.model import Caller, CallerKind, End
from chukei.record import Attempt, RequestRecord
from chukei.usage import Usage

HOSTILE = [
    'say "yes"',
    "a\\b",
    "line\nend",
    'x"} 1\nforged{a="',
    "\r\n\r\n# EOF\n",
    "\x00\x1b[31m",
    "中継 é ✓",
    "\ud800",
    "m" * 1_000_000,
    "{}=,#",
]


def record(model: str, code: str | None = None, caller: str = "alice", place: str = "east") -> RequestRecord:
    attempt = Attempt(place, code=code, seconds=0.1, usage=Usage(3, 4, 1, 1), hedge=code is not None)
    made = RequestRecord("r", "POST", "/", who=Caller(caller, CallerKind.KEY), operation="chat", model=model)
    made.deployment, made.status, made.end, made.code, made.cost = place, 200, End.COMPLETED, code, 7
    made.tries, made.answering, made.usage = [Attempt("west", code="busy"), attempt], attempt, attempt.usage
    made.stream, made.first_token, made.gaps = True, 0.1, [1] * (len(SECONDS) + 1)
    return made


def full() -> Meter:
    """Return a meter with samples of every kind and every hostile name."""
    meter = Meter(most=100, callers=True)
    meter.watch(lambda: process.readings(1.0))
    meter.observe_lag(0.2)
    for name in HOSTILE:
        meter(record(name, code=name, caller=name))
    meter(RequestRecord("r", "GET", "/", status=403, end=End.REFUSED, code="forbidden", rule=HOSTILE[0]))
    return meter


def page(meter: Meter, accept: str = "") -> str:
    return write_page([meter.snapshot().encoded()], accept)[1].decode()


@rows(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        ("application/openmetrics-text; version=2;q=0.5", None),
        ("application/openmetrics-text;version=abc", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("text/plain;version=1..0,;;=", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0\r\nx: y",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", None),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, content_type: str | None) -> None:
    found, text = write_page([full().snapshot().encoded()], accept)
    if content_type is not None:
        assert found == content_type
    assert text.endswith(b"# EOF\n") == found.startswith("application/openmetrics-text")


def test_both_formats_hold_the_same_samples() -> None:
    snapshot = full().snapshot().encoded()
    kept, text = (families(write_page([snapshot], accept)[1].decode()) for accept in (OPENMETRICS, ""))
    assert kept.keys() == text.keys() == FAMILIES.keys()
    for name in FAMILIES:
        assert sorted(map(str, kept[name].samples)) == sorted(map(str, text[name].samples))


def test_the_parser_finds_what_the_snapshot_holds() -> None:
    snapshot = full().snapshot()
    read = families(write_page([snapshot.encoded()], OPENMETRICS)[1].decode())
    for name, family in FAMILIES.items():
        assert (read[name].type, read[name].unit, read[name].documentation) == (family.kind, family.unit, family.help)
    samples = read[ATTEMPTS.name].samples
    found = {tuple(each.labels.get(label, "") for label in ATTEMPTS.labels): each.value for each in samples}
    assert found == {each.labels: each.value for each in snapshot.samples(ATTEMPTS)}
    assert len(found) == 2 * len(HOSTILE)
    assert max(len(label) for labels in found for label in labels) == MAX_LABEL


def test_buckets_are_cumulative_and_end_with_the_count() -> None:
    counts = (1, 2, *[0] * (len(SECONDS) - 2), 4)
    snapshot = Snapshot(10, {FIRST_TOKEN.name: [Sample(("chat", "gpt", "east"), 5.5, counts)]})
    family = families(write_page([snapshot.encoded()], "")[1].decode())[FIRST_TOKEN.name]
    values = {
        (each.name.removeprefix(f"{FIRST_TOKEN.name}_"), each.labels.get("le")): each.value for each in family.samples
    }
    assert (values["bucket", "0.01"], values["bucket", "0.02"], values["bucket", "81.92"]) == (1, 3, 3)
    assert values["bucket", "+Inf"] == values["count", None] == 7
    assert values["sum", None] == 5.5


def test_labels_without_a_value_are_left_out() -> None:
    snapshot = Snapshot(10, {REQUESTS.name: [Sample(("", "", "", "404", "refused"), 1.0)]})
    assert b'chukei_requests_total{end="refused",status="404"} 1.0\n' in write_page([snapshot.encoded()], "")[1]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, which Debian's prometheus package has")
def test_promtool_finds_nothing_to_say() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page(full()), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_callers_and_deployments_do_not_grow_the_page_beyond_its_bound() -> None:
    meter = Meter(most=200, callers=True)
    deployments = [Sample(("gpt", f"place-{number}", "open"), 1.0) for number in range(1000)]
    meter.watch(lambda: ((DEPLOYMENT_STATE, each.labels, each.value) for each in deployments))
    for number in range(10_000):
        made = record(f"model-{number}", f"code-{number}", f"caller-{number}", f"place-{number % 1000}")
        made.status, made.rule, made.end = number % 500 + 100, f"rule-{number}", list(End)[number % len(End)]
        meter(made)
    other_worker = Meter(most=200, callers=True)
    for number in range(10_000):
        other_worker(record(f"other-{number}", caller=f"other-{number}"))
    text = write_page([each.snapshot().encoded() for each in (meter, other_worker)], "")[1]
    assert text.count(b"\n") <= most_lines(200)
    assert text.count(b"\n") > most_lines(200) / 4, "the load does not reach the bound"
    assert sum(each.value for each in families(text.decode())[REQUESTS.name].samples) == 20_000
    assert len(bounded(DEPLOYMENT_STATE, deployments, 200)) <= 200
