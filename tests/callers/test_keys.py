"""Callers' keys: their form, what the database keeps of them, and every way in which one does not open."""

import hashlib
import hmac
import re
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.accounts.ledger import Key
from chukei.callers import keys
from chukei.callers.keys import CLOCK_SKEW, Flaw, NewKey, Peppers, PresentedKey, check, parse
from chukei.config import Secret

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PEPPERS = Peppers({1: Secret("first pepper " * 3), 2: Secret("second pepper " * 3)})
ALPHABET = string.ascii_letters + string.digits


def kept(new: NewKey, peppers: Peppers = PEPPERS) -> Key:
    digest, version = peppers.key_digest(new)
    return Key(new.id, "team-a", None, digest, version, NOW - timedelta(days=1), None, None, None)


def presented(new: NewKey) -> PresentedKey:
    found = parse(new.text.reveal().encode())
    assert found is not None
    return found


def test_the_form() -> None:
    new = keys.make()
    text = new.text.reveal()
    assert re.fullmatch(r"chk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", text)
    assert re.fullmatch(r"\w+", text), "a double click selects all of it"
    assert presented(new).id == new.id == text[4:16]
    assert presented(new).secret == text[17:60].encode()


def test_the_checksum_is_the_one_that_is_documented() -> None:
    """CRC-32 of all before it, in six digits of base 62, so that others can tell a key from a typing error too."""
    text = "chk_" + "0" * 12 + "_" + "0" * 43
    assert parse((text + keys._checksum(text.encode())).encode()) is not None
    assert keys._checksum(b"123456789") == "3jZRME"  # 0xCBF43926, the check value of CRC-32


def test_no_two_are_alike() -> None:
    made = [keys.make() for _ in range(50)]
    assert len({new.id for new in made}) == len({presented(new).secret for new in made}) == 50


def test_the_secret_has_256_bits() -> None:
    assert len(presented(keys.make()).secret) >= 256 / 5.9542


@given(place=st.integers(0, 65), other=st.sampled_from(ALPHABET))
def test_a_typing_error_is_no_key(place: int, other: str) -> None:
    text = keys.make().text.reveal()
    changed = text[:place] + other + text[place + 1 :]
    assert (parse(changed.encode()) is None) == (changed != text)


@rows(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text.replace("chk_", "chk-"),
        lambda text: text[4:],
        lambda text: text + text,
        lambda text: text[:20] + "\x00" + text[21:],
        lambda text: text[:20] + "%61" + text[21:],
        lambda text: "chk_" + "é" * 62,
        lambda text: "",
    ],
)
def test_what_cannot_be_a_key(change: object) -> None:
    assert callable(change)
    assert parse(change(keys.make().text.reveal()).encode()) is None


@given(st.binary(max_size=100))
def test_anything_else_is_no_key(text: bytes) -> None:
    assert parse(text) is None


def test_nothing_shows_a_secret() -> None:
    new = keys.make()
    secret = presented(new).secret.decode()
    assert secret not in repr((new, presented(new), PEPPERS, kept(new)))
    assert "pepper " not in repr(PEPPERS)


# What the database keeps.


def test_the_digest_is_an_hmac_of_the_secret_part() -> None:
    new = keys.make()
    expected = hmac.new(b"second pepper " * 3, presented(new).secret, hashlib.sha256).digest()
    assert PEPPERS.key_digest(new) == (expected, 2)


def test_without_a_pepper_it_is_one_with_an_empty_key() -> None:
    new = keys.make()
    expected = hmac.new(b"", presented(new).secret, hashlib.sha256).digest()
    assert Peppers().key_digest(new) == (expected, 0)
    assert check(presented(new), kept(new, Peppers()), Peppers(), NOW) is None


def test_an_older_pepper_still_opens_and_a_dropped_one_does_not() -> None:
    new = keys.make()
    key = kept(new, Peppers({1: Secret("first pepper " * 3)}))
    assert key.pepper == 1
    assert check(presented(new), key, PEPPERS, NOW) is None
    assert check(presented(new), key, Peppers({2: Secret("second pepper " * 3)}), NOW) is Flaw.UNKNOWN


def test_who_writes_to_the_database_cannot_make_a_key_once_there_is_a_pepper() -> None:
    new = keys.make()
    forged = kept(new, Peppers())
    assert check(presented(new), forged, PEPPERS, NOW) is Flaw.UNKNOWN
    assert check(presented(new), replace(forged, pepper=2), PEPPERS, NOW) is Flaw.UNKNOWN


def test_unless_old_keys_may_still_be_used() -> None:
    new = keys.make()
    both = Peppers({1: Secret("first pepper " * 3)}, unpeppered=True)
    assert check(presented(new), kept(new, Peppers()), both, NOW) is None
    assert both.newest == 1


# Whether one opens.


def test_a_key_opens() -> None:
    new = keys.make()
    assert check(presented(new), kept(new), PEPPERS, NOW) is None


def test_two_of_one_caller_open_at_once() -> None:
    old, new = keys.make(), keys.make()
    assert check(presented(old), kept(old), PEPPERS, NOW) is check(presented(new), kept(new), PEPPERS, NOW) is None


@rows(
    ("changes", "flaw"),
    [
        ({"expires": NOW}, Flaw.EXPIRED),
        ({"expires": NOW - timedelta(days=1)}, Flaw.EXPIRED),
        ({"expires": NOW + timedelta(microseconds=1)}, None),
        ({"revoked": NOW - timedelta(days=1)}, Flaw.REVOKED),
        ({"revoked": NOW + timedelta(days=1)}, Flaw.REVOKED),
        ({"revoked": NOW, "expires": NOW}, Flaw.REVOKED),
        ({"created": NOW + CLOCK_SKEW}, None),
        ({"created": NOW + CLOCK_SKEW + timedelta(seconds=1)}, Flaw.NOT_YET),
        ({"digest": b""}, Flaw.UNKNOWN),
        ({"pepper": 1}, Flaw.UNKNOWN),
        ({"pepper": 7}, Flaw.UNKNOWN),
    ],
)
def test_its_end_and_its_beginning(changes: dict[str, Any], flaw: Flaw | None) -> None:
    new = keys.make()
    assert check(presented(new), replace(kept(new), **changes), PEPPERS, NOW) is flaw


def test_what_ended_is_only_told_to_who_holds_the_secret() -> None:
    new, other = keys.make(), keys.make()
    ended = replace(kept(new), revoked=NOW, expires=NOW)
    guess = PresentedKey(new.id, presented(other).secret)
    assert check(guess, ended, PEPPERS, NOW) is Flaw.UNKNOWN


def test_an_unknown_id_takes_the_same_work(counted: "Counted") -> None:
    new = keys.make()
    for key in (None, kept(new), replace(kept(new), digest=bytes(32)), replace(kept(new), revoked=NOW)):
        before = counted.digests
        check(presented(new), key, counted, NOW)
        assert counted.digests == before + 1


class Counted(Peppers):
    """Counts what it computes."""

    digests = 0

    def digest(self, secret: bytes, version: int) -> bytes:
        self.digests += 1
        return super().digest(secret, version)


@pytest.fixture
def counted() -> Counted:
    return Counted({2: Secret("second pepper " * 3)})
