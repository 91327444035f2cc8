"""Keys and Lua scripts of quotas in Redis, their arguments and their answers. Without I/O.

The scripts do the arithmetic of ``accounts/quota.py``, which gives the reasons. They use the clock of Redis, so
replicas' clocks need not agree. A subject has a hash with a field for each limit, in readable text: ``slot=amount``,
separated by spaces. Its leases are a sorted set by expiry. A reservation is a string: its time and its amounts. When it
is settled, its key says so for a while. Then a late retry does not settle it twice, and a late reservation charges
nothing. All keys expire. They have one hash tag, so that a cluster stores them on one node.
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
"""The Lua expression of the scripts for the time: seconds and microseconds since 1970."""

SETTLED_SECONDS = 120
"""Seconds for which a settled reservation is remembered; longer than a connection can hang."""

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

# KEYS: the reservation, and for each subject its hash and its leases. ARGV: the id of the reservation (empty to read
# without reserving), tokens, money, and for each limit the number of its subject, its kind and its maximum.
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

# KEYS: as above. ARGV: the id, used tokens, used money, and for each limit the number of its subject and its kind.
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

# KEYS: for each reservation its own key and those of its leases. ARGV: for each its id and its number of leases. A
# missing lease is created again, since Redis may have lost it while the request still runs. A settled one is not.
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
    """The three scripts of quotas."""

    reserve: Script
    settle: Script
    renew: Script


def scripts(time: str = SERVER_TIME) -> Scripts:
    """Return the scripts. ``time`` is a Lua expression with the result of TIME; tests pass their own."""
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
    """The commands for a request's limits, encoded in advance except for its id and amounts.

    ``lasting`` is the number of seconds after a reservation for which settling it still matters.
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
        """Return the command that reserves. With an empty id it only reads the usage."""
        return self._filled(self._reserve, id, amounts)

    def settle(self, id: str, amounts: Amounts) -> bytes:
        """Return the command that settles."""
        return self._filled(self._settle, id, amounts)

    def _filled(self, around: tuple[bytes, bytes], id: str, amounts: Amounts) -> bytes:
        """Return a command. It is encoded by hand, because each request does this twice."""
        front, back = around
        held, name = f"{self._held}{id}".encode(), id.encode()
        t, m = b"%d" % clamped(amounts.tokens), b"%d" % clamped(amounts.money)
        key = b"$%d\r\n%b\r\n%b" % (len(held), held, self._keys)
        own = b"$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(t), t, len(m), m)
        return front + key + own + back

    def leases(self, id: str) -> list[str]:
        """Return the keys for renewing a reservation's leases; an empty list if it has none."""
        return [f"{self._held}{id}", *self._leases] if self._leases else []


def _around(script: Script, keys: int, rest: Sequence[int]) -> tuple[bytes, bytes]:
    """Return the parts of a command before the reservation's key and after the amounts."""
    return b"*%d\r\n%b%b" % (3 + keys + 3 + len(rest), script.head, packed((keys,))), packed(rest)


def read_answer(id: str, limits: Sequence[Wanted], amounts: Amounts, answer: Sequence[int]) -> Grant | Refusal:
    """Decode the script's answer to a reservation.

    Raises:
        ValueError: a reservation with this id exists or existed.
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
    """Decode the headroom. For each limit the script returns the used amount and the last slot with an amount.

    The result is that of ``headroom_of``. Values that are the same for all requests are cached.
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
    """Return the time in milliseconds from which the amounts of a slot no longer count."""
    return round(seconds_until_gone(kind, slot, Now(0, 0)) * 1000)
