"""Markup that is safe by construction: whatever is not already `Html` is escaped when it is put inside a tag."""

import html
import math
import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from types import MappingProxyType

from tenfold.core.errors import NotFound

# Characters XML forbids, and those that reorder the text around them: a name must not fake another one.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
DASH = "\u2013"
"""What stands for a missing number."""
_THIN = "\u202f"
_MINUS = "\u2212"


class Html(str):
    """Text that is markup already and must not be escaped again."""

    __slots__ = ()


STATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ok": ("✓", "good"),
        "warn": ("!", "look"),
        "bad": ("✕", "bad"),
        "info": ("↻", "running"),
        "none": (DASH, "neutral"),
    }
)
"""Glyph and word of each state, so that no state is told by color alone."""


def glyph(state: str) -> str:
    """Return the glyph of a state.

    Raises
    ------
    NotFound
        When there is no such state.
    """
    if state not in STATES:
        raise NotFound("state", state, STATES)
    return STATES[state][0]


def clean(value: object) -> str:
    r"""Return text without control characters and without characters that reorder their surroundings.

    Examples
    --------
    >>> clean("a\x1b[31mb") == "a\ufffd[31mb"
    True
    """
    return _UNSEEN.sub("\ufffd", str(value))


def escape(value: object) -> Html:
    """Return text as markup; `Html` is returned as it is.

    Examples
    --------
    >>> escape('<b>"1"')
    '&lt;b&gt;&quot;1&quot;'
    """
    return value if isinstance(value, Html) else Html(html.escape(clean(value)))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element; children and attribute values are escaped, None attributes are left out.

    Attribute names are written with `_` for `-` and with a trailing `_` where Python has the word itself.

    Examples
    --------
    >>> tag("p", "a < b", tag("br"), class_="note", tab_index=None)
    '<p class="note">a &lt; b<br/></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(clean(_short(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(map(escape, children))
    alone = name in _ALONE and not inside
    return Html(f"<{name}{written}/>" if alone else f"<{name}{written}>{inside}</{name}>")


def join(*parts: object) -> Html:
    """Return parts one after the other, escaped unless they are `Html`."""
    return Html("".join(map(escape, parts)))


def number(value: object, digits: int = 4) -> str:
    r"""Return a number for people: thousands apart, `digits` significant, a dash for None and NaN.

    Examples
    --------
    >>> number(0.731249), number(2)
    ('0.7312', '2')
    >>> [number(value) for value in (-1234567, None, float("nan"))] == [
    ...     "\u22121\u202f234\u202f567",
    ...     DASH,
    ...     DASH,
    ... ]
    True
    """
    if value is None:
        return DASH
    if isinstance(value, bool) or not isinstance(value, Real):
        return clean(value)
    if not math.isfinite(value):
        return DASH if math.isnan(value) else f"{value:+.0f}".replace("-", _MINUS)
    whole = isinstance(value, Integral) or abs(value) >= 10 ** (digits - 1)
    text = f"{float(value):,.0f}" if whole else f"{float(value):.{digits}g}"
    return text.replace(",", _THIN).replace("-", _MINUS)


def is_numeric(cells: Iterable[object]) -> bool:
    """Return whether a column holds numbers: at least one, and else only None."""
    known = [cell for cell in cells if cell is not None]
    return bool(known) and all(isinstance(cell, Real) and not isinstance(cell, bool) for cell in known)


# Only these may be written without an end tag, in HTML and in SVG.
_ALONE = frozenset({"br", "circle", "img", "line", "link", "meta", "path", "rect"})


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
