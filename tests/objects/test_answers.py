"""What an answer tells about objects."""

import json

from tests.rows import rows

from chukei.objects.answers import Json, entries_of, learnt, listed, read
from chukei.request.object_routes import ROUTES, ObjectRoute

BY_NAME: dict[str, ObjectRoute] = {route.name: route for route in ROUTES}


@rows(
    ("route", "answer", "ids"),
    [
        ("file_create", {"id": "file-1"}, [("file", "file-1")]),
        ("file_create", {"id": 7}, []),
        ("file_get", {"id": "file-1"}, []),
        ("upload_complete", {"id": "upload_1", "file": {"id": "file-1"}}, [("file", "file-1")]),
        ("upload_complete", {"id": "upload_1", "file": "file-1"}, []),
        ("batch_get", {"output_file_id": "file-1", "error_file_id": None}, [("file", "file-1")]),
        ("fine_tuning_get", {"result_files": ["file-1", "file-2", 3]}, [("file", "file-1"), ("file", "file-2")]),
    ],
)
def test_ids_are_those_of_the_routes_objects(route: str, answer: Json, ids: list[tuple[str, str]]) -> None:
    assert list(learnt(BY_NAME[route], answer)) == ids


@rows("body", [b"", b"[]", b"{", b'"x"', b"[" * 100_000, b"\xff"])
def test_what_is_no_object_tells_nothing(body: bytes) -> None:
    assert read(body) == {}


def test_a_page_has_the_objects_with_ids() -> None:
    assert entries_of({"data": [{"id": "a"}, {"id": 1}, {}, 5]}) == [{"id": "a"}]
    assert entries_of({"data": {"id": "a"}}) == entries_of({}) == []


def test_a_list_keeps_what_else_the_page_says() -> None:
    page = {"object": "list", "data": [{"id": "a"}, {"id": "b"}], "first_id": "a", "has_more": True, "x": 1}
    assert json.loads(listed(page, [{"id": "b"}], more=False)) == {
        "object": "list",
        "data": [{"id": "b"}],
        "first_id": "b",
        "last_id": "b",
        "has_more": False,
        "x": 1,
    }
