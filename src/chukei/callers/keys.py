"""Callers' keys: their format, creation and verification. Pure.

    chk_3fQ9…(12)_8vKs…(43)2xWm0c
    │   │         │        └ checksum: CRC-32 of all before it
    │   │         └ secret: 256 random bits
    │   └ id: public, in the database, in logs, in `chukei keys list`
    └ prefix: for scanners that search for leaked secrets

A key consists of letters, digits and underscores, so that a double click selects it whole. The checksum detects typing
errors before any look-up. With 256 random bits, one HMAC is enough: guessing is infeasible, and a slow hash would only
help a denial-of-service attack.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from chukei.accounts.ledger import Key
from chukei.config import Secret

PREFIX = b"chk_"

CLOCK_SKEW = timedelta(minutes=5)
"""How far the clock of the machine that created a key may be ahead of this machine's."""

UNPEPPERED = 0
"""The pepper version of keys made without a pepper."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID, _SECRET, _CHECKSUM = 12, 43, 6  # characters of base 62: 71 bits, 256 bits, and 32 bits in the largest case
_FORM = re.compile(rb"(chk_([0-9A-Za-z]{12})_([0-9A-Za-z]{43}))([0-9A-Za-z]{6})")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. ``text`` is shown once and not stored."""

    id: str
    text: Secret


class PresentedKey:
    """The parts of a key that a caller sent. Its repr hides the secret."""

    __slots__ = ("id", "secret")

    def __init__(self, id: str, secret: bytes) -> None:
        self.id = id
        self.secret = secret

    def __repr__(self) -> str:
        return f"PresentedKey({self.id}, …)"


def make() -> NewKey:
    """Create a key from the operating system's random source."""
    id, secret = (_random(length) for length in (_ID, _SECRET))
    body = f"{PREFIX.decode()}{id}_{secret}"
    return NewKey(id, Secret(body + _checksum(body.encode())))


def parse(text: bytes) -> PresentedKey | None:
    """Return the parts of a key, or None if the text is not a well-formed key."""
    found = _FORM.fullmatch(text)
    if found is None or _checksum(found[1]).encode() != found[4]:
        return None
    return PresentedKey(found[2].decode(), found[3])


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: bytes) -> str:
    rest, digits = zlib.crc32(body), ""
    for _ in range(_CHECKSUM):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


class Peppers:
    """Secrets by version, stored outside the database, that are part of each key's digest.

    With a pepper, write access to the database does not suffice to create a valid key. So if any pepper is configured,
    keys made without one are refused, unless ``unpeppered`` allows them.
    """

    def __init__(self, versions: Mapping[int, Secret] | None = None, *, unpeppered: bool = False) -> None:
        self._versions = {version: secret.reveal().encode() for version, secret in (versions or {}).items()}
        self.newest = max(self._versions, default=UNPEPPERED)
        if unpeppered or not self._versions:
            self._versions[UNPEPPERED] = b""

    def __contains__(self, version: int) -> bool:
        return version in self._versions

    def digest(self, secret: bytes, version: int) -> bytes:
        """Return the HMAC-SHA-256 of a key's secret part (RFC 2104). An unknown version counts as the newest."""
        return hmac.digest(self._versions.get(version, self._versions[self.newest]), secret, hashlib.sha256)

    def key_digest(self, key: NewKey) -> tuple[bytes, int]:
        """Return a new key's digest for the database, and the version of its pepper."""
        presented = parse(key.text.reveal().encode())
        assert presented is not None
        return self.digest(presented.secret, self.newest), self.newest

    def __repr__(self) -> str:
        return f"Peppers({sorted(self._versions)})"


class KeyDirectory(Protocol):
    """Finds callers' keys by their public id, without a query for each."""

    async def find(self, id: str) -> Key | None:
        """Return a key's row, or None if no key has this id.

        Raises:
            StoreAway: the keys cannot be looked up.
        """
        ...

    async def any(self) -> bool:
        """Whether any key exists, active or not, as far as this process knows; never queries the database."""
        ...


class Flaw(StrEnum):
    """Why a key is refused. Only the holder of the complete key may learn that it has expired or was revoked."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    NOT_YET = "not_yet"
    UNREADABLE = "unreadable"


_NOBODY = Key("", "", None, secrets.token_bytes(32), UNPEPPERED, datetime.min.replace(tzinfo=UTC), None, None, None)
"""Compared with in place of an unknown key, so that both cases take the same work."""


def check(presented: PresentedKey, key: Key | None, peppers: Peppers, now: datetime) -> Flaw | None:
    """Return a key's flaw, given the database's row for its id; None if the key is valid.

    Every case takes one HMAC and one comparison in constant time.
    """
    kept = key or _NOBODY
    version = peppers.newest if key is None else kept.pepper
    same = hmac.compare_digest(peppers.digest(presented.secret, version), kept.digest)
    if not same or key is None or version not in peppers:
        return Flaw.UNKNOWN
    if key.revoked is not None:  # the time does not matter: clocks differ, and a revocation is never in advance
        return Flaw.REVOKED
    if key.unreadable:
        return Flaw.UNREADABLE
    if key.expires is not None and key.expires <= now:
        return Flaw.EXPIRED
    return Flaw.NOT_YET if key.created > now + CLOCK_SKEW else None
