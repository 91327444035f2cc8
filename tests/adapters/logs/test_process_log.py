"""The log of a process: its form and its levels. What else becomes a line of it is in ``live/test_json_log.py``."""

import logging
from collections.abc import Iterator

import pytest

from chukei.adapters.logs.formats import JsonFormatter, TextFormatter
from chukei.adapters.logs.levels import LEVELS
from chukei.adapters.logs.process_log import configure_logging
from chukei.config import LogSettings


@pytest.fixture(autouse=True)
def log_of_pytest() -> Iterator[None]:
    """Give pytest its own log back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    LEVELS.configure("info", {})
    logging.getLogger("chukei").setLevel(logging.NOTSET)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_settings_can_be_applied_again_while_the_process_runs() -> None:
    configure_logging(LogSettings("auto", "debug", {"chukei.pool": "error"}), terminal=False)
    [first] = logging.getLogger().handlers
    assert type(first.formatter) is JsonFormatter
    assert logging.getLogger("chukei.request").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("chukei.pool").isEnabledFor(logging.WARNING)
    configure_logging(LogSettings("text", "error"), terminal=False)
    [second] = logging.getLogger().handlers
    assert second is first, "a second handler would write each line twice"
    assert type(second.formatter) is TextFormatter
    assert not logging.getLogger("chukei.request").isEnabledFor(logging.WARNING)
    assert logging.getLogger("chukei.pool").isEnabledFor(logging.ERROR)
