"""Stored objects as the stores keep them: where an object is, and to whom it belongs. Pure.

An object is what a resource keeps under an id, such as a response or a file. Its owner is the caller that made it, or
that caller's group. Stores keep digests of ids and owners, no names.
"""

import hashlib
from functools import lru_cache
from typing import NamedTuple

from chukei.model import Caller, CallerKind

OWNER_LETTERS = 32
"""Hexadecimal digits of an owner."""


class ObjectRecord(NamedTuple):
    """What is known about an object.

    ``kind`` is the kind's name, such as ``response``. ``identity`` is the identity of the deployment that keeps it, or
    ``ENDPOINT/`` for an object of the whole resource. ``owner`` is a digest, see ``owner_of``; empty if an earlier
    version, which knew no owners, recorded it. ``model`` is the name of the model that made it, if one did.
    """

    kind: str
    identity: str
    owner: str
    model: str | None = None


@lru_cache(1024)
def owner_of(caller: Caller | None) -> str:
    """Return the owner of a caller's objects. Callers of one kind without a name share an owner."""
    return _digest(f"{caller.kind}:{caller.name}" if caller is not None else "")


def owner_of_group(name: str) -> str:
    """Return the owner of the objects that the members of a group share."""
    return _digest(f"group:{name}")


def owners_of_name(name: str) -> list[str]:
    """Return the owners that callers of a name may have had: one for each way to be authenticated."""
    return [_digest(f"{kind}:{name}") for kind in CallerKind]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=OWNER_LETTERS // 2).hexdigest()
