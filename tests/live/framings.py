"""Requests byte for byte: those of which two parsers could make different things, and odd ones that are clear.

Sources: RFC 9112 (sections named beside the cases), RFC 9110 §5.5 and §6.5, and the differences between parsers that
the http-garden project collects.
"""

from dataclasses import dataclass

from tests.live.plain_http import CHAT

LENGTH = b"Content-Length: %d\r\n" % len(CHAT)
TYPE = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODY = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CHAT), CHAT)
SMUGGLED = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\n" + TYPE + b'Content-Length: 13\r\n\r\n{"input":"x"}'


def post(
    fields: bytes = LENGTH,
    body: bytes = CHAT,
    *,
    line: bytes = b"POST /v1/chat/completions HTTP/1.1\r\n",
    host: bytes = b"Host: 127.0.0.1\r\n",
    kind: bytes = TYPE,
) -> bytes:
    """Write a request of which one part is not as it should be."""
    return line + host + kind + fields + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(CHUNKED, body)


def piece(size: bytes, end: bytes = b"\r\n", tail: bytes = b"\r\n") -> bytes:
    """A chunked request with its first size line spelt differently."""
    return chunked(size + end + CHAT + tail + b"0\r\n\r\n")


SIZE = b"%x" % len(CHAT)

REFUSED: dict[str, bytes] = {
    # Length and coding together, RFC 9112 §6.3: the classic CL.TE and TE.CL.
    "CL and TE": post(LENGTH + CHUNKED, BODY),
    "TE and CL": post(CHUNKED + LENGTH, BODY),
    "CL.TE with a request behind": post(b"Content-Length: 4\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED),
    "TE.CL with a request behind": post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n" + SMUGGLED),
    "CL zero and TE": post(b"Content-Length: 0\r\n" + CHUNKED, BODY),
    # Lengths that are none, §6.2 and §6.3.
    "two different CL": post(LENGTH + b"Content-Length: 1\r\n"),
    "two equal CL": post(LENGTH + LENGTH),
    "a CL list": post(b"Content-Length: %d, %d\r\n" % (len(CHAT), len(CHAT))),
    "a CL with a sign": post(b"Content-Length: +%d\r\n" % len(CHAT)),
    "a negative CL": post(b"Content-Length: -5\r\n"),
    "a hexadecimal CL": post(b"Content-Length: 0x3a\r\n"),
    "a CL with an underscore": post(b"Content-Length: 5_8\r\n"),
    "a CL with a space in it": post(b"Content-Length: 5 8\r\n"),
    "a CL with a fraction": post(b"Content-Length: 58.0\r\n"),
    "a CL with an exponent": post(b"Content-Length: 1e2\r\n"),
    "an empty CL": post(b"Content-Length: \r\n"),
    "a CL beyond 64 bits": post(b"Content-Length: 18446744073709551674\r\n"),
    "a CL of other digits": post("Content-Length: ٥٨\r\n".encode()),
    "a CL with a vertical tab": post(b"Content-Length: \x0b%d\r\n" % len(CHAT)),
    "a CL folded": post(b"Content-Length:\r\n %d\r\n" % len(CHAT)),
    # Codings that are not chunked alone, §6.1 and §7.
    "two TE": post(CHUNKED + CHUNKED, BODY),
    "two TE, the first unknown": post(b"Transfer-Encoding: x\r\n" + CHUNKED, BODY),
    "two TE, the last unknown": post(CHUNKED + b"Transfer-Encoding: x\r\n", BODY),
    "TE gzip, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", BODY),
    "TE chunked, chunked": post(b"Transfer-Encoding: chunked, chunked\r\n", BODY),
    "TE chunked, identity": post(b"Transfer-Encoding: chunked, identity\r\n", BODY),
    "TE identity": post(b"Transfer-Encoding: identity\r\n" + LENGTH),
    "TE xchunked": post(b"Transfer-Encoding: xchunked\r\n", BODY),
    "TE quoted": post(b'Transfer-Encoding: "chunked"\r\n', BODY),
    "TE with a parameter": post(b"Transfer-Encoding: chunked;q=1\r\n", BODY),
    "TE with a comma": post(b"Transfer-Encoding: ,chunked\r\n", BODY),
    "TE with a vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", BODY),
    "TE empty": post(b"Transfer-Encoding: \r\n" + LENGTH),
    "TE folded": post(b"Transfer-Encoding:\r\n chunked\r\n", BODY),
    "TE with a space before the colon": post(b"Transfer-Encoding : chunked\r\n", BODY),
    "TE in HTTP/1.0": post(CHUNKED, BODY, line=b"POST /v1/chat/completions HTTP/1.0\r\n"),
    "TE after a bare LF": post(b"X-A: b\nTransfer-Encoding: chunked\r\n", BODY),
    "TE after a bare CR": post(b"X-A: b\rTransfer-Encoding: chunked\r\n", BODY),
    # Chunk framing, §7.1.
    "a chunk size with 0x": piece(b"0x" + SIZE),
    "a chunk size with a sign": piece(b"+" + SIZE),
    "a negative chunk size": piece(b"-" + SIZE),
    "a chunk size with an underscore": piece(b"0_" + SIZE),
    "a chunk size after a space": piece(b" " + SIZE),
    "a chunk size beyond 64 bits": piece(b"1" + b"0" * 16 + SIZE),
    "no chunk size": piece(b""),
    "a chunk size that ends in a bare LF": piece(SIZE, end=b"\n"),
    "a chunk size that ends in a bare CR": piece(SIZE, end=b"\r"),
    "a chunk too short": chunked(b"5\r\n" + CHAT + b"\r\n0\r\n\r\n"),
    "a chunk too long": chunked(b"fff\r\n" + CHAT + b"\r\n0\r\n\r\n"),
    "a chunk that does not end in CR LF": piece(SIZE, tail=b"XX"),
    "a chunk that ends in a bare LF": piece(SIZE, tail=b"\n"),
    "a bare LF in a chunk extension": piece(SIZE + b";a\nb"),
    "a trailer": chunked(BODY[:-2] + b"X-Late: 1\r\n\r\n"),
    "a trailer that sets the length": chunked(BODY[:-2] + LENGTH + b"\r\n"),
    "a trailer with a bare LF": chunked(BODY[:-2] + b"X: 1\n\r\n"),
    # Field lines, §5 and RFC 9110 §5.5.
    "a space before the colon": post(LENGTH + b"X-A : b\r\n"),
    "a tab before the colon": post(LENGTH + b"X-A\t: b\r\n"),
    "a field without a colon": post(LENGTH + b"nonsense\r\n"),
    "a field without a name": post(LENGTH + b": b\r\n"),
    "a name with a space": post(LENGTH + b"X A: b\r\n"),
    "a name with other letters": post(LENGTH + "X-É: b\r\n".encode()),
    "a name with a NUL": post(LENGTH + b"X\x00A: b\r\n"),
    "a folded field": post(LENGTH + b"X-A: b\r\n c\r\n"),
    "a first field that is folded": post(LENGTH, host=b" X: y\r\nHost: 127.0.0.1\r\n"),
    "a NUL in a value": post(LENGTH + b"X-A: b\x00c\r\n"),
    "a CR in a value": post(LENGTH + b"X-A: b\rc\r\n"),
    "a bare LF after a field": post(LENGTH + b"X-A: b\nX-B: c\r\n"),
    "an escape in a value": post(LENGTH + b"X-A: b\x1b[2Jc\r\n"),
    "a DEL in a value": post(LENGTH + b"X-A: b\x7f\r\n"),
    "bare LFs throughout": post().replace(b"\r\n", b"\n"),
    "a bare LF before the body": post(LENGTH).replace(b"\r\n\r\n", b"\r\n\n", 1),
    "a bare CR before the body": post(LENGTH).replace(b"\r\n\r\n", b"\r\r\n", 1),
    "two content types": post(LENGTH + b"Content-Type: text/plain\r\n"),
    # Hosts and targets, §3.2 and §3.3.
    "no Host": post(host=b""),
    "two Hosts": post(host=b"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"),
    "two different Hosts": post(host=b"Host: 127.0.0.1\r\nHost: evil.example\r\n"),
    "an empty Host": post(host=b"Host: \r\n"),
    "a Host with a path": post(host=b"Host: 127.0.0.1/x\r\n"),
    "a Host with a user": post(host=b"Host: a@127.0.0.1\r\n"),
    "a Host list": post(host=b"Host: 127.0.0.1, evil.example\r\n"),
    "a Host with a space": post(host=b"Host: 127.0.0.1 evil\r\n"),
    "a target with another host": post(line=b"POST http://evil.example/v1/chat/completions HTTP/1.1\r\n"),
    "a target with another port": post(line=b"POST http://127.0.0.1:81/v1/chat/completions HTTP/1.1\r\n"),
    "a target with a user": post(line=b"POST http://u@127.0.0.1/v1/chat/completions HTTP/1.1\r\n"),
    "a target of another scheme": post(line=b"POST file://127.0.0.1/v1/chat/completions HTTP/1.1\r\n"),
    "a target without a slash": post(line=b"POST v1/chat/completions HTTP/1.1\r\n"),
    "a target with a fragment": post(line=b"POST /v1/chat/completions#x HTTP/1.1\r\n"),
    "a target with a space": post(line=b"POST /v1/chat/completions x HTTP/1.1\r\n"),
    "a target with a tab": post(line=b"POST /v1/chat\tcompletions HTTP/1.1\r\n"),
    "a target with a NUL": post(line=b"POST /v1/chat/completions\x00 HTTP/1.1\r\n"),
    "a target with other bytes": post(line="POST /v1/chat/completions?é HTTP/1.1\r\n".encode()),
    "CONNECT": post(line=b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n"),
    # Request lines, §3.
    "HTTP/0.9": b"GET /v1/models\r\n",
    "HTTP/0.9 with a version": post(line=b"POST /v1/chat/completions HTTP/0.9\r\n"),
    "HTTP/1.2": post(line=b"POST /v1/chat/completions HTTP/1.2\r\n"),
    "HTTP/2.0": post(line=b"POST /v1/chat/completions HTTP/2.0\r\n"),
    "HTTP/1.10": post(line=b"POST /v1/chat/completions HTTP/1.10\r\n"),
    "HTTP/ 1.1": post(line=b"POST /v1/chat/completions HTTP/ 1.1\r\n"),
    "http/1.1": post(line=b"POST /v1/chat/completions http/1.1\r\n"),
    "no version": post(line=b"POST /v1/chat/completions\r\n"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tab instead of a space": post(line=b"POST\t/v1/chat/completions HTTP/1.1\r\n"),
    "a space in front": post(line=b" POST /v1/chat/completions HTTP/1.1\r\n"),
    "a space behind": post(line=b"POST /v1/chat/completions HTTP/1.1 \r\n"),
    "a request line that ends in a bare LF": post(line=b"POST /v1/chat/completions HTTP/1.1\n"),
    "a method in small letters": post(line=b"post /v1/chat/completions HTTP/1.1\r\n"),
    "an unknown method": post(line=b"GPOST /v1/chat/completions HTTP/1.1\r\n"),
    "a huge method": post(line=b"P" * 100_000 + b" /v1/chat/completions HTTP/1.1\r\n"),
    "a huge target": post(line=b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\n"),
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "noise": bytes(range(256)),
}


@dataclass(frozen=True)
class Accepted:
    """Bytes that are served, and why that is safe."""

    sent: bytes
    why: str


ACCEPTED = {
    "plain": Accepted(post(), "nothing is wrong with it"),
    "chunked": Accepted(chunked(BODY), "nothing is wrong with it"),
    "Chunked in capitals": Accepted(post(b"Transfer-Encoding: CHUNKED\r\n", BODY), "coding names have no case (§7)"),
    "many chunks": Accepted(
        chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in CHAT) + b"0\r\n\r\n"), "chunks may be of any size (§7.1)"
    ),
    "a chunk size with zeros": Accepted(piece(b"000" + SIZE), "`1*HEXDIG`: leading zeros change nothing (§7.1)"),
    "a chunk size in capitals": Accepted(piece(SIZE.upper()), "HEXDIG has no case (§7.1)"),
    "a chunk extension": Accepted(piece(SIZE + b";a=b"), "recipients must ignore unknown extensions (§7.1.1)"),
    "a CL with zeros": Accepted(post(b"Content-Length: 000%d\r\n" % len(CHAT)), "`1*DIGIT` is decimal always (§6.2)"),
    "a CL with spaces around it": Accepted(
        post(b"Content-Length: \t %d \t\r\n" % len(CHAT)), "optional white space is no part of the value (§5)"
    ),
    "no space after the colon": Accepted(post(LENGTH.replace(b": ", b":")), "the white space is optional (§5)"),
    "names in any case": Accepted(post(LENGTH.upper()), "field names have no case (RFC 9110 §5.1)"),
    "an empty value": Accepted(post(LENGTH + b"X-A:\r\n"), "values may be empty (RFC 9110 §5.5)"),
    "bytes beyond ASCII in a value": Accepted(
        post(LENGTH + b"X-A: \xe9\xff\r\n"), "obs-text is opaque, and the field goes nowhere (RFC 9110 §5.5)"
    ),
    "empty lines in front": Accepted(b"\r\n" + post(), "a server should ignore one before the request line (§2.2)"),
    "the whole address as target": Accepted(
        post(line=b"POST http://127.0.0.1/v1/chat/completions HTTP/1.1\r\n"),
        "servers must accept it (§3.2.2), and it names the host that Host names",
    ),
    "two spaces": Accepted(
        post(line=b"POST  /v1/chat/completions HTTP/1.1\r\n"),
        "a recipient may split the request line at any white space (§3); the framing is untouched",
    ),
    "HTTP/1.0": Accepted(
        post(line=b"POST /v1/chat/completions HTTP/1.0\r\n"), "one length, no coding, and the connection closes"
    ),
    "HTTP/1.0 without Host": Accepted(
        post(line=b"POST /v1/chat/completions HTTP/1.0\r\n", host=b""), "HTTP/1.0 knows no Host (§3.2)"
    ),
    "an offer to upgrade": Accepted(
        post(LENGTH + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        "an upgrade may be ignored (RFC 9110 §7.8); what follows on the connection is not read",
    ),
}
