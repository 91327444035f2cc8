"""The relay under other ASGI servers, which report a disconnect in several ways."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chukei.config import load
from chukei.hosts.asgi import Application, Scope
from chukei.model import End
from chukei.record import RequestRecord

pytestmark = pytest.mark.anyio

STREAM = json.dumps({"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()


class ClientDisconnect(Exception):
    """What some servers raise in place of OSError."""


class Server:
    """Runs one request; ``send`` fails from its message of a number on. ``told``: receive says so before."""

    def __init__(self, error: Exception, *, fails_at: int, told: bool = False) -> None:
        self.error = error
        self.fails_at = fails_at
        self.sent: list[dict[str, Any]] = []
        self.failed = 0
        self._body = [{"type": "http.request", "body": STREAM, "more_body": False}]
        self._told = asyncio.Event() if told else None

    async def receive(self) -> dict[str, Any]:
        if self._body:
            return self._body.pop()
        await (self._told or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if len(self.sent) < self.fails_at:
            self.sent.append(message)
            return
        self.failed += 1
        if self._told is not None:
            self._told.set()
            await asyncio.sleep(0.01)  # which the reader of ``receive`` needs
        raise self.error


def scope(method: str, path: str) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
    }


@pytest.fixture
async def relay() -> AsyncIterator[tuple[Application, list[RequestRecord]]]:
    records: list[RequestRecord] = []
    settings = load(None, {"CHUKEI_STORES__LEDGER": "none", "CHUKEI_SIMULATOR__INTER_TOKEN_SECONDS": "0.001"})
    application = Application(settings, hooks=[lambda record: records.append(record)])
    yield application, records
    await application.stop()


LEAVING = {
    "OSError": (OSError("the client has left"), False),
    "ConnectionResetError": (ConnectionResetError(), False),
    "its own error, after it said so": (ClientDisconnect(), True),
}


@pytest.mark.parametrize("how", LEAVING)
@pytest.mark.parametrize("fails_at", [0, 1, 3])
async def test_a_stream_whose_client_has_left_ends_quietly(
    relay: tuple[Application, list[RequestRecord]], caplog: pytest.LogCaptureFixture, how: str, fails_at: int
) -> None:
    application, records = relay
    error, told = LEAVING[how]
    server = Server(error, fails_at=fails_at, told=told)
    await application(scope("POST", "/v1/chat/completions"), server.receive, server.send)
    await asyncio.sleep(0)
    assert [record.end for record in records] == [End.CLIENT_ABORTED]
    assert server.failed == 1
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/health/live"), ("GET", "/nothing"), ("GET", "/")])
@pytest.mark.parametrize("fails_at", [0, 1])
async def test_pages_and_refusals_too(
    relay: tuple[Application, list[RequestRecord]],
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    fails_at: int,
) -> None:
    application, records = relay
    server = Server(OSError(), fails_at=fails_at)
    await application(scope(method, path), server.receive, server.send)
    await asyncio.sleep(0)
    assert len(records) == 1
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("path", "said"), [("/health/live", "failed inside"), ("/nothing", "could not be answered")])
async def test_a_server_that_fails_otherwise_is_told_of_in_the_log_and_raises_nothing(
    relay: tuple[Application, list[RequestRecord]], caplog: pytest.LogCaptureFixture, path: str, said: str
) -> None:
    application, records = relay
    server = Server(RuntimeError("a defect"), fails_at=0)
    await application(scope("GET", path), server.receive, server.send)
    assert len(records) == 1
    assert [said in entry.getMessage() for entry in caplog.records if entry.name == "chukei.gateway.gateway"] == [True]


@pytest.mark.parametrize("answers", [True, False])
async def test_a_handshake_of_websocket_is_answered(
    relay: tuple[Application, list[RequestRecord]], answers: bool
) -> None:
    application, records = relay
    server = Server(OSError(), fails_at=9)
    handshake = scope("GET", "/v1/responses") | {
        "type": "websocket",
        "headers": [(b"host", b"localhost"), (b"upgrade", b"websocket")],
        "extensions": {"websocket.http.response": {}} if answers else {},
    }
    del handshake["method"]
    await application(handshake, server.receive, server.send)
    assert [record.code for record in records] == ["websocket_not_supported"]
    if answers:
        assert [message["type"] for message in server.sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert server.sent[0]["status"] == 426
    else:
        assert server.sent == [{"type": "websocket.close"}]
