"""Administrators' work on keys. Making, replacing and ending them is in test_api.py."""

import pytest
from tests.admin.test_api import Office, office

pytestmark = pytest.mark.anyio

__all__ = ["office"]


async def test_keys_are_searched_at_the_database_and_paged(office: Office) -> None:
    """What is found is in tests/adapters/ledger/test_databases.py."""
    wanted = [("Team-Search", None, "nightly"), ("team-b", "research", None), ("other", None, "for SEARCH")]
    for caller, group, note in wanted:
        await office.json("POST", "/keys", body={"caller": caller, "group": group, "note": note})
    copies = office.ledger.copies
    found = await office.json("GET", "/keys", "find=%20SEARCH%20&state=active")
    assert {key["caller"] for key in found["data"]} == {"Team-Search", "team-b", "other"}
    pages = [await office.json("GET", "/keys", f"limit=2&offset={offset}") for offset in (0, 2, 4)]
    assert [(len(page["data"]), page["rows"]) for page in pages] == [(2, 3), (1, 3), (0, 3)]
    assert len({key["id"] for page in pages for key in page["data"]}) == 3
    assert office.ledger.copies == copies, "not all keys are read for it"
    for query in ("state=gone", "limit=0", "find=a&find=b", "offset=-1", "offset=1e3"):
        assert (await office.refusal("GET", "/keys", query)).status == 400


async def test_a_note_is_kept_whole_or_refused(office: Office) -> None:
    made = await office.json("POST", "/keys", body={"caller": "a", "note": "é" * 200})
    assert made["note"] == "é" * 200
    refusal = await office.refusal("POST", "/keys", body={"caller": "a", "note": "é" * 201})
    assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_value", "note")
    assert refusal.message == "The note has 201 characters; 200 are the most."
    assert len(office.ledger.rows) == 1
