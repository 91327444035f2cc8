"""The command: events from a thread, keys and the screen in the main one."""

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from chukei.top.screen import LEAST_HEIGHT, LEAST_WIDTH, Screen, Sort
from chukei.top.source import Away, Refused, Source, read
from chukei.top.terminal import Terminal, plain, wants_colour

AGAIN_SECONDS = 1.0
"""Seconds after which a lost connection is tried again."""

STALE_SECONDS = 3.0
KEY_SECONDS = 0.2
PRINTED_WIDTH = 120
"""Columns of what is printed where there is no terminal."""

_SORTS = list(Sort)


def print_events(
    source: Source,
    write: Callable[[str], None],
    *,
    once: bool,
    as_json: bool,
    warn: Callable[[str], None],
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Print each event, as a block of text or as a line of JSON; with ``once`` only the first.

    A later loss, for instance because the relay restarts, is told to ``warn`` once and tried again.

    Raises:
        Refused: the relay refuses.
        Away: it could not be reached at all.
    """
    heard = lost = False
    for event in _again(source, pause):
        if isinstance(event, Away):
            if not heard:
                raise event
            if not lost:
                warn(f"{event}; trying again")
            lost = True
            continue
        heard, lost = True, False
        if as_json:
            write(event.decode())
        else:
            lines = Screen(source.url, read(event)).lines(PRINTED_WIDTH, None)
            write("\n".join(plain(line) for line in lines))
        if once:
            return


def watch(source: Source, environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
    """Show the events on the terminal until ``q`` is pressed.

    Raises:
        Refused: the relay refuses.
        Away: it could not be reached at all. A later loss is shown, and tried again.
    """
    heard: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, heard.put), daemon=True).start()
    first = heard.get()
    if isinstance(first, Exception):
        raise first
    screen, last = Screen(source.url, read(first)), clock()
    with Terminal(sys.stdout, colour=wants_colour(environment)) as terminal:
        while True:
            columns, rows = terminal.size
            terminal.draw(screen.lines(max(columns, LEAST_WIDTH), max(rows, LEAST_HEIGHT))[:rows])
            key = terminal.key(KEY_SECONDS)
            if key in ("q", "Q", "\x1b"):
                return
            if key == "\x03":
                raise KeyboardInterrupt
            if key == "s":
                screen.sort = _SORTS[(_SORTS.index(screen.sort) + 1) % len(_SORTS)]
            screen.paused ^= key == "p"
            while not heard.empty():
                last = _hear(screen, heard.get(), clock, last)
            age = clock() - last
            if age >= STALE_SECONDS and not screen.notice.startswith("!"):
                screen.notice = f"no data for {age:.0f} s"


def _hear(screen: Screen, event: bytes | Exception, clock: Callable[[], float], last: float) -> float:
    """Take what was heard; return the time of the last data."""
    if isinstance(event, Refused):
        raise event
    if isinstance(event, Exception):
        screen.notice = f"! {event}; trying again"
        return last
    screen.notice = ""
    if not screen.paused:
        screen.live = read(event)
    return clock()


def _listen(source: Source, tell: Callable[[bytes | Exception], None]) -> None:
    """Read events in a thread of its own, until the relay refuses or the process ends."""
    try:
        for event in _again(source, time.sleep):
            tell(event)
    except Refused as error:
        tell(error)


def _again(source: Source, pause: Callable[[float], object]) -> Iterator[bytes | Away]:
    """Read events; when the relay is away, yield that and connect again.

    Raises:
        Refused: the relay refuses.
    """
    while True:
        try:
            yield from source.events()
        except Away as error:
            yield error
            pause(AGAIN_SECONDS)
