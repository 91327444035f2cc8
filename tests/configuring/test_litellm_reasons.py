"""The tables of what has no counterpart: no key in two of them, and pages that exist."""

import re

import pytest
from tests.markdown import ROOT, anchors, read
from tests.rows import rows

from chukei.config.parameters import PARAMETERS
from chukei.configuring import litellm_reasons
from chukei.configuring.litellm_reasons import GENERAL, INFO, LITELLM, PARAMS, ROUTER, TOP
from chukei.configuring.litellm_settings import SECTIONS

TABLES = {"TOP": TOP, "PARAMS": PARAMS, "INFO": INFO, "LITELLM": LITELLM, "ROUTER": ROUTER, "GENERAL": GENERAL}


@rows("name", TABLES)
def test_every_reason_is_a_sentence_without_a_capital_or_a_stop(name: str) -> None:
    for reason in TABLES[name].values():
        assert re.fullmatch(r"([a-z]|Azure|LiteLLM|Claude).*[^.]", reason), reason


@rows("name", TABLES)
def test_every_page_that_a_reason_names_exists(name: str) -> None:
    for reason in TABLES[name].values():
        for page, anchor in re.findall(r"(docs/[a-z-]+\.md)(?:#([a-z-]+))?", reason):
            assert (ROOT / page).is_file(), reason
            assert not anchor or anchor in anchors(read(page)), reason


def test_no_parameter_that_is_mapped_is_dropped_too() -> None:
    assert set(PARAMS) & PARAMETERS <= {"metadata"}


def test_no_key_has_two_reasons() -> None:
    with pytest.raises(ValueError, match="twice has two reasons"):
        litellm_reasons.table_of(("one", "once twice"), ("two", "twice"))


def test_keys_with_a_handler_are_dropped_only_for_what_the_handler_leaves() -> None:
    both = {key for _, handlers, reasons in SECTIONS for key in handlers.keys() & reasons.keys()}
    assert both == {"cache_params", "cache_kwargs", "api_key", "api_base", "api_version"}
