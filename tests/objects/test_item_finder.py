"""The ids of items in the parts of an answer."""

import json

from tests.rows import rows

from chukei.objects.item_finder import ItemFinder

ITEMS = [
    {"id": "msg_1", "type": "message", "content": [{"type": "input_text", "text": '{"id": "msg_said"} \\'}]},
    {"type": "function_call", "call_id": "call_1", "id": "fc_1"},
    {"id": "new_" + "0f" * 20},
    {"id": "resp_" + "0f" * 20},
    {"id": 7, "metadata": {"id": "x"}},
]
PAGE = {"object": "list", "data": ITEMS, "first_id": "msg_first"}


@rows("indent", [None, 2])
@rows("size", [1, 7, 100_000])
def test_ids_are_found_however_the_answer_is_cut(indent: int | None, size: int) -> None:
    text, finder = json.dumps(PAGE, indent=indent).encode(), ItemFinder()
    for begin in range(0, len(text), size):
        finder.feed(text[begin : begin + size])
    assert list(finder.ids) == ["msg_1", "fc_1", "new_" + "0f" * 20]
