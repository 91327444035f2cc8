"""Lists of stored objects: a resource lists those of all callers, of which a caller sees its own."""

from collections.abc import Awaitable, Callable, Sequence

from chukei.errors import CallerError
from chukei.model import Deployment
from chukei.objects.answers import Json, entries_of, listed
from chukei.upstream.object_client import Query

PAGE = 100
"""Objects in a page that is asked for; most lists allow no more."""

MOST_PAGES = 50
"""Pages that are read for one request. So a caller's own object is found among the 5,000 next to the cursor."""

USUAL_LIMIT = 20
LARGEST_LIMIT = 10_000

Ask = Callable[[Deployment, Query], Awaitable[Json]]
"""Returns one page of a resource's list."""

Own = Callable[[Sequence[Json], Deployment], Awaitable[list[Json]]]
"""Returns those objects of a page that the caller may see."""


async def own_list(deployments: Sequence[Deployment], query: Query, ask: Ask, own: Own) -> bytes:
    """Return a list with up to ``limit`` of the caller's own objects, in the resources' order, one after another.

    ``has_more`` says that there may be more: the cursor of the next request is the last object of this list.

    Raises:
        CallerError: 400, the limit is no number.
    """
    want = _limit(query)
    kept = [(name, value) for name, value in query if name not in ("limit", "after")]
    cursor = dict(query).get("after")
    found: list[Json] = []
    form: Json = {}
    pages, last = 0, deployments[-1] if deployments else None
    for deployment in deployments:
        while True:
            after = [("after", cursor)] if cursor else []
            page = await ask(deployment, [*kept, *after, ("limit", str(PAGE))])
            form, pages = form or page, pages + 1
            entries = entries_of(page)
            found += await own(entries, deployment)
            further = bool(page.get("has_more")) and bool(entries) and entries[-1]["id"] != cursor
            remains = further or deployment is not last
            if len(found) > want or (remains and (len(found) == want or pages >= MOST_PAGES)):
                return listed(form, found[:want], more=True)
            cursor = entries[-1]["id"] if further else None
            # With `before` the list goes the other way, and only the page next to the cursor is meant.
            if not further or "before" in dict(kept):
                break
    return listed(form, found[:want], more=False)


def _limit(query: Query) -> int:
    text = dict(query).get("limit")
    if text is None:
        return USUAL_LIMIT
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 6 and 0 < int(text) <= LARGEST_LIMIT):
        message = f"'limit' is a number from 1 to {LARGEST_LIMIT}."
        raise CallerError(400, "invalid_query", message, param="limit")
    return int(text)
