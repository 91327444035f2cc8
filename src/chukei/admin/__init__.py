"""The admin API: keys, usage, callers and state over HTTP. ``api`` has the routes, ``query`` parses queries.

``access`` decides who may use it, ``audit`` has the record of changes, ``keys`` the work on keys. ``callers`` and
``groups`` answer what is asked about these, ``rules`` changes their limits. ``schemas`` has the types of requests and
answers. ``openapi`` makes the API's description from it, ``operations`` and ``openapi_errors``.
"""
