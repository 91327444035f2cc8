"""The front of `FunctionsHost`: what the Functions host does between the socket and the worker, as a program.

    python -m tests.live.functions_front --app DIRECTORY --key KEY [--silence SECONDS]

prints `READY <port>` when it serves, and ends on SIGTERM or when its standard input closes. Bodies are re-framed piece
by piece, as YARP does; a response that the worker breaks off is broken off towards the client too. An exchange in which
nobody sends anything for 240 seconds is ended: with 504 if the response has not begun, else by cutting it. Redirects go
to the client, and no cookies are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import uuid
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import h11
from tests.live.functions_worker import HttpFunction, Worker

READ_SIZE = 65536
# Kestrel's default for all header fields of a request together (KestrelServerLimits.MaxRequestHeadersTotalSize).
MAX_HEADERS = 32768
# How long a body that nobody wants is read after the response, so that a reset does not destroy the response on its
# way (RFC 9112 section 9.6). Kestrel takes five seconds.
LINGER_SECONDS = 5
# RFC 9110 section 7.6.1: these describe one connection. `expect` is answered here.
NOT_FORWARDED = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"expect", b"transfer-encoding"}
INVOCATION_ID = b"x-ms-invocation-id"
# The host's ForwarderRequestConfig.ActivityTimeout (azure-functions-host, DefaultHttpProxyService.cs). YARP starts it
# anew whenever a read or a write of the exchange has completed, and answers 504 where it can.
SILENCE_SECONDS = 240.0

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]


class Peer:
    """A connection's HTTP/1.1 framing (h11) and its bytes (asyncio streams)."""

    def __init__(
        self, role: type[h11.CLIENT | h11.SERVER], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEADERS)
        self._reader = reader
        self.writer = writer

    async def receive(self) -> h11.Event | type[h11.PAUSED]:
        """The next event; ConnectionClosed when the other side has gone or has closed its sending half."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self._reader.read(READ_SIZE))
        assert not isinstance(event, type) or event is h11.PAUSED
        return event

    async def send(self, event: h11.Event) -> None:
        """Writes the event and waits until the other side has taken what was written before."""
        self.writer.write(self.http.send(event) or b"")
        await self.writer.drain()


class Front:
    """Serves clients: route, key, invocation, and the request forwarded to the worker's HTTP server."""

    def __init__(self, worker: Worker, key: str, silence: float) -> None:
        self._worker = worker
        self._key = key
        self._silence = silence
        self._invocations: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, request after request."""
        client = Peer(h11.SERVER, reader, writer)
        try:
            while await self._exchange(client):
                client.http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            with contextlib.suppress(ConnectionError, h11.LocalProtocolError):
                await answer(client, error.error_status_hint)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _exchange(self, client: Peer) -> bool:
        """One request and its response; whether the connection can carry another."""
        request = await client.receive()
        if not isinstance(request, h11.Request):
            return False
        function, route = self._match(request)
        if function is None:
            await answer(client, 404)
        elif not (function.anonymous or self._has_key(request)):
            await answer(client, 401)
        else:
            await self._forward(client, request, self._invoke(function, route))
        return await finish(client)

    def _match(self, request: h11.Request) -> tuple[HttpFunction | None, dict[str, str]]:
        path = unquote(urlsplit(request.target.decode()).path)
        # These prefixes are the host's own (its management interface and its extensions' webhooks).
        if path.lower().startswith(("/admin/", "/runtime/")):
            return None, {}
        for function in self._worker.functions:
            found = function.pattern.match(path)
            if found and (not function.methods or request.method.decode() in function.methods):
                return function, {name: value for name, value in found.groupdict().items() if value is not None}
        return None, {}

    def _has_key(self, request: h11.Request) -> bool:
        query = parse_qs(urlsplit(request.target.decode()).query)
        header = [value.decode() for name, value in request.headers if name == b"x-functions-key"]
        return self._key in [*header, *query.get("code", [])]

    def _invoke(self, function: HttpFunction, route: dict[str, str]) -> str:
        invocation_id = str(uuid.uuid4())
        task = asyncio.create_task(self._invocation(function, invocation_id, route))
        self._invocations.add(task)
        task.add_done_callback(self._invocations.discard)
        return invocation_id

    async def _invocation(self, function: HttpFunction, invocation_id: str, route: dict[str, str]) -> None:
        response = await self._worker.invoke(function, invocation_id, route)
        if response.result.exception is not None:
            logger.error("invocation %s failed: %s", invocation_id, response.result.exception.message)

    async def _forward(self, client: Peer, request: h11.Request, invocation_id: str) -> None:
        upstream = Peer(h11.CLIENT, *await asyncio.open_connection(*self._worker.address, limit=READ_SIZE))
        silence = Silence(self._silence)
        upload = asyncio.create_task(relay_request(client, upstream, request, invocation_id, silence))
        download = asyncio.create_task(relay_response(upstream, client, silence))
        try:
            if not await silence.until_one_is_done(upload, download):
                await silenced(client)
            elif download.done():
                await download
            else:
                await upload  # it returns when the client has gone, and raises when the client's framing is broken
                raise ConnectionResetError
        except h11.RemoteProtocolError as error:
            if client.http.our_state is not h11.SEND_RESPONSE:
                raise ConnectionResetError from error
            await answer(client, 400 if upload.done() else 502)
        finally:
            for task in (upload, download):
                task.cancel()
            await asyncio.gather(upload, download, return_exceptions=True)
            upstream.writer.close()


class Silence:
    """How long an exchange may go on without a read or a write that completes."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self.broken()

    def broken(self) -> None:
        """Something was read or written."""
        self._deadline = asyncio.get_running_loop().time() + self._limit

    async def until_one_is_done(self, *tasks: asyncio.Task[None]) -> bool:
        """Whether one of them ended before the silence became too long."""
        while (left := self._deadline - asyncio.get_running_loop().time()) > 0:
            done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return True
        return False


async def silenced(client: Peer) -> None:
    """Ends an exchange that was silent for too long."""
    if client.http.our_state is not h11.SEND_RESPONSE:
        raise ConnectionResetError
    await answer(client, 504)


async def relay_request(
    client: Peer, upstream: Peer, request: h11.Request, invocation_id: str, silence: Silence
) -> None:
    """Forwards the request and its body, then watches the client; returns when the client has gone."""
    names = {name for name, _ in request.headers}
    dropped = NOT_FORWARDED | {INVOCATION_ID}
    headers: Headers = [(n, v) for n, v in request.headers.raw_items() if n.lower() not in dropped]
    if b"transfer-encoding" in names:
        headers.append((b"transfer-encoding", b"chunked"))
    headers.append((INVOCATION_ID, invocation_id.encode()))
    worker_listens = True
    event: h11.Event | type[h11.PAUSED] = h11.Request(method=request.method, target=request.target, headers=headers)
    while not isinstance(event, h11.ConnectionClosed):
        if worker_listens and isinstance(event, (h11.Request, h11.Data, h11.EndOfMessage)):
            try:
                await upstream.send(event)
            except ConnectionError:  # the worker has answered already, or broken: the response's relay finds out which
                worker_listens = False
            silence.broken()
        if client.http.they_are_waiting_for_100_continue:
            await client.send(h11.InformationalResponse(status_code=100, headers=[]))
        event = await client.receive()
        if event is h11.PAUSED:  # the client has sent its next request already: it is still there
            await asyncio.get_running_loop().create_future()


async def relay_response(upstream: Peer, client: Peer, silence: Silence) -> None:
    """Forwards the worker's response as it comes; RemoteProtocolError when it ends early."""
    while True:
        try:
            event = await upstream.receive()
        except ConnectionError as error:
            raise h11.RemoteProtocolError("the worker reset the connection") from error
        silence.broken()
        if isinstance(event, h11.Response):
            headers = [(n, v) for n, v in event.headers.raw_items() if n.lower() not in NOT_FORWARDED]
            await client.send(h11.Response(status_code=event.status_code, headers=headers, reason=event.reason))
        elif isinstance(event, h11.Data):
            await client.send(event)
        elif isinstance(event, h11.EndOfMessage):
            await client.send(h11.EndOfMessage())
            return
        elif isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("the worker closed the connection before it answered")


async def answer(client: Peer, status: int) -> None:
    """The host's own answer: a status and no body."""
    await client.send(h11.Response(status_code=status, headers=[(b"content-length", b"0")]))
    await client.send(h11.EndOfMessage())


async def finish(client: Peer) -> bool:
    """Reads what is left of a body that was answered early; whether another request can follow."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while client.http.their_state is h11.SEND_BODY:
                await client.receive()
    return client.http.our_state is h11.DONE and client.http.their_state is h11.DONE


class StandardInput(asyncio.Protocol):
    """Ends the program when whoever started it closes the pipe, or dies."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


async def run(app_dir: Path, key: str, silence: float) -> None:
    """Loads the app, serves it on a free port of the loopback interface, and returns when told to stop."""
    worker = Worker(app_dir)
    await worker.start()
    front = Front(worker, key, silence)
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0, limit=READ_SIZE, backlog=1024)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # The worker's uvicorn took the signal when it started; on the platform, too, it is the host that ends the worker.
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    standard_input, _ = await loop.connect_read_pipe(lambda: StandardInput(stop), sys.stdin)
    print(f"READY {server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - the program's interface
    await stop.wait()
    standard_input.close()
    server.close()


def main() -> None:
    """Puts the app's directory where the platform has it, first on the path and current, and runs it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--app", type=Path, required=True)
    arguments.add_argument("--key", required=True)
    arguments.add_argument("--silence", type=float, default=SILENCE_SECONDS)
    options = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("azure.functions").setLevel(logging.WARNING)
    app_dir = options.app.resolve()
    sys.path[:0] = [str(app_dir), str(app_dir / ".python_packages" / "lib" / "site-packages")]
    os.chdir(app_dir)
    asyncio.run(run(app_dir, options.key, options.silence))


if __name__ == "__main__":
    main()
