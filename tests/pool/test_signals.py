"""What headers say of the time to come."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.errors import UpstreamError
from chukei.model import End, Headers
from chukei.pool.signals import SHORTEST, is_pressed, retry_after, room
from chukei.pool.verdicts import judge

DATE = (b"date", b"Sun, 22 Nov 2026 12:00:00 GMT")


# When to come back.


@rows(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b"0.25", 0.25),
        (b" 7 ", 7.0),
        (b"0", SHORTEST),
        (b"3600", 3600.0),
        (b"1e9", 1e9),
        (b"-1", None),
        (b"-0.001", None),
        (b"inf", None),
        (b"Infinity", None),
        (b"1e999", None),
        (b"nan", None),
        (b"", None),
        (b"soon", None),
        (b"7 seconds", None),
        (b"7,8", None),
        (b"\xff\xfe", None),
        (b"\xd9\xa7", None),
        (b"9" * 5000, None),
    ],
)
def test_seconds(value: bytes, seconds: float | None) -> None:
    assert retry_after([(b"retry-after", value), DATE]) == seconds
    fine = None if seconds is None else max(float(value) / 1000, SHORTEST)
    assert retry_after([(b"retry-after-ms", value)]) == fine


@rows(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"retry-after-ms", b"1500"), (b"retry-after", b"2")], 1.5),
        ([(b"retry-after", b"2"), (b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"2")], 2.0),
        ([(b"retry-after-ms", b"-5"), (b"retry-after", b"2")], 2.0),
        ([(b"retry-after-ms", b"0"), (b"retry-after", b"2")], SHORTEST),
    ],
)
def test_milliseconds_come_before_seconds(headers: Headers, seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@rows(
    ("value", "seconds"),
    [
        (b"Sun, 22 Nov 2026 12:00:07 GMT", 7.0),
        (b"Sunday, 22-Nov-26 12:01:00 GMT", 60.0),  # RFC 850
        (b"Sun Nov 22 12:00:02 2026", 2.0),  # asctime
        (b"Sun, 22 Nov 2026 13:00:00 +0100", SHORTEST),
        (b"Sun, 22 Nov 2026 11:00:00 GMT", SHORTEST),
        (b"Sun, 22 Nov 2026 13:00:00 GMT", 3600.0),
        (b"Sun, 32 Nov 2026 12:00:07 GMT", None),
        (b"tomorrow", None),
    ],
)
def test_dates_are_measured_against_the_answers_own(value: bytes, seconds: float | None) -> None:
    assert retry_after([(b"retry-after", value), DATE]) == seconds
    assert retry_after([(b"retry-after", value)]) is None
    assert retry_after([(b"retry-after", value), (b"date", b"today")]) is None


@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), seconds=st.integers(1, 10**7))  # noqa: DTZ001
def test_no_clock_but_the_upstreams_matters(moment: datetime, seconds: int) -> None:
    now = moment.replace(tzinfo=UTC, microsecond=0)
    then = now + timedelta(seconds=seconds)
    headers = [
        (name, format_datetime(time, usegmt=True).encode()) for name, time in ((b"date", now), (b"retry-after", then))
    ]
    assert retry_after(headers) == seconds


@given(
    value=st.binary(max_size=40)
    | st.text("0123456789 :,+-GMTSunNov.e", max_size=40).map(str.encode)
    | st.from_regex(rb"[A-Z][a-z]{2}, [0-9]{0,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,12} [+-]?[A-Z0-9]{1,6}"),
    date=st.sampled_from([DATE, (b"date", b""), (b"x", b"")]),
)
def test_whatever_it_says_the_time_makes_sense(value: bytes, date: tuple[bytes, bytes]) -> None:
    for name in (b"retry-after", b"retry-after-ms"):
        seconds = retry_after([(name, value), date])
        assert seconds is None or SHORTEST <= seconds < float("inf")


# Close to a limit.


@rows(
    ("headers", "pressed"),
    [
        ([], False),
        ([(b"azure-openai-deployment-utilization", b"94.9%")], False),
        ([(b"azure-openai-deployment-utilization", b"95%")], True),
        ([(b"azure-openai-deployment-utilization", b"120 %")], True),
        ([(b"azure-openai-deployment-utilization", b"high")], False),
        ([(b"x-ratelimit-remaining-tokens", b"0")], False),
        ([(b"x-ratelimit-limit-tokens", b"0"), (b"x-ratelimit-remaining-tokens", b"0")], False),
        ([(b"x-ratelimit-limit-tokens", b"1000"), (b"x-ratelimit-remaining-tokens", b"-1")], False),
        ([(b"x-ratelimit-limit-tokens", b"1000"), (b"x-ratelimit-remaining-tokens", b"51")], False),
        ([(b"x-ratelimit-limit-tokens", b"1000"), (b"x-ratelimit-remaining-tokens", b"50")], True),
        ([(b"x-ratelimit-limit-requests", b"10"), (b"x-ratelimit-remaining-requests", b"0")], True),
        ([(b"x-ratelimit-limit-requests", b"10"), (b"x-ratelimit-remaining-tokens", b"0")], False),
    ],
)
def test_close_to_a_limit(headers: Headers, pressed: bool) -> None:
    assert is_pressed(headers) is pressed


@rows(
    ("fields", "tokens"),
    [
        pytest.param({"limit-tokens": "250000", "remaining-requests": "232"}, 250_000, id="Azure"),
        pytest.param({"limit-tokens": "40000", "remaining-tokens": "39923"}, 39_923, id="OpenAI"),
        ({"limit-tokens": "40000", "remaining-tokens": "0"}, 40_000),
        ({"limit-tokens": "40000", "remaining-tokens": "-1"}, 40_000),
        ({"remaining-tokens": "0"}, None),
        ({"limit-tokens": "0"}, None),
        ({"limit-tokens": "many", "remaining-tokens": "1e999"}, None),
        ({}, None),
    ],
)
def test_for_how_many_tokens_a_refusing_quota_has_room(fields: dict[str, str], tokens: float | None) -> None:
    headers = [(f"x-ratelimit-{name}".encode(), value.encode()) for name, value in fields.items()]
    assert room(headers) == tokens
    error = UpstreamError("upstream_429", "", end=End.UPSTREAM_STATUS, status=429, headers=headers)
    assert judge(error).room == tokens


@rows(
    ("code", "transport"),
    [
        ("connect_error", True),
        ("connect_timeout", True),
        ("tls_error", True),
        ("tls_unverified", True),
        ("upstream_identity_unavailable", True),
        ("upstream_lost", False),
        ("upstream_timeout", False),
        ("upstream_unauthorized", False),
        ("unexpected_content_type", False),
    ],
)
def test_which_failures_no_request_can_provoke(code: str, transport: bool) -> None:
    assert judge(UpstreamError(code, "", end=End.CONNECT_ERROR)).transport is transport
