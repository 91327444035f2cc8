"""What a request has in common with earlier ones, so that it should, or must, go where they went.

Should: a deployment keeps the prompts it has read in a cache, and reads their common beginning again for less
(Microsoft: "Prompt caching with Azure OpenAI in Azure AI Foundry Models"). Must: what one deployment has stored, no
other knows.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from chukei.call import Call
from chukei.fields import Fields
from chukei.model import header
from chukei.pool import digest
from chukei.stores import Board
from chukei.wire import RESPONSES

PREFIX_BYTES = 4096
"""Azure caches prompts from 1,024 tokens on, by how they begin: at four bytes a token so much must be alike."""

MOST_HOMES = 20_000
"""So many stateful ids are remembered, the latest used; at about 150 bytes each that is 3 MB."""

# JSON that is none, that is too deep, or whose strings are no UTF-8.
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

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


def continued(call: Call) -> list[str]:
    """Return the ids of what a request continues: an earlier response, a conversation. The first one known decides."""
    body = call.body
    if call.operation is not RESPONSES or not isinstance(body, Fields):
        return []
    ids = []
    for name in ("previous_response_id", "conversation"):
        raw = body.raw(name)
        if raw is None:
            continue
        try:
            value = msgspec.json.decode(raw, type=str | _Named)
        except _UNREADABLE:
            continue  # Azure will say what is wrong with it
        ids.append(value if isinstance(value, str) else value.id)
    return [found for found in ids if found]


_ID_FIRST = re.compile(rb'\s*\{\s*"id"\s*:\s*"([\w-]+)"')


class _Named(msgspec.Struct):
    id: str = ""


def made(body: bytes) -> str | None:
    """Return the id of the response that an answer holds, of which the rest may still be to come."""
    try:
        return msgspec.json.decode(body, type=_Named).id or None
    except _UNREADABLE:
        found = _ID_FIRST.match(body)
        return found[1].decode() if found is not None else None


class Homes:
    """Which deployment made which stateful id: known here, or to the other replicas."""

    def __init__(self, board: Board | None) -> None:
        self._board = board
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def remember(self, made: str, identity: str) -> None:
        """Keep that a deployment made an id, or has continued it."""
        name = _short(made)
        if self._known.get(name) == identity:
            self._known.move_to_end(name)
            return
        self._known[name] = identity
        if len(self._known) > MOST_HOMES:
            self._known.popitem(last=False)
        if self._board is not None:
            self._board.remember(made, identity)

    async def find(self, ids: Sequence[str]) -> str | None:
        """Return the identity of the deployment that knows one of the ids, or None where nobody can tell."""
        for made in ids:
            if (identity := self._known.get(_short(made))) is not None:
                return identity
        for made in ids:
            if self._board is not None and (identity := await self._board.home(made)) is not None:
                return identity
        return None


def _short(made: str) -> bytes:
    """Return the key for an id. Ids come from clients too, so they may be of any length."""
    return hashlib.blake2b(made.encode("utf-8", "replace"), digest_size=16).digest()
