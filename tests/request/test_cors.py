"""Which other sites' pages may call."""

from tests.rows import rows

from chukei.request.cors import Cors

APP = b"https://app.example"
CORS = Cors(("https://app.example", "http://localhost:3000"))


def test_an_allowed_origin_is_named_in_the_answer() -> None:
    fields = dict(CORS.answer([(b"origin", APP)]))
    assert fields[b"access-control-allow-origin"] == APP
    # Without them a page repeats what must not be repeated, and cannot name its call (openai/openai-agents-js#483).
    exposed = fields[b"access-control-expose-headers"].split(b", ")
    assert {b"x-request-id", b"x-should-retry", b"location"} <= {*exposed}
    assert fields[b"vary"] == b"origin"
    assert b"access-control-allow-credentials" not in fields


@rows("origin", [b"https://evil.example", b"null", b"https://app.example.evil", b"http://app.example", b"*", b""])
def test_another_is_not_and_caches_are_told(origin: bytes) -> None:
    assert CORS.answer([(b"origin", origin)]) == [(b"vary", b"origin")]
    assert CORS.preflight([(b"origin", origin)]) is None


def test_without_origins_nothing_is_said() -> None:
    assert Cors(()).answer([(b"origin", APP)]) == []
    assert Cors(()).preflight([(b"origin", APP)]) is None


def test_a_request_without_an_origin_is_no_pages() -> None:
    assert CORS.answer([]) == [(b"vary", b"origin")]
    assert CORS.preflight([]) is None


def test_a_star_allows_every_origin_by_its_name() -> None:
    assert dict(Cors(("*",)).answer([(b"origin", b"https://any.example")]))[b"access-control-allow-origin"] == (
        b"https://any.example"
    )


def test_a_preflight_allows_what_was_asked() -> None:
    fields = dict(CORS.preflight([(b"origin", APP), (b"access-control-request-headers", b"authorization,x-a")]) or [])
    assert fields[b"access-control-allow-origin"] == APP
    assert fields[b"access-control-allow-headers"] == b"authorization,x-a"
    assert fields[b"access-control-allow-methods"] == b"GET, POST, DELETE, OPTIONS"
    assert b"origin" in fields[b"vary"]
