"""HTML and SVG from Python: whatever comes from data is text, never an element, an attribute's name or a script."""

import html
import re
from typing import Any

#: What XML and terminals must not see: control characters, halves of surrogate pairs, and marks that turn the direction of writing.
_BAD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_VOID = ("meta", "br", "hr")


class Markup(str):
    """Text that is HTML already; made by this module alone."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Any value as text.

    >>> text("<script>")
    '&lt;script&gt;'
    """
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_BAD.sub("\ufffd", str(value)), quote=True))


def join(*parts: Any) -> Markup:
    """Parts one after the other; None is nothing, lists are opened."""
    found: list[str] = []
    for part in parts:
        if part is None:
            continue
        found.append(join(*part) if isinstance(part, list | tuple) else text(part))
    return Markup("".join(found))


def tag(name: str, /, *parts: Any, **attributes: Any) -> Markup:
    """An element with its parts inside; an underscore in an attribute's name stands for a dash, None and False leave it out.

    >>> tag("p", "a < b", class_="x", data_n=3)
    '<p class="x" data-n="3">a &lt; b</p>'
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        if _NAME.fullmatch(attribute) is None or attribute.startswith("on") or attribute == "style":
            raise ValueError(f"no attribute {attribute!r} in a page that runs nothing")
        written.append(f" {attribute}" if value is True else f' {attribute}="{text(_short(value))}"')
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"no element {name!r}")
    opened = f"<{name}{''.join(written)}>"
    return Markup(opened) if name in _VOID else Markup(f"{opened}{join(*parts)}</{name}>")


def table(caption: str, heads: list[str], rows: list[list[Any]], numeric: tuple[int, ...] = ()) -> Markup:
    """A table with a caption; the first cell of a row is its heading.

    Args:
        caption: what the table shows.
        heads: of the columns.
        rows: cells, as many as heads.
        numeric: places of the columns that hold numbers.
    """
    head = tag("tr", [tag("th", one, scope="col", class_="n" if place in numeric else None) for place, one in enumerate(heads)])
    body = [tag("tr", [tag("th", cell, scope="row") if not place else tag("td", cell, class_="n" if place in numeric else None)
                       for place, cell in enumerate(row)]) for row in rows]
    return scrolling(tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body)), caption)


def scrolling(inside: Markup, label: str) -> Markup:
    """A box that scrolls sideways on narrow screens, reachable by keyboard."""
    return tag("div", inside, class_="scroll", tabindex="0", role="region", aria_label=label)


def instead(summary: str, inside: Any) -> Markup:
    """What a chart shows, as numbers to read."""
    return tag("details", tag("summary", summary), inside, class_="numbers")


def _short(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value
