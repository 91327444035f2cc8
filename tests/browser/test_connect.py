"""How to connect a real resource: told where only the simulator answers, and nowhere else."""

import re

import pytest
from playwright.async_api import Page, expect
from tests import markdown
from tests.browser.scripted_server import ScriptedServer
from tests.browser.steps import offered

pytestmark = pytest.mark.anyio


async def test_it_is_told_beside_the_simulator_only(page: Page, server: ScriptedServer) -> None:
    await expect(offered(page)).to_have_count(2)
    summary = page.get_by_text("Connect your Azure OpenAI resource")
    await expect(summary).to_be_hidden()
    server.simulator = True
    await page.reload()
    await expect(summary).to_be_visible()
    await expect(page.locator(".connect pre")).to_be_hidden()
    await summary.press("Enter")
    await expect(page.locator(".connect pre")).to_be_visible()
    await page.locator(".connect").get_by_role("button", name="Copy").click()
    await expect(page.locator("#announcer")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == await page.locator(".connect code").text_content()
    await page.locator("#language").select_option("ja")
    await expect(page.get_by_text("Azure OpenAI リソースに接続する")).to_be_visible()


async def test_the_commands_are_those_of_the_documentation(page: Page) -> None:
    commands = (await page.locator(".connect code").text_content() or "").split("\n")
    variables = [found[1] for line in commands if (found := re.match(r"export (\w+)=", line))]
    assert variables == ["AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_DEPLOYMENT"]
    readme = markdown.read("README.md")
    assert [line for line in commands[:3] if line not in readme] == []
    assert commands[3].split("  # or: ") == ["scripts/run", "chukei serve"]
