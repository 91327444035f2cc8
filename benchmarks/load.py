"""The clients: ``python -m benchmarks.load ORDER``, with an Order in JSON.

Prints ``open`` when every client has received its first event, and a Tally as JSON at the end. Nothing is assumed of
what comes: HTTP is parsed, and each event's stamp says which stream it belongs to, which it is, and when it was sent.
"""

import asyncio
import itertools
import ssl
import sys
import time
from array import array
from pathlib import Path
from typing import cast

import httptools
import msgspec

from benchmarks import events
from benchmarks.process import new_loop

KEY = "benchmark-key"
TARGET = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
_SENTENCE = "You measure the time between two words. "


class Order(msgspec.Struct):
    """What the clients are to do; the same words as in workloads.Workload.

    ``keys`` is a file of what they show, one to a line, taken in turn; ``ca`` a file of what is trusted, where the
    port speaks TLS.
    """

    port: int
    clients: int
    requests: int
    events: int = 0
    gap: int = 0
    ramp: float = 0.0
    prompt_bytes: int = 0
    seconds: float = 0.0
    keys: str | None = None
    ca: str | None = None


class Tally(msgspec.Struct):
    """What the clients saw. Times are milliseconds.

    ``lost`` counts events that were missing, repeated, out of order or of another stream, ``failed`` answers with
    another status or without their end. ``first`` is from a request's sending to its first content event, or to the
    whole answer where that is no stream. ``open`` is how many streams were open when the last one had begun.
    """

    requests: int = 0
    failed: int = 0
    events: int = 0
    lost: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    delay: tuple[float, float, float] = (0.0, 0.0, 0.0)
    first: tuple[float, float] = (0.0, 0.0)
    open: int = 0


class Load:
    """All clients together."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.count = order.events
        self.tally = Tally()
        self.delays = array("q")
        self.firsts = array("q")
        keys = Path(order.keys).read_text().split() if order.keys else [KEY]
        self._heads = itertools.cycle([_head(key) for key in keys])
        self._prompt = _SENTENCE * max(10, -(-order.prompt_bytes // len(_SENTENCE)))
        self._running = order.clients
        self._silent = order.clients
        self._until = time.monotonic_ns() + int(order.seconds * 1e9) if order.seconds else sys.maxsize
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def body(self, stream: int) -> bytes:
        """Return what one client asks."""
        text = f"{self._prompt}bench:{stream}:{self.count}:{self.order.gap}"
        return msgspec.json.encode({"messages": [{"role": "user", "content": text}], "stream": self.count > 0})

    def request(self, body: bytes) -> bytes:
        """Return a whole request, of the caller whose turn it is."""
        return b"%b%d\r\n\r\n%b" % (next(self._heads), len(body), body)

    def over(self, now: int) -> bool:
        """Return whether the time is up at ``now``, nanoseconds; each client ends with the answer it is getting."""
        return now > self._until

    def opened(self) -> None:
        """Count a client that has received its first event."""
        self._silent -= 1
        if self._silent == 0:
            self.tally.open = self._running
            print("open", flush=True)

    def ended(self) -> None:
        """Count a client that has had all its answers."""
        self._running -= 1
        if self._running == 0:
            self.done.set_result(None)

    def result(self) -> Tally:
        """Return the tally with its percentiles."""
        self.tally.delay = (_share(self.delays, 0.5), _share(self.delays, 0.99), _share(self.delays, 1.0))
        self.tally.first = (_share(self.firsts, 0.5), _share(self.firsts, 0.99))
        return self.tally


def _share(nanoseconds: "array[int]", share: float) -> float:
    ordered = sorted(nanoseconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1e6 if ordered else 0.0


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load, stream: int) -> None:
        self._load = load
        self._stream = stream
        self._left = load.order.requests
        self._parser = httptools.HttpResponseParser(self)
        self._seen_any = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._body = self._load.body(self._stream)
        self._send()

    def _send(self) -> None:
        self._number = 0
        self._rest = b""
        self._complete = False
        request = self._load.request(self._body)
        self._sent = time.monotonic_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take what came at this moment."""
        self._now = time.monotonic_ns()
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Look at the events that this completes."""
        data = self._rest + body if self._rest else body
        if not self._load.count:
            self._complete = True
            return
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._rest = data
            return
        self._rest = data[end:]
        for match in events.STAMP.finditer(data, 0, end):
            self._event(int(match[1]), int(match[2]), int(match[3]))
        if data.find(events.DONE, 0, end) >= 0:
            self._complete = self._number == self._load.count

    def _event(self, stream: int, number: int, sent: int) -> None:
        load = self._load
        load.tally.events += 1
        load.delays.append(self._now - sent)
        if stream != self._stream or number != self._number:
            load.tally.lost += max(number - self._number, 1)
        self._number = number + 1
        if number == 0:
            load.firsts.append(self._now - self._sent)
            if not self._seen_any:
                self._seen_any = True
                load.opened()

    def on_message_complete(self) -> None:
        """Go on with the next request."""
        load = self._load
        load.tally.requests += 1
        if not load.count:
            load.firsts.append(self._now - self._sent)
        if self._parser.get_status_code() != 200 or not self._complete or self._rest:
            load.tally.failed += 1
            load.tally.lost += load.count - self._number
        self._left -= 1
        if load.over(self._now):
            self._left = 0
        if self._left:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count answers that never came as failed."""
        load = self._load
        load.tally.failed += self._left
        if self._left:
            load.tally.lost += load.count - self._number
        load.ended()


def _head(key: str) -> bytes:
    head = (
        f"POST {TARGET} HTTP/1.1\r\nhost: 127.0.0.1\r\napi-key: {key}\r\ncontent-type: application/json\r\n"
        "user-agent: benchmark\r\naccept: */*\r\ncontent-length: "
    )
    return head.encode()


async def main(load: Load) -> None:
    """Run all clients to their end and print the tally."""
    loop, order = asyncio.get_running_loop(), load.order
    tls = ssl.create_default_context(cafile=order.ca) if order.ca else None
    began, cpu = time.monotonic(), time.process_time()
    for stream in range(order.clients):
        await loop.create_connection(
            lambda stream=stream: Client(load, stream),
            "127.0.0.1",
            order.port,
            ssl=tls,
            server_hostname="localhost" if tls else None,
        )
        due = began + (stream + 1) * order.ramp / 1000
        await asyncio.sleep(max(due - time.monotonic(), 0))
    await load.done
    load.tally.seconds = time.monotonic() - began
    load.tally.cpu = time.process_time() - cpu
    print(msgspec.json.encode(load.result()).decode(), flush=True)


async def _run(order: Order) -> None:
    await main(Load(order))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_run(msgspec.json.decode(sys.argv[1], type=Order)))
