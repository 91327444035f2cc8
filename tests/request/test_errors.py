"""Every error that the package of requests raises, with its whole answer."""

import gzip
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.answers import Row, check, refusal

from chukei.azure import CHAT, OPERATIONS
from chukei.model import Headers, Operation
from chukei.request import call as calls
from chukei.request import codings
from chukei.request.fields import MAX_FIELDS, MAX_NAME, Fields
from chukei.request.form import MAX_PARTS, MAX_TYPE, Form
from chukei.request.head import MAX_FIELDS as MAX_HEADERS
from chukei.request.head import check_head
from chukei.request.object_routes import FAMILIES
from chukei.request.routes import MAX_PARAMETERS, Route, find, refuse_websocket

JSON: Headers = [(b"content-type", b"application/json")]
TYPE = b"multipart/form-data; boundary=cut"
NAMES = ", ".join(OPERATIONS)


def bad(code: str, message: str, param: str | None = None) -> Any:
    return refusal(400, code, message, param=param)


def read(raw: bytes, operation: Operation = CHAT, headers: Headers = JSON, *, simple: bool = False) -> Any:
    return lambda: calls.read(Route(operation, simple=simple), operation, headers, raw)


def test_of_a_head(subtests: pytest.Subtests) -> None:
    close = [(b"connection", b"close")]

    def row(message: str, *headers: tuple[bytes, bytes], version: str = "1.1") -> Row:
        told = refusal(400, "ambiguous_request", message, headers=close)
        return (lambda: check_head(version, [*headers], max_bytes=9000, allowed_hosts=())), told

    host, length, chunked = (b"host", b"a"), (b"content-length", b"1"), (b"transfer-encoding", b"chunked")
    coding = "'Transfer-Encoding' may only be 'chunked', and only in HTTP/1.1."
    large = f"The request's headers exceed {MAX_HEADERS} fields or 9 bytes."
    foreign = "This relay does not serve the host name that was asked for."
    rows = [
        row("A header has characters that HTTP does not allow.", (b"a b", b"")),
        row("The header 'host' appears more than once.", host, host),
        row("'Content-Length' must be a number of bytes.", host, (b"content-length", b"-1")),
        row("'Content-Length' must be a number of bytes.", host, (b"content-length", b"1" * 16)),
        row("'Content-Length' and 'Transfer-Encoding' must not both be present.", host, length, chunked),
        row(coding, host, (b"transfer-encoding", b"gzip")),
        row(coding, host, chunked, version="1.0"),
        row("The header 'Host' is missing."),
        row("The header 'Host' is not a host name.", (b"host", b"a/b")),
        (
            lambda: check_head("1.1", [host, (b"b", b"12345")], max_bytes=9, allowed_hosts=()),
            refusal(431, "headers_too_large", large),
        ),
        (lambda: check_head("1.1", [host], max_bytes=99, allowed_hosts=("b",)), refusal(421, "unknown_host", foreign)),
    ]
    check(subtests, rows)


def test_of_a_route(subtests: pytest.Subtests) -> None:
    def row(status: int, code: str, message: str, path: str, query: str = "", **more: Any) -> Row:
        return (lambda: find("POST", path, query)), refusal(status, code, message, **more)

    def lost(path: str, hint: str) -> Row:
        return row(404, "unknown_route", f"There is no route {path[:100]!r}. {hint}", path)

    version = "'api-version' must be one version, such as 2024-10-21."
    chat, long = "/openai/chat/completions", "/" + "x" * 120
    rows = [
        lost(long, "Chat is at /v1/chat/completions and /api/chat-stream; set the client's base URL to end in /v1."),
        lost("/v1/v1/models", "The client adds /v1 itself: leave it out of its base URL."),
        lost("/openai/deployments//x", "The deployment's name is empty: set it in the client."),
        lost("/embeddings", "Did you mean /v1/embeddings?"),
        lost("/v1/nothing", f"Below /v1 there are {NAMES}, models and usage."),
        row(
            404,
            "route_not_served",
            "'/v1/threads' of OpenAI's or Azure's APIs is not served by this relay. It serves "
            f"{NAMES}, models, stored responses, conversations, chat/completions, and where objects.serve names them "
            f"{', '.join(FAMILIES)}; for anything else call the resource itself.",
            "/v1/threads",
        ),
        row(
            404,
            "unknown_route",
            f"There is no route {('/admin' + long)[:100]!r}; /admin/openapi.json describes those that there are.",
            "/admin" + long,
        ),
        row(
            405,
            "method_not_allowed",
            "'/v1/models' takes GET or HEAD, not POST.",
            "/v1/models",
            headers=[(b"allow", b"GET, HEAD, OPTIONS")],
        ),
        row(
            405,
            "method_not_allowed",
            "'/admin/ledger' takes GET or HEAD, not POST.",
            "/admin/ledger",
            headers=[(b"allow", b"GET, HEAD")],
        ),
        row(400, "invalid_model", "The model's name in the path is too long.", f"/v1/models/{'x' * 1025}"),
        row(400, "invalid_model", "The model's name in the path is not UTF-8.", "/v1/models/%ff"),
        row(400, "invalid_query", f"The query has more than {MAX_PARAMETERS} parameters.", chat, "&" * MAX_PARAMETERS),
        row(400, "invalid_api_version", version, chat, "api-version=x", param="api-version"),
        (
            lambda: refuse_websocket("/v1/responses"),
            refusal(
                426,
                "websocket_not_supported",
                "'/v1/responses' is not served over WebSocket here; send the request as an HTTP POST.",
                headers=[(b"upgrade", b"HTTP/1.1")],
            ),
        ),
    ]
    check(subtests, rows)
    assert find("GET", "/web/a/b.js", "").name == "web/a/b.js"
    assert len(find("GET", f"/v1/models/{'x' * 1024}", "").name) == 1024
    assert find("POST", chat, "&" * (MAX_PARAMETERS - 1)).api_version is None


def test_of_a_body(subtests: pytest.Subtests) -> None:
    speech, sound = (
        next(each for each in OPERATIONS.values() if each.name == name) for name in ("speech", "transcription")
    )
    missing, media = "missing_messages", "Send the request as 'Content-Type: {}'."
    simple = b'{"messages":[1],"%b}'
    many = b"{" + b",".join(b'"%d":1' % number for number in range(MAX_FIELDS + 1)) + b"}"
    spelt = "The field 'Model' must be spelt 'model': some readers of JSON would take one for the other."
    rows: list[Row] = [
        (read(b'{"messages":[1],"model":" "}'), bad("missing_model", "'model' must not be empty.", "model")),
        (read(b"{}"), bad(missing, "'messages' is missing: send a list of messages.", "messages")),
        (
            read(b'{"input":"a","stream":true}'),
            bad(
                missing,
                "This body has the form of the Responses API: send it to /v1/responses, or 'messages' to a chat.",
                "messages",
            ),
        ),
        (read(b'{"messages":"a"}'), bad("invalid_type", "'messages' must be a list of messages.", "messages")),
        (read(b'{"messages":[ ]}'), bad(missing, "'messages' is empty: send at least one message.", "messages")),
        (
            read(simple % b'stream":false', simple=True),
            bad("invalid_value", "This route always streams; leave 'stream' out.", "stream"),
        ),
        (
            read(simple % b'n":2', simple=True),
            bad("invalid_value", "This route has room for one answer; leave 'n' out.", "n"),
        ),
        (read(b"{}", speech, []), refusal(415, "unsupported_media_type", media.format("application/json"))),
        (read(b"{}", sound, []), refusal(415, "unsupported_media_type", media.format("multipart/form-data"))),
        (read(b'{"messages":[1],"model":5}'), bad("invalid_type", "'model' must be a string.", "model")),
        (read(b'{"messages":[1],"stream":5}'), bad("invalid_type", "'stream' must be true or false.", "stream")),
        (read(simple % b'n":"x"', simple=True), bad("invalid_type", "'n' must be a number.", "n")),
        (read(b"[]"), bad("invalid_json", "The request body must be a JSON object.")),
        (read(b'{"a":' + b"[" * 100_000), bad("invalid_json", "The request body is nested too deeply.")),
        (read(b'{"a":1}x'), bad("invalid_json", "The request body is not valid JSON: trailing characters (byte 8).")),
        (read(b'{"a":1,"a":2}'), bad("duplicate_field", "The field 'a' appears more than once.", "a")),
        (read(b'{"Model":1}'), bad("ambiguous_field", spelt, "model")),
        (read(many), bad("too_many_fields", f"The object has more than {MAX_FIELDS} fields.")),
        (
            read(b'{"%b":1}' % (b"x" * (MAX_NAME + 1))),
            bad("invalid_json", f"A field's name is longer than {MAX_NAME} characters."),
        ),
        (
            lambda: codings.coding_of([(b"content-encoding", b"br")]),
            refusal(
                415,
                "unsupported_content_encoding",
                "'Content-Encoding' may be gzip or deflate, once; or send the body as it is, without it.",
                headers=[(b"accept-encoding", b"gzip, deflate, identity")],
            ),
        ),
    ]
    packed = gzip.compress(b"body")
    for raw, why in (
        (b"no gzip", "it is damaged"),
        (packed[:-1], "it ends too early"),
        (packed + b"x", "more follows its end"),
    ):
        message = f"The request's body cannot be read as its 'Content-Encoding: gzip': {why}."
        rows.append((partial(unpack, raw), bad("invalid_content_encoding", message)))
    check(subtests, rows)
    assert Fields(b'{"%b":1}' % (b"x" * MAX_NAME)) is not None


def unpack(raw: bytes) -> list[bytes]:
    return [*codings.plain(raw, "gzip")]


def part(value: bytes, disposition: bytes, *more: bytes) -> bytes:
    lines = [b"--cut", b"Content-Disposition: form-data; " + disposition, *more]
    return b"\r\n".join([*lines, b"", value]) + b"\r\n"


END, MODEL = b"--cut--\r\n", part(b"m", b'name="model"')


def test_of_a_form(subtests: pytest.Subtests) -> None:
    def of(raw: bytes, kind: bytes = TYPE) -> Callable[[], object]:
        return lambda: Form(raw, kind)

    bare = b"--cut\r\n%b\r\n\r\nx\r\n" + END
    whys: list[tuple[Callable[[], object], str]] = [
        (of(END, TYPE + b";" * MAX_TYPE), f"the content type is longer than {MAX_TYPE} bytes"),
        (of(END, b"multipart/form-data"), "the content type names no boundary"),
        (of(END, TYPE + b"@"), "the content type's boundary has characters that no boundary may have"),
        (of(END, TYPE + b"; boundary=x"), "the content type names a parameter twice, or in parts"),
        (of(END, TYPE + b"; x"), "the content type has a parameter that cannot be read"),
        (of(bare % b"a: b\r\na: c"), "a part's head names a field twice"),
        (of(bare % b"a: b\x01"), "a part's head has control characters"),
        (of(b"x" + MODEL + END), "it does not begin with its boundary"),
        (of(part(b"x", b'name="a"') * (MAX_PARTS + 1) + END), f"it has more than {MAX_PARTS} parts"),
        (of(bare % b"a b"), "a boundary or a part's head cannot be read"),
        (of(MODEL), "it ends inside a part"),
        (of(MODEL + END + MODEL + END), "a line begins with its boundary and goes on, or parts follow its end"),
        (of(MODEL + b"--cut--x"), "its last boundary goes on"),
        (of(bare % b"a: b"), "a part has no plain 'Content-Disposition: form-data'"),
        (
            of(part(b"", b'name="a"', b"Content-Transfer-Encoding: base64") + END),
            "a part has a 'Content-Transfer-Encoding'; send its bytes as they are",
        ),
        (of(part(b"", b'name="a b"') + END), "a part must have one name, of letters, digits and _ . - [ ]"),
        (of(part(b"", b'name="a"; name="b"') + END), "a part's head names a parameter twice, or in parts"),
        (
            of(part(b"", b'name="a"', b"Content-Type: multipart/mixed") + END),
            "a part's content type cannot be read, or is another form",
        ),
        (of(part(b"", b"name=a; filename*=latin-1''b") + END), "an extended file name must be in UTF-8"),
        (of(part(b"", b"name=a; filename*=utf-8''%00") + END), "a file's name has control characters"),
        (of(part(b"x", b'name="_charset_"') + END), "it names a character set for other parts; send UTF-8"),
    ]
    prefix = "The request body is not a valid multipart form: "
    rows: list[Row] = [(made, bad("invalid_form", f"{prefix}{why}.")) for made, why in whys]
    spelt = "The field 'Model' must be spelt 'model': some readers would take one for the other."
    long = Form(
        part(b"x" * 4097, b'name="model"') + part(b"\xff", b"name=n") + part(b"x" * 4096, b"name=a") + END, TYPE
    )
    rows += [
        (of(part(b"", b"name=Model") + END), bad("ambiguous_field", spelt, "model")),
        (of(MODEL + MODEL + END), bad("duplicate_field", "The field 'model' appears more than once.", "model")),
        (
            of(part(b"", b"name=model; filename=a") + END),
            bad("invalid_type", "'model' must be a field of UTF-8 text.", "model"),
        ),
        (lambda: long.text("model"), bad("invalid_type", "'model' is too long.", "model")),
        (lambda: long.text("n"), bad("invalid_type", "'n' is not UTF-8 text.", "n")),
    ]
    check(subtests, rows)
    assert long.text("a") == "x" * 4096
    assert Form(part(b"x", b'name="a"') * MAX_PARTS + END, TYPE).text("a") == "x"
    named = part(b"x", b"name=file; filename=a; filename*=UTF-8'en'b%20%22c") + END
    assert b'name="file"; filename="b %22c"\r\n' in Form(named, TYPE).write({})
