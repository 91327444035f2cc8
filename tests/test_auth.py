"""Who calls: every carrier of a key, and every way of getting round having one."""

import asyncio
import hmac
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chukei import auth
from chukei.auth import ANONYMOUS, LOCAL, SHARED, Gatekeeper, credential
from chukei.config import AuthSettings, Secret, ServerSettings
from chukei.errors import CallerError
from chukei.model import Caller, Headers

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


@pytest.mark.parametrize(
    "headers",
    [
        [(b"api-key", KEY.encode())],
        [(b"x-api-key", KEY.encode())],
        [(b"authorization", b"Bearer " + KEY.encode())],
        [(b"authorization", b"bearer  " + KEY.encode() + b" ")],
        [(b"authorization", b"Bearer " + KEY.encode()), (b"api-key", KEY.encode())],
        [(b"api-key", b""), (b"authorization", b"Bearer " + KEY.encode())],
    ],
)
@pytest.mark.parametrize("local", [True, False])
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
    ([(b"authorization", b"Basic x"), (b"api-key", KEY.encode())], 401),
    ([(b"authorization", b"Bearer wrong"), (b"api-key", KEY.encode())], 400),
    ([(b"api-key", KEY.encode()), (b"x-api-key", b"other")], 400),
    ([(b"cookie", KEY.encode()), (b"x-key", KEY.encode())], 401),
    ([(b"x-ms-client-principal", b"eyJ9"), (b"x-forwarded-for", b"127.0.0.1")], 401),
    ([(b"api-key", KEY.encode() + b"\xff")], 401),
    ([(b"api-key", b"*")], 401),
]


@pytest.mark.parametrize(("headers", "status"), NO_ENTRY)
@pytest.mark.parametrize("local", [True, False])
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
    source = inspect.getsource(auth)
    assert source.count("hmac.compare_digest(digest, self._digest)") == 1
    assert "== self._digest" not in source
    assert hmac.compare_digest(auth._digest(b"a"), auth._digest(b"a"))


def test_one_credential_in_two_carriers_is_one() -> None:
    assert credential([(b"api-key", b"a"), (b"x-api-key", b" a ")]) == b"a"
    assert credential([]) is None


# Without a key: this machine's own users only.


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:7221", b"127.0.0.1", b"127.0.0.1:80", b"[::1]", b"[::1]:7221"]
)
def test_a_local_caller_needs_no_key(host: bytes) -> None:
    assert let_in(WITHOUT, [(b"host", host)], local=True) == LOCAL


def test_a_local_caller_may_carry_any_key() -> None:
    """Stock clients insist on sending one."""
    assert let_in(WITHOUT, [HOST, (b"authorization", b"Bearer whatever")], local=True) == LOCAL


@pytest.mark.parametrize("host", [b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example:7221", b"[::2]"])
def test_a_rebound_name_is_refused(host: bytes) -> None:
    assert refused(WITHOUT, [(b"host", host)]).status == 401


@pytest.mark.parametrize("name", [b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"])
def test_what_came_through_a_proxy_is_not_local(name: bytes) -> None:
    assert refused(WITHOUT, [HOST, (name, b"127.0.0.1")]).status == 401


def test_others_are_refused_and_told_what_helps() -> None:
    error = refused(WITHOUT, [HOST], local=False)
    assert error.status == 401
    assert "CHUKEI_API_KEY" in error.message


def test_a_missing_host_is_not_this_machines() -> None:
    assert refused(WITHOUT, [(b"origin", b"null")]).status == 401


@pytest.mark.parametrize("origin", [b"http://localhost:7221", b"HTTP://LOCALHOST:7221", b"https://app.example"])
def test_own_and_allowed_pages_may_call(origin: bytes) -> None:
    assert let_in(WITHOUT, [HOST, (b"origin", origin)], local=True) == LOCAL


@pytest.mark.parametrize(
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


def test_every_site_may_call_where_the_operator_says_so() -> None:
    gate = Gatekeeper(AuthSettings(), ServerSettings(cors_origins=("*",)))
    assert let_in(gate, [HOST, (b"origin", b"https://any.example")], local=True) == LOCAL


def test_anonymous_callers_are_served_from_anywhere() -> None:
    gate = Gatekeeper(AuthSettings(anonymous=True), ServerSettings())
    assert let_in(gate, [(b"host", b"x"), (b"authorization", b"Basic x")], local=False) == ANONYMOUS


def test_a_caller_never_shows_a_key() -> None:
    assert KEY not in repr((ANONYMOUS, LOCAL, SHARED, WITH_KEY.__dict__))
