"""What is written to Redis for quotas: keys, scripts, and what goes into and comes out of them. No connection is here.

The scripts are the arithmetic of quota.py, where its reasons are; so that replicas need not agree on the time, it is
Redis' own. Each limit of a subject is a field of one hash, ``slot=amount`` separated by spaces, which people can read;
its leases are a sorted set by their ends. A reservation is a string, its moment and what it reserved, until it is
settled; then its key says so for a while, lest a retry that comes late settle it again, or a reservation that comes
late charge anything. All keys expire, and all have one hash tag, so that a cluster keeps them together.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from chukei.accounts.limits import RATES, Amounts, Grant, Headroom, Refusal
from chukei.accounts.quota import (
    CONCURRENT,
    CONCURRENT_SECONDS,
    DAY_MS,
    KEPT_SECONDS,
    KINDS,
    LEASE_MS,
    MINUTE_SECONDS,
    MOST,
    SLOT_MS,
    SLOTS,
    Now,
    Wanted,
    asks_of,
    clamped,
    refusal_of,
    seconds_until_gone,
)
from chukei.adapters.redis.commands import Script, packed

SERVER_TIME = "redis.call('TIME')"
"""Where the scripts have the time from: seconds and microseconds since 1970."""

SETTLED_SECONDS = 120
"""How long it is remembered that a reservation was settled: longer than a connection that hangs."""

_BEGIN = """
local clock = @TIME@
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function slots_at(ms)
  local slot, day = math.floor(ms / @SLOT_MS@), math.floor(ms / @DAY_MS@)
  local era = math.floor((day + 719468) / 146097)
  local of_era = day + 719468 - era * 146097
  local f = math.floor
  local year = f((of_era - f(of_era / 1460) + f(of_era / 36524) - f(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + f(year / 4) - f(year / 100))
  local month = 12 * (year + 400 * era) + f((5 * of_year + 2) / 153) + 2
  return {slot, slot, day, month, month}
end
local fields = {@FIELDS@}
local function text(number) return string.format('%.0f', number) end
local function amounts_in(written)
  local slots, amounts = {}, {}
  for slot, amount in string.gmatch(written or '', '(%d+)=(%d+)') do
    slots[#slots + 1], amounts[#amounts + 1] = tonumber(slot), tonumber(amount)
  end
  return slots, amounts
end
local function write(key, kind, slots, amounts)
  local parts = {}
  for i = 1, #slots do parts[i] = text(slots[i]) .. '=' .. text(amounts[i]) end
  if #parts > 0 then
    redis.call('HSET', key, fields[kind], table.concat(parts, ' '))
  else
    redis.call('HDEL', key, fields[kind])
  end
end
"""

# KEYS: the reservation, and for each subject its account and its leases. ARGV: its id, empty for a mere look, tokens,
# money, and for each limit the number of its subject, its kind, and how much it allows.
RESERVE = (
    _BEGIN
    + """
local id, tokens, money = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if id ~= '' and redis.call('EXISTS', KEYS[1]) == 1 then return {-1, 0} end
local spans, lasting = {@SLOTS@, @SLOTS@, 0, 0, 0}, {70, 70, 90000, 2764800, 2764800, 70}
local present, asks = slots_at(now), {1, tokens, tokens, tokens, money, 1}
local answer, charges = {1, now}, {}
for at = 4, #ARGV, 3 do
  local subject, kind, most = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local account, leases = KEYS[2 * subject], KEYS[2 * subject + 1]
  local used, newest, slots, amounts = 0, -1, {}, {}
  if kind == 6 then
    used = redis.call('ZCOUNT', leases, '(' .. text(now), now + @LEASE_MS@)
    if used < redis.call('ZCARD', leases) then
      redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
      redis.call('ZREMRANGEBYSCORE', leases, '(' .. text(now + @LEASE_MS@), '+inf')
    end
  else
    local all, charged = amounts_in(redis.call('HGET', account, fields[kind]))
    for i = 1, #all do
      if all[i] >= present[kind] - spans[kind] and all[i] <= present[kind] then
        slots[#slots + 1], amounts[#amounts + 1] = all[i], charged[i]
        used = math.min(used + charged[i], @MOST@)
        if charged[i] > 0 then newest = all[i] end
      end
    end
    if #slots < #all then write(account, kind, slots, amounts) end
  end
  if id ~= '' and asks[kind] > most - used then
    local need, leaving = asks[kind] - (most - used), -1
    for i = 1, #slots do
      leaving, need = slots[i], need - amounts[i]
      if need <= 0 then break end
    end
    return {0, now, (at - 4) / 3, used, leaving}
  end
  charges[#charges + 1] = {kind, account, leases, slots, amounts}
  answer[#answer + 1], answer[#answer + 2] = used, newest
end
if id == '' then return answer end
local last = {}
for i, charge in ipairs(charges) do
  local kind, account, leases, slots, amounts = unpack(charge)
  local at = 2 * i + 1
  answer[at] = answer[at] + asks[kind]
  if kind == 6 then
    redis.call('ZADD', leases, now + @LEASE_MS@, id)
    redis.call('PEXPIRE', leases, 2 * @LEASE_MS@)
  else
    if slots[#slots] ~= present[kind] then slots[#slots + 1], amounts[#amounts + 1] = present[kind], 0 end
    amounts[#amounts] = amounts[#amounts] + asks[kind]
    if asks[kind] > 0 then answer[at + 1] = present[kind] end
    write(account, kind, slots, amounts)
    last[account] = math.max(last[account] or 0, lasting[kind])
  end
end
for account, seconds in pairs(last) do redis.call('EXPIRE', account, seconds) end
redis.call('SET', KEYS[1], text(now) .. ' ' .. text(tokens) .. ' ' .. text(money), 'EX', @KEPT_SECONDS@)
return answer
"""
)

# KEYS: as above. ARGV: id, tokens and money that were used, and for each limit the number of its subject and its kind.
SETTLE = (
    _BEGIN
    + """
for i = 3, #KEYS, 2 do redis.call('ZREM', KEYS[i], ARGV[1]) end
local reserved = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], 'settled', 'EX', @SETTLED_SECONDS@)
if not reserved or reserved == 'settled' then return 0 end
local at, reserved_tokens, reserved_money = string.match(reserved, '(%d+) (%d+) (%d+)')
local tokens, money = ARGV[2] - reserved_tokens, ARGV[3] - reserved_money
local then_present, by = slots_at(tonumber(at)), {0, tokens, tokens, tokens, money}
for i = 4, #ARGV, 2 do
  local account, kind = KEYS[2 * ARGV[i]], tonumber(ARGV[i + 1])
  if kind ~= 6 and by[kind] ~= 0 then
    local slots, amounts = amounts_in(redis.call('HGET', account, fields[kind]))
    for j = 1, #slots do
      if slots[j] == then_present[kind] then
        amounts[j] = math.max(0, math.min(amounts[j] + by[kind], @MOST@))
        write(account, kind, slots, amounts)
      end
    end
  end
end
return 1
"""
)

# KEYS: for each reservation itself and the leases that it has. ARGV: for each its id and how many leases it has. A
# lease that is gone is made anew, for Redis may have lost it and the request goes on; not so one that was settled.
RENEW = (
    _BEGIN
    + """
local key = 1
for i = 1, #ARGV, 2 do
  local going_on = redis.call('GET', KEYS[key]) ~= 'settled'
  for _ = 1, ARGV[i + 1] do
    key = key + 1
    if going_on then
      redis.call('ZADD', KEYS[key], now + @LEASE_MS@, ARGV[i])
      redis.call('PEXPIRE', KEYS[key], 2 * @LEASE_MS@)
    end
  end
  key = key + 1
end
return now
"""
)


class Scripts(NamedTuple):
    """The scripts."""

    reserve: Script
    settle: Script
    renew: Script


def scripts(time: str = SERVER_TIME) -> Scripts:
    """Return the scripts; ``time`` is an expression of what TIME returns, so that tests can choose it."""
    values = {
        "TIME": time,
        "FIELDS": ", ".join(f"'{kind}'" for kind in KINDS),
        "SLOT_MS": SLOT_MS,
        "SLOTS": SLOTS,
        "DAY_MS": DAY_MS,
        "LEASE_MS": LEASE_MS,
        "MOST": MOST,
        "KEPT_SECONDS": int(KEPT_SECONDS),
        "SETTLED_SECONDS": SETTLED_SECONDS,
    }
    texts = [re.sub(r"@(\w+)@", lambda name: str(values[name[1]]), text) for text in (RESERVE, SETTLE, RENEW)]
    return Scripts(*map(Script, texts))


class QuotaCommands:
    """The commands of one request's limits, put together but for its id and amounts.

    ``lasting`` is for how many seconds after a reservation its settling matters.
    """

    __slots__ = ("_held", "_keys", "_leases", "_reserve", "_settle", "lasting", "limits")

    def __init__(self, namespace: str, scripts: Scripts, limits: Sequence[Wanted]) -> None:
        tag = f"{{{namespace}:quota}}"
        names = {name: number for number, name in enumerate(dict.fromkeys(limit.subject for limit in limits), 1)}
        self.limits = limits
        self.lasting = KEPT_SECONDS if any(KINDS[limit.kind] not in RATES for limit in limits) else MINUTE_SECONDS
        self._held = f"{tag}:held:"
        self._leases = [f"{tag}:leases:{limit.subject}" for limit in limits if limit.kind == CONCURRENT]
        self._keys = packed(key for name in names for key in (f"{tag}:of:{name}", f"{tag}:leases:{name}"))
        count = 1 + 2 * len(names)
        asked = [argument for subject, kind, most in limits for argument in (names[subject], kind + 1, most)]
        corrected = [argument for subject, kind, _ in limits for argument in (names[subject], kind + 1)]
        self._reserve = _around(scripts.reserve, count, asked)
        self._settle = _around(scripts.settle, count, corrected)

    def reserve(self, id: str, amounts: Amounts) -> bytes:
        """Return the command of a reservation; with an empty id, of a look."""
        return self._filled(self._reserve, id, amounts)

    def settle(self, id: str, amounts: Amounts) -> bytes:
        """Return the command of settling."""
        return self._filled(self._settle, id, amounts)

    def _filled(self, around: tuple[bytes, bytes], id: str, amounts: Amounts) -> bytes:
        """Return a command. The text is put together by hand, for this is done twice for each request."""
        front, back = around
        held, name = f"{self._held}{id}".encode(), id.encode()
        t, m = b"%d" % clamped(amounts.tokens), b"%d" % clamped(amounts.money)
        key = b"$%d\r\n%b\r\n%b" % (len(held), held, self._keys)
        own = b"$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(t), t, len(m), m)
        return front + key + own + back

    def leases(self, id: str) -> list[str]:
        """Return the keys for renewing a reservation's leases; none where it has none."""
        return [f"{self._held}{id}", *self._leases] if self._leases else []


def _around(script: Script, keys: int, rest: Sequence[int]) -> tuple[bytes, bytes]:
    """Return what of a command is before the reservation's key, and what after the amounts."""
    return b"*%d\r\n%b%b" % (3 + keys + 3 + len(rest), script.head, packed((keys,))), packed(rest)


def read_answer(id: str, limits: Sequence[Wanted], amounts: Amounts, answer: Sequence[int]) -> Grant | Refusal:
    """Return what the script answered to a reservation.

    Raises:
        ValueError: there is or was a reservation of that id.
    """
    granted, ms = answer[0], answer[1]
    if granted == -1:
        raise ValueError("an id is reserved twice")
    if granted:
        return Grant(id, read_look(limits, answer))
    _, _, index, used, leaving = answer
    limit = limits[index]
    return refusal_of(limit, used, asks_of(amounts)[limit.kind], leaving if leaving >= 0 else None, Now(ms, ms))


def read_look(limits: Sequence[Wanted], answer: Sequence[int]) -> tuple[Headroom, ...]:
    """Return what the script says is left: for each limit how much is used, and the last slot that holds something.

    It is what ``headroom_of`` says, with what does not change from request to request worked out once.
    """
    ms, left = answer[1], []
    for at, (subject, kind, most) in enumerate(limits, 1):
        used, newest = answer[2 * at], answer[2 * at + 1]
        reset = (_gone_at(kind, newest) - ms) / 1000 if newest >= 0 else 0.0
        if kind == CONCURRENT and used:
            reset = CONCURRENT_SECONDS
        left.append(Headroom(subject, KINDS[kind], most, most - used if used < most else 0, reset))
    return tuple(left)


@lru_cache(maxsize=64)
def _gone_at(kind: int, slot: int) -> int:
    """Return from which millisecond on what is charged in a slot no longer counts."""
    return round(seconds_until_gone(kind, slot, Now(0, 0)) * 1000)
