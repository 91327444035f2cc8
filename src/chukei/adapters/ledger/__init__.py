"""The ledger and the keys of callers: SQLite or PostgreSQL, the writer in front of them, and its spool."""
