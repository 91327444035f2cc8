"""[pool], [stores] and what deployments say of their place in the pool: every key, every kind of mistake."""

from pathlib import Path

import pytest

from chukei.config import ConfigError, PoolSettings, Settings, load
from chukei.config.pool import AFFINITIES

PASSWORD = "pw-very-secret-0123"
EAST = 'endpoint = "https://east.example"\napi_key = { env = "KEY" }\n'
DEPLOYMENTS = f"[deployments.a]\n{EAST}deployment = 'gpt'\n"


def read(tmp_path: Path, text: str, **environment: str) -> Settings:
    path = tmp_path / "chukei.toml"
    path.write_text(text)
    return load(path, {"KEY": "key"} | environment)


def problems(tmp_path: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **environment)
    assert PASSWORD not in str(caught.value)
    return [str(problem).removeprefix(f"{tmp_path / 'chukei.toml'}: ") for problem in caught.value.problems]


# [pool].


def test_without_a_word_there_are_three_attempts_and_all_affinities() -> None:
    settings = load(None, {}).pool
    assert settings == PoolSettings()
    assert (settings.attempts, settings.deadline_seconds, settings.retry_share) == (3, 120.0, 0.2)
    assert (settings.affinity, settings.hedge_share, settings.deployment_header) == (AFFINITIES, 0.0, False)


MISTAKES = [
    ("attempts = 0", "attempts: must be between 1 and 100, not 0"),
    ("attempts = 101", "attempts: must be between 1 and 100, not 101"),
    ("attempts = 1.5", "attempts: must be a whole number, not a number"),
    ("attempts = true", "attempts: must be a whole number, not true or false"),
    ("deadline_seconds = 0", "deadline_seconds: must be between"),
    ('deadline_seconds = "120"', "deadline_seconds: must be a number of seconds, not a string"),
    ("deadline_seconds = inf", "deadline_seconds: must be between"),
    ("retry_share = -0.1", "retry_share: must be between 0 and 10, not -0.1"),
    ("retry_share = 11", "retry_share: must be between 0 and 10, not 11"),
    ("retry_share = nan", "retry_share: must be between 0 and 10, not nan"),
    ('retry_share = "20 %"', "retry_share: must be a number, not a string"),
    ("cooldown_seconds = 0", "cooldown_seconds: must be between"),
    ("cooldown_seconds = -1", "cooldown_seconds: must be between"),
    ("max_cooldown_seconds = -1", "max_cooldown_seconds: must be between 0 and"),
    ("max_cooldown_seconds = 100000", "max_cooldown_seconds: must be between 0 and 86400 seconds, not 100000"),
    ("breaker_failures = -1", "breaker_failures: must be between 0 and"),
    ("breaker_failures = 2.0", "breaker_failures: must be a whole number"),
    ("breaker_seconds = 0", "breaker_seconds: must be between"),
    ("max_breaker_seconds = 0", "max_breaker_seconds: must be between"),
    ("breaker_seconds = 9\nmax_breaker_seconds = 8", "max_breaker_seconds: is below breaker_seconds"),
    ("max_breaker_seconds = 1", "max_breaker_seconds: is below breaker_seconds"),
    ("misconfigured_seconds = -1", "misconfigured_seconds: must be between 0 and"),
    ('affinity = ["user", "address"]', "affinity: 'address' is not one of prompt_cache_key, session, user, prompt"),
    ("affinity = [5]", "affinity: must hold strings only"),
    ("affinity = 5", "affinity: must be a list of strings, not a number"),
    ('session_header = "x session"', "session_header: 'x session' is not the name of a header"),
    ('session_header = "x-session:"', "session_header: 'x-session:' is not the name of a header"),
    ('session_header = ""', "session_header: must not be empty"),
    ("affinity_load = 0.9", "affinity_load: must be between 1 and 100, not 0.9"),
    ("hedge_share = 1.1", "hedge_share: must be between 0 and 1, not 1.1"),
    ("hedge_share = -0.1", "hedge_share: must be between 0 and 1, not -0.1"),
    ("deployment_header = 1", "deployment_header: must be true or false, not a number"),
    ("hedge = 0.1", "hedge: is not a known key; did you mean hedge_share?"),
]


def test_each_mistake_is_named(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for line, start in MISTAKES:
        with subtests.test(line=line):
            [problem] = problems(tmp_path, f"[pool]\n{line}\n")
            assert problem.startswith(f"pool.{start}")


def test_every_key_is_set_by_a_variable(tmp_path: Path) -> None:
    values = {
        "attempts": "5",
        "deadline_seconds": "60",
        "retry_share": "0",
        "cooldown_seconds": "1",
        "max_cooldown_seconds": "0",
        "breaker_failures": "0",
        "breaker_seconds": "2",
        "max_breaker_seconds": "3",
        "misconfigured_seconds": "0",
        "affinity": "user, prompt",
        "session_header": "X-Thread",
        "affinity_load": "1",
        "hedge_share": "1",
        "deployment_header": "true",
    }
    assert set(values) == set(PoolSettings.__slots__)
    found = read(
        tmp_path, "[pool]\nattempts = 2\n", **{f"CHUKEI_POOL__{key.upper()}": value for key, value in values.items()}
    )
    wanted = PoolSettings(5, 60.0, 0.0, 1.0, 0.0, 0, 2.0, 3.0, 0.0, ("user", "prompt"), "x-thread", 1.0, 1.0, True)
    assert found.pool == wanted


def test_affinity_can_be_switched_off(subtests: pytest.Subtests) -> None:
    for none in ["[]", ""]:
        with subtests.test(none=none):
            assert load(None, {"CHUKEI_POOL__AFFINITY": none}).pool.affinity == ()


def test_a_variables_mistake_is_the_variables(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "[pool]\nattempts = 2\n", CHUKEI_POOL__ATTEMPTS="many")
    assert problem == "CHUKEI_POOL__ATTEMPTS: must be a whole number, not a string"


# [stores].


def quota(settings: Settings) -> str | None:
    return settings.stores.quota.reveal() if settings.stores.quota is not None else None


def test_without_a_word_each_replica_is_by_itself() -> None:
    assert quota(load(None, {})) is None


ADDRESSES = ["redis://cache:6379/0", "rediss://cache.example", "redis://[2001:db8::1]:6380/1"]


def test_an_address_without_a_password_may_stand_anywhere(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for address in ADDRESSES:
        with subtests.test(address=address):
            assert quota(read(tmp_path, f'[stores]\nquota = "{address}"\n')) == address
            assert quota(read(tmp_path, '[stores]\nquota = { env = "REDIS" }\n', REDIS=address)) == address
            assert quota(read(tmp_path, "", CHUKEI_STORES__QUOTA=address)) == address


WITH_PASSWORD = [
    f"redis://:{PASSWORD}@cache:6379/0",
    f"rediss://user:{PASSWORD}@cache",
    f"redis://cache/0?password={PASSWORD}",
    f"rediss://cache?db=1&PASSWORD={PASSWORD}",
]


def test_an_address_with_a_password_is_a_secret(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for address in WITH_PASSWORD:
        with subtests.test(address=address):
            [problem] = problems(tmp_path, f'[stores]\nquota = "{address}"\n')
            assert problem.startswith("stores.quota: a secret does not belong in a file")
            for settings in (
                read(tmp_path, '[stores]\nquota = { env = "REDIS" }\n', REDIS=address),
                read(tmp_path, "", CHUKEI_STORES__QUOTA=address),
                read(tmp_path, "", CHUKEI_STORES__QUOTA='{ env = "REDIS" }', REDIS=address),
            ):
                assert quota(settings) == address
                assert PASSWORD not in repr(settings)


def test_memory_is_no_address(tmp_path: Path) -> None:
    assert quota(read(tmp_path, '[stores]\nquota = "memory"\n')) is None
    assert quota(read(tmp_path, '[stores]\nquota = { env = "REDIS" }\n', REDIS="memory")) is None
    other = '[stores]\nquota = "redis://cache"\n'
    assert quota(read(tmp_path, other, CHUKEI_STORES__QUOTA="memory")) is None


NO_REDIS = [
    "redis",
    "http://cache",
    "redis://",
    "redis://cache:99999",
    "redis://ca che",
    "unix:///run/redis.sock",
    "Memory",
    "sqlite:x",
]


def test_what_is_no_redis_is_refused(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for address in NO_REDIS:
        with subtests.test(address=address):
            [problem] = problems(tmp_path, f'[stores]\nquota = "{address}"\n')
            assert problem.startswith('stores.quota: must be "memory" or the address of a Redis')
            [problem] = problems(tmp_path, '[stores]\nquota = { env = "REDIS" }\n', REDIS=address)
            assert problem.startswith('stores.quota: must be "memory" or the address of a Redis')


STORE_MISTAKES = [
    ('quota = ""', "quota: must not be empty"),
    ("quota = 6379", "quota: a secret does not belong in a file"),
    ('quota = { env = "NOT_SET" }', "quota: the environment variable NOT_SET is not set"),
    ('quota = { env = "EMPTY" }', "quota: the environment variable EMPTY is empty"),
    ('quota = { variable = "EMPTY" }', "quota: a secret does not belong in a file"),
    ('qota = "memory"', "qota: is not a known key; did you mean quota?"),
]


def test_each_mistake_of_a_store_is_named(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for line, start in STORE_MISTAKES:
        with subtests.test(line=line):
            [problem] = problems(tmp_path, f"[stores]\n{line}\n", EMPTY="")
            assert problem.startswith(f"stores.{start}")


# A deployment's place in the pool.


def test_a_deployments_place_is_set_by_variables(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        DEPLOYMENTS,
        CHUKEI_DEPLOYMENTS__A__PRIORITY="0",
        CHUKEI_DEPLOYMENTS__A__WEIGHT="1000000",
        CHUKEI_DEPLOYMENTS__A__MAX_CONCURRENT="1",
        CHUKEI_DEPLOYMENTS__A__QUOTA_GROUP="7",
        CHUKEI_DEPLOYMENTS__A__SPILLOVER="gpt-4.1",
    )
    [found] = settings.models["a"].deployments
    assert (found.priority, found.weight, found.max_concurrent) == (0, 1_000_000, 1)
    assert (found.quota_group, found.spillover) == ("7", "gpt-4.1")


PLACE_MISTAKES = [
    ("priority = -1", "priority: must be between 0 and 1_000, not -1"),
    ("weight = -1", "weight: must be between 0 and 1_000_000, not -1"),
    ("weight = 0.5", "weight: must be a whole number"),
    ("max_concurrent = 0", "max_concurrent: must be between 1 and"),
    ("max_concurrent = -1", "max_concurrent: must be between 1 and"),
    ('max_concurrent = "ten"', "max_concurrent: must be a whole number, not a string"),
    ('quota_group = ""', "quota_group: must not be empty"),
    ("quota_group = 7", "quota_group: must be a string, not a number"),
    ('spillover = "a b"', "spillover: 'a b' is not the name of a deployment"),
    ('spillover = "https://other.example"', "spillover: 'https://other.example' is not the name of a deployment"),
    ("spillover = true", "spillover: must be a string, not true or false"),
    ('quota = "x"', "quota: is not a known key; did you mean quota_group?"),
]


def test_each_mistake_of_a_deployments_place_is_named(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for line, start in PLACE_MISTAKES:
        with subtests.test(line=line):
            [problem] = problems(tmp_path, f"{DEPLOYMENTS}{line}\n")
            assert problem.startswith(f"deployments.a.{start}")


def two(first: str, second: str, *, name: str = "gpt") -> str:
    """Return two deployments of one resource, the second by another name of the relay's."""
    return f"{DEPLOYMENTS}{first}\n[deployments.b]\n{EAST}deployment = {name!r}\n{second}\n"


def test_a_model_of_weights_0_alone_would_never_be_served(tmp_path: Path) -> None:
    both = '[models.chat]\ndeployments = ["a", "b"]\n'
    [problem] = problems(tmp_path, two("weight = 0", "weight = 0", name="other") + both)
    assert problem.startswith("models.chat.deployments: have weight 0, all of them")
    settings = read(tmp_path, two("weight = 0", "weight = 1", name="other") + both)
    assert [item.weight for item in settings.models["chat"].deployments] == [0, 1]
    [problem] = problems(tmp_path, f"{DEPLOYMENTS}weight = 0\n")
    assert problem.startswith("models.a.deployments: have weight 0")


def test_one_deployment_by_two_names_has_one_quota(tmp_path: Path, subtests: pytest.Subtests) -> None:
    def group(name: str | None) -> str:
        return f"quota_group = {name!r}" if name is not None else ""

    for first, second in [("east", "west"), ("east", None), (None, "west")]:
        with subtests.test(first=first, second=second):
            [problem] = problems(tmp_path, two(group(first), group(second)))
            assert problem.startswith("deployments.b.quota_group: differs from that of a")
            read(tmp_path, two(group(first), group(first)))
            read(tmp_path, two(group(first), group(second), name="another"))


def test_the_order_of_names_does_not_matter_but_priorities_do(tmp_path: Path) -> None:
    text = two("priority = 2", "priority = 1", name="other") + '[models.chat]\ndeployments = ["a", "b"]\n'
    assert [item.name for item in read(tmp_path, text).models["chat"].deployments] == ["b", "a"]
