"""An upstream's own words, in whatever shape it says them, without the relay's credentials."""

import json

from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.stream.redaction import MASK, Redactor
from chukei.upstream.explanation import MAX_CHARACTERS, explanation, plain

JSON = b"application/json"
OBJECT = b'{"error": {"code": "X",\n "message": "theirs"}}'


@rows(
    ("body", "words"),
    [
        (b'{"error":"text"}', "text"),
        (b'{"message":"No such thing."}', "No such thing."),
        (b'{"statusCode":429,"message":"Rate limit is exceeded."}', "Rate limit is exceeded."),
        (b'{"detail":"x"}', "x"),
        (
            b'{"detail":[{"type":"missing","loc":["body","model"],"msg":"Field required","input":{}}]}',
            "body.model: Field required",
        ),
        (b'{"errors":[{"message":"one"},{"message":"two"}]}', "one; two"),
        (
            b'{"type":"about:blank","title":"Bad","errors":{"model":["is needed","is short"]}}',
            "model: is needed; is short",
        ),
        (b'{"title":"Bad","detail":"worse"}', "worse"),
        (b'{"fault":1,"error":{}, "message":"m"} tail', "m tail"),
        (b'"a sentence"', "a sentence"),
        (
            b"\n\n  Failed to buffer the request body: length limit exceeded\nPlease check\n",
            "Failed to buffer the request body: length limit exceeded Please check",
        ),
        (b"\xef\xbb\xbfupstream connect error", "upstream connect error"),
        (b"caf\xe9", "caf\ufffd"),
        (b"a\x1b[31mb\x07 <b>bold</b> max_tokens <= 4096 and >= 1", "a [31mb bold max_tokens <= 4096 and >= 1"),
        (b"<<b>script>alert(1)", "< script>alert(1)"),
        (b"", ""),
        (b"\x00\x01", ""),
        (b"<!DOCTYPE html><p>x", ""),
        (b" <html>x", ""),
        (b"{", ""),
        (b"[" * 50_000, ""),
        (b'{"error":null}', ""),
        (b"[]", ""),
        (b'{"code":5}', ""),
    ],
)
def test_words_are_found_in_any_shape(body: bytes, words: str) -> None:
    found = explanation(body, JSON)
    said = json.loads(found.body)["error"]["message"] if found.body is not None else found.text
    assert said == words


@rows("kind", [b"text/html", b"application/xhtml+xml", b"image/png"])
def test_pages_and_pictures_have_no_words(kind: bytes) -> None:
    assert explanation(b"Sorry, we are closed", kind) == (None, "")


def test_an_error_object_stays_as_it_is() -> None:
    assert explanation(OBJECT, JSON).body == OBJECT
    assert explanation(b"\xef\xbb\xbf\n" + OBJECT + b"\n\n", JSON).body == b"\n" + OBJECT + b"\n\n"
    assert explanation(OBJECT, b"text/plain").body == OBJECT


def test_a_sentence_behind_an_error_object_joins_its_message() -> None:
    body = explanation(OBJECT + b"\nSee the guide.", JSON).body
    assert body is not None
    assert json.loads(body) == {"error": {"code": "X", "message": "theirs See the guide."}}


def test_words_are_bounded() -> None:
    assert len(plain("x" * 100_000)) == MAX_CHARACTERS
    assert plain("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS


@given(
    body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    kind=st.sampled_from([JSON, b"text/plain", b""]),
)
def test_any_body_has_an_explanation_or_none(body: bytes, kind: bytes) -> None:
    found = explanation(body, kind)
    assert found.text == plain(found.text)
    if found.body is not None:
        json.loads(found.body)


KEY = "sk-Upstream/Secret+1"
BLOTTER = Redactor([(b"api-key", KEY.encode()), (b"user-agent", b"chukei")])


@rows(
    "spelt",
    [
        KEY,
        KEY.replace("/", r"\/"),
        "".join(f"\\u{ord(each):04x}" for each in KEY),
        KEY.replace("S", r"\u0053"),
    ],
)
def test_a_credential_is_blotted_out_however_json_spells_it(spelt: str) -> None:
    raw = f'{{"error":{{"message":"Bad key {spelt}!","n":[1,"{spelt}"]}}}}'.encode()
    assert json.loads(BLOTTER.json(raw)) == {"error": {"message": f"Bad key {MASK}!", "n": [1, MASK]}}
    event = b"event: error\ndata: " + raw + b"\n\n"
    blotted = BLOTTER.events(b": hi\n\n" + event)
    assert blotted.startswith(b": hi\n\nevent: error\ndata: {")
    assert MASK.encode() in blotted
    assert KEY not in json.dumps(json.loads(blotted.split(b"data: ")[1]))


def test_a_bearer_token_is_a_credential_too() -> None:
    redactor = Redactor([(b"authorization", b"Bearer eyJ.token.x")])
    assert redactor.text("you sent eyJ.token.x") == f"you sent {MASK}"
    assert redactor.fields([(b"a", b"eyJ.token.x"), (b"b", b"1")]) == [(b"b", b"1")]


def test_what_holds_none_stays_byte_for_byte() -> None:
    for raw in (OBJECT, b'{"a":1e5, "b":"\\u00e9"}', b"no json", b"", b'{"n":' + b"9" * 5000 + b"}"):
        assert BLOTTER.json(raw) == raw
    events = b'data: {"a": 1}\r\n\r\nevent: x\ndata:{}\n\n'
    assert BLOTTER.events(events) == events


def test_a_credential_is_blotted_out_of_names_that_are_there_twice() -> None:
    raw = f'{{"error":{{"message":"{KEY}","message":"ok"}}}}'.encode()
    assert BLOTTER.json(raw) == f'{{"error":{{"message":"{MASK}","message":"ok"}}}}'.encode()


@rows("depth", [100, 600, 900, 5000])
def test_blotting_does_not_depend_on_how_deep_json_nests(depth: int) -> None:
    escaped = KEY.replace("/", r"\/")
    raw = b'{"error":{"message":"%s","more":%s}}' % (escaped.encode(), b"[" * depth + b"]" * depth)
    assert BLOTTER.json(raw) == raw.replace(escaped.encode(), MASK.encode())


def test_half_a_character_is_no_failure() -> None:
    raw = f'{{"error":{{"message":"{KEY}","code":"\\ud800"}}}}'.encode()
    assert BLOTTER.json(raw) == raw.replace(KEY.encode(), MASK.encode())
    assert explanation(raw + b" and more", JSON).text == f"{KEY} and more"
