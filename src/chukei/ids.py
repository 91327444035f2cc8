"""Ids that no other process, replica or machine makes too: 128 random bits, as of a random UUID (RFC 9562 §5.4).

They come from a generator that the operating system has seeded once, since asking the system for each would cost a
system call. So they are unique but no secrets: who has seen many can tell the next.
"""

import os
import random

_generator = random.Random()  # noqa: S311 - see above; not the one that others may seed
_draw = _generator.getrandbits

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_generator.seed)


def new_id() -> str:
    """Return 32 hexadecimal digits."""
    return f"{_draw(128):032x}"
