"""Pieces of an HTML page in which every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

#: nothing is loaded, run or sent: images and styles are in the page itself
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A value as HTML: escaped, unless it is markup."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; attributes are escaped too, ``class_`` is class and underscores are hyphens."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(map(text, children))}</{name}>")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> Markup:
    """A table whose first column names the row, and whose others are right-aligned where they are numbers."""
    cells = [[cell if i == 0 else number(cell) for i, cell in enumerate(row)] for row in rows]
    right = [i > 0 and any(isinstance(row[i], _Number) for row in cells) for i in range(len(head))]
    kind = ["number" if flag else None for flag in right]
    heads = [tag("th", name, scope="col", class_=c) for name, c in zip(head, kind, strict=True)]
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", x, class_=kind[i]) for i, x in enumerate(row) if i))
        for row in cells
    ]
    return tag(
        "table", tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *body)
    )  # fmt: skip


class _Number(Markup):
    __slots__ = ()


def number(value: object) -> object:
    """A float as a reader wants it, four digits; anything else as it is."""
    return _Number(f"{value:.4g}") if isinstance(value, float) else value


def facts(given: Mapping[str, object]) -> Markup:
    """Names and values, one below the other."""
    return tag("dl", *(part for name, value in given.items() for part in (tag("dt", name), tag("dd", value))),
               class_="facts")  # fmt: skip


def section(key: str, title: str, *children: object) -> Markup:
    """A part of the page that can be jumped to."""
    return tag("section", tag("h2", title, id=f"{key}-title"), *children, id=key, aria_labelledby=f"{key}-title")


def contents(sections: Iterable[str]) -> Markup:
    """Links to sections."""
    titles = [match for part in sections for match in re.findall(r'<h2 id="([^"]*)-title">(.*?)</h2>', part)]
    return tag("nav", *(tag("a", Markup(title), href=f"#{key}") for key, title in titles), aria_label="Contents")


def page(title: str, *children: object) -> str:
    """A whole page that needs nothing but itself."""
    style = files(__package__).joinpath("style.css").read_text()
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Markup(style)),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', *children), lang='en')}\n"
