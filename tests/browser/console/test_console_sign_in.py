"""Signing in to the console with Entra ID: authorization code with PKCE, against a provider on a real socket."""

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Page, Request, expect
from tests.browser.conftest import Watch
from tests.browser.console.office import KEY, LOADED, Office, opened, unlock
from tests.browser.steps import holds, settle
from tests.live.identity_provider import PERSON, TENANT
from tests.live.relays import InProcessRelay, settings_for
from tests.live.sign_in_provider import APP, SignInProvider
from tests.rows import rows

pytestmark = pytest.mark.anyio

ANN = "ann@contoso.com"


@pytest.fixture
async def provider() -> AsyncIterator[SignInProvider]:
    async with SignInProvider() as provider:
        yield provider


@pytest.fixture
async def office(tmp_path: Path, provider: SignInProvider) -> AsyncIterator[Office]:
    file = tmp_path / "ledger.db"
    settings = settings_for(
        "http://127.0.0.1:9",
        {
            "CHUKEI_ADMIN__API_KEY": KEY,
            "CHUKEI_STORES__LEDGER": f"sqlite:///{file}",
            "CHUKEI_UPSTREAM__PLAIN_HTTP": "true",
            "CHUKEI_GROUPS__RESEARCH__TOTAL__CONCURRENT": "100",
            **provider.admin_settings,
        },
    )
    async with InProcessRelay(settings) as relay:
        database = relay.relay.accounting.database
        assert database is not None
        await database.keys()
        provider.redirects = [f"{relay.url}/admin"]
        yield Office(relay, database, file)


@pytest.fixture
async def watch(watch: Watch, provider: SignInProvider) -> AsyncIterator[Watch]:
    """The provider may be asked too."""
    yield watch
    watch.foreign = [address for address in watch.foreign if not address.startswith(provider.authority)]


@pytest.fixture
async def page(page: Page, office: Office) -> Page:
    await page.goto(f"{office.url}#/keys")
    return page


async def sign_in(page: Page) -> None:
    await page.get_by_role("button", name="Sign in with Microsoft").click()


async def signed_in(page: Page) -> None:
    await sign_in(page)
    await expect(page.locator("#opened")).to_be_visible()
    await expect(page.locator(LOADED["keys"]).first).to_be_visible()


async def remembered(page: Page) -> str:
    """Everything that the browser keeps for the page."""
    script = "JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie, history.state])"
    return str(await page.evaluate(script))


async def test_somebody_signs_in_and_comes_back_to_the_view(
    page: Page, office: Office, provider: SignInProvider
) -> None:
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    await expect(page.get_by_role("button", name="Sign in with Microsoft")).to_be_focused()
    await signed_in(page)
    assert page.url == f"{office.url}#/keys", "the code is gone, and the view is the one before"
    await expect(page.locator("#who-name")).to_have_text(ANN)
    await expect(page.locator("#who-looks")).to_be_hidden()
    [asked] = provider.asked
    assert (asked["client_id"], asked["response_type"], asked["response_mode"]) == (APP, "code", "fragment")
    assert asked["scope"] == f"openid profile offline_access {APP}/Console.Use"
    assert asked["redirect_uri"] == office.url
    assert "prompt" not in asked
    [redeemed] = provider.redeemed
    assert set(redeemed) == {"client_id", "scope", "grant_type", "code", "redirect_uri", "code_verifier"}
    relay = [each.url for each in requests if each.url.startswith(office.relay.url)]
    assert not any(redeemed["code"] in address.partition("#")[0] for address in relay), "no server sees the code"
    history = await page.evaluate("history.length")
    kept = await remembered(page)
    for secret in (redeemed["code"], redeemed["code_verifier"], asked["state"], asked["nonce"], "eyJ"):
        assert secret not in kept, history
    assert "chukei:sign-in" not in kept


async def test_what_is_remembered_meanwhile_is_of_this_tab_and_no_token(page: Page, provider: SignInProvider) -> None:
    await page.route(f"{provider.authority}/**", lambda route: route.fulfill(status=204))  # the page stays
    await sign_in(page)
    await holds(page, "sessionStorage.getItem('chukei:sign-in') !== null")
    asked = json.loads(await page.evaluate("sessionStorage.getItem('chukei:sign-in')"))
    assert set(asked) == {"state", "nonce", "verifier", "address"}
    assert len({asked["state"], asked["nonce"], asked["verifier"]}) == 3
    assert await page.evaluate("localStorage.getItem('chukei:sign-in')") is None


async def test_another_state_is_not_taken(page: Page, provider: SignInProvider) -> None:
    provider.state = "somebody-elses"
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_contain_text("This sign-in was not begun here")
    assert provider.redeemed == []
    assert "#/keys" in page.url
    provider.state = None
    await signed_in(page)


async def test_a_code_from_nowhere_is_not_taken(page: Page, office: Office, provider: SignInProvider) -> None:
    await page.goto("about:blank")
    await page.goto(f"{office.url}#code=stolen&state=guessed")
    await expect(page.get_by_role("alert")).to_contain_text("This sign-in was not begun here")
    assert provider.redeemed == []
    assert page.url == f"{office.url}#/"


async def test_another_nonce_is_not_taken(page: Page, provider: SignInProvider) -> None:
    provider.nonce = "of-another-sign-in"
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_contain_text("This sign-in was not begun here")
    await expect(page.locator("#opened")).to_be_hidden()


@rows(
    ("error", "words"),
    [
        ("access_denied", "The sign-in was cancelled"),
        ("consent_required", "The sign-in was cancelled"),
        ("login_required", "Your sign-in has ended"),
        ("temporarily_unavailable", "login service has a problem"),
        ("invalid_resource", "should check the app registration"),
        ("<img src=x onerror=alert(1)>", "should check the app registration"),
    ],
)
async def test_errors_of_the_login_service_are_said_in_words(
    page: Page, provider: SignInProvider, error: str, words: str
) -> None:
    description = "AADSTS65004: User declined <b>consent</b>.\r\nTrace ID: 255d1aef\r\nTimestamp: 2026-11-29"
    provider.denies = {"error": error, "error_description": description}
    await sign_in(page)
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text(words)
    failure = page.locator("#unlock-failure")
    text = await failure.text_content() or ""
    assert "AADSTS65004: User declined <b>consent</b>." in text
    assert "Trace ID" not in text
    await expect(page.get_by_role("button", name="Sign in with Microsoft")).to_be_focused()
    assert await page.evaluate("window.ran") == []


async def test_a_token_that_is_about_to_end_is_renewed(page: Page, provider: SignInProvider) -> None:
    provider.seconds = 30
    await signed_in(page)
    provider.seconds = 3600
    before = len(provider.redeemed)
    await page.get_by_role("link", name="Audit trail").click()
    await expect(page.locator("#audit-table > *").first).to_be_visible()
    renewals = [each for each in provider.redeemed if each["grant_type"] == "refresh_token"]
    assert renewals != []
    assert "code" not in renewals[0]
    await page.get_by_role("link", name="Deployments").click()
    await expect(page.locator(LOADED["deployments"]).first).to_be_visible()
    assert len(provider.redeemed) <= before + 1, "a token that still holds is not renewed"


async def test_a_token_that_the_relay_refuses_is_renewed_once(
    page: Page, office: Office, provider: SignInProvider, watch: Watch
) -> None:
    """The machine was asleep, or its clock stood still: the page believes that its token holds."""
    watch.expected.append("Failed to load resource")
    await signed_in(page)
    await page.evaluate("performance.now = () => 0")
    real = office.relay.relay.access.readers.administrators
    assert real is not None
    real._wall = lambda: time.time() + 7200
    real._clock = lambda: time.monotonic() + 7200
    ahead = int(time.time()) + 7200

    def renewed(**changes: object) -> str:
        return provider.token(provider.claims(**{
            "aud": APP, "azp": APP, "scp": "Console.Use", "roles": provider.roles,
            "preferred_username": ANN, "nbf": ahead, "exp": ahead + 3600, **changes,
        }))  # fmt: skip

    provider.admin_token = renewed  # type: ignore[method-assign]
    page_requests: list[int] = []
    page.on("response", lambda response: page_requests.append(response.status))
    watch_count = len(provider.redeemed)
    await page.get_by_role("link", name="Audit trail").click()
    await expect(page.locator("#audit-table > *").first).to_be_visible()
    assert len(provider.redeemed) == watch_count + 1
    assert page_requests.count(401) >= 1


async def test_a_sign_in_that_cannot_be_renewed_has_ended(page: Page, provider: SignInProvider, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    provider.seconds = 0
    provider.refreshes = False
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_contain_text("Your sign-in has ended")
    await expect(page.locator("#opened")).to_be_hidden()


async def test_who_may_only_look_sees_no_way_to_change(
    page: Page, office: Office, provider: SignInProvider, watch: Watch
) -> None:
    provider.roles = ["Chukei.Look"]
    await signed_in(page)
    await expect(page.locator("#who-looks")).to_have_text("may only look")
    await expect(page.locator("#new-key")).to_be_hidden()
    await expect(page.get_by_text("The role for changes is given in Entra ID.")).to_be_visible()
    watch.expected.append("Failed to load resource")
    token = provider.admin_token()
    answer = await page.evaluate(
        """async (token) => {
          const answer = await fetch("admin/keys", {
            method: "POST", body: '{"caller": "mine"}', headers: { authorization: `Bearer ${token}` },
          });
          return [answer.status, (await answer.json()).error.code];
        }""",
        token,
    )
    assert answer == [403, "not_allowed"]
    assert await office.database.keys() == []
    assert await office.database.changes(9) == []


async def test_who_has_no_role_is_told_so(page: Page, provider: SignInProvider, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    provider.roles = ["Something.Else"]
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_contain_text("Your account has no role")
    await expect(page.locator("#opened")).to_be_hidden()


async def test_a_clock_that_is_wrong_neither_ends_a_sign_in_nor_repeats_it(
    page: Page, provider: SignInProvider
) -> None:
    await page.clock.install(time=datetime.now(UTC) + timedelta(hours=5))
    await page.reload()
    await signed_in(page)
    await page.get_by_role("link", name="Usage").click()
    await expect(page.locator(LOADED["usage"]).first).to_be_visible()
    assert (len(provider.asked), len(provider.redeemed)) == (1, 1)


async def test_signing_out_forgets_and_lets_choose_another_account(page: Page, provider: SignInProvider) -> None:
    await signed_in(page)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("#opened")).to_be_hidden()
    await expect(page.locator("#who")).to_be_hidden()
    assert ANN not in await page.locator("#keys-table").all_text_contents()
    await signed_in(page)
    assert [asked.get("prompt") for asked in provider.asked] == [None, "select_account"]


async def test_what_was_changed_is_recorded_with_the_name(page: Page, office: Office) -> None:
    await signed_in(page)
    await page.locator("#key-caller").fill("team-a")
    await page.get_by_role("button", name="Make a key").click()
    await expect(page.locator(".secret")).to_be_visible()
    [change] = await office.database.changes(9)
    assert (change.action, change.actor.id, change.actor.name) == ("key_made", f"user:{TENANT}/{PERSON}", ANN)


async def test_the_key_still_opens_and_a_reload_asks_again(
    page: Page, office: Office, provider: SignInProvider
) -> None:
    await unlock(page)
    await expect(page.locator("#opened")).to_be_visible()
    await expect(page.get_by_role("button", name="Lock")).to_be_visible()
    await page.reload()
    await signed_in(page)
    await page.reload()
    await expect(page.get_by_role("button", name="Sign in with Microsoft")).to_be_visible()
    await expect(page.locator("#opened")).to_be_hidden()


async def test_only_this_page_may_connect_to_the_login_service(
    page: Page, office: Office, provider: SignInProvider, watch: Watch
) -> None:
    policies = {}
    for path in ("admin", "", "web/admin.js", "admin/openapi.json"):
        answer = await page.request.get(f"{office.relay.url}/{path}")
        policy = answer.headers.get("content-security-policy", "")
        policies[path] = next(part for part in policy.split("; ") if part.startswith("connect-src"))
    assert policies.pop("admin") == f"connect-src 'self' {provider.authority}"
    assert set(policies.values()) == {"connect-src 'self'"}
    watch.expected.append("Content Security Policy")
    watch.expected.append("Refused to connect")
    assert await page.evaluate("fetch('http://127.0.0.1:9/x').then(() => 'got', (error) => error.name)") == "TypeError"


async def test_without_a_secure_context_the_page_says_why(page: Page, office: Office) -> None:
    await page.add_init_script("Object.defineProperty(Crypto.prototype, 'subtle', { get: () => undefined });")
    await page.reload()
    await expect(page.get_by_text("needs HTTPS")).to_be_visible()
    await expect(page.get_by_role("button", name="Sign in with Microsoft")).to_be_hidden()
    await expect(page.locator("#admin-key")).to_be_focused()
    await opened(page, "keys")


async def test_a_login_service_that_is_away(page: Page, provider: SignInProvider, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    await page.route("**/oauth2/v2.0/token", lambda route: route.abort())
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_contain_text("login service cannot be reached")
    await settle(page)
