"""Callers' keys: what one looks like, how it is made and how it is checked. Pure.

    chk_3fQ9…(12)_8vKs…(43)2xWm0c
    │   │         │        └ checksum: CRC-32 of all before it
    │   │         └ secret: 256 random bits
    │   └ id: public, in the database, in logs, in `chukei keys list`
    └ prefix: what scanners for leaked secrets look for

All of it is letters, digits and underscores, so that a double click selects it whole. The checksum tells a typing error
from a key before anything is looked up. At 256 random bits one HMAC is enough: nobody can try secrets out, so a slow
hash would only be a lever for those who want to keep the relay busy.
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
"""How far the clock of whoever made a key may be ahead of this machine's."""

UNPEPPERED = 0
"""The version of no pepper."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID, _SECRET, _CHECKSUM = 12, 43, 6  # characters of base 62: 71 bits, 256 bits, and 32 bits in the largest case
_FORM = re.compile(rb"(chk_([0-9A-Za-z]{12})_([0-9A-Za-z]{43}))([0-9A-Za-z]{6})")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. ``text`` is shown once and then forgotten."""

    id: str
    text: Secret


class Presented:
    """What a caller sent, in its parts; it does not show its secret."""

    __slots__ = ("id", "secret")

    def __init__(self, id: str, secret: bytes) -> None:
        self.id = id
        self.secret = secret

    def __repr__(self) -> str:
        return f"Presented({self.id}, …)"


def make() -> NewKey:
    """Make a key of the operating system's randomness."""
    id, secret = (_random(length) for length in (_ID, _SECRET))
    body = f"{PREFIX.decode()}{id}_{secret}"
    return NewKey(id, Secret(body + _checksum(body.encode())))


def parse(text: bytes) -> Presented | None:
    """Return the parts of a key, or None for what cannot be one."""
    found = _FORM.fullmatch(text)
    if found is None or _checksum(found[1]).encode() != found[4]:
        return None
    return Presented(found[2].decode(), found[3])


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: bytes) -> str:
    rest, digits = zlib.crc32(body), ""
    for _ in range(_CHECKSUM):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


class Peppers:
    """Secrets from outside the database without which its digests cannot be made, by version.

    With one, whoever can write to the database still cannot make a key that works. So once there is one, keys made
    without are refused, unless ``unpeppered`` says that they may still be used.
    """

    def __init__(self, versions: Mapping[int, Secret] | None = None, *, unpeppered: bool = False) -> None:
        self._versions = {version: secret.reveal().encode() for version, secret in (versions or {}).items()}
        self.newest = max(self._versions, default=UNPEPPERED)
        if unpeppered or not self._versions:
            self._versions[UNPEPPERED] = b""

    def __contains__(self, version: int) -> bool:
        return version in self._versions

    def digest(self, secret: bytes, version: int) -> bytes:
        """Return HMAC-SHA-256 of a key's secret part (RFC 2104); a version that is not known counts as the newest."""
        return hmac.digest(self._versions.get(version, self._versions[self.newest]), secret, hashlib.sha256)

    def key_digest(self, key: NewKey) -> tuple[bytes, int]:
        """Return what the database keeps of a new key, and the version of the pepper."""
        presented = parse(key.text.reveal().encode())
        assert presented is not None
        return self.digest(presented.secret, self.newest), self.newest

    def __repr__(self) -> str:
        return f"Peppers({sorted(self._versions)})"


class KeyDirectory(Protocol):
    """Where callers' keys are found by their public id, without asking the database for each."""

    async def find(self, id: str) -> Key | None:
        """Return what is kept of a key, or None where there is no such key.

        Raises:
            StoreAway: what keys there are is not known.
        """
        ...

    async def any(self) -> bool:
        """Whether there is any key, be it ended, as far as is known; never asks the database."""
        ...


class Flaw(StrEnum):
    """Why a key does not open. Only who holds the whole key may hear that it expired or was revoked."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    NOT_YET = "not_yet"
    UNREADABLE = "unreadable"


_NOBODY = Key("", "", None, secrets.token_bytes(32), UNPEPPERED, datetime.min.replace(tzinfo=UTC), None, None, None)
"""Compared with in place of a key that is not there, so that both take the same work."""


def check(presented: Presented, key: Key | None, peppers: Peppers, now: datetime) -> Flaw | None:
    """Return what is wrong with a key, given what the database has under its id; None if it opens.

    One HMAC and one comparison in constant time, whatever is wrong.
    """
    kept = key or _NOBODY
    version = peppers.newest if key is None else kept.pepper
    same = hmac.compare_digest(peppers.digest(presented.secret, version), kept.digest)
    if not same or key is None or version not in peppers:
        return Flaw.UNKNOWN
    if key.revoked is not None:  # at whatever time: clocks differ, and nobody revokes ahead
        return Flaw.REVOKED
    if key.unreadable:
        return Flaw.UNREADABLE
    if key.expires is not None and key.expires <= now:
        return Flaw.EXPIRED
    return Flaw.NOT_YET if key.created > now + CLOCK_SKEW else None
