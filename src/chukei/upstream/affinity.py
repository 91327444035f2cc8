"""Affinity: requests that should go to the deployment that served an earlier one, where their prompt is cached.

A deployment charges less for a prefix that it has already read (Microsoft: "Prompt caching with Azure OpenAI in Azure
AI Foundry Models"). ``chukei.objects`` tells where requests must go that continue what a deployment keeps.
"""

import re
from collections.abc import Sequence

import msgspec

from chukei.model import header
from chukei.pool import digest
from chukei.request.call import Call
from chukei.request.fields import Fields

PREFIX_BYTES = 4096
"""Bytes of a prompt's prefix that must match. Azure caches prefixes from 1,024 tokens on, at four bytes a token."""

# Invalid JSON, JSON nested too deeply, or strings that are not UTF-8.
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_CHAT_ID = re.compile(rb'"id"\s*:\s*"(chatcmpl-[\w-]{1,240})"')  # in a string its quotation marks would be escaped
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


class _Named(msgspec.Struct):
    id: str = ""


def chat_id_of(first: bytes) -> str | None:
    """Return the id of a chat completion, from the first bytes of its answer or its stream."""
    found = _CHAT_ID.search(first)
    return found[1].decode() if found is not None else None


def response_id_of(body: bytes) -> str | None:
    """Return the id of the response in an answer, which may be incomplete."""
    found = _ID_FIRST.match(body)
    if found is not None:
        return found[1].decode()
    try:
        return msgspec.json.decode(body, type=_Named).id or None
    except _UNREADABLE:
        return None
