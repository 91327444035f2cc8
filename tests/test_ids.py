"""Ids that are made once."""

import os
import random
import re
import subprocess
import sys

import pytest

from chukei.ids import new_id


def test_ids_are_32_hexadecimal_digits_and_differ() -> None:
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)


def test_who_seeds_the_common_generator_does_not_repeat_them() -> None:
    before = random.getstate()
    try:
        random.seed(1)
        first = new_id()
        random.seed(1)
        assert new_id() != first
    finally:
        random.setstate(before)


FORKED = """
import os
from chukei.ids import new_id
child = os.fork()
if child:
    os.waitpid(child, 0)
print(new_id())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_makes_others() -> None:
    """As with a server that loads the application before it divides."""
    made = subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, text=True).stdout.split()
    assert len(set(made)) == 2
