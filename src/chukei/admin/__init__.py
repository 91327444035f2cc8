"""What administrators ask over HTTP: keys, usage, state. ``api`` has the routes, ``query`` reads their questions.

``schemas`` is what goes in and out; from it and ``operations``, ``openapi`` makes the description of the API.
"""
