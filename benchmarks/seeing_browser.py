"""Measure how fast the pages of ``viz.to_html`` answer in a headless Chromium, and photograph one of them.

Run as ``python -m lrscape.benchmarks.seeing_browser FOLDER``, with the pages that ``lrscape.benchmarks.seeing`` wrote:
one.html, a surface of 101×101, and many.html, 30 of 51×51 with a slider. The mouse is moved and pressed for real; each
time runs from the event to the complete picture, on the browser's clock. Chromium draws by software (SwiftShader) here,
so that it is faster with a graphics card. LRSCAPE_CHROMIUM names the browser if it is not on the PATH.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .devtools import Browser, find_browser

READY = """new Promise((done) => {
  const look = () => {
    const ready = document.documentElement?.dataset.ready;
    if (ready) done(ready); else setTimeout(look, 2);
  };
  look();
})"""
# A picture is complete when the next two frames have come and a pixel of the canvas can be read.
WATCH = """(() => {
  const figure = document.getElementById("figure");
  const scene = () => figure._fullLayout.scene._scene.glplot;
  const frame = () => new Promise(requestAnimationFrame);
  const patience = (what) => new Promise((_, fail) => setTimeout(() => fail(new Error(what + " did not come")), 60000));
  let from = 0, told = null;
  for (const kind of ["mousemove", "mousedown"]) addEventListener(kind, (event) => { from = event.timeStamp; }, true);
  const drawn = async () => {
    await frame(); await frame();
    const gl = scene().gl;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    return performance.now();
  };
  window.watched = {
    drawn,
    redraw: () => {
      const start = performance.now(), gl = scene().gl;
      scene().redraw();
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
      return performance.now() - start;
    },
    since: async () => await drawn() - from,
    expect: (kind) => { told = new Promise((done) => figure.once(kind, () => done(performance.now()))); },
    told: async (kind) => await Promise.race([told, patience(kind)]) - from,
    eye: () => Array.from(scene().camera.eye),
    values: () => figure._fullData[0].z.length * figure._fullData[0].z[0].length,
    active: () => figure._fullLayout.sliders ? figure._fullLayout.sliders[0].active : null,
    renderer: () => {
      const gl = scene().gl, info = gl.getExtension("WEBGL_debug_renderer_info");
      return info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "unknown";
    },
    labels: () => figure.querySelectorAll(".hoverlayer .hovertext, .hovertext").length,
  };
})()"""


def open_page(browser: Browser, path: Path) -> dict[str, float]:
    """Open a page and wait for its first complete picture."""
    before = browser.processor_seconds()
    browser.call("Page.navigate", url=path.resolve().as_uri())
    ready = browser.run(READY)
    if ready != "yes":
        told = browser.run('document.getElementById("note").textContent')
        raise RuntimeError(f"{path} could not be shown: {told}")
    browser.run(WATCH)
    milliseconds = browser.run("watched.drawn()")
    used = browser.processor_seconds() - before
    return {"milliseconds": round(milliseconds), "processor_seconds": round(used, 2)}


def repeated(browser: Browser, once: Callable[[int], float], times: int) -> dict[str, float]:
    """Do something several times; tell its median and longest milliseconds, and processor seconds of each."""
    before = browser.processor_seconds()
    found = [once(number) for number in range(times)]
    used = (browser.processor_seconds() - before) / times
    return {
        "median_milliseconds": round(statistics.median(found)),
        "longest_milliseconds": round(max(found)),
        "processor_seconds": round(used, 3),
    }


def place_of(browser: Browser, what: str = "#figure .gl-container canvas, #figure canvas") -> tuple[float, ...]:
    """Find an element: its left and upper edge, width and height."""
    box = json.loads(browser.run(f"JSON.stringify(document.querySelector({json.dumps(what)}).getBoundingClientRect())"))
    return tuple(float(box[name]) for name in ("x", "y", "width", "height"))


def redraw(browser: Browser, times: int) -> dict[str, float]:
    """Draw the same picture again, as each frame of a rotation does."""
    return repeated(browser, lambda _: float(browser.run("watched.redraw()")), times)


def rotate(browser: Browser, times: int) -> dict[str, float]:
    """Drag the surface around, a few pixels at a time; plotly eases each step over several frames."""
    left, top, width, height = place_of(browser)
    x, y = left + width / 2, top + height / 2
    browser.mouse("Moved", x, y)
    browser.mouse("Pressed", x, y, held=True)

    def once(number: int) -> float:
        browser.mouse("Moved", x + 6 * (number + 1), y, held=True)
        return float(browser.run("watched.since()"))

    found = repeated(browser, once, times)
    browser.mouse("Released", x + 6 * times, y)
    return found


def hover(browser: Browser, times: int) -> dict[str, float]:
    """Point at places of the surface until each one's values are shown."""
    left, top, width, height = place_of(browser)

    def once(number: int) -> float:
        browser.run('watched.expect("plotly_hover")')
        across, down = (number % 5 - 2) * 0.03, (number // 5 % 4 - 1.5) * 0.03
        browser.mouse("Moved", left + width * (0.5 + across), top + height * (0.5 + down))
        return float(browser.run('watched.told("plotly_hover")'))

    return repeated(browser, once, times)


def slide(browser: Browser, times: int) -> dict[str, float]:
    """Press the mouse at places of the slider until each one's surface is drawn."""
    left, top, width, height = place_of(browser, ".slider-rail-touch-rect")

    def once(number: int) -> float:
        x, y = left + width * (0.95 - 0.9 * (7 * number % times) / times), top + height / 2
        browser.run('watched.expect("plotly_animated")')
        browser.mouse("Pressed", x, y, held=True)
        browser.run('watched.told("plotly_animated")')
        taken = float(browser.run("watched.since()"))
        browser.mouse("Released", x, y)
        return taken

    return repeated(browser, once, times)


def photograph(browser: Browser, file: Path) -> None:
    """Take a picture of the page."""
    file.write_bytes(base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"]))


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=20, help="how often each is done (default: 20)")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    times: int = arguments.times
    program = find_browser()
    if program is None:
        parser.error("no Chromium on the PATH, nor named by LRSCAPE_CHROMIUM")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as profile, Browser(program, Path(profile)) as browser:
        results["browser"] = browser.version
        results["one surface of 101×101"] = one = {"first picture": open_page(browser, folder / "one.html")}
        photograph(browser, folder / "seeing_interactive.png")
        results["renderer"] = browser.run("watched.renderer()")
        one |= {"frame": redraw(browser, times), "rotation": rotate(browser, times), "hover": hover(browser, times)}
        results["30 of 51×51"] = many = {"first picture": open_page(browser, folder / "many.html")}
        many |= {"frame": redraw(browser, times), "rotation": rotate(browser, times)}
        many |= {"hover": hover(browser, times), "slider": slide(browser, times)}
        results["requests"] = [address for address in browser.requests if not address.startswith(("file:", "data:"))]
    print(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
