"""A WebRTC call, whose sound does not pass through the relay.

The relay watches it over a WebSocket of its own (OpenAI, "Webhooks and server-side controls"): it reads what each
response used, and hangs up at a limit, at a shutdown, and when the caller is no longer let in.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import replace

from chukei.errors import RelayError
from chukei.gateway.exchange import Exchange
from chukei.gateway.sockets.meter import Meter
from chukei.gateway.sockets.places import model_at
from chukei.gateway.sockets.preparation import Preparation, hang_up_quietly
from chukei.gateway.sockets.realtime import Counting
from chukei.gateway.sockets.session import NORMAL, TEXT, limits_of
from chukei.model import End, Model
from chukei.pool import Lease
from chukei.ports import Frame, Socket


async def watch_call(
    made: Preparation, lease: Lease, model: Model, call_id: str, first: bytes | None, place: ExitStack
) -> None:
    """Begin to watch a call. If that fails, the call is hung up: nothing that cannot be counted goes on.

    ``first`` configures the call. ``place`` is the call's among the open sessions; it is left when the call ends.

    Raises:
        RelayError: the call cannot be watched, or a limit of the caller is reached.
    """
    services, record = made.services, made.exchange.record
    client = services.failover.client
    try:
        credential = await client.credential(lease.deployment)
        socket = await client.upstream.open_socket(
            lease.deployment.endpoint,
            f"/openai/v1/realtime?call_id={call_id}",
            [credential, (b"user-agent", b"chukei")],
            (),
            limits_of(made.gateway.settings),
        )
        if first is not None:
            await socket.send(Frame(TEXT, first))
    except BaseException:
        await hang_up_quietly(made, lease, call_id)
        lease.release(services.clock())
        raise
    watched = replace(record, request_id=f"{record.request_id[:100]}-call", operation="realtime_call", tries=[])
    meter = Meter(
        services.admission,
        watched,
        model,
        made.policy,
        services.clock,
        made.gateway.account_turn,
        lambda name: model_at(services.pool, name, lease.deployment),
    )

    kept, seconds = place.pop_all(), made.gateway.settings.sockets.lifetime_seconds

    async def serve(exchange: Exchange) -> None:
        try:
            await _watch(exchange, socket, meter, seconds)
        finally:
            kept.close()
            meter.close(watched.end or End.UPSTREAM_LOST)
            if socket.code is None or watched.end is not End.COMPLETED:
                await hang_up_quietly(made, lease, call_id)
            await socket.close(NORMAL)
            socket.abort()
            lease.release(services.clock())

    task = asyncio.create_task(made.gateway.attend(watched, serve))
    made.known.watching.add(task)
    task.add_done_callback(made.known.watching.discard)


async def _watch(exchange: Exchange, socket: Socket, meter: Meter, seconds: float) -> None:
    """Count a call to its end, which comes after so many seconds at the latest."""
    record, counting = exchange.record, Counting(meter)
    try:
        async with asyncio.timeout(seconds):
            while (frame := await socket.receive()) is not None:
                await counting.look(frame)
        record.end = End.COMPLETED if socket.code != 1006 else End.UPSTREAM_LOST
    except TimeoutError:
        record.end, record.code = End.COMPLETED, "websocket_connection_limit_reached"
    except RelayError as error:
        record.end, record.code, record.rule = End.REFUSED, error.code, error.rule
    except asyncio.CancelledError:
        record.end = exchange.stopped or End.SERVER_SHUTDOWN
        exchange.resume()
