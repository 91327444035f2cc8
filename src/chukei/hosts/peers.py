"""How the worker processes of one relay ask each other."""

from collections.abc import Callable


class Alone:
    """Implements the Peers port for a relay with one process."""

    def __init__(self) -> None:
        self._handlers: dict[str, Callable[[bytes], bytes]] = {}

    def answer(self, subject: str, handler: Callable[[bytes], bytes], *, last: bool = False) -> None:
        """See the Peers port."""
        self._handlers[subject] = handler

    async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
        """See the Peers port."""
        handler = self._handlers.get(subject)
        return [handler(argument)] if handler is not None else []
