"""A headless Chromium, driven through its DevTools protocol: just what the tests of the page need."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE = 30.0  # seconds until what is waited for has failed, on a busy machine too
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--lang=en-US",
    "--hide-scrollbars",
)
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}


def find_chromium() -> str | None:
    """$CHROMIUM, or what is installed under a usual name."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


class Browser:
    """One process and the connection to it; `page` opens a tab in a profile of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        command = [program, *OPTIONS, *FAKE_CAMERA, "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = folder / "DevToolsActivePort"
        until(lambda: port_file.is_file() and port_file.read_text().count("\n") > 0, "Chromium did not start")
        port, path = port_file.read_text().split("\n")[:2]
        self._waiting: dict[int, asyncio.Future] = {}
        self.pages: dict[str, Page] = {}
        self._count = 0
        self._run(self._connect(f"ws://127.0.0.1:{port}{path}"))

    def close(self) -> None:
        self._run(self._session.close())
        self._process.kill()
        self._process.wait()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command, and its result.

        Raises:
            RuntimeError: the browser refuses it.
        """
        return self._run(self._send(method, session, parameters))

    def _run(self, coroutine: Any) -> Any:
        waited: Future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return waited.result(PATIENCE)

    async def _connect(self, address: str) -> None:
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(address, max_msg_size=0)
        self._listening = asyncio.create_task(self._listen())

    async def _send(self, method: str, session: str | None, parameters: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        number = self._count
        waited = self._waiting[number] = self._loop.create_future()
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        await self._socket.send_json(message)
        answer = await waited
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def _listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if told.get("id") in self._waiting:
                self._waiting.pop(told["id"]).set_result(told)
            elif told.get("sessionId") in self.pages:
                self.pages[told["sessionId"]].events.append((told["method"], told["params"]))

    @contextmanager
    def page(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Page]:
        """A tab that shows an address, with nothing kept from before."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, context)
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            page.send(f"{domain}.enable")
        page.look(width, height, dark)
        page.send("Page.navigate", url=address)
        page.wait("document.readyState === 'complete' && document.querySelector('h1') !== null")
        try:
            yield page
        finally:
            self.send("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """A tab. events: what the browser told about it, as (method, parameters)."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self.browser, self.session = browser, session
        self.context = {"browserContextId": context}  # of commands about its profile
        self.events: list[tuple[str, dict[str, Any]]] = []

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.send(method, self.session, **parameters)

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        told = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script: str) -> None:
        """Until an expression is true."""
        until(lambda: self.run(f"Boolean({script})"), f"never true: {script}")

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def choose(self, selector: str, *files: Path) -> None:
        """Give files to an input, as the dialog for choosing them does."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def press(self, key: str) -> None:
        text = {"Enter": "\r", " ": " "}.get(key, "")
        named = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **named)
        self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """A size in CSS pixels, and the colours the user prefers."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="", features=[scheme])

    def screenshot(self, file: Path, quality: int = 80) -> None:
        """The whole page as JPEG or PNG, by the file's ending."""
        kind = {"format": "png"} if file.suffix == ".png" else {"format": "jpeg", "quality": quality}
        told = self.send("Page.captureScreenshot", captureBeyondViewport=True, **kind)
        file.write_bytes(base64.b64decode(told["data"]))

    def requests(self) -> list[str]:
        """Addresses of everything asked for over the network so far."""
        urls = [told["request"]["url"] for method, told in self.events if method == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("blob:", "data:"))]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions nobody caught, and what the policy forbade."""
        found = []
        for method, told in list(self.events):
            if method == "Runtime.exceptionThrown":
                found.append(json.dumps(told["exceptionDetails"])[:500])
            elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                found.append(json.dumps(told["args"])[:500])
        return found


def until(met: Any, otherwise: str) -> Any:
    """What a condition gives once it gives something.

    Raises:
        AssertionError: it never did.
    """
    end = time.monotonic() + PATIENCE
    while not (given := met()):
        assert time.monotonic() < end, otherwise
        time.sleep(0.03)
    return given
