"""One connection to servers whose every byte a test decides, and to a real one with passwords and TLS."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trustme
from hiredis import Reader
from tests.adapters.servers import LocalServer, Peer
from tests.live.redis_server import RedisServer
from tests.loops import LOOPS

from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.address import Address, address_of
from chukei.adapters.redis.commands import PendingCommand, Script, command
from chukei.adapters.redis.line import LOOK_SECONDS, LOOKS, Line, RefusedError, connect

pytestmark = pytest.mark.anyio

SCRIPT = Script("return 1")


@pytest.fixture(params=LOOPS.values(), ids=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run on both loops; the modules that use the line run on asyncio's own, but for a few tests."""
    return request.param


on_one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""For a test of many answers, which no loop reads differently."""


@asynccontextmanager
async def line(
    address: Address, patience: float = 1.0, failed: Callable[[], None] = lambda: None
) -> AsyncIterator[Line]:
    async with aclosing(await connected(address, partial(Line, patience, failed))) as made:
        yield made


async def connected(address: Address, make: Callable[[], Line] = Line) -> Line:
    """Connect, again where it took too long: uvloop's clock runs on while a busy machine lets a process wait."""
    for _ in range(10):
        with suppress(TimeoutError):
            return await connect(address, make)
    return await connect(address, make)


def plain(port: int) -> Address:
    return Address("127.0.0.1", port, (), lambda: None)


def ping() -> PendingCommand:
    return PendingCommand(command("PING"))


def script() -> PendingCommand:
    return SCRIPT.call([], [])


class Scripted:
    """Answers each command with the next of some answers, and then with nothing; keeps what it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.asked: list[object] = []
        self.reads = 0

    async def __call__(self, peer: Peer) -> None:
        reader = Reader()
        while data := await peer.reader.read(65536):
            self.reads += 1
            reader.feed(data)
            while (arguments := reader.gets()) is not False:
                self.asked.append(arguments)
                if self._answers:
                    await peer.send(self._answers.pop(0))


async def test_what_is_asked_together_leaves_together_and_is_answered_in_order() -> None:
    server = Scripted(*[b":%d\r\n" % n for n in range(50)])
    async with LocalServer(server) as local, line(plain(local.port)) as to:
        assert await asyncio.gather(*[to.call(ping()) for _ in range(50)]) == list(range(50))
    assert server.reads == 1


async def test_only_what_somebody_needs_is_sent_when_its_caller_has_left() -> None:
    server, done = Scripted(*[b"+OK\r\n"] * 3), asyncio.Event()
    async with LocalServer(server) as local, line(plain(local.port)) as to:
        given_up, needed = ping(), PendingCommand(command("SET"), done=lambda _: done.set())
        for call in (given_up, needed):
            to.call(call).cancel()
        to.submit(PendingCommand(command("GET")))
        await done.wait()
        assert (given_up.sent, needed.sent) == (False, True)
        assert await to.call(ping()) == b"OK"
    assert server.asked == [[b"SET"], [b"GET"], [b"PING"]]


async def test_messages_come_between_the_answers() -> None:
    heard: list[object] = []
    message = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n%d\r\n"
    server = Scripted(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + message % 1, message % 2 + b"+PONG\r\n")
    async with (
        LocalServer(server) as local,
        aclosing(await connect(plain(local.port), partial(Line, message=heard.append))) as to,
    ):
        assert await to.ask(PendingCommand(command("SUBSCRIBE", "c"))) == [[b"subscribe", b"c", 1]]
        assert await to.ask(ping()) == [b"PONG"]
    assert heard == [b"1", b"2"]


async def test_an_answer_in_pieces_is_one() -> None:
    async def pieces(peer: Peer) -> None:
        await peer.reader.readexactly(len(command("PING")))
        for byte in b"*2\r\n:12\r\n$3\r\nabc\r\n":
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        await peer.eof()

    async with LocalServer(pieces) as local, line(plain(local.port)) as to:
        assert await to.call(ping()) == [12, b"abc"]


async def test_a_script_that_is_not_known_is_sent_whole_and_once() -> None:
    server = Scripted(b"-NOSCRIPT no\r\n", b":1\r\n")
    async with LocalServer(server) as local, line(plain(local.port)) as to:
        assert await to.call(script()) == 1
    assert [asked[0] for asked in server.asked if isinstance(asked, list)] == [b"EVALSHA", b"EVAL"]
    server = Scripted(b"-NOSCRIPT no\r\n", b"-NOSCRIPT still not\r\n")
    async with LocalServer(server) as local, line(plain(local.port)) as to:
        with pytest.raises(StoreAway):
            await to.call(script())
        assert to.ended.done()
    assert len(server.asked) == 2


@on_one_loop
@pytest.mark.parametrize("error", ["ERR Error running script", "WRONGTYPE Operation"])
async def test_a_script_that_fails_ends_nothing(error: str) -> None:
    told: list[str] = []
    answers = Scripted(f"-{error}\r\n".encode(), b"+PONG\r\n")
    async with LocalServer(answers) as local, line(plain(local.port), failed=lambda: told.append("failed")) as to:
        with pytest.raises(StoreAway):
            await to.call(script())
        assert await to.call(ping()) == b"PONG"
    assert told == ["failed"]


@on_one_loop
@pytest.mark.parametrize("code", ["READONLY", "OOM", "LOADING", "NOPERM", "NOAUTH", "MISCONF", "BUSY", "CLUSTERDOWN"])
async def test_a_server_that_refuses_to_work_ends_the_line(code: str) -> None:
    async with LocalServer(Scripted(f"-{code} of secret\r\n".encode())) as local, line(plain(local.port)) as to:
        first, second = to.call(script()), to.call(script())
        with pytest.raises(StoreAway):
            await first
        with pytest.raises(StoreAway):
            await second
        why = to.ended.result()
        assert isinstance(why, RefusedError)
        assert str(why) == code


@on_one_loop
@pytest.mark.parametrize("code", ["READONLY", "OOM", "NOPERM", "MOVED", "MASTERDOWN", "ERR", "WRONGTYPE"])
async def test_where_a_refusal_is_an_answer_it_ends_nothing(code: str) -> None:
    answers = Scripted(f"-{code} of secret\r\n".encode(), b":1\r\n")
    async with LocalServer(answers) as local, line(plain(local.port)) as to:
        refusal, answer = await to.ask(*[PendingCommand(command("SET"), refusable=True) for _ in range(2)])
        assert isinstance(refusal, RefusedError)
        assert (str(refusal), answer) == (code, 1)
        assert not to.ended.done()


@on_one_loop
@pytest.mark.parametrize("code", ["LOADING", "NOAUTH", "WRONGPASS"])
async def test_what_every_command_would_meet_ends_the_line_all_the_same(code: str) -> None:
    async with LocalServer(Scripted(f"-{code} of secret\r\n".encode())) as local, line(plain(local.port)) as to:
        with pytest.raises(RefusedError, match=f"^{code}$"):
            await to.ask(*[PendingCommand(command("GET"), refusable=True) for _ in range(3)])


@on_one_loop
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"*2\r\n*x\r\n", b"+one\r\n+too many\r\n"])
async def test_what_does_not_speak_as_redis_does_is_left(answer: bytes) -> None:
    async with LocalServer(Scripted(answer)) as local, line(plain(local.port)) as to:
        asking = to.call(ping())
        assert isinstance(await to.ended, ConnectionError)
        await asyncio.wait({asking})
        asking.exception()


async def test_a_connection_that_is_closed_fails_all_that_wait_and_all_that_follow() -> None:
    async def close(peer: Peer) -> None:
        await peer.reader.read(1)

    async with LocalServer(close) as local, line(plain(local.port)) as to:
        asking = [to.call(ping()) for _ in range(3)]
        await to.ended
        for future in (*asking, to.call(ping())):
            with pytest.raises(StoreAway):
                await future
        with pytest.raises(ConnectionError):
            await to.ask(ping())


async def test_silence_ends_the_line_when_a_request_waits() -> None:
    patience = 0.03
    async with LocalServer(Scripted()) as local, line(plain(local.port), patience) as to:
        began = time.monotonic()
        with pytest.raises(StoreAway):
            await to.call(ping())
        assert patience + LOOKS * LOOK_SECONDS <= time.monotonic() - began + 0.01
        assert isinstance(to.ended.result(), TimeoutError)


async def test_what_no_request_waits_for_may_take_longer() -> None:
    async with LocalServer(Scripted()) as local, line(plain(local.port), 0.02) as to:
        began = time.monotonic()
        to.submit(ping())
        await to.ended
        assert time.monotonic() - began >= 0.9


async def test_a_request_that_has_left_hurries_nobody() -> None:
    async with LocalServer(Scripted()) as local, line(plain(local.port), 0.02) as to:
        began = time.monotonic()
        asking = to.call(ping())
        await asyncio.sleep(0.01)
        asking.cancel()
        await to.ended
        assert time.monotonic() - began >= 0.9


async def test_a_request_that_follows_what_waits_calmly_waits_no_longer_for_it() -> None:
    async with LocalServer(Scripted()) as local, line(plain(local.port), 0.03) as to:
        to.submit(ping())
        calm = asyncio.create_task(asyncio.sleep(0.9))  # what nobody waits for may take that long
        await asyncio.sleep(0.1)
        with pytest.raises(StoreAway):
            await to.call(ping())
        assert not calm.done()
        calm.cancel()


async def test_as_long_as_something_is_answered_nobody_is_given_up() -> None:
    count, pause, patience = 20, 0.02, 0.1

    async def slow(peer: Peer) -> None:
        for n in range(count):
            await asyncio.sleep(pause)
            await peer.send(b":%d\r\n" % n)
        await peer.eof()

    async with LocalServer(slow) as local, line(plain(local.port), patience) as to:
        assert await asyncio.gather(*[to.call(ping()) for _ in range(count)]) == list(range(count))


# How it begins.


async def test_password_user_and_database_are_used() -> None:
    with RedisServer("--requirepass", "open sesame") as server:
        server.command("ACL", "SETUSER", "relay", "on", ">pass/word", "~*", "+@all", password="open sesame")
        for url in (
            f"redis://:open%20sesame@127.0.0.1:{server.port}/5",
            f"redis://relay:pass%2Fword@127.0.0.1:{server.port}/5",
        ):
            async with line(address_of(url)) as to:
                await to.ask(PendingCommand(command("SET", "here", "x")))
        assert server.command("INFO", "keyspace", password="open sesame").count(b"db5:keys=1") == 1


@pytest.mark.parametrize(("user", "code"), [("", "NOAUTH"), (":wrong@", "WRONGPASS")])
async def test_whom_redis_does_not_let_in_is_told_so(user: str, code: str) -> None:
    with RedisServer("--requirepass", "sesame") as server, pytest.raises(RefusedError, match=f"^{code}$"):
        async with line(address_of(f"redis://{user}127.0.0.1:{server.port}/1")):
            pass


async def test_where_nothing_listens_there_is_no_line() -> None:
    with pytest.raises(OSError, match=r"\d"):
        await connect(plain(1))


async def test_a_server_that_says_nothing_is_left_after_a_second() -> None:
    async with LocalServer(Scripted()) as local:
        with pytest.raises(TimeoutError):
            await connect(Address("127.0.0.1", local.port, (("AUTH", "x"),), lambda: None))
        await local.peers[0].closed.wait()


async def test_tls_is_used_and_its_certificate_checked(authority: trustme.CA, ca_file: str) -> None:
    certificate = authority.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    async with LocalServer(Scripted(*[b"+OK\r\n"] * 3), tls=context) as local:
        url = f"rediss://:secret@localhost:{local.port}/1"
        async with line(address_of(f"{url}?ssl_ca_certs={ca_file}")) as to:
            assert await to.call(ping()) == b"OK"
        with pytest.raises(ssl.SSLCertVerificationError):
            await connected(address_of(url))
