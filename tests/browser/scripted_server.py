"""A server for the chat page that does exactly what a test tells it, byte by byte.

It serves the page's files with the headers that the relay sets, answers ``v1/models`` from a list, and
hands each chat request to the test as an `Exchange`: the test decides which bytes leave and when, and
sees when the browser goes away. One connection carries one request, so a cut is a cut.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chukei.adapters.assets import asset

WEB = Path(__file__).parents[2] / "src" / "chukei" / "web"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8", "x-request-id": "req-test-1"}


@dataclass
class Exchange:
    """One chat request and the connection that it came over."""

    headers: dict[str, str]
    body: dict[str, Any]
    writer: asyncio.StreamWriter
    path: str = ""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the browser has closed the connection."""
    extra: dict[str, str] = field(default_factory=dict)
    """Headers that this server adds to every answer."""

    async def start(self, status: int = 200, headers: Mapping[str, str] = EVENT_STREAM) -> None:
        """Send the status and the headers; the body then lasts until the connection closes."""
        await self.write(_head(status, {**headers, **self.extra}))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are, in a write of their own."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *texts: str, finish: str = "stop", model: str = "gpt-4o-2024-11-20") -> None:
        """Send a whole stream with these deltas, ordered as Azure orders it."""
        await self.start()
        await self.write(b"".join(azure_stream(*texts, finish=finish, model=model)))

    async def refuse(self, status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        """Send an OpenAI-shaped error instead of a stream."""
        body = json.dumps({"error": dict(error)}).encode()
        more = {"content-type": "application/json", "x-request-id": "req-test-1", **(headers or {})}
        await self.start(status, {**more, "content-length": str(len(body))})
        await self.write(body)


Script = Callable[[Exchange], Awaitable[None]]


def event(chunk: Mapping[str, Any]) -> bytes:
    """One server-sent event, framed as Azure does."""
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def delta(finish: str | None = None, model: str = "gpt-4o-2024-11-20", **fields: Any) -> bytes:
    """One chunk with a delta of the first choice."""
    choice = {"content_filter_results": {}, "delta": fields, "finish_reason": finish, "index": 0, "logprobs": None}
    return event({"choices": [choice], "created": 1, "id": "c1", "model": model, "usage": None})


def azure_stream(*texts: str, finish: str = "stop", model: str = "gpt-4o-2024-11-20") -> list[bytes]:
    """The events of a whole answer: filter results, role, contents, finish, usage, done."""
    usage = {"prompt_tokens": 23, "completion_tokens": 42, "total_tokens": 65}
    return [
        event({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []}),
        delta(role="assistant", content="", refusal=None, model=model),
        *(delta(content=text, model=model) for text in texts),
        delta(finish=finish, model=model),
        event({"choices": [], "created": 1, "id": "c1", "model": model, "usage": usage}),
        b"data: [DONE]\n\n",
    ]


def response_event(kind: str, **fields: Any) -> bytes:
    """One event of a stream of the Responses API."""
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def response_stream(*texts: str, model: str = "gpt-5-mini", thoughts: tuple[str, ...] = ()) -> list[bytes]:
    """The events of a whole response: the summary of its reasoning, contents, and the end with its usage."""
    details = {"reasoning_tokens": 64 if thoughts else 0}
    usage = {"input_tokens": 23, "output_tokens": 106, "output_tokens_details": details}
    response = {"id": "r1", "model": model}
    return [
        response_event("response.created", response=response | {"status": "in_progress"}),
        *(response_event("response.reasoning_summary_text.delta", output_index=0, delta=text) for text in thoughts),
        *(response_event("response.output_text.delta", output_index=1, delta=text) for text in texts),
        response_event("response.completed", response=response | {"status": "completed", "usage": usage}),
    ]


def saying(*texts: str, finish: str = "stop") -> Script:
    """A script that gives one whole answer."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(*texts, finish=finish)

    return script


def refusing(status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Script:
    """A script that answers with an error."""

    async def script(exchange: Exchange) -> None:
        await exchange.refuse(status, error, headers)

    return script


async def small_talk(exchange: Exchange) -> None:
    """What the server does when a test has nothing particular in mind."""
    await exchange.answer("Hello", " from", " the", " server.")


class ScriptedServer:
    """Serves the page on a free port of the loopback."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        """One for each chat request to come; `small_talk` when there is none left."""
        self.exchanges: list[Exchange] = []
        self.models = ["chat", "reasoner"]
        self.details: dict[str, dict[str, Any]] = {}
        """What the list says of a model beside its name, in its member ``chukei``."""
        self.relay: dict[str, Any] = {}
        """What the list says of the relay, in its member ``chukei``."""
        self.required_key = ""
        self.prefix = ""
        """The path that the page is mounted under, such as ``/relay``."""
        self.simulator = False
        self.failures: list[BaseException] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ScriptedServer"]:
        """Listen on a free port until the block ends; a script that failed fails the test."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self.failures == []

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the browser left, which is its right
        except Exception as error:
            self.failures.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        exchange = Exchange(headers, json.loads(body) if body else {}, writer)
        if self.simulator:
            exchange.extra["x-chukei-simulator"] = "true"
        watcher = asyncio.create_task(_watch(reader, exchange.gone))
        try:
            await self._route(method, target.split("?")[0], exchange)
        finally:
            watcher.cancel()

    async def _route(self, method: str, path: str, exchange: Exchange) -> None:
        if not path.startswith(self.prefix):
            await exchange.refuse(404, {"message": f"outside the prefix: {path}"})
            return
        path = path.removeprefix(self.prefix)
        if method == "GET" and not path.startswith("/v1/"):
            await _send_file(exchange, path)
        elif not self._allowed(exchange):
            await exchange.refuse(401, {"message": "A key is needed.", "type": "authentication_error", "code": "401"})
        elif path == "/v1/models":
            await self._send_models(exchange)
        else:
            exchange.path = path
            self.exchanges.append(exchange)
            script = self.scripts.pop(0) if self.scripts else small_talk
            await script(exchange)

    def _allowed(self, exchange: Exchange) -> bool:
        return self.required_key in ("", exchange.headers.get("authorization", "").removeprefix("Bearer "))

    async def _send_models(self, exchange: Exchange) -> None:
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "chukei"}
            | ({"chukei": self.details[name]} if name in self.details else {})
            for name in self.models
        ]
        listed = {"object": "list", "data": data} | ({"chukei": self.relay} if self.relay else {})
        await exchange.start(headers={"content-type": "application/json"})
        await exchange.write(json.dumps(listed).encode())


async def _watch(reader: asyncio.StreamReader, gone: asyncio.Event) -> None:
    with suppress(ConnectionError):
        await reader.read()
    gone.set()


async def _send_file(exchange: Exchange, path: str) -> None:
    file = asset(path[1:])
    if file is None:
        await exchange.refuse(404, {"message": f"no such file: {path}"})
        return
    headers = {"content-type": file.content_type, "content-security-policy": POLICY}
    cached = "public, max-age=31536000, immutable" if file.lasting else "no-store"
    await exchange.start(headers={**headers, "x-content-type-options": "nosniff", "cache-control": cached})
    await exchange.write(file.content)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} -", "connection: close", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
