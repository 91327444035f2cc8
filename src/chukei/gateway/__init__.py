"""The path of one request, from a host's Incoming to its Reply. Read ``gateway`` first.

gateway    the path itself, its error paths, draining
services   what it works with
exchange   one request while it is served: its record, and how it is stopped
delivery   from the first event to the last: the loop that passes bytes on, and the timer that watches both sides
heartbeat  comments until the first event
pages      what the relay answers itself: the chat page, models, health
"""
