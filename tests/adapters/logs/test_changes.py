"""One log line for each change of a deployment, with a suitable level."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from chukei.adapters.logs import changes
from chukei.adapters.logs.changes import log_change
from chukei.adapters.logs.formats import JsonFormatter
from chukei.model import Change, Condition, Deployment

EAST = Deployment("east", "https://contoso.openai.azure.com", "gpt-4o", quota_group="sub-1")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Collect what the log of changes writes, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger, level, handed = changes.logger, changes.logger.level, changes.logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = handed


@pytest.mark.parametrize(
    ("condition", "why", "level", "words"),
    [
        (Condition.COOLING, "upstream_429", "info", "is busy (upstream_429) and left alone for 12.5 s"),
        (Condition.CLOSED, "recovered", "info", "answers again"),
        (Condition.OPEN, "upstream_500", "warning", "fails (upstream_500)"),
        (Condition.OPEN, "connect_error", "warning", "fails (connect_error)"),
        (Condition.OPEN, "upstream_unauthorized", "error", "is misconfigured (upstream_unauthorized)"),
        (Condition.OPEN, "upstream_forbidden", "error", "is misconfigured"),
        (Condition.OPEN, "deployment_not_found", "error", "is misconfigured"),
        (Condition.OPEN, "tls_unverified", "error", "is misconfigured"),
        (Condition.OPEN, "unexpected_redirect", "error", "is misconfigured"),
        (Condition.OPEN, "unexpected_answer", "warning", "fails (unexpected_answer)"),
    ],
)
def test_each_change_has_its_level_and_says_which_deployment(
    lines: io.StringIO, condition: Condition, why: str, level: str, words: str
) -> None:
    log_change(EAST, Change(condition, EAST.identity, 12.5, why))
    [line] = lines.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["logger"]) == (level, "chukei.pool")
    assert fields["event"].startswith("deployment east ")
    assert words in fields["event"]
    assert "contoso" not in line  # the name is enough, and it is the operator's own


def test_what_concerns_one_caller_only_says_so(lines: io.StringIO) -> None:
    log_change(EAST, Change(Condition.OPEN, EAST.identity, 12.5, "upstream_timeout", only="eve"))
    log_change(EAST, Change(Condition.OPEN, EAST.identity, 60.0, "upstream_unauthorized", only="eve"))
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["level"] for line in found] == ["warning", "error"], "it may be the only caller that there is"
    assert all(line["event"].endswith(", for eve only") for line in found)
