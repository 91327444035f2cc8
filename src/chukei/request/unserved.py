"""What is said of a path that the relay does not serve. Pure."""

from chukei.azure import OPERATIONS
from chukei.errors import CallerError
from chukei.request.object_routes import AT_HOME, FAMILIES, MAX_SHOWN, ROUTES

_UNSERVED = frozenset(
    """
    assistants batch chatkit extensions fine-tunes graders info ingestion live moderations organization projects
    realtime skills threads video videos
    """.split()  # noqa: SIM905 - a list of so many words is easier to read as text
)
"""First segments of routes in OpenAI's and Azure's APIs none of which the relay serves."""

_THEIRS = _UNSERVED | {path.partition("/")[0] for path in (*OPERATIONS, *(route.path for route in ROUTES))}
"""First segments of routes in OpenAI's and Azure's APIs."""

_SERVED = (
    f"{', '.join(OPERATIONS)}, models, stored {', '.join(AT_HOME)}, and where objects.serve names them "
    f"{', '.join(FAMILIES)}"
)

_DOUBLED = "/v1/v1"
_UNNAMED = "/openai/deployments//"


def is_theirs(rest: str) -> bool:
    """Whether OpenAI's or Azure's APIs have this route. ``rest`` is the path after its prefix."""
    return rest.partition("/")[0] in _THEIRS


def missing(path: str, raw_path: str, rest: str) -> CallerError:
    """Return the error for a path that is not served. ``rest`` is empty if it has none of the prefixes."""
    shown = repr(raw_path[:MAX_SHOWN])
    if is_theirs(rest):
        message = (
            f"{shown} of OpenAI's or Azure's APIs is not served by this relay. It serves {_SERVED}; for anything else "
            "call the resource itself."
        )
        return CallerError(404, "route_not_served", message)
    return CallerError(404, "unknown_route", f"There is no route {shown}. {_hint(path, rest)}")


def _hint(path: str, rest: str) -> str:
    if _DOUBLED in path:
        return "The client adds /v1 itself: leave it out of its base URL."
    if _UNNAMED in path:
        return "The deployment's name is empty: set it in the client."
    last = path.rpartition("/")[2]
    for known in OPERATIONS:
        if last and known.endswith(last):
            return f"Did you mean /v1/{known}?"
    if rest:
        return f"Below /v1 there are {', '.join(OPERATIONS)}, models and usage."
    return "Chat is at /v1/chat/completions and /api/chat-stream; set the client's base URL to end in /v1."
