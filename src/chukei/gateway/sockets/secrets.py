"""Ephemeral keys and WebRTC calls: to whom they belong, and on which deployment.

A page in a browser connects with an ephemeral key, which the service made for a session's configuration. The relay
keeps its digest, so that it accepts the key for this session until it expires, and for nothing else. The worker
processes of one relay ask each other. Replicas find it on Redis, under a digest and sealed with the key itself: only
who holds the key can read what belongs to it, above all the service's own key. They ask only for a key that bears the
mark of one of them: a guess costs no more than any other wrong credential.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing import current_process
from typing import NamedTuple

import msgspec

from chukei.accounts.stores import StoreAway
from chukei.config import Secret
from chukei.model import Caller
from chukei.objects.errors import objects_unavailable
from chukei.ports import HoldStore, Peers

KEY_PREFIX = b"ek_"

MOST = 10_000
"""Keys and calls remembered at most, the newest ones."""

CALL_SECONDS = 3600.0 + 60.0
"""How long a call is remembered. The service ends one after 60 minutes."""

LEEWAY = 60.0
"""Seconds by which the clocks of replicas may differ."""

MAC_BYTES = 32
_RANDOM_BYTES = 32
_END_DIGITS = 9
_MARK_LETTERS = 16


class Held(NamedTuple):
    """An ephemeral key or a call: its caller, the relay's model, and the deployment's identity.

    ``until`` is its end in Unix time. ``secret`` is the service's own key, for which a key stands. ``credential`` is
    the digest of the caller's key in the configuration, if it has one there: a replica that was started with another
    key does not accept what was made with the old one. ``intent`` is that of the sessions that a key opens.
    """

    caller: Caller
    model: str
    identity: str
    until: float
    secret: bytes = b""
    credential: str = ""
    intent: str | None = None


class Mint:
    """Makes ephemeral keys, and tells without asking anybody which texts are none.

    A key consists of random bits, its end and a mark: a MAC of both, by what the processes that know each other's keys
    have in common. These are the workers of one relay, or the replicas with one address of a ``store``. The mark opens
    nothing: who can make it gains no more than that a guess is looked up.
    """

    def __init__(self, store: Secret | None = None) -> None:
        # Workers inherit the key that Python has drawn for the messages between a process and its children.
        common = store.reveal().encode() if store is not None else bytes(current_process().authkey)
        self._secret = hashlib.sha256(b"chukei ephemeral " + common).digest()

    def new(self, until: float) -> bytes:
        """Return a key that ends at a Unix time."""
        text = KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES).encode() + b"%0*x" % (_END_DIGITS, int(until))
        return text + self._mark(text)

    def made(self, text: bytes, now: float) -> bool:
        """Whether a text is a key that this relay or a replica has made, and that need not have ended."""
        body, mark = text[:-_MARK_LETTERS], text[-_MARK_LETTERS:]
        if not text.startswith(KEY_PREFIX) or not hmac.compare_digest(mark, self._mark(body)):
            return False
        return now < int(body[-_END_DIGITS:], 16) + LEEWAY

    def _mark(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, "sha256").hex()[:_MARK_LETTERS].encode()


class Secrets:
    """Ephemeral keys or calls. ``peers`` are the workers, which are asked on ``subject``; replicas share ``store``."""

    def __init__(self, peers: Peers | None, store: HoldStore | None, subject: str) -> None:
        self._held: OrderedDict[bytes, Held] = OrderedDict()
        self._peers = peers
        self._store = store
        self._subject = subject
        if peers is not None:
            peers.answer(subject, self._answer)

    def keep(self, text: bytes, held: Held, now: float) -> None:
        """Remember a key or the id of a call. ``now`` is in Unix time. It never waits."""
        name = _digest(text)
        self._held[name] = held
        if self._store is not None:
            sealed = seal(text, msgspec.json.encode(held))
            self._store.hold(self._stored(name), base64.b64encode(sealed).decode(), held.until - now)
        if len(self._held) > MOST:
            self._held.popitem(last=False)

    async def find(self, text: bytes, now: float) -> Held | None:
        """Return to whom a key or a call belongs; None if no worker and no replica knows it, or it has expired.

        Raises:
            Unavailable: no worker knows it, and the store that replicas share cannot be asked.
        """
        name = _digest(text)
        held = self._held.get(name)
        if held is None and self._peers is not None:
            told = [each for each in await self._peers.ask(self._subject, name) if each]
            held = msgspec.json.decode(told[0], type=Held) if told else None
        leeway = 0.0
        if held is None and self._store is not None:
            # The store forgets it when it ends, but may have been restored from a copy, or written by a stranger.
            held, leeway = await self._shared(self._store, text, name), LEEWAY
        return held if held is not None and now < held.until + leeway else None

    async def _shared(self, store: HoldStore, text: bytes, name: bytes) -> Held | None:
        try:
            found = await store.held(self._stored(name))
        except StoreAway:
            raise objects_unavailable() from None
        try:
            return msgspec.json.decode(unseal(text, base64.b64decode(found or "")), type=Held)
        except (ValueError, msgspec.MsgspecError):  # there is none, or no relay has written it
            return None

    def _stored(self, name: bytes) -> str:
        return f"{self._subject} {name.hex()}"

    def _answer(self, name: bytes) -> bytes:
        held = self._held.get(name)
        return msgspec.json.encode(held) if held is not None else b""

    def forget(self, refused: Callable[[Caller], bool]) -> None:
        """Forget what belongs to callers who are no longer let in."""
        for name, held in [*self._held.items()]:
            if refused(held.caller):
                del self._held[name]
                if self._store is not None:
                    self._store.release(self._stored(name))


class Known:
    """What the workers know: ephemeral keys and the owners of calls by their ids; and the calls that this one watches.

    A call's id is no credential, so it is kept apart from the keys.
    """

    def __init__(
        self, peers: Peers | None = None, store: HoldStore | None = None, address: Secret | None = None
    ) -> None:
        self.mint = Mint(address)
        self.keys = Secrets(peers, store, "ephemeral-keys")
        self.owners = Secrets(peers, store, "calls")
        self.watching: set[asyncio.Task[None]] = set()


def seal(key: bytes, plain: bytes) -> bytes:
    """Return a text that only a holder of the key can read, and nobody else can change.

    It is a one-time pad of the key with a MAC (encrypt, then authenticate), so a key may seal one text only. Both come
    from SHAKE256, and an ephemeral key has 256 random bits.
    """
    made = _pad(key, len(plain))
    hidden = bytes(a ^ b for a, b in zip(plain, made[MAC_BYTES:], strict=True))
    return hmac.digest(made[:MAC_BYTES], hidden, "sha256") + hidden


def unseal(key: bytes, sealed: bytes) -> bytes:
    """Return the text that was sealed with the key.

    Raises:
        ValueError: it was not.
    """
    mac, hidden = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
    made = _pad(key, len(hidden))
    if not hmac.compare_digest(mac, hmac.digest(made[:MAC_BYTES], hidden, "sha256")):
        raise ValueError("it was not sealed with this key")
    return bytes(a ^ b for a, b in zip(hidden, made[MAC_BYTES:], strict=True))


def _pad(key: bytes, size: int) -> bytes:
    return hashlib.shake_256(b"chukei sealed " + key).digest(MAC_BYTES + size)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
