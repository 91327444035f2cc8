"""What goes wrong is said where it happened, with what helps: never a clean end that looks like success."""

import re

import pytest
from playwright.async_api import Page, expect
from tests.browser.axe import violations
from tests.browser.conftest import Watch, open_chat
from tests.browser.scripted_server import (
    EVENT_STREAM,
    Exchange,
    ScriptedServer,
    azure_stream,
    delta,
    event,
    refusing,
    saying,
)
from tests.browser.steps import answers, ask, choose_model, finished, offered
from tests.rows import rows

pytestmark = pytest.mark.anyio

BUSY = {"message": "Please retry after 22 seconds.", "type": "too_many_requests", "code": "429"}

BLOCKED = {
    "message": "The response was filtered due to the prompt triggering the content management policy.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {
            "hate": {"filtered": True, "severity": "medium"},
            "jailbreak": {"filtered": True, "detected": True},
            "violence": {"filtered": False, "severity": "safe"},
            "new_category": {"filtered": True},
        },
    },
}


@pytest.fixture(autouse=True)
def _failed_requests_are_expected(watch: Watch) -> None:
    """The browser itself logs every answer with an error status, and every cut connection."""
    watch.expected.append("Failed to load resource")


async def test_an_error_before_the_stream(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(refusing(429, BUSY, {"retry-after": "22"}))
    await ask(page, "Hello?")
    alert = page.get_by_role("alert").filter(has_text="Too many requests")
    await expect(alert).to_contain_text("Wait a little, then try again.")
    await expect(alert).to_contain_text("The service asks to wait 22 seconds.")
    await expect(page.locator(".retry")).to_have_text(re.compile(r"Try again \((2[0-2]|1?\d) sec\)"))  # it counts down
    await expect(alert.locator(".retry")).to_have_count(0)
    await page.locator(".retry").click()
    await finished(page)
    await expect(answers(page)).to_have_text("Hello from the server.")
    await expect(page.locator(".failure")).to_have_count(0)
    assert server.exchanges[0].body == server.exchanges[1].body


async def test_retry_after_in_milliseconds_wins(page: Page, server: ScriptedServer) -> None:
    headers = {"retry-after": "60", "retry-after-ms": "1200"}
    server.scripts.append(refusing(429, BUSY, headers))
    await ask(page, "Hello?")
    await expect(page.get_by_text("The service asks to wait 2 seconds.")).to_be_visible()
    await expect(page.locator(".retry")).to_have_text("Try again")


async def test_a_blocked_prompt_names_the_categories(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(refusing(400, BLOCKED))
    await ask(page, "Hello?")
    alert = page.get_by_role("alert").filter(has_text="The content filter blocked this message.")
    await expect(alert).to_contain_text("Found: hate (medium), attempt to bypass the rules, new_category")
    await expect(page.locator(".failure-details")).to_contain_text("content_filter")


async def test_an_error_in_mid_stream(page: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.write(b"".join(azure_stream("Half of", " it")[:4]))
        error = {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}
        await exchange.write(event({"error": error}))

    server.scripts.append(script)
    await ask(page, "Hello?")
    await finished(page)
    await expect(answers(page)).to_have_text("Half of it")
    alert = page.get_by_role("alert").filter(has_text="service has a fault at the moment")
    await expect(alert).not_to_contain_text("The server had an error.")
    await page.get_by_text("Details", exact=True).click()
    await expect(page.locator(".failure-own")).to_have_text("The server had an error.")
    await expect(page.locator(".failure-details dd")).to_have_text(["server_error", "req-test-1"])
    await expect(page.locator("[data-figure=output] dd")).to_have_text("≈ 2")


@rows("events", [0, 1, 4, 5, 6])
async def test_an_end_without_done_is_cut_short(page: Page, server: ScriptedServer, events: int) -> None:
    """Even after the finish reason and the usage: only [DONE] says that all has arrived."""

    async def script(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.write(b"".join(azure_stream("Half of", " it")[:events]))

    server.scripts.append(script)
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "Hello?")
    await expect(page.get_by_role("alert").filter(has_text="cut short")).to_be_visible()
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()


async def test_a_reset_in_mid_stream_is_cut_short(page: Page, server: ScriptedServer, watch: Watch) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.start(headers={**EVENT_STREAM, "content-length": "100000"})
        await exchange.write(delta(content="Half"))
        await answers(page).filter(has_text="Half").wait_for()
        exchange.writer.transport.abort()

    server.scripts.append(script)
    await ask(page, "Hello?")
    await expect(page.get_by_role("alert").filter(has_text="cut short")).to_be_visible()
    await expect(answers(page)).to_have_text("Half")


async def test_nothing_answers(page: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        exchange.writer.transport.abort()

    server.scripts += [script, script, script]  # a browser may itself repeat a request that got no byte
    await ask(page, "Hello?")
    await expect(page.get_by_role("alert").filter(has_text="The relay cannot be reached.")).to_be_visible()


@rows(
    ("kind", "body"),
    [
        ("text/html", b"<h1>Sign in</h1>"),
        ("application/json", b'{"choices":[]}'),
        ("text/event-stream", b"data: {not json\n\ndata: [DONE]\n\n"),
    ],
)
async def test_an_answer_of_another_kind(page: Page, server: ScriptedServer, kind: str, body: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.start(headers={"content-type": kind})
        await exchange.write(body)

    server.scripts.append(script)
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "Hello?")
    await expect(page.get_by_role("alert").filter(has_text="could not be understood")).to_be_visible()


@rows(
    ("reason", "notice"),
    [
        ("length", "The answer reached its length limit and ends here."),
        ("content_filter", "The content filter stopped this answer."),
        ("tool_calls", "The model asks for a tool to be called."),
        ("function_call", "The model ended with “function_call”."),
    ],
)
async def test_an_end_that_is_not_ordinary(page: Page, server: ScriptedServer, reason: str, notice: str) -> None:
    server.scripts.append(saying("Some text", finish=reason))
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "Hello?")
    await finished(page)
    await expect(answers(page)).to_have_text("Some text")
    await expect(page.locator(".notice")).to_have_text(notice)


async def test_a_blocked_completion_names_the_category(page: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        results = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False, "severity": "safe"}}
        choice = {"index": 0, "finish_reason": "content_filter", "content_filter_results": results}
        await exchange.start()
        await exchange.write(delta(content="Once") + event({"choices": [choice]}) + b"data: [DONE]\n\n")

    server.scripts.append(script)
    await ask(page, "Hello?")
    expected = "The content filter stopped this answer. Found: violence (high)"
    await expect(page.locator(".notice")).to_have_text(expected)


async def test_an_answer_without_text_says_so(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(saying())
    await ask(page, "Hello?")
    await expect(page.locator(".notice")).to_have_text("The model sent no text.")


async def test_the_models_cannot_be_loaded(blank: Page, server: ScriptedServer) -> None:
    """The page still works: the relay fills in its default model."""
    error = {"message": "Starting.", "code": "not_yet"}
    await blank.route("**/v1/models", lambda route: route.fulfill(status=503, json={"error": error}))
    page = await open_chat(blank, server.url)
    await expect(page.get_by_role("alert").filter(has_text="Starting.")).to_be_visible()
    await ask(page, "Hello?")
    await finished(page)
    assert "model" not in server.exchanges[0].body
    await page.unroute("**/v1/models")
    await page.get_by_role("button", name="Try again").click()
    await expect(offered(page)).to_have_count(2)
    await expect(page.locator("#page-failure > *")).to_have_count(0)


async def test_what_is_known_is_said_in_the_readers_words(page: Page, server: ScriptedServer) -> None:
    """The service's own words wait behind "Details", and can be copied with what an operator needs."""
    error = {"message": "Das Modell gibt es nicht.", "code": "DeploymentNotFound"}
    server.scripts.append(refusing(404, error))
    await page.locator("#language").select_option("ja")
    await ask(page, "Hello?")
    failure = page.locator(".failure")
    await expect(failure.get_by_role("alert")).to_have_text(
        "このモデルはここでは使えません。別のモデルを選んでください。"
    )
    await expect(page.locator(".failure-own")).to_be_hidden()
    await failure.get_by_text("詳細", exact=True).click()
    await expect(page.locator(".failure-own")).to_have_text("Das Modell gibt es nicht.")
    await failure.get_by_role("button", name="詳細をコピー").click()
    await expect(failure.get_by_role("status")).to_have_text("コピーしました")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.split("\n") == [
        "Das Modell gibt es nicht.",
        "HTTP ステータス: 404",
        "コード: DeploymentNotFound",
        "リクエスト ID: req-test-1",
    ]


@rows(
    ("status", "error", "title"),
    [
        (418, {"message": "No tea today.", "code": "teapot_empty"}, "The relay answered with an error."),
        (429, {"message": "No tea today.", "code": "tea_limit"}, "The relay answered with an error."),
        (400, {"message": "No tea today."}, "The relay answered with an error."),
        (400, {"message": "No tea today.", "code": "unsupported_value"}, "does not accept one of the settings"),
        (400, {"message": "No tea today.", "type": "invalid_request_error"}, "does not accept this request"),
    ],
)
async def test_what_is_not_known_is_said_in_the_services_words(
    page: Page, server: ScriptedServer, status: int, error: dict[str, str], title: str
) -> None:
    server.scripts.append(refusing(status, error))
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "Hello?")
    alert = page.locator(".failure [role=alert]")
    await expect(alert).to_contain_text(title)
    await expect(alert).to_contain_text("The service says: “No tea today.”")
    await expect(page.locator(".failure-own")).to_have_count(0)


@rows(
    ("seconds", "said"),
    [("119", "119 seconds"), ("120", "2 minutes"), ("5000", "84 minutes"), ("43200", "12 hours"), ("1e6", "12 days")],
)
async def test_a_long_wait_is_said_in_larger_units(page: Page, server: ScriptedServer, seconds: str, said: str) -> None:
    milliseconds = str(int(float(seconds)) * 1000)
    server.scripts.append(
        refusing(403, {"message": "Used up.", "code": "insufficient_quota"}, {"retry-after-ms": milliseconds})
    )
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "Hello?")
    await expect(page.get_by_text(f"The service asks to wait {said}.")).to_be_visible()


async def test_another_model_can_be_tried_after_a_failure(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(refusing(404, {"message": "Gone.", "code": "model_not_found"}))
    await ask(page, "Hello?")
    await expect(page.get_by_role("alert").filter(has_text="Choose another model.")).to_be_visible()
    await choose_model(page, "reasoner")
    await page.get_by_role("button", name="Try again").click()
    await expect(answers(page).last).to_have_text("Hello from the server.")
    assert [exchange.body["model"] for exchange in server.exchanges] == ["chat", "reasoner"]


async def test_a_failure_speaks_the_language_that_is_chosen_later(blank: Page, server: ScriptedServer) -> None:
    error = {"message": "x", "code": "ledger_full"}
    await blank.route("**/v1/models", lambda route: route.fulfill(status=503, json={"error": error}))
    page = await open_chat(blank, server.url)
    await expect(page.locator("#page-failure")).to_contain_text("A part of the relay is not available")
    await page.locator("#language").select_option("ja")
    await expect(page.locator("#page-failure")).to_contain_text("一部の機能が使えません")
    await expect(page.locator("#page-failure [role=alert]")).to_have_count(0)


async def test_a_failure_is_accessible(page: Page, server: ScriptedServer) -> None:
    server.scripts += [refusing(400, BLOCKED), refusing(418, {"message": "No tea today.", "code": "teapot_empty"})]
    for count in (1, 2):
        await ask(page, "Hello?")
        await finished(page, count)
    for summary in await page.get_by_text("Details", exact=True).all():
        await summary.click()
    assert await violations(page) == []
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert await violations(page) == []
