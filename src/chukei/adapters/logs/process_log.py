"""The log of this process: where its lines go, in which form, and what else becomes a line of it."""

import logging
import sys
import threading
from types import TracebackType

from chukei.adapters.logs.formats import JsonFormatter, TextFormatter, is_text, printable, wants_colour
from chukei.adapters.logs.levels import LEVELS
from chukei.adapters.logs.line_limit import LineLimit
from chukei.adapters.logs.line_writer import LineWriter
from chukei.adapters.logs.requests import logger as requests
from chukei.config import LogSettings

announcer = logging.getLogger("chukei.start")


def start_log(log: LogSettings) -> None:
    """Write everything that this process prints to standard error as lines of the log."""
    apply_log(log)
    _log_crashes()


def apply_log(log: LogSettings) -> None:
    """Apply settings to the log of this process, when it starts and whenever they change while it runs."""
    configure_logging(log, terminal=is_terminal())


def configure_logging(log: LogSettings, *, terminal: bool) -> None:
    """Send the process's lines to standard error. ``terminal`` says that people read them there."""
    root = logging.getLogger()
    handler = next((each for each in root.handlers if isinstance(each, LineWriter)), None)
    if handler is None:
        handler = LineWriter()
        handler.addFilter(LineLimit(apart=requests.name))
    as_text = is_text(log.format, terminal=terminal)
    handler.setFormatter(TextFormatter(colour=wants_colour(terminal=terminal)) if as_text else JsonFormatter())
    root.handlers[:] = [handler]
    logging.raiseExceptions = False  # do not print errors of logging itself
    LEVELS.configure(log.level, log.levels)


def _log_crashes() -> None:
    """Log warnings and uncaught errors, which would be printed otherwise."""
    logging.captureWarnings(True)
    crashes = logging.getLogger("chukei.crash")

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        crashes.critical("the process ends by an error", exc_info=(kind, error, trace))

    def thread_crashed(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            crashes.error("a thread ends by an error", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            what = args.err_msg or "an error could not be raised"
            crashes.error("%s", what, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook, threading.excepthook, sys.unraisablehook = crashed, thread_crashed, unraisable


def say(log: LogSettings, level: int, text: str, **fields: object) -> None:
    """Tell the operator something about the start: in plain words where the log is for people, else as a line of it."""
    if is_text(log.format, terminal=is_terminal()):
        word = f"{logging.getLevelName(level).lower()}: " if logging.INFO < level < logging.CRITICAL else ""
        shown = "\n".join(map(printable, text.split("\n")))
        sys.stderr.write(f"chukei: {word}{shown}\n")
        sys.stderr.flush()
    else:
        announcer.log(level, "%s", text, extra={"fields": fields})


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def write_through() -> None:
    """Write the collected log lines, and every later line immediately: the event loop is about to end."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineWriter):
            handler.write_through()
