"""The command without a terminal. In a terminal, live/test_live_view.py runs it."""

import json
from collections.abc import Iterator
from contextlib import nullcontext

import msgspec
import pytest
from tests.live.relays import in_process
from tests.rows import rows

from chukei.admin.live_example import LIVE
from chukei.top.run import print_events
from chukei.top.source import Away, Refused, Source

EVENT = msgspec.json.encode(LIVE)


class Scripted(Source):
    """Two events, then the relay is away for two seconds, then an event, and it refuses."""

    def __init__(self) -> None:
        super().__init__("http://relay.example", "k")
        self.connected = 0

    def events(self) -> Iterator[bytes]:
        self.connected += 1
        match self.connected:
            case 1:
                yield EVENT
                yield EVENT
                raise Away("it has ended the stream")
            case 2:
                raise Away("it cannot be reached")
            case 3:
                yield EVENT
        raise Refused("it refuses")


def printed(*, once: bool, as_json: bool) -> list[str]:
    """Return what is printed, also what is said of the relay's absence."""
    lines: list[str] = []
    with nullcontext() if once else pytest.raises(Refused):
        print_events(
            Scripted(), lines.append, once=once, as_json=as_json, warn=lines.append, pause=lambda seconds: None
        )
    return lines


def test_lines_of_json_are_the_feeds_own() -> None:
    first, second, away, third = printed(once=False, as_json=True)
    assert [json.loads(line) for line in (first, second, third)] == [json.loads(EVENT)] * 3
    assert away == "it has ended the stream; trying again"
    assert len(printed(once=True, as_json=True)) == 1


def test_without_a_terminal_each_event_is_a_block_of_plain_text() -> None:
    blocks = printed(once=False, as_json=False)
    assert len(blocks) == 4
    assert "\x1b" not in blocks[0]
    assert "ALARM  east takes 4.2 s (p95)" in blocks[0]
    assert "upstream_timeout" in blocks[0]


@rows(
    ("environment", "arguments", "status", "words"),
    [
        ({}, (), 2, "set CHUKEI_ADMIN__API_KEY"),
        ({"CHUKEI_ADMIN__API_KEY": "k" * 16}, ("http://127.0.0.1:9",), 4, "cannot be reached"),
        ({"CHUKEI_ADMIN__API_KEY": "k" * 16}, ("ftp://relay",), 4, "is not an http"),
        ({"CHUKEI_ADMIN__API_KEY": "k" * 16}, ("--once", "http://127.0.0.1:9"), 4, "cannot be reached"),
    ],
)
def test_exit_codes(environment: dict[str, str], arguments: tuple[str, ...], status: int, words: str) -> None:
    code, output = in_process("top", *arguments, environment=environment)
    assert (code, words in output) == (status, True), output
