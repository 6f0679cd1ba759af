"""Report pages: one file of HTML that needs nothing else, no script, no request, both themes, any width."""

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.ui.markup import STATES, Html, escape, glyph, is_numeric, join, number, tag
from tenfold.ui.theme import part_sheet, style_sheet

Tile = tuple[str, object, str, str]
"""A number at a glance: what it is, its value, what it is compared with, and a state of `markup.STATES`."""

FAR = 40
"""A longer text in a table is broken: else it would push the columns behind it out of sight."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True)
class Section:
    """A card of a page: a heading, a note at its right and `html`.

    `html` is shown as markup when it is `Html` (everything from `svg`, `table`, `numbers`, `badge`), else as text. A
    wide section takes the whole row. A section without a title has no card around it.
    """

    title: str
    html: str
    note: str = ""
    wide: bool = False


def page(
    title: str, subtitle: str, sections: Sequence[Section], *, status: str = "", footer: str = ""
) -> str:
    """Return a whole HTML document.

    It loads nothing, and its content policy forbids it to. `status` stands beside the title (a `badge`).

    Examples
    --------
    >>> "<h1>delay &lt;15&gt;" in page("delay <15>", "v12", [Section("Quality", "good")])
    True
    """
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Html(style_sheet())),
    )
    body = join(
        tag("header", tag("h1", title, " ", status), tag("p", subtitle, class_="subtitle")),
        tag("main", *(_card(i, section) for i, section in enumerate(sections))),
        tag("footer", footer) if footer else "",
    )
    return f"<!doctype html>{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def fragment(title: str, sections: Sequence[Section], *, status: str = "") -> str:
    """Return the same as a part of somebody else's page, such as a notebook; its style touches nothing around it.

    Examples
    --------
    >>> fragment("delay <15>", [Section("Quality", "good")]).count("delay &lt;15&gt;")
    1
    """
    return tag(
        "div",
        tag("style", Html(part_sheet())),
        tag("header", tag("h1", title, " ", status)),
        tag("main", *(_card(i, section) for i, section in enumerate(sections))),
        class_="tenfold",
    )


def numbers(tiles: Sequence[Tile]) -> Html:
    """Return a row of tiles, each with a glyph and a word for its state.

    Examples
    --------
    >>> numbers([("p99", "6.3 ms", "budget 20 ms", "ok")]).count("✓")
    1
    """
    return tag("dl", *map(_tile, tiles), class_="tiles")


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, align: str = "", label: str = "Table"
) -> Html:
    """Return a table; the first cell of each row names the row, numbers are grouped and aligned right.

    Parameters
    ----------
    columns : sequence of str
        The headings.
    rows : sequence of rows of cells
        Numbers, text (escaped) or `Html` (badges).
    align : str
        One of l, r, c per column; where it is not given, columns of numbers are aligned right.
    label : str
        What a screen reader calls the table.

    Examples
    --------
    >>> table(["model", "rows"], [["<v1>", 150]])[-80:]
    '<th scope="row">&lt;v1&gt;</th><td class="r">150</td></tr></tbody></table></div>'
    """
    sides = align or "".join("r" if is_numeric(row[i] for row in rows) else "l" for i in range(len(columns)))
    looks = [None if side == "l" else side for side in sides]
    head = tag(
        "tr", *(tag("th", name, scope="col", class_=look) for name, look in zip(columns, looks, strict=True))
    )
    body = [
        tag(
            "tr",
            *(_cell(cell, look, first=i == 0) for i, (cell, look) in enumerate(zip(row, looks, strict=True))),
        )
        for row in rows
    ]
    return scrolled(tag("table", tag("thead", head), tag("tbody", *body), aria_label=label), label)


def long(words: str) -> Html:
    """Return a sentence for a cell of a table: it gets room, where the page is narrow by scrolling."""
    return tag("div", words, class_="long")


def badge(words: str, state: str) -> Html:
    """Return a state in words, with its glyph.

    Examples
    --------
    >>> badge("promoted", "ok")
    '<span class="badge ok"><span aria-hidden="true">✓</span> promoted</span>'
    """
    return tag("span", tag("span", glyph(state), aria_hidden="true"), " ", words, class_=f"badge {state}")


def scrolled(inside: Html, label: str) -> Html:
    """Return what is wider than a phone in a region that the keyboard can scroll, under a name of its own."""
    named = f"{label}, to scroll"
    return tag("div", inside, class_="scroll", tabindex="0", role="region", aria_label=named)


def _card(i: int, section: Section) -> Html:
    wide = " wide" if section.wide else ""
    if not section.title:
        return tag("div", section.html, class_=f"bare{wide}")
    top = tag(
        "div",
        tag("h2", section.title, id=f"s{i}"),
        tag("span", section.note, class_="note") if section.note else "",
        class_="top",
    )
    body = escape(section.html)
    inside = scrolled(body, section.title) if body.startswith("<svg") else body
    return tag("section", top, inside, class_=f"card{wide}", aria_labelledby=f"s{i}")


def _tile(tile: Tile) -> Html:
    label, value, note, state = tile
    mark, told = glyph(state), state != "none"
    sign = join(tag("span", mark, aria_hidden="true"), tag("span", f" {STATES[state][1]}:", class_="sr"), " ")
    say = tag("dd", sign if told else "", note, class_=f"say {state}") if told or note else ""
    shown = value if isinstance(value, str) else number(value)
    return tag("div", tag("dt", label), tag("dd", shown, class_="value"), say, class_="tile")


def _cell(cell: object, look: str | None, *, first: bool) -> Html:
    shown = cell if isinstance(cell, str) else number(cell)
    if len(shown) > FAR and not isinstance(shown, Html):
        shown = tag("div", shown, class_="far")
    return tag("th", shown, scope="row", class_=look) if first else tag("td", shown, class_=look)
