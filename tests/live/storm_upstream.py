"""Six deployments whose health a timetable turns on and off; each event says who sent it, for which stream, and its
number, so that loss, repetition and mixing are exact."""

import asyncio
import re
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Self, cast

from tests.live.fault_scripts import LAST_CHUNK, chunk, head
from tests.live.recordings import DONE, FINISH, ROLE, delta
from tests.live.storm_weather import PLACES, Place, Spell, Timetable, Weather

EVENTS = 20
FIRST_SECONDS = 0.05
GAP_SECONDS = 0.04

BREAKS = 0.005
"""The share of streams that break off after output has begun, wherever they are answered."""

_LENGTH = re.compile(rb"content-length: (\d+)")
_STREAM = re.compile(rb"storm stream (\d+)")


def event(place: str, stream: int, number: int) -> bytes:
    """Write the event that can only be this one of this stream by this deployment."""
    return delta(f"{place} {stream} {number} ")


def breaks_after(seed: int, stream: int) -> int | None:
    """Return after how many events a stream breaks off, None for most."""
    draw = Random(f"break {seed} {stream}")
    return draw.randrange(1, EVENTS) if draw.random() < BREAKS else None


def error(weather: Weather, draw: Random) -> bytes:
    """Write the answer of a deployment that refuses."""
    body = b'{"error":{"code":"%b","message":"storm"}}' % weather.value.encode()
    fields = [f"retry-after-ms: {draw.randrange(200, 800)}"] if weather is Weather.BUSY else []
    return head("application/json", *fields, status=f"{weather.value} Storm", length=len(body)) + body


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that reached a deployment: when on the loop's clock, what it met, and since which change of weather."""

    place: str
    moment: float
    weather: Weather
    stream: int
    change: int


class StormUpstream:
    """``asked`` holds every request in order, ``broken`` the streams that were broken off on purpose."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.draw = Random(f"upstream {seed}")
        self.asked: list[Asked] = []
        self.broken: dict[int, str] = {}
        self.refused: Counter[str] = Counter()
        self.deployments = {place.name: StormDeployment(self, place) for place in PLACES}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for deployment in self.deployments.values():
                await stack.enter_async_context(deployment)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def connections(self) -> int:
        """How many connections are open, idle ones included."""
        return sum(len(deployment.connections) for deployment in self.deployments.values())

    async def blow(self, timetable: Timetable, start: float) -> None:
        """Do as the timetable says, from ``start`` on the loop's clock; all is fair when this returns."""
        loop = asyncio.get_running_loop()
        for moment, place, weather in _changes(timetable.spells):
            await asyncio.sleep(start + moment - loop.time())
            self.deployments[place].turn(weather)
        await asyncio.sleep(start + timetable.seconds - loop.time())


def _changes(spells: Iterable[Spell]) -> list[tuple[float, str, Weather]]:
    begun = [(spell.start, spell.place, spell.weather) for spell in spells]
    return sorted([*begun, *((spell.end, spell.place, Weather.FAIR) for spell in spells)])


class StormDeployment:
    """One of them. ``peak`` is the most requests that it has worked on at once."""

    def __init__(self, storm: StormUpstream, place: Place) -> None:
        self.storm = storm
        self.place = place
        self.weather = Weather.FAIR
        self.changes = 0
        self.connections: set[_Serving] = set()
        self.working = 0
        self.peak = 0
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it is, also while it refuses connections."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        # Its own socket holds the port while nobody listens on it.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._kept.bind(("127.0.0.1", 0))
        self._port = self._kept.getsockname()[1]
        self._loop = asyncio.get_running_loop()
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.reset()
        self._kept.close()

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: _Serving(self), "127.0.0.1", self._port, backlog=1024, reuse_port=True
        )

    def turn(self, weather: Weather) -> None:
        """Change the weather for what comes from now on; what is being answered goes on."""
        if weather is Weather.REFUSED and self._server is not None:
            self._server.close()
            self._server = None
            for connection in list(self.connections):
                if connection.idle:
                    connection.reset()
        elif self.weather is Weather.REFUSED and self._server is None:
            self._opening = asyncio.create_task(self._listen())
        self.weather = weather
        self.changes += 1


class _Serving(asyncio.Protocol):
    """One connection of the relay."""

    def __init__(self, deployment: StormDeployment) -> None:
        self._deployment = deployment
        self._loop = asyncio.get_running_loop()
        self._request = b""
        self._next: asyncio.TimerHandle | None = None
        self.idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._deployment.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deployment.connections.discard(self)
        if self._next is not None:
            self._next.cancel()
            self._next = None
            self._deployment.working -= 1

    def data_received(self, data: bytes) -> None:
        self._request += data
        top, gap, body = self._request.partition(b"\r\n\r\n")
        length = _LENGTH.search(top)
        if gap and length is not None and len(body) == int(length[1]):
            self._request = b""
            found = _STREAM.search(body)
            assert found is not None
            self._answer(int(found[1]))

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self._transport.abort()

    def _answer(self, stream: int) -> None:
        deployment, storm = self._deployment, self._deployment.storm
        weather = deployment.weather
        storm.asked.append(Asked(deployment.place.name, self._loop.time(), weather, stream, deployment.changes))
        self.idle = False
        match weather:
            case Weather.FAIR:
                deployment.working += 1
                deployment.peak = max(deployment.peak, deployment.working)
                self._stream = stream
                self._number = 0
                self._breaks = breaks_after(storm.seed, stream)
                self._next = self._loop.call_later(FIRST_SECONDS, self._begin)
            case Weather.RESET | Weather.REFUSED:
                self.reset()
            case Weather.STALL:
                self._transport.write(head())
            case _:
                self._transport.write(error(weather, storm.draw))
                self._end()

    def _begin(self) -> None:
        self._transport.write(head() + chunk(ROLE))
        self._tick()

    def _tick(self) -> None:
        deployment = self._deployment
        name = deployment.place.name
        if self._number == self._breaks:
            deployment.storm.broken[self._stream] = name
            self.reset()  # connection_lost counts
            return
        self._transport.write(chunk(event(name, self._stream, self._number)))
        self._number += 1
        if self._number < EVENTS:
            self._next = self._loop.call_later(GAP_SECONDS, self._tick)
            return
        self._transport.write(chunk(FINISH) + chunk(DONE) + LAST_CHUNK)
        self._next = None
        deployment.working -= 1
        self._end()

    def _end(self) -> None:
        self.idle = True
        if self._deployment.weather is Weather.REFUSED:
            self._transport.close()
