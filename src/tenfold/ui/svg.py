"""Small charts as SVG text: no script, nothing loaded, both themes, a text alternative, never by color alone.

Every function returns a whole <svg> element that stands in a page of `report` or alone in a notebook. Names are
escaped. None, NaN and infinite values are gaps.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from tenfold.ui import axes
from tenfold.ui.axes import HALF, ROW, WIDE, Points, finite, frame, short, text
from tenfold.ui.markup import Html, clean, join, number, tag
from tenfold.ui.theme import color

if TYPE_CHECKING:
    from tenfold.training.metrics import CalibrationBin


def lines(
    series: Mapping[str, Points],
    *,
    label: str,
    x_labels: Sequence[tuple[float, str]] = (),
    y_label: str = "",
    markers: Sequence[tuple[float, str]] = (),
    levels: Sequence[tuple[float, str]] = (),
    width: int = HALF,
    height: int = 190,
) -> Html:
    """Return lines over a common horizontal axis.

    Parameters
    ----------
    series : mapping of name to (x, y) points
        In the order of x; a point without y is a gap, a point between two gaps a dot.
    x_labels, markers : sequence of (x, text)
        Texts under the axis; notes on dashed vertical lines (promotions, rollbacks).
    levels : sequence of (y, text)
        Horizontal lines: a floor, a budget.
    width, height : int
        Of the drawing; of the plot in it.
    """
    xs = [x for points in series.values() for x, _ in points] or [0.0]
    ys = [y for points in series.values() for _, y in points if y is not None and finite(y)]
    ys += [y for y, _ in levels]
    at = axes.ticks(min(ys, default=0.0), max(ys, default=1.0))
    left, right = 14 + max(map(axes.breadth, axes.tick_texts(at))), width - 8.0
    key, used = axes.legend(axes.line_key(series), width) if len(series) > 1 else (join(), 0.0)
    x = axes.linear(min(xs), max(xs), left, right)
    notes = [(x(when), words) for when, words in markers]
    top = (
        used
        + max(axes.marker_height(notes, left, right), 24.0 if y_label else 10.0)
        + (ROW if notes and y_label else 0)
    )
    y = axes.linear(at[0], at[-1], top + height, top)
    return frame(
        label,
        " ".join(_said(name, points) for name, points in series.items()),
        width,
        top + height + (26 if x_labels else 10),
        key,
        axes.y_axis(at, y, left, right, y_label),
        *(_level(y(value), words, left, right) for value, words in levels),
        axes.x_axis([(x(when), words) for when, words in x_labels], top + height + 19, left, right),
        axes.markers(notes, top, top + height, left, right),
        *(axes.curve(points, x, y, name, i) for i, (name, points) in enumerate(series.items())),
    )


def bars(
    values: Mapping[str, float], *, label: str, notes: Mapping[str, str] | None = None, width: int = HALF
) -> Html:
    """Return one horizontal bar per value, in the order given; negative ones go to the left of zero.

    `notes` are put behind the numbers.
    """
    known = [value for value in values.values() if finite(value)]
    low, high = min([0.0, *known]), max([0.0, *known])
    names = min(width * 0.4, max((axes.breadth(clean(name)) for name in values), default=0.0) + 10)
    said = {name: f"{number(value)} {(notes or {}).get(name, '')}".strip() for name, value in values.items()}
    room = min(width * 0.3, max(map(axes.breadth, said.values()), default=0.0) + 8)
    x = axes.linear(low, high, names, width - room)
    zero = x(0.0) if high > low else names
    ends = {name: x(value) if finite(value) and high > low else zero for name, value in values.items()}
    drawn = [
        join(
            _name(name, names - 8, i * 24 + 16),
            _bar(end, zero, i * 24),
            text(max(end, zero) + 6, i * 24 + 16, short(said[name], room)),
        )
        for i, (name, end) in enumerate(ends.items())
    ]
    axis = tag("line", x1=zero, x2=zero, y1=0, y2=24 * len(values), stroke=color("muted")) if low < 0 else ""
    summary = "; ".join(f"{name} {said[name]}" for name in list(values)[:8])
    return frame(label, summary, width, max(1, 24 * len(values)), *drawn, axis)


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    label: str,
    levels: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
    weights: Sequence[float] = (),
    notes: Sequence[str] = (),
    markers: Sequence[tuple[int, str]] = (),
    width: int = WIDE,
) -> Html:
    """Return a grid of cells in five steps, split by four ascending `levels`; the upper two steps also carry dots.

    Parameters
    ----------
    rows, columns : sequence of str
        Names; `values` has one sequence per row with one value per column.
    weights, notes : sequence, optional
        Per row: its importance as a bar, and its verdict in words.
    markers : sequence of (column number, text)
        Notes on dashed lines before a column.
    """
    names = min(width * 0.24, max((axes.breadth(clean(name)) for name in rows), default=0.0) + 12)
    left = names + (62 if weights else 0)
    room = min(width * 0.24, max((axes.breadth(clean(note)) for note in notes), default=0.0) + 12)
    cell = min(44.0, (width - left - room) / max(1, len(columns)))
    end = left + cell * len(columns)
    head = ROW + 4.0
    heaviest = max(weights, default=0.0) or 1.0
    margins = [
        join(
            _name(name, names - 8, head + i * 21 + 14),
            _weight(weights[i] / heaviest, names, head + i * 21) if weights else "",
            text(end + 10, head + i * 21 + 14, short(notes[i], room - 10), muted=True) if notes else "",
        )
        for i, name in enumerate(rows)
    ]
    steps: dict[int, list[Html]] = {}
    for i, (name, line) in enumerate(zip(rows, values, strict=True)):
        for j, (column, value) in enumerate(zip(columns, line, strict=True)):
            step = _step(value, levels)
            words = f"{name}, {column}: {number(value, 3) if step >= 0 else 'no data'}"
            steps.setdefault(step, []).append(_cell(step, left + j * cell, head + i * 21, cell, words))
    bottom = head + 21 * len(rows)
    spots = [(left + j * cell, words) for j, words in markers]
    foot = bottom + 12 + axes.marker_height(spots, left, end)
    key, used = axes.legend(_heat_key(levels), width)
    return frame(
        label,
        "; ".join(f"{name}: {note}" for name, note in zip(rows, notes, strict=False)),
        width,
        foot + used,
        axes.x_axis([(left + (j + 0.5) * cell, name) for j, name in enumerate(columns)], head - 8, left, end),
        *margins,
        *(tag("g", *cells, **_heat(step)) for step, cells in sorted(steps.items())),
        axes.markers(spots, head - 3, bottom, left, end, under=True),
        tag("g", key, transform=f"translate(0 {foot:.0f})"),
    )


def calibration(
    curves: Mapping[str, "Sequence[CalibrationBin]"], *, label: str, width: int = HALF, height: int = 260
) -> Html:
    """Return what happened against what was predicted, per bin; a model that keeps its word lies on the diagonal."""
    points = {
        name: [(part["predicted"], part["happened"]) for part in curve] for name, curve in curves.items()
    }
    at = axes.ticks(
        0.0, max((value for curve in points.values() for pair in curve for value in pair), default=1.0) or 1.0
    )
    left, right = 48.0, width - 22.0
    entries = [*axes.line_key(points), ("as promised", _diagonal(0, 0, 24, 0))]
    key, used = axes.legend(entries, width)
    top = used + 26
    x, y = axes.linear(0.0, at[-1], left, right), axes.linear(0.0, at[-1], top + height, top)
    return frame(
        label,
        " ".join(_worst(name, curve) for name, curve in points.items()),
        width,
        top + height + 42,
        key,
        axes.y_axis(at, y, left, right, "happened", percent=True),
        axes.x_axis(
            list(zip(map(x, at), axes.tick_texts(at, percent=True), strict=True)),
            top + height + 19,
            left,
            width,
        ),
        text(right, top + height + 37, "predicted", anchor="end", muted=True),
        _diagonal(x(0.0), y(0.0), x(at[-1]), y(at[-1])),
        *(_kept(curve, x, y, name, i) for i, (name, curve) in enumerate(points.items())),
    )


def _kept(curve: Sequence[tuple[float, float]], x: axes.Scale, y: axes.Scale, name: str, i: int) -> Html:
    dots = (
        axes.dot(
            x(predicted),
            y(happened),
            i,
            f"{name}: predicted {number(predicted)}, happened {number(happened)}",
        )
        for predicted, happened in curve
    )
    return join(axes.curve(curve, x, y, name, i) if len(curve) > 1 else "", *dots)


def _level(y: float, words: str, left: float, right: float) -> Html:
    return join(
        tag(
            "line",
            x1=left,
            x2=right,
            y1=y,
            y2=y,
            stroke=color("muted"),
            stroke_dasharray="1 3",
            stroke_width=1.5,
        ),
        text(right, y - 5, words, anchor="end", muted=True),
    )


def _diagonal(x1: float, y1: float, x2: float, y2: float) -> Html:
    return tag(
        "line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=color("muted"), stroke_dasharray="1 4", stroke_width=1.5
    )


def _name(name: str, room: float, y: float) -> Html:
    return text(0, y, join(short(name, room), tag("title", name)))


def _bar(end: float, zero: float, y: float) -> Html:
    fill = color("series-1" if end < zero else "series-0")
    return tag("rect", x=min(zero, end), y=y + 5, width=max(1.0, abs(end - zero)), height=14, rx=2, fill=fill)


def _weight(share: float, left: float, y: float) -> Html:
    return tag("rect", x=left, y=y + 6, width=max(1.5, 50 * share), height=8, rx=2, fill=color("bar"))


def _step(value: float | None, levels: Sequence[float]) -> int:
    if value is None or not finite(value):
        return -1
    return sum(value >= level for level in levels)


def _heat(step: int) -> dict[str, object]:
    if step < 0:
        return {"fill": "none", "stroke": color("muted"), "stroke_dasharray": "2 2"}
    return {"fill": color(f"heat-{step}")}


def _cell(step: int, x: float, y: float, cell: float, words: str) -> Html:
    box = tag("rect", tag("title", words), x=x + 1, y=y + 1, width=cell - 2, height=19, rx=2.5)
    return join(box, _heat_dot(step, x + cell / 2, y + 10.5))


def _heat_dot(step: int, x: float, y: float) -> Html:
    radius = {3: 1.5, 4: 3.0}.get(step)
    return tag("circle", cx=x, cy=y, r=radius, fill=color("heat-dot")) if radius else join()


def _heat_key(levels: Sequence[float]) -> list[tuple[str, object]]:
    said = [number(level) for level in levels]
    words = [
        f"below {said[0]}",
        *(f"{a} to {b}" for a, b in pairwise(said)),
        f"{said[-1]} and more",
    ]
    dots = ("", "", "", " (dot)", " (large dot)")
    steps = [
        (said + dot, join(_swatch(**_heat(i)), _heat_dot(i, 15, 0)))
        for i, (said, dot) in enumerate(zip(words, dots, strict=True))
    ]
    return [*steps, ("no data", _swatch(**_heat(-1)))]


def _swatch(**look: object) -> Html:
    return tag("rect", x=8, y=-7, width=14, height=14, rx=2.5, **look)


def _said(name: str, points: Points) -> str:
    return f"{name}: {_range([y for _, y in points if y is not None and finite(y)])}."


def _range(known: Sequence[float]) -> str:
    if not known:
        return "no data"
    return f"last {number(known[-1])}, between {number(min(known))} and {number(max(known))}"


def _worst(name: str, curve: Sequence[tuple[float, float]]) -> str:
    if not curve:
        return f"{name}: no rows."
    predicted, happened = max(curve, key=lambda pair: abs(pair[0] - pair[1]))
    return f"{name}: farthest from the diagonal where {number(predicted)} was predicted and {number(happened)} happened."
