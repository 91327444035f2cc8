"""Removal of the relay's own credentials from upstream messages. Pure."""

import json
import re

from chukei.model import Headers
from chukei.stream import sse

MASK = "[redacted]"
"""Replaces a credential of the relay."""

SHORTEST_SECRET = 6
"""Characters of the shortest credential that is redacted; shorter ones would match by chance. Azure's have 32 or 84."""

_CREDENTIALS = frozenset({b"api-key", b"authorization"})
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class Redactor:
    """Removes the credentials of one request from its upstream's messages, also if JSON escapes them."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    @property
    def _secrets(self) -> list[str]:
        # Computed only on use: most requests never fail.
        found = (
            value.removeprefix(b"Bearer ").decode("latin-1") for name, value in self._headers if name in _CREDENTIALS
        )
        return [secret for secret in found if len(secret) >= SHORTEST_SECRET]

    def text(self, text: str) -> str:
        """Return a text with all credentials replaced."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def fields(self, headers: Headers) -> Headers:
        """Return header fields, without fields that contain a credential."""
        secrets = [secret.encode("latin-1") for secret in self._secrets]
        return [field for field in headers if not any(secret in field[1] for secret in secrets)]

    def json(self, raw: bytes) -> bytes:
        """Return JSON with all credentials replaced; the same bytes if it contains none.

        Each string is examined separately, so nesting, duplicate names and invalid JSON do not matter.
        """
        secrets = self._secrets
        if not secrets:
            return raw

        def cleaned(found: re.Match[bytes]) -> bytes:
            if b"\\" not in found[0]:
                return found[0]
            try:
                text = json.loads(found[0].decode("utf-8", "replace"), strict=False)
            except ValueError:
                return found[0]
            return json.dumps(self.text(text)).encode() if any(secret in text for secret in secrets) else found[0]

        return self._plain(_STRING.sub(cleaned, raw) if b"\\" in raw else raw)

    def events(self, block: bytes) -> bytes:
        """Return whole server-sent events with all credentials replaced; the same bytes if they contain none."""
        return b"".join(map(self._event, sse.split(block)))

    def _event(self, event: bytes) -> bytes:
        data = sse.data_of(event)
        cleaned = self.json(data)
        if cleaned == data:
            return self._plain(event)
        lines = [line for line in sse.LINE_END.split(event) if line and not line.startswith(b"data")]
        return self._plain(b"".join(line + b"\n" for line in lines)) + sse.write(cleaned)

    def _plain(self, raw: bytes) -> bytes:
        for secret in self._secrets:
            raw = raw.replace(secret.encode("latin-1"), MASK.encode())
        return raw
