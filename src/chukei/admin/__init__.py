"""What administrators ask over HTTP: keys, usage, state. ``api`` has the routes, ``query`` reads their questions."""
