"""Lists of a caller's own objects, read from lists of everybody's."""

import json
from collections.abc import Sequence

import pytest

from chukei.gateway.object_lists import MOST_READ, own_list
from chukei.model import Deployment
from chukei.objects.answers import Json
from chukei.request import object_routes
from chukei.request.object_routes import USUAL_LIMITS, Limits
from chukei.upstream.object_client import Query

pytestmark = pytest.mark.anyio

ROUTES = {route.name: route for route in object_routes.ROUTES}


class Resource:
    """A list of so many objects, of which every ``own``-th is the caller's. One that is ``whole`` ignores the query."""

    def __init__(self, name: str, size: int, own: int, *, whole: bool = False) -> None:
        self.whole = whole
        self.deployment = Deployment(name, f"https://{name}.example", name)
        self.ids = [f"{name}-{number}" for number in range(size)]
        self.own = set(self.ids[own - 1 :: own])
        self.asked = 0


async def read(
    resources: Sequence[Resource], *query: tuple[str, str], limits: Limits = USUAL_LIMITS
) -> tuple[list[str], bool]:
    by_name = {resource.deployment.name: resource for resource in resources}

    async def ask(deployment: Deployment, query: Query) -> Json:
        resource, given = by_name[deployment.name], dict(query)
        resource.asked += 1
        if resource.whole:
            return {"data": [{"id": id} for id in resource.ids], "has_more": resource.asked % 2 == 0}
        begin = resource.ids.index(given["after"]) + 1 if "after" in given else 0
        end = begin + int(given["limit"])
        return {"data": [{"id": id} for id in resource.ids[begin:end]], "has_more": end < len(resource.ids)}

    async def own(entries: Sequence[Json], deployment: Deployment) -> list[Json]:
        return [entry for entry in entries if entry["id"] in by_name[deployment.name].own]

    found = json.loads(await own_list([each.deployment for each in resources], query, ask, own, limits))
    return [each["id"] for each in found["data"]], found["has_more"]


async def test_all_pages_together_are_the_callers_own_in_order() -> None:
    resources = [Resource("a", 250, 7), Resource("b", 3, 2)]
    wanted = [id for each in resources for id in each.ids if id in each.own]
    seen: list[str] = []
    more = True
    while more:
        # As the relay does it: it begins with the resource that keeps the cursor.
        left = resources[1:] if seen and seen[-1].startswith("b") else resources
        ids, more = await read(left, ("limit", "10"), *([("after", seen[-1])] if seen else []))
        assert len(ids) <= 10
        seen += ids
    assert seen == wanted


async def test_the_search_for_own_objects_is_bounded() -> None:
    for page in (100, 1000):
        resource = Resource("a", MOST_READ + 1, MOST_READ + 1)
        assert await read([resource], limits=Limits(page=page)) == ([], True)
        assert resource.asked * page == MOST_READ


async def test_a_list_of_files_is_whole_unless_it_is_limited() -> None:
    """Microsoft and OpenAI: 10,000 files are listed by default. A client that reads one page sees all its own."""
    resource = Resource("a", 300, 2)
    ids, more = await read([resource], limits=ROUTES["file_list"].limits)
    assert (len(ids), more) == (150, False)


async def test_a_resource_that_ignores_the_cursor_is_read_once_nevertheless() -> None:
    """BerriAI/litellm#36324, #6530: pages without end for ``for file in client.files.list()``."""
    resource, seen, more = Resource("a", 30, 2, whole=True), list[str](), True
    while more:
        ids, more = await read([resource], ("limit", "4"), *([("after", seen[-1])] if seen else []))
        seen += ids
        assert len(seen) <= 15
    assert seen == [f"a-{number}" for number in range(1, 30, 2)]


async def test_the_other_way_only_the_page_next_to_the_cursor_is_read() -> None:
    resource = Resource("a", 300, 1)
    ids, _ = await read([resource], ("before", "a-299"), ("limit", "5"))
    assert (len(ids), resource.asked) == (5, 1)


async def test_without_resources_there_is_nothing() -> None:
    assert await read([]) == ([], False)
