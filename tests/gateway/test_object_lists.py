"""Lists of a caller's own objects, read from lists of everybody's."""

import json
from collections.abc import Sequence

import pytest

from chukei.gateway.object_lists import MOST_PAGES, PAGE, own_list
from chukei.model import Deployment
from chukei.objects.answers import Json
from chukei.upstream.object_client import Query

pytestmark = pytest.mark.anyio


class Resource:
    """A list of so many objects, of which every ``own``-th is the caller's."""

    def __init__(self, name: str, size: int, own: int) -> None:
        self.deployment = Deployment(name, f"https://{name}.example", name)
        self.ids = [f"{name}-{number}" for number in range(size)]
        self.own = set(self.ids[own - 1 :: own])
        self.asked = 0


async def read(resources: Sequence[Resource], *query: tuple[str, str]) -> tuple[list[str], bool]:
    by_name = {resource.deployment.name: resource for resource in resources}

    async def ask(deployment: Deployment, query: Query) -> Json:
        resource, given = by_name[deployment.name], dict(query)
        resource.asked += 1
        begin = resource.ids.index(given["after"]) + 1 if "after" in given else 0
        end = begin + int(given["limit"])
        return {"data": [{"id": id} for id in resource.ids[begin:end]], "has_more": end < len(resource.ids)}

    async def own(entries: Sequence[Json], deployment: Deployment) -> list[Json]:
        return [entry for entry in entries if entry["id"] in by_name[deployment.name].own]

    found = json.loads(await own_list([each.deployment for each in resources], query, ask, own))
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
    resource = Resource("a", PAGE * MOST_PAGES + 1, PAGE * MOST_PAGES + 1)
    assert await read([resource]) == ([], True)
    assert resource.asked == MOST_PAGES


async def test_the_other_way_only_the_page_next_to_the_cursor_is_read() -> None:
    resource = Resource("a", 3 * PAGE, 1)
    ids, _ = await read([resource], ("before", "a-299"), ("limit", "5"))
    assert (len(ids), resource.asked) == (5, 1)


async def test_without_resources_there_is_nothing() -> None:
    assert await read([]) == ([], False)
