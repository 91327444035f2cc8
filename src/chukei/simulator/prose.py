"""What the simulated model says: the topic is found by the words of the prompt, the wording is drawn by dice.

Two prompts are answered exactly, so that tests can rely on them: ``repeat: TEXT`` gives TEXT, to the last space and
line end, and ``write N words`` gives N words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from types import ModuleType

from chukei.simulator import phrases, phrases_ja
from chukei.simulator.arithmetic import solve
from chukei.simulator.prompts import Prompt

MOST_WORDS = 20_000
MOST_NUMBERS = 2_000
SUBJECT_CHARACTERS = 60
RESULT_CHARACTERS = 400

# One space after the colon belongs to the request, the rest to the text.
_REPEAT = re.compile(r"\s*(?:repeat|say|echo|繰り返して)\s*[:：] ?(.*)", re.DOTALL | re.IGNORECASE)
_QUOTED = re.compile(
    r"\s*(?:repeat|say|echo)(?: after me)?[:,]?\s+([\"'“「])(.*)[\"'”」][.!]?\s*", re.DOTALL | re.IGNORECASE
)
_WORDS = re.compile(r"(?:\b(\d{1,6})[ -]words?\b|\blorem\s+(\d{1,6})\b)", re.IGNORECASE)
_COUNT = re.compile(r"\bcount\b(?:.*?\bfrom\s+(\d{1,6}))?.*?\bto\s+(\d{1,6})|(\d{1,6})\s*まで数え", re.IGNORECASE)
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

_GREETING = re.compile(
    r"\W*(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening)|greetings"
    r"|こんにちは|こんばんは|おはよう(?:ございます)?|やあ|もしもし|はじめまして)\b[^?？]{0,12}\W*",
    re.IGNORECASE,
)


def is_japanese(text: str) -> bool:
    """Say whether a text is Japanese: it has kana, or is mostly made of Han characters."""
    return bool(_JAPANESE.search(text)) or len(_HAN.findall(text)) * 2 > len(text) > 0


def repeated(text: str) -> str | None:
    """Return the text that is to be repeated exactly, if that is what is asked."""
    match = _REPEAT.fullmatch(text)
    if match is not None:
        return match[1]
    match = _QUOTED.fullmatch(text)
    return match[2] if match else None


def wants_plain_text(text: str) -> bool:
    """Say whether a prompt is answered in words even when tools are at hand."""
    return repeated(text) is not None or _GREETING.fullmatch(text) is not None


def answer(prompt: Prompt, rng: random.Random) -> str:
    """Answer a prompt in words."""
    if prompt.tool_results:
        return _tools(prompt, rng)
    exact = repeated(prompt.text)
    if exact is not None:
        return exact
    for asked, topic in _TOPICS:
        if asked.search(prompt.text):
            said = topic(prompt, rng)
            if said is not None:
                return said
    return _musing(prompt, rng)


def _tongue(prompt: Prompt) -> ModuleType:
    return phrases_ja if is_japanese(prompt.text) else phrases


def subject_of(text: str) -> str:
    """Return what a prompt is about: what is left of it without the asking."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if is_japanese(line):
        line = re.split(r"について|とは|って何|を教え|を説明|の(?=物語|話|表|一覧|コード|俳句)", line)[0]
    else:
        while match := _ASKING.match(line):
            line = line[match.end() :]
        if _QUESTION.match(line):
            return "that question"
    line = line.strip(" ?？!.。、,:;\"'")
    return line if len(line) <= SUBJECT_CHARACTERS else line[: SUBJECT_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"


def _fill(template: str, prompt: Prompt) -> str:
    subject = subject_of(prompt.text) or ("それ" if is_japanese(prompt.text) else "it")
    return template.replace("{subject}", subject).replace("{Subject}", subject[:1].upper() + subject[1:])


def _pick(name: str) -> Callable[[Prompt, random.Random], str]:
    """Make a topic that says one of the phrases of that name."""

    def topic(prompt: Prompt, rng: random.Random) -> str:
        said: str | tuple[str, ...] = getattr(_tongue(prompt), name, None) or getattr(phrases, name)
        return _fill(said if isinstance(said, str) else rng.choice(said), prompt)

    return topic


def _greeting(prompt: Prompt, rng: random.Random) -> str | None:
    if not _GREETING.fullmatch(prompt.text):
        return None
    return _pick("GREETINGS" if prompt.turns == 1 else "GREETINGS_AGAIN")(prompt, rng)


def _tools(prompt: Prompt, rng: random.Random) -> str:
    results = "; ".join(f"`{result.strip()[:RESULT_CHARACTERS]}`" for result in prompt.tool_results)
    said: str = rng.choice(_tongue(prompt).TOOL_ANSWERS)
    return said.replace("{results}", results)


def _words(prompt: Prompt, rng: random.Random) -> str | None:
    match = _WORDS.search(prompt.text)
    assert match is not None
    wanted = min(int(match[1] or match[2]), MOST_WORDS)
    if not wanted:
        return None
    paragraphs: list[str] = []
    while wanted > 0:
        sentences: list[str] = []
        for sentence in rng.sample(phrases.SENTENCES, 6):
            words = sentence.split()[:wanted]
            if words:
                sentences.append(" ".join(words).rstrip(".,") + ".")
            wanted -= len(words)
        paragraphs.append(" ".join(sentences))
    return "\n\n".join(paragraphs)


def _counting(prompt: Prompt, _rng: random.Random) -> str | None:
    match = _COUNT.search(prompt.text)
    assert match is not None
    first, last = int(match[1] or 1), int(match[2] or match[3])
    step = 1 if last >= first else -1
    last = max(min(last, first + MOST_NUMBERS), first - MOST_NUMBERS)
    joint = "、" if is_japanese(prompt.text) else ", "
    return joint.join(map(str, range(first, last + step, step))) + ("。" if joint == "、" else ".")


def _sum(prompt: Prompt, rng: random.Random) -> str | None:
    solved = solve(prompt.text)
    if solved is None:
        return None
    said: str = rng.choice(_tongue(prompt).SUMS)
    return said.replace("{sum}", solved[0]).replace("{result}", solved[1])


def _code(prompt: Prompt, rng: random.Random) -> str:
    asked = prompt.text.lower()
    names = {"typescript": "javascript", "js": "javascript", "shell": "bash", "curl": "bash"}
    named = [name for name in (*phrases.CODE, *names) if re.search(rf"\b{name}\b", asked, re.ASCII)]
    language = names.get(named[0], named[0]) if named else "python"
    tongue = _tongue(prompt)
    opening: str = rng.choice(tongue.CODE_OPENINGS)
    shown = {"sql": "SQL", "javascript": "JavaScript"}.get(language, language.capitalize())
    closing: str = rng.choice(tongue.CODE_CLOSINGS)
    return f"{opening.replace('{language}', shown)}\n\n```{language}\n{phrases.CODE[language]}```\n\n{closing}"


def _table(prompt: Prompt, rng: random.Random) -> str:
    tongue = _tongue(prompt)
    rows = "\n".join(f"| {' | '.join(row)} |" for row in tongue.ROWS)
    head = f"| {' | '.join(tongue.COLUMNS)} |\n|---|---|---|\n"
    return (
        f"{_fill(rng.choice(tongue.OPENINGS), prompt)}\n\n{head}{rows}\n\n{_fill(rng.choice(tongue.CLOSINGS), prompt)}"
    )


def _list(prompt: Prompt, rng: random.Random) -> str:
    tongue = _tongue(prompt)
    wanted = re.search(r"\b(\d{1,2})\b", prompt.text)
    size = min(int(wanted[1]), len(tongue.POINTS)) if wanted else 5
    points = rng.sample(tongue.POINTS, max(min(size, len(tongue.POINTS)), 1))
    end = "。" if tongue is phrases_ja else "."
    lines = "\n".join(f"{at}. {point}{end}" for at, point in enumerate(points, 1))
    return f"{_fill(rng.choice(tongue.OPENINGS), prompt)}\n\n{lines}\n\n{_fill(rng.choice(tongue.CLOSINGS), prompt)}"


def _system(prompt: Prompt, _rng: random.Random) -> str:
    if not prompt.system:
        return "I was given no system message."
    return f"My system message is: {prompt.system}"


def _musing(prompt: Prompt, rng: random.Random) -> str:
    """Say something agreeable about whatever it is."""
    if not prompt.text.strip():
        return "You sent me nothing at all, which is restful. Ask me something, or type `help`."
    tongue = _tongue(prompt)
    joint = "" if tongue is phrases_ja else " "
    bodies = rng.sample(tongue.BODIES, 2)
    paragraphs = (rng.choice(tongue.OPENINGS) + joint + bodies[0], bodies[1], rng.choice(tongue.CLOSINGS))
    return "\n\n".join(_fill(paragraph, prompt) for paragraph in paragraphs)


def _asked(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_WHO = (
    r"\bwho are you\b|\bwhat are you\b|\bwhat can (?:you|i) do\b|\bwhat can i (?:try|ask)\b|^\W*help\W*$"
    r"|ヘルプ|あなたは(?:誰|だれ|何)|何ができ"
)
_PROGRAMMING = (
    r"\b(?:code|python|javascript|typescript|rust|sql|bash|shell|curl|function|script|program)\b"
    r"|コード|プログラム|関数"
)

# The first that fits, and has something to say, answers.
_TOPICS: tuple[tuple[re.Pattern[str], Callable[[Prompt, random.Random], str | None]], ...] = (
    (_WORDS, _words),
    (_COUNT, _counting),
    (_asked(r"\bsystem (?:message|prompt)\b|システムメッセージ"), _system),
    (_asked(_WHO), _pick("HELP")),
    (_asked(r"\bhow are you\b"), _pick("FEELINGS")),
    (_asked(r"\bthank(?:s| you)\b|ありがとう"), _pick("THANKS")),
    (_asked(r"^\W*(?:bye|goodbye|see you)\b"), _pick("FAREWELLS")),
    (_asked(r"\bmarkdown\b|マークダウン"), _pick("MARKDOWN")),
    (_asked(_PROGRAMMING), _code),
    (_asked(r"\btable\b|一覧表|表を|表で|の表"), _table),
    (_asked(r"\bjoke\b|\bfunny\b|冗談|ジョーク"), _pick("JOKES")),
    (_asked(r"\bhaiku\b|\bpoem\b|\bverse\b|俳句|詩"), _pick("HAIKU")),
    (_asked(r"\bstory\b|\btale\b|物語|お話|昔話"), _pick("STORIES")),
    (_asked(r"\blist\b|\bsteps\b|\btips\b|\bideas\b|\bbullet|一覧|箇条書き|リスト|手順"), _list),
    (_asked(r"\d"), _sum),
    (_GREETING, _greeting),
)
