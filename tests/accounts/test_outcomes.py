"""How a request ended in one word."""

from tests.rows import rows

from chukei.accounts.outcomes import Outcome, outcome_of
from chukei.model import End

EXPECTED = {
    (End.COMPLETED, 200): Outcome.ANSWERED,
    (End.LENGTH, 200): Outcome.ANSWERED,
    (End.CONTENT_FILTER, 200): Outcome.ANSWERED,
    (End.REFUSED, 401): Outcome.REFUSED,
    (End.REFUSED, 503): Outcome.FAILED,
    (End.NO_DEPLOYMENT, 429): Outcome.FAILED,
    (End.REFUSED, None): Outcome.REFUSED,
    (End.UPSTREAM_STATUS, None): Outcome.FAILED,
    (End.UPSTREAM_STATUS, 400): Outcome.REFUSED,
    (End.UPSTREAM_STATUS, 429): Outcome.FAILED,
    (End.UPSTREAM_STATUS, 502): Outcome.FAILED,
    (End.TRUNCATED, 200): Outcome.FAILED,
    (End.CLIENT_ABORTED, 200): Outcome.LEFT,
    (End.CLIENT_STALLED, 200): Outcome.LEFT,
    ("unheard-of", 200): Outcome.FAILED,
    (None, None): Outcome.FAILED,
}


@rows("given", EXPECTED)
def test_an_end_has_an_outcome(given: tuple[str | None, int | None]) -> None:
    end, status = given
    assert outcome_of(end, status) is EXPECTED[given]
