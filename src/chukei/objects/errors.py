"""Errors about stored objects. Pure."""

from chukei.errors import CallerError, Unavailable, come_back
from chukei.model import End
from chukei.objects.references import ENCRYPTED
from chukei.request.object_routes import KINDS

SHOWN = 80
"""Characters of an id that an error message repeats."""


def not_found(kind: str, id: str, param: str | None = None) -> CallerError:
    """Return the error for an object that does not exist or belongs to another caller: it is the same.

    The words are the service's. ``kind`` is empty for a part of an object. ``param`` is the field that holds the id;
    None for an id in the path.
    """
    if param == ENCRYPTED:
        message = "The encrypted content could not be verified."
        return CallerError(400, "invalid_encrypted_content", message, param="input")
    known = KINDS.get(kind)
    message = (known.lost if known is not None else "Object with id '{}' not found.").format(id[:SHOWN])
    match kind if param is not None else "":
        case "response":
            message = f"Previous {message[0].lower()}{message[1:]}"
            return CallerError(400, "previous_response_not_found", message, param=param)
        case "conversation":
            return CallerError(404, "conversation_not_found", message, param=param)
        case "item":
            return CallerError(404, "item_not_found", message, param=param)
        case "file":
            return CallerError(404, "file_not_found", message, param=param)
        case "vector_store":
            return CallerError(404, "vector_store_not_found", message, param=param)
        case "container":
            return CallerError(404, "container_not_found", message, param=param)
    return CallerError(404, "object_not_found", message, param=param or f"{kind or 'object'}_id")


def objects_unavailable() -> Unavailable:
    """Return the error while it cannot be told whose object an id names."""
    message = "The store that knows whose the objects are that this request names is away. Try again soon."
    return Unavailable("objects_unavailable", message, end=End.NO_DEPLOYMENT, headers=come_back(1))


def shared(id: str) -> CallerError:
    """Return the error for a change of an object that was not made through the relay, so that all callers use it."""
    message = f"{id[:SHOWN]!r} was not made through this relay: all callers may use it, and none may change it."
    return CallerError(403, "object_shared", message)


def gone(id: str) -> CallerError:
    """Return the error for an object whose resource is no longer configured."""
    message = f"The resource that keeps {id[:SHOWN]!r} is not configured on this relay any more."
    return CallerError(404, "object_resource_gone", message)


def elsewhere(id: str, param: str) -> CallerError:
    """Return the error for objects of different resources in one request."""
    message = f"{id[:SHOWN]!r} is kept by another resource than what else this request names. Make it there first."
    return CallerError(400, "object_elsewhere", message, param=param)


def without_deployment(id: str, param: str, model: str) -> CallerError:
    """Return the error for an object on a resource where the model has no deployment."""
    what = "This encrypted content" if param == ENCRYPTED else repr(id[:SHOWN])
    message = f"{what} is kept on a resource where the model {model[:SHOWN]!r} has no deployment."
    return CallerError(400, "object_elsewhere", message, param=param)


def model_elsewhere(model: str) -> CallerError:
    """Return the error for a model without a deployment on the resource that keeps the object."""
    message = f"The model {model[:SHOWN]!r} has no deployment on the resource that keeps these objects."
    return CallerError(400, "object_elsewhere", message, param="model")


def not_served(family: str, model: str | None) -> CallerError:
    """Return the error for a family that the configuration does not serve. ``model`` is ``objects.model``."""
    setting = "objects.model" if model is None else "objects.serve"
    what = "to the model whose resource keeps them" if model is None else f"so that it contains {family!r}"
    message = f"{family!r} is not served by this relay. Its operator can serve it by setting {setting} {what}."
    return CallerError(404, "route_not_served", message)
