"""Who may use the administrators' API: the key, or an Entra ID token with a role."""

import hashlib

import pytest
from tests.admin.test_api import ENTRA, GOOD, KEY, FakeTokens, bearer, sent
from tests.fakes import FakeClock
from tests.rows import rows

from chukei.admin.access import AdminAccess, check_method
from chukei.callers.throttle import Throttle
from chukei.config import Secret
from chukei.errors import CallerError
from chukei.model import Headers

pytestmark = pytest.mark.anyio


@pytest.fixture
def access() -> AdminAccess:
    return AdminAccess(Throttle(3, FakeClock()), key=Secret(KEY), tokens=FakeTokens(), entra=ENTRA)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer wrong")],
        [(b"authorization", b"Basic " + KEY.encode())],
        [(b"authorization", KEY.encode())],
        [(b"authorization", b"Bearer " + KEY[:-1].encode())],
        [(b"authorization", b"Bearer " + KEY.encode() + b"0")],
        [(b"authorization", b"Bearer " + KEY.upper().encode())],
        [(b"authorization", b"Bearer " + hashlib.sha256(KEY.encode()).hexdigest().encode())],
        [(b"authorization", b"Bearer \xff\xfe\x00")],
        [(b"authorization", b"Bearer " + b"a" * 60_000)],
        [(b"api-key", KEY.encode())],
        [(b"x-api-key", KEY.encode())],
        [(b"cookie", b"key=" + KEY.encode())],
        [(b"x-ms-client-principal", b"e30=")],
    ],
)
async def test_nothing_else_opens(access: AdminAccess, fields: Headers) -> None:
    with pytest.raises(CallerError) as caught:
        await access.check(sent(*fields), "10.0.0.1")
    assert (caught.value.status, caught.value.code) == (401, "invalid_admin_key")
    assert caught.value.headers == [(b"www-authenticate", b'Bearer realm="chukei admin"')]
    assert KEY[:8] not in caught.value.message


@rows("name", [b"api-key", b"x-api-key"])
async def test_a_second_credential_is_refused(access: AdminAccess, name: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        await access.check(sent(GOOD, (name, KEY.encode())), "10.0.0.1")
    assert (caught.value.status, caught.value.code) == (400, "ambiguous_credentials")


async def test_guessing_is_slowed_down_and_what_is_right_still_opens(access: AdminAccess) -> None:
    seen = []
    for _ in range(5):
        with pytest.raises(CallerError) as caught:
            await access.check(sent((b"authorization", b"Bearer guess")), "10.0.0.1")
        seen.append(caught.value.status)
    assert seen == [401, 401, 401, 429, 429]
    assert caught.value.code == "too_many_failures"
    assert dict(caught.value.headers)[b"retry-after"] == b"21"
    await access.check(sent(GOOD), "10.0.0.1")
    with pytest.raises(CallerError) as elsewhere:
        await access.check(sent(), "10.0.0.2")
    assert elsewhere.value.status == 401
    assert (await access.check(bearer("a.looking.token"), "10.0.0.1")).may_change is False


@rows(
    ("token", "status", "code"),
    [
        ("an.expired.token", 401, "token_expired"),
        ("a.useless.token", 403, "missing_permission"),
        ("a.forged.token", 401, "invalid_admin_key"),
    ],
)
async def test_a_token_that_does_not_open_counts_as_a_guess(
    access: AdminAccess, token: str, status: int, code: str
) -> None:
    for _ in range(3):
        with pytest.raises(CallerError) as caught:
            await access.check(bearer(token), f"10.1.0.{status % 250 + len(code)}")
        assert (caught.value.status, caught.value.code) == (status, code)
    with pytest.raises(CallerError) as caught:
        await access.check(bearer(token), f"10.1.0.{status % 250 + len(code)}")
    assert caught.value.code == "too_many_failures"


async def test_without_a_key_only_tokens_open() -> None:
    access = AdminAccess(Throttle(0, FakeClock()), tokens=FakeTokens(), entra=ENTRA)
    assert (await access.check(bearer("a.changing.token"), "10.0.0.1")).may_change
    assert access.sign_in().key is False
    for headers in (sent(GOOD), sent(), bearer(""), bearer(hashlib.sha256(b"").hexdigest())):
        with pytest.raises(CallerError, match="An access token with a role is needed"):
            await access.check(headers, "10.0.0.1")


async def test_without_entra_no_token_opens_and_none_is_offered() -> None:
    access = AdminAccess(Throttle(0, FakeClock()), key=Secret(KEY))
    assert (access.sign_in().key, access.sign_in().entra) == (True, None)
    with pytest.raises(CallerError, match="The administrators' key is needed"):
        await access.check(bearer("a.changing.token"), "10.0.0.1")


async def test_only_looking_is_allowed_without_the_role_to_change(access: AdminAccess) -> None:
    looking = await access.check(bearer("a.looking.token"), "10.0.0.1")
    for method in ("GET", "HEAD"):
        check_method(method, looking)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "X"):
        with pytest.raises(CallerError) as caught:
            check_method(method, looking)
        assert (caught.value.status, caught.value.code) == (403, "not_allowed")
        check_method(method, await access.check(sent(GOOD), "10.0.0.1"))
