"""A table of credentials that must not open anything, each made in a world in which similar ones do."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.live.identity_provider import (
    AUDIENCE,
    CLIENT,
    OTHER_TENANT,
    PERSON,
    TENANT,
    IdentityProvider,
    encoded,
    private_key,
    public_jwk,
    signed,
)

from chukei.accounts.ledger import Key
from chukei.callers import keys
from chukei.callers.keys import NewKey, Peppers
from chukei.config import Secret

Fields = list[tuple[str, str]]

SHARED = "shared-key-0123456789"
FIXED = "key-of-the-file-0123456789"
PEPPER = "a pepper of thirty-two characters or more"
SCOPE, ROLE = "Relay.Call", "Relay.Call.All"


@dataclass
class World:
    """An identity provider that is trusted, one that is not, and keys: those that open, and those that no longer do."""

    provider: IdentityProvider
    stranger: IdentityProvider
    own: NewKey = field(default_factory=keys.make)
    other: NewKey = field(default_factory=keys.make)
    revoked: NewKey = field(default_factory=keys.make)
    expired: NewKey = field(default_factory=keys.make)
    early: NewKey = field(default_factory=keys.make)
    unpeppered: NewKey = field(default_factory=keys.make)

    def rows(self) -> list[Key]:
        """Return what the database keeps."""
        now = datetime.now(UTC)
        peppers = Peppers({1: Secret(PEPPER)})

        def row(new: NewKey, **changes: Any) -> Key:
            digest, version = peppers.key_digest(new)
            key = Key(new.id, f"team-{new.id}", None, digest, version, now - timedelta(days=2), None, None, None)
            return replace(key, **changes)

        forged = Peppers().key_digest(self.unpeppered)
        return [
            row(self.own),
            row(self.other),
            row(self.revoked, revoked=now - timedelta(days=1)),
            row(self.expired, expires=now - timedelta(seconds=1)),
            row(self.early, created=now + timedelta(days=1)),
            row(self.unpeppered, digest=forged[0], pepper=forged[1]),
        ]

    @property
    def key(self) -> str:
        """A key that opens."""
        return self.own.text.reveal()

    def user(self, **changes: Any) -> str:
        """Return a token of the trusted provider for a user, with changed claims."""
        return self.provider.token(self.provider.claims(**changes))

    def application(self, **changes: Any) -> str:
        """Return one for an application."""
        return self.provider.token(self.provider.application_claims(**({"roles": [ROLE]} | changes)))

    def opening(self) -> dict[str, Fields]:
        """Return credentials that open, in the carriers that clients use."""
        return {
            "own-key": bearer(self.key),
            "own-key-azure": [("api-key", self.key)],
            "own-key-other": [("x-api-key", self.key)],
            "shared": [("api-key", SHARED)],
            "fixed": bearer(FIXED),
            "user": bearer(self.user()),
            "user-v1": bearer(self.user(ver="1.0", appid=CLIENT, azp=...)),
            "application": bearer(self.application()),
            "token-as-key": [("api-key", self.user())],
            "shared-beside-a-foreign-one": [*bearer("dummy"), ("api-key", SHARED)],
            "user-beside-a-foreign-one": [*bearer(self.user()), ("api-key", "dummy")],
        }


def bearer(credential: str) -> Fields:
    """Return the field that carries a credential as OpenAI's clients send it."""
    return [("authorization", f"Bearer {credential}")]


@dataclass(frozen=True)
class Hostile:
    """One of them. ``statuses`` are the answers that are right; ``told`` the error code, where it is another."""

    name: str
    fields: Callable[[World], Fields]
    statuses: tuple[int, ...] = (401,)
    code: str | None = "invalid_api_key"
    path: str = "/v1/chat/completions"


def checksummed(body: str) -> str:
    """Write a key with the checksum that it should have."""
    return body + keys._checksum(body.encode())


def forged(world: World, head: dict[str, Any], *, claims: object = None, signature: str | None = None) -> str:
    """Write a token with any header over claims that would do; signed with the trusted key unless told otherwise."""
    fields = {"typ": "JWT", "kid": "first", "x5t": "first", "alg": "RS256"} | head
    kept = {name: value for name, value in fields.items() if value is not ...}
    signing = f"{encoded(kept)}.{encoded(world.provider.claims() if claims is None else claims)}"
    return f"{signing}.{signed(signing) if signature is None else signature}"


def keyed(world: World, algorithm: str, secret: bytes) -> str:
    """Write a token that is signed with a secret key."""
    signing = f"{encoded({'typ': 'JWT', 'alg': algorithm, 'kid': 'first'})}.{encoded(world.provider.claims())}"
    return f"{signing}.{encoded(hmac.digest(secret, signing.encode(), hashlib.sha256))}"


def public_pem() -> bytes:
    """Return the public key as a file holds it."""
    return private_key("first").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def raw_claims(world: World, text: str) -> str:
    """Return a genuinely signed token over claims given as text, in which ``%`` stands for those that would do."""
    good = json.dumps(world.provider.claims())[1:-1]
    return forged(world, {}, claims=text.replace("%", good).encode())


def principal() -> str:
    """Return what App Service authentication would write."""
    claims = [{"typ": "tid", "val": TENANT}, {"typ": "oid", "val": PERSON}]
    return base64.b64encode(json.dumps({"auth_typ": "aad", "claims": claims}).encode()).decode()


def altered(token: str, part: int, text: str) -> str:
    """Return a token with one part replaced."""
    parts = token.split(".")
    parts[part] = text
    return ".".join(parts)


def _key(name: str, make: Callable[[World], str], **expected: Any) -> Hostile:
    return Hostile(f"key-{name}", lambda world: bearer(make(world)), **expected)


def _token(name: str, make: Callable[[World], str], **expected: Any) -> Hostile:
    return Hostile(f"token-{name}", lambda world: bearer(make(world)), **expected)


def _claims(name: str, *, kind: str = "user", expected: dict[str, Any] | None = None, **changes: Any) -> Hostile:
    return _token(name, lambda world: getattr(world, kind)(**changes), **(expected or {}))


def _without(name: str) -> Hostile:
    return _token(f"without-{name}", lambda world: world.user(**{name: ...}))


BAD_HEAD: dict[str, Any] = {"statuses": (400,), "code": None}
LARGE: dict[str, Any] = {"statuses": (400, 431), "code": None}
LACKING: dict[str, Any] = {"statuses": (403,), "code": "missing_permission"}
NOW = int(time.time())
DAY = 86_400
"""In seconds: longer than any run of the suite, which may begin long after this module was imported."""

SYNTAX = [
    Hostile("nothing", lambda world: []),
    Hostile("empty", lambda world: [("api-key", "")]),
    Hostile("bearer-alone", lambda world: [("authorization", "Bearer")]),
    Hostile("bearer-and-space", lambda world: [("authorization", "Bearer ")]),
    Hostile("basic", lambda world: [("authorization", f"Basic {world.key}")]),
    Hostile("basic-encoded", lambda world: [("authorization", "Basic " + encoded(f":{world.key}".encode()))]),
    Hostile("digest", lambda world: [("authorization", f'Digest username="{world.key}"')]),
    Hostile("no-scheme", lambda world: [("authorization", world.key)]),
    Hostile("colon", lambda world: [("authorization", f"Bearer:{world.key}")]),
    Hostile("twice-bearer", lambda world: bearer(f"Bearer {world.key}")),
    Hostile("bearer-in-api-key", lambda world: [("api-key", f"Bearer {world.key}")]),
    Hostile("list", lambda world: bearer(f"{world.key}, {world.key}")),
    Hostile("quoted", lambda world: bearer(f'"{world.key}"')),
    Hostile("cookie", lambda world: [("cookie", f"api-key={world.key}; Authorization=Bearer {world.key}")]),
    Hostile("proxy-authorization", lambda world: [("proxy-authorization", f"Bearer {world.key}")]),
    Hostile("functions-key", lambda world: [("x-functions-key", world.key)]),
    Hostile("subscription-key", lambda world: [("ocp-apim-subscription-key", world.key)]),
    Hostile("original-authorization", lambda world: [("x-original-authorization", f"Bearer {world.key}")]),
    Hostile("address", lambda world: [], path=f"/v1/chat/completions?api-key={SHARED}&code={FIXED}&key={SHARED}"),
]

KEYS = [
    _key("unknown", lambda world: keys.make().text.reveal()),
    _key("wrong-checksum", lambda world: world.key[:-6] + "000000"),
    _key("others-checksum", lambda world: world.key[:-6] + world.other.text.reveal()[-6:]),
    _key("others-secret", lambda world: checksummed(world.key[:17] + world.other.text.reveal()[17:60])),
    _key("no-secret", lambda world: checksummed(world.key[:17] + "0" * 43)),
    _key("revoked", lambda world: world.revoked.text.reveal(), code="key_revoked"),
    _key("expired", lambda world: world.expired.text.reveal(), code="key_expired"),
    _key("revoked-guess", lambda world: checksummed(world.revoked.text.reveal()[:17] + "1" * 43)),
    _key("not-yet", lambda world: world.early.text.reveal()),
    _key("made-without-the-pepper", lambda world: world.unpeppered.text.reveal()),
    _key("truncated", lambda world: world.key[:-1]),
    _key("half", lambda world: world.key[:33]),
    _key("id-only", lambda world: world.key[:16]),
    _key("prefix-only", lambda world: "chk_"),
    _key("longer", lambda world: world.key + "0"),
    _key("twice", lambda world: world.key * 2),
    _key("capitals", lambda world: world.key.swapcase()),
    _key("without-prefix", lambda world: world.key[4:]),
    _key("other-prefix", lambda world: "sk_" + world.key[4:]),
    _key("percent-encoded", lambda world: world.key.replace("_", "%5F")),
    _key("escaped", lambda world: world.key.replace("_", "\\u005f")),
    _key("space-inside", lambda world: f"{world.key[:20]} {world.key[20:]}"),
    _key("nul", lambda world: f"{world.key}\x00", **BAD_HEAD),
    _key("nul-inside", lambda world: f"{world.key[:20]}\x00{world.key[20:]}", **BAD_HEAD),
    _key("control", lambda world: f"\x1b[2J{world.key}", **BAD_HEAD),
    _key("delete", lambda world: f"{world.key}\x7f", **BAD_HEAD),
    _key("line-end", lambda world: f"{world.key}\r\n x", **BAD_HEAD),
    _key("bare-line-feed", lambda world: f"{world.key}\napi-key: {SHARED}", statuses=(400,), code=None),
    _key("cyrillic", lambda world: world.key.replace("c", "\u0441").encode().decode("latin-1")),
    _key("full-width", lambda world: world.key.replace("_", "\uff3f").encode().decode("latin-1")),
    _key("zero-width", lambda world: f"{world.key}\u200b".encode().decode("latin-1")),
    _key("combining", lambda world: f"{world.key}\u0301".encode().decode("latin-1")),
    _key("latin-1", lambda world: world.key.replace("c", "ç")),
    _key("bytes", lambda world: "".join(map(chr, range(0x80, 0x100)))),
    _key("sixty-four-kilobytes", lambda world: "k" * 65_536, **LARGE),
    _key("almost-too-large", lambda world: "chk_" + "0" * 60_000),
    _key("sql", lambda world: "chk_' OR '1'='1' --"),
    _key("sql-id", lambda world: checksummed(f"chk_{'a' * 12}_{'b' * 43}") + "' OR 1=1;--"),
    _key("like", lambda world: "chk_%_%"),
    _key("star", lambda world: "*"),
    _key("operator", lambda world: '{"$ne":null}'),
    _key("expression", lambda world: "${jndi:ldap://127.0.0.1/a}"),
    _key("format", lambda world: "%s%n{0}{self._digest}"),
    _key("path", lambda world: "../../../../etc/passwd"),
    _key("null", lambda world: "null"),
    _key("true", lambda world: "true"),
    _key("its-digest", lambda world: hashlib.sha256(FIXED.encode()).hexdigest()),
    _key("its-hmac", lambda world: hmac.digest(PEPPER.encode(), world.key[17:60].encode(), "sha256").hex()),
    _key("the-pepper", lambda world: PEPPER),
    _key("shared-longer", lambda world: SHARED + "0"),
    _key("shared-shorter", lambda world: SHARED[:-1]),
    _key("shared-capitals", lambda world: SHARED.upper()),
    _key("fixed-changed", lambda world: FIXED[:-1] + "0"),
]

Carrier = Callable[[str], tuple[str, str]]

_CARRIERS: list[tuple[str, Carrier]] = [
    ("authorization", lambda key: ("authorization", f"Bearer {key}")),
    ("api-key", lambda key: ("api-key", key)),
    ("x-api-key", lambda key: ("x-api-key", key)),
]


def _pairs() -> list[Hostile]:
    """Two credentials at once, in every pair of carriers: two of this relay's, right or not, or two of nobody's."""
    found = []
    for one, first in _CARRIERS:
        for two, second in _CARRIERS:
            if one == two:
                twice = _both(f"{one}-twice", first, second, lambda world: (world.key, SHARED))
                found.append(replace(twice, code="ambiguous_request"))
                continue
            found += [
                _both(f"{one}-{two}-other", first, second, lambda world: (FIXED, SHARED)),
                _both(f"{one}-{two}-token", first, second, lambda world: (world.user(), SHARED)),
                _both(f"{one}-{two}-expired", first, second, lambda world: (SHARED, world.user(exp=NOW - 9999))),
                replace(
                    _both(f"{one}-{two}-foreign", first, second, lambda world: ("foreign-one", "sk-other.a.b")),
                    statuses=(401,),
                    code="invalid_api_key",
                ),
            ]
    return found


def _both(name: str, first: Carrier, second: Carrier, make: Callable[[World], tuple[str, str]]) -> Hostile:
    def fields(world: World) -> Fields:
        one, two = make(world)
        return [first(one), second(two)]

    return Hostile(name, fields, (400,), "ambiguous_credentials")


def _head(name: str, head: dict[str, Any], signature: str | None = None) -> Hostile:
    return _token(name, lambda world: forged(world, head, signature=signature))


FORGED = [
    *(_head(f"alg-{alg}", {"alg": alg}, "") for alg in ("none", "None", "NONE", "nOnE", "")),
    _head("alg-none-signed", {"alg": "none"}),
    _head("alg-missing", {"alg": ...}),
    _head("alg-list", {"alg": ["RS256", "none"]}),
    *(_head(f"alg-{alg}", {"alg": alg}) for alg in ("RS512", "PS256", "ES256")),
    _token("hs256-with-the-public-key", lambda world: keyed(world, "HS256", public_pem())),
    _token("hs256-with-the-modulus", lambda world: keyed(world, "HS256", public_jwk("first")["n"].encode())),
    _token("hs256-with-nothing", lambda world: keyed(world, "HS256", b"")),
    _token("hs256-called-rs256", lambda world: keyed(world, "RS256", public_pem())),
    _token("signed-by-a-stranger", lambda world: forged_by_stranger(world, kid="first")),
    _token("signed-by-an-unknown-key", lambda world: forged_by_stranger(world, kid="stranger")),
    _token("embedded-key", lambda world: forged_by_stranger(world, jwk=public_jwk("stranger"))),
    _token("jku", lambda world: forged_by_stranger(world, jku=f"{world.stranger.authority}/{TENANT}/discovery/keys")),
    _token("x5u", lambda world: forged_by_stranger(world, x5u=f"{world.stranger.authority}/cert")),
    _token("x5c", lambda world: forged_by_stranger(world, x5c=["MIIB"])),
    _token("jku-genuine", lambda world: forged(world, {"jku": f"{world.provider.authority}/{TENANT}/discovery/keys"})),
    _head("crit", {"crit": ["exp"], "exp": NOW}),
    _head("crit-unknown", {"crit": ["chukei"], "chukei": 1}),
    _head("b64", {"b64": False}),
    _head("zip", {"zip": "DEF"}),
    _head("kid-missing", {"kid": ...}),
    _head("kid-path", {"kid": "../../../../dev/null"}),
    _head("kid-sql", {"kid": "x' UNION SELECT 'secret'--"}),
    _head("kid-large", {"kid": "k" * 8000}),
    _head("kid-list", {"kid": ["first"]}),
    _head("kid-other-case", {"kid": "FIRST"}),
    _head("typ", {"typ": "JWE"}),
    _token("no-signature", lambda world: altered(world.user(), 2, "")),
    _token("others-signature", lambda world: altered(world.user(), 2, world.application().split(".")[2])),
    _token("signature-cut", lambda world: world.user()[:-8]),
    _token("signature-zero", lambda world: altered(world.user(), 2, encoded(bytes(256)))),
    _token("signature-padded", lambda world: world.user() + "=="),
    _token("claims-replaced", lambda world: altered(world.user(), 1, encoded(world.provider.claims(oid=TENANT)))),
    _token("head-replaced", lambda world: altered(world.user(), 0, encoded({"alg": "RS256", "kid": "first"}))),
    _token("two-parts", lambda world: world.user().rpartition(".")[0]),
    _token("four-parts", lambda world: world.user() + ".c2ln"),
    _token("encrypted", lambda world: world.user() + ".YQ.YQ"),
    _token("dots", lambda world: ".."),
    _token("reversed", lambda world: ".".join(reversed(world.user().split(".")))),
    _token("percent-encoded", lambda world: world.user().replace(".", "%2E")),
    _token("space-inside", lambda world: world.user().replace(".", ". ", 1)),
    _token("nul", lambda world: world.user() + "\x00", **BAD_HEAD),
    _token("non-ascii", lambda world: world.user() + "é"),
    _token("full-width", lambda world: world.user().replace(".", "\uff0e").encode().decode("latin-1")),
    _token("large", lambda world: world.user(padding="x" * 20_000)),
    _token("sixty-four-kilobytes", lambda world: world.user(padding="x" * 65_536), **LARGE),
    _token("deep", lambda world: raw_claims(world, '{%,"deep":' + "[" * 3000 + "]" * 3000 + "}")),
    _token("deep-objects", lambda world: raw_claims(world, '{%,"deep":' + '{"a":' * 1000 + "1" + "}" * 1001)),
    _token("long-number", lambda world: raw_claims(world, '{%,"n":' + "9" * 6000 + "}")),
    _token("duplicate-claims", lambda world: raw_claims(world, f'{{%,"oid":"{TENANT}"}}')),
    _token("duplicate-escaped", lambda world: raw_claims(world, f'{{%,"\\u006fid":"{TENANT}"}}')),
    _token("not-a-number", lambda world: raw_claims(world, '{%,"n":NaN}')),
    _token("claims-list", lambda world: forged(world, {}, claims=[1])),
    _token("claims-empty", lambda world: forged(world, {}, claims={})),
    _token("claims-no-json", lambda world: forged(world, {}, claims=b"\xff\xfe")),
    _token("byte-order-mark", lambda world: raw_claims(world, "\ufeff{%}")),
    _token("trailing", lambda world: raw_claims(world, "{%}{}")),
]

GENUINE = [
    _claims("expired", exp=NOW - 3600, expected={"code": "token_expired"}),
    _claims("expired-long-ago", exp=0, expected={"code": "token_expired"}),
    _claims("not-yet", nbf=NOW + DAY),
    *(_without(name) for name in ("exp", "nbf", "iss", "aud", "tid", "oid", "ver", "scp")),
    _claims("exp-text", exp=str(NOW + DAY)),
    _claims("exp-infinite", exp=float("inf")),
    _claims("exp-true", exp=True),
    _claims("exp-negative", exp=-1, expected={"code": "token_expired"}),
    _claims("other-tenant", tid=OTHER_TENANT),
    _claims("other-tenants-issuer", iss=f"https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"),
    Hostile("token-tenant-in-name-only", lambda world: bearer(world.user(iss=world.provider.issuer(OTHER_TENANT)))),
    Hostile("token-other-versions-issuer", lambda world: bearer(world.user(iss=world.provider.issuer(version="1.0")))),
    Hostile("token-longer-issuer", lambda world: bearer(world.user(iss=world.provider.issuer() + ".evil.example"))),
    _claims("tenant-common", tid="common"),
    _claims("tenant-list", tid=[TENANT]),
    _claims("version", ver="3.0"),
    _claims("other-audience", aud="https://graph.microsoft.com"),
    _claims("audience-list", aud=[AUDIENCE, "other"]),
    _claims("audience-longer", aud=AUDIENCE + "/"),
    _claims("person-by-mail", oid="someone@contoso.com"),
    _claims("id-token", scp=..., azp=..., nonce="n"),
    _claims("id-token-with-roles", scp=..., azp=..., roles=[ROLE]),
    _claims("user-called-application", idtyp="app"),
    _claims("device", idtyp="device"),
    _claims("no-scope", scp="", expected=LACKING),
    _claims("other-scope", scp="Mail.Read Relay.Calls", expected=LACKING),
    _claims("application-without-role", kind="application", roles=..., expected=LACKING),
    _claims("application-other-role", kind="application", roles=["Relay.Call"], expected=LACKING),
    _claims("application-without-client", kind="application", azp=...),
    _claims("application-with-scope", kind="application", scp=SCOPE),
    _claims("roles-text", kind="application", roles=ROLE),
]

SPOOFED = [
    Hostile("principal", lambda world: [("x-ms-client-principal", principal())]),
    Hostile(
        "principal-whole",
        lambda world: [
            ("x-ms-client-principal", principal()),
            ("x-ms-client-principal-id", "bbbbbbbb-aaaa-4bbb-8ccc-bbbbbbbbbbbb"),
            ("x-ms-client-principal-name", "someone@contoso.com"),
            ("x-ms-client-principal-idp", "aad"),
        ],
    ),
    Hostile("principal-token", lambda world: [("x-ms-token-aad-access-token", world.user())]),
    Hostile("principal-and-wrong", lambda world: [("x-ms-client-principal", principal()), ("api-key", "wrong-key")]),
    Hostile("forwarded-user", lambda world: [("x-forwarded-user", "admin"), ("x-remote-user", "admin")]),
    Hostile("forwarded-for", lambda world: [("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")]),
]


def forged_by_stranger(world: World, **head: Any) -> str:
    """Write a token that a stranger signed in the trusted provider's name."""
    fields = {"typ": "JWT", "alg": "RS256", "kid": "first"} | head
    signing = f"{encoded(fields)}.{encoded(world.provider.claims())}"
    return f"{signing}.{signed(signing, 'stranger')}"


FAMILIES = {
    "not a credential": SYNTAX,
    "keys": KEYS,
    "two at once": _pairs(),
    "forged tokens": FORGED,
    "genuine tokens for another purpose": GENUINE,
    "spoofed by a proxy's fields": SPOOFED,
}
ALL = [hostile for family in FAMILIES.values() for hostile in family]
