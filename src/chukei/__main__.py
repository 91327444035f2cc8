"""``python -m chukei`` is the same as ``chukei``."""

from chukei.cli import main

main(prog_name="chukei")
