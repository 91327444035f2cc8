"""What a request has in common with earlier ones, so that it should, or must, go where they went.

Should: a deployment keeps the prompts it has read in a cache, and reads their common beginning again for less
(Microsoft: "Prompt caching with Azure OpenAI in Azure AI Foundry Models"). Must: what one deployment has stored, no
other knows. And what it has stored for one caller is no other's to continue.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from chukei.azure import RESPONSES
from chukei.errors import CallerError
from chukei.model import Caller, header
from chukei.pool import digest
from chukei.ports import Board
from chukei.request.call import Call
from chukei.request.fields import Fields

PREFIX_BYTES = 4096
"""Azure caches prompts from 1,024 tokens on, by how they begin: at four bytes a token so much must be alike."""

MOST_HOMES = 20_000
"""So many stateful ids are remembered, the latest used; at about 250 bytes each that is 5 MB."""

# JSON that is none, that is too deep, or whose strings are no UTF-8.
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_RESPONSE, _CONVERSATION = "previous_response_id", "conversation"
_ID_FIRST = re.compile(rb'\s*\{\s*"id"\s*:\s*"([\w-]{1,256})"')

_PROMPTS = ("messages", "input", "prompt")


def key_of(call: Call, order: Sequence[str], session_header: bytes) -> int | None:
    """Return the place on the ring for the first of ``order`` that the request has, or None."""
    for kind in order:
        value = _value(call, kind, session_header)
        if value:
            return digest(kind.encode() + b":" + value)
    return None


def _value(call: Call, kind: str, session_header: bytes) -> bytes | None:
    if kind == "session":
        return header(call.headers, session_header)
    body = call.body
    if not isinstance(body, Fields):
        return None
    if kind == "prompt_cache_key":
        return body.raw("prompt_cache_key")
    if kind == "user":
        return body.raw("safety_identifier") or body.raw("user")
    for name in _PROMPTS:
        prompt = body.beginning(name, PREFIX_BYTES)
        if prompt is not None:
            return prompt
    return None


class Continuation(NamedTuple):
    """What a request continues: an id, and the name of the field that holds it."""

    id: str
    param: str


def continued(call: Call) -> list[Continuation]:
    """Return what a request continues: an earlier response, a conversation. The first one known decides where."""
    body = call.body
    if call.operation is not RESPONSES or not isinstance(body, Fields):
        return []
    ids = []
    for name in (_RESPONSE, _CONVERSATION):
        raw = body.raw(name)
        if raw is None:
            continue
        try:
            value = msgspec.json.decode(raw, type=str | _Named)
        except _UNREADABLE:
            continue  # Azure will say what is wrong with it
        ids.append(Continuation(value if isinstance(value, str) else value.id, name))
    return [found for found in ids if found.id]


class _Named(msgspec.Struct):
    id: str = ""


def made(body: bytes) -> str | None:
    """Return the id of the response that an answer holds, of which the rest may still be to come."""
    found = _ID_FIRST.match(body)
    if found is not None:
        return found[1].decode()
    try:
        return msgspec.json.decode(body, type=_Named).id or None
    except _UNREADABLE:
        return None


@lru_cache(1024)
def owner_of(caller: Caller | None) -> str:
    """Return whose a caller's stored state is: its own, or that of all who are let in the same way without a name."""
    text = f"{caller.kind}:{caller.name}" if caller is not None else ""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_OWNER_LETTERS // 2).hexdigest()


_OWNER_LETTERS = 32


class Home(NamedTuple):
    """Where an id is known, as the identity of a deployment, and whose it is."""

    identity: str
    owner: str | None


class StatefulIds:
    """Which deployment made which stateful id, for whom: known here, or to the other replicas.

    An id that was made elsewhere, before the relay started say, belongs to whoever continues it first.
    """

    def __init__(self, board: Board | None) -> None:
        self._board = board
        self._known: OrderedDict[bytes, Home] = OrderedDict()

    def remember(self, made: str, identity: str, owner: str) -> None:
        """Keep that a deployment made an id for this owner, or has continued it."""
        name = _short(made)
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
            if known.identity == identity or known.owner not in (None, owner):
                return
        self._known[name] = Home(identity, owner)
        if len(self._known) > MOST_HOMES:
            self._known.popitem(last=False)
        if self._board is not None:
            self._board.remember(made, f"{owner} {identity}")

    async def find(self, continued: Sequence[Continuation], owner: str) -> str | None:
        """Return the identity of the deployment that knows one of the ids, or None where nobody can tell.

        Raises:
            CallerError: 404, one of the ids is another's; what is said is what Azure says of those that it never made.
        """
        found = None
        for each in continued:
            home = self._known.get(_short(each.id)) or await self._ask(each.id)
            if home is None:
                continue
            if home.owner not in (None, owner):
                raise _not_found(each)
            found = found or home.identity
        return found

    async def _ask(self, made: str) -> Home | None:
        told = await self._board.home(made) if self._board is not None else None
        if told is None:
            return None
        owner, _, identity = told.partition(" ")
        return Home(identity, owner) if len(owner) == _OWNER_LETTERS and identity else Home(told, None)


def _not_found(continued: Continuation) -> CallerError:
    if continued.param == _CONVERSATION:
        message = f"Conversation with id '{continued.id[:80]}' not found."
        return CallerError(404, "conversation_not_found", message, param=_CONVERSATION)
    message = f"Previous response with id '{continued.id[:80]}' not found."
    return CallerError(404, "previous_response_not_found", message, param=_RESPONSE)


def _short(made: str) -> bytes:
    """Return the key for an id. Ids come from clients too, so they may be of any length."""
    return hashlib.blake2b(made.encode("utf-8", "replace"), digest_size=16).digest()
