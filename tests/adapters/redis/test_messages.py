"""What replicas write to Redis, and what they make of what others wrote there."""

import json

import pytest
from tests.fakes import FakeClock
from tests.rows import rows

from chukei.accounts.objects import ObjectRecord, owner_of
from chukei.adapters.redis.messages import (
    BATCH,
    KEPT,
    MAX_BYTES,
    BoardKeys,
    Outbox,
    Waiting,
    record_of,
    text_of,
)
from chukei.model import Change, Condition

NOT_A_NUMBER = float("nan")


def keys(origin: str = "a") -> BoardKeys:
    return BoardKeys("chukei", origin)


def message(**changed: object) -> bytes:
    fields = {"origin": "b", "condition": "open", "subject": "s", "seconds": 5.0, "why": "timeout"}
    return json.dumps(fields | changed).encode()


def test_a_change_is_read_as_it_was_written() -> None:
    change = Change(Condition.COOLING, "https://a/one", 9.0, "429")
    keep, publish = keys("a").commands(change, 7.5)
    assert keep[0] == "SET"
    assert keep[3:] == ("PX", 7500)
    assert publish[:2] == ("PUBLISH", "chukei:pool")
    assert keys("b").heard(publish[2]) == Change(Condition.COOLING, "https://a/one", 7.5, "429")
    assert keys("b").heard(keep[2], 2.0) == Change(Condition.COOLING, "https://a/one", 2.0, "429")
    assert keys("a").heard(publish[2]) is None


def test_a_recovery_removes_what_said_that_it_fails() -> None:
    opened, _ = keys().commands(Change(Condition.OPEN, "s", 9.0, ""), 9.0)
    closed, publish = keys().commands(Change(Condition.CLOSED, "s", 0.0, "recovered"), 60.0)
    assert closed == ("DEL", opened[1])
    assert keys("b").heard(publish[2]) == Change(Condition.CLOSED, "s", 0.0, "recovered")


def test_keys_differ_by_condition_subject_and_namespace_and_name_nothing() -> None:
    made = {
        keys().key(Condition.COOLING, "secret"),
        keys().key(Condition.OPEN, "secret"),
        keys().key(Condition.OPEN, "other"),
        BoardKeys("test", "a").key(Condition.OPEN, "secret"),
        keys().object_key("secret"),
        keys().hold_key("secret"),
    }
    assert len(made) == 6
    assert not any("secret" in key for key in made)


def test_lone_surrogates_neither_raise_nor_collide() -> None:
    assert keys().object_key("\ud800") != keys().object_key("\ud801")
    _, publish = keys().commands(Change(Condition.OPEN, "s", 9.0, "\ud800"), 9.0)
    assert keys("b").heard(publish[2]) == Change(Condition.OPEN, "s", 9.0, "?")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"null",
        b"[" * MAX_BYTES,
        b'{"origin":"\xff"}',
        message()[:-1],
        message(condition="melted"),
        message(condition=None),
        message(seconds="5"),
        message(seconds=None),
        message(seconds=NOT_A_NUMBER),
        message().replace(b"5.0", b"1e999"),
        message(subject=["s"]),
        message(why="x" * MAX_BYTES),
        "text",
        None,
        5,
    ],
)
def test_what_is_no_change_is_none(data: object) -> None:
    assert keys().heard(data) is None


@pytest.mark.parametrize(("sent", "heard"), [(-5, 0), (0, 0), (1e300, 86_400), (86_401, 86_400), (7, 7)])
def test_seconds_are_kept_within_a_day(sent: float, heard: float) -> None:
    change = keys().heard(message(seconds=sent, why="y" * 1000))
    assert change == Change(Condition.OPEN, "s", heard, "y" * 100)


def test_the_oldest_are_forgotten_first() -> None:
    waiting: Waiting[int] = Waiting()
    for number in range(KEPT + 5):
        waiting.put(str(number), number)
    waiting.put("5", -1)  # again, so the newest
    assert len(waiting) == KEPT
    assert list(waiting.oldest().values()) == list(range(6, 6 + BATCH))


def test_what_was_sent_is_removed_unless_there_is_newer() -> None:
    waiting: Waiting[list[str]] = Waiting()
    for key in "abc":
        waiting.put(key, ["old"])
    sent = waiting.oldest()
    waiting.put("d", ["new"])
    waiting.put("b", ["old"])  # again
    waiting.remove(sent)
    assert waiting.oldest() == {"d": ["new"], "b": ["old"]}


def test_what_was_forgotten_while_it_was_sent_is_not_missed() -> None:
    waiting: Waiting[int] = Waiting()
    waiting.put("old", 0)
    sent = waiting.oldest()
    for number in range(KEPT):
        waiting.put(str(number), number)
    waiting.remove(sent)
    assert len(waiting) == KEPT


RECORD = ObjectRecord("response", "https://a/one", owner_of(None), "gpt 4o")


@rows(
    ("text", "found"),
    [
        (text_of(RECORD), RECORD),
        (text_of(RECORD._replace(model=None)), RECORD._replace(model=None)),
        (text_of(RECORD._replace(identity="https://a/b c")), RECORD._replace(identity="https://a/b c")),
        (f"{RECORD.owner} https://a/gpt 4o", ObjectRecord("response", "https://a/gpt 4o", RECORD.owner)),
        ("https://a/b c", ObjectRecord("response", "https://a/b c", "")),
        (f"{RECORD.owner} ", ObjectRecord("response", f"{RECORD.owner} ", "")),
        ("", None),
    ],
)
def test_texts_of_this_and_of_earlier_versions_are_understood(text: str, found: ObjectRecord | None) -> None:
    assert record_of("resp_1", text) == found


def test_an_earlier_version_finds_the_owner_and_a_deployment_that_it_does_not_know() -> None:
    owner, _, identity = text_of(RECORD).partition(" ")
    assert (owner, len(owner)) == (RECORD.owner, 32)
    assert identity != RECORD.identity


def test_an_outbox_holds_the_last_of_each_subject_while_it_holds() -> None:
    clock = FakeClock()
    outbox = Outbox(keys(), clock)
    outbox.add(Change(Condition.COOLING, "s", 5.0, "first"))
    outbox.add(Change(Condition.COOLING, "s", 30.0, "second"))
    outbox.add(Change(Condition.OPEN, "s", 5.0, "soon over"))
    outbox.add(Change(Condition.OPEN, "t", 50.0, "fails"))
    outbox.add(Change(Condition.CLOSED, "t", 0.0, "recovered"))
    for nothing in (0.0, -1.0, NOT_A_NUMBER):
        outbox.add(Change(Condition.OPEN, "u", nothing, "never"))
    outbox.keep("resp_1", RECORD)
    clock.advance(10)
    commands, taken = outbox.batch()
    assert len(outbox) == 4
    taken()
    assert len(outbox) == 0
    assert [(command[0], command[-1]) for command in commands if command[0] != "PUBLISH"] == [
        ("SET", 20_000),
        ("DEL", keys().key(Condition.OPEN, "t")),
        ("SET", 30 * 86_400),
    ]
    assert [keys("b").heard(command[-1]) for command in commands if command[0] == "PUBLISH"] == [
        Change(Condition.COOLING, "s", 20.0, "second"),
        Change(Condition.CLOSED, "t", 0.0, "recovered"),
    ]


def test_a_recovery_is_news_for_a_minute() -> None:
    clock = FakeClock()
    outbox = Outbox(keys(), clock)
    outbox.add(Change(Condition.CLOSED, "s", 0.0, "recovered"))
    clock.advance(61)
    commands, _ = outbox.batch()
    assert commands == []


def test_what_was_not_sent_shrinks_while_it_waits() -> None:
    clock = FakeClock()
    outbox = Outbox(keys(), clock)
    outbox.add(Change(Condition.OPEN, "s", 1e9, "misconfigured"))
    outbox.keep("resp_1", RECORD)
    outbox.batch()
    clock.advance(400)
    (kept, _, made), _ = outbox.batch()
    assert kept[-1] == 86_000_000
    assert made[2] == text_of(RECORD)


def test_what_is_held_expires_in_redis_when_it_should_although_it_is_told_later() -> None:
    clock = FakeClock()
    outbox = Outbox(keys(), clock)
    outbox.hold("one", "sealed", 30.0)
    outbox.hold("two", "sealed", 5.0)
    clock.advance(10.0)
    commands, taken = outbox.batch()
    one, two = keys().hold_key("one"), keys().hold_key("two")
    assert commands == [("SET", one, "sealed", "PX", 20_000), ("DEL", two)]
    taken()
    assert not len(outbox)
