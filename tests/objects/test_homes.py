"""Where a request has to go, and what it may not name."""

import pytest
from tests.fakes import FakeObjectStore
from tests.objects.test_registry import ANN, BOB, EAST, WEST
from tests.rows import rows

from chukei.accounts.objects import owner_of_group
from chukei.errors import CallerError, Unavailable
from chukei.objects.homes import Home, homes_of
from chukei.objects.references import Reference
from chukei.objects.registry import Objects

pytestmark = pytest.mark.anyio

RESPONSE = Reference("response", "resp_1", "previous_response_id")
ITEM = Reference("item", "msg_1", "input", needed=False)


async def test_the_first_known_reference_decides_the_home() -> None:
    objects = Objects([FakeObjectStore({"resp_1": EAST, "msg_1": WEST})])
    unknown = Reference("file", "file-1", "file_id")
    assert await homes_of(objects, [unknown, RESPONSE, ITEM], [ANN]) == (Home(EAST.identity, RESPONSE), [unknown])
    assert await homes_of(objects, [unknown, ITEM], [ANN]) == (Home(WEST.identity, ITEM), [unknown])
    assert await homes_of(objects, [unknown], [ANN]) == (None, [unknown])


@rows(
    ("reference", "status", "code", "message"),
    [
        (RESPONSE, 400, "previous_response_not_found", "Previous response with id 'resp_1' not found."),
        (
            Reference("conversation", "conv_1", "conversation"),
            404,
            "conversation_not_found",
            "Conversation with id 'conv_1' not found.",
        ),
        (ITEM, 404, "item_not_found", "Item with id 'msg_1' not found."),
        (Reference("file", "file-1", "file_id"), 404, "file_not_found", "No such File object: file-1"),
        (
            Reference("vector_store", "vs_1", "vector_store_ids"),
            404,
            "vector_store_not_found",
            "Vector store with id 'vs_1' not found.",
        ),
        (
            Reference("item", "enc_1", "encrypted_content"),
            400,
            "invalid_encrypted_content",
            "The encrypted content could not be verified.",
        ),
    ],
)
@rows("owners", [[BOB], [owner_of_group("staff"), BOB]])
async def test_what_is_anothers_is_not_found(
    reference: Reference, status: int, code: str, message: str, owners: list[str]
) -> None:
    objects = Objects([FakeObjectStore({reference.id: EAST})])
    for references in ([reference], [Reference("file", "file-0", "file_id"), reference]):
        with pytest.raises(CallerError) as caught:
            await homes_of(objects, references, owners)
        assert (caught.value.status, caught.value.code, caught.value.message) == (status, code, message)
    assert (await homes_of(objects, [reference], [*owners, ANN])).home is not None


async def test_nobody_gets_what_may_be_anothers_while_a_store_is_away() -> None:
    store = FakeObjectStore({"resp_1": EAST})
    objects = Objects([store])
    store.away = True
    with pytest.raises(Unavailable) as caught:
        await homes_of(objects, [RESPONSE], [ANN])
    assert (caught.value.status, caught.value.code) == (503, "objects_unavailable")
    assert dict(caught.value.headers)[b"retry-after"] == b"1"
    assert await homes_of(objects, [ITEM], [ANN]) == (None, [ITEM]), "the whole item comes along"


async def test_what_an_earlier_version_recorded_without_an_owner_is_for_whoever_asks_first() -> None:
    objects = Objects([FakeObjectStore({"resp_1": EAST._replace(owner="")})])
    assert await homes_of(objects, [RESPONSE], [BOB]) == (Home(EAST.identity, RESPONSE), [RESPONSE])
