"""Firefox and WebKit from the system's packages, as far as tests of the pages need them.

Playwright drives browsers of its own build only, which no package has. Firefox speaks WebDriver BiDi itself; for WebKit
there is WebKitWebDriver, which speaks W3C WebDriver and needs a display. Keys and the pointer are the browser's own
input in both, in the same words.
"""

import asyncio
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.live.plain_http import ask
from tests.live.ports import free_port
from tests.live.processes import running
from websockets.asyncio.client import ClientConnection, connect

SECONDS = 60
"""For a browser to start, or for a page to do what a test waits for; a busy machine may take its time."""

KEYS = {
    "Backspace": "\ue003",
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Shift": "\ue008",
    "Control": "\ue009",
    "Escape": "\ue00c",
    "ArrowUp": "\ue013",
    "ArrowDown": "\ue015",
}
"""Section 17.4.2 of WebDriver, Keyboard Actions."""

FIND = """
  const find = (selector, text) => [...document.querySelectorAll(selector)].find((found) => found.checkVisibility()
    && (!text || [found.textContent.trim(), found.ariaLabel].includes(text)));
"""
"""The first visible element of a selector, which has this text or label if there is one."""

PLACE = (
    FIND
    + """
  const [selector, text] = given;
  const found = find(selector, text);
  if (!found) return null;
  found.scrollIntoView({ block: "nearest" });
  const { x, y, width, height } = found.getBoundingClientRect();
  const middle = [Math.floor(x + width / 2), Math.floor(y + height / 2)];
  const above = document.elementFromPoint(...middle);
  return found.contains(above) || above?.control === found ? middle : null;
"""
)
"""Where to press an element, if nothing is above it."""


WATCH = """
  if (window.errorsSeen === undefined) {
    const note = (...words) => window.errorsSeen.push(words.join(" "));
    window.errorsSeen = [];
    addEventListener("error", ({ message, target }) => note(message ?? `${target.outerHTML} failed`), true);
    addEventListener("unhandledrejection", ({ reason }) => note("not caught:", reason, reason?.stack));
    addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sample }) =>
      note(effectiveDirective, blockedURI, sample));
    for (const level of ["error", "warn"]) console[level] = note;
  }
"""
"""What a page does wrong, where the driver does not tell: WebKit's has no log."""


class Engine(ABC):
    """A browser. What is asked of it concerns the tab that was opened last."""

    downloads: Path
    """Where it puts what is downloaded."""

    @abstractmethod
    async def open(self, url: str) -> None:
        """Load a page and wait for its load event."""

    @abstractmethod
    async def reload(self) -> None:
        """Load the page again."""

    @abstractmethod
    async def back(self) -> None:
        """Go back in the history of the tab."""

    @abstractmethod
    async def run(self, body: str, *given: Any) -> Any:
        """Run the body of an asynchronous function in the page; return its result, which JSON can hold."""

    @abstractmethod
    async def choose(self, selector: str, *files: Path) -> None:
        """Choose files for a field as its dialog would."""

    @abstractmethod
    def tab(self) -> AbstractAsyncContextManager[None]:
        """Open another tab for the length of the block."""

    @abstractmethod
    async def errors(self) -> list[str]:
        """Return what pages have logged as an error or a warning, not caught or tried to show, and forget it."""

    @abstractmethod
    async def _act(self, *sources: dict[str, Any]) -> None:
        """Perform actions as section 17 of WebDriver describes them."""

    async def sees(self, expression: str, wanted: Any = True) -> None:
        """Wait until an expression of the page has this value."""
        last: Any = None

        async def holds() -> bool:
            nonlocal last
            last = await self.run(f"{FIND} return {expression};")
            return bool(last == wanted)

        await until(holds, lambda: f"{expression} is {last!r}, not {wanted!r}")

    async def press(self, *chords: str) -> None:
        """Press keys, such as ``a``, ``Enter`` and ``Control+v``, one after the other."""
        for chord in chords:
            values = [KEYS.get(name, name) for name in (chord.split("+") if len(chord) > 1 else [chord])]
            down = [{"type": "keyDown", "value": value} for value in values]
            up = [{"type": "keyUp", "value": value} for value in reversed(values)]
            await self._act({"type": "key", "id": "keyboard", "actions": [*down, *up]})

    async def write(self, text: str) -> None:
        """Type a text."""
        actions = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        await self._act({"type": "key", "id": "keyboard", "actions": actions})

    async def click(self, selector: str, text: str = "") -> None:
        """Press an element with the mouse, as soon as it can be pressed."""
        place: Any = None

        async def rests() -> bool:
            nonlocal place
            before, place = place, await self.run(PLACE, selector, text)
            return place is not None and before == place

        await until(rests, lambda: f"{selector} {text} cannot be pressed")
        move = {"type": "pointerMove", "x": place[0], "y": place[1]}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
        await self._act(mouse | {"actions": [move, *press]})


class Firefox(Engine):
    """Firefox by WebDriver BiDi."""

    def __init__(self, socket: ClientConnection, downloads: Path) -> None:
        self.downloads = downloads
        self._socket = socket
        self._numbers = count(1)
        self._page = ""
        self._errors: list[str] = []

    async def start(self) -> None:
        """Begin a session with a tab of its own: in the one that is there, the field for addresses has the focus."""
        await self._command("session.new", capabilities={})
        opened = await self._command("browsingContext.create", type="tab")
        self._page = opened["context"]
        await self._command("session.subscribe", events=["log.entryAdded", "browsingContext.userPromptOpened"])

    async def open(self, url: str) -> None:
        await self._command("browsingContext.navigate", context=self._page, url=url, wait="complete")

    async def reload(self) -> None:
        await self._command("browsingContext.reload", context=self._page, wait="complete")

    async def back(self) -> None:
        await self._command("browsingContext.traverseHistory", context=self._page, delta=-1)

    async def run(self, body: str, *given: Any) -> Any:
        function = f"async (text) => {{ const given = JSON.parse(text); const run = async () => {{ {body} }};"
        done = await self._command(
            "script.callFunction",
            functionDeclaration=f"{function} return JSON.stringify((await run()) ?? null); }}",
            arguments=[{"type": "string", "value": json.dumps(given)}],
            target={"context": self._page},
            awaitPromise=True,
            userActivation=False,
        )
        assert done["type"] == "success", done
        return json.loads(done["result"]["value"])

    async def choose(self, selector: str, *files: Path) -> None:
        locator = {"type": "css", "value": selector}
        found = await self._command("browsingContext.locateNodes", context=self._page, locator=locator)
        element = {"sharedId": found["nodes"][0]["sharedId"]}
        await self._command("input.setFiles", context=self._page, element=element, files=[str(file) for file in files])

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[None]:
        before, opened = self._page, await self._command("browsingContext.create", type="tab")
        self._page = opened["context"]
        try:
            yield
        finally:
            await self._command("browsingContext.close", context=self._page)
            self._page = before
            await self._command("browsingContext.activate", context=self._page)

    async def errors(self) -> list[str]:
        await self._command("session.status")
        errors, self._errors = self._errors, []
        return errors

    async def _act(self, *sources: dict[str, Any]) -> None:
        await self._command("input.performActions", context=self._page, actions=list(sources))

    async def _command(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(SECONDS):
            while True:
                message = json.loads(await self._socket.recv())
                if message.get("id") == number:
                    assert message["type"] == "success", message
                    result: dict[str, Any] = message["result"]
                    return result
                self._hear(message)

    def _hear(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})  # an answer that nobody waits for any more has none
        if event.get("method") == "browsingContext.userPromptOpened" or params.get("level") in ("error", "warn"):
            self._errors.append(params.get("text") or str(event))


class WebKit(Engine):
    """WebKit's MiniBrowser by WebDriver."""

    def __init__(self, url: str, downloads: Path) -> None:
        self.downloads = downloads
        self._url = url
        self._errors: list[str] = []

    async def start(self, browser: str, *options: str) -> None:
        """Begin a session."""
        own = {"binary": browser, "args": ["--automation", *options]}
        wanted = {"webkitgtk:browserOptions": own, "pageLoadStrategy": "none"}  # to watch a page before it has loaded
        session = await self._command("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/session/{session['sessionId']}"

    async def open(self, url: str) -> None:
        await self._collect()
        await self._command("/url", {"url": url})
        await self._loaded("location.href === given[0]", url)

    async def reload(self) -> None:
        await self._collect()
        await self.run("window.isLeft = true;")
        await self._command("/refresh", {})
        await self._loaded("!window.isLeft")

    async def back(self) -> None:
        await self._command("/back", {})

    async def run(self, body: str, *given: Any) -> Any:
        script = (
            f"const [text, done] = arguments; const given = JSON.parse(text); const run = async () => {{ {body} }};"
        )
        told = "done([value ?? null])"
        script += f"run().then((value) => {told}, (error) => done([null, `${{error}} ${{error.stack}}`]));"
        value, *failed = await self._command("/execute/async", {"script": script, "args": [json.dumps(given)]})
        assert not failed, failed
        return value

    async def choose(self, selector: str, *files: Path) -> None:
        found = await self._command("/element", {"using": "css selector", "value": selector})
        await self._command(f"/element/{next(iter(found.values()))}/value", {"text": "\n".join(map(str, files))})

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[None]:
        before = await self._command("/window", None, "GET")
        # The pointer and the driver hang where a tab lies over another in the same window.
        opened = await self._command("/window/new", {"type": "window"})
        await self._command("/window", {"handle": opened["handle"]})
        try:
            yield
            await self._collect()
        finally:
            await self._command("/window", None, "DELETE")
            await self._command("/window", {"handle": before})

    async def errors(self) -> list[str]:
        await self._collect()
        errors, self._errors = self._errors, []
        return errors

    async def _loaded(self, condition: str, *given: Any) -> None:
        body = f"{WATCH} return {condition} && document.readyState === 'complete';"

        async def holds() -> bool:
            try:
                return bool(await self.run(body, *given))
            except AssertionError as error:
                if "before the unload event" not in str(error):
                    raise
                return False  # the document before it was asked

        await until(holds, lambda: f"{given} does not load")

    async def _collect(self) -> None:
        self._errors += await self.run("return window.errorsSeen?.splice(0) ?? [];")

    async def end(self) -> None:
        """Close the browser, which does not end with its driver."""
        await self._command("", None, "DELETE")

    async def _act(self, *sources: dict[str, Any]) -> None:
        await self._command("/actions", {"actions": list(sources)})

    async def _command(self, path: str, body: object, method: str = "POST") -> Any:
        base, _, rest = self._url.partition("/session")
        target = (f"/session{rest}" if rest else "") + path
        fields = [("content-type", "application/json")]
        async with asyncio.timeout(SECONDS):
            answer = await ask(base, method, target, fields, b"" if body is None else json.dumps(body).encode())
        assert answer.status == 200, answer.body
        return answer.json()["value"]


async def until(holds: Callable[[], Awaitable[Any]], failure: Callable[[], str]) -> None:
    """Wait until something holds; fail with what is said otherwise."""
    try:
        async with asyncio.timeout(SECONDS):
            while not await holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(failure()) from None


def program(*names: str) -> str:
    """Return the path of a program; skip the test if there is none."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    pytest.skip(f"there is no {' or '.join(names)} on this machine")


@asynccontextmanager
async def firefox(*, storage: bool = True) -> AsyncIterator[Engine]:
    """Start Firefox without a window; without storage, it refuses what pages keep, as its private mode once did."""
    command = program("firefox-esr", "firefox")
    async with _home() as home:
        preferences: dict[str, object] = {
            "browser.download.folderList": 2,  # the folder that follows
            "browser.download.dir": str(home),
        }
        if not storage:
            preferences["network.cookie.cookieBehavior"] = 2
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items())
        (home / "user.js").write_text("".join(lines))
        options = ["--headless", "--no-remote", "--remote-debugging-port=0", "--profile", str(home)]
        with _process(home / "output", command, *options):
            address = await _written(home / "output", "WebDriver BiDi listening on ")
            async with connect(f"{address}/session", max_size=None) as socket:
                engine = Firefox(socket, home)
                await engine.start()
                yield engine


@asynccontextmanager
async def webkit(*, storage: bool = True) -> AsyncIterator[Engine]:
    """Start WebKit on a display of its own; without storage, it has no database."""
    driver, display = program("WebKitWebDriver"), program("Xvfb")
    browsers = sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
    if not browsers:
        pytest.skip("there is no MiniBrowser beside WebKitWebDriver")
    port = free_port()
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(_home())
        screen = ["-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
        stack.enter_context(_process(home / "screen", display, *screen))
        number = await _written(home / "screen", "")
        environment = os.environ | {
            "DISPLAY": f":{number}",
            "HOME": str(home),
            "LANG": "en_GB.UTF-8",
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",  # it needs namespaces that containers do not give
        }
        stack.enter_context(_process(home / "driver", driver, f"--port={port}", environment=environment))
        await _listening(port)
        engine = WebKit(f"http://127.0.0.1:{port}", home)
        await engine.start(str(browsers[-1]), *([] if storage else ["--features=-IndexedDBAPI,-LocalStorage"]))
        yield engine
        await engine.end()


@asynccontextmanager
async def _home() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _process(output: Path, *command: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    with output.open("wb") as file, running(command, stdout=file, stderr=file, env=environment):
        yield


async def _written(output: Path, beginning: str) -> str:
    """Wait for a whole line that begins so, and return its rest."""
    async with asyncio.timeout(SECONDS):
        while True:
            for line in output.read_text(errors="replace").splitlines(keepends=True):
                if line.startswith(beginning) and line.endswith("\n") and line.strip():
                    return line.removeprefix(beginning).strip()
            await asyncio.sleep(0.05)


async def _listening(port: int) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return
