"""The texts of the simulated model. The words of the prompt determine the topic; its phrases take turns.

Two prompts have an exact answer for tests: ``repeat: TEXT`` gives TEXT with all its spaces and line ends, and
``write N words`` gives N words. ``topics.toml`` assigns words to topics. The phrases are in ``english.toml`` and
``japanese.toml``, long answers in ``suggested_english.toml`` and ``suggested_japanese.toml``.
"""

from __future__ import annotations

import ast
import operator
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from chukei.simulator.attachments import Attachment
from chukei.simulator.prompts import Prompt
from chukei.simulator.voice import Voice

MOST_WORDS = 20_000
MOST_NUMBERS = 2_000
SUBJECT_CHARACTERS = 60
QUOTED_CHARACTERS = 120
LOOKED_AT = 10_000  # characters of a prompt in which its first line is looked for
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
    english = ("english", "suggested_english")
    return _data(*english, "japanese", "suggested_japanese") if japanese else _data(*english)


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


def answer(prompt: Prompt, voice: Voice) -> str:
    """Answer a prompt with text."""
    said = _phrases_for(prompt)
    if prompt.tool_results:
        results = "; ".join(f"`{result.strip()[:RESULT_CHARACTERS]}`" for result in prompt.tool_results)
        return str(voice.next_of(said["tool_answers"])).replace("{results}", results)
    exact = repeated(prompt.text)
    if exact is not None:
        return exact
    if prompt.attachments:
        return _acknowledged(prompt, voice)
    for topic, asked in _topics().items():
        if match := asked.search(prompt.text):
            method = _METHODS.get(topic)
            words = method(prompt, voice, match) if method else _saying(prompt, voice, topic)
            if words is not None:
                return words
    return _saying(prompt, voice, "answers") if prompt.text.strip() else str(said["nothing"])


def thoughts(prompt: Prompt, voice: Voice) -> str:
    """Return the summary of what a reasoning model thinks about a prompt."""
    return _saying(prompt, voice, "thoughts")


def _acknowledged(prompt: Prompt, voice: Voice) -> str:
    """Say what came with the prompt, as far as it can be told without a model."""
    said = _phrases_for(prompt)
    lines = "\n".join(f"- {_described(each, said)}" for each in prompt.attachments)
    asked = [_saying(prompt, voice, "attached_questions")] if prompt.text.strip() else []
    return "\n\n".join([voice.next_of(said["attached"]), lines, *asked])


def _described(attachment: Attachment, said: dict[str, Any]) -> str:
    """Return a line such as: a picture, image/png, 640 × 480 pixels, 12.3 KB."""
    name = " ".join(attachment.name.replace("`", "'").split())
    facts = [f"{said[attachment.kind]} `{name}`" if name else said[attachment.kind], attachment.type]
    if attachment.pixels is not None:
        facts.append(said["pixels"].format(*attachment.pixels))
    if attachment.size is not None:
        facts.append(_size(attachment.size))
    return str(said["number_joint"].join(fact for fact in facts if fact))


def _size(size: int) -> str:
    return f"{size} B" if size < 1000 else f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


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


def _quoted(text: str) -> str:
    """Return the first line of a prompt, cut if it is long."""
    line = next((" ".join(line.split()) for line in text[:LOOKED_AT].splitlines() if line.strip()), "")
    return line if len(line) <= QUOTED_CHARACTERS else line[: QUOTED_CHARACTERS - 1] + "…"


def _fill(template: str, prompt: Prompt) -> str:
    subject = subject_of(prompt.text) or _phrases_for(prompt)["subject"]
    return template.replace("{subject}", subject).replace("{question}", _quoted(prompt.text))


def _saying(prompt: Prompt, voice: Voice, name: str) -> str:
    """Return one of the phrases with this name."""
    said: str | list[str] = _phrases_for(prompt)[name]
    return _fill(said if isinstance(said, str) else voice.next_of(said), prompt)


def _greeting(prompt: Prompt, voice: Voice, _match: re.Match[str]) -> str:
    return _saying(prompt, voice, "greetings" if prompt.turns == 1 else "greetings_again")


def _words(_prompt: Prompt, voice: Voice, match: re.Match[str]) -> str | None:
    wanted = min(int(match[1] or match[2]), MOST_WORDS)
    paragraphs: list[str] = []
    while wanted > 0:
        sentences: list[str] = []
        for sentence in voice.sample(phrases()["sentences"], 6):
            words = sentence.split()[:wanted]
            if words:
                sentences.append(" ".join(words).rstrip(".,") + ".")
            wanted -= len(words)
        paragraphs.append(" ".join(sentences))
    return "\n\n".join(paragraphs) or None


def _counting(prompt: Prompt, _voice: Voice, match: re.Match[str]) -> str:
    first, last = int(match[1] or 1), int(match[2] or match[3])
    step = 1 if last >= first else -1
    last = max(min(last, first + MOST_NUMBERS), first - MOST_NUMBERS)
    said = _phrases_for(prompt)
    return str(said["number_joint"].join(map(str, range(first, last + step, step))) + said["number_end"])


def _sum(prompt: Prompt, voice: Voice, _match: re.Match[str]) -> str | None:
    solved = solve(prompt.text)
    if solved is None:
        return None
    said: str = voice.next_of(_phrases_for(prompt)["sums"])
    return said.replace("{sum}", solved[0]).replace("{result}", solved[1])


def _code(prompt: Prompt, voice: Voice, _match: re.Match[str]) -> str:
    said = _phrases_for(prompt)
    asked = prompt.text.lower()
    names = {name: name for name in said["code"]} | said["languages"]
    language = next((names[name] for name in names if re.search(rf"\b{name}\b", asked, re.ASCII)), "python")
    shown = {"sql": "SQL", "javascript": "JavaScript"}.get(language, language.capitalize())
    opening = _saying(prompt, voice, "code_openings").replace("{language}", shown)
    return f"{opening}\n\n```{language}\n{said['code'][language]}```\n\n{_saying(prompt, voice, 'code_closings')}"


def _table(prompt: Prompt, voice: Voice, _match: re.Match[str]) -> str:
    said = _phrases_for(prompt)
    head, *rows = (f"| {' | '.join(row)} |" for row in (said["columns"], *said["rows"]))
    return _framed("\n".join((head, "|---|---|---|", *rows)), prompt, voice)


def _list(prompt: Prompt, voice: Voice, _match: re.Match[str]) -> str:
    said = _phrases_for(prompt)
    wanted = re.search(r"\b(\d{1,2})\b", prompt.text)
    size = int(wanted[1]) if wanted else 5
    points = voice.sample(said["points"], max(min(size, len(said["points"])), 1))
    return _framed("\n".join(f"{at}. {point}{said['point_end']}" for at, point in enumerate(points, 1)), prompt, voice)


def _framed(middle: str, prompt: Prompt, voice: Voice) -> str:
    """Return the text with a phrase before and after it."""
    return f"{_saying(prompt, voice, 'sample_openings')}\n\n{middle}\n\n{_saying(prompt, voice, 'sample_closings')}"


def _formula(prompt: Prompt, voice: Voice, _match: re.Match[str]) -> str:
    said = _phrases_for(prompt)
    asked = [each["text"] for each in said["formulas"] if re.search(each["asked"], prompt.text, re.IGNORECASE)]
    if asked:
        return str(voice.next_of(asked))
    return f"{_saying(prompt, voice, 'sample_openings')}\n\n{voice.next_of(said['formulas'])['text']}"


def _system(prompt: Prompt, _voice: Voice, _match: re.Match[str]) -> str:
    said: str = phrases()["system_message" if prompt.system else "no_system_message"]
    return said.replace("{system}", prompt.system)


def _haiku(prompt: Prompt, voice: Voice, _match: re.Match[str]) -> str:
    """Say a haiku in three lines, which Markdown would join without the two spaces."""
    return _saying(prompt, voice, "haiku").replace("\n", "  \n")


_METHODS: dict[str, Callable[[Prompt, Voice, re.Match[str]], str | None]] = {
    "words": _words,
    "counting": _counting,
    "system": _system,
    "code": _code,
    "formula": _formula,
    "table": _table,
    "haiku": _haiku,
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
