"""What a request may take, before anyone has counted, so that quotas can be reserved; and what it cost. Pure.

A prompt's tokens are its body's bytes times a ratio that begins at a quarter and follows what Azure counts for the
model: code, Japanese and images differ by more than a factor of two, but a model's users are much alike day by day.
"""

import re
from typing import TypeGuard

from chukei.call import Call
from chukei.capabilities import ANY_OUTPUT_LIMIT, OUTPUT_LIMITS
from chukei.fields import Fields
from chukei.limits import Amounts, Prices
from chukei.model import Model
from chukei.usage import BYTES_PER_TOKEN, Usage

USUAL_OUTPUT = 500
"""Tokens that an answer may have when nothing sets a limit."""

MOST_TOKENS = 10_000_000
"""No model takes or gives more; what claims to is counted as this."""

LEARNING = 0.05
"""Weight of one request in a model's ratio: about twenty of them turn it."""

SMALLEST_LEARNT = 400
"""Bytes below which a body says little, being mostly JSON around the prompt."""


_NEVER_REASONS = re.compile(r"gpt-[34]")  # gpt-35-turbo, gpt-4o, gpt-4.1
_ASKS_TO_REASON = frozenset({"reasoning_effort", "reasoning"})
_SAYS_HOW_MUCH = ANY_OUTPUT_LIMIT | {"n", "best_of"}


class Estimator:
    """Estimates by model, and learns from what was counted."""

    def __init__(self) -> None:
        self._ratios: dict[str, float] = {}
        self._reasons: dict[str, bool] = {}  # whether a model was seen to reason

    def prompt(self, call: Call, model: Model) -> int:
        """Return the tokens that the prompt may have."""
        ratio = self._ratios.get(model.name, 1 / BYTES_PER_TOKEN)
        return min(int(call.size * ratio) + 1, MOST_TOKENS)

    def amounts(self, call: Call, model: Model) -> Amounts:
        """Return what a request may use at most, as far as can be told: its prompt and all the output it may have."""
        given, made = self.prompt(call, model), output_of(call, model)
        cost = None if model.prices is None else cost_of(Usage(input=given, output=made), model.prices)
        return Amounts(given + made, cost or 0)

    def may_reason(self, call: Call, model: Model, served: str | None) -> bool:
        """Whether an answer may hold reasoning that its client does not see; ``served`` is what Azure calls its model.

        It may not where that is of a family that never does, or where the model has been counted and never did.
        """
        if not call.operation.generates:
            return False
        if isinstance(call.body, Fields) and call.body.has_any(_ASKS_TO_REASON):
            return True
        return self._reasons.get(model.name, served is None or _NEVER_REASONS.match(served) is None)

    def learn(self, call: Call, model: Model, usage: Usage) -> None:
        """Take note of what was counted for a request. Only what the configuration names is learnt of, not what
        clients make up."""
        if usage.estimated:
            return
        if call.operation.generates and usage.output and (model.name in self._reasons or len(self._reasons) < 1000):
            self._reasons[model.name] = usage.reasoning > 0 or self._reasons.get(model.name, False)
        if not usage.input or call.size < SMALLEST_LEARNT:
            return
        if model.name not in self._ratios and len(self._ratios) >= 1000:
            return
        before = self._ratios.get(model.name, 1 / BYTES_PER_TOKEN)
        seen = min(usage.input / call.size, 2.0)
        self._ratios[model.name] = before + LEARNING * (seen - before)


def output_of(call: Call, model: Model) -> int:
    """Return how many tokens the answer may have: the client's limit or the model's, under its cap, for each choice."""
    body = call.body
    if not call.operation.generates or not isinstance(body, Fields):
        return 0
    if not (model.parameters or model.caps or body.has_any(_SAYS_HOW_MUCH)):
        return USUAL_OUTPUT
    names = OUTPUT_LIMITS.get(call.operation.name, ())
    limits = [whole for name in names if (whole := _whole(body.raw(name))) is not None]
    if not limits and model.parameters:
        limits = [
            int(value) for name, value in model.parameters.items() if name in ANY_OUTPUT_LIMIT and _is_whole(value)
        ]
    caps = [int(cap) for name, cap in model.caps.items() if name in ANY_OUTPUT_LIMIT] if model.caps else []
    each = min([*(limits or caps or [USUAL_OUTPUT]), *caps])
    choices = max(_whole(body.raw("n")) or 1, _whole(body.raw("best_of")) or 1)
    return min(each * choices, MOST_TOKENS)


def _whole(raw: bytes | None) -> int | None:
    """Return a whole number that is not negative; anything else is Azure's to refuse."""
    return int(raw) if raw is not None and raw.isdigit() and len(raw) < 10 else None


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def cost_of(usage: Usage, prices: Prices | None) -> int | None:
    """Return what tokens cost in micro-units, rounded up; None for a model without prices."""
    if prices is None:
        return None
    cached = min(usage.cached, usage.input)
    fresh = (usage.input - cached) * prices.input
    kept = cached * (prices.input if prices.cached is None else prices.cached)
    return -int(-(fresh + kept + usage.output * prices.output) // 1)
