"""The path of one request, from a host's Incoming to its Reply. Read ``gateway`` first.

gateway    the path itself, every way out of it, draining
exchange   one request while it is served: its record, and how it is stopped
delivery   from the first event to the last: the clock that watches both sides, and the loop that passes bytes on
heartbeat  comments while nothing has come yet
pages      what the relay answers itself: the chat page, models, health
"""
