"""The wiring of what administrators and operators ask: the admin API, the metrics' page."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from chukei.accounts.admission import Admission
from chukei.accounts.policy import Policies
from chukei.adapters.identity.access import peppers
from chukei.adapters.ledger.accounting import Accounting
from chukei.adapters.ledger.rule_book import RuleBook
from chukei.callers.operator_key import OperatorKey
from chukei.callers.throttle import Throttle
from chukei.config import Reload, Secret, Settings
from chukei.gateway.scrape import Scrape, wrong_key
from chukei.pool import Pool
from chukei.ports import Clock, Peers

if TYPE_CHECKING:
    from chukei.admin.api import Admin
    from chukei.admin.feed import Feed
    from chukei.callers.administrators import Administrator
    from chukei.callers.tokens import TokenReader

RULES = "rules"
"""The subject on which workers tell each other that administrators' rules have changed."""


class Administration:
    """What administrators' and operators' routes work with, under every configuration."""

    def __init__(
        self,
        accounting: Accounting,
        clock: Clock,
        rules: RuleBook | None,
        reload: Reload | None,
        peers: Peers,
        failures_per_minute: int,
    ) -> None:
        self._accounting = accounting
        self._clock = clock
        self._rules = rules
        self._reload = reload
        self.peers = peers
        self._feed: Feed | None = None  # one for all configurations: a shutdown ends its streams
        if rules is not None:
            peers.answer(RULES, rules.soon)
        self._throttles = Throttle(failures_per_minute, clock), Throttle(failures_per_minute, clock)

    def allow(self, failures_per_minute: int) -> None:
        """Change the limit of wrong keys; the failures so far still count."""
        for throttle in self._throttles:
            throttle.allow(failures_per_minute)

    def scrape(self, settings: Settings) -> Scrape:
        """Return the page of metrics."""

        def write(snapshots: Sequence[bytes], accept: str) -> tuple[str, bytes]:
            from chukei.adapters.prometheus import write_page  # imported at the first scrape

            return write_page(snapshots, accept)

        key = settings.metrics.api_key
        checked = OperatorKey(_digest(key), self._throttles[1], wrong_key) if key is not None else None
        return Scrape(self.peers, write, key=checked, open=settings.metrics.open)

    def api(
        self,
        settings: Settings,
        pool: Pool,
        policies: Policies,
        admission: Admission,
        tokens: "TokenReader[Administrator] | None" = None,
    ) -> "Admin | None":
        """Return the admin API, if it is configured, with a database. ``tokens`` reads those of administrators."""
        wanted, database = settings.admin, self._accounting.database
        if not wanted.open or database is None or self._rules is None:
            return None
        from chukei.admin.access import AdminAccess
        from chukei.admin.api import Admin
        from chukei.admin.callers import CallerDesk
        from chukei.admin.configuration import ConfigurationDesk
        from chukei.admin.feed import Feed
        from chukei.admin.groups import GroupDesk
        from chukei.admin.rules import RuleDesk
        from chukei.callers.registry import KeyRegistry

        if self._feed is None:
            self._feed = Feed(self.peers, utc_now)
        groups, currency = settings.policies.groups, wanted.currency
        return Admin(
            AdminAccess(self._throttles[0], key=wanted.api_key, tokens=tokens, entra=wanted.entra),
            database,
            KeyRegistry(database, peppers(settings), utc_now, groups=groups),
            pool,
            clock=self._clock,
            now=utc_now,
            ledger_state=self._accounting.state,
            peers=self.peers,
            feed=self._feed,
            rules=RuleDesk(database, groups, utc_now, changed=partial(_spread, self._rules, self.peers)),
            callers=CallerDesk(database, policies, admission, settings.policies.callers, currency, utc_now),
            groups=GroupDesk(groups, policies, admission, currency),
            currency=currency,
            configuration=ConfigurationDesk(settings),
            reload=self._reload,
        )


async def _spread(rules: RuleBook, peers: Peers) -> None:
    """Apply a change in this process, then in the other workers."""
    await rules.refresh()
    await peers.ask(RULES)


def _digest(key: Secret) -> bytes:
    return hashlib.sha256(key.reveal().encode()).digest()


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)
