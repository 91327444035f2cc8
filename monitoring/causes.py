"""Whose affair a failure is, as matchers of the metrics' labels. docs/errors.md explains the codes."""

from monitoring.queries import any_of, none_of

NETWORK = ("connect_error", "connect_timeout", "tls_error", "tls_unverified", "upstream_lost", "unexpected_.*")
"""Failures of attempts on the way to Azure: no connection, or something in between answered."""

AZURE = ("upstream_408", "upstream_425", "upstream_5..", "upstream_error", "upstream_timeout", "stream_incomplete")
"""Failures of attempts at Azure itself, without those of its limits."""

CREDENTIALS = ("upstream_unauthorized", "upstream_forbidden", "upstream_identity_unavailable")
"""Failures of attempts because of the relay's own credentials."""

THROTTLED = 'outcome="upstream_429"'
"""Attempts that Azure's limits refused."""

CALLS = none_of("operation", ("live", "ready", "asset", "metrics", "admin"))
"""Requests other than probes and pages."""

NOT_REFUSED = ('model!=""', 'end!="refused"')
"""Requests that the relay let through to a model. The failing share is a share of these."""

FAILING_ENDS = (
    "upstream_error",
    "connect_error",
    "tls_error",
    "upstream_lost",
    "unexpected_answer",
    "truncated",
    "truncated_after_finish",
    "event_too_large",
    "timeout",
    "internal_error",
)
"""Ends of requests that failed whatever their status: after the first byte of a stream it is 200."""

FAILING_BY_STATUS = ("upstream_status", "no_deployment")
"""Ends of requests that failed if the status is 5xx. With 4xx the caller or a limit is the cause."""

FAILING = (
    (any_of("end", FAILING_ENDS),),
    (any_of("end", FAILING_BY_STATUS), 'status=~"5.."'),
)
"""The failed requests: those of the first and those of the second matchers."""

OWN_LIMITS = any_of("code", ("rate_limit_exceeded", "insufficient_quota"))
"""Refusals by the limits of the relay's configuration."""

NEUTRAL = none_of("outcome", ("answered", "hedge_lost", "cancelled"))
"""Attempts that failed. A request whose client has left, or a lost hedge, is none."""
