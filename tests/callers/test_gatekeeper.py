"""Who calls: every carrier of a key, and every way of getting round having one."""

import asyncio
import base64
import hashlib
import hmac
import inspect
import itertools
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeClock
from tests.rows import rows

from chukei.accounts.ledger import Key
from chukei.accounts.stores import StoreAway
from chukei.callers import gatekeeper, keys
from chukei.callers.gatekeeper import ANONYMOUS, LOCAL, SHARED, CallerKeys, Gatekeeper, credentials
from chukei.callers.keys import NewKey, Peppers
from chukei.callers.throttle import Throttle
from chukei.callers.tokens import TokenFlaw, TokenRefused
from chukei.config import AuthSettings, EntraSettings, Secret, ServerSettings
from chukei.errors import CallerError, Unavailable
from chukei.model import Caller, CallerKind, Headers

KEY = "sk-relay-0123456789"
WITH_KEY = Gatekeeper(AuthSettings(api_key=Secret(KEY)), ServerSettings())
WITHOUT = Gatekeeper(AuthSettings(), ServerSettings(cors_origins=("https://app.example",)))
HOST = (b"host", b"localhost:7221")


def let_in(gate: Gatekeeper, headers: Headers, *, local: bool = True) -> Caller:
    return asyncio.run(gate.authenticate(headers, local=local, source="192.0.2.7"))


def refused(gate: Gatekeeper, headers: Headers, *, local: bool = True) -> CallerError:
    with pytest.raises(CallerError) as caught:
        let_in(gate, headers, local=local)
    return caught.value


@rows(
    "headers",
    [
        [(b"api-key", KEY.encode())],
        [(b"x-api-key", KEY.encode())],
        [(b"authorization", b"Bearer " + KEY.encode())],
        [(b"authorization", b"bearer  " + KEY.encode() + b" ")],
        [(b"authorization", b"Bearer " + KEY.encode()), (b"api-key", KEY.encode())],
        [(b"api-key", b""), (b"authorization", b"Bearer " + KEY.encode())],
        [(b"authorization", b"Bearer dummy"), (b"api-key", KEY.encode())],
        [(b"authorization", b"Bearer dummy"), (b"api-key", b"unused"), (b"x-api-key", KEY.encode())],
        [(b"authorization", b"Bearer " + KEY.encode()), (b"api-key", b"unused")],
        [(b"authorization", b"Bearer a.b.c"), (b"x-api-key", KEY.encode())],
        [(b"authorization", b"Basic x"), (b"api-key", KEY.encode())],
        [(b"authorization", b"Bearer"), (b"api-key", KEY.encode())],
    ],
)
@rows("local", [True, False])
def test_the_key_opens_in_every_carrier(headers: Headers, local: bool) -> None:
    assert let_in(WITH_KEY, headers, local=local) == SHARED


NO_ENTRY: list[tuple[Headers, int]] = [
    ([], 401),
    ([(b"api-key", b"")], 401),
    ([(b"api-key", b" ")], 401),
    ([(b"api-key", b"wrong")], 401),
    ([(b"api-key", KEY.encode()[:-1])], 401),
    ([(b"api-key", KEY.encode() + b"x")], 401),
    ([(b"api-key", KEY.upper().encode())], 401),
    ([(b"api-key", b"Bearer " + KEY.encode())], 401),
    ([(b"authorization", KEY.encode())], 401),
    ([(b"authorization", b"Bearer")], 401),
    ([(b"authorization", b"Bearer ")], 401),
    ([(b"authorization", b"Basic " + KEY.encode())], 401),
    ([(b"authorization", b"Bearer:" + KEY.encode())], 401),
    ([(b"authorization", b"Bearer " + KEY.encode() + b"," + KEY.encode())], 401),
    ([(b"authorization", b"Bearer\x00" + KEY.encode())], 401),
    ([(b"cookie", KEY.encode()), (b"x-key", KEY.encode())], 401),
    ([(b"x-ms-client-principal", b"eyJ9"), (b"x-forwarded-for", b"127.0.0.1")], 401),
    ([(b"api-key", KEY.encode() + b"\xff")], 401),
    ([(b"api-key", b"*")], 401),
    ([(b"authorization", b"Bearer dummy"), (b"api-key", b"wrong")], 401),
    ([(b"authorization", KEY.encode()), (b"api-key", b"wrong")], 401),
    ([*[(b"api-key", b"%d" % number) for number in range(4)], (b"x-api-key", KEY.encode())], 400),
]


@rows(("headers", "status"), NO_ENTRY)
@rows("local", [True, False])
def test_everything_else_stays_outside(headers: Headers, status: int, local: bool) -> None:
    error = refused(WITH_KEY, [HOST, *headers], local=local)
    assert error.status == status
    assert KEY not in error.message
    if status == 401:
        assert error.code == "invalid_api_key"
        assert (b"www-authenticate", b'Bearer realm="chukei"') in error.headers


@given(key=st.binary(max_size=40))
def test_no_other_key_opens(key: bytes) -> None:
    if key.strip() != KEY.encode():
        refused(WITH_KEY, [(b"api-key", key)])


def test_the_answer_tells_nothing_of_how_wrong_a_key_is() -> None:
    messages = {refused(WITH_KEY, [(b"api-key", key)]).message for key in (b"x", KEY.encode()[:-1], b"y" * 5000)}
    assert len(messages) == 1


def test_keys_are_compared_in_constant_time_by_their_digests() -> None:
    """Timing cannot be tested on a shared machine, so the rule is read from the code."""
    source = inspect.getsource(gatekeeper)
    assert source.count("hmac.compare_digest(digest, self._digest)") == 1
    assert "== self._digest" not in source
    assert hmac.compare_digest(gatekeeper._digest(b"a"), gatekeeper._digest(b"a"))


def test_one_credential_in_two_carriers_is_one() -> None:
    assert credentials([(b"api-key", b"a"), (b"x-api-key", b" a ")]) == ([b"a"], False)
    assert credentials([]) == ([], False)


# Without a key: this machine's own users only.


@rows("host", [b"localhost", b"LOCALHOST:7221", b"127.0.0.1", b"127.0.0.1:80", b"[::1]", b"[::1]:7221"])
def test_a_local_caller_needs_no_key(host: bytes) -> None:
    assert let_in(WITHOUT, [(b"host", host)], local=True) == LOCAL


def test_a_local_caller_may_carry_any_key() -> None:
    """Stock clients insist on sending one."""
    assert let_in(WITHOUT, [HOST, (b"authorization", b"Bearer whatever")], local=True) == LOCAL


@rows("host", [b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example:7221", b"[::2]"])
def test_a_rebound_name_is_refused(host: bytes) -> None:
    assert refused(WITHOUT, [(b"host", host)]).status == 401


@rows("name", [b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"])
def test_what_came_through_a_proxy_is_not_local(name: bytes) -> None:
    assert refused(WITHOUT, [HOST, (name, b"127.0.0.1")]).status == 401


def test_others_are_refused_and_told_what_helps() -> None:
    error = refused(WITHOUT, [HOST], local=False)
    assert error.status == 401
    assert "CHUKEI_API_KEY" in error.message


def test_a_missing_host_is_not_this_machines() -> None:
    assert refused(WITHOUT, [(b"origin", b"null")]).status == 401


@rows("origin", [b"http://localhost:7221", b"HTTP://LOCALHOST:7221", b"https://app.example"])
def test_own_and_allowed_pages_may_call(origin: bytes) -> None:
    assert let_in(WITHOUT, [HOST, (b"origin", origin)], local=True) == LOCAL


@rows(
    "origin",
    [
        b"https://evil.example",
        b"http://localhost:3000",
        b"http://localhost:7221.evil.example",
        b"null",
        b"",
        b"http://[::1",
        b"http://[x]:1",
        b"\xff",
        b"file://",
        b"https://app.example.evil.example",
    ],
)
def test_other_sites_pages_may_not(origin: bytes) -> None:
    error = refused(WITHOUT, [HOST, (b"origin", origin)])
    assert (error.status, error.code) == (403, "origin_not_allowed")


@rows("site", [b"cross-site", b"same-site", b"", b"whatever"])
@rows("mode", [b"no-cors", b"navigate", b"cors"])
def test_other_sites_pages_may_not_read_without_an_origin_either(site: bytes, mode: bytes) -> None:
    """A plain GET, as of an image or a link, has no Origin."""
    fetched = [HOST, (b"sec-fetch-site", site), (b"sec-fetch-mode", mode)]
    assert refused(WITHOUT, fetched).code == "origin_not_allowed"
    assert let_in(WITHOUT, [*fetched, (b"origin", b"https://app.example")]) == LOCAL
    assert let_in(Gatekeeper(AuthSettings(), ServerSettings(cors_origins=("*",))), fetched) == LOCAL
    assert let_in(WITH_KEY, [*fetched, (b"api-key", KEY.encode())]) == SHARED


@rows("site", [b"none", b"same-origin"])
def test_the_users_own_requests_and_those_of_the_relays_page_may(site: bytes) -> None:
    assert let_in(WITHOUT, [HOST, (b"sec-fetch-site", site)]) == LOCAL


def test_every_site_may_call_where_the_operator_says_so() -> None:
    gate = Gatekeeper(AuthSettings(), ServerSettings(cors_origins=("*",)))
    assert let_in(gate, [HOST, (b"origin", b"https://any.example")], local=True) == LOCAL


def test_anonymous_callers_are_served_from_anywhere() -> None:
    gate = Gatekeeper(AuthSettings(anonymous=True), ServerSettings())
    assert let_in(gate, [(b"host", b"x"), (b"authorization", b"Basic x")], local=False) == ANONYMOUS


def test_what_those_without_a_name_are_called() -> None:
    """The ledger and the rules know them by these."""
    assert [caller.name for caller in (ANONYMOUS, LOCAL, SHARED)] == ["anonymous", "local", "shared-key"]


def test_a_caller_never_shows_a_key() -> None:
    assert KEY not in repr((ANONYMOUS, LOCAL, SHARED, WITH_KEY.__dict__))


# Keys of the database, keys of the file, tokens, and what the platform says: each by its form.

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PEPPERS = Peppers({1: Secret("a pepper of thirty-two characters or more")})
TOKEN = b"eyJhbGciOiJSUzI1NiJ9.eyJ0aWQiOiJ4In0.c2ln"
PERSON = Caller("user:t/p", CallerKind.USER, ("research",))


class Directory:
    """Keys by id; counts how often it is asked."""

    def __init__(self, *kept: Key) -> None:
        self._kept = {key.id: key for key in kept}
        self.asked = 0
        self.away = False

    async def find(self, id: str) -> Key | None:
        self.asked += 1
        if self.away:
            raise StoreAway("gone")
        return self._kept.get(id)

    async def any(self) -> bool:
        return bool(self._kept)


class Tokens:
    """Knows one token, and refuses every other in a way that is set."""

    def __init__(self, refusal: TokenRefused | None = None) -> None:
        self._refusal = refusal or TokenRefused(TokenFlaw.SIGNATURE)
        self.asked = 0

    async def holder(self, token: bytes) -> Caller:
        self.asked += 1
        if token == TOKEN:
            return PERSON
        raise self._refusal


def kept(new: NewKey, **changes: Any) -> Key:
    digest, version = PEPPERS.key_digest(new)
    key = Key(new.id, "team-a", "staff", digest, version, NOW - timedelta(days=1), None, None, None)
    return replace(key, **changes)


def text_of(new: NewKey) -> bytes:
    return new.text.reveal().encode()


def gate_of(
    directory: Directory | None = None,
    *,
    tokens: Tokens | None = None,
    fixed: dict[str, Caller] | None = None,
    per_minute: int = 0,
    clock: FakeClock | None = None,
    **settings: Any,
) -> Gatekeeper:
    return Gatekeeper(
        AuthSettings(**settings),
        ServerSettings(),
        keys=CallerKeys(directory, PEPPERS, NOW.timestamp) if directory is not None else None,
        tokens=tokens,
        fixed=fixed,
        throttle=Throttle(per_minute, clock or FakeClock()),
    )


OWN, OLD, ENDED = keys.make(), keys.make(), keys.make()
DIRECTORY = (kept(OWN), kept(OLD, group=None, expires=NOW + timedelta(days=1)), kept(ENDED, expires=NOW))


@rows(
    "carrier",
    [lambda key: (b"authorization", b"Bearer " + key), lambda key: (b"api-key", key), lambda key: (b"x-api-key", key)],
)
@rows("local", [True, False])
def test_a_callers_own_key(carrier: Any, local: bool) -> None:
    gate = gate_of(Directory(*DIRECTORY))
    found = let_in(gate, [HOST, carrier(text_of(OWN))], local=local)
    assert found == Caller("team-a", CallerKind.KEY, ("staff",), OWN.id)
    assert let_in(gate, [HOST, carrier(text_of(OLD))], local=local) == Caller("team-a", CallerKind.KEY, (), OLD.id)


def test_a_typing_error_is_not_looked_up() -> None:
    directory = Directory(*DIRECTORY)
    text = text_of(OWN)
    swapped = text[:-1] + (b"a" if text.endswith(b"b") else b"b")
    assert refused(gate_of(directory), [HOST, (b"api-key", swapped)]).status == 401
    assert directory.asked == 0


def other_secret(new: NewKey) -> bytes:
    body = text_of(new)[:17] + text_of(keys.make())[17:60]
    return body + keys._checksum(body).encode()


@rows(
    ("changes", "code"),
    [
        ({"expires": NOW}, "key_expired"),
        ({"revoked": NOW}, "key_revoked"),
        ({"created": NOW + timedelta(days=1)}, "invalid_api_key"),
        ({"pepper": 2}, "invalid_api_key"),
    ],
)
def test_only_who_holds_the_secret_hears_how_a_key_ended(changes: dict[str, Any], code: str) -> None:
    gate = gate_of(Directory(kept(OWN, **changes)))
    told = refused(gate, [(b"api-key", text_of(OWN))])
    assert (told.status, told.code) == (401, code)
    untold = refused(gate, [(b"api-key", other_secret(OWN))])
    unknown = refused(gate, [(b"api-key", text_of(keys.make()))])
    assert untold.body == unknown.body
    assert untold.code == "invalid_api_key"


def test_while_keys_cannot_be_told_it_is_nobodys_fault() -> None:
    directory = Directory(*DIRECTORY)
    directory.away = True
    with pytest.raises(Unavailable) as caught:
        let_in(gate_of(directory), [(b"api-key", text_of(OWN))])
    assert (caught.value.status, caught.value.code) == (503, "keys_unavailable")
    assert refused(gate_of(directory), [(b"api-key", b"chk_wrong")]).status == 401


def test_keys_of_others_leave_this_machine_open_to_those_who_send_none() -> None:
    gate = gate_of(Directory(*DIRECTORY))
    assert let_in(gate, [HOST]) == LOCAL
    assert refused(gate, [HOST, (b"api-key", text_of(ENDED))]).code == "key_expired"
    assert refused(gate, [HOST], local=False).status == 401


CARRIERS = (b"authorization", b"api-key", b"x-api-key")


def carried(carrier: bytes, key: bytes) -> tuple[bytes, bytes]:
    return carrier, b"Bearer " + key if carrier == b"authorization" else key


@rows("carrier", CARRIERS)
@rows("sent", [b"whatever", b"unused", b"a.b.c", b"chk_wrong"])
def test_a_credential_that_is_sent_must_be_right_once_any_key_exists(carrier: bytes, sent: bytes) -> None:
    for database in (DIRECTORY, [kept(ENDED, revoked=NOW)]):
        assert refused(gate_of(Directory(*database)), [HOST, carried(carrier, sent)]).code == "invalid_api_key"


def test_another_scheme_is_wrong_too_once_any_key_exists() -> None:
    assert refused(gate_of(Directory(*DIRECTORY)), [HOST, (b"authorization", b"Basic x")]).status == 401


@rows(
    "sent",
    [
        [(b"authorization", b"Bearer whatever")],
        [(b"authorization", b"Bearer dummy"), (b"api-key", b"unused"), (b"x-api-key", b"none")],
        [(b"authorization", b"Basic x")],
        [(b"authorization", b"Bearer ")],
    ],
)
def test_before_the_first_key_nothing_is_compared(sent: Headers) -> None:
    for gate in (WITHOUT, gate_of(Directory())):
        assert let_in(gate, [HOST, *sent]) == LOCAL


def test_this_machines_users_can_be_asked_for_a_key_as_well() -> None:
    gate = gate_of(Directory(*DIRECTORY), local=False)
    assert refused(gate, [HOST]).status == 401
    assert refused(gate, [HOST, (b"api-key", b"unused")]).status == 401
    assert let_in(gate, [HOST, (b"api-key", text_of(OWN))]).name == "team-a"
    assert refused(gate_of(local=False), [HOST]).status == 401


@rows(("right", "foreign"), list(itertools.permutations(CARRIERS, 2)))
@rows("first", [True, False])
def test_what_cannot_be_ours_is_ignored_beside_what_is(right: bytes, foreign: bytes, first: bool) -> None:
    entra = EntraSettings((TENANT,), ("x",))
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), per_minute=1, api_key=Secret(KEY), entra=entra, fixed=FIXED)
    for key, name in ((text_of(OWN), "team-a"), (KEY.encode(), "shared-key"), (b"fixed", "team-b")):
        for other in (b"dummy", b"sk-proj-0123456789", TOKEN):  # which says nothing of a tenant that is known here
            fields = [carried(right, key), carried(foreign, other)]
            for _ in range(3):  # and no failure is counted
                assert let_in(gate, [HOST, *(fields if first else fields[::-1])], local=False).name == name


FIXED = {hashlib.sha256(b"fixed").hexdigest(): Caller("team-b", CallerKind.KEY)}


@rows(
    "both", list(itertools.permutations([text_of(OWN), text_of(OLD), b"chk_wrong", KEY.encode(), b"fixed", TOKEN], 2))
)
def test_two_of_ours_are_one_too_many(both: tuple[bytes, bytes]) -> None:
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), api_key=Secret(KEY), fixed=FIXED)
    assert refused(gate, [(b"api-key", both[0]), carried(b"authorization", both[1])]).code == "ambiguous_credentials"


def test_each_of_several_guesses_is_counted() -> None:
    gate = gate_of(Directory(*DIRECTORY), per_minute=4)
    guesses = [HOST, (b"api-key", b"a"), (b"x-api-key", b"b")]
    assert [refused(gate, guesses).status for _ in range(3)] == [401, 401, 429]


def test_a_key_in_the_configuration() -> None:
    team = Caller("team-b", CallerKind.KEY, ("staff",))
    gate = gate_of(fixed={hashlib.sha256(b"of whatever form").hexdigest(): team})
    assert let_in(gate, [HOST, (b"api-key", b"of whatever form")]) == team
    assert refused(gate, [HOST]).status == 401, "nobody is served without one then"
    assert refused(gate, [HOST, (b"api-key", b"of Whatever form")]).status == 401
    also = gate_of(fixed={hashlib.sha256(text_of(OWN)).hexdigest(): team})
    assert let_in(also, [HOST, (b"api-key", text_of(OWN))]) == team


def test_who_was_let_in_before_is_asked_again_for_its_key_alone() -> None:
    gate = gate_of(Directory(kept(OWN), kept(OLD, revoked=NOW)), fixed={"digest": Caller("team-b", CallerKind.KEY)})
    cases = [
        (Caller("team-a", CallerKind.KEY, (), OWN.id), "", True),
        (Caller("team-a", CallerKind.KEY, (), OLD.id), "", False),
        (Caller("team-a", CallerKind.KEY, (), ENDED.id), "", False),
        (Caller("team-b", CallerKind.KEY), "digest", True),
        (Caller("team-b", CallerKind.KEY), "of the key before", False),
        (Caller("team-b", CallerKind.KEY), "", False),
        (Caller("team-c", CallerKind.KEY), "", False),
        (SHARED, "", False),
        (LOCAL, "", False),
        (ANONYMOUS, "", False),
        (PERSON, "", True),
    ]
    assert [asyncio.run(gate.lets_in(who, by)) for who, by, _ in cases] == [good for _, _, good in cases]
    assert asyncio.run(WITH_KEY.lets_in(SHARED, WITH_KEY.credential_of(SHARED)))
    assert not asyncio.run(WITH_KEY.lets_in(SHARED, "of the key before"))
    assert gate.credential_of(Caller("team-b", CallerKind.KEY)) == "digest"


def test_a_token() -> None:
    gate = gate_of(tokens=Tokens())
    assert let_in(gate, [(b"authorization", b"Bearer " + TOKEN)], local=False) == PERSON
    assert refused(gate, [HOST]).status == 401, "nobody is served without one then"
    assert refused(gate, [(b"authorization", b"Bearer " + TOKEN + b"x")]).code == "invalid_api_key"


def test_who_holds_a_genuine_token_hears_what_it_lacks() -> None:
    told = CallerError(403, "missing_permission", "It lacks a scope.")
    gate = gate_of(tokens=Tokens(TokenRefused(TokenFlaw.SCOPE, told)))
    assert refused(gate, [(b"authorization", b"Bearer a.b.c")]) is told


def test_the_form_decides_and_nothing_is_tried_out() -> None:
    directory, tokens = Directory(), Tokens()
    gate = gate_of(directory, tokens=tokens, api_key=Secret(KEY))
    for sent in (b"whatever", b"chk_a.b.c", text_of(OWN), b"a.b", b"a.b.c.d.e"):
        refused(gate, [(b"api-key", sent)])
    assert (directory.asked, tokens.asked) == (1, 0)
    assert let_in(gate, [(b"api-key", KEY.encode())]) == SHARED


def test_every_wrong_credential_gets_the_same_answer() -> None:
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), api_key=Secret(KEY))
    wrong = [b"x", KEY[:-1].encode(), text_of(keys.make()), other_secret(OWN), other_secret(ENDED), b"chk_", b"a.b.c"]
    answers = [refused(gate, [(b"api-key", sent)]) for sent in wrong]
    assert len({(answer.status, answer.body, tuple(answer.headers)) for answer in answers}) == 1


# How often one may fail.


def test_failures_are_counted_and_valid_keys_pass() -> None:
    clock = FakeClock()
    gate = gate_of(Directory(*DIRECTORY), per_minute=20, clock=clock)
    statuses = [refused(gate, [HOST, (b"api-key", b"chk_wrong")]).status for _ in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    error = refused(gate, [HOST, (b"api-key", text_of(keys.make()))])
    assert error.code == "too_many_failures"
    assert dict(error.headers) == {b"retry-after": b"3", b"retry-after-ms": b"3000"}
    assert let_in(gate, [HOST, (b"api-key", text_of(OWN))]).name == "team-a"
    clock.advance(3)
    assert refused(gate, [HOST, (b"api-key", b"chk_wrong")]).status == 401


def test_what_tries_no_key_is_not_counted() -> None:
    gate = gate_of(Directory(), per_minute=1, api_key=Secret(KEY))
    for _ in range(5):
        assert refused(gate, [HOST]).status == 401
        assert refused(gate, [HOST, (b"authorization", b"Basic x")]).status == 401
        assert refused(gate, [HOST, (b"api-key", KEY.encode()), (b"x-api-key", b"chk_b")]).status == 400


def test_the_log_says_why_but_not_what_and_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), per_minute=4)
    with caplog.at_level(logging.DEBUG, "chukei"):
        for sent in (text_of(ENDED), text_of(keys.make()), b"a.b.c", b"whatever", *[b"chk_more"] * 20):
            refused(gate, [(b"api-key", sent)])
    assert [
        record.getMessage().removeprefix("a credential was refused: ")
        for record in caplog.records
        if record.name == "chukei.callers.gatekeeper"
    ] == [
        f"key {ENDED.id}: expired",
        "key …: unknown",
        "token: wrong signature",
        "no key or token",
    ]


# Whom the platform in front let in.

TENANT = "11111111-aaaa-4bbb-8ccc-222222222222"
SIGNED_IN = Caller(f"user:{TENANT}/{TENANT}", CallerKind.USER)
PRINCIPAL = base64.b64encode(
    json.dumps({"auth_typ": "aad", "claims": [{"typ": name, "val": TENANT} for name in ("tid", "oid")]}).encode()
)
SENT = (b"x-ms-client-principal", PRINCIPAL)
PLATFORM: dict[str, Any] = {"app_service": True, "platform_auth": True}


def test_whom_the_platform_let_in() -> None:
    assert let_in(gate_of(**PLATFORM), [SENT], local=False) == SIGNED_IN
    assert refused(gate_of(**PLATFORM), [HOST]).status == 401, "nobody else"


@rows("settings", [{}, {"app_service": True}, {"platform_auth": True}])
def test_elsewhere_what_is_sent_in_its_name_is_ignored(settings: dict[str, Any]) -> None:
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), **settings)
    assert refused(gate, [SENT], local=False).status == 401
    assert let_in(gate, [SENT, (b"api-key", text_of(OWN))], local=False).name == "team-a"


@rows("value", [b"", b"eyJ9", b"\xff", PRINCIPAL[:-4]])
def test_a_principal_that_is_none(value: bytes) -> None:
    assert refused(gate_of(**PLATFORM), [(b"x-ms-client-principal", value)]).status == 401


@rows(
    "others",
    [
        [SENT],
        [(b"x-ms-client-principal", b"e30=")],
        [(b"api-key", text_of(OWN))],
        [(b"authorization", b"Bearer " + text_of(OWN))],
        [(b"authorization", b"Bearer " + TOKEN)],
    ],
)
def test_a_principal_and_another_credential(others: Headers) -> None:
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), **PLATFORM)
    assert refused(gate, [SENT, *others]).code == "ambiguous_credentials"


def test_a_principal_and_what_is_none_of_ours() -> None:
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), **PLATFORM)
    assert let_in(gate, [SENT, (b"x-api-key", b"whatever")]) == SIGNED_IN


def test_an_ephemeral_key_beside_the_principal_of_its_own_caller_and_of_another() -> None:
    gate = gate_of(**PLATFORM)
    gate.check_alone(SIGNED_IN, [SENT], "192.0.2.1")
    with pytest.raises(CallerError) as raised:
        gate.check_alone(Caller("team-a", CallerKind.KEY), [SENT], "192.0.2.1")
    assert raised.value.code == "ambiguous_credentials"


def test_who_was_let_in_without_a_credential() -> None:
    """A page of another site can send any text as a key, but not know one."""
    junk, own = (b"api-key", b"whatever"), (b"api-key", text_of(OWN))
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), **PLATFORM)
    assert not gate.knows([SENT, junk])
    assert gate.knows([own])
    assert not gate_of(Directory(*DIRECTORY), anonymous=True).knows([own])


def test_the_token_that_the_platform_looked_at_is_no_other() -> None:
    assert let_in(gate_of(**PLATFORM), [SENT, (b"authorization", b"Bearer " + TOKEN)]) == SIGNED_IN

    class Same(Tokens):
        async def holder(self, token: bytes) -> Caller:
            return SIGNED_IN

    assert let_in(gate_of(tokens=Same(), **PLATFORM), [SENT, (b"authorization", b"Bearer a.b.c")]) == SIGNED_IN


def test_nothing_shows_itself() -> None:
    gate = gate_of(Directory(*DIRECTORY), tokens=Tokens(), api_key=Secret(KEY))
    assert repr(gate) == "<Gatekeeper closed>"
    assert repr(gate_of(Directory())) == "<Gatekeeper open to this machine>"
