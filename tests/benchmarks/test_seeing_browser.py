"""The page of a large surface in a real browser: it draws, turns, tells values and slides; and the driver's faults."""

import os
from pathlib import Path

import numpy as np
import pytest

from lrscape import viz
from lrscape.benchmarks import seeing_browser
from lrscape.benchmarks.devtools import Browser, find_browser

BROWSER = find_browser()
needs_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH, nor named by LRSCAPE_CHROMIUM")


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("plotly", reason="plotly is not installed (extra interactive)")
    u = np.linspace(-1, 1, 101)
    wells = 0.2 + 8 * (u[:, None] ** 2 - 0.25) ** 2 + 0.1 * u[:, None] + u**2
    viz.to_html(wells, tmp_path / "one.html", axes=(u, u), log=True, track=[[0.9, 0.9], [0.5, 0.2], [-0.5, 0]])
    several = [(k + 1) * wells[::2, ::2] for k in range(3)]
    viz.to_html(several, tmp_path / "many.html", axes=(u[::2], u[::2]))
    assert (tmp_path / "one.html").stat().st_size < 5e6
    return tmp_path


@pytest.mark.slow
@needs_a_browser
def test_the_page_of_a_101_by_101_surface_answers(folder):
    with Browser(BROWSER, folder / "profile") as browser:
        first = seeing_browser.open_page(browser, folder / "one.html")
        assert 0 < first["processor_seconds"] < 300
        assert browser.run("watched.values()") == 101 * 101
        seeing_browser.photograph(browser, folder / "before.png")
        before = np.array(browser.run("watched.eye()"))
        assert seeing_browser.redraw(browser, 1)["processor_seconds"] >= 0
        assert seeing_browser.rotate(browser, 3)["median_milliseconds"] > 0
        after = np.array(browser.run("watched.eye()"))
        assert np.abs(after - before).max() > 0.02  # it turned …
        assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before), rel=1e-3)  # … and came no closer
        seeing_browser.photograph(browser, folder / "after.png")
        assert (folder / "before.png").read_bytes() != (folder / "after.png").read_bytes()
        seeing_browser.hover(browser, 2)
        assert browser.run("watched.labels()") >= 1
        seeing_browser.open_page(browser, folder / "many.html")
        assert browser.run("watched.active()") == 0
        seeing_browser.photograph(browser, folder / "before.png")
        seeing_browser.slide(browser, 2)
        assert browser.run("watched.active()") == 1
        seeing_browser.photograph(browser, folder / "after.png")
        assert (folder / "before.png").read_bytes() != (folder / "after.png").read_bytes()
        assert all(address.startswith(("file:", "data:", "blob:")) for address in browser.requests)


@pytest.mark.slow
@needs_a_browser
def test_errors_of_a_page_are_told(tmp_path):
    (tmp_path / "a.html").write_text('<html data-ready="no"><p id="note">no WebGL</p></html>')
    with Browser(BROWSER, tmp_path / "profile") as browser:
        with pytest.raises(RuntimeError, match=r"a\.html could not be shown: no WebGL"):
            seeing_browser.open_page(browser, tmp_path / "a.html")
        with pytest.raises(RuntimeError, match="nonsense is not defined"):
            browser.run("nonsense()")
        with pytest.raises(RuntimeError, match=r"No\.Such: .*wasn't found"):
            browser.call("No.Such")


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_browser_that_ends_or_does_not_answer(tmp_path):
    with pytest.raises(RuntimeError, match=r"Target\.createTarget: the browser has gone"):
        Browser(script(tmp_path / "ends", "exit 1"), tmp_path / "profile")
    with pytest.raises(TimeoutError, match="has not answered for 0 s"):
        Browser(script(tmp_path / "sleeps", "exec sleep 600"), tmp_path / "profile", patience=0.2)


def test_answers_come_in_pieces_and_between_events(tmp_path):
    program = tmp_path / "talks.py"
    program.write_text(
        "import json, os\n"
        "unread = b''\n"
        "while read := os.read(3, 65536):\n"
        "    unread += read\n"
        "    while b'\\0' in unread:\n"
        "        order, _, unread = unread.partition(b'\\0')\n"
        "        told = json.loads(order)\n"
        "        event = {'method': 'Network.requestWillBeSent', 'params': {'request': {'url': 'http://a'}}}\n"
        "        result = {'targetId': 't', 'sessionId': 's', 'product': 'talks', 'echo': told}\n"
        "        text = json.dumps(event) + '\\0' + json.dumps({'id': told['id'], 'result': result}) + '\\0'\n"
        "        for part in (text[:40], text[40:]):\n"
        "            os.write(4, part.encode())\n"
    )
    with Browser(script(tmp_path / "talks", f'exec python3 "{program}"'), tmp_path / "profile", patience=30) as browser:
        assert browser.version == "talks"
        echo = browser.call("Page.navigate", url="file:///a")["echo"]
        assert (echo["method"], echo["params"], echo["sessionId"]) == ("Page.navigate", {"url": "file:///a"}, "s")
        assert set(browser.requests) == {"http://a"}
        if Path("/proc/self/stat").exists():
            assert 0 <= browser.processor_seconds() < 60


def test_the_browser_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("LRSCAPE_CHROMIUM", "/somewhere/chromium")
    assert find_browser() == "/somewhere/chromium"
    monkeypatch.delenv("LRSCAPE_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser() is None
    script(tmp_path / "chromium", "exit 0")
    assert find_browser() == os.fspath(tmp_path / "chromium")
