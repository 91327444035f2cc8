"""Random histories: whatever happens in whatever order, a choice is right, and so is what is kept to choose quickly."""

import pytest
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.pool.reference import DRAWN, Reference

from chukei.config import PoolSettings
from chukei.errors import Unavailable
from chukei.model import Change, Condition, Deployment, Headers, Model
from chukei.pool import Fault, Lease, Pool, Source, Verdict
from chukei.pool.balance import SPARE, Group, Tier
from chukei.pool.member import Member

BEGUN = 1000.0
PLAIN: Headers = [(b"x-ms-region", b"Sweden Central")]
CLOSE_TO_LIMIT: Headers = [(b"azure-openai-deployment-utilization", b"97%")]

DEPLOYMENTS = st.builds(
    Deployment,
    name=st.just(""),
    endpoint=st.just("https://r.example"),
    deployment=st.just(""),
    priority=st.sampled_from([1, 1, 2, 3]),
    weight=st.sampled_from([1, 1, 2, 5, 0]),
    max_concurrent=st.sampled_from([None, None, 1, 2]),
    quota_group=st.sampled_from([None, None, "shared"]),
)
SETTINGS = st.builds(
    PoolSettings,
    breaker_failures=st.sampled_from([0, 1, 3, 3]),
    max_cooldown_seconds=st.sampled_from([0.0, 30.0, 300.0, 300.0]),
    misconfigured_seconds=st.sampled_from([0.0, 60.0]),
    max_breaker_seconds=st.sampled_from([5.0, 60.0]),
    affinity_load=st.sampled_from([1.0, 1.25, 3.0]),
)
SECONDS = st.sampled_from([None, 0.1, 0.5, 7.0, 20.0, 3600.0])
VERDICTS = st.builds(
    Verdict,
    fault=st.sampled_from(Fault),
    why=st.just("why"),
    seconds=SECONDS,
    transport=st.booleans(),
    room=st.sampled_from([None, None, 1000.0]),
)
SOURCES = st.sampled_from([None, None, "ann", "bob", "eve"])


def source_of(name: str | None) -> Source | None:
    return Source(name, b"") if name is not None else None


def named(deployments: list[Deployment]) -> list[Deployment]:
    found = []
    for number, each in enumerate(deployments):
        found.append(
            Deployment(
                f"d{number}",
                f"https://r{number}.example",
                "gpt-4o",
                priority=each.priority,
                weight=each.weight,
                max_concurrent=each.max_concurrent,
                quota_group=each.quota_group,
            )
        )
    return found


class Histories(RuleBasedStateMachine):
    """Events on a pool, and on the reference beside it."""

    pool: Pool
    reference: Reference

    @initialize(data=st.data(), deployments=st.lists(DEPLOYMENTS, min_size=1, max_size=6), settings=SETTINGS)
    def begin(self, data: st.DataObject, deployments: list[Deployment], settings: PoolSettings) -> None:
        every = named(deployments)
        models = {}
        for number in range(data.draw(st.integers(1, 3), label="models")):
            chosen = data.draw(st.sets(st.sampled_from(every), min_size=1), label="deployments of the model")
            if not any(each.weight for each in chosen):
                chosen.add(Deployment(f"extra{number}", f"https://extra{number}.example", "gpt-4o"))
            ordered = sorted(chosen, key=lambda each: (each.priority, each.name))
            models[f"m{number}"] = Model(f"m{number}", tuple(ordered))
        self.now = BEGUN
        self.pool = Pool(models, settings, default="m0", open=None, draw=lambda: DRAWN)
        self.reference = Reference(models, settings)
        self.told: set[tuple[Lease, str]] = set()

    # What happens.

    @rule(
        data=st.data(),
        cost=st.integers(0, 5000),
        key=st.none() | st.integers(0, 2**64 - 1),
        again=st.booleans(),
        source=SOURCES,
    )
    def choose(self, data: st.DataObject, cost: int, key: int | None, again: bool, source: str | None) -> None:
        model = self._model(data)
        tried: set[Deployment] = set()
        if again:
            tried = data.draw(st.sets(st.sampled_from(model.deployments)), label="tried")
        best = self.reference.best(model, self.now, tried, source, cost)
        barred = {each for each in model.deployments if self.reference.barred(each, source, cost, self.now)}
        next_by_rule = self._next_by_rule(model, tried | barred)
        told = self.pool.refusal(model.name, self.now, cost=cost, source=source_of(source))
        assert (told is None) is bool(self.reference.best(model, self.now, set(), source, cost))
        try:
            lease = self.pool.choose(
                model.name, self.now, cost=cost, tried=self._members(tried), key=key, source=source_of(source)
            )
        except Unavailable as error:
            assert not best, "refused although one is available"
            if not tried and not barred:
                self._check_refusal(error, model)
            return
        assert lease.deployment in best
        if key is None:
            assert lease.deployment in next_by_rule
        self._entered(lease, source, cost)

    @rule(data=st.data(), cost=st.integers(0, 5000), source=SOURCES)
    def choose_home(self, data: st.DataObject, cost: int, source: str | None) -> None:
        model = self._model(data)
        home = data.draw(st.sampled_from(model.deployments), label="home")
        barred = self.reference.barred(home, source, cost, self.now)
        if barred or not self.reference.available(home, self.now):
            with pytest.raises(Unavailable) as caught:
                self.pool.choose_home(model.name, home.identity, self.now, cost=cost, source=source_of(source))
            assert caught.value.code == "stateful_deployment_busy"
            if not barred:
                assert self._waits(caught.value)[1] == pytest.approx(self.reference.wait(home, self.now), abs=0.002)
            return
        lease = self.pool.choose_home(model.name, home.identity, self.now, cost=cost, source=source_of(source))
        assert lease is not None
        assert lease.deployment == home
        self._entered(lease, source, cost)

    @precondition(lambda self: self._untold("answered"))
    @rule(data=st.data(), headers=st.sampled_from([PLAIN, CLOSE_TO_LIMIT]))
    def answer(self, data: st.DataObject, headers: Headers) -> None:
        lease = data.draw(st.sampled_from(self._untold("answered")), label="lease")
        self.told.add((lease, "answered"))
        lease.answered(self.now, 0.3, headers)
        self.reference.answered(lease)

    @precondition(lambda self: self._untold("failed"))
    @rule(data=st.data(), verdict=VERDICTS)
    def fail(self, data: st.DataObject, verdict: Verdict) -> None:
        lease = data.draw(st.sampled_from(self._untold("failed")), label="lease")
        self.told |= {(lease, "failed"), (lease, "answered")}
        lease.failed(self.now, verdict)
        self.reference.failed(lease, verdict, self.now)

    @precondition(lambda self: self.reference.running)
    @rule(data=st.data(), twice=st.booleans())
    def release(self, data: st.DataObject, twice: bool) -> None:
        lease = data.draw(st.sampled_from(list(self.reference.running)), label="lease")
        self.reference.released(lease)
        lease.release(self.now)
        if twice:
            lease.release(self.now)

    @rule(seconds=st.sampled_from([0.001, 0.1, 1.0, 4.75, 5.0, 10.0, 60.0, 300.0, 86_400.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data(), condition=st.sampled_from(Condition), seconds=st.sampled_from([-1.0, 0.0, 0.3, 8.0, 1e6]))
    def hear(self, data: st.DataObject, condition: Condition, seconds: float) -> None:
        subject = data.draw(st.sampled_from([*self.pool.subjects, "https://unknown.example/x"]), label="subject")
        change = Change(condition, subject, seconds, "heard")
        self.pool.hear(change, self.now)
        self.reference.heard(change, self.now)

    # What must hold.

    @invariant()
    def what_is_kept_is_what_a_recount_gives(self) -> None:
        reference, health = self.reference, self.pool._health
        health.wake(self.now)
        for served in self.pool._models:
            for member in served.members:
                assert member.outstanding == reference.outstanding(member.deployment)
                assert member.tokens == reference.tokens(member.deployment)
                assert member.available(self.now) is reference.available(member.deployment, self.now)
            assert served.available is bool(reference.best(served.model, self.now, set()))
            assert [tier._slots[0].member.deployment.priority for tier in served.tiers] == sorted(
                {each.priority for each in served.model.deployments if each.weight}
            )
            for tier in served.tiers:
                self._recount(tier)
        assert len(health._wakes) <= 40 * len(reference.deployments)

    def _recount(self, tier: Tier[Member]) -> None:
        free = [slot for slot in tier._slots if self.reference.available(slot.member.deployment, self.now)]
        assert [slot for slot in tier._slots if slot.available] == free
        assert tier.available == len(free)
        assert tier._weight == sum(slot.member.deployment.weight for slot in free)
        assert tier._tokens == sum(slot.member.tokens for slot in free)
        assert len(tier._queue) <= 2 * len(tier._groups) + SPARE + 1
        for group in tier._groups:
            assert group.available == sum(slot.group is group for slot in free)
            valid = [entry for entry in tier._queue if entry[2] is group and entry[1] == group.turn]
            if group.available:
                assert [entry[0] for entry in valid] == [group.passed]
            self._recount_heap(group)

    def _recount_heap(self, group: Group[Member]) -> None:
        if len(group.slots) == 1:
            return
        assert len(group.heap) <= 2 * len(group.slots) + SPARE + 1
        valid = {entry[3]: entry[:2] for entry in group.heap if entry[2] == entry[3].turn}
        assert valid == {
            slot: (self.now < slot.member.pressed_until, slot.member.tokens + slot.had)
            for slot in group.slots
            if slot.available
        }

    @invariant()
    def a_deployment_that_could_serve_makes_ready(self) -> None:
        model = self.reference.models["m0"]
        assert self.pool.ready(self.now) is any(not self.reference.open(each, self.now) for each in model.deployments)

    def teardown(self) -> None:
        """After all of it, everything is given back, and every deployment is chosen again."""
        if not hasattr(self, "pool"):
            return
        for lease in list(self.reference.running):
            lease.release(self.now)
            self.reference.released(lease)
        self.what_is_kept_is_what_a_recount_gives()
        self.now += 86_400.0
        for served in self.pool._models:
            assert all((member.outstanding, member.tokens) == (0, 0) for member in served.members)
            tried: list[Deployment] = []
            for tier in served.tiers:
                due = {slot.member.deployment for slot in tier._slots}
                found = {self._one(served.model.name, tried) for _ in range(400)}
                assert found == due
                tried += due

    def _one(self, model: str, tried: list[Deployment]) -> Deployment:
        self.now += 0.01
        lease = self.pool.choose(model, self.now, cost=100, tried=self._members(set(tried)))
        lease.answered(self.now, 0.3, PLAIN)
        lease.release(self.now)
        return lease.deployment

    # Looking into it.

    def _model(self, data: st.DataObject) -> Model:
        return data.draw(st.sampled_from(list(self.reference.models.values())), label="model")

    def _members(self, deployments: set[Deployment]) -> list[Member]:
        return [self.pool._health.roster.members[each] for each in deployments]

    def _untold(self, event: str) -> list[Lease]:
        return [lease for lease in self.reference.running if (lease, event) not in self.told]

    def _entered(self, lease: Lease, source: str | None, cost: int) -> None:
        self.reference.chosen(lease, source, cost, self.now)

    def _next_by_rule(self, model: Model, tried: set[Deployment]) -> set[Deployment]:
        """Return those with the least to do in the groups that are furthest behind."""
        self.pool._health.wake(self.now)
        for tier in self.pool._models.find(model.name).tiers:
            free = [slot for slot in tier._slots if slot.available and slot.member.deployment not in tried]
            if free:
                behind = min(slot.group.passed for slot in free)
                group = [slot for slot in free if slot.group.passed == behind]
                orders = {slot: (self.now < slot.member.pressed_until, slot.member.tokens + slot.had) for slot in group}
                least = {
                    each: min(orders[slot] for slot in group if slot.group is each)
                    for each in {slot.group for slot in group}
                }
                return {slot.member.deployment for slot in group if orders[slot] == least[slot.group]}
        return set()

    def _waits(self, error: Unavailable) -> tuple[int, float]:
        fields = dict(error.headers)
        seconds, milliseconds = int(fields[b"retry-after"]), int(fields[b"retry-after-ms"])
        assert (seconds - 1) * 1000 < milliseconds <= seconds * 1000
        return error.status, milliseconds / 1000

    def _check_refusal(self, error: Unavailable, model: Model) -> None:
        status, seconds = self._waits(error)
        expected, wait = self.reference.refusal(model, self.now)
        assert status == expected
        assert wait <= seconds < wait + 0.002 or seconds == pytest.approx(wait, abs=1e-6)
        assert error.code == ("all_deployments_busy" if status == 429 else "no_deployment_available")


Histories.TestCase.settings = profile(stateful_step_count=60)
TestHistories = Histories.TestCase
