"""The admin API: keys, usage and state over HTTP. ``api`` has the routes, ``query`` parses queries of the ledger.

``schemas`` has the types of requests and answers. ``openapi`` makes the API's description from it and ``operations``.
"""
