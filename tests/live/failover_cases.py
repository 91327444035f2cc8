"""Failures before the first output, as data: where the first deployment breaks, how, and what is thought of it then.

A case is played against the first of three deployments. Whatever it does, the client must see the answer of the
second one and nothing else, so there is no column for that.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from tests.live import matrix_forms as matrix
from tests.live.fault_scripts import LAST_CHUNK, Close, Hold, Receive, Reset, Script, Send, Stall, chunk, head

from chukei.pool.member import Status

GONE = "unresolvable"
"""The place whose name resolves to nothing."""

DAYLIGHT = "Sun, 22 Nov 2026 12:00:00 GMT"
FAILURES = 2
"""So many in a row open the breaker."""

NINE_LATER = "Sun, 22 Nov 2026 12:00:09 GMT"


_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and a whole good answer to it. ``held`` are its parts before any output, ``error`` one that fails."""

    name: str
    path: str
    request: bytes
    head: bytes
    held: tuple[bytes, ...]
    answer: bytes
    shown: bytes
    error: bytes = b""

    def of(self, model: str) -> bytes:
        """Return the request for a model, unlike any other: the same one again would be one source of failures."""
        return self.request[:-1] + f',"model":"{model}","metadata":{{"number":"{next(_NUMBERS)}"}}}}'.encode()

    @property
    def good(self) -> Script:
        """What a healthy deployment does."""
        return [Send(self.head + chunk(self.answer) + LAST_CHUNK)]

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of events."""
        return bool(self.error)


def _streamed(form: matrix.Form) -> Ask:
    answer = b"".join((*form.preamble, *form.outputs, form.finish, form.usage, form.terminal))
    shown = answer if form is matrix.CHAT else b"".join((*form.shown, form.shown_end))
    return Ask(form.name, form.path, form.request, head(), form.preamble, answer, shown, form.error)


def _whole(name: str, path: str, request: str, answer: str) -> Ask:
    body = answer.encode()
    half = body[: len(body) // 2]
    return Ask(name, path, request.encode(), head("application/json"), (half,), body, body)


CHAT = _streamed(matrix.CHAT)
SIMPLE = _streamed(matrix.SIMPLE)
RESPONSES = _streamed(matrix.RESPONSES)
COMPLETION = _whole(
    "completion",
    "/v1/chat/completions",
    '{"messages":[{"role":"user","content":"a"}]}',
    '{"id":"c1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"finish_reason":"stop",'
    '"message":{"role":"assistant","content":"中継"}}],"usage":{"prompt_tokens":7,"completion_tokens":3,'
    '"total_tokens":10}}',
)
EMBEDDING = _whole(
    "embedding",
    "/v1/embeddings",
    '{"input":"a","encoding_format":"float"}',
    '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.25,-0.5]}],"model":"e",'
    '"usage":{"prompt_tokens":7,"total_tokens":7}}',
)


@dataclass(frozen=True, slots=True)
class Case:
    """``code`` is that of the failed try, ``after`` what its deployment is thought to be then, and for how long.

    READY says that the failure is only counted, so that it takes several to open the breaker. ``billed`` says that the
    try may have cost the prompt's tokens. ``at`` is the place of the first deployment.
    """

    name: str
    code: str
    strike: Script = ()
    so_far: Script = ()
    after: Status = Status.READY
    why: str = ""
    seconds: float = 0.0
    billed: bool = True
    at: str = "scripted"

    @property
    def rounds(self) -> int:
        """How many requests, none like another, it takes until its deployment is left alone by all."""
        return 1 if self.after is Status.COOLING or self.code in ("connect_timeout", "tls_unverified") else FAILURES

    @property
    def silent(self) -> bool:
        """Whether it takes its time, each time again."""
        return self.code in ("connect_timeout", "upstream_timeout")

    def script(self, *, held: bool) -> Script:
        """What the first deployment does; ``held`` lets the test say when it strikes."""
        return [*self.so_far, *([Hold()] if held else []), *self.strike]

    def __str__(self) -> str:
        return self.name


_R, _O, _C = Status.READY, Status.OPEN, Status.COOLING

CONNECTING = (
    Case("connecting-refused", "connect_error", billed=False, at="refusing"),
    Case("connecting-unresolvable", "connect_error", billed=False, at=GONE),
    Case("connecting-black-hole", "connect_timeout", billed=False, at="black-hole"),
    Case("tls-reset", "connect_error", [Reset()], [Receive()], billed=False, at="handshake"),
    Case("tls-close", "connect_error", [Close()], [Receive()], billed=False, at="handshake"),
    Case("tls-stall", "connect_timeout", [Stall()], [Receive()], billed=False, at="handshake"),
    Case(
        "tls-none",
        "tls_error",
        [Send(b"HTTP/1.1 400 No TLS\r\n\r\n"), Stall()],
        [Receive()],
        billed=False,
        at="handshake",
    ),
    Case("tls-unverified", "tls_unverified", after=_O, seconds=60, billed=False, at="untrusted"),
)

_LOST, _TIMEOUT, _UNEXPECTED = "upstream_lost", "upstream_timeout", "unexpected_answer"

SENT = (
    Case("sent-reset", _LOST, [Reset()]),
    Case("sent-close", _LOST, [Close()]),
    Case("sent-stall", _TIMEOUT, [Stall()]),
    Case("sent-garbage", _UNEXPECTED, [Send(b"SSH-2.0\r\n"), Stall()]),
    Case("inside-head-reset", _LOST, [Reset()], [Send(head()[:40])]),
    Case("inside-head-close", _LOST, [Close()], [Send(head()[:40])]),
    Case("inside-head-stall", _TIMEOUT, [Stall()], [Send(head()[:40])]),
    Case("inside-head-giant", _UNEXPECTED, [Send(b"x-giant: " + b"x" * 80_000), Stall()], [Send(head()[:-2])]),
)


def _json(body: str, status: str = "200 OK", *fields: str) -> Script:
    return [Send(head("application/json", *fields, status=status, length=len(body)) + body.encode())]


def refused(status: str, *fields: str, code: str = "some_code") -> Script:
    """What a deployment does that answers with an error status."""
    return _json(json.dumps({"error": {"code": code, "message": "No.", "type": None}}), status, *fields)


_SERVER_ERROR = {"error": {"message": "The server had an error.", "type": "server_error", "code": "server_error"}}
_RATE_LIMIT = '{"error":{"message":"Too many.","type":"tokens","code":"rate_limit_exceeded"}}'
_PAGE = b"<html>Sign in</html>"
_ZIPPED = head("text/event-stream", "content-encoding: gzip") + chunk(b"\x1f\x8b\x08") + LAST_CHUNK
_BUSY = "429 Too Many Requests"

INSTEAD = (
    Case("html", "unexpected_content_type", [Send(head("text/html", length=20) + _PAGE)], after=_O, seconds=60),
    Case(
        "redirect",
        "unexpected_redirect",
        [Send(head("text/html", "location: http://127.0.0.1:9/", status="307 Moved", length=0))],
        after=_O,
        seconds=60,
    ),
    Case("gzip", "unexpected_encoding", [Send(_ZIPPED)], after=_O, seconds=60),
    Case("408", "upstream_408", refused("408 Request Timeout")),
    Case("200-with-an-error", "server_error", _json(json.dumps(_SERVER_ERROR, separators=(",", ":")))),
    Case("200-with-an-indented-error", "server_error", _json(json.dumps(_SERVER_ERROR, indent=2))),
    Case("200-with-a-rate-limit", "rate_limit_exceeded", _json(_RATE_LIMIT), after=_C, seconds=10),
    *(
        replace(case, billed=False)
        for case in (
            Case("429", "upstream_429", refused(_BUSY), after=_C, seconds=10),
            Case("429-seconds", "upstream_429", refused(_BUSY, "retry-after: 7"), after=_C, seconds=7),
            Case(
                "429-milliseconds",
                "upstream_429",
                refused(_BUSY, "retry-after: 7", "retry-after-ms: 6500"),
                after=_C,
                seconds=6.5,
            ),
            Case(
                "429-date",
                "upstream_429",
                refused(_BUSY, f"retry-after: {NINE_LATER}", f"date: {DAYLIGHT}"),
                after=_C,
                seconds=9,
            ),
            Case("500", "upstream_500", refused("500 Internal Server Error")),
            Case("500-page", "upstream_500", [Send(head("text/html", status="500 No", length=20) + _PAGE)]),
            Case("500-cut", "upstream_500", [Send(head("application/json", status="500 No", length=20)), Reset()]),
            Case("502", "upstream_502", refused("502 Bad Gateway")),
            Case("503", "upstream_503", refused("503 No", "retry-after: 8"), after=_O, seconds=8),
            Case("401", "upstream_unauthorized", refused("401 Unauthorized"), after=_O, seconds=60),
            Case("403", "upstream_forbidden", refused("403 Forbidden"), after=_O, seconds=60),
            Case(
                "404",
                "upstream_404",
                refused("404 Not Found", code="DeploymentNotFound"),
                after=_O,
                why="deployment_not_found",
                seconds=60,
            ),
        )
    ),
)


LIMITED = Case(
    "event-of-a-rate-limit",
    "rate_limit_exceeded",
    [Send(head() + chunk(b"data: " + _RATE_LIMIT.encode() + b"\n\n") + LAST_CHUNK)],
    after=_C,
    seconds=10,
)

NO_LENGTH = head("application/json").replace(b"transfer-encoding: chunked", b"connection: close")
UNREADABLE = (
    Case("json-cut", "unexpected_answer", [Send(NO_LENGTH + b'{"id":"c1","choices":[{"index":0'), Close()]),
    Case("json-empty", "unexpected_answer", [Send(head("application/json", length=0))]),
    Case("json-none", "unexpected_answer", [Send(head("application/json", length=8) + b"Welcome.")]),
)
"""Whole answers that the rules of HTTP find nothing wrong with."""

FAILED_RESPONSE = (
    b'event: error\ndata: {"type":"error","code":"server_error","message":"The server had an error.","param":null}\n\n'
    b'event: response.failed\ndata: {"type":"response.failed","response":{"id":"r1","status":"failed","error":'
    b'{"code":"server_error","message":"The server had an error."}}}\n\n'
)
"""How the Responses API itself says so, with what an error status could not tell."""


def arriving(ask: Ask) -> Iterator[Case]:
    """Breaks of an answer that had begun, after its head and after each part that is no output yet."""
    so_far: list[Send] = []
    for number, part in enumerate((ask.head, *map(chunk, ask.held))):
        so_far.append(Send(part))
        begun = tuple(so_far)
        yield Case(f"arriving-{number}-reset", _LOST, [Reset()], begun)
        yield Case(f"arriving-{number}-close", _LOST, [Close()], begun)
        yield Case(f"arriving-{number}-stall", _TIMEOUT, [Stall()], begun)
        yield Case(f"arriving-{number}-bad-chunk", _LOST, [Send(b"no size\r\n"), Stall()], begun)
        if ask.streams:
            yield Case(f"arriving-{number}-clean-end", _LOST, [Send(LAST_CHUNK)], begun)
            yield Case(f"arriving-{number}-error", "server_error", [Send(chunk(ask.error) + LAST_CHUNK)], begun)


LATE = (
    "tls-stall",
    "sent-reset",
    "sent-stall",
    "inside-head-close",
    "arriving-0-reset",
    "arriving-1-clean-end",
    "arriving-2-error",
    "event-of-a-rate-limit",
    "200-with-an-error",
    "html",
    "429",
    "500",
    "404",
)
"""Once heartbeats have sent the status, only the way back is another: each phase and each verdict once."""
READ_WHOLE = (
    "connecting-refused",
    "sent-reset",
    "inside-head-giant",
    "html",
    "gzip",
    "408",
    "200-with-an-error",
    "200-with-an-indented-error",
    "200-with-a-rate-limit",
    "429",
    "500-page",
)
"""Where a whole answer is read by other code than a stream, and a refusal of each kind, which is not."""


def cases() -> Iterator[tuple[Ask, Case, bool]]:
    """Every case for a chat that streams; for the other forms, and after heartbeats, what can differ there."""
    chat = (*CONNECTING, *SENT, *arriving(CHAT), LIMITED, *INSTEAD)
    for case in chat:
        yield CHAT, case, False
    for case in chat:
        if case.name in LATE:
            yield CHAT, case, True
    whole = [case for case in (*CONNECTING, *SENT, *INSTEAD) if case.name in READ_WHOLE]
    for case in (*whole, *arriving(COMPLETION), *UNREADABLE):
        if case.code != "upstream_timeout":  # `answer_seconds` is for all tries together
            yield COMPLETION, case, False
    for case in (*arriving(EMBEDDING), INSTEAD[0]):
        if case.name in ("arriving-1-reset", "html"):  # it differs by its operation and by having no output only
            yield EMBEDDING, case, False
    for case in arriving(RESPONSES):
        if case.code != "upstream_timeout":
            yield RESPONSES, case, case.name == "arriving-1-close"
    for case in arriving(SIMPLE):
        if case.name in ("arriving-0-reset", "arriving-2-clean-end", "arriving-2-error"):
            yield SIMPLE, case, False
