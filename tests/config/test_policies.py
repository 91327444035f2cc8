"""[callers], [groups], prices, stores.ledger and [ledger]: every key, every kind of mistake, and no secret shown."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from chukei.config import CallerSettings, ConfigError, LedgerSettings, PolicySettings, Settings, load
from chukei.limits import NOTHING, Limits, Prices, Rules

PASSWORD = "pw-very-secret-0123"
DIGEST = hashlib.sha256(b"a key of team-b").hexdigest()
OTHER = hashlib.sha256(b"a key of team-c").hexdigest()
SERVED = """
[deployments.east]
endpoint = "https://east.example"
api_key = { env = "KEY" }

[models.chat]
deployments = ["east"]

[models.fast]
deployments = ["east"]
"""
FULL = f"""
[groups.research]
models = ["chat", "fast"]
default_model = "fast"
system = "Be brief."
parameters = {{ temperature = 0.2 }}
caps = {{ max_completion_tokens = 1000, n = 1 }}
see_deployment = false

[groups.research.limits]
requests_per_minute = 1
tokens_per_minute = 2
tokens_per_day = 3
tokens_per_month = 4
money_per_month = 5.25
concurrent = 6

[groups.research.total]
money_per_month = 1000

[groups.everybody]
limits = {{ requests_per_minute = 60 }}

[callers."team b@example.com"]
key_sha256 = "{DIGEST.upper()}"
groups = ["research"]
models = ["chat"]
see_deployment = true
limits = {{ concurrent = 0 }}

[callers.local]
system = "You are at home."
{SERVED}"""


def read(tmp_path: Path, text: str, **environment: str) -> Settings:
    path = tmp_path / "chukei.toml"
    path.write_text(text)
    return load(path, {"KEY": "key"} | environment)


def problems(tmp_path: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **environment)
    assert PASSWORD not in str(caught.value)
    return [str(problem).removeprefix(f"{tmp_path / 'chukei.toml'}: ") for problem in caught.value.problems]


# Rules.


def test_every_key(tmp_path: Path) -> None:
    policies = read(tmp_path, FULL).policies
    assert policies.groups == {
        "research": Rules(
            models=("chat", "fast"),
            default_model="fast",
            system="Be brief.",
            parameters={"temperature": 0.2},
            caps={"max_completion_tokens": 1000, "n": 1},
            see_deployment=False,
            limits=Limits(1, 2, 3, 4, 5_250_000, 6),
            total=Limits(money_per_month=1_000_000_000),
        ),
        "everybody": Rules(limits=Limits(requests_per_minute=60)),
    }
    assert policies.callers == {
        "team b@example.com": CallerSettings(
            Rules(models=("chat",), see_deployment=True, limits=Limits(concurrent=0)), DIGEST, ("research",)
        ),
        "local": CallerSettings(Rules(system="You are at home.")),
    }


def test_the_test_above_sets_every_key_that_settings_have() -> None:
    for kind in (Rules, Limits):
        for field in fields(kind):
            if field.name not in ("limits", "total"):
                assert f"\n{field.name} = " in FULL
    assert {field.name for field in fields(CallerSettings)} == {"rules", "key_sha256", "groups"}


def test_nothing_set() -> None:
    settings = load(None, {})
    assert settings.policies == PolicySettings({}, {})
    assert settings.ledger == LedgerSettings(400.0, None, 64 * 1024 * 1024)


def test_no_limit_is_not_the_limit_zero(tmp_path: Path) -> None:
    groups = read(tmp_path, "[groups.a]\n[groups.b]\nlimits = { money_per_month = 0, tokens_per_day = 0 }\n").policies
    assert groups.groups["a"].limits == NOTHING
    assert not groups.groups["a"].limits
    assert groups.groups["b"].limits == Limits(tokens_per_day=0, money_per_month=0)
    assert groups.groups["b"].limits


def test_no_model_allowed_is_not_every_model_allowed(tmp_path: Path) -> None:
    groups = read(tmp_path, "[groups.a]\n[groups.b]\nmodels = []\n").policies.groups
    assert (groups["a"].models, groups["b"].models) == (None, ())


@pytest.mark.parametrize(("money", "micro"), [("0.1", 100_000), ("0.000001", 1), ("12", 12_000_000), ("1e9", 10**15)])
def test_money_is_counted_in_millionths(tmp_path: Path, money: str, micro: int) -> None:
    groups = read(tmp_path, f"[groups.a]\nlimits = {{ money_per_month = {money} }}").policies.groups
    assert groups["a"].limits == Limits(money_per_month=micro)


def test_every_kind_of_rule_is_set_by_a_variable(tmp_path: Path) -> None:
    policies = read(
        tmp_path,
        FULL,
        CHUKEI_GROUPS__RESEARCH__MODELS="chat",
        CHUKEI_GROUPS__RESEARCH__DEFAULT_MODEL="chat",
        CHUKEI_GROUPS__RESEARCH__SYSTEM="42",
        CHUKEI_GROUPS__RESEARCH__PARAMETERS__TEMPERATURE="0.9",
        CHUKEI_GROUPS__RESEARCH__CAPS__N="3",
        CHUKEI_GROUPS__RESEARCH__SEE_DEPLOYMENT="true",
        CHUKEI_GROUPS__RESEARCH__LIMITS__TOKENS_PER_MINUTE="20",
        CHUKEI_GROUPS__RESEARCH__TOTAL__CONCURRENT="30",
        CHUKEI_GROUPS__NEW__LIMITS__CONCURRENT="40",
        CHUKEI_CALLERS__LOCAL__GROUPS="research, new",
        CHUKEI_CALLERS__TEAM_C__KEY_SHA256="1" * 64,
        CHUKEI_CALLERS__TEAM_D__KEY_SHA256="1" + "e" + "2" * 62,  # which could be read as a number
    ).policies
    research = policies.groups["research"]
    assert (research.models, research.default_model, research.system) == (("chat",), "chat", "42")
    assert (research.parameters, research.caps) == ({"temperature": 0.9}, {"max_completion_tokens": 1000, "n": 3})
    assert research.see_deployment is True
    assert research.limits == Limits(1, 20, 3, 4, 5_250_000, 6)
    assert research.total == Limits(money_per_month=1_000_000_000, concurrent=30)
    assert policies.groups["new"].limits == Limits(concurrent=40)
    assert policies.callers["local"].groups == ("research", "new")
    assert policies.callers["team_c"].key_sha256 == "1" * 64
    assert policies.callers["team_d"].key_sha256 == "1e" + "2" * 62


def test_names_that_the_relay_does_not_know_are_nobodys_mistake_where_any_is_served() -> None:
    environment = {
        "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com",
        "AZURE_OPENAI_API_KEY": "key",
        "CHUKEI_GROUPS__EVERYBODY__MODELS": "gpt-4o, gpt-5",
    }
    assert load(None, environment).policies.groups["everybody"].models == ("gpt-4o", "gpt-5")
    assert load(None, {"CHUKEI_GROUPS__EVERYBODY__MODELS": "chat"}).policies.groups["everybody"].models == ("chat",)


RULE_MISTAKES = [
    ('models = ["chart"]', "models: names 'chart', which is not one of the models: chat, fast"),
    ("models = 7", "models: must be a list of strings, not a number"),
    ('models = ["chat", ""]', "models: must hold strings only, none of them empty"),
    ('default_model = "chart"', "default_model: names 'chart', which is not one of the models: chat, fast"),
    ('default_model = ""', "default_model: must not be empty"),
    ('models = ["chat"]\ndefault_model = "fast"', "default_model: 'fast' is not among the models that are allowed"),
    ("system = 1", "system: must be a string, not a number"),
    ('system = " "', "system: must not be empty"),
    ("parameters = 1", "parameters: must be a table, not a number"),
    ("parameters = { messages = [] }", "parameters: must not hold messages"),
    ("parameters = { stream = true }", "parameters: must not hold stream"),
    ("caps = { n = -1 }", "caps: n must be a number that is not negative"),
    ("caps = { n = true }", "caps: n must be a number that is not negative"),
    ('see_deployment = "no"', "see_deployment: must be true or false, not a string"),
    ("limits = 5", "limits: must be a table, not a number"),
    ("limits = { requests_per_minute = -1 }", "limits.requests_per_minute: must be between 0 and"),
    ("limits = { tokens_per_minute = 1.5 }", "limits.tokens_per_minute: must be a whole number"),
    ("limits = { tokens_per_day = true }", "limits.tokens_per_day: must be a whole number, not true or false"),
    ('limits = { tokens_per_month = "many" }', "limits.tokens_per_month: must be a whole number, not a string"),
    ("limits = { money_per_month = -0.01 }", "limits.money_per_month: must be between 0 and 1e+09, not -0.01"),
    ("limits = { money_per_month = nan }", "limits.money_per_month: must be between"),
    ("limits = { money_per_month = inf }", "limits.money_per_month: must be between"),
    ('limits = { money_per_month = "5 EUR" }', "limits.money_per_month: must be a number, not a string"),
    ("limits = { concurrent = 9007199254740993 }", "limits.concurrent: must be between"),
    ("limits = { tokens_per_minutes = 1 }", "limits.tokens_per_minutes: is not a known key; did you mean"),
    ('model = ["chat"]', "model: is not a known key; did you mean models?"),
    ("see_deployments = true", "see_deployments: is not a known key; did you mean see_deployment?"),
    ("limit = { concurrent = 1 }", "limit: is not a known key; did you mean limits?"),
]


@pytest.mark.parametrize("table", ["callers.x", "groups.x"])
@pytest.mark.parametrize(("line", "start"), RULE_MISTAKES)
def test_each_mistake_of_a_rule_is_named_once(tmp_path: Path, table: str, line: str, start: str) -> None:
    [problem] = problems(tmp_path, f"{SERVED}[{table}]\n{line}\n")
    assert problem.startswith(f"{table}.{start}")


PLACE_MISTAKES = [
    ("[callers.x]\ntotal = { concurrent = 1 }", "callers.x.total: is not a known key"),
    ("[callers.x]\ngroups = ['nobody']", "callers.x.groups: names 'nobody', but there is no [groups.nobody]"),
    ("[callers.x]\ngroups = 7", "callers.x.groups: must be a list of strings"),
    ("[callers.x]\nkey_sha256 = 'abc'", "callers.x.key_sha256: must be the 64 hexadecimal digits"),
    (f"[callers.x]\nkey_sha256 = '{DIGEST}0'", "callers.x.key_sha256: must be the 64 hexadecimal digits"),
    ("[callers.x]\nkey_sha256 = 7", "callers.x.key_sha256: must be a string, not a number"),
    (
        f"[callers.x]\nkey_sha256 = '{DIGEST}'\n[callers.y]\nkey_sha256 = '{DIGEST.upper()}'",
        "callers.y.key_sha256: is that of x too",
    ),
    ("[callers.x]\nkey = 'chk_a_b'", "callers.x.key: is not a known key"),
    ("[groups.x]\ngroups = ['y']", "groups.x.groups: is not a known key"),
    (f"[groups.x]\nkey_sha256 = '{DIGEST}'", "groups.x.key_sha256: is not a known key"),
    ("[groups.x]\ntotal = { concurrent = -1 }", "groups.x.total.concurrent: must be between"),
    ("[groups.x.total]\nmodels = ['chat']", "groups.x.total.models: is not a known key"),
    ("[callers]\nx = 1", "callers.x: must be a table, [callers.x], not a number"),
    ("[[groups]]\nx = 1", "groups: must be a table of tables, not a list"),
    ('[callers."a\\nb"]\nsystem = "x"', "callers.a\nb: the name has characters"),
    ('[groups.""]\nsystem = "x"', "groups.: the name has characters"),
    (f'[groups.{"x" * 129}]\nsystem = "x"', f"groups.{'x' * 129}: the name has characters"),
]


@pytest.mark.parametrize(("text", "start"), PLACE_MISTAKES)
def test_each_mistake_of_a_table_is_named(tmp_path: Path, text: str, start: str) -> None:
    [problem] = problems(tmp_path, f"{SERVED}{text}\n")
    assert problem.startswith(start)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = (
        "[groups.a]\nlimits = { concurrent = -1 }\nmodels = ['x']\n[callers.b]\ngroups = ['c']\n[ledger]\nspoon = 1\n"
    )
    assert len(problems(tmp_path, SERVED + text)) == 4


def test_a_variables_mistake_is_the_variables(tmp_path: Path) -> None:
    name = "CHUKEI_GROUPS__A__LIMITS__CONCURRENT"
    [problem] = problems(tmp_path, "[groups.a]\n", **{name: "many"})
    assert problem == f"{name}: must be a whole number, not a string"


# Prices.


@pytest.mark.parametrize(
    ("text", "prices"),
    [
        ("", None),
        ("input = 2.5\noutput = 10\ncached = 1.25", Prices(2.5, 1.25, 10.0)),
        ("input = 2.5\noutput = 10", Prices(2.5, None, 10.0)),
        ("input = 0.0\noutput = 0\ncached = 0", Prices(0.0, 0.0, 0.0)),
    ],
)
def test_prices(tmp_path: Path, text: str, prices: Prices | None) -> None:
    assert read(tmp_path, f"{SERVED}[models.fast.prices]\n{text}\n").models["fast"].prices == prices


def test_prices_by_variables(tmp_path: Path) -> None:
    variables = {"CHUKEI_MODELS__FAST__PRICES__INPUT": "1", "CHUKEI_MODELS__FAST__PRICES__OUTPUT": "2.5"}
    models = read(tmp_path, SERVED, **variables).models
    assert (models["fast"].prices, models["chat"].prices) == (Prices(1.0, None, 2.5), None)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("input = 1", "output: is missing; give both prices"),
        ("output = 1", "input: is missing; give both prices"),
        ("cached = 1", "input: is missing; give both prices"),
        ("input = -1\noutput = 1", "input: must be between 0 and 1e+06, not -1"),
        ("input = 1\noutput = 1e7", "output: must be between"),
        ("input = 1\noutput = 1\ncached = nan", "cached: must be between"),
        ('input = "2 USD"\noutput = 1', "input: must be a number, not a string"),
        ("input = 1\noutput = 1\ncache = 1", "cache: is not a known key; did you mean cached?"),
    ],
)
def test_each_mistake_of_prices_is_named(tmp_path: Path, text: str, start: str) -> None:
    [problem] = problems(tmp_path, f"{SERVED}[models.fast.prices]\n{text}\n")
    assert problem.startswith(f"models.fast.prices.{start}")


# The ledger.


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:///chukei.db",
        "sqlite:////var/lib/chukei/ledger.db",
        "postgresql://ledger@db.example/chukei",
        "postgres://ledger@db.example:5433/chukei",
    ],
)
def test_a_ledgers_address(tmp_path: Path, address: str) -> None:
    by_variable = read(tmp_path, SERVED, CHUKEI_STORES__LEDGER=address).stores
    by_name = read(tmp_path, f'{SERVED}[stores]\nledger = {{ env = "LEDGER" }}', LEDGER=address).stores
    for stores in (by_variable, by_name):
        assert stores.ledger is not None
        assert (stores.ledger.reveal(), stores.ledger_by_default) == (address, False)


def test_an_address_without_a_password_may_stand_in_the_file(tmp_path: Path) -> None:
    ledger = read(tmp_path, f'{SERVED}[stores]\nledger = "sqlite:///chukei.db"').stores.ledger
    assert ledger is not None
    assert ledger.reveal() == "sqlite:///chukei.db"


@pytest.mark.parametrize("host", [f"ledger:{PASSWORD}@db/chukei", f"db/chukei?password={PASSWORD}"])
def test_one_with_a_password_may_not(tmp_path: Path, host: str) -> None:
    [problem] = problems(tmp_path, f'{SERVED}[stores]\nledger = "postgresql://{host}"')
    assert problem.startswith("stores.ledger: a secret does not belong in a file")
    assert PASSWORD not in repr(read(tmp_path, SERVED, CHUKEI_STORES__LEDGER=f"postgresql://{host}"))


def test_without_a_word_there_is_the_users_own_ledger_and_it_can_be_switched_off(tmp_path: Path) -> None:
    silent, off = read(tmp_path, SERVED).stores, read(tmp_path, f'{SERVED}[stores]\nledger = "none"').stores
    assert (silent.ledger, silent.ledger_by_default) == (None, True)
    assert (off.ledger, off.ledger_by_default) == (None, False)


@pytest.mark.parametrize(
    "address",
    [
        f"mysql://u:{PASSWORD}@db/chukei",
        "chukei.db",
        "/var/lib/chukei.db",
        "sqlite://",
        "sqlite:///",
        "redis://cache",
        "None",
        "postgresql://[::1",
    ],
)
def test_what_is_no_database_is_refused(tmp_path: Path, address: str) -> None:
    [problem] = problems(tmp_path, SERVED, CHUKEI_STORES__LEDGER=address)
    assert problem.startswith("CHUKEI_STORES__LEDGER: must be sqlite:///PATH/TO/FILE.db, postgresql://")


def test_how_long_the_ledger_keeps_and_waits(tmp_path: Path) -> None:
    text = '[ledger]\nretention_days = 30.5\nspool = "/var/spool/chukei"\nmax_spool_bytes = 65_536\n'
    assert read(tmp_path, SERVED + text).ledger == LedgerSettings(30.5, "/var/spool/chukei", 65_536)
    by_variables: Mapping[str, str] = {
        "CHUKEI_LEDGER__RETENTION_DAYS": "0",
        "CHUKEI_LEDGER__SPOOL": "spool",
        "CHUKEI_LEDGER__MAX_SPOOL_BYTES": "1000000",
    }
    assert read(tmp_path, SERVED + text, **by_variables).ledger == LedgerSettings(0.0, "spool", 1_000_000)


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("retention_days = -1", "retention_days: must be between 0 and 36500, not -1"),
        ('retention_days = "90d"', "retention_days: must be a number, not a string"),
        ("max_spool_bytes = 1024", "max_spool_bytes: must be between 65_536 and"),
        ('spool = ""', "spool: must not be empty"),
        ("spool = 7", "spool: must be a string"),
        ("retention = 7", "retention: is not a known key; did you mean retention_days?"),
    ],
)
def test_each_mistake_of_the_ledger_is_named(tmp_path: Path, line: str, start: str) -> None:
    [problem] = problems(tmp_path, f"{SERVED}[ledger]\n{line}\n")
    assert problem.startswith(f"ledger.{start}")
