"""Advice that fits how this copy was installed."""

from pathlib import Path

from chukei.installation import command_for, is_clone

ROOT = Path(__file__).parents[1]


def test_in_a_clone_advice_names_a_lock_that_is_there() -> None:
    assert is_clone()
    command = command_for("identity")
    assert command.endswith(" -r requirements/identity.txt")
    assert (ROOT / command.rpartition(" ")[2]).is_file()
