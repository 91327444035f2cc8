"""The Functions host: an ASGI application under Microsoft's worker code, on real sockets.

Order and promptness are shown by handshakes: the application waits for a second request before it goes on, so that a
buffer anywhere on the way would stop the test and not merely slow it.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest
from tests.live.functions_client import call, request, write_app
from tests.live.functions_host import DEFAULT_KEY, FunctionsHost
from tests.rows import rows

pytestmark = pytest.mark.anyio


def serving(application: str) -> str:
    """The source of a function app around an application that can be imported as `module:name`."""
    module, name = application.split(":")
    return f"from chukei.hosts.functions import function_app\nfrom {module} import {name}\napp = function_app({name})\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionsHost]:
    directory = write_app(tmp_path_factory.mktemp("probe"), serving("tests.live.functions_probe:application"))
    with FunctionsHost(directory) as running:
        yield running


async def test_each_event_arrives_before_the_next_is_made(host: FunctionsHost) -> None:
    async with request(host, "GET", "/paced/steps") as exchange:
        response = await exchange.response()
        assert response.status_code == 200
        for number in range(5):
            await call(host, "/step/steps")
            assert await exchange.part() == b"data: %d\n\n" % number
        assert await exchange.part() is None


async def test_a_stalled_reader_stops_the_application(host: FunctionsHost) -> None:
    async with request(host, "GET", "/flood/stalled", receive_buffer=4096) as exchange:
        await exchange.response()
        previous, unchanged = -1, 0
        async with asyncio.timeout(60):
            while unchanged < 100:  # round trips in which the application had its turn and wrote nothing
                _, written = await call(host, "/written/stalled")
                unchanged = unchanged + 1 if written == previous else 0
                previous = written
        received = 0
        while received <= previous:
            part = await exchange.part()
            assert part is not None
            received += len(part)
        exchange.leave()
        assert await call(host, "/left/stalled") == (200, None)


async def test_leaving_in_mid_stream_reaches_the_application(host: FunctionsHost) -> None:
    async with request(host, "GET", "/idle/mid-stream") as exchange:
        await exchange.response()
        assert await exchange.part() == b"data: first\n\n"
        exchange.leave()
        assert await call(host, "/left/mid-stream") == (200, None)


@pytest.mark.parametrize("body", [b"", b'{"messages": []}'])
async def test_leaving_before_the_response_reaches_the_application(host: FunctionsHost, body: bytes) -> None:
    name = f"before-{len(body)}"
    async with request(host, "POST", f"/headless/{name}", body=body) as exchange:
        await call(host, f"/reached/{name}")
        exchange.leave()
        assert await call(host, f"/left/{name}") == (200, None)


async def test_leaving_in_the_middle_of_the_body_reaches_the_application(host: FunctionsHost) -> None:
    headers = [("content-length", "1000")]
    async with request(host, "POST", "/headless/half", headers=headers, body=None) as exchange:
        await exchange.send(h11.Data(data=b"only this"))
        await call(host, "/reached/half")
        exchange.leave()
        assert await call(host, "/left/half") == (200, None)


async def test_a_megabyte_of_request_body_arrives_unchanged(host: FunctionsHost) -> None:
    body = bytes(range(256)) * 4096
    status, seen = await call(host, "/echo/large", "POST", body=body)
    assert (status, seen["size"], seen["sha256"]) == (200, len(body), hashlib.sha256(body).hexdigest())


async def test_a_chunked_request_body_arrives_unchanged(host: FunctionsHost) -> None:
    pieces = [b"{", b'"messages"', b": []}", bytes(70000)]
    headers = [("transfer-encoding", "chunked")]
    async with request(host, "POST", "/echo/chunked", headers=headers, body=None) as exchange:
        for piece in pieces:
            await exchange.send(h11.Data(data=piece))
        await exchange.send(h11.EndOfMessage())
        assert (await exchange.response()).status_code == 200
        seen = json.loads(await exchange.rest())
    assert seen["sha256"] == hashlib.sha256(b"".join(pieces)).hexdigest()


async def test_a_client_that_waits_to_be_told_to_continue_is_told(host: FunctionsHost) -> None:
    status, seen = await call(host, "/echo/expect", "POST", headers=[("expect", "100-continue")], body=b"abc")
    assert (status, seen["size"]) == (200, 3)


async def test_an_answer_before_the_body_was_read_arrives_whole(host: FunctionsHost) -> None:
    assert await call(host, "/early/refused", "POST", body=bytes(1_000_000)) == (413, {"refused": True})


async def test_head_gets_the_headers_of_get_and_no_body(host: FunctionsHost) -> None:
    async with request(host, "HEAD", "/nothing") as exchange:
        response = await exchange.response()
        assert response.status_code == 404
        assert dict(response.headers)[b"content-length"] == b"38"
        assert await exchange.rest() == b""


@rows("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_reaches_the_application(host: FunctionsHost, method: str) -> None:
    assert await call(host, "/no/such/route", method) == (404, {"path": "/no/such/route", "method": method})


@rows(
    ("target", "path"),
    [
        ("/", "/"),
        ("/v1/models/", "/v1/models/"),
        ("/openai/deployments/gpt-4o/chat/completions?api-version=1", "/openai/deployments/gpt-4o/chat/completions"),
        ("/a%20b", "/a b"),
        ("/docs", "/docs"),
        ("/docs/oauth2-redirect", "/docs/oauth2-redirect"),
        ("/redoc", "/redoc"),
        ("/openapi.json", "/openapi.json"),
    ],
)
async def test_every_path_reaches_the_application(host: FunctionsHost, target: str, path: str) -> None:
    """FastAPI's documentation pages among them: it must not answer in the application's place."""
    assert await call(host, target) == (404, {"path": path, "method": "GET"})


async def test_the_scope_is_that_of_asgi_alone(host: FunctionsHost) -> None:
    _, seen = await call(host, "/echo/scope?api-version=1", headers=[("x-one", "1"), ("x-one", "2")])
    scope = seen["scope"]
    assert set(scope) <= {
        *("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string"),
        *("root_path", "headers", "client", "server", "extensions"),
    }
    assert (scope["root_path"], scope["raw_path"]) == ("''", "b'/echo/scope'")
    assert scope["query_string"] == "b'api-version=1'"
    assert [value for name, value in seen["headers"] if name == "x-one"] == ["1", "2"]


@pytest.mark.parametrize("path", ["/fail-early/x", "/forget"])
async def test_a_failure_before_the_response_is_an_error_that_clients_read(host: FunctionsHost, path: str) -> None:
    status, answer = await call(host, path)
    assert status == 500
    assert answer["error"]["code"] == "internal_error"
    assert answer["error"]["type"] == "server_error"
    assert "planted" not in json.dumps(answer)


async def test_a_failure_is_logged_with_its_cause(host: FunctionsHost) -> None:
    await call(host, "/fail-early/cause")
    await asyncio.to_thread(host.wait_for_log, "RuntimeError: a planted secret of cause")


async def test_a_failure_in_mid_stream_cuts_the_body(host: FunctionsHost) -> None:
    async with request(host, "GET", "/fail-late") as exchange:
        assert (await exchange.response()).status_code == 200
        assert await exchange.part() == b"data: first\n\n"
        with pytest.raises(h11.RemoteProtocolError):
            await exchange.part()


async def test_fifty_concurrent_streams_are_not_mixed_up(host: FunctionsHost) -> None:
    async def stream(name: str) -> bytes:
        async with request(host, "GET", f"/counted/{name}") as exchange:
            await exchange.response()
            return await exchange.rest()

    names = [f"stream-{number}" for number in range(50)]
    bodies = await asyncio.gather(*map(stream, names))
    assert bodies == ["".join(f"{name}:{number}\n" for number in range(40)).encode() for name in names]


async def test_function_keys_in_the_query_are_not_logged(host: FunctionsHost) -> None:
    await call(host, "/nothing?code=a-key-that-must-not-be-logged")
    await call(host, "/fail-early/keys")  # something that is logged, after it
    await asyncio.to_thread(host.wait_for_log, "a planted secret of keys")
    assert "a-key-that-must-not-be-logged" not in host.logs


async def test_an_open_stream_does_not_keep_the_process(tmp_path: Path) -> None:
    host = FunctionsHost(write_app(tmp_path, serving("tests.live.functions_probe:application")))
    host.start()
    async with request(host, "GET", "/idle/open") as exchange:
        await exchange.response()
        assert await asyncio.to_thread(host.stop) == 0


async def test_a_misconfiguration_found_at_the_first_request_is_told_to_the_log_alone(host: FunctionsHost) -> None:
    status, answer = await call(host, "/misconfigured/late")
    assert (status, answer["error"]["code"]) == (500, "misconfigured")
    assert "a.key" not in json.dumps(answer)
    await asyncio.to_thread(host.wait_for_log, "late needs a library that is not installed")


KEYED_APP = """
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request
app = func.FunctionApp()

@app.route(route="items/{id:int}/{rest?}", auth_level=func.AuthLevel.FUNCTION, methods=["GET"])
async def item(req: Request) -> JSONResponse:
    return JSONResponse(dict(req.path_params))
"""


async def test_the_test_host_guards_and_routes_as_the_platform_does(tmp_path: Path) -> None:
    with FunctionsHost(write_app(tmp_path, KEYED_APP, '{"version": "2.0"}')) as host:
        key = [("x-functions-key", DEFAULT_KEY)]
        assert await call(host, "/api/items/7") == (401, None)
        assert await call(host, "/api/items/7", headers=[("x-functions-key", "wrong")]) == (401, None)
        assert await call(host, "/api/items/7", headers=key) == (200, {"id": "7"})
        assert await call(host, f"/API/items/7/more?code={DEFAULT_KEY}") == (200, {"id": "7", "rest": "more"})
        assert await call(host, "/api/items/7", "POST", headers=key) == (404, None)
        assert await call(host, "/items/7", headers=key) == (404, None)


def test_the_test_host_reports_an_app_that_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="No module named 'absent'"):
        FunctionsHost(write_app(tmp_path, "import absent\n")).start()
