"""The home of the objects that a request refers to, and whether its caller may use them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from chukei.accounts.objects import ObjectRecord
from chukei.accounts.stores import StoreAway
from chukei.objects.errors import not_found, objects_unavailable
from chukei.objects.references import Reference
from chukei.objects.registry import Objects


class Home(NamedTuple):
    """The deployment that a request has to go to, by its identity, and the reference that decides that."""

    identity: str
    reference: Reference


class Homes(NamedTuple):
    """The home of a request, if a reference is known, and the references whose objects nobody owns yet."""

    home: Home | None
    unowned: list[Reference]


async def homes_of(objects: Objects, references: Sequence[Reference], owners: Sequence[str]) -> Homes:
    """Look for the objects of a request; the first known one decides the home.

    Raises:
        CallerError: an object belongs to another caller. The words are the service's for an unknown id.
        Unavailable: 503, an object is unknown, and a store that may know it cannot be asked.
    """
    needed = [each for each in references if each.needed]
    others = [each for each in references if not each.needed]
    try:
        found = await objects.find([each.id for each in needed])
    except StoreAway:
        raise objects_unavailable() from None
    if others:
        told: list[ObjectRecord | None] = [None] * len(others)
        with suppress(StoreAway):
            told = await objects.find([each.id for each in others], needed=False)
        found = [*found, *told]
    home, unowned = None, []
    for each, record in zip([*needed, *others], found, strict=True):
        if record is None or not record.owner:
            unowned.append(each)
        elif record.owner not in owners:
            raise not_found(each.kind, each.id, each.param)
        if record is not None and home is None:
            home = Home(record.identity, each)
    return Homes(home, unowned)
