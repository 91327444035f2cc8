"""The table of paths and their operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from chukei.simulator import azure, batches, files, kept_chat, kept_responses, objects, tuning, vectors
from chukei.simulator.calls import Call
from chukei.simulator.chat import chat
from chukei.simulator.chat import error_event as chat_error_event
from chukei.simulator.completions import completions
from chukei.simulator.embeddings import embeddings, models
from chukei.simulator.exchanges import Head, Reply
from chukei.simulator.injection import Endings
from chukei.simulator.media import fields, image_edits, images, speech, transcription, translation
from chukei.simulator.messages import count_tokens, messages
from chukei.simulator.messages import error_event as messages_error_event
from chukei.simulator.realtime_http import calls, client_secrets, hangup, model_of_session, sessions
from chukei.simulator.realtime_turns import LIMIT as REALTIME_LIMIT
from chukei.simulator.responses import responses
from chukei.simulator.turns import LIMIT as RESPONSES_LIMIT
from chukei.simulator.turns import error_event as responses_error_event

Operation = Callable[[Call], Reply]

# What a deployment answers: the classic path names it, and ``model`` in the body does on v1.
DEPLOYED: dict[str, Operation] = {
    "chat/completions": chat,
    "completions": completions,
    "embeddings": embeddings,
    "images/generations": images,
    "images/edits": image_edits,
    "audio/transcriptions": transcription,
    "audio/translations": translation,
    "audio/speech": speech,
}
# What ``model`` in the body names on both paths.
MODELLED: dict[str, Operation] = {
    "responses": responses,
    "responses/compact": kept_responses.compact,
}
# What belongs to the whole resource. ``{}`` is an id; a path of two kinds has two.
OBJECTS: dict[str, Operation] = {
    "GET models": models,
    "GET models/{}": models,
    "responses/input_tokens": kept_responses.input_tokens,
    "GET responses/{}": kept_responses.response,
    "DELETE responses/{}": kept_responses.delete,
    "responses/{}/cancel": kept_responses.cancel,
    "GET responses/{}/input_items": kept_responses.input_items,
    "conversations": kept_responses.create_conversation,
    "GET conversations/{}": objects.getting("conversation"),
    "conversations/{}": objects.changing("conversation"),
    "DELETE conversations/{}": objects.deleting("conversation"),
    "conversations/{}/items": kept_responses.add_items,
    "GET conversations/{}/items": objects.listing("conversation", "item"),
    "GET conversations/{}/items/{}": objects.getting("conversation", "item"),
    "DELETE conversations/{}/items/{}": kept_responses.delete_item,
    "GET chat/completions": kept_chat.listing,
    "GET chat/completions/{}": objects.getting("completion"),
    "chat/completions/{}": objects.changing("completion"),
    "DELETE chat/completions/{}": objects.deleting("completion"),
    "GET chat/completions/{}/messages": kept_chat.messages,
    "files": files.create,
    "GET files": files.listing,
    "GET files/{}": objects.getting("file"),
    "DELETE files/{}": objects.deleting("file"),
    "GET files/{}/content": files.content,
    "uploads": files.create_upload,
    "uploads/{}/parts": files.add_part,
    "uploads/{}/complete": files.complete_upload,
    "uploads/{}/cancel": files.cancel_upload,
    "containers": files.create_container,
    "GET containers": objects.listing("container"),
    "GET containers/{}": objects.getting("container"),
    "DELETE containers/{}": objects.deleting("container"),
    "containers/{}/files": files.create_container_file,
    "GET containers/{}/files": objects.listing("container", "container_file"),
    "GET containers/{}/files/{}": objects.getting("container", "container_file"),
    "DELETE containers/{}/files/{}": objects.deleting("container", "container_file"),
    "GET containers/{}/files/{}/content": files.container_content,
    "vector_stores": vectors.create,
    "GET vector_stores": objects.listing("vector_store"),
    "GET vector_stores/{}": objects.getting("vector_store"),
    "vector_stores/{}": objects.changing("vector_store"),
    "DELETE vector_stores/{}": objects.deleting("vector_store"),
    "vector_stores/{}/search": vectors.search,
    "vector_stores/{}/files": vectors.add_file,
    "GET vector_stores/{}/files": vectors.list_files,
    "GET vector_stores/{}/files/{}": objects.getting("vector_store", "vector_store_file"),
    "vector_stores/{}/files/{}": objects.changing("vector_store", "vector_store_file"),
    "DELETE vector_stores/{}/files/{}": objects.deleting("vector_store", "vector_store_file"),
    "GET vector_stores/{}/files/{}/content": vectors.file_content,
    "vector_stores/{}/file_batches": vectors.add_batch,
    "GET vector_stores/{}/file_batches/{}": objects.getting("vector_store", "file_batch"),
    "vector_stores/{}/file_batches/{}/cancel": vectors.cancel_batch,
    "GET vector_stores/{}/file_batches/{}/files": vectors.list_files,
    "batches": batches.create,
    "GET batches": objects.listing("batch"),
    "GET batches/{}": objects.getting("batch"),
    "batches/{}/cancel": batches.cancel,
    "fine_tuning/jobs": tuning.create_job,
    "GET fine_tuning/jobs": objects.listing("tuning"),
    "GET fine_tuning/jobs/{}": objects.getting("tuning"),
    "fine_tuning/jobs/{}/cancel": objects.cancelling("tuning"),
    "GET fine_tuning/jobs/{}/events": objects.listing("tuning", "event"),
    "GET fine_tuning/jobs/{}/checkpoints": objects.listing("tuning", "checkpoint"),
    "evals": tuning.create_eval,
    "realtime/calls/{}/hangup": hangup,
    "GET evals": objects.listing("eval", order="asc"),
    "GET evals/{}": objects.getting("eval"),
    "evals/{}": objects.changing("eval"),
    "DELETE evals/{}": objects.deleting("eval"),
    "evals/{}/runs": tuning.create_run,
    "GET evals/{}/runs": objects.listing("eval", "eval_run", order="asc"),
    "GET evals/{}/runs/{}": objects.getting("eval", "eval_run"),
    "evals/{}/runs/{}": objects.cancelling("eval", "eval_run", status="canceled"),
    "DELETE evals/{}/runs/{}": objects.deleting("eval", "eval_run"),
    "GET evals/{}/runs/{}/output_items": objects.listing("eval", "eval_run", "output_item", order="asc"),
    "GET evals/{}/runs/{}/output_items/{}": objects.getting("eval", "eval_run", "output_item"),
}
"""Operations by method, unless it is POST, and path."""

# What a session in the body names, if anything does.
IN_SESSION: dict[str, Operation] = {
    "realtime/client_secrets": client_secrets,
    "realtime/sessions": sessions,
    "realtime/transcription_sessions": sessions,
    "realtimeapi/sessions": sessions,
    "realtimeapi/transcription_sessions": sessions,
    "realtime/calls": calls,
}
ANTHROPIC: dict[str, Operation] = {"messages": messages, "messages/count_tokens": count_tokens}
OPERATIONS: dict[str, Operation] = DEPLOYED | MODELLED | OBJECTS | IN_SESSION | ANTHROPIC
V1_ONLY = ("conversations", "containers", "realtime")  # the classic path does not have them


@dataclass(frozen=True, slots=True)
class Route:
    """A parsed path. ``deployment`` is None if the path names none; ``modelled`` if ``model`` in the body does."""

    operation: str
    deployment: str | None = None
    ids: tuple[str, ...] = ()
    versioned: bool = True  # whether api-version must be given
    modelled: bool = False

    def version(self, head: Head) -> str | None:
        """Return the api-version of a request; None if the path does without."""
        return head.query.get("api-version") if self.versioned else None


def _patterns() -> dict[tuple[str, int], list[tuple[str, list[str]]]]:
    found: dict[tuple[str, int], list[tuple[str, list[str]]]] = defaultdict(list)
    for operation in OBJECTS:
        method, _, path = operation.rpartition(" ")
        parts = path.split("/")
        found[method or "POST", len(parts)].append((operation, parts))
    return dict(found)


_PATTERNS = _patterns()


def find(method: str, path: str) -> Route | None:
    """Return the route of a request line; None if there is none.

    The path is split before it is decoded: a deployment named ``dep/a b`` is sent as ``dep%2Fa%20b``.
    """
    spoken = path.removeprefix("/anthropic/v1/")
    if method == "POST" and spoken != path and spoken in ANTHROPIC:
        return Route(spoken, versioned=False, modelled=True)
    root, *rest = (unquote(part) for part in path.strip("/").split("/"))
    versioned = rest[:1] != ["v1"]
    rest = rest if versioned else rest[1:]
    if root != "openai" or not rest:
        return None
    deployment = None
    if versioned and rest[0] == "deployments" and len(rest) > 2:
        deployment, rest = rest[1], rest[2:]
    operation = "/".join(rest)
    if method == "POST" and operation in (DEPLOYED if deployment is not None or not versioned else ()):
        return Route(operation, deployment, (), versioned, deployment is None)
    if deployment is not None or (versioned and rest[0] in V1_ONLY):
        return None
    if method == "POST" and operation in MODELLED:
        return Route(operation, None, (), versioned, True)
    if method == "POST" and operation in IN_SESSION:
        return Route(operation, None, (), versioned)
    for operation, parts in _PATTERNS.get((method, len(rest)), ()):
        if all(part in ("{}", given) for part, given in zip(parts, rest, strict=True)):
            ids = tuple(given for part, given in zip(parts, rest, strict=True) if part == "{}")
            return Route(operation, None, ids, versioned)
    return None


class _Named(msgspec.Struct):
    model: Any = None


def model_of(body: bytes, content_type: str) -> str:
    """Return the deployment in the body's ``model``; ApiError 400 if it is missing."""
    model: Any
    if content_type.startswith("multipart/"):
        part = fields(body, content_type).get("model")
        model = part.data.decode(errors="replace") if part else None
    else:
        try:
            model = msgspec.json.decode(body, type=_Named).model
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise azure.unreadable_json() from None
    if not isinstance(model, str) or not model:
        raise azure.missing_parameter("model")
    return model


def deployment_of(route: Route, head: Head, body: bytes) -> str | None:
    """Return the deployment that a request names; ApiError 400 if it must name one and does not."""
    content_type = head.headers.get("content-type", "")
    if route.modelled:
        return model_of(body, content_type)
    if route.operation in IN_SESSION:
        return head.query.get("model") or model_of_session(body, content_type)
    return route.deployment


def find_socket(head: Head) -> Route | None:
    """Return the route of a WebSocket's handshake; None if there is none.

    In the WebSocket mode of Responses, each turn names its deployment, and the query may.
    """
    match head.path.rstrip("/"):
        case "/openai/v1/responses":
            return Route("responses/socket", head.query.get("model"), versioned=False)
        case "/openai/v1/realtime":
            return Route("realtime/socket", head.query.get("model"), versioned=False)
        case "/openai/realtime":
            return Route("realtime/socket", head.query.get("deployment"))
        case _:
            return None


def route_of(head: Head) -> Route:
    """Return the route of a request or a handshake; ApiError 404 if there is none, or it lacks the api-version."""
    route = find_socket(head) if head.wants_socket else find(head.method, head.path)
    if route is None or (route.versioned and not route.version(head)):
        raise azure.recorded_error("no-resource")
    return route


_RESPONSES = Endings(responses_error_event, RESPONSES_LIMIT)
_ENDINGS = {
    "messages": Endings(messages_error_event),
    "realtime": Endings(chat_error_event, REALTIME_LIMIT),
}


def endings_of(operation: str) -> Endings:
    """Return how streams of this operation end with an error."""
    return _RESPONSES if "responses" in operation else _ENDINGS.get(operation) or Endings(chat_error_event)
