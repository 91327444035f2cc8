"""What a request may take, before anyone has counted, so that quotas can be reserved. Pure.

A prompt's tokens are the bytes of its text times a ratio that begins at a quarter. It follows what Azure counts for the
same caller, model and operation, so that nobody's traffic moves what others reserve, and stays between ``LEAST_RATIO``
and ``MOST_RATIO``. A prompt that was sent and never counted is charged as much at least, and by what it is made of
where that is more: see ``_dense``. What is not text in the request, or is not in it at all, is added
with what it may take at most in most cases: images, sound, files, and what a response that is continued or a tool of
Azure's brings along.

Output is what the request, as it goes up, allows: see ``output_of``.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Generator, Iterator

import msgspec

from chukei.accounts.cost import cost_of
from chukei.accounts.limits import Amounts
from chukei.azure import ANY_OUTPUT_LIMIT, OUTPUT_LIMITS
from chukei.errors import CallerError
from chukei.model import Model
from chukei.request.call import Call
from chukei.request.fields import Fields
from chukei.request.form import Form
from chukei.usage import AUTO, BYTES_PER_TOKEN, DENSE_BYTES, NO_UNITS, Units, Usage

USUAL_OUTPUT = 500
"""Tokens that an answer may have when nothing sets a limit."""

MOST_TOKENS = 10_000_000
"""No model takes or gives more; what claims to is counted as this."""

MOST_CHOICES = 2048
"""No API takes more choices or prompts in one request."""

LEARNING = 0.05
"""Weight of one request in a ratio: about twenty of them turn it."""

SMALLEST_LEARNT = 400
"""Bytes below which a body says little, being mostly JSON around the prompt."""

USUAL_RATIO = 1 / BYTES_PER_TOKEN
LEAST_RATIO, MOST_RATIO = 1 / 8, 1.0
"""Tokens for a byte: few below an eighth, as in text of which JSON escapes each character; none above one."""

MOST_LEARNT = 10_000
"""So many ratios are kept, those used last."""

IMAGE_TOKENS = 3_800
"""What an image may take as input: 1,536 patches at a factor of 2.46, or nine tiles of most models (OpenAI, "Images and
vision"). Only gpt-4o-mini counts more."""

HIDDEN_TOKENS = 8_192
"""What a response that is continued, a stored prompt, a file by its id or a search may bring along."""

BINARY_BYTES = 64
"""Bytes of sound or of a file, as base64 or in a form, for one token at least: ten tokens are a second of sound."""

SOUND_TOKENS = 20_000
"""No sound that is transcribed has more tokens: 25 minutes of ten a second."""

MADE_IMAGE_TOKENS = 6_240
"""Output tokens of one image of the largest size and quality (OpenAI, "Image generation")."""

SOUND_BYTES = 1_000
"""Bytes of a second of sound at least (8 kbit/s): so a recording is never taken for shorter than it is."""

_NEVER_REASONS = re.compile(r"gpt-[34]")  # gpt-35-turbo, gpt-4o, gpt-4.1
_ASKS_TO_REASON = frozenset({"reasoning_effort", "reasoning"})
ENOUGH = 20
"""After so many answers without reasoning a model counts as one that never reasons."""

MOST_MODELS = 1_000
"""Of so many models it is remembered whether they reason."""

_LIMITS = ("n", "best_of")
_SAYS_HOW_MANY = frozenset({*_LIMITS, "prompt"})
_CONTINUES = frozenset({"previous_response_id", "conversation", "data_sources", "prompt"})
_TOOLS = re.compile(rb'"(?:web_search|file_search|code_interpreter|computer|mcp"|image_generation)')
# A key with its quotation marks cannot stand in a text, whose own marks are escaped. White space is bounded so that a
# place costs no more than that; behind more of it media count as text, which is dearer.
_PARTS = re.compile(
    rb'"(?:(url|image_url|file_data|data)"[ \t\n\r]{0,8}+:[ \t\n\r]{0,8}+"data:[^",]{0,120}+,'
    rb'|(file_data|data)"[ \t\n\r]{0,8}+:[ \t\n\r]{0,8}+"'
    rb'|(image_url|input_image|file_id|file_url)")'
)
_LONGEST_PART = 200
"""Bytes that the pattern may take."""
_KEYS = {
    b'"image_url"': IMAGE_TOKENS // 2,
    b'"input_image"': IMAGE_TOKENS // 2,
    b'"file_id"': HIDDEN_TOKENS,
    b'"file_url"': HIDDEN_TOKENS,
}
"""An image names two of its keys: ``image_url`` twice, or ``input_image`` and ``image_url`` or ``file_id``."""
MOST_PARTS = 4096
"""No API takes so many images or files; where there are more, all the tokens are taken that a model can take."""
SLICE = 64 * 1024
"""Bytes that are weighed at a time."""
_DENSE = 64
"""Bytes for each quotation mark, from which on down a slice's keys are only counted, which costs them alike."""
_MOST_ESCAPES = SLICE // 32
_ESCAPED = (b"\\u006", b"\\u007", b"\\u005f", b"\\u005F")
_BY_NUMBER = re.compile(rb"\\u[0-9a-fA-F]{4}")
_SMALL = b" abcdefghijklmnopqrstuvwxyz"
_ASCII = bytes(range(128))
_NUMBERS = re.compile(rb"\[[ \t\n\r]*[\[0-9]")
_TAKE_NUMBERS = {"completions": "prompt", "embeddings": "input"}
_Key = tuple[str, str, str]


class Estimator:
    """Estimates by caller, model and operation, and learns from what was counted."""

    def __init__(self) -> None:
        self._ratios: OrderedDict[_Key, float] = OrderedDict()
        self._unreasoned: dict[str, float] = {}  # answers of a model that never reasoned; infinite where it has

    def prompt(self, call: Call, model: Model, caller: str = "") -> int:
        """Return the tokens that the prompt may have."""
        ratio = self._ratios.get((caller, model.name, call.operation.name), USUAL_RATIO)
        text, hidden = _found(call)
        if model.system is not None:
            text += len(model.system.encode())
        return min(int(text * ratio) + 1 + hidden, MOST_TOKENS)

    def uncounted(self, call: Call, model: Model, caller: str = "") -> int:
        """Return the tokens that are charged for a prompt which was sent and not counted. This errs upwards."""
        text, hidden = _found(call)
        given = _dense(_raw(call)) if text == call.size else text // DENSE_BYTES  # where media are in between
        if model.system is not None:
            given += _dense(model.system.encode())
        return min(max(given + 1 + hidden, self.prompt(call, model, caller)), MOST_TOKENS)

    def amounts(self, call: Call, model: Model, caller: str = "") -> Amounts:
        """Return what a request may use at most, as far as can be told: its prompt and all the output it may have."""
        return _amounts(call, model, self.prompt(call, model, caller))

    def least(self, call: Call, model: Model) -> Amounts:
        """Return what a request is sure to ask for: without what was learnt, nor what it may bring along."""
        return _amounts(call, model, min(_found(call)[0] // BYTES_PER_TOKEN + 1, MOST_TOKENS))

    def may_reason(self, call: Call, model: Model, served: str | None) -> bool:
        """Whether an answer may hold reasoning that its client does not see; ``served`` is what Azure calls its model.

        It may not where that is of a family that never does, or where the model has been counted often enough and
        never did.
        """
        if not call.operation.generates:
            return False
        if isinstance(call.body, Fields) and call.body.has_any(_ASKS_TO_REASON):
            return True
        if served is not None and _NEVER_REASONS.match(served) is not None:
            return self._unreasoned.get(model.name) == math.inf
        return not ENOUGH <= self._unreasoned.get(model.name, 0) < math.inf

    def note_reasoning(self, call: Call, model: Model, usage: Usage) -> None:
        """Take note of whether a model has reasoned."""
        seen = self._unreasoned
        if call.operation.generates and usage.output and (model.name in seen or len(seen) < MOST_MODELS):
            seen[model.name] = math.inf if usage.reasoning else seen.get(model.name, 0) + 1

    def learn(self, call: Call, model: Model, usage: Usage, caller: str = "") -> None:
        """Take note of what was counted for a request of text alone."""
        if usage.estimated or not usage.input or call.size < SMALLEST_LEARNT:
            return
        text, hidden = _found(call)
        if hidden or not text or usage.audio_input or usage.image_input:
            return
        key = (caller, model.name, call.operation.name)
        before = self._ratios.pop(key, USUAL_RATIO)
        seen = min(max(usage.input / text, LEAST_RATIO), MOST_RATIO)
        self._ratios[key] = before + LEARNING * (seen - before)
        if len(self._ratios) > MOST_LEARNT:
            self._ratios.popitem(last=False)


def _amounts(call: Call, model: Model, given: int) -> Amounts:
    made, prices = output_of(call, model), model.prices
    if prices is None:
        return Amounts(given + made)
    units, usage = units_of(call, model), Usage(input=given, output=made)
    if (prices.audio_input or prices.audio_output) and b"audio" in _raw(call):
        usage = Usage(input=given, output=made, audio_input=given, audio_output=made)
    tier = _text(call, "service_tier") if prices.tiers or prices.by_model else None
    cost = cost_of(usage, prices, units, tier=tier) or 0
    for served in prices.by_model:
        cost = max(cost, cost_of(usage, prices, units, served=served, tier=tier) or 0)
    return Amounts(given + made, cost)


def _raw(call: Call) -> bytes:
    return call.body.sent if isinstance(call.body, Fields) else b""


def weigh(call: Call) -> Iterator[None]:
    """Weigh a large call for all who ask later, a slice at a time."""
    call.prompt.append((yield from _prompt(call)))


def _found(call: Call) -> tuple[int, int]:
    """Return what ``_prompt`` finds, which is looked for once: it may be a megabyte."""
    if not call.prompt:
        for _ in weigh(call):
            pass
    return call.prompt[0]


def _prompt(call: Call) -> Generator[None, None, tuple[int, int]]:
    """Return the bytes of a request's text, and the tokens of what is no text or comes from elsewhere."""
    body, name = call.body, call.operation.name
    if isinstance(body, Form):
        return _form_prompt(call, body)
    raw, size, hidden = body.sent, call.size, 0
    if name in _TAKE_NUMBERS and body.begins_with(_TAKE_NUMBERS[name], _NUMBERS):
        return 0, raw.count(b",") + 1  # tokens by their numbers
    if name == "image_edit":
        binary, tokens = yield from _media(raw)
        named = tokens and max(tokens // (IMAGE_TOKENS // 2), 1)  # each key may be a picture by itself
        return size - binary, named * MADE_IMAGE_TOKENS
    if not call.operation.generates or name == "completions":
        return size, 0
    if body.has_any(_CONTINUES):
        hidden += HIDDEN_TOKENS
    if body.holds("tools", _TOOLS):
        hidden += HIDDEN_TOKENS
    # What is not text has its type beside it; most bodies have neither that nor an escape.
    if b'"type"' in raw:
        binary, tokens = yield from _media(raw)
        size, hidden = size - binary, hidden + tokens
    if b"\\" in raw and (yield from _hides(raw)):  # no client writes letters so, but to hide what they say
        hidden += HIDDEN_TOKENS
    return size, hidden


def _hides(raw: bytes) -> Generator[None, None, bool]:
    """Return whether a letter is written as an escape that needs none, or a slice is all escapes."""
    for begin in range(0, len(raw), SLICE):
        end = begin + SLICE + 5
        escapes = raw.count(b"\\u00", begin, end)
        if escapes > _MOST_ESCAPES or (escapes and any(raw.find(each, begin, end) >= 0 for each in _ESCAPED)):
            return True
        yield
    return False


def _dense(text: bytes) -> int:
    """Return how many tokens a text has at most in most cases, by what it is made of.

    A token is four small letters or spaces, or three bytes of another script; digits, capitals and signs have two for
    three of them, which are less dense only in long numbers. What JSON escapes by its number is a token.
    """
    tokens = 0
    if b"\\u" in text:
        text, tokens = _BY_NUMBER.subn(b"", text)
    small = len(text) - len(text.translate(None, _SMALL))
    other = len(text.translate(None, _ASCII))
    return tokens + math.ceil(small / BYTES_PER_TOKEN + other / DENSE_BYTES + (len(text) - small - other) * 2 / 3)


def _media(raw: bytes) -> Generator[None, None, tuple[int, int]]:
    """Return the bytes of media within a body, and the tokens that all media may have."""
    if len(raw) <= SLICE and not (b'"image' in raw or b'"input_' in raw or b'"file' in raw):
        return 0, 0
    binary = tokens = parts = at = 0
    while at < len(raw):
        end = min(at + SLICE, len(raw))
        if len(raw) > SLICE and raw.count(b'"', at, end) * _DENSE > end - at:
            for key, each in _KEYS.items():
                tokens += raw.count(key, at, end + len(key) - 1) * each
            at = end
        while at < end:
            found = _PARTS.search(raw, at, end + _LONGEST_PART)
            if found is None or found.start() >= end:
                at = end
                break
            parts += 1
            if parts > MOST_PARTS:
                return binary, MOST_TOKENS
            tokens += _KEYS.get(b'"%b"' % (found[1] or found[2] or found[3]), 0)
            at = found.end()
            if found[2] or (found[1] and found[0].endswith(b";base64,")):
                at = raw.find(b'"', found.end())
                length = at - found.end()  # the body is valid JSON
                binary += length
                if (found[1] or found[2]) in (b"data", b"file_data"):
                    tokens += length // BINARY_BYTES + 1
        yield
    return binary, tokens


def _form_prompt(call: Call, form: Form) -> tuple[int, int]:
    if call.operation.name == "image_edit":
        return 0, form.files * MADE_IMAGE_TOKENS + min(call.size, 8_000)
    return 0, _heard(call)


def _heard(call: Call) -> int:
    """Return the tokens of a recording, by its size."""
    return min(call.size // BINARY_BYTES + 1, SOUND_TOKENS)


def load_of(call: Call, model: Model) -> int:
    """Return the tokens by which a request loads a deployment: what its prompt usually has, and all of its output."""
    return call.size // BYTES_PER_TOKEN + output_of(call, model)


def output_of(call: Call, model: Model) -> int:
    """Return how many tokens the answer may have: for each choice of each prompt the highest of the limits that may go
    up, under the caps; the client's own, or the model's where it has none.

    A chat may name its limit twice. Which of the two is left, the deployment decides, so the larger one counts.
    """
    body, name = call.body, call.operation.name
    if not call.operation.generates:
        return _made_by_media(call)
    if not isinstance(body, Fields):
        return 0
    if not (model.parameters or model.caps or body.has_any(_SAYS_HOW_MANY)):
        most = 0
        for each in OUTPUT_LIMITS.get(name, ()):
            if each in body:
                most = max(most, at_most(body.raw(each)))
        return most or USUAL_OUTPUT
    filled = model.parameters or {}
    limits = [limit for each in OUTPUT_LIMITS.get(name, ()) if (limit := at_most(body.raw(each)))]
    if not limits:
        limits = [limit for each in ANY_OUTPUT_LIMIT if (limit := at_most(_json(filled.get(each))))]
    caps = [math.ceil(cap) for each, cap in (model.caps or {}).items() if each in ANY_OUTPUT_LIMIT]
    limit = min([max(limits, default=min(caps, default=USUAL_OUTPUT)), *caps])
    return min(limit * choices_of(call, model), MOST_TOKENS)


def choices_of(call: Call, model: Model) -> int:
    """Return how many texts are made at once: for each prompt the choices that are asked for, under the caps."""
    body = call.body
    if not isinstance(body, Fields) or not call.operation.generates:
        return 1
    filled, caps, choices = model.parameters or {}, model.caps or {}, 1
    for each in _LIMITS:
        asked = at_most(body.raw(each)) or at_most(_json(filled.get(each))) or 1
        choices = max(choices, min(asked, math.ceil(caps[each])) if each in caps else asked)
    prompts = _prompts(body.raw("prompt")) if call.operation.name == "completions" else 1
    return min(choices, MOST_CHOICES) * prompts


def _made_by_media(call: Call) -> int:
    name = call.operation.name
    if name in ("image_generation", "image_edit"):
        return min(_images(call) * MADE_IMAGE_TOKENS, MOST_TOKENS)
    if name in ("transcription", "translation"):
        return _heard(call)
    return 0


def at_most(raw: bytes | None) -> int:
    """Return a number in any form in which JSON can hold it, also as a string, rounded up; 0 where it is none.

    What Azure refuses costs nothing, so it need not be known whether it takes the form.
    """
    if raw is None:
        return 0
    if raw.isdigit() and len(raw) < 10:
        return min(int(raw), MOST_TOKENS)
    text = raw.strip(b'" \t\n\r')
    if not text or text[:1] not in b"0123456789+.":
        return 0
    if len(text) > 400:
        return MOST_TOKENS
    try:
        value = float(text)
    except ValueError:
        return 0
    return MOST_TOKENS if value >= MOST_TOKENS else math.ceil(value)


def _json(value: object) -> bytes | None:
    return str(value).encode() if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None


def _prompts(raw: bytes | None) -> int:
    """Return how many prompts there are at most: texts, or lists of tokens, in a list."""
    if raw is None or not raw.startswith(b"["):
        return 1
    inner = raw[1:64].lstrip()[:1]
    if inner == b"[":
        return min(max(raw.count(b"[") - 1, 1), MOST_CHOICES)
    if inner != b'"':
        return 1  # the tokens of one prompt
    if raw.count(b",") < MOST_CHOICES:
        try:
            return max(len(msgspec.json.decode(raw, type=list[msgspec.Raw])), 1)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return 1  # Azure's to refuse
    return min(raw.count(b'"') // 2, MOST_CHOICES)


def units_of(call: Call, model: Model, usage: Usage | None = None) -> Units:
    """Return what a request has to pay for by the piece, where its model has such a price.

    Sound is as long as ``usage`` says, else as long as so many bytes can be.
    """
    prices, name = model.prices, call.operation.name
    if prices is None or call.operation.generates:
        return NO_UNITS
    if name in ("image_generation", "image_edit") and (prices.image is not None or prices.images):
        return Units(images=_images(call), size=_text(call, "size") or AUTO, quality=_text(call, "quality") or AUTO)
    if name == "speech" and prices.characters is not None:
        return Units(characters=len(_text(call, "input") or ""))
    if name in ("transcription", "translation") and prices.minute is not None:
        heard = usage.heard_ms if usage is not None else 0
        return Units(heard_ms=heard or call.size * 1000 // SOUND_BYTES)
    return NO_UNITS


def _images(call: Call) -> int:
    raw = call.body.raw("n") if isinstance(call.body, Fields) else (_text(call, "n") or "").encode()
    return min(at_most(raw) or 1, MOST_CHOICES)


def _text(call: Call, name: str) -> str | None:
    """Return a field that is a text; None where it is missing or anything else, which is Azure's to refuse."""
    body = call.body
    if isinstance(body, Form):
        try:
            return body.text(name)
        except CallerError:
            return None
    raw = body.raw(name)
    if raw is None or not raw.startswith(b'"'):
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, ValueError):
        return None
