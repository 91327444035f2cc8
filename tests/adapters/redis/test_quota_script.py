"""The scripts on a real server beside the arithmetic in memory: for the same history the very same answers."""

import random
import socket
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from typing import Any, TypeVar

import pytest
from hiredis import Reader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.live.redis_server import RedisServer

from chukei.accounts.limits import SETTLED, Amounts, Grant, Headroom, Limits, Refusal, Subject
from chukei.accounts.quota import DAY_MS, KEPT_SECONDS, LEASE_MS, MOST, SLOT_MS, SLOTS, wanted
from chukei.adapters.memory_quota import MemoryQuota
from chukei.adapters.redis.commands import Script, command
from chukei.adapters.redis.quota_script import (
    SETTLED_SECONDS,
    QuotaCommands,
    read_answer,
    read_look,
    scripts,
)

T = TypeVar("T")
BEGIN = 1_709_164_799_000  # 2024-02-28 23:59:59, the eve of a leap day
CHOSEN = "{redis.call('GET', 's'), redis.call('GET', 'us')}"


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of what never waits."""
    with pytest.raises(StopIteration) as end:
        work.send(None)
    result: T = end.value.value
    return result


class Time:
    """Milliseconds since 1970, for both sides."""

    def __init__(self, ms: int = BEGIN) -> None:
        self.ms = ms

    def __call__(self) -> float:
        return self.ms / 1000


class Client:
    """Sends commands one by one, as they are, and waits for each answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._reader = Reader()

    def send(self, data: bytes) -> Any:
        """Return the answer to a whole command."""
        self._socket.sendall(data)
        while (answer := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        assert not isinstance(answer, Exception), answer
        return answer

    def ask(self, *arguments: str | int) -> Any:
        """Return the answer to a command."""
        return self.send(command(*arguments))

    def close(self) -> None:
        self._socket.close()


class OnRedis:
    """The scripts, called as RedisQuota does, at a chosen time."""

    def __init__(self, client: Client, time: Time) -> None:
        self._client = client
        self._time = time
        self._scripts = scripts(CHOSEN)
        self.held: dict[str, tuple[Sequence[Subject], int]] = {}

    def _set_time(self) -> None:
        self._client.ask("MSET", "s", self._time.ms // 1000, "us", self._time.ms % 1000 * 1000 + 999)

    def _commands(self, subjects: Sequence[Subject]) -> QuotaCommands:
        return QuotaCommands("test", self._scripts, wanted(subjects))

    def _send(self, script: Script, call: bytes) -> Any:
        return self._client.send(script.whole(call))

    def reserve(self, id: str, subjects: Sequence[Subject], amounts: Amounts) -> Grant | Refusal:
        self._set_time()
        commands = self._commands(subjects)
        answer = self._send(self._scripts.reserve, commands.reserve(id, amounts))
        result = read_answer(id, commands.limits, amounts, answer)
        if isinstance(result, Grant):
            self.held[id] = subjects, self._time.ms
        return result

    def settle(self, id: str, subjects: Sequence[Subject], amounts: Amounts) -> None:
        self._set_time()
        self.held.pop(id, None)
        self._send(self._scripts.settle, self._commands(subjects).settle(id, amounts))

    def look(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        self._set_time()
        commands = self._commands(subjects)
        return read_look(commands.limits, self._send(self._scripts.reserve, commands.reserve("", Amounts())))

    def renew(self) -> None:
        self._set_time()
        while self.held and self._time.ms - next(iter(self.held.values()))[1] >= KEPT_SECONDS * 1000:
            del self.held[next(iter(self.held))]
        for id, (subjects, _) in self.held.items():
            keys = self._commands(subjects).leases(id)
            if keys:
                self._send(self._scripts.renew, self._scripts.renew.command(keys, [id, len(keys) - 1]))


@pytest.fixture
def client(server: RedisServer) -> Iterator[Client]:
    with closing(Client(server.port)) as connected:
        yield connected


amounts = st.one_of(st.integers(0, 12), st.sampled_from([-1, 100, 2**53 - 1, 2**53, 2**63, 2**70]))
limit = st.one_of(st.none(), st.integers(0, 40), st.sampled_from([2**53, 2**63]))
all_limits = st.builds(
    Limits,
    requests_per_minute=limit,
    tokens_per_minute=limit,
    tokens_per_day=limit,
    tokens_per_month=limit,
    money_per_month=limit,
    concurrent=st.one_of(st.none(), st.integers(0, 4)),
)
both = st.builds(Amounts, tokens=amounts, money=amounts)
passing = st.one_of(
    st.integers(0, 3 * SLOT_MS),
    st.sampled_from([SLOT_MS * SLOTS, SLOT_MS * (SLOTS + 1), LEASE_MS - 1, LEASE_MS, LEASE_MS + 1]),
    st.sampled_from([DAY_MS, 31 * DAY_MS, -1, -SLOT_MS, -61_000, -DAY_MS]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.sets(st.integers(0, 2), min_size=1), both),
        st.tuples(st.just("settle"), st.integers(0, 50), both),
        st.tuples(st.just("pass"), passing, st.none()),
        st.tuples(st.just("renew"), st.none(), st.none()),
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(limits=st.tuples(all_limits, all_limits, all_limits), history=steps)
def test_a_history_gives_the_same_answers_in_memory_and_on_redis(
    client: Client, limits: tuple[Limits, Limits, Limits], history: list[tuple[str, Any, Any]]
) -> None:
    names = ("caller:é {x}", "group:a b", "group:c")
    play(client, [Subject(name, each) for name, each in zip(names, limits, strict=True)], history)


def play(client: Client, subjects: list[Subject], history: list[tuple[str, Any, Any]]) -> None:
    """Let both sides go through a history and compare every answer."""
    client.ask("FLUSHALL")
    time = Time()
    memory, redis = MemoryQuota(clock=time, wall=time), OnRedis(client, time)
    made: list[tuple[str, list[Subject]]] = []
    settled: set[str] = set()
    for n, (step, what, much) in enumerate(history):
        if step == "reserve":
            chosen = [subjects[i] for i in sorted(what)]
            if not wanted(chosen):
                continue
            assert redis.reserve(f"r{n}", chosen, much) == at_once(memory.reserve(f"r{n}", chosen, much))
            made.append((f"r{n}", chosen))
        elif step == "settle" and made:
            id, chosen = made[what % len(made)]
            redis.settle(id, chosen, much)
            assert memory.settle(id, much) is SETTLED
            settled.add(id)
        elif step == "renew":
            redis.renew()
            memory.renew()
            made = [each for each in made if each[0] in redis.held or each[0] in settled]
        elif step == "pass":
            time.ms += what
        assert redis.look(subjects) == at_once(memory.headroom(subjects))


@pytest.mark.parametrize("seed", range(12))
def test_a_long_history_gives_the_same_answers_too(client: Client, seed: int) -> None:
    chance = random.Random(seed)
    subjects = [
        Subject("caller:a", Limits(6, 60, 400, 900, 500, 4)),
        Subject("group:b", Limits(tokens_per_day=MOST, tokens_per_month=MOST, money_per_month=2**63)),
        Subject("everybody", Limits(requests_per_minute=40, tokens_per_minute=300, concurrent=5)),
    ]
    pauses = [0, 0, 1, 999, SLOT_MS - 1, SLOT_MS, 20_000, LEASE_MS, 60_000, DAY_MS // 2, 9 * DAY_MS, -1, -5000]

    def amounts() -> Amounts:
        if chance.random() < 0.03:
            return Amounts(chance.choice([-5, MOST - 1, 2**63]), chance.choice([-5, MOST, 2**70]))
        return Amounts(chance.randrange(20), chance.randrange(20))

    history: list[tuple[str, Any, Any]] = []
    for _ in range(250):
        step = chance.choice(["reserve", "reserve", "reserve", "settle", "settle", "pass", "renew"])
        what: Any = chance.choice(pauses) if step == "pass" else chance.randrange(1000)
        if step == "reserve":
            what = set(chance.sample(range(3), chance.randint(1, 3)))
        history.append((step, what, amounts()))
    play(client, subjects, history)


def test_the_calendar_is_the_same_on_both_sides(client: Client) -> None:
    time = Time()
    memory, redis = MemoryQuota(clock=time, wall=time), OnRedis(client, time)
    subjects = [Subject("caller:a", Limits(tokens_per_day=100, tokens_per_month=10_000))]
    borders = [date(year, *day) for year in (*range(1971, 2106), 2400) for day in ((1, 1), (3, 1), (8, 1))]
    for border in borders:
        for days in (-2, -1, 0):
            day = border + timedelta(days=days)
            time.ms = (day - date(1970, 1, 1)).days * DAY_MS + 5
            id = f"{day}"
            assert redis.reserve(id, subjects, Amounts(1)) == at_once(memory.reserve(id, subjects, Amounts(1)))


def test_what_settles_later_is_charged_when_it_was_reserved(client: Client) -> None:
    time = Time()
    redis = OnRedis(client, time)
    subjects = [Subject("caller:a", Limits(tokens_per_minute=100, tokens_per_day=1000, money_per_month=1000))]
    redis.reserve("one", subjects, Amounts(10, 10))
    time.ms += 2 * SLOT_MS  # which is another day
    redis.reserve("two", subjects, Amounts(10, 10))
    redis.settle("one", subjects, Amounts(30, 50))
    assert [left.remaining for left in redis.look(subjects)] == [60, 990, 940]


def test_leases_are_kept_as_long_as_they_may_count(client: Client) -> None:
    redis = OnRedis(client, Time())
    subjects = [Subject("caller:a", Limits(concurrent=2))]
    redis.reserve("one", subjects, Amounts())
    client.ask("PERSIST", "{test:quota}:leases:caller:a")
    redis.renew()
    assert 50 <= client.ask("TTL", "{test:quota}:leases:caller:a") <= 60


def test_every_key_expires_and_all_have_one_tag(client: Client) -> None:
    redis = OnRedis(client, Time())
    everything = Limits(9, 9, 9, 9, 9, 9)  # the longest period decides
    subjects = [Subject("caller:a", everything), Subject("group:b", Limits(requests_per_minute=9))]
    redis.reserve("one", subjects, Amounts(1, 1))
    redis.reserve("two", subjects, Amounts(1, 1))
    redis.settle("two", subjects, Amounts(2, 2))
    keys: Any = client.ask("KEYS", "{*")
    left = {key: client.ask("TTL", key.decode()) for key in keys}
    assert {key.split(b"}")[0] for key in left} == {b"{test:quota"}
    ends = {key.split(b":", 2)[2]: seconds for key, seconds in left.items()}
    month = 32 * 86_400
    expected = {
        b"of:caller:a": month,
        b"leases:caller:a": 60,
        b"of:group:b": 70,
        b"held:one": 86_400,
        b"held:two": SETTLED_SECONDS,
    }
    assert ends.keys() == expected.keys()
    assert all(expected[key] - 10 <= ends[key] <= expected[key] for key in ends), ends


def test_what_is_kept_can_be_read_by_people(client: Client) -> None:
    redis = OnRedis(client, Time(SLOT_MS * 5))
    redis.reserve("one", [Subject("caller:a", Limits(requests_per_minute=9, tokens_per_day=90))], Amounts(7))
    kept = client.ask("HGETALL", "{test:quota}:of:caller:a")
    assert dict(zip(kept[::2], kept[1::2], strict=True)) == {b"requests_per_minute": b"5=1", b"tokens_per_day": b"0=7"}


def test_a_reservation_that_comes_after_its_settling_charges_nothing(client: Client) -> None:
    redis = OnRedis(client, Time())
    subjects = [Subject("caller:a", Limits(requests_per_minute=9, concurrent=1))]
    redis.settle("late", subjects, Amounts())
    with pytest.raises(ValueError, match="twice"):
        redis.reserve("late", subjects, Amounts())
    assert [left.remaining for left in redis.look(subjects)] == [9, 1]


def test_a_settled_reservation_gets_no_lease_again(client: Client) -> None:
    redis = OnRedis(client, Time())
    subjects = [Subject("caller:a", Limits(concurrent=1))]
    redis.reserve("one", subjects, Amounts())
    late = dict(redis.held)
    redis.settle("one", subjects, Amounts())
    redis.held = late
    redis.renew()
    assert redis.look(subjects)[0].remaining == 1


def test_leases_that_redis_has_lost_are_made_anew(client: Client) -> None:
    redis = OnRedis(client, Time())
    subjects = [Subject("caller:a", Limits(concurrent=1, tokens_per_day=10))]
    redis.reserve("one", subjects, Amounts(4))
    client.ask("FLUSHALL")
    assert [left.remaining for left in redis.look(subjects)] == [10, 1]
    redis.renew()
    assert [left.remaining for left in redis.look(subjects)] == [10, 0]
    redis.settle("one", subjects, Amounts(3))  # its charge is lost: nothing is to be corrected
    assert [left.remaining for left in redis.look(subjects)] == [10, 1]


def milliseconds(time: list[bytes]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000


def test_the_servers_own_time_is_used(client: Client) -> None:
    usual = scripts()
    commands = QuotaCommands("test", usual, wanted([Subject("caller:a", Limits(requests_per_minute=3))]))
    whole = usual.reserve.whole(commands.reserve("x", Amounts()))
    before, answer, after = client.ask("TIME"), client.send(whole), client.ask("TIME")
    assert milliseconds(before) <= answer[1] <= milliseconds(after)


def test_numbers_up_to_the_largest_are_exact(client: Client) -> None:
    redis = OnRedis(client, Time())
    subjects = [Subject("caller:a", Limits(tokens_per_month=MOST))]
    assert isinstance(redis.reserve("one", subjects, Amounts(MOST - 1)), Grant)
    assert redis.look(subjects)[0].remaining == 1
    refusal = redis.reserve("two", subjects, Amounts(2))
    assert isinstance(refusal, Refusal)
    assert refusal.used == MOST - 1
    assert isinstance(redis.reserve("three", subjects, Amounts(1)), Grant)
    assert redis.look(subjects)[0].remaining == 0
