"""Chromium without a window, driven over a pipe: Chrome's DevTools protocol in a few lines.

    https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60  # seconds


class Browser:
    """One page of a browser. `faults` lists what the console and the network should not have seen."""

    def __init__(self, folder: Path):
        ours_to_read, theirs_to_write = os.pipe()
        theirs_to_read, ours_to_write = os.pipe()
        # Chromium reads descriptor 3 and writes 4. A descriptor of ours with that number would be lost.
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_to_read, theirs_to_write)]
        for fd in (theirs_to_read, theirs_to_write):
            os.close(fd)
        start = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
        command = ["bash", "-c", start, "bash", str(PROGRAM), *OPTIONS, f"--user-data-dir={folder}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, pass_fds=theirs, **quiet)  # type: ignore[call-overload]
        for fd in theirs:
            os.close(fd)
        self.read, self.write = ours_to_read, ours_to_write
        self.count, self.rest, self.session, self.faults = 0, b"", None, []  # type: ignore[var-annotated]
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        self.session = None
        self.send("Browser.close")
        self.process.wait(PATIENCE)
        os.close(self.read)
        os.close(self.write)

    def send(self, method: str, **params: Any) -> Any:
        """Send one command and return its result."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.count:
            self._notice(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], PATIENCE)
            assert ready, "the browser is silent"
            read = os.read(self.read, 1 << 20)
            assert read, "the browser has ended"
            self.rest += read
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def _notice(self, event: dict[str, Any]) -> None:
        method, params = event["method"], event.get("params", {})
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:")):
                self.faults.append(f"a request to {url}")
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.faults.append(json.dumps(params)[:500])

    def run(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(expression):
            assert time.monotonic() < end, f"not within {PATIENCE} seconds: {expression}"
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until the page has drawn a frame."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def open(self, path: Path, width: int = 1280, height: int = 860, dark: bool = False, touch: bool = False) -> None:
        """Open a page from the disk and wait until it has started."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        url = path.resolve().as_uri()
        self.send("Page.navigate", url=url)
        self.wait(f'location.href === "{url}" && document.documentElement?.dataset.ready === "yes"')
        self.settle()

    # --- hands ---

    def place(self, selector: str, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
        """A place inside an element, as shares of its width and height."""
        found = self.run(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{ block: "center" }});
            const box = element.getBoundingClientRect();
            return [box.left + {x} * box.width, box.top + {y} * box.height];
        }})()""")
        return found[0], found[1]

    def drag(self, *places: tuple[float, float], modifiers: int = 0) -> None:
        """Press the mouse at the first place, move to the others, and release."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1,
                      modifiers=modifiers)  # fmt: skip
        self.settle()

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        self.drag(self.place(selector, x, y))

    def touch(self, *fingers: list[tuple[float, float]]) -> None:
        """Each finger's places, from the first touch to the last."""
        steps = list(zip(*fingers, strict=True))
        for i, places in enumerate(steps):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
            self.send("Input.dispatchTouchEvent", type="touchMove" if i else "touchStart", touchPoints=points)
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settle()

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, **(text if kind == "keyDown" else {}))
        self.settle()
