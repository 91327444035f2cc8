"""The ids of stored objects that a request's body refers to. Pure.

The bytes are searched, not decoded, and a slice at a time, so that other requests go on. An id counts wherever it
stands, at any depth, and of two fields of one name both count, whichever of them the service reads. A name with its
quotation marks cannot occur inside a JSON string, where they would be escaped. A caller's own metadata is not searched,
and a response's items are only in its input: what is an example in a tool's schema must not become the property of the
first who sends it.
"""

import hashlib
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from functools import cache
from operator import attrgetter
from typing import NamedTuple

import msgspec

from chukei.errors import CallerError
from chukei.model import MEBIBYTE
from chukei.objects.kinds import ITEM_PREFIXES, OF_RESOURCES, OPERATORS_PREFIXES, kind_of
from chukei.request.fields import Fields
from chukei.stream.events import Item
from chukei.usage import DECODE_ERRORS

MOST_REFERENCES = 5000
"""Distinct ids in one body at most; a long session of an agent has some hundreds."""

LONGEST_ID = 256
"""Bytes of the longest id; those that the services make have about sixty."""

LONGEST_VALUE = 2 * MEBIBYTE
"""Bytes of the longest list of ids, and of the longest encrypted content that is recognised. Neither has a tenth."""

MOST_ESCAPED = MEBIBYTE
"""Bytes of the longest body whose names may be spelt with escapes; replacing them takes time."""


class Reference(NamedTuple):
    """An id in a request's body: the kind of its object, and the name of the field that holds it.

    ``needed`` is false for an id that comes along with the whole item, which any resource then accepts.
    """

    kind: str
    id: str
    param: str
    needed: bool = True


ENCRYPTED = "encrypted_content"
"""The field of an item that its resource has encrypted. The id of such content is a digest."""

_INPUT, _METADATA = "input", "metadata"

_TOP = (("previous_response_id", "response"), ("conversation", "conversation"))
_TOP_OF_MESSAGES = (("container", "container"),)

# OpenAI's API reference: the bodies of responses and chat completions; then those of batches, fine-tuning and others.
_OF_CALLS = {
    "file_id": "file",
    "file_ids": "file",
    "vector_store_ids": "vector_store",
    "container": "container",
    "container_id": "container",
}
_OF_OBJECTS = _OF_CALLS | {
    "input_file_id": "file",
    "training_file": "file",
    "validation_file": "file",
    "vector_store_id": "vector_store",
}
_WHITE = rb"[ \t\n\r]*+"
_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
# It ends within a list of too many ids, each of which takes two rounds.
_LIST = re.compile(rb'\[(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"){0,%d}+' % (2 * MOST_REFERENCES + 2), re.DOTALL)
_CLOSED = re.compile(_WHITE + rb"\}")
_MADE_ID = re.compile(r"[a-z]{1,16}_[0-9a-f]{32,}")
_LONGEST_SPELT = 6 * LONGEST_ID + 2  # an escape has six bytes
_WIDEST = 64
_LONGEST_NAME = 25  # with its quotation mark
_SLICE = 64 * 1024
_ESCAPES = 1000  # that are looked at in one slice
_LISTS = ("file_ids", "vector_store_ids")
_QUOTE = ord('"')
_STORED_ONLY = ("rs_", "ig_")  # reasoning and images: without their content they are sent by id


_COLON = b'"' + _WHITE + b":" + _WHITE
_ESCAPE = re.compile(rb"\\u00[4-7]")
_NAME_BEGUN = re.compile(rb'"[a-z_]{0,24}+\Z', re.IGNORECASE)


@cache
def _places_of(*names: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[bytes]:
    """Return the pattern of what is looked for: names of fields, each with an empty group of that name behind it, and
    signs of a bare reference.

    It is tried at every quotation mark of a body. Each alternative begins with a letter, so that most fail at once.
    """
    fields = [b"%b%b(?P<%b>)" % (name, _COLON, name) for name in sorted(map(str.encode, names), reverse=True)]
    return re.compile(rb'"(?:' + b"|".join([*fields, b'item_reference"', b"type" + _COLON + b"null"]) + rb")", flags)


_CALL = _places_of("id", ENCRYPTED, *_OF_CALLS)
_SPELLINGS = tuple(
    (spelt, bytes([code]))
    for code in (*range(0x41, 0x5B), 0x5F, *range(0x61, 0x7B))
    for spelt in dict.fromkeys((b"\\u00%02x" % code, b"\\u00%02X" % code))
)


Search = Generator[None, None, list[Reference]]
"""Yields after each slice of a body; at most some milliseconds of CPU lie between. Returns what it has found."""


def whole(search: Search) -> list[Reference]:
    """Return what a search finds."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: list[Reference] = end.value
            return found


def references_of(body: bytes | Fields) -> list[Reference]:
    """Return the distinct ids that a JSON body refers to, in the order in which they decide the home.

    Raises:
        CallerError: 400, there are too many, or names are spelt with escapes in a large body.
    """
    # Some readers ignore case. To look for that takes three times as long, too long for the many items of a response.
    pattern = _places_of("id", ENCRYPTED, *_OF_OBJECTS, flags=re.IGNORECASE)
    if not isinstance(body, Fields):
        return whole(_search(body, [(0, len(body))], pattern))
    return whole(_search(body.sent, body.around(_METADATA), pattern, _of_top(body)))


def search_response(body: Fields) -> Search:
    """Search a request to the Responses API, without the texts at its top. It raises as ``references_of`` does."""
    raw, others = body.sent, body.nested(but=(_INPUT, _METADATA))
    found = yield from _search(raw, body.nested((_INPUT,)), _CALL, _of_top(body))
    return (yield from _search(raw, others, _CALL, found, items=False))


def of_message(body: Fields) -> list[Reference]:
    """Return what a request to the Messages API refers to: the container in which the tools of another one ran."""
    return [*_of_top(body, _TOP_OF_MESSAGES)]


def search_chat(body: Fields) -> Search:
    """Search a chat or a request for a picture, which refer to files only. It raises as ``references_of`` does."""
    raw = body.sent
    places = body.nested(but=(_METADATA,)) if b'"file_id"' in raw or b"\\u00" in raw else ()
    return _search(raw, places, _places_of("file_id"))


def encrypted_id(content: str | bytes) -> str:
    """Return the id for content that a resource has encrypted."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    return f"enc_{hashlib.blake2b(data, digest_size=16).hexdigest()}"


def kept_in(items: Iterable[Item], *, stored: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the kind and id of what a resource keeps of a response's items; of its own items only if it is ``stored``.

    The service makes a container for code when the request names none. Files that the code writes are in there.
    """
    for item in items:
        if stored and item.id:
            yield "item", item.id
        if item.encrypted_content:
            yield "item", encrypted_id(item.encrypted_content)
        container = item.container_id or _container_of(bytes(item.environment))
        if container:
            yield "container", container


def is_item(id: str) -> bool:
    """Whether an id looks like one that the services make for items."""
    if id.startswith(ITEM_PREFIXES):
        return True
    return kind_of(id) == "item" and _MADE_ID.fullmatch(id) is not None and not id.startswith(OPERATORS_PREFIXES)


class _Environment(msgspec.Struct):
    container_id: str | None = None


def _container_of(environment: bytes) -> str | None:
    with suppress(*DECODE_ERRORS):
        return msgspec.json.decode(environment, type=_Environment).container_id if environment else None
    return None


def _of_top(body: Fields, names: Iterable[tuple[str, str]] = _TOP) -> Iterator[Reference]:
    """Yield the ids of what a request continues: by default of the response and the conversation."""
    for name, kind in names:
        raw = body.raw(name)
        for value in () if raw is None else _ids_in(raw, name):
            with suppress(*DECODE_ERRORS):  # the service will report the error
                if id := msgspec.json.decode(value, type=str):
                    yield Reference(kind, id, name)


def _ids_in(raw: bytes, param: str) -> Iterator[bytes]:
    """Yield the id that a field is, or those of the object that it is, in any case: which one counts, readers decide.

    Raises:
        CallerError: 400, the object has one name twice.
    """
    if not raw.startswith(b"{"):
        yield raw
        return
    holder = Fields(raw, param=param)
    yield from filter(None, (holder.raw(name) for name in holder.names if name.casefold() == "id"))


def _search(
    raw: bytes,
    places: Iterable[tuple[int, int]],
    pattern: re.Pattern[bytes],
    known: Iterable[Reference] = (),
    *,
    items: bool = True,
    plain: bool = False,
) -> Search:
    """Search parts of a body, also for ``items``, and return what is found with the ``known`` references.

    Ids of items are needed if any item may be sent by its id alone.
    """
    places = [*places]
    if not plain:
        for begin, end in places:
            if (yield from _escaped(raw, begin, end)):
                raw = yield from _plain(raw)
                return (yield from _search(raw, [(0, len(raw))], pattern, known, items=items, plain=True))
    found: dict[str, Reference] = {}
    _add(found, known)
    alone = False
    for begin, end in places:
        for part in _slices(raw, begin, end, pattern):
            for place in part:
                if _note(found, raw, place, end, items=items):
                    alone = True
            if len(raw) > _SLICE:
                yield
    if alone and items:
        return [each if each.needed else each._replace(needed=True) for each in found.values()]
    return sorted(found.values(), key=attrgetter("needed"), reverse=True)


def _note(found: dict[str, Reference], raw: bytes, place: re.Match[bytes], end: int, *, items: bool) -> bool:
    """Add what a place refers to; return whether it shows that any item may be sent by its id alone."""
    name, start = place.lastgroup, place.end()
    if name is None:
        return True
    if name in _LISTS:
        _add(found, _listed(name, _list(name, raw, start, end)))
        return False
    close = _closing(raw, start, min(end, start + (LONGEST_VALUE if name == ENCRYPTED else _LONGEST_SPELT)))
    if close is None:
        return False
    _add(found, _named(name, raw[start + 1 : close], items=items))
    return name == "id" and _is_alone(raw, place.start(), close + 1)


def _list(name: str, raw: bytes, begin: int, end: int) -> bytes:
    """Return the list of ids at an offset, which may be cut behind the first too many; empty if no list begins there.

    Raises:
        CallerError: 400, the list is too long.
    """
    stop = min(end, begin + LONGEST_VALUE)
    value = _LIST.match(raw, begin, stop)
    if value is None:
        return b""
    if stop < end and (value.end() == stop or raw.startswith(b'"', value.end())):
        message = f"The list {name!r} is longer than {LONGEST_VALUE // MEBIBYTE} MiB; send fewer ids."
        raise CallerError(400, "too_many_references", message, param=name)
    return value[0]


def _slices(raw: bytes, begin: int, end: int, pattern: re.Pattern[bytes]) -> Iterator[Iterator[re.Match[bytes]]]:
    """Yield what is found in each slice of a part of a body.

    A slice that holds no more than the beginning of a place is searched again with what follows. Each time that is
    twice as much, else megabytes of white space would be searched once for every slice of them.
    """
    at = stop = begin
    size = _SLICE
    while stop < end:
        stop = min(stop + size, end)
        yield pattern.finditer(raw, at, stop)
        resumed = _resumed(raw, at, stop)
        at, size = resumed, _SLICE if resumed > at else 2 * size


def _resumed(raw: bytes, at: int, stop: int) -> int:
    """Return where the search goes on after a slice that ends at ``stop``: before a place that was cut in two.

    A place has two quotation marks and, behind them, a colon with any white space and perhaps ``null``. What is found
    twice counts once.
    """
    last = raw.rfind(b'"', at, stop)
    behind = raw[last + 1 : stop]
    if last < 0 or (len(behind) > _LONGEST_NAME and behind.strip(b" \t\n\r:nul")):
        return stop
    before = raw.rfind(b'"', at, last)
    return last if before < 0 else before


def _escaped(raw: bytes, begin: int, end: int) -> Generator[None, None, bool]:
    """Return whether what may be a name is spelt with the escape of a letter that names have."""
    for number, escape in enumerate(_ESCAPE.finditer(raw, begin, end), 1):
        if _NAME_BEGUN.search(raw, max(escape.start() - _LONGEST_NAME, begin), escape.start()):
            return True
        if number % _ESCAPES == 0:
            yield
    return False


def _closing(raw: bytes, begin: int, end: int) -> int | None:
    """Return where the string that begins at an offset has its closing quotation mark; None if no string does.

    What is too long for a reference is not read to its end.
    """
    close = raw.find(b'"', begin + 1, end)
    if close < 0 or raw[begin] != _QUOTE:
        return None
    if raw.find(b"\\", begin + 1, close) < 0:  # as nearly all; the pattern takes ten times as long
        return close
    string = _STRING.match(raw, begin, end)
    return None if string is None else string.end() - 1


def _named(name: str, spelt: bytes, *, items: bool) -> tuple[Reference, ...]:
    """Return the reference that is the value of a field, if it is one."""
    if name == ENCRYPTED:
        content = spelt if b"\\" not in spelt else _text(spelt, len(spelt)).encode("utf-8", "replace")
        return (Reference("item", encrypted_id(content), ENCRYPTED),) if content else ()
    id = _text(spelt)
    if name != "id":
        return (Reference(_OF_OBJECTS[name], id, name),) if id else ()
    if is_item(id):
        return (Reference("item", id, "input", id.startswith(_STORED_ONLY)),) if items else ()
    kind = kind_of(id)  # of the file of an eval's source
    return (Reference(kind, id, "id"),) if kind in OF_RESOURCES else ()


def _listed(name: str, spelt: bytes) -> Iterator[Reference]:
    """Yield the references in the list that is the value of a field."""
    texts = _STRING.findall(spelt)
    if len(texts) > MOST_REFERENCES:
        raise _too_many(name)
    for text in texts:
        if id := _text(text):
            yield Reference(_OF_OBJECTS[name], id, name)


def _is_alone(raw: bytes, begin: int, end: int) -> bool:
    """Whether the field from ``begin`` to ``end`` is its object's only one."""
    if not _CLOSED.match(raw, end):
        return False
    before = raw[max(begin - _WIDEST, 0) : begin].rstrip()
    return not before or before.endswith(b"{")  # so much white space hides something


def _text(spelt: bytes, longest: int = LONGEST_ID) -> str:
    """Return the text of a JSON string without its quotation marks; empty if it cannot be an id."""
    if len(spelt) > 6 * longest:  # an escape has six bytes
        return ""
    try:
        text = spelt.decode() if b"\\" not in spelt else msgspec.json.decode(b'"' + spelt + b'"', type=str)
    except DECODE_ERRORS:
        return ""
    return text if len(text) <= longest else ""


def _add(known: dict[str, Reference], found: Iterable[Reference]) -> None:
    """Add references by their ids.

    Raises:
        CallerError: 400, there are too many. What a body takes in memory is so bounded while it is searched.
    """
    for each in found:
        before = known.setdefault(each.id, each)
        if each.needed and not before.needed:
            known[each.id] = each
        if len(known) > MOST_REFERENCES:
            raise _too_many(each.param)


def _too_many(param: str) -> CallerError:
    message = f"The request refers to more than {MOST_REFERENCES} stored objects; send fewer items with ids."
    return CallerError(400, "too_many_references", message, param=param)


def _plain(raw: bytes) -> Generator[None, None, bytes]:
    """Return a body without escapes in the names of its fields. It is only searched; inside texts it may be wrong.

    Raises:
        CallerError: 400, the body is too large for that.
    """
    if len(raw) > MOST_ESCAPED:
        message = "In a body of this size, letters must not be spelt with escapes such as '\\u0061'."
        raise CallerError(400, "invalid_json", message)
    for spelt, letter in _SPELLINGS:
        raw = raw.replace(spelt, letter)
        yield
    return raw
