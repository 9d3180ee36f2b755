"""An interactive figure as one HTML file that needs no network."""

from __future__ import annotations

import base64
import gzip
import html
from functools import cache
from typing import Any

from .style import Theme

# Nothing may be fetched: what the page needs is in it. Plotly compiles functions and makes pictures of its own.
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ margin: 0; height: 100%; background: {paper}; color: {ink}; font-family: system-ui, sans-serif; }}
#figure {{ width: 100%; height: 100%; min-height: 320px; }}
#note {{ position: absolute; padding: 1em; }}
</style>
</head>
<body>
<p id="note">One moment …</p>
<div id="figure"></div>
<script id="code" type="text/plain">{code}</script>
<script id="spec" type="application/json">{spec}</script>
<script>
(async () => {{
  const note = document.getElementById("note");
  const text = (id) => document.getElementById(id).textContent;
  try {{
    const packed = Uint8Array.from(atob(text("code")), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    const spec = JSON.parse(text("spec"));
    const sharp = Math.min(2, Math.max(1, window.devicePixelRatio));  // Plotly draws every screen as if it were fine
    await Plotly.newPlot("figure", spec.data, spec.layout,
      {{responsive: true, displaylogo: false, plotGlPixelRatio: sharp}});
    if (spec.frames && spec.frames.length) await Plotly.addFrames("figure", spec.frames);
    note.remove();
    document.documentElement.dataset.ready = "yes";
  }} catch (error) {{
    note.textContent = "This figure needs a browser with WebGL, of 2023 or later. " + error;
    document.documentElement.dataset.ready = "no";
  }}
}})();
</script>
</body>
</html>
"""


def load_plotly(caller: str) -> Any:
    """Import plotly.

    Args:
        caller: What needs it.

    Returns:
        ``plotly.graph_objects``.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError(
            f"{caller} needs plotly, which is not installed; run: pip install lrscape[interactive]"
        ) from error
    return go


@cache
def _packed() -> str:
    """Compress plotly.js, which browsers unpack by themselves: a third of the size."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def standalone(figure: Any, title: str, theme: Theme) -> str:
    """Make the page of a plotly figure.

    Plotly ships one bundle of all its charts, 4.6 MB. It is stored compressed (gzip, base64; about 1.9 MB) and unpacked
    by the browser's own ``DecompressionStream``. The page's policy forbids every request.

    Args:
        figure: A plotly figure.
        title: Of the page; any text.
        theme: Colours.

    Returns:
        The HTML.
    """
    spec = figure.to_json().replace("<", "\\u003c")  # no text of the figure can end its script
    return PAGE.format(
        policy=POLICY, title=html.escape(title), paper=theme.paper, ink=theme.ink, code=_packed(), spec=spec
    )
