"""The terminal: styles, colours, and a screen that is always restored."""

import io
from collections.abc import Iterator

import pytest
from tests.rows import rows

from chukei.top.screen import Line
from chukei.top.terminal import STYLES, Terminal, ansi, plain, wants_colour

LINE: Line = [("bold", "chukei"), ("", " "), ("bad reverse", "ALARM"), ("", " ")]


def test_a_line_has_its_styles_and_ends_them() -> None:
    assert ansi(LINE, colour=True) == "\x1b[1mchukei\x1b[0m \x1b[31;7mALARM\x1b[0m "
    assert plain(LINE) == "chukei ALARM"


def test_without_colours_weight_and_reverse_stay() -> None:
    assert ansi(LINE, colour=False) == "\x1b[1mchukei\x1b[0m \x1b[7mALARM\x1b[0m "
    colours = {code for name, code in STYLES.items() if name not in ("bold", "dim", "reverse")}
    assert not [code for code in colours if f"[{code}" in ansi([(name, "x") for name in STYLES], colour=False)]


@rows(
    ("environment", "wanted"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_no_color_is_heeded(environment: dict[str, str], wanted: bool) -> None:
    assert wants_colour(environment) is wanted


def lines_until(error: BaseException) -> Iterator[Line]:
    yield LINE
    raise error


def test_the_screen_is_restored_whatever_happens() -> None:
    out = io.StringIO()
    interrupted = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), Terminal(out, colour=True) as terminal:
        terminal.draw(lines_until(interrupted))
    assert "chukei" not in out.getvalue(), "a screen is drawn as a whole"
    with Terminal(out, colour=True) as terminal:
        terminal.draw([LINE, LINE])
    written = out.getvalue()
    assert written.startswith("\x1b[?1049h")
    assert written.endswith("\x1b[?1049l")
    assert (written.count("\x1b[?1049h"), written.count("\x1b[?1049l"), written.count("\r\n")) == (2, 2, 1)
