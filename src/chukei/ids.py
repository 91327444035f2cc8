"""Globally unique ids: 128 random bits, as in a random UUID (RFC 9562 §5.4), or 64 for a span.

They come from a generator that is seeded once from the operating system, which saves a system call for each id. They
are unique but predictable: do not use them as secrets.
"""

import os
import random

_generator = random.Random()  # noqa: S311 - see above; separate from the global one, which other code may seed
_draw = _generator.getrandbits

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_generator.seed)


def new_id() -> str:
    """Return 32 hexadecimal digits."""
    return f"{_draw(128):032x}"


def new_span_id() -> str:
    """Return 16 hexadecimal digits. All zeros would mean no span (W3C Trace Context), which has no chance to occur."""
    return f"{_draw(64):016x}"
