"""A relay's live view, event by event, over HTTP."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import msgspec

from chukei.liveview.schema import Live

SILENT_SECONDS = 10.0
"""Seconds without an event after which the connection counts as broken; one comes every second."""

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of one event, at most."""

_EVENT = b"data: "


class Refused(Exception):
    """The relay will not show it: trying again does not help. The text says why."""


class Away(Exception):
    """The relay cannot be reached now, or has ended the stream. The text says why."""


class Source:
    """The events of the relay at an address.

    Raises:
        Refused: the address or the key is not one.
    """

    def __init__(self, url: str, key: str) -> None:
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
            self._kind = kinds[parts.scheme]
            self._host, self._port = (parts.hostname or "").encode("idna").decode(), parts.port
            if not self._host or not f"{self._host}{parts.path}".isprintable():
                raise ValueError
        except (KeyError, ValueError):
            raise Refused(f"{url!r} is not an http:// or https:// address") from None
        if not (key.isascii() and key.isprintable()):
            raise Refused("CHUKEI_ADMIN__API_KEY has a character that no key has")
        self._key = key
        self._path = quote(parts.path.rstrip("/"), safe="/%") + "/admin/live/events"
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"

    def events(self) -> Iterator[bytes]:
        """Connect, and yield the JSON of each event.

        Raises:
            Refused: the relay refuses, or it has no live view.
            Away: it cannot be reached, or the stream has ended.
        """
        connection = self._kind(self._host, self._port, timeout=SILENT_SECONDS)
        try:
            connection.request("GET", self._path, headers={"authorization": f"Bearer {self._key}"})
            answer = connection.getresponse()
            self._check(answer)
            yield from _events(answer)
        except TimeoutError:
            raise Away(f"{self.url} has been silent for {SILENT_SECONDS:.0f} s") from None
        except ssl.SSLCertVerificationError as error:
            raise Refused(f"the certificate of {self._host} is not trusted: {error.verify_message}") from None
        except socket.gaierror:
            raise Away(f"there is no host {self._host!r}") from None
        except OSError as error:
            raise Away(f"{self.url} cannot be reached: {error.strerror or error}") from None
        except http.client.HTTPException as error:
            raise Away(f"{self.url} does not speak HTTP as a relay does: {type(error).__name__}") from None
        finally:
            connection.close()
        raise Away(f"{self.url} has ended the stream")

    def _check(self, answer: http.client.HTTPResponse) -> None:
        match answer.status:
            case 200:
                return
            case 401 | 403:
                raise Refused(f"{self.url} refuses the key; set CHUKEI_ADMIN__API_KEY to its administrators' key")
            case 404:
                raise Refused(f"{self.url} has no live view: its configuration has no admin.api_key, or it is older")
            case status if status < 500 and status != 429:
                raise Refused(f"{self.url} answered with status {status}")
        raise Away(f"{self.url} answered with status {answer.status}")


def read(event: bytes) -> Live:
    """Return an event's view.

    Raises:
        Refused: it is of another version.
    """
    try:
        return _decoder.decode(event)
    except (msgspec.DecodeError, ValueError) as error:
        raise Refused(f"the relay sends another version's view: {error}") from None


_decoder = msgspec.json.Decoder(Live)


def _events(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the data of each event as soon as its line is complete."""
    rest = b""
    while data := answer.read1(65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(_EVENT):
                yield line[len(_EVENT) :].rstrip(b"\r")
        if len(rest) > MOST_BYTES:
            raise http.client.LineTooLong("event")
