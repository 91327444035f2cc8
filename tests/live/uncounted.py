"""What docs/quotas.md says a prompt is charged that was sent and not counted, worked out apart from the relay."""

import math
from string import ascii_lowercase


def charge_of(body: bytes) -> int:
    """Return the tokens of a request's body in ASCII: four small letters or spaces each, of all else one and a half."""
    small = sum(body.count(letter.encode()) for letter in ascii_lowercase + " ")
    return math.ceil(small / 4 + (len(body) - small) * 2 / 3) + 1
