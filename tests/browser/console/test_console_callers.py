"""Callers and groups in the console: found, looked into, given other limits."""

import re
from datetime import UTC, datetime

import pytest
from playwright.async_api import Locator, Page, expect
from tests.browser import admin_scripts as scripts
from tests.browser.axe import violations
from tests.browser.conftest import Watch
from tests.browser.console.office import Office, assert_legible, cells, opened, used
from tests.browser.payloads import BREAKOUTS, HANDLERS

from chukei.accounts.changes import Actor
from chukei.accounts.ledger import Entry
from chukei.accounts.limits import Amounts
from chukei.accounts.overrides import Override, written
from chukei.callers.keys import Peppers
from chukei.callers.registry import KeyRegistry
from chukei.model import Caller, CallerKind

pytestmark = pytest.mark.anyio

PERSON = "user:contoso/6f1c"
NOTHING = {"input": 0, "output": 0, "cost": 0}


def usage() -> list[Entry]:
    """What three callers used, two of them today."""
    return [
        *used("team-a", "gpt-4o", count=3, input=1000, output=100, cost=3_000_000, group="research"),
        *used("team-a", "gpt-4o", end="refused", status=429, code="rate_limit_exceeded", requests=7, **NOTHING),
        *used("team-a", "gpt-4o", end="timeout", status=504, code="upstream_timeout", **NOTHING),
        *used("team-b", "o3", days=9, input=500, output=700, group=None),
        *used(PERSON, "o3", input=5, output=5, group="research"),
    ]


def row_of(page: Page, caller: str) -> Locator:
    """The row of a caller in the list."""
    return page.locator("#callers-table tbody tr").filter(has=page.get_by_role("link", name=caller, exact=True))


async def names(page: Page) -> list[str]:
    """The callers in the list."""
    return [row[0] for row in await cells(page.locator("#callers-table"))]


async def set_rules(office: Office, subject: str, rules: Override) -> None:
    """Set rules as another administrator does."""
    await office.database.change_rules(subject, lambda _: written(rules), actor=Actor("other"), time=datetime.now(UTC))
    assert office.relay.relay.rules is not None
    await office.relay.relay.rules.refresh()


async def test_callers_with_their_usage(page: Page, office: Office) -> None:
    entries = usage()
    await office.database.add(entries)
    await opened(page, "callers")
    assert await names(page) == ["team-a", PERSON, "team-b"]
    [first, _, last] = await cells(page.locator("#callers-table"))
    assert first[1:7] == ["research", "11", "7 (63.6%)", "1 (9.1%)", "3,300", "9.00"]
    assert (last[2:6], last[7]) == (["0", "0", "0", "0"], entries[-2].time.strftime("%Y-%m-%d %H:%M UTC"))
    await page.get_by_label("Time").select_option("30d")
    await expect(row_of(page, "team-b")).to_contain_text("1,200")
    await row_of(page, "team-a").get_by_role("link", name="7 (63.6%)").click()
    await expect(page.locator("[data-plot=causes]")).to_contain_text("Over a limit per minute")
    await expect(page.get_by_label("Name")).to_have_value("team-a")


async def test_the_relay_searches(page: Page, office: Office) -> None:
    for number in range(120):
        await office.database.add(used(f"team-{number:03}", "m", input=number))
    await opened(page, "callers")
    await expect(page.locator("#callers-table tbody tr")).to_have_count(50)
    await expect(page.locator("#callers-table")).to_contain_text("50 of 120 callers")
    await page.get_by_role("button", name="Show more").click()
    await expect(page.locator("#callers-table tbody tr")).to_have_count(100)
    await expect(page.locator(":focus")).to_have_text("team-069")
    await page.get_by_label("Find a caller").press_sequentially("TEAM-00")
    await expect(page.locator("#callers-table tbody tr")).to_have_count(10)
    await expect(page).to_have_url(re.compile(re.escape("#/callers?find=TEAM-00&since=7d") + "$"))
    await expect(page.get_by_label("Find a caller")).to_be_focused()
    await row_of(page, "team-009").get_by_role("link", name="team-009").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("team-009")
    await page.go_back()
    await expect(page.locator("#callers-table tbody tr")).to_have_count(10)
    await page.get_by_label("Find a caller").fill("nobody")
    await expect(page.locator("#callers-table")).to_contain_text("No caller has such a name.")


async def test_a_callers_page(page: Page, office: Office) -> None:
    await office.database.add(usage())
    registry = KeyRegistry(office.database, Peppers(), lambda: datetime.now(UTC), groups=("research",))
    made = await registry.create("team-a", actor=Actor("test"), group="research")
    await set_rules(office, "caller:team-a", Override({"tokens_per_day": 1000}))
    relay = office.relay.relay
    policy = relay.gateway.services.policies.of(Caller("team-a", CallerKind.KEY, ("research",)))
    await relay.accounting.quotas.reserve("r", policy.subjects, Amounts(tokens=950))
    await opened(page, "callers/team-a")
    limits = page.locator("[data-part=limits]")
    await expect(limits).to_contain_text(f"In researchKey {made.key.id}")
    assert [[row[0], *row[1:4:2], row[5]] for row in await cells(limits)] == [
        ["Tokens per day", "1,000", "50 (5%)", "Administratorscallers.team-a.limits.tokens_per_day"],
        [
            "Concurrent requestsAll of research together",
            "100",
            "99 (99%)",
            "Configurationgroups.research.total.concurrent",
        ],
    ]
    assert await cells(page.locator("[data-part=causes]")) == [
        ["Over a limit per minute, or of concurrent requestsrate_limit_exceeded", "7", "0"],
        ["Azure took too longupstream_timeout", "0", "1"],
    ]
    assert [row[:3] for row in await cells(page.locator("[data-part=keys]"))] == [[made.key.id, "research", "active"]]
    await expect(page.locator("[data-total=requests]")).to_contain_text("7 refused (63.6%)")
    await page.locator("[data-part=usage]").get_by_role("link", name="Usage in detail").click()
    await expect(page.get_by_label("Name")).to_have_value("team-a")


async def test_a_name_with_slashes_has_a_page(page: Page, office: Office, watch: Watch) -> None:
    watch.expected.append("404")
    await office.database.add(usage())
    await opened(page, "callers")
    await page.get_by_role("link", name=PERSON).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(PERSON)
    await expect(page.locator("[data-part=limits]")).to_contain_text("In researchAs in its last request")
    await opened(page, f"callers/{PERSON}")  # as somebody may type it
    await expect(page.get_by_role("heading", level=1)).to_have_text(PERSON)
    await opened(page, "callers")
    await page.evaluate("location.hash = '#/callers/nobody'")
    await expect(page.get_by_role("alert")).to_contain_text("No such caller is known.")


async def test_a_caller_gets_a_lower_limit_and_loses_it_again(page: Page, office: Office) -> None:
    await office.database.add(usage())
    await opened(page, "callers/team-a")
    await page.get_by_role("button", name="Change limits or groups").click()
    field = page.get_by_label("Tokens per minute")
    await expect(page.get_by_label("Requests per minute")).to_be_focused()
    await expect(page.locator(".limits-form")).to_contain_text("within six seconds")
    await field.fill("500")
    await page.get_by_label("Cost per month").fill("2.5")
    await page.get_by_role("button", name="Save").click()
    limits = page.locator("[data-part=limits]")
    await expect(limits).to_contain_text("callers.team-a.limits.tokens_per_minute")
    assert [row[1] for row in await cells(limits)][:2] == ["500", "2.50"]
    await expect(page.locator(":focus")).to_have_text("Change limits or groups")
    assert set(await office.database.rules()) == {"caller:team-a"}
    caller = Caller("team-a", CallerKind.KEY, ())
    assert office.relay.relay.gateway.services.policies.of(caller).rules.limits.tokens_per_minute == 500
    await page.get_by_role("button", name="Change limits or groups").click()
    await expect(field).to_have_value("500")
    await expect(page.get_by_label("Cost per month")).to_have_value("2.5")
    await expect(page.locator(".limits-form")).to_contain_text("Now 500, set by administrators")
    await field.fill("")
    await page.get_by_label("Cost per month").fill("")
    await page.get_by_role("button", name="Save").click()
    await expect(limits).to_contain_text("All of research together")
    await expect(limits).not_to_contain_text("Tokens per minute")
    assert await office.database.rules() == {}
    assert len(await office.database.changes(10)) == 2


async def test_a_group_gets_other_limits(page: Page, office: Office) -> None:
    await set_rules(office, "group:research", Override({"concurrent": 7}))
    await opened(page, "callers")
    card = page.locator("[data-group=research]")
    assert [row[:2] for row in await cells(card)] == [["Concurrent requests", "7"], ["Concurrent requests", "100"]]
    await card.get_by_role("button", name="Change limits").click()
    form = page.locator(".limits-form")
    [of_each, together] = await form.get_by_role("group").all()
    await expect(of_each.get_by_label("Concurrent requests")).to_have_value("7")
    await expect(together.get_by_label("Concurrent requests")).to_have_value("")
    await expect(together).to_contain_text("Now 100, from groups.research.total.concurrent")
    await together.get_by_label("Concurrent requests").fill("20")
    await form.get_by_role("button", name="Save").click()
    await expect(card).to_contain_text("groups.research.total.concurrent")
    assert [row[1] for row in await cells(card)] == ["7", "20"]
    rules = await office.database.rules()
    assert rules == {"group:research": '{"limits":{"concurrent":7},"total":{"concurrent":20}}'}
    await card.get_by_role("button", name="Change limits").click()
    await form.get_by_role("button", name="Save").click()  # nothing differs
    await expect(form).to_have_count(0)
    assert len(await office.database.changes(9)) == 2
    await card.get_by_role("button", name="Change limits").click()
    await form.get_by_role("button", name="Cancel").click()
    await expect(card.get_by_role("button", name="Change limits")).to_be_focused()


async def test_what_is_typed_outlives_another_language_and_a_look_elsewhere(page: Page, office: Office) -> None:
    await office.database.add(usage())
    await opened(page, "callers/team-a")
    await page.get_by_role("button", name="Change limits or groups").click()
    form = page.locator(".limits-form")
    tokens, groups = form.locator("#set-limits-tokens_per_minute"), form.get_by_role("checkbox")
    await tokens.fill("123")
    await groups.first.uncheck()
    await groups.last.check()
    await page.locator("#language").select_option("ja")
    await expect(form).to_contain_text("毎分のトークン数")
    await expect(tokens).to_have_value("123")
    await expect(groups.last).to_be_checked()
    await expect(groups.last).to_be_enabled()
    await page.locator("#language").select_option("en")
    await set_rules(office, "caller:team-a", Override({"tokens_per_minute": 9, "concurrent": 5}))
    await page.get_by_role("link", name="Usage", exact=True).click()
    await page.go_back()
    await expect(form).to_contain_text("Now 5, set by administrators")
    await expect(form.locator("#set-limits-concurrent")).to_have_value("5")
    await expect(tokens).to_have_value("123")
    await page.get_by_role("button", name="Save").click()
    await expect(form).to_have_count(0)
    limits = '{"groups":["research"],"limits":{"concurrent":5,"tokens_per_minute":123}}'
    assert await office.database.rules() == {"caller:team-a": limits}, "what was not touched is what was there last"


async def test_what_is_typed_for_one_group_is_not_given_to_another(page: Page, office: Office) -> None:
    await opened(page, "callers")
    await page.locator("[data-group=research]").get_by_role("button", name="Change limits").click()
    await page.locator(".limits-form").get_by_label("Requests per minute").first.fill("77")
    await page.locator("#language").select_option("ja")
    field = page.locator(".limits-form #set-limits-requests_per_minute")
    await expect(page.locator(".limits-form")).to_contain_text("メンバーごとの上限")
    await expect(field).to_have_value("77")
    await page.locator("#language").select_option("en")
    await page.locator("[data-group=everybody]").get_by_role("button", name="Change limits").click()
    await expect(page.locator(".limits-form")).to_contain_text("Change the limits of Everybody")
    await expect(field).to_have_value("")


async def test_a_list_that_cannot_show_all_says_how_to_find_the_others(page: Page, office: Office) -> None:
    for first in range(0, 1002, 167):
        await office.database.add([each for number in range(first, first + 167) for each in used(f"t-{number}", "m")])
    await opened(page, "callers")
    for shown in (100, 200, 400, 800, 1000):
        await page.get_by_role("button", name="Show more").click()
        await expect(page.locator("#callers-table tbody tr")).to_have_count(shown)
    await expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    await expect(page.locator("#callers-table > .quiet")).to_contain_text("1,000 of 1,002 callers are shown")
    await expect(page.locator("#callers-table > .quiet")).to_contain_text("A part of a name")


async def test_a_limit_that_makes_no_sense_is_not_sent(page: Page, office: Office) -> None:
    await office.database.add(usage())
    await opened(page, "callers/team-a")
    await page.get_by_role("button", name="Change limits or groups").click()
    for wrong in ("-1", "1.5"):
        await page.get_by_label("Tokens per minute").fill(wrong)
        await page.get_by_role("button", name="Save").click()
        assert await page.get_by_label("Tokens per minute").evaluate("field => field.matches(':invalid')")
    assert await office.database.rules() == {}
    await page.get_by_label("Tokens per minute").fill("0")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("[data-part=limits]")).to_contain_text("0 (0%)")


async def test_who_may_not_change_gets_no_buttons(page: Page, office: Office) -> None:
    await office.database.add(usage())
    session = {"actor": "user:tenant/bob", "name": "bob@contoso.com", "may_change": False}
    await page.route("**/admin/session", lambda route: route.fulfill(json=session))
    await opened(page, "callers")
    await expect(page.locator("[data-group=research]")).to_be_visible()
    assert await page.get_by_role("button", name="Change limits").count() == 0
    await opened(page, "callers/team-a")
    assert await page.get_by_role("button", name="Change limits").count() == 0


async def test_hostile_names_are_text(page: Page, office: Office) -> None:
    for name in (*HANDLERS, *BREAKOUTS):
        await office.database.add(used(name, name, code=name, group=name, end="refused", status=400))
    await opened(page, "callers")
    await expect(page.locator("#callers-table tbody tr").first).to_be_visible()
    await page.locator("#callers-table tbody th a").first.click()
    await expect(page.locator("[data-part=causes] tbody tr")).to_have_count(1)
    assert await page.evaluate("window.ran") == []


async def test_a_caller_is_put_into_a_group_and_taken_out_again(page: Page, office: Office) -> None:
    await office.database.add(usage())
    await opened(page, "callers/team-b")
    await expect(page.locator("[data-part=limits]")).to_contain_text("In no group")
    await page.get_by_role("button", name="Change limits or groups").click()
    assert await page.get_by_label("research").is_disabled()
    await page.get_by_label("Those of its key or token").uncheck()
    await page.get_by_label("research").check()
    await page.get_by_role("button", name="Save").click()
    limits = page.locator("[data-part=limits]")
    await expect(limits).to_contain_text("In researchAdministratorscallers.team-b.groups")
    assert await office.database.rules() == {"caller:team-b": '{"groups":["research"]}'}
    await page.get_by_role("button", name="Change limits or groups").click()
    await expect(page.get_by_role("checkbox", name="research")).to_be_checked()
    await page.get_by_label("Those of its key or token").check()
    await page.get_by_role("button", name="Save").click()
    await expect(limits).to_contain_text("In no group")
    assert await office.database.rules() == {}


async def test_nothing_keeps_anybody_out(page: Page, office: Office) -> None:
    await office.database.add(usage())
    await opened(page, "callers/team-a")
    assert await violations(page) == []
    await page.get_by_role("button", name="Change limits").click()
    assert await violations(page) == []
    await opened(page, "usage?since=24h&measure=requests&outcome=refused")
    assert await violations(page) == []


async def test_it_fits_a_small_screen(page: Page, office: Office) -> None:
    await office.database.add(usage())
    await set_rules(office, f"caller:{PERSON}", Override({"tokens_per_day": 2**53, "money_per_month": 10**15}))
    await page.set_viewport_size({"width": 320, "height": 640})
    await opened(page, f"callers/{PERSON}")
    for press in (None, "Change limits or groups"):
        if press is not None:
            await page.get_by_role("button", name=press).click()
        await assert_legible(page)
        assert await page.evaluate(scripts.NAMELESS) == []


async def test_a_word_is_searched_for_when_it_is_written(page: Page, office: Office) -> None:
    await office.database.add(used("\u691c\u7d22\u30c1\u30fc\u30e0", "m"))
    await office.database.add(used("other", "m"))
    await opened(page, "callers")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/admin/callers?" in request.url else None)
    field = page.get_by_label("Find a caller")
    await field.focus()
    session = await page.context.new_cdp_session(page)
    for text in ("\u3051", "\u3051\u3093", "\u3051\u3093\u3055\u304f"):
        composed = {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
        await session.send("Input.imeSetComposition", composed)
    await page.wait_for_timeout(600)
    assert asked == []
    await session.send("Input.insertText", {"text": "\u691c\u7d22"})
    await expect(page.locator("#callers-table tbody tr")).to_have_count(1)
    assert await names(page) == ["\u691c\u7d22\u30c1\u30fc\u30e0"]
    assert len(asked) == 1
