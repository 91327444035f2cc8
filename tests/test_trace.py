"""W3C Trace Context: what is read, what counts as none, what is passed on, and which traces a sample has."""

import random

from tests.rows import rows

from chukei import trace
from chukei.trace import TraceContext, chosen, read

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{ID}-{SPAN}-01"


def read_one(parent: str, *states: str) -> TraceContext | None:
    fields = [(b"host", b"a"), (trace.PARENT, parent.encode())]
    return read([*fields, *((trace.STATE, state.encode()) for state in states)])


@rows(
    ("parent", "sampled", "random"),
    [
        (VALID, True, False),
        (f"00-{ID}-{SPAN}-00", False, False),
        (f"00-{ID}-{SPAN}-03", True, True),
        (f"00-{ID}-{SPAN}-fe", False, True),  # unknown flags
        (f" \t{VALID} ", True, False),
        (f"cc-{ID}-{SPAN}-01", True, False),  # a later version
        (f"cc-{ID}-{SPAN}-01-what-the-future-brings", True, False),
    ],
)
def test_a_context_is_read(parent: str, sampled: bool, random: bool) -> None:
    found = read_one(parent)
    assert found == TraceContext(ID, SPAN, sampled=sampled, random=random, foreign=True)


@rows(
    "parent",
    [
        "",
        "00",
        VALID[:-1],
        f"{VALID}0",
        f"{VALID}-",
        f"{VALID}-00",
        f"cc-{ID}-{SPAN}-01.future",
        f"ff-{ID}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        VALID.upper(),
        f"0x-{ID}-{SPAN}-01",
        f"00-{ID}-{SPAN}-1g",
        f"00_{ID}_{SPAN}_01",
        f"00-{ID[:-1]}-{SPAN}0-01",
        f"00-{ID}-{SPAN}-01, {VALID}",
    ],
)
def test_an_invalid_context_is_none(parent: str) -> None:
    assert read_one(parent) is None


def test_none_and_two_are_none() -> None:
    assert read([(b"host", b"a"), (trace.STATE, b"a=1")]) is None
    assert read([(trace.PARENT, VALID.encode()), (trace.PARENT, VALID.encode())]) is None


@rows(
    ("states", "passed"),
    [
        (("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (("a=1", "b=2"), "a=1,b=2"),
        ((" a=1 ,\tb=2 ,,",), "a=1,b=2"),
        (("tenant@system=1,0digit=2",), "tenant@system=1,0digit=2"),
        (("a=with space inside",), "a=with space inside"),
        (("",), ""),
        (("a",), ""),
        (("a=",), ""),
        (("A=1",), ""),
        (("a=1,b=2=3",), ""),
        (("a=1,a=2",), ""),
        (("a=é",), ""),
        ((f"a={'x' * 257}",), ""),
        ((",".join(f"k{number}=1" for number in range(32)),), ",".join(f"k{number}=1" for number in range(32))),
        ((",".join(f"k{number}=1" for number in range(33)),), ""),
    ],
)
def test_the_state_is_passed_on_or_left_out(states: tuple[str, ...], passed: str) -> None:
    found = read_one(VALID, *states)
    assert found is not None
    assert found.state == passed


def test_a_large_state_loses_its_longest_members_first_then_its_last() -> None:
    long, short = f"long={'x' * 200}", [f"s{number}={'y' * 60}" for number in range(8)]
    found = read_one(VALID, ",".join([short[0], long, *short[1:]]))
    assert found is not None
    assert found.state == ",".join(short[:8])
    assert len(found.state) <= trace.MAX_STATE
    found = read_one(VALID, ",".join([*short, *(f"t{number}={'z' * 60}" for number in range(4))]))
    assert found is not None
    assert found.state == ",".join(short)


def test_what_is_read_is_written_alike() -> None:
    for parent in (VALID, f"00-{ID}-{SPAN}-00", f"00-{ID}-{SPAN}-02"):
        found = read_one(parent, "a=1")
        assert found is not None
        assert trace.write(found) == [(trace.PARENT, parent.encode()), (trace.STATE, b"a=1")]


def test_an_own_span_is_below_the_caller_s() -> None:
    found = read_one(VALID, "a=1")
    assert found is not None
    child = found.child("b" * 16, sampled=False)
    assert child == TraceContext(ID, "b" * 16, SPAN, False, "a=1")
    assert trace.write(child, "c" * 16)[0][1].decode() == f"00-{ID}-{'c' * 16}-00"


def test_a_sample_has_its_share_and_a_larger_one_has_all_of_it() -> None:
    draw = random.Random(1).getrandbits
    ids = [f"{draw(128):032x}" for _ in range(2000)]
    tenth, half = ({each for each in ids if chosen(each, share)} for share in (0.1, 0.5))
    assert 150 < len(tenth) < 250
    assert tenth < half
    assert not any(chosen(each, 0.0) for each in ids)
    assert all(chosen(each, 1.0) for each in ids)
