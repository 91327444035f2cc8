"""The numbered migrations of the ledger's schema: plain SQL, one file for each step and kind of database."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chukei.accounts.stores import StoreAway


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration, from the previous number to ``number``. ``statements`` end with semicolons."""

    number: int
    statements: tuple[str, ...]


def migrations(kind: str) -> tuple[Migration, ...]:
    """Return the migrations for ``sqlite`` or ``postgres`` in order.

    The files are named ``0001-what-it-does.sql``. A semicolon at the end of a line ends a statement, so no other
    semicolon may be there.
    """
    # importlib.resources would also find files in an archive, but its import takes four milliseconds at each start.
    folder = Path(__file__).with_name("migrations") / kind
    found = sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql"))
    steps = tuple(Migration(int(name[:4]), split(text)) for name, text in found)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    return steps


def split(text: str) -> tuple[str, ...]:
    """Return the statements of a script."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    parts = "\n".join([*lines, ""]).split(";\n")
    return tuple(f"{part.strip()};" for part in parts if part.strip())


def pending(steps: Sequence[Migration], version: int) -> tuple[Migration, ...]:
    """Return the migrations that a schema of ``version`` still needs; 0 is an empty database.

    Raises:
        StoreAway: a newer relay has migrated the schema.
    """
    newest = steps[-1].number
    if version > newest:
        raise StoreAway(
            f"its schema has number {version}, made by a newer relay, and this one knows up to {newest}: "
            "run the newer relay, or restore a backup from before it"
        )
    return tuple(step for step in steps if step.number > version)
