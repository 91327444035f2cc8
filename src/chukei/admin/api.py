"""The admin API under /admin: keys, usage and deployments. It has credentials of its own.

It is not on the path of requests for models. Without ``[admin]`` these routes do not exist.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import structs

from chukei.accounts import reports
from chukei.accounts.changes import Action, Actor
from chukei.accounts.stores import Database, StoreAway
from chukei.admin import schemas
from chukei.admin.access import AdminAccess, check_method
from chukei.admin.audit import AuditTrail
from chukei.admin.callers import CallerDesk
from chukei.admin.configuration import ConfigurationDesk
from chukei.admin.feed import Feed
from chukei.admin.groups import GroupDesk
from chukei.admin.keys import KeyDesk
from chukei.admin.query import once, only, read, read_search
from chukei.admin.rules import RuleDesk
from chukei.admin.schemas import MAX_LEVEL_SECONDS
from chukei.callers.administrators import Administrator
from chukei.callers.registry import KeyRegistry, NoSuchKey
from chukei.config import Reload, Reloaded
from chukei.errors import CallerError, Unavailable
from chukei.model import End, Headers
from chukei.pool import Pool
from chukei.ports import Clock, Incoming, Peers, Reply
from chukei.record import RequestRecord
from chukei.request.routes import ADMIN_FEED, ADMIN_SIGN_IN

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024
"""Bytes of an administrator's request body, which has only a few names."""

_CALLER = re.compile(r"/callers/(.+)")
_KEY_ACTION = re.compile(r"/keys/([^/]{1,128})/(rotate|revoke)")
_LOGGER = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_JSON = (b"content-type", b"application/json")
_FRESH: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


@dataclass(frozen=True, slots=True)
class AdminAnswer:
    """The answer to an administrator's request."""

    status: int
    headers: Headers
    body: bytes


class Admin:
    """Serves the admin API. ``ledger_state`` returns the state of the ledger's writer.

    ``rules`` changes limits and groups, ``configuration`` shows the settings, and ``reload`` reads them again.
    ``currency`` is that of costs.
    """

    def __init__(
        self,
        access: AdminAccess,
        database: Database,
        registry: KeyRegistry,
        pool: Pool,
        *,
        clock: Clock,
        now: Callable[[], datetime],
        ledger_state: Callable[[], dict[str, object]],
        peers: Peers,
        feed: Feed,
        rules: RuleDesk,
        callers: CallerDesk,
        groups: GroupDesk,
        configuration: ConfigurationDesk,
        currency: str | None = None,
        reload: Reload | None = None,
    ) -> None:
        self._access = access
        self._database = database
        self._keys = KeyDesk(registry, now)
        self._trail = AuditTrail(database, now)
        self._pool = pool
        self._clock = clock
        self._now = now
        self._ledger_state = ledger_state
        self._rules = rules
        self._callers = callers
        self._groups = groups
        self._currency = currency
        self._configuration = configuration
        self._reload = reload
        self._peers = peers
        self._feed = feed

    def drain(self) -> None:
        """End the live view's streams, since a shutdown waits for all that is being served."""
        self._feed.close()

    async def serve(
        self,
        path: str,
        incoming: Incoming,
        reply: Reply,
        record: RequestRecord,
        headers: Headers,
        body_seconds: float,
    ) -> None:
        """Serve a request, with ``headers`` on the answer. An operation completes even if the client disconnects.

        Raises:
            CallerError: the request is invalid.
            Unavailable: 503 while the database is unavailable, or with too many viewers.
            ClientGone: the client disconnected before its request was complete.
        """
        record.operation = "admin"
        if path == ADMIN_SIGN_IN:
            await _send(_json(self._access.sign_in()), reply, record, headers)
            return
        who = await self._access.check(incoming.headers, incoming.source)
        check_method(incoming.method, who)
        try:
            body = await incoming.body(MAX_BODY_BYTES, body_seconds)
        except CallerError as error:
            if error.status != 413:
                raise
            message = f"The request's body is larger than {MAX_BODY_BYTES} bytes, the most that is taken here."
            raise CallerError(413, "request_too_large", message) from None
        if path == ADMIN_FEED:
            only(once(incoming.query), frozenset())
            record.status, record.end = 200, End.COMPLETED
            seconds = who.expires - self._now().timestamp() if who.expires is not None else None
            await self._feed.serve(incoming, reply, [*_FRESH, *headers], seconds=seconds)
            return
        answer = await self.answer(who, incoming.method, path, incoming.query, body)
        await _send(answer, reply, record, headers)

    async def answer(self, who: Administrator, method: str, path: str, query: str, body: bytes) -> AdminAnswer:
        """Answer the request of an administrator who may make it; ``path`` is the part after ``/admin``.

        Raises:
            CallerError: 400 for invalid input, 404 for an unknown key or route.
            Unavailable: 503 while the database is unavailable.
        """
        try:
            return await self._answer(who, method, path, once(query), body)
        except StoreAway as error:
            raise Unavailable("ledger_unavailable", f"The database cannot be asked: {error}", end=End.REFUSED) from None
        except NoSuchKey:
            raise CallerError(404, "key_not_found", "There is no key with that id.", param="id") from None

    async def _answer(
        self, who: Administrator, method: str, path: str, query: dict[str, str], body: bytes
    ) -> AdminAnswer:
        queried = await self._queried(method, path, query, who.actor)
        if queried is not None:
            return queried
        only(query, frozenset())
        match method, path:
            case "GET" | "HEAD", "/session":
                return _json(schemas.Session(who.actor.id, who.actor.name, who.may_change))
            case "POST", "/keys":
                return _json(await self._keys.make(_decode(body, schemas.NewKey), who.actor), status=201)
            case "GET" | "HEAD", "/deployments":
                return _json({"models": self._pool.status(self._clock())})
            case "GET" | "HEAD", "/ledger":
                return _json(self._ledger_state())
        answer = await self._configured(method, path, body, who.actor)
        if answer is not None:
            return answer
        action = _KEY_ACTION.fullmatch(path)
        if method == "POST" and action is not None:
            return await self._end(unquote(action[1]), action[2], body, who.actor)
        raise CallerError(404, "unknown_route", "There is no such route below /admin; see /admin/openapi.json.")

    async def _queried(self, method: str, path: str, query: dict[str, str], actor: Actor) -> AdminAnswer | None:
        """Answer what has a query, or is about callers and groups."""
        caller = _CALLER.fullmatch(path)
        match method, path:
            case "GET" | "HEAD", "/usage":
                return await self._usage(query)
            case "DELETE", "/usage":
                return await self._forget(query, actor)
            case "GET" | "HEAD", "/keys":
                return _json(await self._keys.find(query))
            case "GET" | "HEAD", "/changes":
                return _json(await self._trail.changes(query))
            case "GET" | "HEAD", "/callers":
                return _json(await self._callers.find(*read_search(query, self._now())))
            case "GET" | "HEAD", "/groups":
                only(query, frozenset())
                return _json(await self._groups.all())
            case "GET" | "HEAD", _ if caller is not None:
                only(query, frozenset())
                return _json(await self._callers.one(unquote(caller[1])))
        return None

    async def _usage(self, query: dict[str, str]) -> AdminAnswer:
        question, limit, as_csv = read(query, self._now())
        rows = await self._database.sum(question)
        # Encoding many rows takes long, so it runs in a thread and does not delay streams.
        if as_csv:
            kind = (b"content-type", b"text/csv; charset=utf-8")
            name = (b"content-disposition", b'attachment; filename="usage.csv"')
            text = await asyncio.to_thread(reports.as_csv, rows[:limit], question.by)
            return AdminAnswer(200, [kind, name, *_FRESH], text.encode())
        body = await asyncio.to_thread(reports.as_json, rows[:limit], question, rows=len(rows), currency=self._currency)
        return AdminAnswer(200, [_JSON, *_FRESH], body)

    async def _forget(self, query: dict[str, str], actor: Actor) -> AdminAnswer:
        only(query, frozenset({"caller"}))
        caller = query.get("caller")
        if not caller:
            message = "Say whose entries to delete: ?caller=NAME."
            raise CallerError(400, "invalid_value", message, param="caller")
        change = self._trail.change(Action.ENTRIES_DELETED, f"caller:{caller}", actor)
        count = await self._database.forget(caller=caller, change=change)
        logger.info("an administrator (%s) deleted %d entries of one caller from the ledger", actor.id, count)
        return _json(schemas.Deleted(count))

    async def _end(self, id: str, action: str, body: bytes, actor: Actor) -> AdminAnswer:
        if action == "revoke":
            _decode(body or b"{}", schemas.Revocation)
            return _json(await self._keys.revoke(id, actor))
        return _json(await self._keys.replace(id, _decode(body or b"{}", schemas.Rotation), actor), status=201)

    async def _configured(self, method: str, path: str, body: bytes, actor: Actor) -> AdminAnswer | None:
        """Answer what concerns the configuration, and what is set above it."""
        match method, path:
            case "GET" | "HEAD", "/rules":
                return _json(await self._rules.all())
            case "POST", "/rules":
                return _json(await self._rules.change(_decode(body, schemas.RuleChange), actor))
            case "GET" | "HEAD", "/configuration":
                return _json(await self._configuration.shown())
            case "POST", "/reload":
                return await self._reloaded(body, actor)
            case "GET" | "HEAD", "/log-level":
                return _json(await self._levels())
            case "PUT", "/log-level":
                return _json(await self._set_level(body, actor))
        return None

    async def _reloaded(self, body: bytes, actor: Actor) -> AdminAnswer:
        _decode(body or b"{}", schemas.Reload)
        outcome = await self._reload() if self._reload is not None else Reloaded()
        if outcome.problems:
            message = f"The new configuration is refused, and the old one stays: {'; '.join(outcome.problems)}"
            raise CallerError(409, "configuration_refused", message)
        found = outcome.changes
        shown = schemas.Reloaded(
            version=outcome.version,
            changed=list(found.changed),
            added=list(found.added),
            removed=list(found.removed),
            files=list(found.files),
            restart=list(found.restart),
        )
        await self._trail.record(Action.RELOAD, "configuration", actor, structs.asdict(shown))
        return _json(shown)

    async def _levels(self, change: bytes = b"") -> schemas.LogLevels:
        """Return the levels of each worker process, after a change if there is one."""
        answers = await self._peers.ask("log_level", change)
        workers = [msgspec.json.decode(answer, type=schemas.WorkerLevels) for answer in answers]
        for worker in workers:
            if worker.error is not None:
                raise CallerError(400, "invalid_value", f"'logger': {worker.error}.", param="logger")
        return schemas.LogLevels(workers)

    async def _set_level(self, body: bytes, actor: Actor) -> schemas.LogLevels:
        asked = _decode(body, schemas.LogLevelChange)
        if not _LOGGER.fullmatch(asked.logger):
            message = "'logger' must be the name of a logger, such as chukei or chukei.request."
            raise CallerError(400, "invalid_value", message, param="logger")
        if asked.seconds is not None and not 1 <= asked.seconds <= MAX_LEVEL_SECONDS:
            message = f"'seconds' must be from 1 to {MAX_LEVEL_SECONDS}."
            raise CallerError(400, "invalid_value", message, param="seconds")
        before = _level(await self._levels(), asked.logger)
        levels = await self._levels(msgspec.json.encode(asked))
        after = _level(levels, asked.logger) | {"seconds": asked.seconds}
        await self._trail.record(Action.LOG_LEVEL, f"logger:{asked.logger}", actor, after, before)
        return levels


async def _send(answer: AdminAnswer, reply: Reply, record: RequestRecord, headers: Headers) -> None:
    record.status, record.end = answer.status, End.COMPLETED
    length = (b"content-length", str(len(answer.body)).encode())
    await reply.start(answer.status, [*answer.headers, length, *headers])
    await reply.finish(answer.body)


def _level(found: schemas.LogLevels, logger: str) -> dict[str, object]:
    """Return the level of a logger in the first worker process that has it, for the record."""
    levels = (level.level for worker in found.workers for level in worker.levels if level.logger == logger)
    return {"level": next(levels, None)}


def _json(value: object, *, status: int = 200) -> AdminAnswer:
    return AdminAnswer(status, [_JSON, *_FRESH], msgspec.json.encode(value))


Decoded = TypeVar("Decoded")


def _decode(body: bytes, kind: type[Decoded]) -> Decoded:
    try:
        json.loads(body, object_pairs_hook=_once)  # msgspec would accept the last of duplicate members
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CallerError(400, "invalid_json", f"The request's body is not what is expected: {error}.") from None


def _once(members: list[tuple[str, object]]) -> dict[str, object]:
    """Return the members of an object. Each name may occur once, also if escapes spell it differently.

    Raises:
        CallerError: 400.
    """
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        name = next(name for name in names if names.count(name) > 1)[:80]
        message = f"The member {name!r} is given more than once; give it once."
        raise CallerError(400, "duplicate_parameter", message, param=name)
    return found
