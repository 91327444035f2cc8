"""The events of the upstream: Azure OpenAI's chunks, each with its stream, its number and its send time.

The text of a chunk is ``SSSSSS/NNNNNNNN/TTTTTTTTTTTTTTTTTTTT``: the stream, the number of the event from 0, and
nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

import re

STAMP = re.compile(rb'"content":"(\d{6})/(\d{8})/(\d{20}) ')
DONE = b"data: [DONE]\n\n"

_FILTERS = (
    b'{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},'
    b'"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}'
)
_TAIL = (
    b'"created":1774963237,"id":"chatcmpl-0123456789abcdefghijklmnopqrs","model":"gpt-4o-2024-11-20",'
    b'"object":"chat.completion.chunk","system_fingerprint":"fp_0123456789"'
)
_ANSWER_TAIL = _TAIL.replace(b".chunk", b"")

PREAMBLE = (
    b'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":'
    b'[{"prompt_index":0,"content_filter_results":' + _FILTERS + b"}]}\n\n",
    b'data: {"choices":[{"content_filter_results":{},"delta":{"content":"","refusal":null,"role":"assistant"},'
    b'"finish_reason":null,"index":0,"logprobs":null}],' + _TAIL + b"}\n\n",
)
_CONTENT = (
    b'data: {"choices":[{"content_filter_results":' + _FILTERS + b',"delta":{"content":"%06d/%08d/%020d "},'
    b'"finish_reason":null,"index":0,"logprobs":null}],' + _TAIL + b"}\n\n"
)
ENDING = (
    b'data: {"choices":[{"content_filter_results":{},"delta":{},"finish_reason":"stop","index":0,"logprobs":null}],'
    + _TAIL
    + b"}\n\n",
    b'data: {"choices":[],' + _TAIL + b',"usage":{"completion_tokens":400,"prompt_tokens":20,"total_tokens":420}}\n\n',
    DONE,
)
ANSWER = (
    b'{"choices":[{"content_filter_results":' + _FILTERS + b',"finish_reason":"stop","index":0,"logprobs":null,'
    b'"message":{"content":"It is noon.","refusal":null,"role":"assistant"}}],' + _ANSWER_TAIL + b","
    b'"prompt_filter_results":[{"prompt_index":0,"content_filter_results":' + _FILTERS + b"}],"
    b'"usage":{"completion_tokens":4,"prompt_tokens":20,"total_tokens":24}}'
)


def content(stream: int, number: int, nanoseconds: int) -> bytes:
    """Return one content event; all have the same length, see ``EVENT_BYTES``."""
    return _CONTENT % (stream, number, nanoseconds)


def chunk(data: bytes) -> bytes:
    """Frame data as one chunk of a chunked body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


EVENT_BYTES = len(content(0, 0, 0))
EXTRA_EVENTS = len(PREAMBLE) + len(ENDING)
"""Events of a stream that are not content."""
