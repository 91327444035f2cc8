"""What the operations on most kinds of objects do: find, show, list, change, delete and cancel.

``objects.toml`` has the words of each kind. The kinds that a function takes say where an object is: ``("vector_store",
"vector_store_file")`` is one inside another, and the path has an id for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chukei.simulator import azure
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Reply, json_reply
from chukei.simulator.stored import Kept

PAGE = 20  # objects, as the API lists by default
MOST_LISTED = 10_000  # the API's own, of files; of most kinds it is 100
CHANGEABLE = ("name", "metadata", "attributes", "expires_after")


def find(call: Call, *kinds: str) -> Kept:
    """Return the object that the path names; ApiError 404 if this resource does not keep it."""
    shelf, kept = call.stored[kinds[0]], None
    for kind, id_ in zip(kinds, call.ids, strict=False):
        if kept is not None:
            shelf = kept.parts(kind)
        kept = shelf.get(id_)
        if kept is None:
            raise azure.unknown_object(kind, id_)
    assert kept is not None
    return kept


Handler = Callable[[Call], Reply]


def getting(*kinds: str) -> Handler:
    """Return the operation that shows an object."""
    return lambda call: json_reply(find(call, *kinds).look())


def listing(*kinds: str, order: str = "desc") -> Handler:
    """Return the operation that lists the objects of the last kind."""

    def handle(call: Call) -> Reply:
        shelf = find(call, *kinds[:-1]).parts(kinds[-1]) if len(kinds) > 1 else call.stored[kinds[0]]
        return json_reply(page(call, [kept.look() for kept in shelf], kinds[-1], order))

    return handle


def changing(*kinds: str) -> Handler:
    """Return the operation that sets an object's name and metadata."""

    def handle(call: Call) -> Reply:
        kept = find(call, *kinds)
        given = call.object()
        kept.shown |= {name: given[name] for name in CHANGEABLE if name in given}
        return json_reply(kept.look())

    return handle


def deleting(*kinds: str) -> Handler:
    """Return the operation that deletes an object."""

    def handle(call: Call) -> Reply:
        find(call, *kinds)
        within = find(call, *kinds[:-1]).parts(kinds[-1]) if len(kinds) > 1 else call.stored[kinds[0]]
        id_ = call.ids[len(kinds) - 1]
        within.pop(id_)
        return json_reply(azure.deletion(kinds[-1], id_))

    return handle


def cancelling(*kinds: str, status: str = "cancelled") -> Handler:
    """Return the operation that cancels a job; one that has ended stays as it is."""

    def handle(call: Call) -> Reply:
        kept = find(call, *kinds)
        kept.look()
        if kept.progress is not None:
            kept.progress.finish(status)
        return json_reply(kept.shown)

    return handle


def page(call: Call, shown: list[dict[str, Any]], kind: str, order: str = "desc", most: int = PAGE) -> dict[str, Any]:
    """Return a list as the query asks for it: ``order``, ``after``, ``before``, ``limit``. ApiError 400 or 404."""
    wanted = call.query.get("order", order)
    if wanted not in ("asc", "desc"):
        what = f"Invalid value: '{wanted}'. Supported values are: 'asc' and 'desc'."
        raise azure.invalid_value(what, "order")
    rows = shown if wanted == "asc" else shown[::-1]
    for name in ("after", "before"):
        if mark := call.query.get(name):
            at = next((at for at, row in enumerate(rows) if row["id"] == mark), None)
            if at is None:
                raise azure.unknown_object(kind, mark)
            rows = rows[at + 1 :] if name == "after" else rows[:at]
    limit = call.number("limit", most, 1, MOST_LISTED)
    part = rows[:limit]
    return {
        "object": "list",
        "data": part,
        "first_id": part[0]["id"] if part else None,
        "last_id": part[-1]["id"] if part else None,
        "has_more": len(rows) > limit,
    }
