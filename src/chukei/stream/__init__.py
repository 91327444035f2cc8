"""The bytes of an answer, as they pass. Pure: bytes in, bytes out.

stream        the state of one stream of events
sse           framing of server-sent events
events        what an event says; shape compares events that look alike
plaintext     the plain-text form of a chat
whole_answer  what an answer that is no stream says of itself
redaction     keeps the relay's credentials out of what an upstream says
"""
