"""An ASGI application that shows what a host does to it: paced, endless, failing and abandoned responses.

It takes nothing for granted but ASGI, so that what it sees is the host's doing. State is kept for the process and
read through `/seen/...`, requests of their own, so that a test waits for an event and never for a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict

from starlette.types import Receive, Scope, Send

from chukei.config import ConfigError, Problem

CHUNK = bytes(16384)

steps: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))
left: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
written: defaultdict[str, int] = defaultdict(int)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Dispatches on the path's first segment; the rest names the exchange under test."""
    kind, _, name = scope["path"].strip("/").partition("/")
    handler = HANDLERS.get(kind)
    if handler is None:
        await reply(send, 404, {"path": scope["path"], "method": scope["method"]})
    else:
        await handler(name, scope, receive, send)


async def reply(send: Send, status: int, answer: object) -> None:
    """A whole JSON answer."""
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def start(send: Send) -> None:
    """The head of a stream."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def part(send: Send, data: bytes) -> None:
    """One piece of a stream, with more to come."""
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def end(send: Send) -> None:
    """The clean end of a stream."""
    await send({"type": "http.response.body", "body": b""})


async def echo(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Says what arrived: the scope, and the body's size and digest."""
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        digest.update(message["body"])
        size += len(message["body"])
        more = message["more_body"]
    known = {key: repr(value) for key, value in scope.items()}
    headers = [[key.decode(), value.decode()] for key, value in scope["headers"]]
    await reply(send, 200, {"size": size, "sha256": digest.hexdigest(), "scope": known, "headers": headers})


async def paced(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Five events, each sent only when a request to `/step/{name}` has asked for it."""
    await start(send)
    for number in range(5):
        await steps[name].acquire()
        await part(send, b"data: %d\n\n" % number)
    await end(send)


async def step(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Lets `/paced/{name}` send one event more."""
    steps[name].release()
    await reply(send, 200, None)


async def flood(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Writes without end, and counts what it could write, until the client has gone."""
    await start(send)
    watch = asyncio.ensure_future(gone(receive))
    while not watch.done():
        await part(send, CHUNK)
        written[name] += len(CHUNK)
        await asyncio.sleep(0)
    left[name].set()


async def idle(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """One event, then silence, until the client has gone."""
    await start(send)
    await part(send, b"data: first\n\n")
    await gone(receive)
    left[name].set()


async def headless(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing at all, until the client has gone."""
    steps[name].release()
    await gone(receive)
    left[name].set()


async def gone(receive: Receive) -> None:
    """Reads until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reached(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers when `/headless/{name}` has been entered."""
    await steps[name].acquire()
    await reply(send, 200, None)


async def has_left(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers when the application has noticed that the client of `name` has gone."""
    await left[name].wait()
    await reply(send, 200, None)


async def has_written(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """How many bytes `/flood/{name}` has been able to hand to the server."""
    await reply(send, 200, written[name])


async def counted(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Forty lines of its own name, giving way to everybody else after each."""
    await start(send)
    for number in range(40):
        await part(send, f"{name}:{number}\n".encode())
        await asyncio.sleep(0)
    await end(send)


async def fail_early(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Raises before anything was sent."""
    raise RuntimeError(f"a planted secret of {name}")


async def fail_late(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Raises in mid-stream."""
    await start(send)
    await part(send, b"data: first\n\n")
    raise RuntimeError("a planted secret")


async def forget(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without an answer."""


async def misconfigured(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Finds at its first request that something is missing."""
    raise ConfigError([Problem("a-file.toml", "a.key", f"{name} needs a library that is not installed")])


async def moved(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Redirects to `/echo`, and sets a cookie."""
    headers = [(b"location", b"/echo/moved"), (b"set-cookie", b"session=one; Path=/"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 302, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def early(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses a request without reading its body."""
    await reply(send, 413, {"refused": True})


HANDLERS = {
    "echo": echo,
    "paced": paced,
    "step": step,
    "flood": flood,
    "idle": idle,
    "headless": headless,
    "reached": reached,
    "left": has_left,
    "written": has_written,
    "counted": counted,
    "fail-early": fail_early,
    "fail-late": fail_late,
    "forget": forget,
    "misconfigured": misconfigured,
    "early": early,
    "moved": moved,
}
