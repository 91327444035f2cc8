"""Reloads of an application: one configuration after another, and what is left of those before."""

import asyncio
import logging
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from chukei.adapters.logs.process_log import apply_log
from chukei.config import Changes, ConfigError, Reloaded, Settings, changes, without_restart
from chukei.config.changes import refuse_empty, version_of
from chukei.hosts.watching import watch
from chukei.ports import Peers
from chukei.wiring.build import Relay
from chukei.wiring.reload import rebuild, retire

logger = logging.getLogger(__name__)

NAME_BYTES = 8

USUAL_SECONDS = sys.getswitchinterval()
"""How long a thread of Python may make the others wait."""

MOST_NAMES = 40
"""Names of keys in a log line."""

Source = Callable[[], Settings]
"""Reads and checks the configuration.

Raises:
    ConfigError: lists every mistake.
"""


class Reloadable(Protocol):
    """The part of an application that a reload needs."""

    settings: Settings
    peers: Peers
    leaving: bool
    """Whether it shuts down."""

    @property
    def relay(self) -> Relay | None:
        """The relay that serves new requests."""
        ...

    @property
    def simulator(self) -> Any:
        """The built-in simulator while it runs."""
        ...

    async def with_simulator(self, settings: Settings) -> tuple[Any, Settings]:
        """Return the simulator for the settings, and the settings with its address."""
        ...

    def replace(self, settings: Settings, relay: Relay, simulator: Any) -> None:
        """Serve further requests with another relay."""
        ...


@dataclass(slots=True)
class _Replaced:
    """A relay that was replaced, its simulator, and how many of its requests are still running."""

    relay: Relay
    simulator: Any
    left: int


class Reloads:
    """Reloads the configuration of an application. ``source`` reads it; without one there is nothing to reload.

    ``announce`` is told the settings that a reload has put in force, in a thread.
    """

    def __init__(
        self, application: Reloadable, source: Source | None, announce: Callable[[Settings], None] | None = None
    ) -> None:
        self._announce = announce
        self._application = application
        self._source = source
        self._one_at_a_time = asyncio.Lock()
        self._replaced: list[_Replaced] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._closed = False
        self.refused: tuple[str, ...] = ()
        """Why the configuration on disk is refused, as of the last reload; empty if it is in force."""
        self._refused_files: frozenset[str] = frozenset()
        self._name = secrets.token_bytes(NAME_BYTES)

    def start(self) -> None:
        """Start to watch the files, and answer the other workers."""
        peers = self._application.peers
        peers.answer("reload", self._asked)
        peers.answer("version", lambda _: version_of(self._application.settings).encode())
        self._watch()

    def _watch(self) -> None:
        settings = self._application.settings
        running = self._watching is not None and not self._watching.done()
        if self._source is not None and not running and settings.files and settings.reload.watch_seconds:
            self._watching = asyncio.create_task(
                watch(
                    lambda: self._refused_files.union(self._application.settings.files),
                    lambda: self._application.settings.reload.watch_seconds,
                    lambda: self.reload("a file has changed", quiet=True),
                )
            )

    def soon(self, why: str, *, quiet: bool = False, unless: str | None = None) -> None:
        """Reload in the background, without telling the other workers. For ``unless`` and ``quiet`` see ``reload``."""
        task: asyncio.Task[object] = asyncio.create_task(self.reload(why, tell=False, quiet=quiet, unless=unless))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def refuse(self, error: ConfigError) -> None:
        """Note why the configuration on disk is refused. A change of any of its files may correct it."""
        self.refused, self._refused_files = tuple(map(str, error.problems)), error.files

    def _asked(self, argument: bytes) -> bytes:
        name, version = argument[:NAME_BYTES], argument[NAME_BYTES:].decode()
        if name != self._name:
            self.soon("another worker has reloaded", quiet=True, unless=version)
        return b""

    async def reload(self, why: str, *, tell: bool = True, quiet: bool = False, unless: str | None = None) -> Reloaded:
        """Read the configuration, and apply it if it is valid. Running requests do not notice.

        ``tell`` makes the other workers reload too. If ``quiet``, an outcome without news is not logged. If the version
        in force is ``unless``, or the relay shuts down, nothing happens.
        """
        async with self._one_at_a_time:
            if unless is not None and unless == version_of(self._application.settings):
                return Reloaded(version=unless)
            outcome = await self._reload(why, quiet=quiet)
        if tell and outcome.changes:
            await self._application.peers.ask("reload", self._name + outcome.version.encode())
        return outcome

    async def _reload(self, why: str, *, quiet: bool) -> Reloaded:
        application = self._application
        version = version_of(application.settings)
        try:
            settings, found = await asyncio.to_thread(self._read, application.settings)
        except ConfigError as error:
            before = self.refused
            self.refuse(error)
            if not quiet or self.refused != before:
                text = "the new configuration is refused and the old one stays (%s): %s"
                logger.error(text, why, "; ".join(self.refused))  # noqa: TRY400 - an operator's mistake, with all reasons
            return Reloaded(problems=self.refused, version=version)
        except Exception:  # the watch must go on
            logger.exception("the new configuration could not be read and the old one stays (%s)", why)
            self.refused = ("it could not be read; the log has the reason",)
            return Reloaded(problems=self.refused, version=version)
        self.refused, self._refused_files = (), frozenset()
        if self._closed or application.leaving or application.relay is None:
            return Reloaded(version=version)
        if found:
            try:
                await self._apply(without_restart(application.settings, settings))
            except Exception:  # a triggered reload has nobody to raise to
                logger.exception("the new configuration could not be applied and the old one stays (%s)", why)
                self.refused = ("it could not be applied; the log has the reason",)
                return Reloaded(problems=self.refused, version=version)
        elif settings.files != application.settings.files:  # for instance a comment has changed
            application.settings = replace(application.settings, files=settings.files)
        if found and self._announce is not None:
            await asyncio.to_thread(self._announce, application.settings)
        if found or not quiet:
            _log(found, why)
        return Reloaded(found, version=version_of(application.settings))

    def _read(self, before: Settings) -> tuple[Settings, Changes]:
        """Read the configuration and compare it, in a thread.

        A large file takes seconds. Meanwhile the event loop gets its turn ten times as often as usual.
        """
        if self._source is None:
            return before, Changes()
        sys.setswitchinterval(USUAL_SECONDS / 10)
        try:
            settings = self._source()
            if settings.files != before.files:
                refuse_empty(settings)
            return settings, changes(before, settings)
        finally:
            sys.setswitchinterval(USUAL_SECONDS)

    async def _apply(self, settings: Settings) -> None:
        """Replace the relay in one step."""
        application = self._application
        simulator, whole = await application.with_simulator(settings)
        before, made = application.relay, None
        try:
            if before is None or application.leaving or self._closed:  # it began to shut down meanwhile
                return
            made = rebuild(before, whole)
        finally:
            if made is None and simulator is not None and simulator is not application.simulator:
                await simulator.stop()
        if settings.log != application.settings.log:
            apply_log(settings.log)
        left = before.gateway.served - sum(each.left for each in self._replaced)
        replaced = _Replaced(before, application.simulator if application.simulator is not simulator else None, left)
        application.replace(settings, made, simulator)
        self._replaced.append(replaced)
        if not left:
            self._retire(replaced)
        self._watch()

    def ended(self, relay: Relay) -> None:
        """Note that a request of a replaced relay has ended."""
        for each in self._replaced:
            if each.relay is relay:
                each.left -= 1
                if not each.left:
                    self._retire(each)
                return

    def _retire(self, replaced: _Replaced) -> None:
        self._replaced.remove(replaced)
        task: asyncio.Task[object] = asyncio.create_task(self._close(replaced))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self, replaced: _Replaced) -> None:
        others = [each.relay for each in self._replaced]
        if self._application.relay is not None:
            others.append(self._application.relay)
        await retire(replaced.relay, others)
        if replaced.simulator is not None:
            await replaced.simulator.stop()

    async def close(self) -> None:
        """Stop watching, and close what replaced relays have left. Call it before the relay is closed."""
        self._closed = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        while self._replaced:
            self._retire(self._replaced[0])
        if self._tasks:
            await asyncio.wait(self._tasks)


def _log(found: Changes, why: str) -> None:
    parts = (("changed", found.changed), ("added", found.added), ("removed", found.removed), ("files", found.files))
    said = "; ".join(f"{word}: {_names(keys)}" for word, keys in parts if keys) or "nothing has changed"
    logger.info("configuration reloaded (%s): %s", why, said)
    if found.restart:
        logger.warning("needs a restart to take effect: %s", _names(found.restart))


def _names(keys: tuple[str, ...]) -> str:
    more = len(keys) - MOST_NAMES
    return ", ".join(keys[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
