"""An upstream that speaks WebSocket by a script, with the library that the relay does not use for its connections."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


@dataclass(eq=False)
class SocketVisit:
    """One connection: its handshake, and the events that came."""

    socket: ServerConnection
    target: str
    headers: Mapping[str, str]
    came: list[dict[str, Any]] = field(default_factory=list)

    async def next(self) -> dict[str, Any]:
        """Return the next event of the relay."""
        event: dict[str, Any] = json.loads(await self.socket.recv())
        self.came.append(event)
        return event

    async def say(self, *events: Mapping[str, Any]) -> None:
        """Send events."""
        for event in events:
            await self.socket.send(json.dumps(event, separators=(",", ":")))


Script = Callable[[SocketVisit], Awaitable[None]]
"""What the upstream does on one connection, which is closed when the script ends."""


class SocketUpstream:
    """Plays ``script`` on each connection; with ``refusal`` it refuses handshakes with that status and error."""

    def __init__(self, script: Script, refusal: tuple[int, dict[str, Any]] | None = None) -> None:
        self.script = script
        self.refusal = refusal
        self.visits: list[SocketVisit] = []
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The endpoint for the relay's configuration."""
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def __aenter__(self) -> Self:
        self._server = await serve(self._handle, "127.0.0.1", 0, process_request=self._process, max_size=2**25)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.refusal is None:
            return None
        status, error = self.refusal
        body = json.dumps({"error": error}).encode()
        fields = Headers({"content-type": "application/json", "content-length": str(len(body))})
        return Response(status, HTTPStatus(status).phrase, fields, body)

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        visit = SocketVisit(connection, connection.request.path, headers)
        self.visits.append(visit)
        try:
            await self.script(visit)
        except ConnectionClosed:
            return


def response(number: int, text: str = "Hi", usage: tuple[int, int] = (11, 3)) -> list[dict[str, Any]]:
    """Return the events of one response."""
    name = f"resp_{number:08d}"
    done = {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage)}
    shell = {"id": name, "object": "response", "model": "gpt-4o-2024-08-06", "output": []}
    return [
        {"type": "response.created", "sequence_number": 0, "response": {**shell, "status": "in_progress"}},
        {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg_1", "delta": text},
        {
            "type": "response.completed",
            "sequence_number": 2,
            "response": {**shell, "status": "completed", "usage": done},
        },
    ]


def answering(*, usage: tuple[int, int] = (11, 3)) -> Script:
    """Return a script that answers each request with one response."""

    async def script(visit: SocketVisit) -> None:
        while True:
            event = await visit.next()
            marked = {"stream_id": event["stream_id"]} if "stream_id" in event else {}
            number = len(visit.came)
            await visit.say(*({**each, **marked} for each in response(number, usage=usage)))
            await asyncio.sleep(0)

    return script
