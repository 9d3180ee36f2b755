"""A report as one HTML page that asks for nothing from the network and escapes whatever it prints."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import category

# The browser itself then refuses scripts and requests, whatever stood in a name.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
DPI = 192  # of the pictures, which are shown at half of it

STYLE = """
:root { color-scheme: %(scheme)s; }
body { margin: 0 auto; padding: 1.5rem; max-width: 62rem; background: %(paper)s; color: %(ink)s;
  font: 16px/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid %(missing)s; }
nav ul { padding-left: 1.2rem; }
a { color: inherit; }
figure { display: inline-block; vertical-align: top; margin: .5rem 1rem .5rem 0; max-width: 100%%; }
figure img { max-width: 100%%; height: auto; }
figcaption, .note { color: %(muted)s; font-size: .85rem; max-width: 30rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid %(missing)s; }
td { overflow-wrap: anywhere; }
code { font-size: .9em; overflow-wrap: anywhere; }
@media print { h2 { break-before: page; } body { max-width: none; } }
"""


def page(title: str, body: str, theme: Any) -> str:
    """Make the page.

    Args:
        title: Any text.
        body: HTML made by the functions below.
        theme: The colours, a ``viz.Theme``.

    Returns:
        The document.
    """
    colors = {name: getattr(theme, name) for name in ("paper", "ink", "muted", "missing")}
    style = STYLE % {**colors, "scheme": "light" if theme.paper == "#ffffff" else "dark"}
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def escaped(text: object) -> str:
    """Make any text safe, in an attribute, too.

    Args:
        text: What is to be read as it is; controls, lone surrogates and others that act unseen, such as those that
            reverse the direction of writing, become replacement marks. Spaces of every width stay.

    Returns:
        HTML.

    Example:
        >>> escaped('<b> & "c"')
        '&lt;b&gt; &amp; &quot;c&quot;'
    """
    clean = "".join(
        letter if letter.isprintable() or letter in "\n\t" or category(letter) == "Zs" else "\N{REPLACEMENT CHARACTER}"
        for letter in str(text)
    )
    return html.escape(clean, quote=True)


def heading(level: int, text: str, name: str | None = None) -> str:
    """Write a heading.

    Args:
        level: 1, 2 or 3.
        text: Any text.
        name: Where links lead to.

    Returns:
        HTML.
    """
    place = "" if name is None else f' id="{escaped(name)}"'
    return f"<h{level}{place}>{escaped(text)}</h{level}>"


def paragraph(text: str, *, note: bool = False) -> str:
    """Write a paragraph.

    Args:
        text: Any text.
        note: In small print.

    Returns:
        HTML.
    """
    return f'<p class="note">{escaped(text)}</p>' if note else f"<p>{escaped(text)}</p>"


def contents(names: Iterable[tuple[str, str]]) -> str:
    """Write a list of links within the page.

    Args:
        names: Places and texts.

    Returns:
        HTML.
    """
    items = "".join(f'<li><a href="#{escaped(place)}">{escaped(text)}</a></li>' for place, text in names)
    return f"<nav><ul>{items}</ul></nav>"


def facts(rows: Iterable[tuple[object, object]]) -> str:
    """Write names and values.

    Args:
        rows: Pairs of any texts.

    Returns:
        HTML, a table with the names as heads of its rows.
    """
    lines = "".join(f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td></tr>' for name, value in rows)
    return f'<div class="scroll"><table>{lines}</table></div>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table.

    Args:
        head: Names of the columns.
        rows: As many cells each; an empty one becomes a dash.

    Returns:
        HTML.
    """
    names = "".join(f'<th scope="col">{escaped(name)}</th>' for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escaped(cell) or '–'}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div>'


def picture(drawn: Any, caption: str) -> str:
    """Put a figure into the page, and close it.

    Args:
        drawn: A matplotlib figure, or an Axes of it.
        caption: Any text, which also stands for the picture where none is shown.

    Returns:
        HTML.
    """
    from matplotlib import pyplot as plt

    figure = drawn.get_figure(root=True)
    file = io.BytesIO()
    try:
        figure.savefig(file, format="png", dpi=DPI)
        width = round(figure.get_figwidth() * DPI / 2)
    finally:
        plt.close(figure)
    data = base64.b64encode(file.getvalue()).decode()
    text = escaped(caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{width}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
