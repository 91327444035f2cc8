"""What the body of a request for an eval may name: models that its caller may use, and data of its own. Pure."""

from collections.abc import Callable
from typing import Any

import msgspec

from chukei.errors import CallerError
from chukei.objects import answers

_DATA = frozenset({"item", "sample", "item_schema", "metadata"})
"""Members with a caller's data, in which a ``model`` means nothing to the service."""

_OF_ALL = frozenset({"logs", "stored_completions"})
_SOURCES = _OF_ALL | {"responses"}
"""Sources of data in which the service looks for itself, among what all callers of the resource have stored."""


def written(body: bytes, name_of: Callable[[str], str]) -> bytes:
    """Return a body in which each model has the name that ``name_of`` returns.

    Evals name models in many places: of the runs, of the graders. The body is encoded anew, so that of two members of
    one name the resource reads the one that was checked.

    Raises:
        CallerError: 403, the eval would read what others have stored; and what ``name_of`` raises.
    """
    found = answers.read(body)
    waiting: list[tuple[str, Any]] = [("", found)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(place, each) for each in value]
        elif isinstance(value, dict):
            _check_source(place, value.get("type"))
            if isinstance(name := value.get("model"), str):
                value["model"] = name_of(name)
            waiting += [(name, each) for name, each in value.items() if name not in _DATA]
    return msgspec.json.encode(found)


def _check_source(place: str, kind: object) -> None:
    if isinstance(kind, str) and kind in (_SOURCES if place == "source" else _OF_ALL):
        message = f"An eval cannot read {kind!r} here: the resource would take those of all callers. Upload a file."
        raise CallerError(403, "not_allowed", message, param="type", type="permission_error")
