"""An estimate of a request's tokens before Azure counts them, so that quotas can be reserved. Pure.

The tokens of a prompt are the bytes of its text times a ratio. The ratio starts at a quarter and follows Azure's counts
for the same caller, model and operation, so that one caller's traffic does not affect another's reservations. It stays
between ``LEAST_RATIO`` and ``MOST_RATIO``. A prompt that was sent but never counted is charged by the same estimate, or
by its characters if that is more: see ``_dense``. Input other than text is added with an upper bound that holds in most
cases: images, sound, files, and the hidden input of a continued response or of one of Azure's tools.

The output is the limit that the request, as sent upstream, allows: see ``output_of``.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Generator, Iterator

import msgspec

from chukei.accounts.cost import cost_of
from chukei.accounts.limits import Amounts
from chukei.azure import ANY_OUTPUT_LIMIT, MESSAGES, OUTPUT_LIMITS, RESPONSES
from chukei.errors import CallerError
from chukei.model import Model
from chukei.request.call import Call
from chukei.request.fields import Fields
from chukei.request.form import Form
from chukei.usage import AUTO, BYTES_PER_TOKEN, DENSE_BYTES, NO_UNITS, Units, Usage

USUAL_OUTPUT = 500
"""Output tokens assumed when there is no limit."""

MOST_TOKENS = 10_000_000
"""Upper bound of input or output tokens, beyond those of any model; larger values count as this."""

MOST_CHOICES = 2048
"""No API takes more choices or prompts in one request."""

LEARNING = 0.05
"""Weight of one request in a ratio; the ratio adapts within about twenty requests."""

SMALLEST_LEARNT = 400
"""Bytes of the smallest body from which the ratio learns; smaller ones are mostly JSON around the prompt."""

USUAL_RATIO = 1 / BYTES_PER_TOKEN
LEAST_RATIO, MOST_RATIO = 1 / 8, 1.0
"""Bounds of the tokens per byte. Text is rarely below an eighth, as when JSON escapes each character, and never above
one."""

MOST_LEARNT = 10_000
"""Ratios kept at most, the most recently used ones."""

IMAGE_TOKENS = 3_800
"""Input tokens of an image at most: 1,536 patches at a factor of 2.46, or nine tiles of most models (OpenAI, "Images
and vision"). Only gpt-4o-mini counts more."""

CLAUDE_IMAGE_TOKENS = 4_784
"""Input tokens of an image for Claude at most (Anthropic: "Vision", models with high-resolution images)."""

HIDDEN_TOKENS = 8_192
"""Input tokens that a continued response, a stored prompt, a file given by its id, or a search may add."""

BINARY_BYTES = 64
"""Bytes of sound or of a file for one token at least, as base64 or in a form: a second of sound has ten tokens."""

SOUND_TOKENS = 20_000
"""Input tokens of a transcribed recording at most: 25 minutes at about ten tokens a second."""

MADE_IMAGE_TOKENS = 6_240
"""Output tokens of one image of the largest size and quality (OpenAI, "Image generation")."""

PARTIAL_IMAGE_TOKENS = 100
"""Output tokens of each of up to three partial images (OpenAI, "Image generation", cost of partial images)."""

SOUND_BYTES = 1_000
"""Bytes of a second of sound at least (8 kbit/s), so that a recording's length is never underestimated."""

_NEVER_REASONS = re.compile(r"gpt-[34]")  # gpt-35-turbo, gpt-4o, gpt-4.1
_ASKS_TO_REASON = frozenset({"reasoning_effort", "reasoning"})
ENOUGH = 20
"""Answers without reasoning after which a model counts as one that never reasons."""

MOST_MODELS = 1_000
"""Models for which it is remembered whether they reason."""

_IMAGE_TOOL = re.compile(rb'"image_generation"')
_DISABLED = re.compile(rb'"disabled"')
_LIMITS = ("n", "best_of")
_SAYS_HOW_MANY = frozenset({*_LIMITS, "prompt"})
_CONTINUES = frozenset({"previous_response_id", "conversation", "data_sources", "prompt"})
_TOOLS = re.compile(rb'"(?:web_search|file_search|code_interpreter|computer|mcp"|image_generation)')
# A key with its quotation marks cannot occur inside a text, where quotation marks are escaped. The pattern bounds white
# space, and so the cost of each match. Media after more white space count as text, which is charged higher.
_PARTS = re.compile(
    rb'"(?:(url|image_url|file_data|data)"[ \t\n\r]{0,8}+:[ \t\n\r]{0,8}+"data:[^",]{0,120}+,'
    rb'|(file_data|data)"[ \t\n\r]{0,8}+:[ \t\n\r]{0,8}+"'
    rb'|(image_url|input_image|file_id|file_url)")'
)
_LONGEST_PART = 200
"""Bytes that the pattern may match."""
_KEYS = {
    b'"image_url"': IMAGE_TOKENS // 2,
    b'"input_image"': IMAGE_TOKENS // 2,
    b'"file_id"': HIDDEN_TOKENS,
    b'"file_url"': HIDDEN_TOKENS,
}
"""An image names two of its keys: ``image_url`` twice, or ``input_image`` and ``image_url`` or ``file_id``."""
MOST_PARTS = 4096
"""Images and files at most; no API accepts so many. A request with more counts as ``MOST_TOKENS``."""
SLICE = 64 * 1024
"""Bytes that are examined at a time."""
_DENSE = 64
"""If a slice has a quotation mark for fewer bytes than this, its keys are only counted, at a constant cost."""
_MOST_ESCAPES = SLICE // 32
_ESCAPED = (b"\\u006", b"\\u007", b"\\u005f", b"\\u005F")
_BY_NUMBER = re.compile(rb"\\u[0-9a-fA-F]{4}")
_SMALL = b" abcdefghijklmnopqrstuvwxyz"
_ASCII = bytes(range(128))
_NUMBERS = re.compile(rb"\[[ \t\n\r]*[\[0-9]")
_TAKE_NUMBERS = {"completions": "prompt", "embeddings": "input"}
_Key = tuple[str, str, str]


class Estimator:
    """Estimates by caller, model and operation, and learns from reported usage."""

    def __init__(self) -> None:
        self._ratios: OrderedDict[_Key, float] = OrderedDict()
        self._unreasoned: dict[str, float] = {}  # by model: answers without reasoning; infinite if it ever reasoned

    def prompt(self, call: Call, model: Model, caller: str = "") -> int:
        """Return the estimated tokens of the prompt."""
        ratio = self._ratios.get((caller, model.name, call.operation.name), USUAL_RATIO)
        text, hidden = _found(call)
        if model.system is not None:
            text += len(model.system.encode())
        return min(int(text * ratio) + 1 + hidden, MOST_TOKENS)

    def uncounted(self, call: Call, model: Model, caller: str = "") -> int:
        """Return the tokens to charge for a prompt that was sent but not counted. Rather too high than too low."""
        text, hidden = _found(call)
        given = _dense(_raw(call)) if text == call.size else text // DENSE_BYTES  # the body contains media
        if model.system is not None:
            given += _dense(model.system.encode())
        return min(max(given + 1 + hidden, self.prompt(call, model, caller)), MOST_TOKENS)

    def amounts(self, call: Call, model: Model, caller: str = "") -> Amounts:
        """Return the estimated amounts of a request: its prompt and the largest output that it allows."""
        return _amounts(call, model, self.prompt(call, model, caller))

    def least(self, call: Call, model: Model) -> Amounts:
        """Return the amounts that a request certainly asks for, without learnt ratios and hidden input."""
        return _amounts(call, model, min(_found(call)[0] // BYTES_PER_TOKEN + 1, MOST_TOKENS))

    def may_reason(self, call: Call, model: Model, served: str | None) -> bool:
        """Whether an answer may contain invisible reasoning; ``served`` is Azure's name of its model.

        It may not if the model is of a family that never reasons, or if the model never reasoned in ``ENOUGH`` answers
        with a usage report.
        """
        if not call.operation.generates:
            return False
        if call.operation.name == MESSAGES.name:  # its reports do not tell reasoning apart
            return isinstance(call.body, Fields) and _thinks(call.body)
        if isinstance(call.body, Fields) and call.body.has_any(_ASKS_TO_REASON):
            return True
        if served is not None and _NEVER_REASONS.match(served) is not None:
            return self._unreasoned.get(model.name) == math.inf
        return not ENOUGH <= self._unreasoned.get(model.name, 0) < math.inf

    def note_reasoning(self, call: Call, model: Model, usage: Usage) -> None:
        """Record whether a model has reasoned."""
        seen = self._unreasoned
        if call.operation.generates and usage.output and (model.name in seen or len(seen) < MOST_MODELS):
            seen[model.name] = math.inf if usage.reasoning else seen.get(model.name, 0) + 1

    def learn(self, call: Call, model: Model, usage: Usage, caller: str = "") -> None:
        """Adapt the ratio to the reported usage of a request that contains only text."""
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
    if call.operation.free:
        return Amounts()
    made, prices = output_of(call, model), model.prices
    if prices is None:
        return Amounts(given + made)
    units, usage = units_of(call, model), Usage(input=given, output=made)
    if (prices.audio_input or prices.audio_output) and b"audio" in _raw(call):
        usage = Usage(input=given, output=made, audio_input=given, audio_output=made)
    elif prices.image_output and made >= MADE_IMAGE_TOKENS and b'"image_generation"' in _raw(call):
        usage = Usage(input=given, output=made, image_output=MADE_IMAGE_TOKENS)
    tier = tier_of(call, model) if prices.tiers or prices.by_model else None
    cost = cost_of(usage, prices, units, tier=tier) or 0
    for served in prices.by_model:
        cost = max(cost, cost_of(usage, prices, units, served=served, tier=tier) or 0)
    return Amounts(given + made, cost)


def tier_of(call: Call, model: Model | None = None) -> str | None:
    """Return the ``service_tier`` that a client asks for, or else the ``model``'s parameters; None if neither does."""
    asked = _text(call, "service_tier")
    if asked is None and model is not None and call.operation.generates:
        filled = (model.parameters or {}).get("service_tier")
        asked = filled if isinstance(filled, str) else None
    return asked


def _thinks(body: Fields) -> bool:
    return "thinking" in body and not body.holds("thinking", _DISABLED)


def _raw(call: Call) -> bytes:
    return call.body.sent if isinstance(call.body, Fields) else b""


def weigh(call: Call) -> Iterator[None]:
    """Estimate a large call's prompt a slice at a time, and cache the result in the call."""
    call.prompt.append((yield from _prompt(call)))


def _found(call: Call) -> tuple[int, int]:
    """Return the result of ``_prompt``. It is computed once, since the body may be a megabyte."""
    if not call.prompt:
        for _ in weigh(call):
            pass
    return call.prompt[0]


def _prompt(call: Call) -> Generator[None, None, tuple[int, int]]:
    """Return the bytes of a request's text, and the tokens of its media and hidden input."""
    body, name = call.body, call.operation.name
    if isinstance(body, Form):
        return _form_prompt(call, body)
    raw, size, hidden = body.sent, call.size, 0
    if name in _TAKE_NUMBERS and body.begins_with(_TAKE_NUMBERS[name], _NUMBERS):
        return 0, raw.count(b",") + 1  # the prompt is a list of token numbers
    if name == "image_edit":
        binary, tokens = yield from _media(raw)
        named = tokens and max(tokens // (IMAGE_TOKENS // 2), 1)  # each key may be an image of its own
        return size - binary, named * MADE_IMAGE_TOKENS
    if not call.operation.generates or name == "completions":
        return size, 0
    if body.has_any(_CONTINUES):
        hidden += HIDDEN_TOKENS
    if body.holds("tools", _TOOLS):
        hidden += HIDDEN_TOKENS
    if name == MESSAGES.name:
        hidden += raw.count(b'"image"') * CLAUDE_IMAGE_TOKENS
    # Media have a "type" beside them. Most bodies have neither that nor an escape.
    if b'"type"' in raw:
        binary, tokens = yield from _media(raw)
        size, hidden = size - binary, hidden + tokens
    if b"\\" in raw and (yield from _hides(raw)):  # clients escape letters only to hide their meaning
        hidden += HIDDEN_TOKENS
    return size, hidden


def _hides(raw: bytes) -> Generator[None, None, bool]:
    """Return whether a letter is escaped needlessly, or a slice consists mostly of escapes."""
    for begin in range(0, len(raw), SLICE):
        end = begin + SLICE + 5
        escapes = raw.count(b"\\u00", begin, end)
        if escapes > _MOST_ESCAPES or (escapes and any(raw.find(each, begin, end) >= 0 for each in _ESCAPED)):
            return True
        yield
    return False


def _dense(text: bytes) -> int:
    """Return an upper bound of a text's tokens that holds in most cases, by its characters.

    A token is four lower-case letters or spaces, or three bytes of another script. Digits, capitals and signs are two
    tokens for every three, which only long numbers undercut. A numeric escape of JSON is one token.
    """
    tokens = 0
    if b"\\u" in text:
        text, tokens = _BY_NUMBER.subn(b"", text)
    small = len(text) - len(text.translate(None, _SMALL))
    other = len(text.translate(None, _ASCII))
    return tokens + math.ceil(small / BYTES_PER_TOKEN + other / DENSE_BYTES + (len(text) - small - other) * 2 / 3)


def _media(raw: bytes) -> Generator[None, None, tuple[int, int]]:
    """Return the bytes of media in a body, and the tokens that all media may have."""
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
    return 0, _sound_tokens(call)


def _sound_tokens(call: Call) -> int:
    """Return the tokens of a recording, estimated from its size."""
    return min(call.size // BINARY_BYTES + 1, SOUND_TOKENS)


def load_of(call: Call, model: Model) -> int:
    """Return the load of a request on a deployment in tokens: its prompt at the usual ratio, and its largest output."""
    return call.size // BYTES_PER_TOKEN + output_of(call, model)


def output_of(call: Call, model: Model) -> int:
    """Return how many tokens the answer may have: those of its texts, and of an image that a tool may make."""
    made, body = _texts_of(call, model), call.body
    if call.operation.name == RESPONSES.name and isinstance(body, Fields) and body.holds("tools", _IMAGE_TOOL):
        made += MADE_IMAGE_TOKENS
    return made


def _texts_of(call: Call, model: Model) -> int:
    """Return how many tokens the texts may have: the output limit times the choices of all prompts.

    The limit is the client's own, or the model's if the client has none; caps apply to both. A chat may have two
    limits. The deployment decides which one is sent, so the larger one counts.
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
    """Return how many texts are generated: the number of prompts times the choices of each, under the caps."""
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
        partial = min(_number(call, "partial_images"), 3)
        return min(_images(call) * (MADE_IMAGE_TOKENS + partial * PARTIAL_IMAGE_TOKENS), MOST_TOKENS)
    if name in ("transcription", "translation"):
        return _sound_tokens(call)
    return 0


def at_most(raw: bytes | None) -> int:
    """Return a number in any JSON form, also as a string, rounded up; 0 if it is not a number.

    Azure may refuse some of these forms. That does not matter, since a refused request costs nothing.
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
    """Return how many prompts a field has at most: texts or lists of tokens in a list."""
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
            return 1  # Azure refuses it
    return min(raw.count(b'"') // 2, MOST_CHOICES)


def units_of(call: Call, model: Model, usage: Usage | None = None) -> Units:
    """Return the billable units of a request, if its model has prices for them.

    The duration of sound is that of ``usage``, else the longest that the body's size allows.
    """
    prices, name = model.prices, call.operation.name
    if prices is None:
        return NO_UNITS
    lists = (prices, *prices.by_model.values())
    heard = usage.heard_ms if usage is not None and not usage.estimated else call.heard_ms
    if (heard or name in ("transcription", "translation")) and any(each.minute is not None for each in lists):
        return Units(heard_ms=heard or call.size * 1000 // SOUND_BYTES)
    if call.operation.generates:
        return NO_UNITS
    if name in ("image_generation", "image_edit") and any(each.image is not None or each.images for each in lists):
        return Units(images=_images(call), size=_text(call, "size") or AUTO, quality=_text(call, "quality") or AUTO)
    if name == "speech" and any(each.characters is not None for each in lists):
        return Units(characters=len(_text(call, "input") or ""))
    return NO_UNITS


def _images(call: Call) -> int:
    return min(_number(call, "n") or 1, MOST_CHOICES)


def _number(call: Call, name: str) -> int:
    """Return a number in a body or a form, rounded up; 0 if there is none."""
    return at_most(call.body.raw(name) if isinstance(call.body, Fields) else (_text(call, name) or "").encode())


def _text(call: Call, name: str) -> str | None:
    """Return a text field; None if it is missing or of another type, which Azure will refuse."""
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
