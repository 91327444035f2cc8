"""No part of the relay's own credential is passed on in an upstream's words, wherever they are shortened."""

from tests.rows import rows

from chukei.stream.redaction import Redactor
from chukei.upstream.explanation import MAX_CHARACTERS
from chukei.upstream.refusals import refusal

KEY = "sk-upstream-secret-0123456789abcdef"


@rows("missing", [1, 10, len(KEY) - 6])
def test_a_credential_is_blotted_out_before_a_text_is_shortened(missing: int) -> None:
    words = "x" * (MAX_CHARACTERS - len(KEY) + missing - 1) + KEY
    fields = [(b"content-type", b"text/plain")]
    error = refusal(400, fields, words.encode(), Redactor([(b"api-key", KEY.encode())]))
    assert KEY[:6].encode() not in error.body
