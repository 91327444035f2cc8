"""The WebSocket mode of the Responses API: turns in lanes, with what a connection remembers of them.

The events, errors and numbers are those of OpenAI's guide "WebSocket mode"; Microsoft's page describes the same without
``stream_id``.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chukei.simulator.exchanges import Event, Head, Reply
from chukei.simulator.socket_turns import Talk, Turns, event_of
from chukei.simulator.sockets import Socket
from chukei.simulator.turns import LIMIT

MOST_ACTIVE = 16  # responses at a time, in all lanes
MOST_NAMED = 32  # distinct stream_ids of a connection

_STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_ENDS = ("response.completed", "response.incomplete")


@dataclass(slots=True)
class Lane:
    """Turns that run one after another, and the latest response, which the next turn may continue though not stored."""

    stream_id: str | None
    turns: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    latest: str | None = None


class Lanes(Talk):
    """The WebSocket mode on one connection."""

    limit = LIMIT

    def __init__(self, simulator: Turns, socket: Socket, head: Head) -> None:
        super().__init__(simulator, socket)
        self._head = head
        self._lanes: dict[str | None, Lane] = {}
        self._memory: dict[str, Any] = {}
        self._active = asyncio.Semaphore(MOST_ACTIVE)

    async def begin(self) -> None:
        """Send nothing: the client begins."""

    async def hear(self, message: bytes) -> None:
        """Queue a turn in its lane, or answer with an error."""
        event = event_of(message)
        if event is None:
            await self._refuse("We could not parse the message. The API expects a JSON object.", None)
            return
        stream_id = event.pop("stream_id", None)
        if stream_id is not None and (not isinstance(stream_id, str) or not _STREAM_ID.fullmatch(stream_id)):
            what = (
                "The 'stream_id' field must be a non-empty string with at most 256 characters and may only contain"
                " letters, numbers, underscores, hyphens, and periods."
            )
            await self._refuse(what, None, "stream_id", "invalid_stream_id")
        elif event.get("type") == "response.steer":
            await self._refuse_steering(event, stream_id)
        elif event.get("type") != "response.create":
            what = f"Invalid value: '{event.get('type')}'. Supported values are: 'response.create'."
            await self._refuse(what, stream_id, "type", "invalid_value")
        elif stream_id not in self._lanes and len(self._lanes.keys() - {None}) >= MOST_NAMED and stream_id is not None:
            what = (
                f"This WebSocket connection has reached its maximum number of distinct stream IDs ({MOST_NAMED})."
                " Reuse an existing stream_id or open a new WebSocket connection."
            )
            await self._refuse(what, stream_id, "stream_id", "websocket_stream_limit_reached")
        else:
            self._lane(stream_id).turns.put_nowait(event)

    def _lane(self, stream_id: str | None) -> Lane:
        lane = self._lanes.get(stream_id)
        if lane is None:
            lane = self._lanes[stream_id] = Lane(stream_id)
            self.start(self._run(lane))
        return lane

    async def _run(self, lane: Lane) -> None:
        while True:
            event = await lane.turns.get()
            async with self._active:
                await self._turn(lane, event)

    async def _turn(self, lane: Lane, event: dict[str, Any]) -> None:
        """Answer like a streaming POST of the same body, with events instead of a body."""
        body = {**event, "stream": True}
        del body["type"]
        body.pop("background", None)
        head = Head("POST", self._head.path, self._head.query, headers=self._head.headers)
        exchange, reply = self.simulator.answer(head, msgspec.json.encode(body), self._memory, self.socket.exchange)
        if not reply.streamed and reply.status:
            if event.get("previous_response_id") == lane.latest:
                self._advance(lane, None)  # a failure forgets what it would have continued
            reply.steps = iter((Event(b"data: " + _error(reply) + b"\n\n"),))
        last = await self.play(exchange, reply, lambda data: _in_lane(data, lane.stream_id))
        end = event_of(last) if last else None
        if end is not None and end.get("type") in _ENDS:
            self._advance(lane, end["response"]["id"])

    def _advance(self, lane: Lane, latest: str | None) -> None:
        before, lane.latest = lane.latest, latest
        if all(other.latest != before for other in self._lanes.values()):
            self._memory.pop(before or "", None)

    async def _refuse(
        self, message: str, stream_id: str | None, param: str | None = None, code: str | None = None
    ) -> None:
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
        body = msgspec.json.encode({"type": "error", "status": 400, "error": error})
        await self.socket.send(_in_lane(body, stream_id))

    async def _refuse_steering(self, event: dict[str, Any], stream_id: str | None) -> None:
        message = "Steering is not supported by this model."
        body = {
            "type": "response.steer.failed",
            "sequence_number": 0,
            "error": {"type": "invalid_request_error", "code": "steering_not_supported", "message": message},
            "steer": {"previous_response_id": event.get("previous_response_id"), "input": event.get("input")},
        }
        await self.socket.send(_in_lane(msgspec.json.encode(body), stream_id))


def _in_lane(body: bytes, stream_id: str | None) -> bytes:
    """Add the ``stream_id`` of a named lane to an event."""
    return body if stream_id is None else body[:-1] + b',"stream_id":"%b"}' % stream_id.encode()


def _error(reply: Reply) -> bytes:
    """Return the event for an error that over HTTP would be the answer: its status, its error, and when to retry."""
    body = b"".join(step.data for step in reply.steps if isinstance(step, Event))
    answer = event_of(body) or {}
    error = answer.get("error")
    if not isinstance(error, dict):
        error = {"message": f"The service answered with the status {reply.status}.", "code": None}
    kind = "server_error" if reply.status >= 500 else "invalid_request_error"
    event: dict[str, Any] = {"type": "error", "status": reply.status, "error": {"type": kind, **error}}
    retry = {name: value for name, value in reply.headers.items() if name.startswith("retry-after")}
    if retry:
        event["headers"] = retry
    return msgspec.json.encode(event)
