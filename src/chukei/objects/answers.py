"""What an answer tells about objects: the ids of those in it, and a list without those of other callers. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from chukei.request.object_routes import ObjectRoute

Json = dict[str, Any]
"""A JSON object."""

_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def read(body: bytes) -> Json:
    """Return a JSON object; empty if it cannot be read as one."""
    try:
        found = msgspec.json.decode(body)
    except _UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def learnt(route: ObjectRoute, answer: Json) -> Iterator[tuple[str, str]]:
    """Yield the kind and id of each object in an answer that belongs to the caller of the request."""
    if route.makes is not None and isinstance(answer.get("id"), str):
        yield route.makes, answer["id"]
    for path, kind in route.mentions:
        found: Any = answer
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, str) and each:
                yield kind, each


def entries_of(page: Json) -> list[Json]:
    """Return the objects in a page of a list: those with an id."""
    data = page.get("data")
    each = data if isinstance(data, list) else []
    return [entry for entry in each if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def listed(page: Json, own: Sequence[Json], *, more: bool) -> bytes:
    """Return a page with only these objects."""
    ids = {"first_id": own[0]["id"], "last_id": own[-1]["id"]} if own else {"first_id": None, "last_id": None}
    return msgspec.json.encode({"object": "list", **page, "data": list(own), **ids, "has_more": more})
