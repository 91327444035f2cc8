"""Affinity: requests that should, or must, go to the deployment that served an earlier one.

A request should go where its prompt is cached: a deployment charges less for a prefix that it has already read
(Microsoft: "Prompt caching with Azure OpenAI in Azure AI Foundry Models"). A request that continues stored state must
go to the deployment that stores it. State stored for one caller cannot be continued by another.
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
"""Bytes of a prompt's prefix that must match. Azure caches prefixes from 1,024 tokens on, at four bytes a token."""

MOST_HOMES = 20_000
"""Stateful ids remembered at most, the most recently used; at about 250 bytes each that is 5 MB."""

# Invalid JSON, JSON nested too deeply, or strings that are not UTF-8.
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_RESPONSE, _CONVERSATION = "previous_response_id", "conversation"
_ID_FIRST = re.compile(rb'\s*\{\s*"id"\s*:\s*"([\w-]{1,256})"')

_PROMPTS = ("messages", "input", "prompt")


def key_of(call: Call, order: Sequence[str], session_header: bytes) -> int | None:
    """Return the position on the hash ring for the first key of ``order`` that the request has, or None."""
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
    """An id of stored state that a request continues, and the name of the field that holds it."""

    id: str
    param: str


def continuations_of(call: Call) -> list[Continuation]:
    """Return the ids of the response and the conversation that a request continues. The first known id decides."""
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
            continue  # Azure will report the error
        ids.append(Continuation(value if isinstance(value, str) else value.id, name))
    return [found for found in ids if found.id]


class _Named(msgspec.Struct):
    id: str = ""


def response_id_of(body: bytes) -> str | None:
    """Return the id of the response in an answer, which may be incomplete."""
    found = _ID_FIRST.match(body)
    if found is not None:
        return found[1].decode()
    try:
        return msgspec.json.decode(body, type=_Named).id or None
    except _UNREADABLE:
        return None


@lru_cache(1024)
def owner_of(caller: Caller | None) -> str:
    """Return the owner of a caller's stored state. Callers of one kind without a name share an owner."""
    text = f"{caller.kind}:{caller.name}" if caller is not None else ""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_OWNER_LETTERS // 2).hexdigest()


_OWNER_LETTERS = 32


class Home(NamedTuple):
    """The deployment that stores an id, by its identity, and the id's owner."""

    identity: str
    owner: str | None


class StatefulIds:
    """Maps stateful ids to their deployment and owner, in this process and through the board in other replicas.

    An unknown id, for example one created before the relay started, belongs to the first caller that continues it.
    """

    def __init__(self, board: Board | None) -> None:
        self._board = board
        self._known: OrderedDict[bytes, Home] = OrderedDict()

    def remember(self, made: str, identity: str, owner: str) -> None:
        """Record that a deployment created or continued an id for this owner."""
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
        """Return the identity of the deployment that stores one of the ids, or None if that is unknown.

        Raises:
            CallerError: 404, one of the ids belongs to another caller. The message is Azure's for an unknown id.
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
    """Return a fixed-size key for an id, which may come from a client and have any length."""
    return hashlib.blake2b(made.encode("utf-8", "replace"), digest_size=16).digest()
