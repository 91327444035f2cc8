"""The ids of items in an answer that flows: of a conversation, or of what was said to a response. Pure.

Whoever has seen an item's id may refer to it, so it must be known whose the item is. Such an answer may hold pictures.
So their bytes are searched on their way. A quotation mark in a JSON string has a backslash, so no text holds a name.
"""

import re

from chukei.objects.references import LONGEST_ID, MOST_REFERENCES, is_item

_ID = re.compile(rb'"id"[ \t\r\n]{0,16}:[ \t\r\n]{0,16}"([A-Za-z0-9_-]{1,%d})"' % LONGEST_ID)
_WIDEST = LONGEST_ID + 64


class ItemFinder:
    """Finds ids in the parts of one answer. ``ids`` are those found, in order and at most ``MOST_REFERENCES``."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Take the next part."""
        text = self._tail + data
        for found in _ID.finditer(text):
            id = found[1].decode()
            if is_item(id) and len(self.ids) < MOST_REFERENCES:
                self.ids[id] = None
        self._tail = text[-_WIDEST:]
