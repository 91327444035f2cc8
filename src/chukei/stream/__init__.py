"""Processing of an answer's bytes as they pass. Pure: bytes in, bytes out.

stream        the state machine of one event stream
sse           framing of server-sent events
events        decoding of events; shape compares events of the same form
plaintext     the plain-text form of a chat
whole_answer  usage and finish reasons of an answer that is not a stream
redaction     removal of the relay's credentials from upstream messages
"""
