"""What replicas keep of ephemeral keys: sealed with the key, and for nobody who was let go since."""

import subprocess
import sys
from hashlib import sha256

import pytest

from chukei.accounts.stores import StoreAway
from chukei.config import Secret
from chukei.errors import Unavailable
from chukei.gateway.sockets.secrets import LEEWAY, Held, Mint, Secrets, seal, unseal
from chukei.model import Caller, CallerKind

pytestmark = pytest.mark.anyio

ANN = Caller("ann", CallerKind.KEY, ("team",), "k1")
HELD = Held(ANN, "voice", "https://one/gpt-realtime", 600.0, b"ek_of_the_service")
KEY = b"ek_" + b"x" * 43


class Store:
    """A store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, float]] = {}
        self.away = False

    def hold(self, name: str, text: str, seconds: float) -> None:
        self.kept[name] = text, seconds

    def release(self, name: str) -> None:
        self.kept.pop(name, None)

    async def held(self, name: str) -> str | None:
        if self.away:
            raise StoreAway("away")
        return self.kept[name][0] if name in self.kept else None


def test_only_the_key_opens_what_it_sealed() -> None:
    sealed = seal(KEY, b"secret")
    assert b"secret" not in sealed
    assert unseal(KEY, sealed) == b"secret"
    for key, text in (
        (KEY + b"y", sealed),
        *((KEY, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]) for at in range(len(sealed))),
        *((KEY, sealed[:size]) for size in range(len(sealed))),
        (KEY, sealed + b"\0"),
    ):
        with pytest.raises(ValueError, match="not sealed"):
            unseal(key, text)


async def test_a_replica_finds_what_another_one_keeps() -> None:
    store = Store()
    one, other = (Secrets(None, store, "keys") for _ in range(2))
    one.keep(KEY, HELD, 100.0)
    assert [seconds for _, seconds in store.kept.values()] == [500.0]
    assert await other.find(KEY, 599.0 + LEEWAY) == HELD, "each machine has a clock of its own"
    assert await Secrets(None, store, "calls").find(KEY, 0.0) is None
    assert await other.find(KEY + b"y", 0.0) is None
    one.forget(lambda who: who.name == "ann")
    assert await other.find(KEY, 0.0) is None


async def test_what_a_store_gives_back_after_its_end_is_nothing() -> None:
    store = Store()
    one, other = (Secrets(None, store, "keys") for _ in range(2))
    one.keep(KEY, HELD, 100.0)
    (text, _), *_ = store.kept.values()
    one.forget(lambda who: True)
    store.hold("keys " + sha256(KEY).hexdigest(), text, 1_000_000.0)  # restored from a copy
    assert await other.find(KEY, 599.0) == HELD
    assert await other.find(KEY, 600.0 + LEEWAY) is None
    assert await one.find(KEY, 600.0 + LEEWAY) is None


def test_a_key_is_known_by_its_mark_until_it_ends() -> None:
    here, there, stranger = Mint(Secret("redis://:a@one")), Mint(Secret("redis://:a@one")), Mint(Secret("redis://one"))
    key = here.new(600.5)
    assert there.made(key, 599.0 + LEEWAY)
    assert not there.made(key, 600.0 + LEEWAY)
    assert not stranger.made(key, 0.0)
    assert here.new(600.5) != key
    for at in range(len(key)):
        assert not here.made(key[:at] + bytes([key[at] ^ 1]) + key[at + 1 :], 0.0)
        assert not here.made(key[:at], 0.0)
    for text in (b"", b"ek_", key + key, b"sk_" + key[3:], b"ek_\xff"):
        assert not here.made(text, 0.0)


def test_a_relay_without_a_store_has_a_mark_of_its_own() -> None:
    key = Mint().new(600.0)
    assert Mint().made(key, 0.0)
    imports = "import sys; from chukei.gateway.sockets.secrets import Mint"
    script = f"{imports}; sys.exit(Mint().made(sys.argv[1].encode(), 0))"
    assert subprocess.run([sys.executable, "-c", script, key.decode()], check=False).returncode == 0


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA"])
async def test_what_no_relay_has_written_is_nothing(text: str) -> None:
    store = Store()
    one = Secrets(None, store, "keys")
    one.keep(KEY, HELD, 0.0)
    store.kept = dict.fromkeys(store.kept, (text, 1.0))
    assert await Secrets(None, store, "keys").find(KEY, 0.0) is None


async def test_a_store_that_is_away_is_no_reason_to_refuse_a_key() -> None:
    store = Store()
    store.away = True
    one = Secrets(None, store, "keys")
    one.keep(KEY, HELD, 0.0)
    assert await one.find(KEY, 0.0) == HELD
    with pytest.raises(Unavailable):
        await one.find(KEY + b"y", 0.0)
