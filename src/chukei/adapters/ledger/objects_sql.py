"""SQL and values for stored objects that both databases share."""

from chukei.accounts.objects import ObjectRecord
from chukei.adapters.ledger.sql import text_of

OBJECT_COLUMNS = ("id", "kind", "identity", "owner", "model", "expires")

FIND_OBJECTS = "SELECT id, kind, identity, owner, model FROM chukei_objects WHERE id"
"""To be followed by a condition for the id."""

DROP_OBJECTS = "DELETE FROM chukei_objects WHERE id IN (SELECT id FROM chukei_objects"
"""To be followed by a condition, a limit and a closing parenthesis."""

KEPT_BY_OWNER = (
    "ON CONFLICT (id) DO UPDATE SET identity = excluded.identity, owner = excluded.owner, model = excluded.model,"
    " expires = excluded.expires WHERE chukei_objects.owner IN (excluded.owner, '')"
)
"""An object may move and is used again, but keeps its first owner."""


def row_of_object(record: ObjectRecord) -> list[str | None]:
    """Return a record's values, which a database never refuses."""
    return [None if value is None else text_of(value) for value in record]
