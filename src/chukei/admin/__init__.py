"""The admin API: keys, usage and state over HTTP. ``api`` has the routes, ``query`` parses queries of the ledger."""
