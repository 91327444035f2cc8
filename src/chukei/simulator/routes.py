"""Which paths there are, and which operation and deployment they mean."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

OPERATIONS = frozenset(
    {
        "chat/completions",
        "completions",
        "embeddings",
        "images/generations",
        "images/edits",
        "audio/transcriptions",
        "audio/translations",
        "audio/speech",
    }
)


@dataclass(frozen=True, slots=True)
class Route:
    """A path understood. ``deployment`` is None where the body's ``model`` names it."""

    operation: str
    deployment: str | None = None
    model: str | None = None  # of GET models/{id}
    versioned: bool = True  # whether api-version must be given


def find(method: str, path: str) -> Route | None:
    """Return what a request line means; None if there is no such thing.

    Decodes after splitting: a deployment called ``dep/a b`` comes as ``dep%2Fa%20b``.
    """
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[:1] != ["openai"]:
        return None
    versioned = parts[1:2] != ["v1"]
    rest = parts[1:] if versioned else parts[2:]
    if method == "GET" and rest[:1] == ["models"]:
        return _models(rest[1:], versioned)
    if method != "POST":
        return None
    if versioned and rest[:1] == ["deployments"] and len(rest) > 2 and "/".join(rest[2:]) in OPERATIONS:
        return Route("/".join(rest[2:]), deployment=rest[1])
    operation = "/".join(rest)
    if operation == "responses" or (not versioned and operation in OPERATIONS):
        return Route(operation, versioned=versioned)
    return None


def _models(rest: list[str], versioned: bool) -> Route | None:
    if not rest:
        return Route("models", versioned=versioned)
    return Route("models", model="/".join(rest), versioned=versioned)
