"""SQL for stored objects in PostgreSQL, where a batch is one JSON text."""

from chukei.adapters.ledger.objects_sql import KEPT_BY_OWNER, OBJECT_COLUMNS

_TYPES = {"id": "decode(object->>0, 'hex')", "expires": "(object->>5)::timestamptz"}
_VALUES = [_TYPES.get(name, f"object->>{place}") for place, name in enumerate(OBJECT_COLUMNS)]

KEEP_OBJECTS = (
    f"INSERT INTO chukei_objects ({', '.join(OBJECT_COLUMNS)}) SELECT {', '.join(_VALUES)}"  # noqa: S608
    f" FROM jsonb_array_elements($1::text::jsonb) AS objects (object) {KEPT_BY_OWNER}"
)
"""Stores the rows of a list of lists, whose first value is the digest in hexadecimal digits."""

END_OBJECTS = "DELETE FROM chukei_objects WHERE id = ANY($1::bytea[])"
