"""What a method and a path mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.azure import CHAT, OPERATIONS, RESPONSES
from chukei.errors import CallerError
from chukei.request.routes import Page, Route, find, is_admin, refuse_websocket

DATED = "api-version=2024-10-21"
POSTS = [
    pytest.param("/api/chat-stream", "", Route(CHAT, simple=True), id="simple"),
    pytest.param("/v1/chat/completions", "", Route(CHAT), id="OpenAI's"),
    pytest.param("/v1/chat/completions/", "", Route(CHAT), id="a slash behind"),
    pytest.param("/openai/v1/responses", DATED, Route(RESPONSES), id="v1 has no version"),
    pytest.param("/openai/responses", DATED, Route(RESPONSES, api_version="2024-10-21"), id="Azure's responses"),
    pytest.param("/openai/chat/completions", DATED, Route(CHAT, api_version="2024-10-21"), id="Azure's, by the body"),
    pytest.param("/models/chat/completions", "api-version=2024-05-01-preview", Route(CHAT), id="Foundry's"),
    pytest.param("//v1/chat/completions", "", Route(CHAT), id="a slash before"),
    pytest.param("/v1//chat///completions//", "", Route(CHAT), id="slashes everywhere"),
    pytest.param(
        "//openai//deployments/a%2F%2Fb//embeddings",
        "",
        Route(OPERATIONS["embeddings"], model="a//b"),
        id="but not encoded ones",
    ),
    pytest.param("//api//chat-stream", "", Route(CHAT, simple=True), id="the simple form, too"),
    pytest.param(
        "/openai/deployments/gpt-4o/chat/completions",
        DATED,
        Route(CHAT, model="gpt-4o", api_version="2024-10-21"),
        id="Azure's",
    ),
    pytest.param(
        "/openai/deployments/dep%2Fa%20b/embeddings", "", Route(OPERATIONS["embeddings"], model="dep/a b"), id="encoded"
    ),
    pytest.param(
        "/openai/deployments/%E4%B8%AD/completions", "", Route(OPERATIONS["completions"], model="中"), id="utf-8"
    ),
]


@rows(("path", "query", "route"), POSTS)
def test_calls(path: str, query: str, route: Route) -> None:
    assert find("POST", path, query) == route


@rows("prefix", ["/v1/", "/openai/v1/", "/openai/", "/models/", "/openai/deployments/m/"])
@rows("path", OPERATIONS)
def test_every_operation_is_reached_in_all_ways(prefix: str, path: str) -> None:
    if OPERATIONS[path].api == "openai":
        assert find("POST", prefix + path, "").operation is OPERATIONS[path]


@rows("prefix", ["/v1/", "/anthropic/v1/", "//anthropic//v1/"])
@rows("path", ["messages", "messages/count_tokens"])
def test_messages_are_reached_as_anthropics_clients_send_them(prefix: str, path: str) -> None:
    assert find("POST", prefix + path, "beta=true").operation is OPERATIONS[path]


@rows("path", ["/openai/v1/messages", "/models/messages", "/openai/deployments/m/messages", "/anthropic/v1/embeddings"])
def test_no_api_is_reached_in_the_ways_of_the_other(path: str) -> None:
    with pytest.raises(CallerError) as caught:
        find("POST", path, "")
    assert caught.value.status == 404


@rows("path", ["/v1/responses", "/openai/v1/chat/completions", "/openai/responses"])
@rows(
    ("query", "version"),
    [
        ("api-version=preview", "preview"),
        ("x=1&api-version=latest", "latest"),
        ("", None),
        ("x=api-version=preview", None),
    ],
)
def test_v1_may_be_asked_for_its_previews(path: str, query: str, version: str | None) -> None:
    assert find("POST", path, query).api_version == version


def test_no_other_version_means_anything_to_v1() -> None:
    for query in ("api-version=2024-10-21", "api-version=v1", "api-version=%00", "api-version=preview%20"):
        assert find("POST", "/v1/responses", query).api_version is None


@rows(
    ("path", "route"),
    [
        ("/", Route(page=Page.CHAT_PAGE)),
        ("/web/app.js", Route(page=Page.ASSET, name="web/app.js")),
        ("/web/../../etc/passwd", Route(page=Page.ASSET, name="web/../../etc/passwd")),  # looked up, never opened
        ("/health/live", Route(page=Page.LIVE)),
        ("/health/ready", Route(page=Page.READY)),
        ("//", Route(page=Page.CHAT_PAGE)),
        ("//health//live", Route(page=Page.LIVE)),
        ("//v1//models//a%2F%2Fb", Route(page=Page.MODELS, name="a//b")),
        ("/health/deployments", Route(page=Page.DEPLOYMENTS)),
        ("/api/test-stream", Route(page=Page.TEST_STREAM)),
        ("/v1/models", Route(page=Page.MODELS)),
        ("/openai/models", Route(page=Page.MODELS)),
        ("/v1/models/a%2Fb", Route(page=Page.MODELS, name="a/b")),
    ],
)
@rows("method", ["GET", "HEAD"])
def test_pages(method: str, path: str, route: Route) -> None:
    assert find(method, path, "") == route


@rows(
    "path",
    [
        "",
        "*",
        "/v1",
        "/v1/",
        "/V1/chat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/../v1/chat/completions",
        "/openai/deployments//chat/completions",
        "/openai/deployments/a/b/chat/completions",
        "/openai/deployments/a",
        "/Admin",
        "/admin/nothing",
        "/admin/keys/a/b/rotate",
        "/admin/keys//rotate",
        "/admin//usage",
        "//admin",
        "//admin/usage",
        "/admin/../admin/keys",
        "/%61dmin",
        "/administrators",
        "/health",
        "http://evil/v1/models",
    ],
)
@rows("method", ["GET", "POST", "DELETE"])
def test_unknown_paths(method: str, path: str) -> None:
    with pytest.raises(CallerError) as caught:
        find(method, path, "")
    assert (caught.value.status, caught.value.code) == (404, "unknown_route")


def test_an_unknown_path_gets_a_hint() -> None:
    with pytest.raises(CallerError, match="Did you mean /v1/embeddings"):
        find("POST", "/embeddings", "")
    with pytest.raises(CallerError, match="base URL"):
        find("POST", "/nonsense", "")


@rows(
    ("path", "hint"),
    [
        ("/v1/v1/chat/completions", "leave it out"),
        ("/openai/deployments//chat/completions", "name is empty"),
        ("/v1/nonsense", "Below /v1 there are chat/completions"),
    ],
)
def test_a_hint_fits_what_was_sent(path: str, hint: str) -> None:
    with pytest.raises(CallerError, match=hint):
        find("POST", path, "")


UNSERVED = [
    "moderations",
    "realtime",
    "realtime/translations",
    "assistants",
    "threads/t/runs",
    "images/variations",
    "files/file-1/content/more",
    "responses/resp_1/nothing",
]


@rows("prefix", ["/v1/", "/openai/v1/", "/openai/", "//openai//", "/openai/deployments/m/"])
@rows("path", UNSERVED)
@rows("method", ["GET", "POST", "DELETE"])
def test_what_only_others_serve_is_called_so(prefix: str, path: str, method: str) -> None:
    with pytest.raises(CallerError) as caught:
        find(method, prefix + path, DATED)
    assert (caught.value.status, caught.value.code) == (404, "route_not_served")
    assert "base URL" not in caught.value.message


@rows("prefix", ["/v1/", "//v1//", "/openai/v1/", "/openai/", "/openai/deployments/m/"])
@rows("path", ["responses", "responses/", "realtime", "chat/completions"])
def test_a_websocket_is_told_to_do_without(prefix: str, path: str) -> None:
    with pytest.raises(CallerError) as caught:
        refuse_websocket(prefix + path)
    assert (caught.value.status, caught.value.headers) == (426, [(b"upgrade", b"HTTP/1.1")])


@rows("path", ["/", "/v1/models", "/health/live", "/admin", "/nonsense", "", "*"])
def test_an_upgrade_elsewhere_may_be_ignored(path: str) -> None:
    refuse_websocket(path)


@rows(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/embeddings", b"POST, OPTIONS"),
        ("PUT", "/api/chat-stream", b"POST, OPTIONS"),
        ("POST", "/v1/models", b"GET, HEAD, OPTIONS"),
        ("DELETE", "/", b"GET, HEAD, OPTIONS"),
    ],
)
def test_wrong_methods_are_told_the_right_ones(method: str, path: str, allow: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        find(method, path, "")
    assert (caught.value.status, caught.value.headers) == (405, [(b"allow", allow)])


@rows(
    ("method", "path", "page", "name"),
    [
        ("GET", "/admin", Page.ADMIN_PAGE, "admin.html"),
        ("HEAD", "/admin/", Page.ADMIN_PAGE, "../admin"),
        ("GET", "/admin/live", Page.ADMIN_PAGE, "../admin#/now"),
        ("GET", "/admin/live/", Page.ADMIN_PAGE, "../live"),
        ("GET", "/admin/live/events", Page.ADMIN, "/live/events"),
        ("GET", "/admin/openapi.json", Page.ADMIN_PAGE, "admin-openapi.json"),
        ("GET", "/admin/usage", Page.ADMIN, "/usage"),
        ("DELETE", "/admin/usage/", Page.ADMIN, "/usage"),
        ("POST", "/admin/keys", Page.ADMIN, "/keys"),
        ("POST", "/admin/keys/aB%2F3/rotate", Page.ADMIN, "/keys/aB%2F3/rotate"),
    ],
)
def test_what_is_for_administrators(method: str, path: str, page: Page, name: str) -> None:
    route = find(method, path, "by=day")
    assert (route.page, route.name, route.operation) == (page, name, None)
    assert is_admin(path)
    with pytest.raises(CallerError) as caught:
        find(method, path, "by=day", admin=False)
    assert (caught.value.status, caught.value.code) == (404, "unknown_route")


@rows(
    ("method", "path", "allow"),
    [
        ("POST", "/admin", b"GET, HEAD"),
        ("PUT", "/admin/usage", b"GET, HEAD, DELETE"),
        ("OPTIONS", "/admin/keys", b"GET, HEAD, POST"),
        ("GET", "/admin/keys/a/revoke", b"POST"),
    ],
)
def test_wrong_methods_of_administrators(method: str, path: str, allow: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        find(method, path, "")
    assert (caught.value.status, caught.value.headers) == (405, [(b"allow", allow)])


@rows(
    "query",
    [
        "api-version=",
        "api-version=v9",
        "api-version=2024-10-21%26x%3D1",
        "api-version=2024-10-21%0d%0aHost:x",
        "api-version=2024-10-21&api-version=2024-06-01",
    ],
)
def test_a_nonsensical_version_is_refused(query: str) -> None:
    with pytest.raises(CallerError) as caught:
        find("POST", "/openai/deployments/m/chat/completions", query)
    assert (caught.value.status, caught.value.param) == (400, "api-version")


def test_one_version_named_twice_is_one() -> None:
    assert find("POST", "/openai/responses", f"{DATED}&{DATED}&other=1").api_version == "2024-10-21"


def test_a_model_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(CallerError) as caught:
        find("POST", "/openai/deployments/%ff/chat/completions", "")
    assert caught.value.code == "invalid_model"


@given(
    path=st.text(max_size=40), query=st.text(max_size=40), prefix=st.sampled_from(["", "/v1/", "/openai/deployments/"])
)
def test_any_path_is_found_or_refused(path: str, query: str, prefix: str) -> None:
    with pytest.raises(CallerError) as caught:
        find("BREW", prefix + path, query)
    assert caught.value.status in (400, 404, 405)
