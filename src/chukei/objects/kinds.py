"""The kind of an id by its prefix, and the seconds for which an id is remembered after its last use."""

from collections.abc import Mapping

from chukei.model import Deployment
from chukei.request.object_routes import AT_HOME, KINDS

RESPONSE, BATCH = "response", "batch"
"""The kinds that the service goes on working at."""

PREFIXES: Mapping[str, str] = {prefix: kind.name for kind in KINDS.values() for prefix in kind.prefixes}
"""Kinds by the prefixes of their ids. Ids of other prefixes are those of items."""

OF_DEPLOYMENTS = frozenset(kind.name for kind in KINDS.values() if kind.family in AT_HOME)
"""Kinds of objects that are continued by the deployment that made them. Others belong to its whole resource."""

OF_RESOURCES = frozenset({"file", "vector_store", "container"})
"""Kinds of objects that requests for answers name besides. A resource has them for all its deployments."""

ITEM_PREFIXES = (
    "msg_",
    "rs_",
    "fc_",
    "fco_",
    "ctc_",
    "ws_",
    "fs_",
    "ci_",
    "ig_",
    "cu_",
    "cuo_",
    "mcp_",
    "mcpl_",
    "mcpr_",
    "lsh_",
    "sh_",
    "apc_",
    "cmp_",
)
"""Prefixes of the ids of items: messages, reasoning, calls of functions and tools, their outputs, compactions."""

OPERATORS_PREFIXES = ("pmpt_",)
"""Prefixes of what operators make outside the relay for all callers: prompts. They look like those of items."""


def seconds_of(kind: str) -> int:
    """Return the seconds for which an id of this kind is remembered."""
    return KINDS[kind].days * 86_400


def kind_of(id: str) -> str:
    """Return the kind of an id by its prefix."""
    return next((kind for prefix, kind in PREFIXES.items() if id.startswith(prefix)), "item")


def home_of(kind: str, deployment: Deployment) -> str:
    """Return the home of an object: the deployment, or its whole resource for what belongs to no model."""
    return deployment.identity if kind in OF_DEPLOYMENTS else deployment.resource
