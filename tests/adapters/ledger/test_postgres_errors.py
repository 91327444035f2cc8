"""The operator's messages when PostgreSQL refuses: they name the remedy, and no secret."""

from collections.abc import Iterator

import pytest
from asyncpg import exceptions as pg
from tests.adapters.ledger_entries import entries
from tests.live.postgres_server import PASSWORD, PASSWORD_IN_URL, USER, PostgresServer
from tests.rows import rows

from chukei.accounts.stores import StoreAway
from chukei.adapters.ledger.postgres import PostgresDatabase
from chukei.adapters.ledger.postgres_errors import away

pytestmark = pytest.mark.anyio


async def problem_of(url: str) -> str:
    """Return what opening a database or adding to it complains about."""
    database = PostgresDatabase(url)
    try:
        with pytest.raises(StoreAway) as caught:
            await database.add(entries(1))  # opens it first
    finally:
        await database.close()
    everything = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert PASSWORD not in everything
    assert PASSWORD_IN_URL not in everything
    return str(caught.value)


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


async def test_a_wrong_password(url: str) -> None:
    assert "refuses the user name or the password" in await problem_of(url.replace("open", "0pen"))


async def test_an_unknown_user(url: str) -> None:
    assert "refuses the user name or the password" in await problem_of(url.replace(USER, "stranger"))


async def test_no_such_database(url: str) -> None:
    assert "there is no such database: create it" in await problem_of(f"{url}x")


async def test_nobody_listens(url: str, postgres_server: PostgresServer) -> None:
    problem = await problem_of(url.replace(str(postgres_server.port), "1"))
    assert problem.startswith("PostgreSQL at 127.0.0.1:1/")
    assert "nothing listens there" in problem


async def test_no_such_host(url: str) -> None:
    assert "it cannot be reached" in await problem_of(url.replace("127.0.0.1", "nowhere.invalid"))


async def test_an_option_that_is_none(url: str) -> None:
    assert "an option that cannot be used" in await problem_of(f"{url}?sslmode=perhaps")


async def test_tls_that_the_server_has_not(url: str) -> None:
    assert "PostgreSQL at 127.0.0.1" in await problem_of(f"{url}?sslmode=require")


async def test_a_read_only_server(url: str, postgres_server: PostgresServer) -> None:
    postgres_server.sql(f"ALTER DATABASE {url.rsplit('/', 1)[1]} SET default_transaction_read_only = on")
    assert "it is read-only, as a standby is" in await problem_of(url)


@pytest.fixture
def guest(postgres_server: PostgresServer) -> Iterator[str]:
    postgres_server.sql("CREATE USER guest PASSWORD 'guest'")
    yield "guest"
    postgres_server.sql("DROP USER guest")


async def test_a_user_without_rights(url: str, guest: str) -> None:
    assert "grant it the right" in await problem_of(url.replace(f"{USER}:{PASSWORD_IN_URL}", f"{guest}:guest"))


async def test_a_schema_that_somebody_changed(url: str, postgres_server: PostgresServer) -> None:
    database = PostgresDatabase(url)
    await database.open()
    postgres_server.sql("ALTER TABLE chukei_entries RENAME TO gone", url.rsplit("/", 1)[1])
    with pytest.raises(StoreAway, match="its tables were changed by somebody else"):
        await database.add(entries(1))
    await database.close()


async def test_no_connection_left(url: str, guest: str, postgres_server: PostgresServer) -> None:
    postgres_server.sql(f"ALTER USER {guest} CONNECTION LIMIT 0")
    problem = await problem_of(url.replace(f"{USER}:{PASSWORD_IN_URL}", f"{guest}:guest"))
    assert "it has no connection left: raise max_connections" in problem


SAID = [
    (pg.DiskFullError("row (secret)"), "its disk is full: make room"),
    (pg.CannotConnectNowError("secret"), "it is starting or stopping"),
    (pg.AdminShutdownError("secret"), "the connection broke"),
    (pg.ConnectionDoesNotExistError("secret"), "the connection broke"),
    (pg.QueryCanceledError("secret"), "it took too long"),
    (TimeoutError("secret"), "it does not answer"),
    (OSError("secret"), "it cannot be reached"),
    (pg.NotNullViolationError("secret"), "it failed with NotNullViolationError (SQLSTATE 23502): see the server's log"),
    (ValueError("secret"), "it failed with ValueError"),
]


@rows(("error", "words"), SAID)
def test_the_drivers_words_are_left_out(error: Exception, words: str) -> None:
    problem = str(away(error, "db:5432/ledger"))
    assert problem.startswith(f"PostgreSQL at db:5432/ledger: {words}")
    assert "secret" not in problem
