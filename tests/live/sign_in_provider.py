"""An identity provider that signs people in: the authorization code flow with PKCE, for pages, as Entra ID has it."""

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.adapters.servers import Peer
from tests.live.identity_provider import PERSON, TENANT, IdentityProvider, answer

APP = "88888888-aaaa-4bbb-8ccc-999999999999"
"""The client id of the page's registration."""


@dataclass
class Asked:
    """A code that was given, and what must come with it."""

    redirect_uri: str
    challenge: str
    nonce: str


class SignInProvider(IdentityProvider):
    """Signs in whoever comes, without a question, as after an earlier sign-in. Pages at ``redirects`` may ask."""

    def __init__(self) -> None:
        super().__init__()
        self.redirects: list[str] = []
        self.roles = ["Chukei.Change"]
        self.denies: dict[str, str] | None = None
        """An error in place of a code."""
        self.state: str | None = None
        """Another state than the page's."""
        self.nonce: str | None = None
        self.seconds = 3600
        self.refreshes = True
        self.asked: list[dict[str, str]] = []
        self.redeemed: list[dict[str, str]] = []
        self._codes: dict[str, Asked] = {}
        self._refresh: set[str] = set()

    @property
    def admin_settings(self) -> dict[str, str]:
        """What makes a relay let its administrators in."""
        return {
            "CHUKEI_ADMIN__ENTRA__TENANT": TENANT,
            "CHUKEI_ADMIN__ENTRA__CLIENT_ID": APP,
            "CHUKEI_ADMIN__ENTRA__AUTHORITY": self.authority,
        }

    def admin_token(self, **changes: object) -> str:
        """Return an administrator's access token with changed claims."""
        own = {
            "aud": APP,
            "azp": APP,
            "scp": "Console.Use",
            "roles": self.roles,
            "preferred_username": "ann@contoso.com",
            "exp": int(time.time()) + self.seconds,
        }
        return self.token(self.claims(**(own | changes)))

    async def _serve(self, peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            target = urlsplit(head.split(b" ", 2)[1].decode())
            if target.path == f"/{TENANT}/oauth2/v2.0/authorize":
                await peer.send(self._authorize(_single(target.query)))
            elif target.path == f"/{TENANT}/oauth2/v2.0/token":
                await peer.send(self._token(_single(body.decode()), _origin(head)))
            else:
                self.fetches.append(target.path)
                await peer.send(answer(self._document(target.path)))

    def _authorize(self, asked: dict[str, str]) -> bytes:
        self.asked.append(asked)
        place = asked["redirect_uri"]
        known = asked["client_id"] == APP and place in self.redirects and asked["response_type"] == "code"
        if not known or asked["code_challenge_method"] != "S256" or asked["response_mode"] != "fragment":
            return answer({"error": "invalid_request"}, status="400 Bad Request")
        state = self.state if self.state is not None else asked["state"]
        if self.denies is not None:
            return _redirect(place, self.denies | {"state": state})
        code = secrets.token_urlsafe()
        self._codes[code] = Asked(place, asked["code_challenge"], asked["nonce"])
        return _redirect(place, {"code": code, "state": state, "session_state": "x"})

    def _token(self, sent: dict[str, str], origin: str | None) -> bytes:
        self.redeemed.append(sent)
        if origin is None:
            return _refused("invalid_request", "AADSTS9002327: only by cross-origin requests", "null")
        if sent["grant_type"] == "refresh_token":
            if not self.refreshes or sent["refresh_token"] not in self._refresh:
                return _refused("invalid_grant", "AADSTS700084: The refresh token has expired", origin)
            return self._tokens("", origin)
        asked = self._codes.pop(sent["code"], None)
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or (challenge, sent["redirect_uri"]) != (asked.challenge, asked.redirect_uri):
            return _refused("invalid_grant", "AADSTS501481: The code_verifier does not match", origin)
        return self._tokens(self.nonce if self.nonce is not None else asked.nonce, origin)

    def _tokens(self, nonce: str, origin: str) -> bytes:
        refresh = secrets.token_urlsafe()
        self._refresh.add(refresh)
        tokens = {
            "token_type": "Bearer",
            "expires_in": self.seconds,
            "access_token": self.admin_token(jti=secrets.token_hex(8)),
            "id_token": self.token(self.claims(aud=APP, scp=..., oid=PERSON, nonce=nonce, name="Ann")),
            "refresh_token": refresh,
        }
        return answer(tokens, kind=f"application/json\r\naccess-control-allow-origin: {origin}")


def _single(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}


def _origin(head: bytes) -> str | None:
    found = [line[7:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"origin:")]
    return found[0].decode() if found else None


def _redirect(place: str, fields: dict[str, str]) -> bytes:
    head = f"HTTP/1.1 302 Found\r\nlocation: {place}#{urlencode(fields)}\r\ncontent-length: 0\r\n\r\n"
    return head.encode()


def _refused(error: str, description: str, origin: str) -> bytes:
    kind = f"application/json\r\naccess-control-allow-origin: {origin}"
    return answer({"error": error, "error_description": description}, status="400 Bad Request", kind=kind)
