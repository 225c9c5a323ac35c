"""A live page in a headless Chromium, driven over its DevTools protocol: what it drew, asked for and complained of.

A page that is fed over a web socket needs real seconds: ``--virtual-time-budget`` ends before the first answer.
``python -m tests.monitoring.shot URL FILE.png [URL FILE.png ...]`` takes screenshots.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tornado.websocket import WebSocketClientConnection, websocket_connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-address=127.0.0.1",
    "--remote-debugging-port=0",
]
SIZE = (1366, 768)
TEXT = """(() => { const found = []; const walk = (node) => { if (node.shadowRoot) walk(node.shadowRoot);
for (const one of node.childNodes) { if (one.nodeType === 3) found.push(one.textContent); else if
(!["STYLE", "SCRIPT"].includes(one.nodeName)) walk(one); } }; walk(document.body); return found.join(" ") })()"""


@dataclass(slots=True, kw_only=True)
class Seen:
    """A page as the browser has it: its text, what it fetched, its console's complaints, a picture."""

    text: str = ""
    fetched: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    png: bytes = b""


async def look(url: str, *, until: str = "", seconds: float = 30.0, settle: float = 1.0, full: bool = False) -> Seen:
    """The page at `url` once `until` is in its text, and `settle` seconds after.

    Parameters
    ----------
    seconds : how long to wait for `until`.
    full : a picture of all of the page, not of what a screen shows.
    """
    with _chromium() as address:
        browser = await _Browser.of(address)
        return await browser.look(url, until=until, seconds=seconds, settle=settle, full=full)


@contextmanager
def _chromium() -> Iterator[str]:
    """The address of a browser's tab, while it runs."""
    folder = Path(tempfile.mkdtemp())
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", f"--window-size={SIZE[0]},{SIZE[1]}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "DevTools listening on" in line)
        host = said.split("ws://")[1].split("/")[0]
        with urlopen(f"http://{host}/json", timeout=10) as answer:
            yield next(one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page")
    finally:
        process.terminate()
        process.communicate(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


class _Browser:
    """One tab."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket, self._calls = socket, 0
        self.seen = Seen()

    @classmethod
    async def of(cls, address: str) -> _Browser:
        return cls(await websocket_connect(address, max_message_size=2**28))

    async def look(self, url: str, *, until: str, seconds: float, settle: float, full: bool) -> Seen:
        for domain in ("Page", "Log", "Runtime", "Network"):
            await self._call(f"{domain}.enable")
        await self._resize(SIZE[1])
        await self._call("Page.navigate", url=url)
        async with asyncio.timeout(seconds):
            while not self.seen.text or until not in self.seen.text:
                await asyncio.sleep(0.2)
                answer = await self._call("Runtime.evaluate", expression=TEXT)
                self.seen.text = answer["result"].get("value", "")
        await asyncio.sleep(settle)
        if full:
            metrics = await self._call("Page.getLayoutMetrics")
            await self._resize(max(SIZE[1], int(metrics["cssContentSize"]["height"])))
            await asyncio.sleep(settle)
        self.seen.text = (await self._call("Runtime.evaluate", expression=TEXT))["result"].get("value", "")
        shot = await self._call("Page.captureScreenshot", format="png")
        self.seen.png = base64.b64decode(shot["data"])
        return self.seen

    async def _resize(self, height: int) -> None:
        size = {"width": SIZE[0], "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._call("Emulation.setDeviceMetricsOverride", **size)

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        number = self._calls
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = await self._socket.read_message()
            assert message is not None
            answer = json.loads(message)
            if answer.get("id") == number:
                return dict(answer.get("result", answer))
            self._note(answer)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.seen.fetched.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.seen.fetched.append(params["url"])
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.seen.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Runtime.exceptionThrown":
                self.seen.complaints.append(json.dumps(params["exceptionDetails"])[:500])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.seen.complaints.append(json.dumps(params["args"])[:500])


if __name__ == "__main__":
    for address, file in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        found = asyncio.run(look(address, until="", seconds=60, settle=4, full=file.endswith("-full.png")))
        Path(file).write_bytes(found.png)
        print(file, len(found.png), "bytes;", found.complaints or "no complaints")  # noqa: T201
