"""The ledger and callers' keys: SQLite or PostgreSQL, the background writer, and its spool."""
