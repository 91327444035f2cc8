"""Boards on a real server: what one learns the others hear, and a Redis that fails is noticed by nobody who waits."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trustme
from tests.adapters.conftest import server_context
from tests.live.redis_server import RedisServer
from tests.live.relays import eventually
from tests.loops import on_both_loops

from chukei.accounts.objects import ObjectRecord, owner_of
from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.board import RedisBoard
from chukei.adapters.redis.messages import KEPT, MAX_TEXT_BYTES, BoardKeys
from chukei.metrics.definitions import STORE_AVAILABLE
from chukei.model import Change, Condition
from chukei.ports import Board

pytestmark = pytest.mark.anyio

QUOTA, ONE, MARK = "group:sweden", "https://one.openai.azure.com/gpt-4o", "https://one.openai.azure.com/mark"
SUBJECTS = (QUOTA, ONE, MARK)
PASSWORD = "open%20sesame"  # as in a URL
COOLING = Change(Condition.COOLING, QUOTA, 30.0, "rate_limit_exceeded")
OPEN = Change(Condition.OPEN, ONE, 20.0, "upstream_timeout")
CLOSED = Change(Condition.CLOSED, ONE, 0.0, "recovered")
AWAY, BACK = "Redis is away", "Redis is back"


class Ear:
    """What a board was told."""

    def __init__(self) -> None:
        self.heard: list[Change] = []

    def __call__(self, change: Change) -> None:
        self.heard.append(change)

    def about(self, subject: str) -> list[Change]:
        return [change for change in self.heard if change.subject == subject]

    @property
    def marks(self) -> int:
        return len(self.about(MARK))


def record(identity: str) -> ObjectRecord:
    return ObjectRecord("response", identity, owner_of(None))


def connected(board: RedisBoard) -> bool:
    return "connected" in repr(board)


@asynccontextmanager
async def boards(*urls: str, namespace: str = "chukei") -> AsyncIterator[list[tuple[RedisBoard, Ear]]]:
    """Boards that have started, and are closed in the end."""
    ears = [Ear() for _ in urls]
    made = [RedisBoard(url, SUBJECTS, ear, namespace=namespace) for url, ear in zip(urls, ears, strict=True)]
    try:
        for board in made:
            board.start()
        yield list(zip(made, ears, strict=True))
    finally:
        for board in made:
            await board.close()


@asynccontextmanager
async def two(server: RedisServer) -> AsyncIterator[tuple[RedisBoard, Ear, RedisBoard, Ear]]:
    """Two boards that are connected."""
    async with boards(server.url, server.url) as [(one, ear_of_one), (other, ear_of_other)]:
        await eventually(lambda: connected(one) and connected(other))
        yield one, ear_of_one, other, ear_of_other


async def reaches(board: RedisBoard, ear: Ear) -> None:
    """Wait until something that a board tells now is heard; whatever was told before has been heard by then."""
    marks = ear.marks
    board.publish(Change(Condition.OPEN, MARK, 5.0, "mark"))
    await eventually(lambda: ear.marks > marks)


async def sought(board: RedisBoard, made: str) -> str:
    """Ask until it is known where an id was made: on a busy machine one answer may come too late."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(StoreAway):
                (found,) = await board.find([made])
                if found is not None:
                    return found.identity
            await asyncio.sleep(0.01)


def similar(change: Change, sent: Change) -> bool:
    """Whether it is the change that was sent, up to ten seconds ago."""
    same = (change.condition, change.subject, change.why) == (sent.condition, sent.subject, sent.why)
    return same and sent.seconds - 10 < change.seconds <= sent.seconds


def count(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(record.getMessage().startswith(text) for record in caplog.records)


def sockets() -> int:
    return sum(
        1 for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink() and "socket:" in str(entry.readlink())
    )


def lines(server: RedisServer) -> set[str]:
    """Return the ids of connections that ask, without the one that asks for them."""
    clients = server.command("CLIENT", "LIST", "TYPE", "normal").decode().splitlines()
    return {client.split()[0] for client in clients if client.startswith("id=") and "cmd=client" not in client}


def kept(server: RedisServer, condition: Condition, subject: str) -> bool:
    return server.command("EXISTS", BoardKeys("chukei", "").key(condition, subject)) == b":1\r\n"


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    """A server for the test to stop and start; not yet started."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """No test leaves a task or a socket behind."""
    before = sockets()
    yield
    assert [task for task in asyncio.all_tasks() if "chukei/adapters/redis" in repr(task)] == []
    await eventually(lambda: sockets() <= before)


# Telling and hearing.


async def test_it_is_a_board() -> None:
    board: Board = RedisBoard("redis://127.0.0.1", (), Ear())
    assert repr(board) == "<RedisBoard away, 0 subjects, 0 unsent>"


@on_both_loops
async def test_two_boards_hear_each_other_and_not_themselves(server: RedisServer) -> None:
    async with two(server) as (one, ear_of_one, other, ear_of_other):
        one.publish(COOLING)
        one.publish(OPEN)
        await eventually(lambda: len(ear_of_other.heard) == 2)
        one.publish(CLOSED)
        await eventually(lambda: len(ear_of_other.heard) == 3)
        assert all(map(similar, ear_of_other.heard[:2], (COOLING, OPEN)))
        assert ear_of_other.heard[2] == CLOSED
        await reaches(other, ear_of_one)
        assert len(ear_of_one.heard) == 1


async def test_namespaces_do_not_hear_each_other(server: RedisServer) -> None:
    apart = boards(server.url, server.url, namespace="test")
    async with two(server) as (one, _, _, ear_of_other), apart as [(third, _), (fourth, ear_of_fourth)]:
        await eventually(lambda: connected(third) and connected(fourth))
        one.publish(COOLING)
        await reaches(one, ear_of_other)
        await reaches(third, ear_of_fourth)
        assert len(ear_of_fourth.heard) == 1
        assert len(ear_of_other.heard) == 2


async def test_keys_expire_by_themselves_and_name_nothing(server: RedisServer) -> None:
    async with two(server) as (one, _, _, ear_of_other):
        one.publish(COOLING)
        one.publish(OPEN)
        one.keep("resp_1", record(ONE))
        await reaches(one, ear_of_other)
        await eventually(lambda: server.command("DBSIZE") == b":4\r\n")
        keys = [line for line in server.command("KEYS", "*").split(b"\r\n") if line.startswith(b"chukei:")]
        assert len(keys) == 4
        assert not any(name in key for key in keys for name in (b"sweden", b"openai", b"resp_1"))
        left = {key.split(b":")[1:-1][-1]: int(server.command("PTTL", key.decode())[1:]) for key in keys}
        assert 20_000 < left[b"cooling"] <= 30_000
        assert 29.9 * 86_400_000 < left[b"made"] <= 30 * 86_400_000
        one.publish(CLOSED)
        await reaches(one, ear_of_other)
        assert not kept(server, Condition.OPEN, ONE)
        assert kept(server, Condition.COOLING, QUOTA)


async def test_whoever_starts_later_knows(server: RedisServer) -> None:
    async with two(server) as (one, _, _, ear_of_other):
        for change in (COOLING, OPEN, Change(Condition.OPEN, QUOTA, 40.0, "both of one subject")):
            one.publish(change)
        await reaches(one, ear_of_other)
        async with boards(server.url) as [(later, ear)]:
            await eventually(lambda: connected(later))
            assert sum(similar(change, COOLING) for change in ear.heard) == 1
            assert sum(similar(change, OPEN) for change in ear.heard) == 1
            assert {(change.condition, change.subject) for change in ear.heard} == {
                (Condition.COOLING, QUOTA),
                (Condition.OPEN, QUOTA),
                (Condition.OPEN, ONE),
                (Condition.OPEN, MARK),
            }


async def test_whoever_starts_later_does_not_hear_what_is_over(server: RedisServer) -> None:
    async with two(server) as (one, _, _, ear_of_other):
        one.publish(Change(Condition.COOLING, QUOTA, 0.05, "brief"))
        one.publish(OPEN)
        one.publish(CLOSED)
        await reaches(one, ear_of_other)
        await eventually(lambda: not kept(server, Condition.COOLING, QUOTA))
        async with boards(server.url) as [(later, ear)]:
            await eventually(lambda: connected(later))
            assert [change.subject for change in ear.heard] == [MARK]


async def test_what_one_has_undone_while_away_it_does_not_hear(server: RedisServer) -> None:
    async with boards(server.url) as [(teller, _)]:
        teller.publish(OPEN)
    assert kept(server, Condition.OPEN, ONE)
    ear = Ear()
    board = RedisBoard(server.url, SUBJECTS, ear)
    board.publish(CLOSED)
    board.start()
    await eventually(lambda: connected(board))
    await board.close()
    assert ear.heard == []
    assert not kept(server, Condition.OPEN, ONE)


async def test_a_listener_that_raises_is_told_the_next_change(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Change] = []

    def stumble(change: Change) -> None:
        heard.append(change)
        raise LookupError(change.subject)

    board = RedisBoard(server.url, SUBJECTS, stumble)
    board.start()
    async with boards(server.url) as [(other, _)]:
        await eventually(lambda: connected(board) and connected(other))
        other.publish(COOLING)
        await eventually(lambda: len(heard) == 1)
        other.publish(OPEN)
        await eventually(lambda: len(heard) == 2)
        assert connected(board)
    await board.close()
    assert count(caplog, "what another replica learnt could not be taken up") == 2


# Where objects are.


async def test_an_id_is_found_by_the_other_replicas(server: RedisServer) -> None:
    async with two(server) as (one, _, other, _):
        one.keep("resp_1", record(ONE))
        one.keep("resp_\ud800", record("https://two/deployment"))
        await eventually(lambda: server.command("DBSIZE") == b":2\r\n")
        assert await sought(other, "resp_1") == ONE
        assert await sought(one, "resp_1") == ONE
        assert await sought(other, "resp_\ud800") == "https://two/deployment"
        assert await other.find(["resp_2", "resp_1", "x" * 1_000_000]) == [None, record(ONE), None]
        one.drop("resp_1")
        await eventually(lambda: server.command("DBSIZE") == b":1\r\n")
        assert await other.find(["resp_1"]) == [None]


async def test_long_texts_are_read_whole_and_longer_ones_are_not_written(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(server) as (one, _, other, _):
        for size, found in ((MAX_TEXT_BYTES, True), (MAX_TEXT_BYTES + 1, False)):
            text = "x" * (size - 2) + "é"  # two bytes in UTF-8
            one.hold(f"key {size}", text, 30.0)
            one.keep_job(f"job {size}", text)
            one.hold("last", str(size), 30.0)
            await eventually_held(other, "last", str(size))
            read = [await other.held(f"key {size}"), await other.find_job(f"job {size}")]
            assert read == [text if found else None] * 2
            assert len([each for each in caplog.records if "65537 bytes" in each.message]) == (0 if found else 2)


async def eventually_held(board: RedisBoard, name: str, text: str) -> None:
    async with asyncio.timeout(60):
        while await board.held(name) != text:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "spoils",
    [("CONFIG", "SET", "maxmemory", "1"), ("REPLICAOF", "127.0.0.1", "1")],
    ids=["full", "read-only"],
)
async def test_a_redis_that_takes_nothing_does_not_say_that_an_id_is_unknown(
    mortal: RedisServer, spoils: tuple[str, ...]
) -> None:
    mortal.start()
    async with two(mortal) as (one, _, other, _):
        one.keep("resp_1", record(ONE))
        assert await sought(other, "resp_1") == ONE
        mortal.command(*spoils)
        one.keep("resp_2", record(ONE))
        assert await other.find(["resp_1"]) == [record(ONE)]
        with pytest.raises(StoreAway):
            await other.find(["resp_1", "resp_2"])


async def test_many_may_ask_at_once(server: RedisServer) -> None:
    async with two(server) as (one, _, other, _):
        for number in range(40):
            one.keep(f"resp_{number}", record(f"deployment-{number}"))
        await eventually(lambda: server.command("DBSIZE") == b":40\r\n")
        asking = (other.find([f"resp_{number}"]) for number in range(40))
        found = await asyncio.gather(*asking, return_exceptions=True)
        known = [each == [record(f"deployment-{number}")] for number, each in enumerate(found)]
        # On a slow machine some may take too long, in which case nothing is known; never is it another's.
        assert all(right or isinstance(each, StoreAway) for right, each in zip(known, found, strict=True))
        assert any(known)


async def test_a_request_that_ends_while_it_asks_disturbs_nobody(mortal: RedisServer) -> None:
    mortal.start()
    async with two(mortal) as (one, _, other, ear_of_other):
        one.keep("resp_1", record(ONE))
        await reaches(one, ear_of_other)
        mortal.pause()
        asking = asyncio.create_task(other.find(["resp_1"]))
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        mortal.resume()
        assert await sought(other, "resp_1") == ONE


def suspends(asking: Callable[[], object]) -> bool:
    """Whether a coroutine waits for anything at all."""
    coroutine = asking()
    assert asyncio.iscoroutine(coroutine)
    with contextlib.suppress(StopIteration, StoreAway):
        coroutine.send(None)
        coroutine.close()
        return True
    return False


@on_both_loops
async def test_a_stalled_redis_costs_a_tenth_of_a_second_once(
    mortal: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    mortal.start()
    async with two(mortal) as (one, _, other, ear_of_other):
        one.keep("resp_1", record(ONE))
        await reaches(one, ear_of_other)
        mortal.pause()
        began = time.monotonic()
        with pytest.raises(StoreAway):
            await other.find(["resp_1"])
        assert time.monotonic() - began > 0.09
        assert not suspends(lambda: other.find(["resp_1"]))
        one.publish(COOLING)
        await eventually(lambda: not connected(one) and not connected(other))
        assert not suspends(lambda: other.find(["resp_1"]))
        mortal.resume()
        await eventually(lambda: connected(one) and connected(other))
        assert await sought(other, "resp_1") == ONE
        await eventually(lambda: any(similar(change, COOLING) for change in ear_of_other.heard))
    assert count(caplog, AWAY) == count(caplog, BACK) == 2  # one line of each for each board


async def test_a_slow_answer_is_doubted_until_something_is_heard(
    mortal: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    mortal.start()
    async with two(mortal) as (one, _, other, ear_of_other):
        one.keep("resp_1", record(ONE))
        await reaches(one, ear_of_other)
        mortal.pause()
        with pytest.raises(StoreAway):
            await other.find(["resp_1"])
        mortal.resume()
        assert not suspends(lambda: other.find(["resp_1"]))
        assert await sought(other, "resp_1") == ONE
    assert count(caplog, AWAY) == 0


async def test_a_silent_connection_is_noticed_though_nobody_speaks(mortal: RedisServer) -> None:
    mortal.start()
    async with boards(mortal.url) as [(board, _)]:
        await eventually(lambda: connected(board))
        mortal.pause()
        await eventually(lambda: not connected(board))
        mortal.resume()


async def test_silence_without_a_fault_is_no_outage(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with two(server) as (one, _, _, ear_of_other):
        await asyncio.sleep(2.5)
        assert connected(one)
        await reaches(one, ear_of_other)
    assert count(caplog, AWAY) == 0


# Away.


async def test_away_at_the_start(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with boards(mortal.url, mortal.url) as [(one, _), (other, ear)]:
        one.publish(OPEN)
        one.publish(COOLING)
        one.publish(CLOSED)
        one.keep("resp_1", record(ONE))
        assert not suspends(lambda: one.find(["resp_1"]))
        await eventually(lambda: count(caplog, AWAY) == 2)
        mortal.start()
        await eventually(lambda: connected(one) and connected(other))
        await eventually(lambda: len(ear.about(QUOTA)) > 0)
        assert similar(ear.about(QUOTA)[0], COOLING)
        assert {change.condition for change in ear.about(ONE)} <= {Condition.CLOSED}
        await reaches(one, ear)
        assert await sought(other, "resp_1") == ONE
    assert count(caplog, AWAY) == count(caplog, BACK) == 2
    levels = {record.levelname for record in caplog.records if record.getMessage().startswith((AWAY, BACK))}
    assert levels == {"WARNING", "INFO"}


@on_both_loops
async def test_stopped_and_started_again(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    mortal.start()
    fails = Change(Condition.OPEN, QUOTA, 20.0, "upstream_timeout")
    async with two(mortal) as (one, ear_of_one, other, ear_of_other):
        await reaches(one, ear_of_other)
        mortal.stop()
        await eventually(lambda: not connected(one) and not connected(other))
        assert not suspends(lambda: one.find(["resp_1"]))
        one.publish(COOLING)
        one.publish(OPEN)
        one.publish(CLOSED)
        other.publish(fails)
        mortal.start()
        await eventually(lambda: connected(one) and connected(other))
        await reaches(one, ear_of_other)
        await reaches(other, ear_of_one)
        assert any(similar(change, COOLING) for change in ear_of_other.heard)
        assert any(similar(change, fails) for change in ear_of_one.heard)
        assert Condition.OPEN not in {change.condition for change in ear_of_other.about(ONE)}
    assert count(caplog, AWAY) == count(caplog, BACK) == 2


@pytest.mark.parametrize("kinds", [["pubsub"], ["normal"], ["pubsub", "normal"]], ids="-".join)
async def test_connections_that_are_cut_are_made_again(server: RedisServer, kinds: list[str]) -> None:
    async with two(server) as (one, ear_of_one, other, ear_of_other):
        for kind in kinds:
            server.command("CLIENT", "KILL", "TYPE", kind)
        one.publish(COOLING)
        if "pubsub" in kinds:  # one for commands alone is replaced, and the session goes on
            await eventually(lambda: not connected(one) and not connected(other))
        await eventually(lambda: connected(one) and connected(other))
        await eventually(lambda: any(similar(change, COOLING) for change in ear_of_other.heard))
        await reaches(one, ear_of_other)
        await reaches(other, ear_of_one)


async def test_a_wrong_password_is_never_repeated(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    mortal.start()
    mortal.command("CONFIG", "SET", "requirepass", "another")
    url = mortal.url.replace("//", f"//:{PASSWORD}@")
    async with boards(url) as [(board, _)]:
        await eventually(lambda: count(caplog, AWAY) == 1)
        assert not suspends(lambda: board.find(["resp_1"]))
        board.publish(COOLING)
        mortal.command("CONFIG", "SET", "requirepass", "open sesame", password="another")
        await eventually(lambda: connected(board))
        assert "sesame" not in repr(board)
    assert count(caplog, AWAY) == count(caplog, BACK) == 1
    assert "sesame" not in caplog.text


# Refused.


async def test_a_read_only_replica_is_still_heard(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    mortal.start()
    async with two(mortal) as (one, _, other, ear_of_other):
        one.keep("resp_1", record(ONE))
        await reaches(one, ear_of_other)
        assert one.readings() == [(STORE_AVAILABLE, ("board",), True)]
        mortal.command("REPLICAOF", "127.0.0.1", "1")
        before = lines(mortal)
        one.publish(COOLING)
        await eventually(lambda: count(caplog, "Redis does not take") == 1)
        assert connected(one)
        assert one.readings() == [(STORE_AVAILABLE, ("board",), False)]
        assert await sought(other, "resp_1") == ONE
        assert not kept(mortal, Condition.COOLING, QUOTA)
        mortal.command("REPLICAOF", "NO", "ONE")
        await eventually(lambda: kept(mortal, Condition.COOLING, QUOTA))
        await eventually(lambda: count(caplog, "Redis takes it again") == 1)
        assert len(before - lines(mortal)) == 1  # another may lead to another server
        assert any(similar(change, COOLING) for change in ear_of_other.heard)
    assert count(caplog, "Redis does not take") == 1
    assert count(caplog, AWAY) == 0


async def test_with_its_memory_full_redis_still_publishes(
    mortal: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    mortal.start()
    async with two(mortal) as (one, _, _, ear_of_other):
        mortal.command("CONFIG", "SET", "maxmemory", "1")
        one.publish(COOLING)
        await eventually(lambda: any(similar(change, COOLING) for change in ear_of_other.heard))
        await eventually(lambda: count(caplog, "Redis does not take") == 1)
        assert not kept(mortal, Condition.COOLING, QUOTA)
        mortal.command("CONFIG", "SET", "maxmemory", "0")
        await eventually(lambda: kept(mortal, Condition.COOLING, QUOTA))
    assert count(caplog, AWAY) == 0


async def test_an_account_without_rights_changes_nothing_for_requests(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.command("ACL", "SETUSER", "nobody", "on", ">nothing")
    async with boards(server.url.replace("//", "//nobody:nothing@")) as [(board, _)]:
        await eventually(lambda: count(caplog, AWAY) == 1)
        board.publish(COOLING)
        assert not suspends(lambda: board.find(["resp_1"]))
    assert "RefusedError: NOPERM" in caplog.text
    server.command("ACL", "DELUSER", "nobody")


# Strangers.


async def test_what_strangers_publish_is_ignored(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    fields = '"condition":"open","seconds":5,"why":"w"'
    async with two(server) as (one, ear_of_one, other, _):
        for text in (
            "",
            "hello",
            "[" * 4000,
            "{" + fields + ',"origin":"x","subject":"https://unknown"}',
            '{"origin":"x","condition":"melted","subject":"group:sweden","seconds":5,"why":"w"}',
            '{"origin":"x","condition":"open","subject":"group:sweden","seconds":"5","why":"w"}',
            "{" + fields + ',"origin":"x","subject":"group:sweden","more":"' + "x" * 10_000 + '"}',
            "{" + fields + ',"origin":"\ud800","subject":"group:sweden"}',
        ):
            server.command("PUBLISH", "chukei:pool", text)
        await reaches(other, ear_of_one)
        assert len(ear_of_one.heard) == 1
        long = '{"origin":"x","condition":"open","subject":"group:sweden","seconds":1e9,"why":"' + "w" * 500 + '"}'
        server.command("PUBLISH", "chukei:pool", long)
        await reaches(other, ear_of_one)
        assert ear_of_one.about(QUOTA) == [Change(Condition.OPEN, QUOTA, 86_400.0, "w" * 100)]
        assert connected(one)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_strangers_keep_is_ignored(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    keys = BoardKeys("chukei", "stranger")
    (_, _, data, *_), _ = keys.commands(OPEN, 20.0)
    assert isinstance(data, bytes)
    server.command("RPUSH", keys.key(Condition.OPEN, ONE), "a list")
    server.command("SET", keys.key(Condition.COOLING, QUOTA), "x" * 100_000, "PX", "60000")
    server.command("SET", keys.key(Condition.OPEN, MARK), data.decode())  # would hold for ever
    server.command("RPUSH", keys.object_key("resp_1"), "a list")
    server.command("SET", keys.object_key("resp_2"), "x" * 100_000)
    async with two(server) as (_, ear_of_one, other, _):
        assert ear_of_one.heard == []
        await reaches(other, ear_of_one)
        with pytest.raises(StoreAway):
            await other.find(["resp_1"])
        assert len(await sought(other, "resp_2")) < 5_000
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_server_that_is_none_is_away(caplog: pytest.LogCaptureFixture) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with boards(f"redis://127.0.0.1:{port}") as [(board, _)]:
            await eventually(lambda: count(caplog, AWAY) == 1)
            assert not connected(board)


# Bounds.


async def test_a_burst_does_not_grow_without_bound(mortal: RedisServer) -> None:
    async with boards(mortal.url, mortal.url) as [(one, _), (other, ear)]:
        for number in range(10_000):
            one.publish(Change(Condition.OPEN, f"https://{number}", 60.0, "burst"))
            one.keep(f"resp_{number}", record(ONE))
        for number in range(10_000):
            one.publish(Change(Condition.COOLING, QUOTA, 60.0 + number / 10_000, str(number)))
        assert repr(one) == f"<RedisBoard away, 3 subjects, {KEPT + 10_000} unsent>"
        mortal.start()
        await eventually(lambda: connected(one) and connected(other))
        await eventually(lambda: repr(one).endswith(" 0 unsent>"))
        await eventually(lambda: len(ear.heard) > 0)
        assert {change.why for change in ear.heard} == {"9999"}
        assert mortal.command("DBSIZE") == b":%d\r\n" % (KEPT + 10_000)
        assert await sought(other, "resp_9999") == ONE


async def test_a_burst_while_connected_ends_with_the_last(server: RedisServer) -> None:
    async with two(server) as (one, _, _, ear_of_other):
        for number in range(10_000):
            one.publish(Change(Condition.COOLING, QUOTA, 30.0, str(number)))
            if number % 100 == 0:
                await asyncio.sleep(0)
        await reaches(one, ear_of_other)
        assert ear_of_other.about(QUOTA)[-1].why == "9999"
        assert server.command("DBSIZE") == b":2\r\n"


# Closing.


async def test_closing_lets_out_what_was_published(server: RedisServer) -> None:
    async with boards(server.url) as [(board, _)]:
        board.publish(COOLING)  # not yet connected
        await board.close()
        assert kept(server, Condition.COOLING, QUOTA)
    async with boards(server.url) as [(board, _)]:
        await eventually(lambda: connected(board))
        board.publish(OPEN)
        await board.close()
        assert kept(server, Condition.OPEN, ONE)
        assert not connected(board)


async def test_closing_what_never_started_and_closing_twice(server: RedisServer) -> None:
    board = RedisBoard(server.url, SUBJECTS, Ear())
    board.publish(COOLING)
    board.keep("resp_1", record(ONE))
    assert not suspends(lambda: board.find(["resp_1"]))
    await board.close()
    board.start()
    board.start()
    await eventually(lambda: connected(board))
    await asyncio.gather(board.close(), board.close())
    await board.close()
    board.publish(OPEN)
    assert not suspends(lambda: board.find(["resp_1"]))


@pytest.mark.parametrize("how", ["stopped", "stalled", "stalled unnoticed"])
async def test_closing_during_an_outage_takes_no_longer_than_it_may(mortal: RedisServer, how: str) -> None:
    mortal.start()
    async with boards(mortal.url) as [(board, _)]:
        await eventually(lambda: connected(board))
        if how == "stopped":
            mortal.stop()
        else:
            mortal.pause()
        if how != "stalled unnoticed":
            await eventually(lambda: not connected(board))
        board.publish(COOLING)
        await board.close()


@on_both_loops
async def test_closing_at_any_moment_leaves_nothing(mortal: RedisServer) -> None:
    mortal.start()
    before = sockets()
    for step in range(40):
        if step % 10 == 9:  # while it notices that Redis is away, and tidies up
            async with boards(mortal.url) as [(board, _)]:
                await eventually(lambda: connected(board))
                mortal.stop()
                await asyncio.sleep(step / 40_000)
            mortal.start()
        else:  # while it connects, reads and tells
            async with boards(mortal.url) as [(board, _)]:
                board.publish(COOLING)
                await asyncio.sleep(step / 10_000)
        await eventually(lambda: sockets() <= before)


async def test_a_connection_that_is_closed_while_nothing_is_said_is_replaced_without_an_outage(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis (``timeout``) and proxies close idle connections, and an operator may (``CLIENT KILL``)."""

    def replaced(before: set[str]) -> bool:
        return len(lines(server) - before) == 2

    async with two(server) as (one, _, other, ear_of_other):
        one.keep("resp_1", record(ONE))
        await reaches(one, ear_of_other)
        for _ in range(3):
            before = lines(server)
            server.command("CLIENT", "KILL", "TYPE", "normal")
            await eventually(partial(replaced, before))
            await reaches(one, ear_of_other)
            assert await sought(other, "resp_1") == ONE
    assert (count(caplog, AWAY), count(caplog, "Redis does not take")) == (0, 0)


async def test_no_connection_is_idle(server: RedisServer) -> None:
    def pinged(kind: str) -> bool:
        return server.command("CLIENT", "LIST", "TYPE", kind).count(b"cmd=ping") == 2

    async with two(server):
        await eventually(lambda: pinged("normal"))
        await eventually(lambda: pinged("pubsub"))


async def test_many_subjects_are_caught_up_with(server: RedisServer) -> None:
    subjects = [f"https://{number}.openai.azure.com/gpt-4o" for number in range(1000)]
    teller, ear = RedisBoard(server.url, subjects, Ear()), Ear()
    teller.start()
    for subject in subjects:
        teller.publish(Change(Condition.OPEN, subject, 30.0, "many"))
    await teller.close()
    late = RedisBoard(server.url, subjects, ear)
    late.start()
    await eventually(lambda: connected(late))
    await late.close()
    assert {change.subject for change in ear.heard} == set(subjects)


# How to get there.


@on_both_loops
async def test_over_tls(server: RedisServer, authority: trustme.CA, ca_file: str) -> None:
    async with tls_front(server, authority) as port:
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={ca_file}"
        async with boards(url, server.url) as [(one, ear_of_one), (other, ear_of_other)]:
            await eventually(lambda: connected(one) and connected(other))
            await reaches(one, ear_of_other)
            await reaches(other, ear_of_one)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: RedisServer, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_front(server, authority) as port, boards(f"rediss://localhost:{port}") as [(board, _)]:
        await eventually(lambda: count(caplog, AWAY) == 1)
        assert not connected(board)
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


@asynccontextmanager
async def tls_front(server: RedisServer, authority: trustme.CA) -> AsyncIterator[int]:
    """A port that speaks TLS in front of a server."""
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        for each in (pump(reader, back), pump(there, writer)):
            task = asyncio.create_task(each)
            pumps.add(task)
            task.add_done_callback(pumps.discard)

    context: ssl.SSLContext = server_context(authority.issue_cert("localhost"))
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listener:
        yield listener.sockets[0].getsockname()[1]
        if pumps:
            await asyncio.wait(set(pumps), timeout=5)
