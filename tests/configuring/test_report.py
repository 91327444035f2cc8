"""A report holds every value of the source once, and none of their contents."""

import json

import pytest
from tests.configuring.imported import entry, litellm

from chukei.configuring.import_source import read
from chukei.configuring.report import Outcome, Report, Variable

SOURCE = read(b"a: {b: 1, c: [2, 3]}\nd: 4\ne: {}\n")


def test_a_container_is_reported_by_all_values_below() -> None:
    report = Report()
    report.mapped(SOURCE.root.table["a"], "pool.attempts", "alike")

    assert {path: each.outcome for path, each in report.entries.items()} == dict.fromkeys(
        ("a.b", "a.c[0]", "a.c[1]"), Outcome.MAPPED
    )


def test_no_value_is_reported_twice() -> None:
    report = Report()
    report.dropped(SOURCE.root.table["a"].table["b"], "why")
    with pytest.raises(AssertionError, match=r"a\.b is reported twice"):
        report.mapped(SOURCE.root.table["a"], None, "alike")


def test_what_nothing_claims_is_dropped_as_unknown_and_never_left_out() -> None:
    report = Report()
    report.mapped(SOURCE.root.table["d"], None, "alike")
    report.finish(SOURCE)

    assert set(report.entries) == {leaf.path for leaf in SOURCE.root.leaves()}
    assert report.entries["e"].message == "unknown to the importer"
    assert report.summary == "5 values: 1 mapped, 0 approximated, 4 dropped"


def test_a_block_that_only_feeds_aliases_is_named_as_such() -> None:
    imported = litellm("defaults: &d {api_version: v1}\nmodel_list: []\nlitellm_settings: {<<: *d}\n")

    assert entry(imported, "defaults.api_version").message == "only holds what aliases repeat elsewhere"


def test_a_key_that_stands_twice_is_in_the_report() -> None:
    imported = litellm("litellm_settings: {num_retries: 1, num_retries: 2}")

    assert imported.report.assumed == [
        "litellm_settings.num_retries (line 1) stands twice in the file; the last one counts"
    ]


def test_the_text_has_each_sentence_once_with_the_values_to_which_it_applies() -> None:
    report = Report()
    report.dropped(SOURCE.root.table["a"], "for a reason")
    report.approximated(SOURCE.root.table["d"], "pool.attempts", "nearly")
    report.need(Variable("KEY", "the key", secret=True))
    report.need(Variable("CHUKEI_A__B", "an address", '"$BASE"'))
    report.extras.add("redis")
    report.assume("something")
    report.assume("something")

    text = report.text()

    assert text.count("for a reason") == text.count("- something") == 1
    assert "      a.c[1] (line 1)\n" in text
    assert "      d (line 2) → pool.attempts\n" in text
    assert '  KEY=…\n      the key\n  CHUKEI_A__B="$BASE"\n' in text
    assert "import again with --value" in text.replace("\n  ", " ")
    assert text.endswith("extras to install: redis")


def test_programs_get_the_same_as_json() -> None:
    report = Report()
    report.mapped(SOURCE.root.table["d"], "pool.attempts", "alike")
    report.finish(SOURCE)
    report.need(Variable("KEY", "the key", secret=True))

    found = json.loads(report.json())

    assert found["counts"] == {"mapped": 1, "approximated": 0, "dropped": 4}
    assert [each["path"] for each in found["values"]] == ["a.b", "a.c[0]", "a.c[1]", "d", "e"]
    assert found["values"][3] == {
        "path": "d",
        "line": 2,
        "outcome": "mapped",
        "target": "pool.attempts",
        "message": "alike",
    }
    assert found["variables"] == [{"name": "KEY", "meaning": "the key", "secret": True, "value": None}]
