"""The routes of stored objects: what a resource keeps under an id, and what may be done with it.

The table follows OpenAI's API reference and Microsoft's reference of the v1 API. A route's path follows ``/v1/``,
``/openai/v1/`` or ``/openai/``. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote, unquote

MAX_ID = 256
"""Characters of an id at most. The longest that the services make have about a hundred."""

MAX_SHOWN = 100
"""Characters of a path that an error message repeats."""

_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_ID}}}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object.

    ``family`` is the first part of its path, by which the configuration and errors call it. ``prefixes`` are those of
    its ids; without them any well-formed id may be one. ``days`` is how long an id is remembered after its last use.
    ``lost`` is what the service says of an id that it does not know.
    """

    name: str
    family: str
    prefixes: tuple[str, ...] = ()
    days: int = 400
    lost: str = ""

    def may_be(self, id: str) -> bool:
        """Whether the text can be an id of this kind. One that cannot is never sent to a resource."""
        return _ID.fullmatch(id) is not None and (not self.prefixes or id.startswith(self.prefixes))


KEPT = 30
"""Days for which Azure keeps responses (Microsoft: "Azure OpenAI Responses API", delete response)."""

_FILES = ("file-", "file_", "assistant-")
"""Prefixes of files; the last one is that of earlier versions of Azure's API."""

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("response", "responses", ("resp_",), KEPT, "Response with id '{}' not found."),
        Kind("item", "responses", (), KEPT, "Item with id '{}' not found."),
        Kind("conversation", "conversations", ("conv_",), KEPT, "Conversation with id '{}' not found."),
        Kind("chat_completion", "chat/completions", ("chatcmpl-",), KEPT, "Chat completion '{}' not found."),
        Kind("file", "files", _FILES, lost="No such File object: {}"),
        Kind("upload", "uploads", ("upload_",), lost="Upload with id '{}' not found."),
        Kind("vector_store", "vector_stores", ("vs_",), lost="Vector store with id '{}' not found."),
        Kind("container", "containers", ("cntr_",), lost="Container with id '{}' not found."),
        Kind("batch", "batches", ("batch_",), lost="No batch found with id '{}'."),
        Kind("fine_tuning_job", "fine_tuning", ("ftjob-",), lost="Could not find fine tune: {}"),
        Kind("eval", "evals", ("eval_",), lost="Eval with id '{}' not found."),
    )
}

AT_HOME = ("responses", "conversations", "chat/completions")
"""Families whose objects a model's deployment keeps. They are always served."""

FAMILIES = tuple(dict.fromkeys(kind.family for kind in KINDS.values() if kind.family not in AT_HOME))
"""Families whose objects the resource of one configured model keeps."""


USUAL_FAMILIES = ("files", "uploads", "vector_stores", "containers", "batches")
"""Those that are served unless the configuration says otherwise."""


class ObjectBody(StrEnum):
    """How a request's body is handled. ``FLOW`` passes a form of any size unread, but JSON as ``JSON`` does."""

    NONE = "none"
    JSON = "json"
    FLOW = "flow"


class Limits(NamedTuple):
    """How many objects a list has: usually, at most, and in a page that the relay asks for."""

    usual: int = 20
    most: int = 100
    page: int = 100


USUAL_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class ObjectRoute:
    """One route.

    In ``path``, ``{response}`` stands for the id of an object of that kind, ``{}`` for the id of a part of the object
    before it, which shares its owner and its home. ``makes`` is the kind of the object in the answer, if it is new.
    ``mentions`` are members of the answer with ids of other objects that belong to the same owner, and their kinds.
    ``lists`` is the kind of the objects in the answer's ``data``, of which a caller sees its own, and ``limits`` their
    number. ``ends`` says that the object is gone afterwards. ``query`` are the parameters that pass; ``a[b]`` passes as
    ``a``. ``media`` are the content types of whole answers, or their prefixes. ``only_file`` says that a form may have
    no field but ``file``.
    """

    name: str
    method: str
    path: str
    makes: str | None = None
    lists: str | None = None
    ends: bool = False
    body: ObjectBody = ObjectBody.NONE
    query: frozenset[str] = frozenset()
    streams: bool = False
    media: tuple[bytes, ...] = (b"application/json",)
    mentions: tuple[tuple[str, str], ...] = ()
    only_file: bool = False
    limits: Limits = USUAL_LIMITS

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET" or self.name == "vector_store_search"

    @property
    def family(self) -> str:
        """The family of its objects."""
        first = self.path.partition("/")[0]
        return "chat/completions" if first == "chat" else first


_JSON, _FLOW = ObjectBody.JSON, ObjectBody.FLOW
_ANY = (b"",)
_FILES_LISTED, _UNBOUNDED = Limits(10_000, 10_000, 1_000), Limits(most=10_000)
_PAGE = frozenset({"after", "limit", "order"})
_BOTH_WAYS = _PAGE | {"before"}
_INCLUDE = frozenset({"include"})
_RESUMED = frozenset({"include", "include_obfuscation", "starting_after", "stream"})
_OUTCOME = (("output_file_id", "file"), ("error_file_id", "file"))
_TUNED = (("result_files", "file"),)
_STORE_FILES = "vector_stores/{vector_store}/files"
_FILE_BATCHES = "vector_stores/{vector_store}/file_batches"
_JOBS = "fine_tuning/jobs/{fine_tuning_job}"
_RUNS = "evals/{eval}/runs"
_R = ObjectRoute

ROUTES: tuple[ObjectRoute, ...] = (
    _R("response_get", "GET", "responses/{response}", query=_RESUMED, streams=True),
    _R("response_delete", "DELETE", "responses/{response}", ends=True),
    _R("response_cancel", "POST", "responses/{response}/cancel"),
    _R("response_input_items", "GET", "responses/{response}/input_items", query=_PAGE | _INCLUDE),
    _R("conversation_create", "POST", "conversations", makes="conversation", body=_JSON),
    _R("conversation_get", "GET", "conversations/{conversation}"),
    _R("conversation_update", "POST", "conversations/{conversation}", body=_JSON),
    _R("conversation_delete", "DELETE", "conversations/{conversation}", ends=True),
    _R("conversation_items_create", "POST", "conversations/{conversation}/items", body=_JSON, query=_INCLUDE),
    _R("conversation_items", "GET", "conversations/{conversation}/items", query=_PAGE | _INCLUDE),
    _R("conversation_item_get", "GET", "conversations/{conversation}/items/{}", query=_INCLUDE),
    _R("conversation_item_delete", "DELETE", "conversations/{conversation}/items/{}"),
    _R(
        "chat_list",
        "GET",
        "chat/completions",
        lists="chat_completion",
        query=_PAGE | {"metadata", "model"},
        limits=_UNBOUNDED,
    ),
    _R("chat_get", "GET", "chat/completions/{chat_completion}"),
    _R("chat_update", "POST", "chat/completions/{chat_completion}", body=_JSON),
    _R("chat_delete", "DELETE", "chat/completions/{chat_completion}", ends=True),
    _R("chat_messages", "GET", "chat/completions/{chat_completion}/messages", query=_PAGE),
    _R("file_create", "POST", "files", makes="file", body=_FLOW),
    _R("file_list", "GET", "files", lists="file", query=_PAGE | {"purpose"}, limits=_FILES_LISTED),
    _R("file_get", "GET", "files/{file}"),
    _R("file_delete", "DELETE", "files/{file}", ends=True),
    _R("file_content", "GET", "files/{file}/content", media=_ANY),
    _R("upload_create", "POST", "uploads", makes="upload", body=_JSON),
    _R("upload_part", "POST", "uploads/{upload}/parts", body=_FLOW),
    _R("upload_complete", "POST", "uploads/{upload}/complete", body=_JSON, mentions=(("file.id", "file"),)),
    _R("upload_cancel", "POST", "uploads/{upload}/cancel"),
    _R("vector_store_create", "POST", "vector_stores", makes="vector_store", body=_JSON),
    _R("vector_store_list", "GET", "vector_stores", lists="vector_store", query=_BOTH_WAYS),
    _R("vector_store_get", "GET", "vector_stores/{vector_store}"),
    _R("vector_store_update", "POST", "vector_stores/{vector_store}", body=_JSON),
    _R("vector_store_delete", "DELETE", "vector_stores/{vector_store}", ends=True),
    _R("vector_store_search", "POST", "vector_stores/{vector_store}/search", body=_JSON),
    _R("vector_store_file_create", "POST", _STORE_FILES, body=_JSON),
    _R("vector_store_file_list", "GET", _STORE_FILES, query=_BOTH_WAYS | {"filter"}),
    _R("vector_store_file_get", "GET", f"{_STORE_FILES}/{{}}"),
    _R("vector_store_file_update", "POST", f"{_STORE_FILES}/{{}}", body=_JSON),
    _R("vector_store_file_delete", "DELETE", f"{_STORE_FILES}/{{}}"),
    _R("vector_store_file_content", "GET", f"{_STORE_FILES}/{{}}/content"),
    _R("vector_store_batch_create", "POST", _FILE_BATCHES, body=_JSON),
    _R("vector_store_batch_get", "GET", f"{_FILE_BATCHES}/{{}}"),
    _R("vector_store_batch_cancel", "POST", f"{_FILE_BATCHES}/{{}}/cancel"),
    _R("vector_store_batch_files", "GET", f"{_FILE_BATCHES}/{{}}/files", query=_BOTH_WAYS | {"filter"}),
    _R("container_create", "POST", "containers", makes="container", body=_JSON),
    _R("container_list", "GET", "containers", lists="container", query=_PAGE | {"name"}),
    _R("container_get", "GET", "containers/{container}"),
    _R("container_delete", "DELETE", "containers/{container}", ends=True),
    _R("container_file_create", "POST", "containers/{container}/files", body=_FLOW, only_file=True),
    _R("container_file_list", "GET", "containers/{container}/files", query=_PAGE),
    _R("container_file_get", "GET", "containers/{container}/files/{}"),
    _R("container_file_delete", "DELETE", "containers/{container}/files/{}"),
    _R("container_file_content", "GET", "containers/{container}/files/{}/content", media=_ANY),
    _R("batch_create", "POST", "batches", makes="batch", body=_JSON),
    _R("batch_list", "GET", "batches", lists="batch", query=_PAGE, mentions=_OUTCOME),
    _R("batch_get", "GET", "batches/{batch}", mentions=_OUTCOME),
    _R("batch_cancel", "POST", "batches/{batch}/cancel", mentions=_OUTCOME),
    _R("fine_tuning_create", "POST", "fine_tuning/jobs", makes="fine_tuning_job", body=_JSON),
    _R(
        "fine_tuning_list",
        "GET",
        "fine_tuning/jobs",
        lists="fine_tuning_job",
        query=_PAGE | {"metadata"},
        mentions=_TUNED,
        limits=_UNBOUNDED,
    ),
    _R("fine_tuning_get", "GET", _JOBS, mentions=_TUNED),
    _R("fine_tuning_cancel", "POST", f"{_JOBS}/cancel"),
    _R("fine_tuning_pause", "POST", f"{_JOBS}/pause"),
    _R("fine_tuning_resume", "POST", f"{_JOBS}/resume"),
    _R("fine_tuning_events", "GET", f"{_JOBS}/events", query=_PAGE),
    _R("fine_tuning_checkpoints", "GET", f"{_JOBS}/checkpoints", query=_PAGE),
    _R("eval_create", "POST", "evals", makes="eval", body=_JSON),
    _R("eval_list", "GET", "evals", lists="eval", query=_PAGE | {"order_by"}, limits=_UNBOUNDED),
    _R("eval_get", "GET", "evals/{eval}"),
    _R("eval_update", "POST", "evals/{eval}", body=_JSON),
    _R("eval_delete", "DELETE", "evals/{eval}", ends=True),
    _R("eval_run_create", "POST", _RUNS, body=_JSON),
    _R("eval_run_list", "GET", _RUNS, query=_PAGE | {"status"}),
    _R("eval_run_get", "GET", f"{_RUNS}/{{}}"),
    _R("eval_run_cancel", "POST", f"{_RUNS}/{{}}/cancel"),
    _R("eval_run_delete", "DELETE", f"{_RUNS}/{{}}"),
    _R("eval_output_list", "GET", f"{_RUNS}/{{}}/output_items", query=_PAGE | {"status"}),
    _R("eval_output_get", "GET", f"{_RUNS}/{{}}/output_items/{{}}"),
)

_BY_SHAPE: dict[tuple[str, int], list[tuple[ObjectRoute, tuple[str, ...]]]] = {}
for _each in ROUTES:
    _parts = tuple(_each.path.split("/"))
    _BY_SHAPE.setdefault((_parts[0], len(_parts)), []).append((_each, _parts))

Ids = tuple[tuple[str, str], ...]
"""The ids in a path in order, each with its kind, which is empty for a part of the object before it."""


def match(rest: str) -> list[tuple[ObjectRoute, Ids]]:
    """Return the routes of a path, one for each method, and the ids in it. ``rest`` is the path after its prefix.

    Ids are decoded, and may be anything: see ``Kind.may_be``.
    """
    parts = rest.split("/")
    found = []
    for route, shape in _BY_SHAPE.get((parts[0], len(parts)), ()):
        pairs = list(zip(shape, parts, strict=True))
        if all(part if named[:1] == "{" else part == named for named, part in pairs):
            found.append((route, tuple((named[1:-1], unquote(part)) for named, part in pairs if named[:1] == "{")))
    return found


LOOKS: Mapping[str, ObjectRoute] = {
    route.path.partition("{")[2].rstrip("}"): route
    for route in ROUTES
    if route.method == "GET" and route.path.endswith("}") and route.path.count("{") == 1
}
"""The route that tells whether an object exists, by its kind. Uploads and items have none."""


def is_part(id: str) -> bool:
    """Whether a text can be the id of a part of an object."""
    return _ID.fullmatch(id) is not None


def path_of(route: ObjectRoute, ids: Ids) -> str:
    """Return the path of a route with these ids."""
    given = iter(ids)
    return "/".join(quote(next(given)[1], safe="") if part[:1] == "{" else part for part in route.path.split("/"))
