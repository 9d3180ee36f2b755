"""The page to turn around: what is in it, that it asks for nothing, and that a browser shows it."""

import base64
import gzip
import html.parser
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lrscape import viz

pytest.importorskip("plotly", reason="plotly is not installed (extra interactive)")

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("LRSCAPE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page(html.parser.HTMLParser):
    """Collects scripts by their ids, and everything that could ask for something."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.asked, self.title, self._open = {}, [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self._open = (tag, told.get("id"))
        if tag == "script":
            self.scripts[told.get("id")] = ""
        self.asked += [value for name, value in attributes if name in {"src", "href", "action", "data"}]

    def handle_data(self, data):
        if self._open and self._open[0] == "script":
            self.scripts[self._open[1]] += data
        if self._open == ("title", None):
            self.title += data

    def handle_endtag(self, tag):
        self._open = None


def read(path):
    page = Page(path.read_text(encoding="utf-8"))
    return page, json.loads(page.scripts["spec"])


def numbers(packed):
    """Unpack an array as plotly stores it."""
    if isinstance(packed, list):
        return np.array(packed, dtype=float)
    kinds = {"f4": np.float32, "f8": np.float64, "i1": np.int8}
    flat = np.frombuffer(base64.b64decode(packed["bdata"]), kinds[packed["dtype"]])
    return flat.reshape([int(n) for n in packed["shape"].split(",")]) if "shape" in packed else flat


def test_the_page_holds_the_surface(surface, tmp_path):
    page, spec = read(viz.to_html(surface, tmp_path / "a.html", title="Bowl"))
    drawn, centre = spec["data"]
    assert (drawn["type"], centre["name"], page.title) == ("surface", "centre", "Bowl")
    assert np.allclose(numbers(drawn["z"]).T, surface.values, rtol=1e-6)
    assert numbers(drawn["x"]) == pytest.approx(surface.axes[0])
    assert drawn["hovertemplate"].startswith("direction 1 (filter-normalised) %{x:.4g}<br>")
    assert spec["layout"]["scene"]["zaxis"]["range"] == pytest.approx([surface.losses.min(), surface.losses.max()])
    assert numbers(centre["customdata"]) == pytest.approx([surface.center])
    assert "sliders" not in spec["layout"]


def test_it_asks_for_nothing_and_is_small(surface, tmp_path):
    path = viz.to_html(surface, tmp_path / "a.html")
    page, _ = read(path)
    assert page.asked == []
    assert "default-src 'none'" in path.read_text(encoding="utf-8")
    code = gzip.decompress(base64.b64decode(page.scripts["code"]))
    assert b"plotly.js v" in code[:200]
    assert path.stat().st_size < 2.5e6 < len(code)


def test_names_are_harmless(surface, tmp_path):
    evil = "</script><script>alert(1)</script> %{x} & <b>"
    named = replace(surface, metrics={evil: surface.losses})
    path = viz.to_html([named, named], tmp_path / "a.html", metric=evil, labels=[evil, "b"], title=evil)
    page, spec = read(path)
    assert len(page.scripts) == 3
    assert page.title == evil
    text = json.dumps({key: value for key, value in spec.items() if key != "data"})
    assert "<script" not in text
    assert "<b>" not in text
    assert "alert(1)" in spec["layout"]["title"]["text"]
    assert "%{x}" not in spec["layout"]["scene"]["zaxis"]["title"]["text"]


def test_a_slider_through_checkpoints(surface, tmp_path):
    run = [replace(surface, losses=surface.losses * (k + 1)) for k in range(3)]
    track = [[0.5, 0.5], [0.25, 0.1], [0.0, 0.0]]
    _, spec = read(viz.to_html(run, tmp_path / "a.html", labels=["0", "50", "100"], track=track, log=True))
    (slider,) = spec["layout"]["sliders"]
    assert [step["label"] for step in slider["steps"]] == ["0", "50", "100"]
    assert [button["label"] for button in spec["layout"]["updatemenus"][0]["buttons"]] == ["play", "stop"]
    assert [step["args"][0] for step in slider["steps"]] == [[frame["name"]] for frame in spec["frames"]]
    for one, frame, place in zip(run, spec["frames"], track, strict=True):
        drawn, path, here, centre = frame["data"]
        assert np.allclose(numbers(drawn["z"]).T, one.values, rtol=1e-6)
        assert [item["name"] for item in (path, here, centre)] == ["path", "here", "centre"]
        assert [numbers(here["x"])[0], numbers(here["y"])[0]] == place
        assert frame["traces"] == [0, 1, 2, 3]
        assert drawn["cmin"] == pytest.approx(np.log10(surface.losses.min()))
        assert drawn["cmax"] == pytest.approx(np.log10(3 * surface.losses.max()))
    assert spec["layout"]["scene"]["zaxis"]["type"] == "log"


def test_path_of_a_trajectory_and_holes(surface, tmp_path):
    losses = surface.losses.copy()
    losses[3] = np.inf
    told = {**surface.provenance, "path": [[0.4, 0.4], [0.0, 0.0]]}
    _, spec = read(viz.to_html(replace(surface, losses=losses, provenance=told), tmp_path / "a.html"))
    assert [item.get("name") for item in spec["data"]] == [None, "path", "centre"]
    assert np.isnan(numbers(spec["data"][0]["z"])).sum() == 1
    assert numbers(spec["data"][1]["customdata"])[1] == pytest.approx(surface.center)


def test_arrays(tmp_path):
    u = np.linspace(-1, 1, 5)
    bowl = u[:, None] ** 2 + u**2
    assert len(read(viz.to_html(bowl, tmp_path / "a.html", axes=(u, u)))[1].get("frames", [])) == 0
    assert len(read(viz.to_html([bowl, bowl], tmp_path / "b.html", axes=(u, u)))[1]["frames"]) == 2


def test_dark(surface, tmp_path):
    with viz.theme("dark"):
        _, spec = read(viz.to_html(surface, tmp_path / "a.html"))
    assert spec["layout"]["paper_bgcolor"] == viz.DARK.paper


def test_bad_arguments(surface, profile, tmp_path):
    for data, name, options, match in [
        (surface, "a.png", {}, r"must end in \.html"),
        (profile, "a.html", {}, r"viz\.to_html draws 2-D data"),
        (surface, "a.html", {"labels": ["a", "b"]}, "labels must name each of the 1"),
        (surface, "a.html", {"track": [1, 2]}, "track must hold coordinates"),
        (replace(surface, losses=surface.losses - 1), "a.html", {"log": True}, "log=True needs values above 0"),
    ]:
        with pytest.raises(ValueError, match=match):
            viz.to_html(data, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_without_plotly_the_message_says_what_to_install(surface, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"pip install lrscape\[interactive\]"):
        viz.to_html(surface, tmp_path / "a.html")


# Waits until the page is ready, shows the last checkpoint, and leaves a picture of it in the document.
READER = """<script>
new MutationObserver(async (_, observer) => {
  if (!document.documentElement.dataset.ready) return;
  observer.disconnect();
  Plotly.animate("figure", ["2"], {mode: "immediate", frame: {duration: 0, redraw: true}});
  await new Promise((done) => setTimeout(done, 500));
  const picture = document.createElement("img");
  picture.id = "picture";
  picture.src = await Plotly.toImage("figure", {format: "png", width: 900, height: 700});
  document.body.append(picture);
}).observe(document.documentElement, {attributes: true});
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH, nor named by LRSCAPE_CHROMIUM")
def test_a_browser_shows_it(surface, tmp_path):
    run = [replace(surface, losses=surface.losses * (k + 1)) for k in range(3)]
    path = viz.to_html(run, tmp_path / "a.html", title="<i>Bowl</i>", track=[[0.5, 0.5], [0.2, 0.1], [0.0, 0.0]])
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", READER), encoding="utf-8")
    gl = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    room = ("--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}")
    command = [BROWSER, "--headless", *room, *gl, "--virtual-time-budget=10000", "--dump-dom", path.as_uri()]
    document = subprocess.run(command, capture_output=True, text=True, timeout=500, check=True).stdout
    assert re.search(r'<html[^>]*data-ready="yes"', document)
    assert "‹i›Bowl‹/i›" in document
    picture = re.search(r'id="picture" src="data:image/png;base64,([^"]+)"', document)
    with Image.open(io.BytesIO(base64.b64decode(picture[1]))) as shown:
        pixels = np.asarray(shown.convert("RGB"))[150:600, 100:750].astype(float) / 255
    coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 0.2) & (pixels.sum(axis=2) > 0.3)
    assert coloured.mean() > 0.1  # the surface is there, in its colours
