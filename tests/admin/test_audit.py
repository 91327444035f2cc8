"""The record of changes: what is in it, what is not, and how it is read."""

import json

import pytest
from tests.admin.test_api import ANN, Office, office

from chukei.accounts.changes import Action, Actor, Change

pytestmark = pytest.mark.anyio

__all__ = ["office"]


async def test_an_actor_is_recorded_with_every_change(office: Office) -> None:
    made = await office.json("POST", "/keys", body={"caller": "team-a"})
    await office.json("POST", f"/keys/{made['id']}/rotate")
    await office.json("POST", f"/keys/{made['id']}/revoke")
    await office.json("DELETE", "/usage", "caller=team-a")
    await office.json("POST", "/rules", body={"subject": "group:research", "limits": {"concurrent": 2}})
    await office.json("PUT", "/log-level", body={"level": "debug", "seconds": 600})
    await office.json("POST", "/reload")
    found = await office.json("GET", "/changes")
    assert [change["subject"].partition(":")[0] for change in found["data"]] == [
        "configuration",
        "logger",
        "group",
        "caller",
        "key",
        "key",
        "key",
    ]
    assert {(change["actor"], change["name"]) for change in found["data"]} == {(ANN.id, ANN.name)}
    assert {change["action"] for change in found["data"]} == set(Action)
    reloaded, level = found["data"][:2]
    assert (reloaded["subject"], reloaded["after"]["changed"]) == ("configuration", ["pool.attempts"])
    assert (level["subject"], level["before"], level["after"]) == (
        "logger:chukei",
        {"level": "info"},
        {"level": "info", "seconds": 600.0},
    )
    assert made["key"][17:] not in json.dumps(found)


async def test_changes_are_paged(office: Office) -> None:
    for caller in "abcde":
        await office.json("POST", "/keys", body={"caller": caller})
    first = await office.json("GET", "/changes", "limit=2")
    assert ([each["number"] for each in first["data"]], first["more"]) == ([5, 4], True)
    rest = await office.json("GET", "/changes", "before=4")
    assert ([each["number"] for each in rest["data"]], rest["more"]) == ([3, 2, 1], False)
    for query in ("limit=0", "limit=1001", "limit=x", "before=0", f"before={2**63}", "after=1"):
        assert (await office.refusal("GET", "/changes", query)).status == 400


async def test_a_reload_is_not_held_up_by_a_database_that_is_away(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.ledger.away = True
    assert (await office.json("POST", "/reload"))["version"] == "0123"
    assert f"a change could not be recorded: reload of configuration by {ANN.id}" in caplog.text


async def test_what_another_program_wrote_is_left_out(office: Office) -> None:
    for text in ("[]", "{", "7", '{"deep":' * 5000, None):
        await office.ledger.record(Change("strange", "x", Actor("y"), office.now, text, '{"is": "shown"}'))
    found = await office.json("GET", "/changes")
    assert [(each["before"], each["after"]) for each in found["data"]] == 5 * [(None, {"is": "shown"})]
