"""Records of finished requests for tests of what is made of them."""

from typing import Any

from chukei.model import End
from chukei.record import Attempt, RequestRecord
from chukei.trace import TraceContext
from chukei.usage import Usage

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
REQUEST, FIRST, SECOND = "1" * 16, "2" * 16, "3" * 16
NOW = 1_800_000_000_000_000_000
"""The end of each request, in nanoseconds since 1970."""


def answered(**differing: Any) -> RequestRecord:
    """Return a stream of two seconds, whose first token came after a half."""
    attempt = Attempt("a", seconds=0.4, started=0.1, span_id=FIRST, status=200)
    given = {
        "operation": "chat",
        "model": "gpt-4o",
        "deployment": "a",
        "stream": True,
        "status": 200,
        "end": End.COMPLETED,
        "finish_reasons": {0: "stop"},
        "served_model": "gpt-4o-2024-11-20",
        "usage": Usage(12, 34, cached=5),
        "first_token": 0.5,
        "duration": 2.0,
        "tries": [attempt],
        "answering": attempt,
        "trace": TraceContext(TRACE, REQUEST, sampled=True),
        **differing,
    }
    return RequestRecord("req_1", "POST", "/v1/chat/completions", **given)
