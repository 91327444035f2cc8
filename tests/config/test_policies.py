"""[callers], [groups], prices, stores.ledger and [ledger]: every key, every kind of mistake, and no secret shown."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import pytest

from chukei.accounts.limits import NOTHING, Limits, Rules
from chukei.config import CallerSettings, ConfigError, LedgerSettings, PolicySettings, Settings, load
from chukei.model import Long, Prices, per_million

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
service_tiers = ["default", "flex"]
see_deployment = false
share_objects = true

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
            service_tiers=("default", "flex"),
            see_deployment=False,
            limits=Limits(1, 2, 3, 4, 5_250_000, 6),
            total=Limits(money_per_month=1_000_000_000),
            share_objects=True,
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


def test_money_is_counted_in_millionths(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for money, micro in [("0.1", 100_000), ("0.000001", 1), ("12", 12_000_000), ("1e9", 10**15)]:
        with subtests.test(money=money):
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
    ("parameters = { temperature = nan }", "parameters: holds a date, nan or inf in temperature"),
    ("parameters = { logit_bias = { a = [-inf] } }", "parameters: holds a date, nan or inf in logit_bias"),
    ("parameters = { metadata = { day = 2026-11-01 } }", "parameters: holds a date, nan or inf in metadata"),
    ("parameters = { stream = true }", "parameters: must not hold stream"),
    ("caps = { n = -1 }", "caps: n must be a number that is not negative"),
    ("caps = { n = true }", "caps: n must be a number that is not negative"),
    ('see_deployment = "no"', "see_deployment: must be true or false, not a string"),
    ("limits = 5", "limits: must be a table, not a number"),
    ("limits = { requests_per_minute = -1 }", "limits.requests_per_minute: must be between 0 and"),
    ("limits = { tokens_per_minute = 1.5 }", "limits.tokens_per_minute: must be a whole number"),
    ("limits = { tokens_per_day = true }", "limits.tokens_per_day: must be a whole number, not true or false"),
    ('limits = { tokens_per_month = "many" }', "limits.tokens_per_month: must be a whole number, not a string"),
    ("limits = { money_per_month = -0.01 }", "limits.money_per_month: must be between 0 and 1000000000, not -0.01"),
    ("limits = { money_per_month = nan }", "limits.money_per_month: must be between"),
    ("limits = { money_per_month = inf }", "limits.money_per_month: must be between"),
    ('limits = { money_per_month = "5 EUR" }', "limits.money_per_month: must be a number, not a string"),
    ("limits = { concurrent = 9007199254740993 }", "limits.concurrent: must be between"),
    ("limits = { tokens_per_minutes = 1 }", "limits.tokens_per_minutes: is not a known key; did you mean"),
    ('model = ["chat"]', "model: is not a known key; did you mean models?"),
    ("see_deployments = true", "see_deployments: is not a known key; did you mean see_deployment?"),
    ("limit = { concurrent = 1 }", "limit: is not a known key; did you mean limits?"),
]


def test_each_mistake_of_a_rule_is_named_once(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for table in ["callers.x", "groups.x"]:
        for line, start in RULE_MISTAKES:
            with subtests.test(table=table, line=line):
                [problem] = problems(tmp_path, f"{SERVED}[{table}]\n{line}\n")
                assert problem.startswith(f"{table}.{start}")


PLACE_MISTAKES = [
    ("[callers.x]\ntotal = { concurrent = 1 }", "callers.x.total: is not a known key"),
    ("[callers.x]\nshare_objects = true", "callers.x.share_objects: is not a known key"),
    ("[groups.x]\nshare_objects = 'yes'", "groups.x.share_objects: must be true or false"),
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


def test_each_mistake_of_a_table_is_named(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for text, start in PLACE_MISTAKES:
        with subtests.test(text=text):
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


def test_prices(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for text, prices in [
        ("", None),
        ("input = 2.5\noutput = 10\ncached = 1.25", Prices(per_million("2.5"), per_million("1.25"), per_million("10"))),
        ("input = 2.5\noutput = 10", Prices(per_million("2.5"), None, per_million("10"))),
        ("input = 0.0\noutput = 0\ncached = 0", Prices(0, 0, 0)),
    ]:
        with subtests.test(text=text):
            assert read(tmp_path, f"{SERVED}[models.fast.prices]\n{text}\n").models["fast"].prices == prices


EVERY_PRICE = """
input = 1.1
cached = 0.275
cache_write = 1.375
output = 4.4
audio_input = 40
audio_output = 80
image_input = 10
cached_audio = 0.3
cached_image = 0.5
cache_write_hour = 2.2
image = 0.04
images = { "1024x1536 high" = 0.25 }
minute = 0.006
characters = 15
tiers = { priority = 1.75, flex = { input = 0.5, output = 2 } }
long = { above = 272000, input = 2.2, cached = 0.55, output = 6.6 }

[models.fast.prices.by_model."gpt-5-nano-2025-08-07"]
input = 0.05
output = 0.4
tiers = { priority = 2 }
"""


def test_a_price_list_can_be_written_down_and_every_number_is_exact(tmp_path: Path) -> None:
    prices = read(tmp_path, f"{SERVED}[models.fast.prices]\n{EVERY_PRICE}").models["fast"].prices
    assert prices == Prices(
        input=1_100_000_000,
        cached=275_000_000,
        cache_write=1_375_000_000,
        output=4_400_000_000,
        audio_input=40_000_000_000,
        audio_output=80_000_000_000,
        image_input=10_000_000_000,
        cached_audio=300_000_000,
        cached_image=500_000_000,
        cache_write_hour=2_200_000_000,
        image=Fraction(1, 25),
        images={"1024x1536 high": Fraction(1, 4)},
        minute=Fraction(6, 1000),
        characters=Fraction(15),
        tiers={"priority": Fraction(7, 4), "flex": Prices(per_million("0.5"), None, per_million("2"))},
        long=Long(272_000, Prices(per_million("2.2"), per_million("0.55"), per_million("6.6"))),
        by_model={
            "gpt-5-nano-2025-08-07": Prices(
                per_million("0.05"), None, per_million("0.4"), tiers={"priority": Fraction(2)}
            )
        },
    )


def test_money_limits_are_exact(tmp_path: Path) -> None:
    limits = read(tmp_path, "[callers.a.limits]\nmoney_per_month = 0.29\n" + SERVED).policies.callers["a"].rules.limits
    assert limits.money_per_month == 290_000


SPEAKING = """
[deployments.tts-hd]
endpoint = "https://contoso.openai.azure.com"
api_key = { env = "KEY" }

[models.speech]
deployments = ["tts-hd"]
"""


def test_limits_that_cannot_bind_a_model_are_told(tmp_path: Path) -> None:
    money, tokens = "[callers.a]\nlimits = { money_per_month = 5 }\n", "[groups.g]\ntotal = { tokens_per_day = 5 }\n"
    priced = f"{SPEAKING}prices = {{ characters = 15 }}\n"
    said = {
        text: [notice for notice in read(tmp_path, text + SERVED).notices if "bind" in notice]
        for text in (
            SPEAKING,
            SPEAKING + money,
            priced + money,
            priced + tokens,
            f"{SPEAKING}prices = {{ minute = 1 }}\n{money}",
        )
    }
    assert [*said.values()] == [
        [],
        [],
        [],
        ["tokens_per_day does not bind speech by model speech, for which Azure reports no tokens"],
        ["money_per_month does not bind speech by model speech: set models.speech.prices.characters"],
    ]


def test_prices_by_variables(tmp_path: Path) -> None:
    variables = {"CHUKEI_MODELS__FAST__PRICES__INPUT": "1", "CHUKEI_MODELS__FAST__PRICES__OUTPUT": "2.5"}
    models = read(tmp_path, SERVED, **variables).models
    assert (models["fast"].prices, models["chat"].prices) == (Prices(per_million("1"), None, per_million("2.5")), None)


def test_each_mistake_of_prices_is_named(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for text, start in [
        ("input = 1", "output: is missing; give both prices"),
        ("output = 1", "input: is missing; give both prices"),
        ("cached = 1", "input: is missing; give both prices"),
        ("input = -1\noutput = 1", "input: must be between 0 and 1000000, not -1"),
        ("input = 1\noutput = 1e7", "output: must be between"),
        ("input = 1\noutput = 1\ncached = nan", "cached: must be between"),
        ('input = "2 USD"\noutput = 1', "input: must be a number, not a string"),
        ("input = 1\noutput = 1\ncache = 1", "cache: is not a known key; did you mean cached?"),
        ("input = 1\noutput = 0.0000000001", "output: must have at most 9 decimals"),
        ("cache_write = 1", "input: is missing; give both prices"),
        ("input = 1\noutput = 1\nlong = { input = 2, output = 3 }", "long.above: is missing; give the number"),
        ("input = 1\noutput = 1\nlong = { above = 9 }", "long.input: is missing; give both prices"),
        ("input = 1\noutput = 1\ntiers = { flex = -1 }", "tiers.flex: must be between"),
        ("input = 1\noutput = 1\ntiers = { flex = { input = 1 } }", "tiers.flex.output: is missing"),
        ("input = 1\noutput = 1\ntiers = { flex = { cached_audio = 1 } }", "tiers.flex.input: is missing"),
        ('images = { "1024x1024" = "much" }', "images.1024x1024: must be a number"),
        ("input = 1\noutput = 1\nby_model = { a = 5 }", "by_model.a: must be a table"),
        ("input = 1\noutput = 1\nby_model = { a = { input = 5 } }", "by_model.a.output: is missing"),
    ]:
        with subtests.test(text=text):
            [problem] = problems(tmp_path, f"{SERVED}[models.fast.prices]\n{text}\n")
            assert problem.startswith(f"models.fast.prices.{start}")


# The ledger.


def test_a_ledgers_address(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for address in [
        "sqlite:///chukei.db",
        "sqlite:////var/lib/chukei/ledger.db",
        "postgresql://ledger@db.example/chukei",
        "postgres://ledger@db.example:5433/chukei",
    ]:
        with subtests.test(address=address):
            by_variable = read(tmp_path, SERVED, CHUKEI_STORES__LEDGER=address).stores
            by_name = read(tmp_path, f'{SERVED}[stores]\nledger = {{ env = "LEDGER" }}', LEDGER=address).stores
            for stores in (by_variable, by_name):
                assert stores.ledger is not None
                assert (stores.ledger.reveal(), stores.ledger_by_default) == (address, False)


def test_an_address_without_a_password_may_stand_in_the_file(tmp_path: Path) -> None:
    ledger = read(tmp_path, f'{SERVED}[stores]\nledger = "sqlite:///chukei.db"').stores.ledger
    assert ledger is not None
    assert ledger.reveal() == "sqlite:///chukei.db"


def test_one_with_a_password_may_not(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for host in [f"ledger:{PASSWORD}@db/chukei", f"db/chukei?password={PASSWORD}"]:
        with subtests.test(host=host):
            [problem] = problems(tmp_path, f'{SERVED}[stores]\nledger = "postgresql://{host}"')
            assert problem.startswith("stores.ledger: a secret does not belong in a file")
            assert PASSWORD not in repr(read(tmp_path, SERVED, CHUKEI_STORES__LEDGER=f"postgresql://{host}"))


def test_without_a_word_there_is_the_users_own_ledger_and_it_can_be_switched_off(tmp_path: Path) -> None:
    silent, off = read(tmp_path, SERVED).stores, read(tmp_path, f'{SERVED}[stores]\nledger = "none"').stores
    assert (silent.ledger, silent.ledger_by_default) == (None, True)
    assert (off.ledger, off.ledger_by_default) == (None, False)


def test_what_is_no_database_is_refused(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for address in [
        f"mysql://u:{PASSWORD}@db/chukei",
        "chukei.db",
        "/var/lib/chukei.db",
        "sqlite://",
        "sqlite:///",
        "redis://cache",
        "None",
        "postgresql://[::1",
    ]:
        with subtests.test(address=address):
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


def test_each_mistake_of_the_ledger_is_named(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for line, start in [
        ("retention_days = -1", "retention_days: must be between 0 and 36500, not -1"),
        ('retention_days = "90d"', "retention_days: must be a number, not a string"),
        ("max_spool_bytes = 1024", "max_spool_bytes: must be between 65_536 and"),
        ('spool = ""', "spool: must not be empty"),
        ("spool = 7", "spool: must be a string"),
        ("retention = 7", "retention: is not a known key; did you mean retention_days?"),
    ]:
        with subtests.test(line=line):
            [problem] = problems(tmp_path, f"{SERVED}[ledger]\n{line}\n")
            assert problem.startswith(f"ledger.{start}")
