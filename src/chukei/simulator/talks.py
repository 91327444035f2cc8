"""Which protocol is spoken on a WebSocket. This module is imported with the first handshake."""

from __future__ import annotations

import asyncio

from chukei.simulator.exchanges import Exchange, Head, Opening
from chukei.simulator.lanes import Lanes
from chukei.simulator.realtime import Realtime
from chukei.simulator.realtime_session import Session
from chukei.simulator.socket_turns import Talk, Turns
from chukei.simulator.sockets import Socket


def talk_of(simulator: Turns, head: Head, session: Session | None) -> Opening:
    """Return what makes the talk of a socket; realtime has a session."""

    def opened(transport: asyncio.Transport, writable: asyncio.Event, exchange: Exchange) -> Talk:
        socket = Socket(transport, writable, exchange, simulator.settings)
        return Lanes(simulator, socket, head) if session is None else Realtime(simulator, socket, session)

    return opened
