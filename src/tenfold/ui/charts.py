"""Charts of an evaluation, as SVG text: intervals as points and whiskers, the trials of a tuning, and where a version came from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tenfold.ui import axes
from tenfold.ui.axes import HALF, WIDE, finite, frame, linear, short, text
from tenfold.ui.markup import Html, clean, join, number, tag
from tenfold.ui.theme import color

STEP = 24
"""Height of a row."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the ends of its interval; `faint` marks one that rests on few rows."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    faint: bool = False


def whiskers(
    rows: Sequence[Interval], *, label: str, reference: tuple[float, str] | None = None, width: int = HALF
) -> Html:
    """Return one point with its whisker per row, on a common axis, and a dashed line at a reference.

    A hollow point with a dashed whisker rests on few rows; it does not widen the axis: where it lies outside, a mark
    at the edge points to it. A row without a value says so.
    """
    sure = [row for row in rows if not row.faint] or rows
    known = [v for row in sure for v in (row.low, row.value, row.high) if v is not None and finite(v)]
    known += [reference[0]] if reference else []
    at = axes.ticks(min(known, default=0.0), max(known, default=1.0), 4)
    names = min(width * 0.4, max((axes.breadth(clean(row.name)) for row in rows), default=0.0) + 12)
    said = [_said(row) for row in rows]
    room = min(width * 0.44, max(map(axes.breadth, said), default=0.0) + 12)
    x = linear(at[0], at[-1], names + 8, width - room - 8)
    top = 20.0 if reference else 4.0
    bottom = top + STEP * len(rows)
    grid = [tag("line", x1=x(value), x2=x(value), y1=top, y2=bottom, stroke=color("line")) for value in at]
    ticks = list(zip(map(x, at), axes.tick_texts(at), strict=True))
    return frame(
        label,
        "; ".join(f"{row.name} {told}" for row, told in list(zip(rows, said, strict=True))[:12]),
        width,
        bottom + 22,
        *grid,
        _reference(x(reference[0]), reference[1], top, bottom, names, width - room) if reference else "",
        *(
            _row(row, told, x, top + STEP * i, (x(at[0]), x(at[-1])), names, (width - room, room))
            for i, (row, told) in enumerate(zip(rows, said, strict=True))
        ),
        axes.x_axis(ticks, bottom + 16, names, width - room + 12),
    )


def _said(row: Interval) -> str:
    if row.value is None or not finite(row.value):
        return f"not known {row.note}".strip()
    ends = f" ({number(row.low, 3)} to {number(row.high, 3)})" if finite(row.low) and finite(row.high) else ""
    return f"{number(row.value, 3)}{ends} {row.note}".strip()


def _reference(x: float, words: str, top: float, bottom: float, left: float, right: float) -> Html:
    half = axes.breadth(words) / 2
    center = min(max(x, left + half), right - half)
    line = tag("line", x1=x, x2=x, y1=top - 4, y2=bottom, stroke=color("muted"), stroke_dasharray="3 3")
    return join(line, text(center, top - 8, words, anchor="middle", muted=True))


def _row(
    row: Interval,
    said: str,
    x: axes.Scale,
    y: float,
    ends: tuple[float, float],
    names: float,
    right: tuple[float, float],
) -> Html:
    middle = y + STEP / 2
    name = text(0, middle + 4, join(short(row.name, names - 8), tag("title", row.name)))
    start, room = right
    told = text(start + 8, middle + 4, join(short(said, room - 8), tag("title", said)), muted=row.faint)
    if row.value is None or not finite(row.value):
        return join(name, told)
    ink = color("muted" if row.faint else "series-0")
    return join(
        name, _whisker(row, ink, x, middle, ends), _point(row, said, ink, x(row.value), middle, ends), told
    )


def _whisker(row: Interval, ink: str, x: axes.Scale, y: float, ends: tuple[float, float]) -> Html:
    if row.low is None or row.high is None or not (finite(row.low) and finite(row.high)):
        return join()
    a, b = (min(max(x(value), ends[0]), ends[1]) for value in (row.low, row.high))
    line = tag(
        "line",
        x1=a,
        x2=b,
        y1=y,
        y2=y,
        stroke=ink,
        stroke_width=2,
        stroke_dasharray="2 2" if row.faint else None,
    )
    caps = (
        tag("line", x1=x(end), x2=x(end), y1=y - 4, y2=y + 4, stroke=ink, stroke_width=2)
        for end in (row.low, row.high)
        if ends[0] <= x(end) <= ends[1]
    )
    return join(line, *caps)


def _point(row: Interval, said: str, ink: str, x: float, y: float, ends: tuple[float, float]) -> Html:
    title = tag("title", f"{row.name}: {said}")
    if ends[0] <= x <= ends[1]:
        fill = color("card") if row.faint else ink
        return tag("circle", title, cx=x, cy=y, r=4, fill=fill, stroke=ink, stroke_width=2)
    edge, out = (ends[0], -7) if x < ends[0] else (ends[1], 7)
    return tag(
        "path",
        title,
        d=f"M{edge:.1f} {y - 5:.1f}L{edge + out:.1f} {y:.1f}L{edge:.1f} {y + 5:.1f}",
        fill="none",
        stroke=ink,
        stroke_width=2,
    )


def trials(
    found: Sequence[Mapping[str, Any]],
    best: int | None,
    *,
    label: str,
    metric: str,
    greater: bool,
    width: int = HALF,
) -> Html:
    """Return every trial of a tuning by its number and value, and the best so far as a line.

    Pruned trials are hollow, failed ones have no value and are counted in the legend; the best one has a ring.
    """
    known = [item for item in found if finite(item.get("value"))]
    values = [item["value"] for item in known]
    at = axes.ticks(min(values, default=0.0), max(values, default=1.0))
    left, right = 14 + max(map(axes.breadth, axes.tick_texts(at))), width - 12.0
    failed = sum(item.get("state") == "failed" for item in found)
    key, used = axes.legend(_trial_key(found, failed), width)
    top, height = used + 24, 190
    last = max((item["number"] for item in found), default=0)
    x, y = linear(0, max(1, last), left + 8, right), linear(at[0], at[-1], top + height, top)
    steps = axes.ticks(0, max(1, last), 5)
    return frame(
        label,
        f"{len(found)} trials, {failed} failed; the best is number {best}.",
        width,
        top + height + 42,
        key,
        axes.y_axis(at, y, left, right, metric),
        axes.x_axis(
            [(x(n), f"{n:.0f}") for n in steps if n <= last and n == int(n)], top + height + 19, left, width
        ),
        text(right, top + height + 37, "trial", anchor="end", muted=True),
        axes.curve(_best_so_far(known, greater), x, y, "best so far", 1),
        *(_trial(item, item["number"] == best, x, y, metric) for item in known),
    )


def _best_so_far(known: Iterable[Mapping[str, Any]], greater: bool) -> list[tuple[float, float | None]]:
    found: list[tuple[float, float | None]] = []
    for item in known:
        if item.get("state") == "pruned":
            continue
        before = found[-1][1] if found else None
        value = item["value"] if before is None else (max if greater else min)(before, item["value"])
        if before is not None:
            found.append((item["number"], before))
        found.append((item["number"], value))
    return found


def _trial(item: Mapping[str, Any], is_best: bool, x: axes.Scale, y: axes.Scale, metric: str) -> Html:
    settings = ", ".join(
        f"{name} {number(value) if not isinstance(value, str) else value}"
        for name, value in item["params"].items()
    )
    words = f"trial {item['number']}: {metric} {number(item['value'])}; {settings}"
    ring = _ring(x(item["number"]), y(item["value"])) if is_best else ""
    return join(ring, _mark(x(item["number"]), y(item["value"]), item.get("state") == "pruned", words))


def _ring(x: float, y: float) -> Html:
    return tag("circle", cx=x, cy=y, r=8, fill="none", stroke=color("ok"), stroke_width=2)


def _mark(x: float, y: float, hollow: bool, words: str = "") -> Html:
    ink = color("series-0")
    return tag(
        "circle",
        tag("title", words) if words else "",
        cx=x,
        cy=y,
        r=3.5,
        fill=color("card") if hollow else ink,
        stroke=color("muted") if hollow else ink,
        stroke_width=1.5,
    )


def _trial_key(found: Sequence[Mapping[str, Any]], failed: int) -> list[tuple[str, object]]:
    line = tag("path", d="M0 0H24", **axes.stroke(1))
    key: list[tuple[str, object]] = [
        ("trial", _mark(12, 0, False)),
        ("best so far", line),
        ("best", _ring(12, 0)),
    ]
    if any(item.get("state") == "pruned" for item in found):
        key.append(("pruned: of fewer folds", _mark(12, 0, True)))
    if failed:
        key.append(
            (
                f"{failed} failed, not shown",
                tag("path", d="M8 -4L16 4M16 -4L8 4", stroke=color("muted"), stroke_width=2),
            )
        )
    return key


@dataclass(frozen=True, slots=True)
class Node:
    """A box of a `flow`: what it is, its name, one fact, and a state of `markup.STATES`."""

    kind: str
    name: str
    fact: str = ""
    state: str = "none"


def flow(columns: Sequence[Sequence[Node]], *, label: str, width: int = WIDE) -> Html:
    """Return boxes in columns, every box of a column joined to those of the next: where something came from."""
    box, gap = 54.0, 8.0
    tall = max((len(column) for column in columns), default=1)
    height = tall * (box + gap) - gap
    space = min(width / max(1, len(columns)), 290.0)
    wide = min(230.0, space - 50)
    places = [
        [
            (i * space, (height - len(column) * (box + gap) + gap) / 2 + j * (box + gap))
            for j in range(len(column))
        ]
        for i, column in enumerate(columns)
    ]
    links = [
        _link(a[0] + wide, a[1] + box / 2, b[0], b[1] + box / 2)
        for left, right in pairwise(places)
        for a in left
        for b in right
    ]
    boxes = [
        _box(node, x, y, wide, box)
        for column, spots in zip(columns, places, strict=True)
        for node, (x, y) in zip(column, spots, strict=True)
    ]
    told = "; ".join(f"{node.kind} {node.name} {node.fact}".strip() for column in columns for node in column)
    return frame(label, told, space * (len(columns) - 1) + wide, height + 2, *links, *boxes)


def _link(x1: float, y1: float, x2: float, y2: float) -> Html:
    half = (x1 + x2) / 2
    return tag(
        "path",
        d=f"M{x1:.1f} {y1:.1f}C{half:.1f} {y1:.1f} {half:.1f} {y2:.1f} {x2:.1f} {y2:.1f}",
        fill="none",
        stroke=color("bar"),
        stroke_width=1.5,
    )


def _box(node: Node, x: float, y: float, wide: float, box: float) -> Html:
    edge = color("bar" if node.state == "none" else node.state)
    whole = f"{node.kind} {node.name} {node.fact}".strip()
    return join(
        tag(
            "rect",
            tag("title", whole),
            x=x + 1,
            y=y + 1,
            width=wide - 2,
            height=box - 2,
            rx=8,
            fill=color("card"),
            stroke=color("line"),
        ),
        tag("rect", x=x + 1, y=y + 10, width=3, height=box - 20, fill=edge),
        text(x + 14, y + 16, short(node.kind, wide - 22), muted=True),
        tag("g", text(x + 14, y + 31, short(node.name, wide - 22)), font_weight=600),
        text(x + 14, y + 46, short(node.fact, wide - 22), muted=True),
    )
