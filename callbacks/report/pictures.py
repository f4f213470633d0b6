"""Pictures within the page: vector graphics with text that stays text, and images as data."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from PIL import Image

from callbacks.report.html import Markup, tag

BLUE, ORANGE, GREEN, RED, PURPLE, TEAL = "#3f83c9", "#d9730d", "#2f9e63", "#d64545", "#9161c9", "#1f9aa8"
COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, TEAL)
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.85",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
    "figure.dpi": 72,
}
_METADATA = {name: None for name in ("Creator", "Date", "Format", "Type")}


@contextmanager
def axes(height: float = 2.8, width: float = 4.1) -> Iterator[tuple[Figure, Any]]:
    """A figure of a size that reads on a phone as on a page, in inches, and its axes."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        drawn = figure.subplots()
        drawn.set_prop_cycle(color=COLORS)
        yield figure, drawn


def vector(figure: Figure, key: str, alt: str, caption: str = "") -> Markup:
    """A figure as SVG within the page.

    Args:
        figure: made within ``axes``, where this is called, too.
        key: a name of its own, which keeps its ids apart from those of other figures.
        alt: what it shows, for who cannot see it.
        caption: below it; none if empty.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_METADATA)
    return _framed(Markup(_inline(buffer.getvalue(), key, alt)), caption)


def image(picture: Image.Image, alt: str, caption: str = "") -> Markup:
    """An image as PNG within the page."""
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    width, height = picture.size
    element = Markup(
        f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{width}" height="{height}">'
    )  # fmt: skip
    return _framed(element, caption)


def row(*figures: Markup) -> Markup:
    """Figures beside each other where there is room, else below each other."""
    return tag("div", *figures, class_="figures")


def _framed(element: Markup, caption: str) -> Markup:
    return tag("figure", element, *([tag("figcaption", caption)] if caption else []))


def _inline(document: str, key: str, alt: str) -> str:
    """A document of matplotlib's as an element of the page, in the page's font and colours."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<style.*?</style>", "", svg, flags=re.S)
    head, body = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    # ids are needed where something refers to them, and once: matplotlib repeats definitions that are equal
    referenced = set(re.findall(r'(?:href="|url\()#([\w.-]+)', body))
    body = re.sub(r' id="([\w.-]+)"', lambda m: _id(m[1], key, referenced), body)
    body = re.sub(r'((?:xlink:href="|url\()#)', rf"\g<1>{key}-", body).replace("xlink:href", "href")
    body = re.sub(r"font: ((?:\d+ )?)([\d.]+px)[^;\"]*", _font, body)
    body = re.sub(r"#([0-9a-f]{2})\1\1\b", _neutral, body)
    body = re.sub(r"<text (?![^>]*fill)", '<text fill="currentColor" ', body)
    return f'<svg {box[0] if box else ""} role="img" aria-label="{escape(alt)}">{body.strip()}'


def _id(name: str, key: str, wanted: set[str]) -> str:
    if name not in wanted:
        return ""
    wanted.remove(name)
    return f' id="{key}-{name}"'


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match[1].strip()}; " if match[1] else ""
    return f"{weight}font-size: {match[2]}"


def _neutral(match: re.Match[str]) -> str:
    """Black is the page's ink; other greys are as much ink as they are dark, on whatever paper."""
    darkness = 1 - int(match[1], 16) / 255
    if darkness > 0.99:
        return "currentColor"
    return f"rgba(128, 128, 128, {min(1.0, 2 * darkness):.2f})" if darkness < 0.5 else "rgb(128, 128, 128)"


def logarithmic(axis: Any) -> None:
    """Ticks of a logarithmic axis as plain numbers, which stay text; between powers of ten only where these are few."""
    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low, high = axis.get_view_interval()
    few = low > 0 and high / low < 30
    axis.set_minor_locator(LogLocator(subs=(2, 5), numticks=7) if few else NullLocator())
    axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}") if few else NullFormatter())


def thinned(values: Sequence[Any], most: int = 160) -> Sequence[Any]:
    """At most about so many of the values, first and last among them."""
    if len(values) <= most:
        return values
    step = -(-len(values) // most)
    return [*values[:-1:step], values[-1]]
