"""Messages for operators about PostgreSQL's errors. Its own messages are left out: some contain a row's values."""

from asyncpg import exceptions as pg

from chukei.accounts.stores import StoreAway

_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (
        (pg.InvalidPasswordError, pg.InvalidAuthorizationSpecificationError),
        "it refuses the user name or the password: see the address, and the server's pg_hba.conf",
    ),
    (pg.InvalidCatalogNameError, "there is no such database: create it, or correct the address"),
    (pg.InsufficientPrivilegeError, "the user may not do this: grant it the right to create and use tables there"),
    (pg.ReadOnlySQLTransactionError, "it is read-only, as a standby is: use the address of the primary"),
    (pg.DiskFullError, "its disk is full: make room"),
    (pg.TooManyConnectionsError, "it has no connection left: raise max_connections, or put pgbouncer between"),
    (pg.CannotConnectNowError, "it is starting or stopping: wait, or see its log"),
    (pg.LockNotAvailableError, "another session holds a lock: end it"),
    ((pg.UndefinedTableError, pg.UndefinedColumnError), "its tables were changed by somebody else: restore a backup"),
    (pg.QueryCanceledError, "it took too long: ask about a shorter time, or see what the server is doing"),
    (pg.ClientConfigurationError, "the address has an option that cannot be used: see its part after the ?"),
    (
        (pg.PostgresConnectionError, pg.InterfaceError, pg.AdminShutdownError, pg.CrashShutdownError),
        "the connection broke: see whether the server runs",
    ),
    (TimeoutError, "it does not answer: see whether the server is overloaded or the network drops packets"),
    (ConnectionRefusedError, "nothing listens there: see whether the server runs, and the address"),
    (OSError, "it cannot be reached: see the address and the network"),
)


def away(error: BaseException, place: str) -> StoreAway:
    """Return the error with advice. ``place`` names the server and the database."""
    words = next((words for kinds, words in _WORDS if isinstance(error, kinds)), None)
    if words is None:
        state = f" (SQLSTATE {error.sqlstate})" if isinstance(error, pg.PostgresError) else ""
        words = f"it failed with {type(error).__name__}{state}: see the server's log"
    return StoreAway(f"PostgreSQL at {place}: {words}")
