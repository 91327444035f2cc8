"""Queries from the definitions: what does not exist is an error, and what is asked for is there."""

import pytest
from monitoring.queries import Reader, any_of

from chukei.metrics import definitions as of

ALL = Reader((), "5m")
CHOSEN = Reader(("job", "model"), "5m")


def test_a_family_or_label_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="chukei_attempts has no label group"):
        ALL.rate(of.ATTEMPTS, "model, group")
    with pytest.raises(ValueError, match="chukei_attempts has no label code"):
        ALL.select(of.ATTEMPTS, 'model="chat"', 'code="upstream_429"')
    with pytest.raises(ValueError, match="chukei_open_streams has no label le"):
        ALL.gauge(of.OPEN_STREAMS, "le")


def test_each_kind_is_read_in_its_own_way() -> None:
    with pytest.raises(ValueError, match="a gauge has no rate"):
        ALL.rate(of.OPEN_STREAMS)
    with pytest.raises(ValueError, match="not a gauge"):
        ALL.gauge(of.ATTEMPTS)
    with pytest.raises(ValueError, match="bucket, sum or count"):
        ALL.rate(of.GAPS)
    with pytest.raises(ValueError, match="bucket, sum or count"):
        ALL.quantile(0.5, of.ATTEMPTS)


def test_what_a_query_says() -> None:
    assert ALL.rate(of.ATTEMPTS) == "sum(rate(chukei_attempts_total[5m]))"
    assert CHOSEN.rate(of.ATTEMPTS, "deployment", any_of("outcome", ("answered", "upstream_5.."))) == (
        'sum by (deployment) (rate(chukei_attempts_total{job=~"$job", model=~"$model", '
        'outcome=~"answered|upstream_5.."}[5m]))'
    )
    assert CHOSEN.gauge(of.WORKERS, combine="max") == 'max(chukei_workers{job=~"$job"})'
    assert (
        ALL.quantile(0.95, of.GAPS, "model", offset="7d")
        == "histogram_quantile(0.95, sum by (model, le) (rate(chukei_stream_gap_seconds_bucket[5m] offset 7d)))"
    )
