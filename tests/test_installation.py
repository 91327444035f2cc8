"""Advice that fits how this copy was installed."""

from pathlib import Path

from tests.rows import rows

from chukei.installation import command_for, is_clone

ROOT = Path(__file__).parents[1]


@rows("extra", ["identity", "entra", "redis", "postgres"])
def test_in_a_clone_advice_names_a_lock_that_is_there(extra: str) -> None:
    assert is_clone()
    command = command_for(extra)
    assert command.endswith(f" -r requirements/{extra}.txt")
    assert (ROOT / command.rpartition(" ")[2]).is_file()
