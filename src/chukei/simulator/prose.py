"""The texts of the simulated model. The words of the prompt determine the topic; the phrases are chosen at random.

Two prompts have an exact answer for tests: ``repeat: TEXT`` gives TEXT with all its spaces and line ends, and
``write N words`` gives N words. ``topics.toml`` assigns words to topics. The phrases are in ``english.toml`` and
``japanese.toml``.
"""

from __future__ import annotations

import ast
import operator
import random
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from chukei.simulator.calls import Prompt

MOST_WORDS = 20_000
MOST_NUMBERS = 2_000
SUBJECT_CHARACTERS = 60
RESULT_CHARACTERS = 400
LONGEST_SUM = 80  # characters; enough for a sum that somebody types, and no work for the interpreter

# One space after the colon belongs to the request, the rest to the text.
_REPEAT = re.compile(r"\s*(?:repeat|say|echo|繰り返して)\s*[:：] ?(.*)", re.DOTALL | re.IGNORECASE)
_QUOTED = re.compile(
    r"\s*(?:repeat|say|echo)(?: after me)?[:,]?\s+([\"'“「])(.*)[\"'”」][.!]?\s*", re.DOTALL | re.IGNORECASE
)
_JAPANESE = re.compile(r"[\u3040-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_ASKING = re.compile(
    r"(?:please|can you|could you|would you|tell me|explain|describe|write|give|show|make|create|me|about"
    r"|what(?:'s| is| are)|who(?:'s| is| are)"
    r"|(?:(?:a|an|the|some|short|long|\d+) )*(?:story|stories|tale|poem|haiku|list|table|essay|jokes?|code)"
    r"(?: (?:of|about|on|with|in|for))?)\b[\s,:]*",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"(?:how|why|when|where|which|is|are|do|does|did|should|will)\b", re.IGNORECASE)


def is_japanese(text: str) -> bool:
    """Whether a text is Japanese: it contains kana, or consists mostly of Han characters."""
    return bool(_JAPANESE.search(text)) or len(_HAN.findall(text)) * 2 > len(text) > 0


@cache
def _data(*names: str) -> dict[str, Any]:
    folder = Path(__file__).parent
    texts = [tomllib.loads((folder / f"{name}.toml").read_text("utf-8")) for name in names]
    return {name: said for text in texts for name, said in text.items()}


def phrases(*, japanese: bool = False) -> dict[str, Any]:
    """Return the phrases of a language by name. Phrases that Japanese lacks are English."""
    return _data("english", "japanese") if japanese else _data("english")


def _phrases_for(prompt: Prompt) -> dict[str, Any]:
    return phrases(japanese=is_japanese(prompt.text))


@cache
def _topics() -> dict[str, re.Pattern[str]]:
    return {name: re.compile(asked, re.IGNORECASE) for name, asked in _data("topics").items()}


def repeated(text: str) -> str | None:
    """Return the text that the prompt asks to repeat exactly; None if it asks for something else."""
    match = _REPEAT.fullmatch(text)
    if match is not None:
        return match[1]
    match = _QUOTED.fullmatch(text)
    return match[2] if match else None


def wants_plain_text(text: str) -> bool:
    """Whether the answer to a prompt is text even if there are tools."""
    return repeated(text) is not None or _topics()["greetings"].search(text) is not None


def answer(prompt: Prompt, rng: random.Random) -> str:
    """Answer a prompt with text."""
    said = _phrases_for(prompt)
    if prompt.tool_results:
        results = "; ".join(f"`{result.strip()[:RESULT_CHARACTERS]}`" for result in prompt.tool_results)
        return str(rng.choice(said["tool_answers"])).replace("{results}", results)
    exact = repeated(prompt.text)
    if exact is not None:
        return exact
    for topic, asked in _topics().items():
        if match := asked.search(prompt.text):
            method = _METHODS.get(topic)
            words = method(prompt, rng, match) if method else _saying(prompt, rng, topic)
            if words is not None:
                return words
    if not prompt.text.strip():
        return str(said["nothing"])
    bodies = rng.sample(said["bodies"], 2)
    opening: str = rng.choice(said["openings"])
    paragraphs = (opening + said["sentence_joint"] + bodies[0], bodies[1], rng.choice(said["closings"]))
    return "\n\n".join(_fill(paragraph, prompt) for paragraph in paragraphs)


def subject_of(text: str) -> str:
    """Return the subject of a prompt: the prompt without its words of asking."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if is_japanese(line):
        line = re.split(r"について|とは|って何|を教え|を説明|の(?=物語|話|表|一覧|コード|俳句)", line)[0]
    else:
        while match := _ASKING.match(line):
            line = line[match.end() :]
        if _QUESTION.match(line):
            return str(phrases()["question"])
    line = line.strip(" ?？!.。、,:;\"'")
    return line if len(line) <= SUBJECT_CHARACTERS else line[: SUBJECT_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"


def _fill(template: str, prompt: Prompt) -> str:
    subject = subject_of(prompt.text) or _phrases_for(prompt)["subject"]
    return template.replace("{subject}", subject).replace("{Subject}", subject[:1].upper() + subject[1:])


def _saying(prompt: Prompt, rng: random.Random, name: str) -> str:
    """Return one of the phrases with this name."""
    said: str | list[str] = _phrases_for(prompt)[name]
    return _fill(said if isinstance(said, str) else rng.choice(said), prompt)


def _greeting(prompt: Prompt, rng: random.Random, _match: re.Match[str]) -> str:
    return _saying(prompt, rng, "greetings" if prompt.turns == 1 else "greetings_again")


def _words(_prompt: Prompt, rng: random.Random, match: re.Match[str]) -> str | None:
    wanted = min(int(match[1] or match[2]), MOST_WORDS)
    paragraphs: list[str] = []
    while wanted > 0:
        sentences: list[str] = []
        for sentence in rng.sample(phrases()["sentences"], 6):
            words = sentence.split()[:wanted]
            if words:
                sentences.append(" ".join(words).rstrip(".,") + ".")
            wanted -= len(words)
        paragraphs.append(" ".join(sentences))
    return "\n\n".join(paragraphs) or None


def _counting(prompt: Prompt, _rng: random.Random, match: re.Match[str]) -> str:
    first, last = int(match[1] or 1), int(match[2] or match[3])
    step = 1 if last >= first else -1
    last = max(min(last, first + MOST_NUMBERS), first - MOST_NUMBERS)
    said = _phrases_for(prompt)
    return str(said["number_joint"].join(map(str, range(first, last + step, step))) + said["number_end"])


def _sum(prompt: Prompt, rng: random.Random, _match: re.Match[str]) -> str | None:
    solved = solve(prompt.text)
    if solved is None:
        return None
    said: str = rng.choice(_phrases_for(prompt)["sums"])
    return said.replace("{sum}", solved[0]).replace("{result}", solved[1])


def _code(prompt: Prompt, rng: random.Random, _match: re.Match[str]) -> str:
    said = _phrases_for(prompt)
    asked = prompt.text.lower()
    names = {name: name for name in said["code"]} | said["languages"]
    language = next((names[name] for name in names if re.search(rf"\b{name}\b", asked, re.ASCII)), "python")
    shown = {"sql": "SQL", "javascript": "JavaScript"}.get(language, language.capitalize())
    opening = rng.choice(said["code_openings"]).replace("{language}", shown)
    return f"{opening}\n\n```{language}\n{said['code'][language]}```\n\n{rng.choice(said['code_closings'])}"


def _table(prompt: Prompt, rng: random.Random, _match: re.Match[str]) -> str:
    said = _phrases_for(prompt)
    head, *rows = (f"| {' | '.join(row)} |" for row in (said["columns"], *said["rows"]))
    return _framed("\n".join((head, "|---|---|---|", *rows)), prompt, rng)


def _list(prompt: Prompt, rng: random.Random, _match: re.Match[str]) -> str:
    said = _phrases_for(prompt)
    wanted = re.search(r"\b(\d{1,2})\b", prompt.text)
    size = int(wanted[1]) if wanted else 5
    points = rng.sample(said["points"], max(min(size, len(said["points"])), 1))
    return _framed("\n".join(f"{at}. {point}{said['point_end']}" for at, point in enumerate(points, 1)), prompt, rng)


def _framed(middle: str, prompt: Prompt, rng: random.Random) -> str:
    """Return the text with a phrase before and after it."""
    return f"{_saying(prompt, rng, 'openings')}\n\n{middle}\n\n{_saying(prompt, rng, 'closings')}"


def _system(prompt: Prompt, _rng: random.Random, _match: re.Match[str]) -> str:
    said: str = phrases()["system_message" if prompt.system else "no_system_message"]
    return said.replace("{system}", prompt.system)


_METHODS: dict[str, Callable[[Prompt, random.Random, re.Match[str]], str | None]] = {
    "words": _words,
    "counting": _counting,
    "system": _system,
    "code": _code,
    "table": _table,
    "list": _list,
    "sums": _sum,
    "greetings": _greeting,
}


# Sums in a sentence: "what is 12 * (3 + 4)?".

_SUM = re.compile(r"[(\d][\d\s().,+\-*/×÷\u2212]*[+\-*/×÷\u2212][\d\s().,+\-*/×÷\u2212]*[)\d]")
_SIGNS = str.maketrans({"×": "*", "÷": "/", "\u2212": "-", ",": ""})
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def solve(text: str) -> tuple[str, str] | None:
    """Return the first sum in a text and its result; None if there is none, or it cannot be computed."""
    match = _SUM.search(text[:2000])
    if match is None or len(match[0]) > LONGEST_SUM:
        return None
    written = " ".join(match[0].split())
    if re.fullmatch(r"\d{1,4}([-/]\d{1,2}){2}|\d+(-\d+)+", written):
        return None  # a date, a range or a telephone number
    try:
        result = _value(ast.parse(written.translate(_SIGNS), mode="eval").body)
    except ZeroDivisionError:
        return written, "undefined"
    except (SyntaxError, ValueError, OverflowError, RecursionError):
        return None
    return written, _shown(result)


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATIONS:
            return _OPERATIONS[type(sign)](_value(left), _value(right))
        case _:
            raise ValueError(ast.dump(node))


def _shown(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.10g}"
