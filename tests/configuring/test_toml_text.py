"""What is written as TOML is read back as it was."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chukei.configuring import toml_text

# TOML knows no surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUE = st.recursive(
    TEXT | st.booleans() | WHOLE | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(TEXT, TEXT, VALUE)
def test_a_value_is_read_back_as_it_was_written(table: str, key: str, value: toml_text.Value) -> None:
    text = f"{toml_text.table('models', table)}\n{toml_text.key(key)} = {toml_text.value(value)}\n"

    assert tomllib.loads(text) == {"models": {table: {key: value}}}


def test_there_is_no_null() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        toml_text.value(None)  # type: ignore[arg-type]
