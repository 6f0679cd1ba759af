"""What charts share: the frame with its text alternative, scales, axes, legends and notes on the time axis."""

import math
from collections.abc import Callable, Iterable, Sequence

from tenfold.ui.markup import Html, clean, join, number, tag
from tenfold.ui.theme import color

HALF, WIDE = 540, 1130
"""Chart widths, in the units of the drawing: half a page and a whole one."""
LEAST, LEAST_WIDE = 440, 860
"""What a chart is not drawn narrower than, in pixels: it is scrolled instead."""
FONT = 12
LETTER = 0.6
"""How wide a letter is to its height: what is wider than most fonts, so that no text runs into what is beside it."""
ROW = 18
"""Height of a line of text."""
MARKER_ROW = 14
"""Height of a line of notes."""
DASHES = (None, "7 3", "2 3", "9 3 2 3", "4 2", "1 4")
"""Series differ by dashes as well as by color."""

Scale = Callable[[float], float]
Points = Sequence[tuple[float, float | None]]
"""(x, y) in the order of x; a point without y is a gap."""


def frame(label: str, summary: str, width: float, height: float, *body: object) -> Html:
    """Return a whole chart: it scales down with the page as long as its texts can be read, wide ones a little less.

    `label` is its name and `summary` says in words what the drawing shows.
    """
    least = min(width, LEAST_WIDE if width > HALF else LEAST)
    return tag(
        "svg",
        tag("title", label),
        *body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        aria_label=f"{label}. {summary}" if summary else label,
        font_size=FONT,
        font_family="system-ui,sans-serif",
        fill="currentColor",
        style=f"width:100%;min-width:{least:.0f}px;max-width:{width:.0f}px;height:auto",
    )


def text(x: float, y: float, words: object, *, anchor: str = "start", muted: bool = False) -> Html:
    """Return a line of text with its baseline at `y`."""
    return tag(
        "text",
        words,
        x=x,
        y=y,
        text_anchor=None if anchor == "start" else anchor,
        fill=color("muted") if muted else None,
    )


def breadth(words: str) -> float:
    """Return about how wide a line of text is."""
    return len(words) * FONT * LETTER


def short(words: object, room: float) -> str:
    """Return text that fits into a room; what is cut off is marked.

    Examples
    --------
    >>> short("origin_delay_mean_3h", 80)
    'origin_del…'
    """
    plain = clean(words)
    most = max(1, int(room / (FONT * LETTER)))
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def finite(value: float | None) -> bool:
    """Return whether there is a value to draw."""
    return value is not None and math.isfinite(value)


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Return the map from [low, high] to [start, end]; everything goes to the middle when low equals high."""
    if low == high:
        return lambda _: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round numbers from at most `low` to at least `high`.

    Examples
    --------
    >>> ticks(0.71, 0.78)
    [0.7, 0.72, 0.74, 0.76, 0.78]
    """
    if low == high:
        low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 2 - math.floor(math.log10(step))) for i in range(first, last + 1)]


def tick_texts(at: Sequence[float], *, percent: bool = False) -> list[str]:
    """Return the texts of ticks, with as many digits as tell them apart.

    Examples
    --------
    >>> tick_texts([0.5, 0.75]), tick_texts([0.5001, 0.5002]), tick_texts([0.5, 0.75], percent=True)
    (['0.5', '0.75'], ['0.5001', '0.5002'], ['50 %', '75 %'])
    """
    values = [round(100 * value, 6) if percent else value for value in at]
    for digits in range(3, 12):
        texts = [number(value, digits) for value in values]
        if len(set(texts)) == len(values):
            break
    return [f"{words} %" for words in texts] if percent else texts


def y_axis(
    at: Sequence[float], y: Scale, left: float, right: float, label: str, *, percent: bool = False
) -> Html:
    """Return grid lines with their numbers, and the unit above them."""
    lines = [
        join(
            tag("line", x1=left, x2=right, y1=y(value), y2=y(value), stroke=color("line")),
            text(left - 7, y(value) + 4, words, anchor="end", muted=True),
        )
        for value, words in zip(at, tick_texts(at, percent=percent), strict=True)
    ]
    return join(*lines, text(0, y(at[-1]) - 11, short(label, right), muted=True) if label else "")


def x_axis(labels: Iterable[tuple[float, str]], y: float, left: float, right: float) -> Html:
    """Return the texts that fit side by side under (or over) a chart, the others left out."""
    end, shown = -math.inf, []
    for x, words in sorted(labels):
        half = breadth(words) / 2
        center = min(max(x, left + half), right - half)
        if center - half >= end:
            shown.append(text(center, y, words, anchor="middle", muted=True))
            end = center + half + 10
    return join(*shown)


def legend(entries: Sequence[tuple[str, object]], width: float, left: float = 0) -> tuple[Html, float]:
    """Return (name, symbol) entries in lines, and their height; symbols are drawn 24 wide around the middle of the text."""
    x, y, drawn = left, 0.0, []
    for name, symbol in entries:
        words = short(name, width - left - 30)
        if x > left and x + 30 + breadth(words) > width:
            x, y = left, y + ROW
        drawn.append(
            tag(
                "g",
                symbol,
                text(30, 4, join(words, _whole(name, words))),
                transform=f"translate({x:.0f} {y + 9:.0f})",
            )
        )
        x += 30 + breadth(words) + 18
    return join(*drawn), y + ROW + 8 if drawn else 0.0


def markers(
    notes: Sequence[tuple[float, str]],
    top: float,
    bottom: float,
    left: float,
    right: float,
    *,
    under: bool = False,
) -> Html:
    """Return dashed vertical lines from `top` to `bottom`, each with its text above (or under) it."""
    drawn = []
    for x, center, line, words in _stacked(notes, left, right):
        away = 6 + line * MARKER_ROW
        y1, y2 = (top, bottom + away) if under else (top - away + 3, bottom)
        drawn.append(tag("line", x1=x, x2=x, y1=y1, y2=y2, stroke=color("muted"), stroke_dasharray="3 3"))
        drawn.append(
            text(center, bottom + away + 11 if under else top - away, words, anchor="middle", muted=True)
        )
    return join(*drawn)


def marker_height(notes: Sequence[tuple[float, str]], left: float, right: float) -> float:
    """Return the room that the texts of `markers` need."""
    lines = [line for _, _, line, _ in _stacked(notes, left, right)]
    return 6.0 + MARKER_ROW * (max(lines) + 1) if lines else 0.0


def _stacked(
    notes: Sequence[tuple[float, str]], left: float, right: float
) -> list[tuple[float, float, int, str]]:
    """Return (x, middle of the text, line, text): texts that would overlap go to different lines."""
    ends: list[float] = []
    placed = []
    for x, words in sorted(notes):
        half = breadth(words) / 2
        center = min(max(x, left + half), right - half)
        line = next((i for i, end in enumerate(ends) if center - half > end), len(ends))
        ends[line : line + 1] = [center + half + 8]
        placed.append((x, center, line, words))
    return placed


def stroke(i: int) -> dict[str, object]:
    """Return the line attributes of series number `i`."""
    return {
        "fill": "none",
        "stroke": color(f"series-{i % 6}"),
        "stroke_width": 2,
        "stroke_dasharray": DASHES[i % 6],
        "stroke_linejoin": "round",
    }


def pieces(points: Points) -> list[list[tuple[float, float]]]:
    """Return the runs of points without gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is not None and finite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def path(points: Iterable[tuple[float, float]]) -> str:
    """Return the path data of straight lines."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def curve(points: Points, x: Scale, y: Scale, name: str, i: int) -> Html:
    """Return the line of series number `i`, broken at gaps; a point between two gaps is a dot."""
    runs = [[(x(a), y(b)) for a, b in run] for run in pieces(points)]
    data = "".join(path(run) for run in runs if len(run) > 1)
    return join(
        tag("path", tag("title", name), d=data, **stroke(i)) if data else "",
        *(dot(*run[0], i, name) for run in runs if len(run) == 1),
    )


def dot(x: float, y: float, i: int, words: str) -> Html:
    """Return a mark of series number `i`: round and square ones take turns."""
    fill = color(f"series-{i % 6}")
    if i % 2:
        return tag("rect", tag("title", words), x=x - 3.5, y=y - 3.5, width=7, height=7, fill=fill)
    return tag("circle", tag("title", words), cx=x, cy=y, r=4, fill=fill)


def line_key(names: Iterable[str]) -> list[tuple[str, object]]:
    """Return the legend entries of lines."""
    return [(name, tag("path", d="M0 0H24", **stroke(i))) for i, name in enumerate(names)]


def _whole(name: str, words: str) -> Html:
    return join() if words == clean(name) else tag("title", name)
