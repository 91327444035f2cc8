"""The table of object routes, and what a path means by it."""

import pytest
from tests.rows import rows

from chukei.azure import OPERATIONS
from chukei.errors import CallerError
from chukei.request.object_routes import AT_HOME, FAMILIES, KINDS, MAX_ID, ROUTES, match, path_of
from chukei.request.routes import find

IDS = {
    "response": "resp_1",
    "conversation": "conv_1",
    "chat_completion": "chatcmpl-1",
    "file": "file-1",
    "upload": "upload_1",
    "vector_store": "vs_1",
    "container": "cntr_1",
    "batch": "batch_1",
    "fine_tuning_job": "ftjob-1",
    "eval": "eval_1",
    "": "part_1",
}
FILLED = {
    route.name: route.path.replace("{}", IDS[""]).format(**IDS) if "{" in route.path else route.path for route in ROUTES
}
DATED = "api-version=2025-04-01-preview"


@rows("route", ROUTES)
@rows(("prefix", "version"), [("/v1/", None), ("/openai/v1/", None), ("/openai/", "2025-04-01-preview")])
def test_every_route_is_found_in_both_forms_of_the_api(route: object, prefix: str, version: str | None) -> None:
    for each in ROUTES:
        if each is route:
            found = find(each.method, prefix + FILLED[each.name], DATED)
            assert (found.object, found.operation, found.api_version) == (each, None, version)
            assert all(KINDS[kind].may_be(id) if kind else id == "part_1" for kind, id in found.ids)
            assert path_of(each, found.ids) == FILLED[each.name]


def test_the_table_is_consistent() -> None:
    assert len({route.name for route in ROUTES}) == len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        kinds = [kind for kind in (route.makes, route.lists, *dict(route.mentions).values()) if kind is not None]
        assert set(kinds) <= set(KINDS), route.name
        assert route.family in (*AT_HOME, *FAMILIES), route.name
        assert not (route.ends and not route.path.endswith("}")), route.name
        assert not (route.method == "GET" and route.body is not route.body.NONE), route.name
    assert {operation.name for operation in OPERATIONS.values()}.isdisjoint(route.name for route in ROUTES)


@rows(
    ("method", "path", "name", "ids"),
    [
        ("GET", "responses/resp_1", "response_get", (("response", "resp_1"),)),
        (
            "GET",
            "conversations/conv_1/items/msg_1",
            "conversation_item_get",
            (("conversation", "conv_1"), ("", "msg_1")),
        ),
        ("GET", "evals/eval_1/runs/a/output_items/b", "eval_output_get", (("eval", "eval_1"), ("", "a"), ("", "b"))),
        ("DELETE", "files/..%2Fkeys", "file_delete", (("file", "../keys"),)),
    ],
)
def test_ids_are_read_with_their_kind(method: str, path: str, name: str, ids: object) -> None:
    found = find(method, f"/v1/{path}", "")
    assert found.object is not None
    assert (found.object.name, found.ids) == (name, ids)


@rows(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/responses/resp_1", b"GET, DELETE, OPTIONS"),
        ("GET", "/v1/responses/resp_1/cancel", b"POST, OPTIONS"),
        ("DELETE", "/v1/chat/completions", b"POST, GET, OPTIONS"),
        ("GET", "/openai/deployments/m/chat/completions", b"POST, OPTIONS"),
        ("GET", "/v1/responses/compact", b"POST, OPTIONS"),
        ("HEAD", "/v1/files", b"POST, GET, OPTIONS"),
    ],
)
def test_wrong_methods_are_told_the_right_ones(method: str, path: str, allow: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        find(method, path, "")
    assert (caught.value.status, caught.value.headers) == (405, [(b"allow", allow)])


@rows("path", ["responses/", "files//content", "responses/a/b/c", "files/a/b", "vector_stores/v/nothing"])
def test_what_has_another_shape_is_no_route(path: str) -> None:
    assert match(path) == []


@rows("prefix", ["/models/", "/openai/deployments/m/"])
def test_objects_are_not_below_a_model(prefix: str) -> None:
    with pytest.raises(CallerError, match="not served by this relay"):
        find("GET", f"{prefix}files/file-1", "")


@rows(
    ("kind", "id", "may_be"),
    [
        ("response", "resp_0123abc", True),
        ("response", "resp_" + "a" * (MAX_ID - 5), True),
        ("response", "resp_" + "a" * (MAX_ID - 4), False),
        ("response", "conv_1", False),
        ("response", "resp_1/../x", False),
        ("response", "resp_1\n", False),
        ("response", "", False),
        ("file", "file-abc", True),
        ("file", "assistant-abc", True),
        ("item", "anything-1", True),
        ("item", "中", False),
    ],
)
def test_whether_a_text_can_be_an_id(kind: str, id: str, may_be: bool) -> None:
    assert KINDS[kind].may_be(id) is may_be
