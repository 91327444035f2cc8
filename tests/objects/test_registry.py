"""Which objects are known, to this process and to the stores behind it."""

import math

import pytest
from tests.fakes import FakeClock, FakeObjectStore
from tests.rows import rows

from chukei.accounts.objects import ObjectRecord, owner_of, owner_of_group, owners_of_name
from chukei.accounts.stores import StoreAway
from chukei.model import Caller, CallerKind
from chukei.objects.registry import AT_ONCE, MISSED_SECONDS, MOST_ENDED, MOST_KNOWN, RENEW_SECONDS, Objects

pytestmark = pytest.mark.anyio

ANN, BOB = (owner_of(Caller(name, CallerKind.KEY)) for name in ("ann", "bob"))
EAST, WEST = (ObjectRecord("response", f"https://{name}/gpt", ANN, "gpt") for name in ("east", "west"))


async def test_what_was_made_here_is_found_without_asking() -> None:
    store = FakeObjectStore()
    objects = Objects([store])
    objects.made("resp_1", EAST)
    assert await objects.find(["resp_1"]) == [EAST]
    assert (store.asked, store.kept) == ([], [("resp_1", EAST)])


async def test_what_is_known_is_written_once_and_a_move_again() -> None:
    store = FakeObjectStore()
    objects = Objects([store])
    for record in (EAST, EAST, WEST, WEST):
        objects.made("resp_1", record)
    assert store.kept == [("resp_1", EAST), ("resp_1", WEST)]
    assert await objects.find(["resp_1"]) == [WEST]


async def test_stores_are_asked_in_turn_for_what_is_missing() -> None:
    first, second = FakeObjectStore({"resp_2": EAST}), FakeObjectStore({"resp_2": WEST, "resp_3": WEST})
    objects = Objects([first, second])
    objects.made("resp_1", EAST)
    assert await objects.find(["resp_1", "resp_2", "resp_3", "resp_4"]) == [EAST, EAST, WEST, None]
    assert (first.asked, second.asked) == ([["resp_2", "resp_3", "resp_4"]], [["resp_3", "resp_4"]])
    assert ("resp_3", WEST) in first.kept, "the next process finds it there"
    assert await objects.find(["resp_2", "resp_3"]) == [EAST, WEST]
    assert len(first.asked) == 1, "it is known from now on"


async def test_many_ids_are_asked_for_in_parts() -> None:
    ids = [f"msg_{number}" for number in range(2 * AT_ONCE + 1)]
    store = FakeObjectStore(dict.fromkeys(ids[::2], EAST))
    assert await Objects([store]).find(ids) == [None if number % 2 else EAST for number in range(len(ids))]
    assert [len(asked) for asked in store.asked] == [AT_ONCE, AT_ONCE, 1]


async def test_stores_are_asked_seldom_for_what_they_do_not_know_and_nobody_needs() -> None:
    clock, store = FakeClock(), FakeObjectStore({"msg_2": WEST})
    objects = Objects([store], clock)
    for _ in range(3):
        assert await objects.find(["msg_1", "msg_2"], needed=False) == [None, WEST]
    assert store.asked == [["msg_1", "msg_2"]]
    assert await objects.find(["msg_1"]) == [None]
    assert len(store.asked) == 2, "what is needed may have been made elsewhere in the meantime"
    clock.advance(MISSED_SECONDS + 1)
    store.known["msg_1"] = EAST
    assert await objects.find(["msg_1"], needed=False) == [EAST]


async def test_what_was_missed_is_found_once_it_is_made_here_and_asked_for_while_a_store_was_away() -> None:
    store = FakeObjectStore()
    objects = Objects([store])
    assert await objects.find(["msg_1"], needed=False) == [None]
    objects.made("msg_1", EAST)
    assert await objects.find(["msg_1"], needed=False) == [EAST]
    store.away = True
    with pytest.raises(StoreAway):
        await objects.find(["msg_2"], needed=False)
    store.away, store.known["msg_2"] = False, WEST
    assert await objects.find(["msg_2"], needed=False) == [WEST]


async def test_an_id_is_unknown_only_if_every_store_says_so() -> None:
    first, second = FakeObjectStore(), FakeObjectStore({"resp_2": WEST})
    objects = Objects([first, second])
    objects.made("resp_1", EAST)
    first.away = True
    assert await objects.find(["resp_1", "resp_2"]) == [EAST, WEST]
    with pytest.raises(StoreAway):
        await objects.find(["resp_1", "resp_3"])
    first.away = False
    assert await objects.find(["resp_3"]) == [None]


async def test_an_object_keeps_its_first_owner() -> None:
    objects = Objects()
    objects.made("conv_1", EAST)
    for record in (EAST, WEST):
        objects.made("conv_1", record._replace(owner=BOB))
    assert await objects.find(["conv_1"]) == [EAST]
    objects.made("conv_2", EAST._replace(owner=""))
    objects.made("conv_2", EAST._replace(owner=BOB))
    assert await objects.find(["conv_2"]) == [EAST._replace(owner=BOB)], "an earlier version knew no owners"


def test_the_end_of_a_response_is_remembered_for_a_bounded_number() -> None:
    clock = FakeClock()
    objects = Objects(clock=clock)
    for number in range(MOST_ENDED + 1):
        objects.stored(f"resp_{number}")
    clock.advance(7.0)
    assert [objects.since_stored(f"resp_{number}") for number in (0, 1)] == [math.inf, 7.0]
    objects.gone("resp_1")
    assert objects.since_stored("resp_1") == math.inf


async def test_what_is_gone_is_forgotten() -> None:
    store = FakeObjectStore({"resp_1": EAST})
    objects = Objects([store])
    assert await objects.find(["resp_1"]) == [EAST]
    objects.gone("resp_1")
    assert await objects.find(["resp_1"]) == [None]


async def test_its_use_is_written_again_once_a_day() -> None:
    clock, store = FakeClock(), FakeObjectStore()
    objects = Objects([store], clock)
    objects.made("resp_1", EAST)
    for _ in range(3):
        clock.advance(RENEW_SECONDS / 2 + 1)
        await objects.find(["resp_1"])
        objects.made("resp_1", EAST)
    assert len(store.kept) == 2


async def test_ids_are_of_any_length_and_their_number_is_bounded() -> None:
    objects = Objects()
    objects.made("x" * 1_000_000, EAST)
    objects.made("used\ud800", EAST)
    for number in range(MOST_KNOWN):
        objects.made(f"resp_{number}", WEST)
        if number % 1000 == 0:
            objects.made("used\ud800", EAST)
    assert await objects.find(["used\ud800", "x" * 1_000_000]) == [EAST, None]
    assert len(objects._known) == MOST_KNOWN
    assert max(len(name) for name in objects._known) == 16


@rows("kind", [CallerKind.LOCAL, CallerKind.ANONYMOUS, CallerKind.SHARED])
def test_callers_without_a_name_are_one_owner_of_each_kind(kind: CallerKind) -> None:
    assert owner_of(Caller("local", kind)) == owner_of(Caller("local", kind, ("staff",)))
    assert owner_of(Caller("local", kind)) not in (ANN, owner_of(Caller("local", CallerKind.KEY)), owner_of(None))


def test_an_owner_is_its_name_and_kind_and_no_group() -> None:
    assert owner_of(Caller("ann", CallerKind.KEY, ("staff",), "k1")) == ANN, "its keys and groups may change"
    assert owner_of_group("ann") not in owners_of_name("ann")
    assert {ANN, owner_of(Caller("ann", CallerKind.USER))} <= set(owners_of_name("ann"))


@rows(
    ("first", "second", "away", "gone"),
    [
        ({"resp_1": EAST}, {}, False, False),
        ({}, {"resp_1": EAST}, False, False),
        ({}, {}, False, True),
        ({}, {}, True, False),
    ],
)
async def test_what_no_store_knows_was_deleted_by_another_process(
    first: dict[str, ObjectRecord], second: dict[str, ObjectRecord], away: bool, gone: bool
) -> None:
    objects = Objects([FakeObjectStore(first), FakeObjectStore(second, away=away)])
    objects.made("resp_1", EAST)
    assert await objects.any_gone(["resp_1"]) is gone
    assert not await Objects().any_gone(["resp_1"]), "without stores there is no other process"
