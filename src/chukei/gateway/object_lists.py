"""Lists of stored objects: a resource lists those of all callers, of which a caller sees its own."""

from collections.abc import Awaitable, Callable, Sequence

from chukei.errors import CallerError
from chukei.model import Deployment
from chukei.objects.answers import Json, entries_of, listed
from chukei.request.object_routes import USUAL_LIMITS, Limits
from chukei.upstream.object_client import Query

MOST_READ = 5000
"""Objects that are read for one request: a caller's own one is found among so many next to the cursor."""

Ask = Callable[[Deployment, Query], Awaitable[Json]]
"""Returns one page of a resource's list."""

Own = Callable[[Sequence[Json], Deployment], Awaitable[list[Json]]]
"""Returns those objects of a page that the caller may see."""


async def own_list(
    deployments: Sequence[Deployment], query: Query, ask: Ask, own: Own, limits: Limits = USUAL_LIMITS
) -> bytes:
    """Return a list with up to ``limit`` of the caller's own objects, in the resources' order, one after another.

    ``has_more`` says that there may be more: the cursor of the next request is the last object of this list.

    Raises:
        CallerError: 400, the limit is no number, or out of bounds.
    """
    want, most_pages = _limit(query, limits), MOST_READ // limits.page
    kept = [(name, value) for name, value in query if name not in ("limit", "after")]
    cursor = dict(query).get("after")
    found: list[Json] = []
    form: Json = {}
    pages, last = 0, deployments[-1] if deployments else None
    for deployment in deployments:
        while True:
            after = [("after", cursor)] if cursor else []
            page = await ask(deployment, [*kept, *after, ("limit", str(limits.page))])
            form, pages = form or page, pages + 1
            entries = _behind(entries_of(page), cursor)
            found += await own(entries, deployment)
            further = bool(page.get("has_more")) and bool(entries) and entries[-1]["id"] != cursor
            remains = further or deployment is not last
            if len(found) > want or (remains and (len(found) == want or pages >= most_pages)):
                return listed(form, found[:want], more=True)
            cursor = entries[-1]["id"] if further else None
            # With `before` the list goes the other way, and only the page next to the cursor is meant.
            if not further or "before" in dict(kept):
                break
    return listed(form, found[:want], more=False)


def _behind(entries: list[Json], cursor: str | None) -> list[Json]:
    """Return what stands behind the cursor, which a list without pages ignores, such as that of files was."""
    place = next((place for place, entry in enumerate(entries) if entry["id"] == cursor), -1)
    return entries[place + 1 :]


def _limit(query: Query, limits: Limits) -> int:
    text = dict(query).get("limit")
    if text is None:
        return limits.usual
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 6 and 0 < int(text) <= limits.most):
        message = f"'limit' is a number from 1 to {limits.most}."
        raise CallerError(400, "invalid_query", message, param="limit")
    return int(text)
