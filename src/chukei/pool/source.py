"""Who provokes what one request makes deployments do."""

from collections.abc import Hashable


class Source:
    """A request's caller; or its content, where callers are not told apart and ``caller`` is None.

    ``counted`` says that one deployment has been blamed for this request already: what else it makes others do is the
    request's own affair.
    """

    __slots__ = ("_content", "caller", "counted")

    def __init__(self, caller: str | None, content: bytes) -> None:
        self.caller = caller
        self._content = content
        self.counted = False

    @property
    def key(self) -> Hashable:
        """What tells it from every other. A hash of Python's has a secret seed, so nobody can make two that agree."""
        return self.caller if self.caller is not None else hash(self._content)

    @property
    def shown(self) -> str:
        """What a log may call it."""
        return self.caller if self.caller is not None else "an unidentified caller"
