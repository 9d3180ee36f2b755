"""A headless Chromium that is driven over its DevTools pipe, with nothing but the standard library."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SOFTWARE = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # WebGL without a graphics card
# Chromium reads its orders from descriptor 3 and answers on 4; either may be one of the pipes' own numbers here.
LAUNCH = """
import fcntl, os, sys
high = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
for one, wanted in zip(high, (3, 4)):
    os.dup2(one, wanted)
    os.close(one)
os.execvp(sys.argv[3], sys.argv[3:])
"""
MOUSE = {"button": "left", "clickCount": 1}


def find_browser() -> str | None:
    """Look for a Chromium: LRSCAPE_CHROMIUM if it is set, else on the PATH."""
    return os.environ.get("LRSCAPE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in a Chromium of its own, which draws by software and ends with the ``with``.

    Args:
        program: The browser.
        profile: Folder for its files, which is left behind.
        size: Of the window, pixels.
        patience: Seconds after which an answer that has not come is an error.
    """

    def __init__(self, program: str, profile: Path, *, size: tuple[int, int] = (1000, 640), patience: float = 300.0):
        self.patience = patience
        self.requests: list[str] = []  # addresses that the page has asked for
        self._count, self._unread = 0, b""
        ours, theirs = os.pipe(), os.pipe()  # to the browser, from the browser
        options = [
            *("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", *SOFTWARE),
            *(f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--remote-debugging-pipe"),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(ours[0]), str(theirs[1]), program, *options, "about:blank"],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._orders, self._answers = ours[1], theirs[0]
        self._session: str | None = None
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.version: str = self.call("Browser.getVersion")["product"]
            self.call("Network.enable")
            self.call("Page.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and all of its processes."""
        for end in (self._orders, self._answers):
            os.close(end)
        try:
            self._process.wait(timeout=min(20.0, self.patience))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def call(self, method: str, **arguments: Any) -> Any:
        """Give an order and wait for its result."""
        self._count += 1
        order: dict[str, Any] = {"id": self._count, "method": method, "params": arguments}
        if self._session is not None and not method.startswith(("Target.", "Browser.")):
            order["sessionId"] = self._session
        try:
            os.write(self._orders, json.dumps(order).encode() + b"\0")
        except BrokenPipeError:
            raise RuntimeError(f"{method}: the browser has gone") from None
        for answer in self._messages():
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error'].get('message')}")
                return answer["result"]
        raise RuntimeError(f"{method}: the browser has gone")

    def _messages(self) -> Iterator[dict[str, Any]]:
        until = time.monotonic() + self.patience
        while True:
            while b"\0" in self._unread:
                message, _, self._unread = self._unread.partition(b"\0")
                yield json.loads(message)
            if not select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"the browser has not answered for {self.patience:.0f} s")
            read = os.read(self._answers, 2**20)
            if not read:
                return
            self._unread += read

    def run(self, script: str) -> Any:
        """Run an expression in the page, wait where it promises, and give its value."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            told = result["exceptionDetails"]
            raise RuntimeError(told.get("exception", {}).get("description") or told["text"])
        return result["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, *, held: bool = False) -> None:
        """Move, press or release the mouse: "Moved", "Pressed" or "Released"."""
        pressed = held or kind != "Moved"
        self.call(
            "Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, buttons=int(held), **(MOUSE if pressed else {})
        )

    def processor_seconds(self) -> float:
        """Add up the processor time of the browser's processes; on Linux alone."""
        ticks, group = 0, os.getpgid(self._process.pid)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")
