"""The source to which a request's failures are attributed."""

from collections.abc import Hashable


class Source:
    """A request's caller; or its content if callers are not distinguished, in which case ``caller`` is None.

    ``counted`` says that a failure of this request was already counted against one deployment. Its further failures are
    attributed to the request, not to other deployments.
    """

    __slots__ = ("_content", "caller", "counted")

    def __init__(self, caller: str | None, content: bytes) -> None:
        self.caller = caller
        self._content = content
        self.counted = False

    @property
    def key(self) -> Hashable:
        """A key that identifies the source. Python's hash has a secret seed, so collisions cannot be constructed."""
        return self.caller if self.caller is not None else hash(self._content)

    @property
    def shown(self) -> str:
        """The source's name for the log."""
        return self.caller if self.caller is not None else "an unidentified caller"
