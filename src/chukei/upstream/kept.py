"""What a request refers to at the service, and what its answer leaves there."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from chukei.azure import CHAT, COMPACT, MESSAGES, RESPONSES
from chukei.errors import UpstreamError
from chukei.model import CallerKind, Dialect
from chukei.objects.kinds import OF_DEPLOYMENTS, home_of
from chukei.objects.references import ENCRYPTED, Reference, Search, kept_in, of_message, search_chat, search_response
from chukei.objects.registry import AT_ONCE, ObjectRecord, Objects
from chukei.pool import Fault, judge
from chukei.request.call import Call
from chukei.request.fields import Fields
from chukei.stream.events import Item
from chukei.upstream.affinity import chat_id_of, response_id_of
from chukei.upstream.attempt import LeasedAnswer

if TYPE_CHECKING:  # it is imported with the first request that refers to an object
    from chukei.objects.homes import Home

NAMED = frozenset({CallerKind.KEY, CallerKind.USER, CallerKind.APPLICATION})
"""Kinds of callers with a name of their own. Callers of other kinds share a name."""


_NAMING_FILES = frozenset({CHAT.path, "images/generations", "images/edits"})
"""Operations outside the Responses API whose JSON may name files (OpenAI's API reference, ``images`` of an edit)."""

LATE_SECONDS = 40.0
"""Age up to which a resource may not find what it has made. After a stream Azure often needs seconds, 33 at most of 79
that were measured (dotnet/extensions#7704; maximhq/bifrost#6382: "Item with id … not found" of the response before)."""


UNREADABLE = b'"invalid_encrypted_content"'
"""In the error for what another resource has encrypted, which no pause makes readable."""


def is_missing(error: UpstreamError) -> bool:
    """Whether a deployment does not find what a request refers to."""
    return judge(error).fault is Fault.MISPLACED and UNREADABLE not in error.body


class Kept:
    """The stored objects of one request. ``owners`` are those of the objects that its caller may use.

    ``shared`` says that the items of a response matter: several deployments, or callers with names, could ask for them.
    ``needed`` says that the request continues something that only one resource has. It is known after ``home``.
    """

    __slots__ = ("_call", "_objects", "_owners", "_references", "_refuses", "_search", "_shared", "_unowned", "needed")

    def __init__(
        self, objects: Objects, call: Call, owners: Sequence[str], *, shared: bool, files: bool, refuses: bool = False
    ) -> None:
        self._objects = objects
        self._call = call
        self._owners = owners
        self._shared = shared
        self._refuses = refuses
        self._unowned: list[Reference] = []
        self._search = _search(call, files=files)
        self._references: Sequence[Reference] = _named(call)
        self.needed = False

    async def home(self) -> "Home | None":
        """Return where the request has to go; None if that is unknown, or it refers to nothing.

        Raises:
            CallerError: an object is another caller's, or unknown where unknown ones are refused; or the request refers
                to too many.
            Unavailable: it cannot be told whose an object is.
        """
        if self._search is not None:
            found = await _found(self._search)
            # Encrypted content comes along whole. Where it does not matter it was not recorded, so no store is asked.
            self._references = found if self._shared else [each for each in found if each.param != ENCRYPTED]
        if not self._references:
            return None
        self.needed = any(each.needed for each in self._references)
        from chukei.objects.homes import homes_of

        home, self._unowned = await homes_of(self._objects, self._references, self._owners)
        if self._refuses and (unknown := next(self._adopted(), None)) is not None:
            from chukei.objects.errors import not_found

            raise not_found(unknown.kind, unknown.id, unknown.param)
        return home

    async def adopt(self, answer: LeasedAnswer) -> None:
        """Record what belongs to the caller from now on. Other requests go on meanwhile."""
        for number, each in enumerate(self._adopted(), 1):
            self._keep(answer, each.kind, each.id)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _adopted(self) -> Iterator[Reference]:
        """Yield what belongs to the caller from now on. A file or a vector store may be the operator's, for all."""
        for each in self._unowned:
            if each.needed and each.kind in OF_DEPLOYMENTS and each.param != ENCRYPTED:
                yield each

    async def may_be_late(self, *, waited: bool) -> bool:
        """Whether the request needs something so new that its resource may not find it yet.

        If it has ``waited`` for that before, also whether another process has deleted it meanwhile.
        """
        young = [each.id for each in self._references if each.needed and self._age(each) < LATE_SECONDS]
        return bool(young) and not (waited and await self._objects.any_gone(young))

    def _age(self, reference: Reference) -> float:
        """Return the age of an item, or of a response since its end. One that was not stored is never found."""
        if reference.kind == "item" and reference.param != ENCRYPTED:
            return self._objects.age(reference.id)
        return self._objects.since_stored(reference.id) if reference.kind == "response" else math.inf

    @property
    def adopts(self) -> bool:
        """Whether the request refers to something that nobody owned."""
        return bool(self._unowned)

    def learn(self, answer: LeasedAnswer, model: str) -> None:
        """Record what the deployment keeps of the answer: the response. If they are shared, its items follow later."""
        opened, operation = answer.opened, self._call.operation
        if operation is CHAT and isinstance(self._call.body, Fields) and self._call.body.flag("store"):
            made = chat_id_of(opened.first)
            if made:
                self._keep(answer, "chat_completion", made, model)
        made = None
        if operation is RESPONSES or operation is COMPACT:
            made = opened.stream.response_id if opened.stream is not None else response_id_of(opened.first)
            if made:
                self._keep(answer, "response", made, model)
        elif operation is not MESSAGES:
            return
        body = self._call.body
        stored = not isinstance(body, Fields) or body.flag("store") is not False
        if self._shared or (made and stored):
            answer.made = partial(self._end, made=made, stored=stored)

    def _end(self, answer: LeasedAnswer, items: Sequence[Item], *, made: str | None, stored: bool) -> None:
        """Record what an answer leaves at its end: the response ``made``, and its items if they are shared."""
        stream = answer.opened.stream
        if made and stored and (stream is None or stream.complete):
            self._objects.stored(made)
        for kind, id in kept_in(items, stored=stored) if self._shared else ():
            self._keep(answer, kind, id)

    def _keep(self, answer: LeasedAnswer, kind: str, id: str, model: str | None = None) -> None:
        identity = home_of(kind, answer.lease.deployment)
        self._objects.made(id, ObjectRecord(kind, identity, self._owners[0], model))


def _named(call: Call) -> Sequence[Reference]:
    """Return what a message names, which needs no search."""
    return of_message(call.body) if call.operation.dialect is Dialect.MESSAGES and isinstance(call.body, Fields) else ()


def _search(call: Call, *, files: bool) -> Search | None:
    """Return the search for the ids that a call names, in a chat or for a picture those of files only if ``files``."""
    body = call.body
    if not isinstance(body, Fields):
        return None
    if call.operation.dialect is Dialect.RESPONSES:
        return search_response(body)
    return search_chat(body) if files and call.operation.path in _NAMING_FILES else None


async def _found(search: Search) -> list[Reference]:
    """Return what a search finds. Other requests go on between its slices."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: list[Reference] = end.value
            return found
        await asyncio.sleep(0)
