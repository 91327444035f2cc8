"""What people paste when they are asked for the address of an Azure OpenAI resource, and what it means."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote

from chukei.config.endpoints import clean_endpoint, split_address

WHERE = "the portal shows it under Keys and Endpoint: https://NAME.openai.azure.com"

_QUOTED = "\"'<>`\u2018\u2019\u201c\u201d \t"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?([/?#].*)?")
DEPLOYMENT_IN_PATH = re.compile(r"/openai/deployments/([^/]+)")
# From here on the path is the API's, not the resource's.
_API = re.compile(r"/(openai|models|anthropic)(/.*)?|/api/projects(/.*)?")
# Azure's keys are 32 hexadecimal digits or 84 letters and digits, and other services' are alike: long, without a dot.
_KEY = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_-]{30,}")
# A long name, such as gpt-4o-mini-2024-07-18-globalstandard, is made of words and short numbers; a key is not.
_WORDS = re.compile(r"([A-Za-z]+|[A-Za-z0-9]{1,14})([_-]([A-Za-z]+|[A-Za-z0-9]{1,14}))+")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_KEY_IN_QUERY = re.compile(r"(?:^|[?&])(?:api-key|subscription-key|code|sig|key|token)=", re.IGNORECASE)

_PORTALS = frozenset({"portal.azure.com", "ai.azure.com", "oai.azure.com", "portal.azure.us", "portal.azure.cn"})
_OTHERS = {
    "api.openai.com": "is OpenAI's own service; the relay asks Azure OpenAI",
    "platform.openai.com": "is OpenAI's own service; the relay asks Azure OpenAI",
}


class NotAnAddress(ValueError):
    """The text is not the address of a resource; the message says what it is and what helps. It holds no key."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """The resource's address, and the deployment if the text named one. ``dropped`` says whether more was cut off."""

    endpoint: str
    deployment: str | None = None
    dropped: bool = False


def looks_like_key(text: str) -> bool:
    """Whether a text is probably a credential, so that it must not be repeated on the screen."""
    text = text.strip(_QUOTED)
    if _UUID.fullmatch(text):
        return True
    return _KEY.fullmatch(text) is not None and _WORDS.fullmatch(text) is None


def understand(text: str) -> Pasted:
    """Return what a pasted text means.

    Raises:
        NotAnAddress: it is not an address of a resource.
    """
    given = text.strip().strip(_QUOTED)
    if looks_like_key(given):
        raise NotAnAddress(f"this looks like a key, not an address; {WHERE}")
    if not _SCHEME.match(given):
        if not _HOST.fullmatch(given) and not given.startswith("localhost"):
            raise NotAnAddress(f"this is not an address; {WHERE}")
        given = f"https://{given}"
    parts = split_address(given)
    if parts is None:
        raise NotAnAddress(f"this is not an address; {WHERE}")
    _refuse_others(parts)
    path = unquote(parts.path)
    deployment = DEPLOYMENT_IN_PATH.search(path)
    api = _API.search(path)
    kept = path[: api.start()] if api is not None else path
    endpoint, fault = clean_endpoint(f"{parts.scheme}://{parts.netloc}{kept}", plain_http=False)
    if fault is not None:
        raise NotAnAddress(f"the address {fault}")
    more = bool(parts.query or parts.fragment) or kept.rstrip("/") != path.rstrip("/")
    return Pasted(endpoint, deployment[1] if deployment is not None else None, dropped=more)


def _refuse_others(parts: SplitResult) -> None:
    host = parts.hostname or ""
    if _KEY_IN_QUERY.search(parts.query):
        raise NotAnAddress("the address has a key in it; leave out the ? and what follows")
    if host in _PORTALS:
        raise NotAnAddress(f"{host} is a page for people, not a resource; {WHERE}")
    if host in _OTHERS:
        raise NotAnAddress(f"{host} {_OTHERS[host]}; {WHERE}")
    if re.match(r"your[-_]|(my-resource|resource|name)\.|.*[{}<>]", host):
        raise NotAnAddress(f"{host} still has a placeholder; {WHERE}")
