"""The levels of this process's loggers: as configured, and changed for a while.

``logging`` keeps its levels for the whole process, and so does this module. The configured level is that of the relay's
own loggers. Loggers of libraries begin at ``warning``, because their finer lines may contain what the relay never logs.
A logger that has a level of its own in the configuration, or by a change, has exactly that.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from chukei.ports import Clock, Peers

OWN = "chukei"
"""The logger whose level is the configured one."""

SUBJECT = "log_level"
"""The subject on which the worker processes of one relay answer about their levels."""

MOST_CHANGED = 50
"""Loggers whose level may be changed at a time."""

_ALWAYS = {"chukei.start": logging.INFO, "chukei.log": logging.INFO}
"""Loggers of what operators must learn, whatever the level."""

logger = logging.getLogger("chukei.log")


class Timer(Protocol):
    """Something that happens later, unless it is cancelled."""

    def cancel(self) -> None:
        """Prevent it."""
        ...


class LevelChange(msgspec.Struct, frozen=True):
    """A new level for a logger, for so many seconds or until further notice. ``level`` None: as configured again."""

    logger: str = OWN
    level: str | None = None
    seconds: float | None = None


class _Shown(msgspec.Struct, frozen=True):
    """What another process shows of a logger."""

    logger: str
    level: str
    changed: bool
    seconds: float | None


class _Answer(msgspec.Struct, frozen=True):
    levels: list[_Shown]


class TooManyChanged(Exception):
    """Too many loggers have a changed level."""


def _later(seconds: float, call: Callable[[], None]) -> Timer:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


class Levels:
    """The levels that loggers have by configuration, and the changes on top of them."""

    def __init__(
        self, later: Callable[[float, Callable[[], None]], Timer] = _later, clock: Clock = time.monotonic
    ) -> None:
        self._later = later
        self._clock = clock
        self._configured: dict[str, int] = {}
        self._changed: dict[str, tuple[int, float | None, Timer | None]] = {}  # level, end, timer
        self._touched: set[str] = set()
        self._lock = threading.RLock()

    def configure(self, level: str, levels: Mapping[str, str], *, libraries: bool = True) -> None:
        """Apply the configured levels; changes on top of them stay. ``libraries``: also set that of other loggers."""
        own = _number(level)
        given = {name: _number(each) for name, each in levels.items()}
        with self._lock:
            others = {"root": max(own, logging.WARNING)} if libraries else {}
            self._configured = {**others, OWN: own, **given}
            self._apply()

    def change(self, wanted: LevelChange) -> None:
        """Change the level of a logger, for a time or until further notice, or end such a change.

        Raises:
            TooManyChanged: no further logger may be changed.
        """
        name = wanted.logger
        with self._lock:
            if wanted.level is not None and name not in self._changed and len(self._changed) >= MOST_CHANGED:
                raise TooManyChanged
            _, _, timer = self._changed.pop(name, (0, None, None))
            if timer is not None:
                timer.cancel()
            if wanted.level is not None:
                self._add(name, _number(wanted.level), wanted.seconds)
            self._apply()
        until = f" for {wanted.seconds:g} s" if wanted.level is not None and wanted.seconds is not None else ""
        level = wanted.level or "the configured one"
        logger.warning("an administrator set the level of %s to %s%s", name, level, until)

    async def join(self, peers: Peers) -> None:
        """Take over the changes of the other worker processes, for one that has started after them."""
        for answer in await peers.ask(SUBJECT):
            self.take_over(answer)

    def take_over(self, answer: bytes) -> None:
        """Make the changes that another process answers with, except of loggers that are changed here already."""
        for row in msgspec.json.decode(answer, type=_Answer).levels:
            with self._lock:
                if not row.changed or row.logger in self._changed:
                    continue
                self._add(row.logger, _number(row.level), row.seconds)
                self._apply()
            until = f" for {row.seconds:g} s" if row.seconds is not None else ""
            logger.warning("the level of %s is %s%s, as in the other workers", row.logger, row.level, until)

    def _add(self, name: str, level: int, seconds: float | None) -> None:
        if seconds is None:
            self._changed[name] = (level, None, None)
            return
        end = self._clock() + seconds
        self._changed[name] = (level, end, self._later(seconds, lambda: self._go_back(name, end)))

    def _go_back(self, name: str, end: float) -> None:
        with self._lock:
            if self._changed.get(name, (0, None, None))[1] != end:
                return  # it was changed again meanwhile
            del self._changed[name]
            self._apply()
        logger.warning("the level of %s is the configured one again", name)

    def _apply(self) -> None:
        wanted = self._configured | {name: level for name, (level, _, _) in self._changed.items()} | _ALWAYS
        for name in self._touched - wanted.keys():
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in wanted.items():
            logging.getLogger(name).setLevel(level)
        self._touched = set(wanted)

    def answer(self, argument: bytes) -> bytes:
        """Apply a change, if ``argument`` is one as JSON; return this process's levels as JSON (see the Peers port)."""
        error = None
        if argument:
            try:
                self.change(msgspec.json.decode(argument, type=LevelChange))
            except TooManyChanged:
                error = f"{MOST_CHANGED} loggers have a changed level already; set one of them back first"
        return msgspec.json.encode({"process": os.getpid(), "levels": self.shown(), "error": error})

    def shown(self) -> list[dict[str, object]]:
        """Return each logger that has a level of its own, with the configured level and the seconds of a change."""
        with self._lock:
            rows: list[dict[str, object]] = []
            for name in sorted(self._configured.keys() | self._changed.keys()):
                configured = self._configured.get(name)
                level, end, _ = self._changed.get(name, (configured or 0, None, None))
                rows.append(
                    {
                        "logger": name,
                        "level": _name(level),
                        "configured": _name(configured) if configured is not None else None,
                        "changed": name in self._changed,
                        "seconds": round(max(end - self._clock(), 0.0), 1) if end is not None else None,
                    }
                )
            return rows


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _name(level: int) -> str:
    return logging.getLevelName(level).lower()


LEVELS = Levels()
"""This process's."""
