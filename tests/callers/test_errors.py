"""Every error that the package of callers raises, with its whole answer."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from tests.answers import check, later, refusal
from tests.fakes import FakeClock, FakeDatabase

from chukei.accounts.changes import Actor
from chukei.accounts.ledger import Key
from chukei.accounts.stores import StoreAway
from chukei.callers import keys, tokens
from chukei.callers.gatekeeper import CallerKeys, Gatekeeper
from chukei.callers.keys import NewKey, Peppers
from chukei.callers.registry import KeyRegistry, NoSuchKey
from chukei.callers.throttle import Throttle
from chukei.config import AuthSettings, EntraSettings, Secret, ServerSettings
from chukei.errors import CallerError
from chukei.model import Caller, Headers

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
CHALLENGE: Headers = [(b"www-authenticate", b'Bearer realm="chukei"')]
UNAUTHENTIC = "authentication_error"
Asking = Callable[[], Coroutine[Any, Any, Caller]]
PEPPERS = Peppers()
GOOD, EXPIRED, REVOKED = keys.make(), keys.make(), keys.make()


def kept(new: NewKey, **changes: Any) -> Key:
    digest, pepper = PEPPERS.key_digest(new)
    fields = {"expires": None, "revoked": None, "note": None} | changes
    return Key(new.id, "team-a", None, digest, pepper, NOW - HOUR, **fields)


ROWS = {key.id: key for key in (kept(GOOD), kept(EXPIRED, expires=NOW), kept(REVOKED, revoked=NOW))}


class Directory:
    """Finds the keys of ``ROWS``, unless it is away."""

    def __init__(self, *, away: bool = False) -> None:
        self._away = away

    async def find(self, id: str) -> Key | None:
        if self._away:
            raise StoreAway
        return ROWS.get(id)

    async def any(self) -> bool:
        return True


def asked(*sent: tuple[bytes, bytes], away: bool = False, per_minute: int = 0, **auth: Any) -> Asking:
    """Return what authenticates a local request with these fields."""
    throttle = Throttle(per_minute, FakeClock())
    directory = CallerKeys(Directory(away=away), PEPPERS, NOW.timestamp)
    gate = Gatekeeper(AuthSettings(**auth), ServerSettings(), keys=directory, throttle=throttle)
    return lambda: gate.authenticate([(b"host", b"localhost"), *sent], local=True, source="192.0.2.7")


def bearer(new: NewKey) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + new.text.reveal().encode())


SHARED: dict[str, Any] = {"api_key": Secret("sk-relay-0123456789")}
WRONG = (b"api-key", b"wrong")
UNKNOWN = refusal(401, "invalid_api_key", "The access key or token is not valid.", type=UNAUTHENTIC, headers=CHALLENGE)
AMBIGUOUS = refusal(
    400, "ambiguous_credentials", "The request carries two different credentials of this relay; send one."
)
OTHER_SITE = refusal(
    403,
    "origin_not_allowed",
    "Pages of other sites may not use this relay; its operator can allow one with server.cors_origins.",
)


def locked_out(message: str, code: str = "invalid_api_key") -> Any:
    return refusal(401, code, message, type=UNAUTHENTIC, headers=CHALLENGE)


def test_what_who_asks_is_told(subtests: pytest.Subtests) -> None:
    needed = "An access key is needed: send it as 'Authorization: Bearer KEY' or 'api-key: KEY'."
    elsewhere = (
        "This relay serves callers without a key only on its own machine. Its operator can set CHUKEI_API_KEY, or "
        "auth.anonymous = true to serve everybody."
    )
    ended = "The access key {}; ask the relay's operator for a new one."
    away = "The relay cannot check access keys now, since its database is away; try again."
    many = "Too many wrong keys or tokens came from this address; try again in {} seconds, with a valid one."
    exhausted = [asked(WRONG, per_minute=number, **SHARED) for number in (1, 4)]
    five = [(b"api-key", b"%d" % number) for number in range(5)]
    check(
        subtests,
        [
            (asked(**SHARED), locked_out(needed)),
            (asked((b"via", b"1.1 proxy")), locked_out(elsewhere)),
            (
                asked((b"authorization", b"Basic x"), **SHARED),
                locked_out("The Authorization header must be 'Bearer' and a key."),
            ),
            (asked(WRONG, **SHARED), UNKNOWN),
            (asked(WRONG, (b"x-api-key", b"other"), **SHARED), UNKNOWN),
            (asked(bearer(keys.make())), UNKNOWN),
            (asked(bearer(EXPIRED)), locked_out(ended.format("has expired"), "key_expired")),
            (asked(bearer(REVOKED)), locked_out(ended.format("was revoked"), "key_revoked")),
            (asked(*five, **SHARED), AMBIGUOUS),
            (asked(bearer(GOOD), (b"api-key", SHARED["api_key"].reveal().encode()), **SHARED), AMBIGUOUS),
            (asked((b"origin", b"https://other.example")), OTHER_SITE),
            (asked((b"sec-fetch-site", b"cross-site")), OTHER_SITE),
            (
                asked(bearer(GOOD), away=True),
                refusal(503, "keys_unavailable", away, type="server_error", headers=later(2)),
            ),
            (exhausted[0], UNKNOWN),
            (exhausted[0], refusal(429, "too_many_failures", many.format(60), type=UNAUTHENTIC, headers=later(60))),
            *[(exhausted[1], UNKNOWN)] * 4,
            (exhausted[1], refusal(429, "too_many_failures", many.format(15), type=UNAUTHENTIC, headers=later(15))),
        ],
    )


def test_the_log_says_what_of_several_none_was(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "chukei"), pytest.raises(CallerError):
        asyncio.run(asked(WRONG, (b"x-api-key", b"other"), **SHARED)())
    assert caplog.messages == ["a credential was refused: no key or token"] * 2


def test_two_principals_are_ambiguous(subtests: pytest.Subtests) -> None:
    sent = [(b"x-ms-client-principal", b"e30=")] * 2
    check(subtests, [(asked(*sent, app_service=True, platform_auth=True), AMBIGUOUS)])


TENANT = "11111111-aaaa-4bbb-8ccc-222222222222"
BEARER = b'Bearer realm="chukei", error='


def token(scope: str | None, role: str | None, **claims: object) -> Callable[[], object]:
    """Return what recognises a token with these claims, and raises what its holder is told."""
    settings = EntraSettings(tenants=(TENANT,), audiences=("api",), scope=scope, role=role)
    whole = {"iss": "us", "aud": "api", "exp": 1000.0, "nbf": 0.0, "tid": TENANT, "oid": TENANT, **claims}

    def recognise() -> None:
        try:
            tokens.recognise(settings, whole, "us", 1060.0 if "late" in claims else 500.0)
        except tokens.TokenRefused as refused:
            raise refused.error or refused from None

    return recognise


def test_what_the_holder_of_a_genuine_token_is_told(subtests: pytest.Subtests) -> None:
    lacks = "The access token is genuine but does not hold {}; who administers the tenant can grant it."
    client = {"azp": TENANT, "sub": TENANT}

    def forbidden(what: str) -> Any:
        fields = [(b"www-authenticate", BEARER + b'"insufficient_scope"')]
        return refusal(403, "missing_permission", lacks.format(what), type="permission_error", headers=fields)

    check(
        subtests,
        [
            (
                token(None, None, late=True),
                refusal(
                    401,
                    "token_expired",
                    "The access token has expired; get a new one.",
                    type=UNAUTHENTIC,
                    headers=[(b"www-authenticate", BEARER + b'"invalid_token"')],
                ),
            ),
            (token("chat", None, scp="mail"), forbidden("the scope 'chat'")),
            (token(None, None, scp=" "), forbidden("any scope of this relay")),
            (token(None, "Caller", roles=["Other"], **client), forbidden("the application role 'Caller'")),
            (token(None, None, **client), forbidden("any application role of this relay")),
        ],
    )


def test_what_an_administrator_of_keys_is_told(subtests: pytest.Subtests) -> None:
    wrong = (
        "The {}'s name must have 1 to 128 letters, digits, spaces and . : / @ _ + -, without spaces around it, "
        "and be neither . nor .."
    )
    stands = "That name stands for callers who are recognised in another way; choose a different one."
    far = "The end of a key must be within the years 1 to 9999 of UTC; leave it out for a key without an end."
    unread = keys.make()
    rows = [kept(EXPIRED, expires=NOW), kept(unread, unreadable=True)]

    def made(*groups: str) -> KeyRegistry:
        return KeyRegistry(FakeDatabase(*rows), PEPPERS, lambda: NOW, groups=groups)

    def create(caller: str = "team-a", *groups: str, **fields: Any) -> Callable[[], Coroutine[Any, Any, object]]:
        return lambda: made(*groups).create(caller, actor=Actor("key 1"), **fields)

    def invalid(param: str, message: str) -> Any:
        return refusal(400, "invalid_value", message, param=param)

    def ended(why: str) -> Any:
        return refusal(400, "key_has_ended", f"This key {why}; make a new one instead.", param="id")

    eastward = timezone(timedelta(hours=14))
    check(
        subtests,
        [
            *[(create(name), invalid("caller", wrong.format("caller"))) for name in ("", " a", "a,b", "x" * 129)],
            *[(create(name), invalid("caller", stands)) for name in ("local", "user:x", "app:x")],
            (create(group="a\n"), invalid("group", wrong.format("group"))),
            (create(group="b"), invalid("group", "There is no [groups.b] in the configuration; it has no groups.")),
            (
                create("team-a", "c", "d", group="b"),
                invalid("group", "There is no [groups.b] in the configuration; those that there are: c, d."),
            ),
            (create(note="a\nb"), invalid("note", "The note must be one line of printable characters.")),
            (create(expires=NOW), invalid("expires", "The key would expire before it is made.")),
            (
                create(expires=NOW.replace(tzinfo=None)),
                invalid("expires", "The end of a key needs a time zone, such as Z."),
            ),
            (create(expires=datetime.min.replace(tzinfo=eastward)), invalid("expires", far)),
            (lambda: made().rotate(EXPIRED.id, actor=Actor("key 1"), overlap=HOUR), ended("has ended")),
            (lambda: made().rotate(unread.id, actor=Actor("key 1"), overlap=HOUR), ended("cannot be read")),
        ],
    )


@pytest.mark.anyio
async def test_a_key_that_is_not_there_is_named() -> None:
    registry = KeyRegistry(FakeDatabase(), PEPPERS, lambda: NOW)
    with pytest.raises(NoSuchKey, match=r"^k1$"):
        await registry.rotate("k1", actor=Actor("key 1"), overlap=HOUR)
    with pytest.raises(NoSuchKey, match=r"^k1$"):
        await registry.revoke("k1", actor=Actor("key 1"))
