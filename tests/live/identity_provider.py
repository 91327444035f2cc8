"""An identity provider on a real socket: Entra ID's metadata and keys, and tokens signed with them; or forged."""

import base64
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.adapters.servers import LocalServer, Peer

TENANT = "11111111-aaaa-4bbb-8ccc-222222222222"
OTHER_TENANT = "99999999-aaaa-4bbb-8ccc-222222222222"
AUDIENCE = "api://chukei"
CLIENT = "33333333-aaaa-4bbb-8ccc-444444444444"
PERSON = "55555555-aaaa-4bbb-8ccc-666666666666"
PRINCIPAL = "77777777-aaaa-4bbb-8ccc-888888888888"


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """Return a key that is made once for all tests."""
    return rsa.generate_private_key(65537, 1024 if name == "short" else 2048)


def public_jwk(name: str, **extra: object) -> dict[str, Any]:
    """Return the public half as the provider publishes it."""
    jwk: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(private_key(name).public_key(), as_dict=True)
    return {**jwk, "kid": name, "use": "sig", **extra}


def encoded(data: object) -> str:
    """Write one part of a token (RFC 7515 §2): bytes as they are, anything else as JSON."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class IdentityProvider(LocalServer):
    """Publishes the keys named in ``published``. ``fetches`` holds the paths that were asked for."""

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.published = ["first"]
        self.fetches: list[str] = []
        self.down = False
        self.answers: dict[str, bytes] = {}
        """Whole answers in place of the right ones, by path."""
        self.ends_after: set[str] = set()
        """After these paths' answers the connection ends."""

    @property
    def authority(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What makes a relay trust it."""
        return {
            "CHUKEI_AUTH__ENTRA__TENANT": TENANT,
            "CHUKEI_AUTH__ENTRA__AUDIENCE": AUDIENCE,
            "CHUKEI_AUTH__ENTRA__AUTHORITY": self.authority,
        }

    def issuer(self, tenant: str = TENANT, version: str = "2.0") -> str:
        """Return who issues the tokens of a version."""
        return f"{self.authority}/{tenant}/v2.0" if version == "2.0" else f"{self.authority}/sts/{tenant}/"

    async def _serve(self, peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            path = head.split(b" ", 2)[1].decode()
            self.fetches.append(path)
            if self.down:
                peer.reset()
                return
            await peer.send(self.answers.get(path) or answer(self._document(path)))
            if path in self.ends_after:
                return

    def _document(self, path: str) -> dict[str, Any] | None:
        tenant, _, rest = path.removeprefix("/").partition("/")
        version = "2.0" if "v2.0" in rest else "1.0"
        if rest.endswith(".well-known/openid-configuration"):
            keys = "/discovery/v2.0/keys" if version == "2.0" else "/discovery/keys"
            return {"issuer": self.issuer(tenant, version), "jwks_uri": f"{self.authority}/{tenant}{keys}"}
        if rest.endswith("/keys"):
            issuer = {"issuer": f"{self.authority}/{{tenantid}}/v2.0"} if version == "2.0" else {}
            return {"keys": [public_jwk(name, **issuer) for name in self.published]}
        return None

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a user's access token, changed; a change to ... leaves the claim out."""
        now = int(time.time())
        claims = {
            "aud": AUDIENCE,
            "iss": self.issuer(changes.get("tid", TENANT), changes.get("ver", "2.0")),
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "azp": CLIENT,
            "oid": PERSON,
            "sub": "pairwise-subject",
            "scp": "Relay.Call",
            "tid": TENANT,
            "ver": "2.0",
        } | changes
        return {name: value for name, value in claims.items() if value is not ...}

    def application_claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of an application's access token, changed."""
        own = {"scp": ..., "oid": PRINCIPAL, "sub": PRINCIPAL, "roles": ["Relay.Call"], "idtyp": "app"}
        return self.claims(**(own | changes))

    def token(self, claims: Mapping[str, Any] | None = None, *, key: str = "first", **header: Any) -> str:
        """Return a token signed with a key; header fields as given, else those of Entra ID."""
        fields = {"typ": "JWT", "kid": key, "x5t": key} | header
        payload = dict(self.claims() if claims is None else claims)
        kept = {name: value for name, value in fields.items() if value is not ...}
        signing = f"{encoded({'alg': 'RS256', **kept})}.{encoded(payload)}"
        return f"{signing}.{signed(signing, key)}"


def signed(text: str, key: str = "first") -> str:
    """Return the signature of what is signed."""
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    return encoded(algorithm.sign(text.encode(), private_key(key)))


def answer(document: object, *, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """Write a whole HTTP answer; None is one without a document."""
    if document is None:
        return answer({}, status="404 Not Found")
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
