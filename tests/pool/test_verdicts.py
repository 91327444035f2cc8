"""What an upstream's failure means, row by row."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.errors import UpstreamError, event_too_large
from chukei.model import End
from chukei.pool.verdicts import TABLE, Cost, ErrorDetails, Fault, Row, judge, row_of, row_of_status


def failure(status: int, code: str, body: bytes | None = None, seconds: float | None = None) -> UpstreamError:
    return UpstreamError(code, "It failed.", end=End.UPSTREAM_STATUS, status=status, body=body, retry_after=seconds)


def saying(status: int, code: str) -> UpstreamError:
    return failure(status, "upstream_error", b'{"error":{"code":"%s","message":"No."}}' % code.encode())


@rows(
    ("error", "fault"),
    [
        (failure(429, "rate_limit_exceeded"), Fault.BUSY),
        (failure(429, "insufficient_quota"), Fault.BUSY),
        (failure(408, "upstream_error"), Fault.FAILED),
        (failure(500, "upstream_error"), Fault.FAILED),
        (failure(503, "upstream_error"), Fault.FAILED),
        (failure(529, "upstream_error"), Fault.FAILED),
        (failure(502, "connect_error"), Fault.FAILED),
        (failure(504, "connect_timeout"), Fault.FAILED),
        (failure(502, "tls_error"), Fault.FAILED),
        (failure(504, "upstream_timeout"), Fault.FAILED),
        (failure(502, "upstream_lost"), Fault.FAILED),
        (failure(502, "upstream_identity_unavailable"), Fault.FAILED),
        (failure(502, "upstream_unauthorized"), Fault.MISCONFIGURED),
        (failure(502, "upstream_forbidden"), Fault.MISCONFIGURED),
        (failure(502, "tls_unverified"), Fault.MISCONFIGURED),
        (failure(502, "unexpected_content_type"), Fault.MISCONFIGURED),
        (failure(502, "unexpected_redirect"), Fault.MISCONFIGURED),
        (failure(502, "unexpected_encoding"), Fault.MISCONFIGURED),
        (saying(404, "DeploymentNotFound"), Fault.MISCONFIGURED),
        (saying(404, "previous_response_not_found"), Fault.MISPLACED),
        (saying(400, "previous_response_not_found"), Fault.MISPLACED),
        (saying(400, "invalid_encrypted_content"), Fault.MISPLACED),
        (saying(404, "something"), Fault.CALLER),
        (saying(400, "content_filter"), Fault.CALLER),
        (saying(400, "DeploymentNotFound"), Fault.CALLER),
        (failure(400, "upstream_error"), Fault.CALLER),
        *(
            (failure(status, "upstream_error"), Fault.CALLER)
            for status in (402, 405, 406, 409, 410, 413, 415, 418, 422, 431)
        ),
        (failure(425, "upstream_error"), Fault.FAILED),
        (failure(502, "thinking_timeout"), Fault.FAILED),
        (event_too_large(), Fault.CALLER),
        (failure(502, "not_a_stream"), Fault.CALLER),
    ],
)
def test_whose_affair_it_is(error: UpstreamError, fault: Fault) -> None:
    assert judge(error).fault is fault


@rows(("status", "fault"), [(429, Fault.BUSY), (503, Fault.FAILED), (408, Fault.FAILED)])
def test_the_time_that_was_asked_for_goes_along(status: int, fault: Fault) -> None:
    verdict = judge(failure(status, "upstream_error", seconds=12.5))
    assert (verdict.fault, verdict.seconds) == (fault, 12.5)


@rows(
    ("message", "why"),
    [
        ("Conversation with id 'conv_1' not found.", "conversation_not_found"),
        ("Item with id 'rs_1' not found. Items are not persisted when `store` is set to false.", "item_not_found"),
        ("Vector store with id 'vs_1' not found.", "vector_store_not_found"),
        ("Container with id 'cntr_1' not found.", "container_not_found"),
        ("No such File object: file-1", "file_not_found"),
        # BerriAI/litellm#25759: Azure's words for files that code interpreter cannot find.
        ("Files [assistant-1] were not found due to ownership verification failure. Ensure …", "file_not_found"),
    ],
)
def test_what_another_deployment_has_is_told_by_its_words(message: str, why: str) -> None:
    body = msgspec.json.encode({"error": {"message": message, "type": "invalid_request_error", "code": None}})
    verdict = judge(failure(404, "upstream_error", body))
    assert (verdict.fault, verdict.why) == (Fault.MISPLACED, why)


@rows(
    ("status", "said", "kind"),
    [
        (401, ErrorDetails(code="401"), "upstream_unauthorized"),
        (
            401,
            ErrorDetails(code="PermissionDenied", message="It lacks the required data action `x`."),
            "operation_denied",
        ),
        (403, ErrorDetails(code="403", message="Public access is disabled."), "upstream_forbidden"),
        (403, ErrorDetails(code="content_policy_violation"), "content_refused"),
        (400, ErrorDetails(code="x", innererror={"code": "ResponsibleAIPolicyViolation"}), "prompt_refused"),
        (400, ErrorDetails(message="This model's maximum context length is 8192 tokens."), "prompt_refused"),
        (400, ErrorDetails(code=[], message={}), "request_refused"),
        (408, ErrorDetails(), "request_timed_out"),
        (451, ErrorDetails(), "request_refused"),
        (504, ErrorDetails(), "server_failed"),
        (600, ErrorDetails(), "unknown_status"),
    ],
)
def test_the_row_of_a_status(status: int, said: ErrorDetails, kind: str) -> None:
    assert row_of_status(status, said).kind == kind


def test_a_deployment_of_claude_that_is_missing_is_told_by_its_words() -> None:
    def said(message: str) -> ErrorDetails:
        return ErrorDetails(type="not_found_error", message=message)

    assert row_of_status(404, said("model: claude-x")).kind == "deployment_not_found"
    assert row_of_status(404, said("Not found.")).kind == "request_refused"


def test_only_what_no_request_can_provoke_is_of_the_transport() -> None:
    assert {row.kind for row in TABLE if row.transport} == {
        *("connect_error", "connect_timeout", "tls_error", "tls_unverified", "upstream_identity_unavailable")
    }


@rows("row", TABLE)
def test_a_row_is_found_by_its_kind_and_says_what_follows(row: Row) -> None:
    found = UpstreamError("anything", "x", end=row.end, status=row.status or 404, kind=row.kind)
    verdict = judge(found)
    assert row_of(found) is row
    assert (verdict.fault, verdict.transport, verdict.moves, verdict.cost) == (
        *(row.fault, row.transport, row.moves, row.cost),
    )


def test_what_was_worked_on_inside_a_200_has_its_price() -> None:
    found = UpstreamError("429", "x", end=End.UPSTREAM_ERROR, status=429, kind="rate_limited")
    assert judge(found).cost is Cost.ESTIMATE
    assert judge(failure(429, "upstream_429")).cost is Cost.NOTHING


@given(status=st.sampled_from([400, 404]), body=st.binary() | st.sampled_from([b"[" * 100_000, b'{"error":[]}', b"0"]))
def test_any_body_can_be_judged(status: int, body: bytes) -> None:
    assert judge(failure(status, "upstream_error", body)).fault is Fault.CALLER


@rows("code", [b"1234", b"null", b'"x"', b"true", b"{}"])
def test_a_code_of_any_type_can_be_judged(code: bytes) -> None:
    assert judge(failure(404, "upstream_error", b'{"error":{"code":%s}}' % code)).fault is Fault.CALLER
